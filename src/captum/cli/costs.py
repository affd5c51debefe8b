"""What methods need of a model, and what they cost."""

from __future__ import annotations

import argparse
import json

from captum.insights.methods import METHODS

# Rows through the model for one example; G features, n the method's own number of samples or steps.
COSTS = {
    "IntegratedGradients": ("gradients", "n_steps forward and backward"),
    "Saliency": ("gradients", "1 forward and backward"),
    "InputXGradient": ("gradients", "1 forward and backward"),
    "DeepLift": (
        "a module of torch functions",
        "1 forward and backward, 1 forward at the baseline",
    ),
    "DeepLiftShap": ("a module of torch functions", "the same for each baseline"),
    "GradientShap": ("gradients", "n_samples forward and backward"),
    "LRP": ("a module of torch functions", "1 forward and backward"),
    "GuidedBackprop": ("a module of torch functions", "1 forward and backward"),
    "Deconvolution": ("a module of torch functions", "1 forward and backward"),
    "FeatureAblation": ("answers", "G + 1 forward"),
    "Occlusion": ("answers", "windows + 1 forward"),
    "ShapleyValueSampling": ("answers", "n_samples x G forward, 2^G at most"),
    "KernelShap": ("answers", "n_samples + 2 forward, 2^G at most"),
    "Lime": ("answers", "n_samples forward"),
    "RISE": ("answers", "n_samples forward"),
    "LayerGradCam": ("gradients and a convolution", "1 forward and backward"),
    "GuidedGradCam": ("a module with a convolution", "2 forward and backward"),
}


def methods(given: argparse.Namespace) -> str:
    """The table, as text or JSON."""
    rows = [
        {
            "name": name,
            "about": method.about,
            "needs": COSTS[name][0],
            "cost": COSTS[name][1],
            "parameters": {field.name: field.default for field in method.fields},
        }
        for name, method in METHODS.items()
    ]
    if given.json:
        return json.dumps(rows)
    lines = []
    for row in rows:
        lines.append(f"{row['name']:22}{row['about']}")
        lines.append(f"{'':22}needs {row['needs']}; costs {row['cost']}")
    return "\n".join(lines)
