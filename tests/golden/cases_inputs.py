"""Methods whose scores land on the inputs."""

from __future__ import annotations

import torch

from .cases import QUADRATURES, Case
from .models import Image, Rows, Sequence, Tabular, Two, filled, image, sequence, tabular, two, wave

CASES: dict[str, Case] = {}

x, both = tabular(), two()
pairs = [(0, 1), (3, 0)]
TARGETS = {
    "int": 1,
    "negative": -1,
    "list": [0, 2, 1],
    "tensor": torch.tensor([2, 0, 1]),
    "one-element tensor": torch.tensor([2]),
    "scalar tensor": torch.tensor(1),
    "one-tuple": (2,),
}
BASELINES = {
    "zeros": None,
    "int": 1,
    "float": 0.25,
    "row": wave(1, 4, start=2.0),
    "tensor": wave(3, 4, start=2.0),
}

for name, target in TARGETS.items():
    CASES[f"saliency/target {name}"] = lambda attr, t=target: attr.Saliency(
        filled(Tabular())
    ).attribute(x, target=t)
    CASES[f"ig/target {name}"] = lambda attr, t=target: attr.IntegratedGradients(
        filled(Tabular())
    ).attribute(x, target=t, n_steps=7)
    CASES[f"ablation/target {name}"] = lambda attr, t=target: attr.FeatureAblation(
        filled(Tabular())
    ).attribute(x, target=t)

for name, target in {"tuple": (2, 1), "list of tuples": pairs}.items():
    CASES[f"saliency/deep target {name}"] = lambda attr, t=target: attr.Saliency(
        filled(Sequence())
    ).attribute(sequence(), target=t)
    CASES[f"ixg/deep target {name}"] = lambda attr, t=target: attr.InputXGradient(
        filled(Sequence())
    ).attribute(sequence(), target=t)
    CASES[f"ig/deep target {name}"] = lambda attr, t=target: attr.IntegratedGradients(
        filled(Sequence())
    ).attribute(sequence(), target=t, n_steps=6, return_convergence_delta=True)
    CASES[f"ablation/deep target {name}"] = lambda attr, t=target: attr.FeatureAblation(
        filled(Sequence())
    ).attribute(sequence(), target=t)

for name, baseline in BASELINES.items():
    CASES[f"ig/baseline {name}"] = lambda attr, b=baseline: attr.IntegratedGradients(
        filled(Tabular())
    ).attribute(x, b, target=0, n_steps=9, return_convergence_delta=True)
    CASES[f"ablation/baseline {name}"] = lambda attr, b=baseline: attr.FeatureAblation(
        filled(Tabular())
    ).attribute(x, b, target=0)

for name, baseline in {
    "scalars": (0, 0.5),
    "scalar and tensor": (0.3, wave(3, 2, 2, start=0.9)),
    "rows": (wave(1, 3, start=2.2), wave(1, 2, 2, start=0.9)),
}.items():
    CASES[f"ig/two inputs, baselines {name}"] = lambda attr, b=baseline: attr.IntegratedGradients(
        filled(Two())
    ).attribute(both, b, target=1, n_steps=8, return_convergence_delta=True)
    CASES[f"ablation/two inputs, baselines {name}"] = lambda attr, b=baseline: attr.FeatureAblation(
        filled(Two())
    ).attribute(both, b, target=1)

for method in QUADRATURES:
    for steps in (2, 5, 50):
        CASES[f"ig/{method} {steps}"] = lambda attr, m=method, n=steps: attr.IntegratedGradients(
            filled(Tabular())
        ).attribute(x, target=1, n_steps=n, method=m, return_convergence_delta=True)

CASES |= {
    "saliency/signed": lambda attr: attr.Saliency(filled(Tabular())).attribute(x, 0, abs=False),
    "saliency/function": lambda attr: attr.Saliency(lambda v: (v**3).sum(1)).attribute(x),
    "saliency/column": lambda attr: attr.Saliency(lambda v: (v**3).sum(1, keepdim=True)).attribute(
        x
    ),
    "saliency/image": lambda attr: attr.Saliency(filled(Image())).attribute(image(), target=2),
    "saliency/two inputs": lambda attr: attr.Saliency(filled(Two())).attribute(both, target=0),
    "saliency/tuple of one": lambda attr: attr.Saliency(filled(Tabular())).attribute((x,), 0),
    "saliency/extra arguments": lambda attr: attr.Saliency(filled(Tabular())).attribute(
        x, 0, additional_forward_args=(0.5, wave(5))
    ),
    "ixg/plain": lambda attr: attr.InputXGradient(filled(Tabular())).attribute(x, target=2),
    "ixg/image": lambda attr: attr.InputXGradient(filled(Image())).attribute(image(), target=0),
    "ixg/two inputs": lambda attr: attr.InputXGradient(filled(Two())).attribute(
        both, target=1, additional_forward_args=2.0
    ),
    "ig/rows of extra arguments": lambda attr: attr.IntegratedGradients(filled(Rows())).attribute(
        x, target=[0, 1, 2], additional_forward_args=(wave(3, 5), 3), n_steps=11
    ),
    "ig/internal batches": lambda attr: attr.IntegratedGradients(filled(Rows())).attribute(
        x,
        target=[0, 1, 2],
        additional_forward_args=(wave(3, 5), 2),
        n_steps=11,
        internal_batch_size=7,
        return_convergence_delta=True,
    ),
    "ig/sensitivities": lambda attr: attr.IntegratedGradients(
        filled(Tabular()), multiply_by_inputs=False
    ).attribute(x, 0.2, target=0, n_steps=7),
    "ig/image": lambda attr: attr.IntegratedGradients(filled(Image())).attribute(
        image(), target=1, n_steps=10, return_convergence_delta=True
    ),
    "ig/tuple of one": lambda attr: attr.IntegratedGradients(filled(Tabular())).attribute(
        (x,), (0.1,), target=0, n_steps=4
    ),
    "ig/float32": lambda attr: attr.IntegratedGradients(filled(Tabular()).float()).attribute(
        x.float(), target=0, n_steps=20, return_convergence_delta=True
    ),
    "ablation/mask": lambda attr: attr.FeatureAblation(filled(Tabular())).attribute(
        x, target=1, feature_mask=torch.tensor([[0, 1, 0, 2]])
    ),
    "ablation/mask per example": lambda attr: attr.FeatureAblation(filled(Tabular())).attribute(
        x, target=1, feature_mask=torch.tensor([[0, 1, 0, 2], [2, 1, 1, 0], [0, 0, 1, 2]])
    ),
    "ablation/mask with gaps": lambda attr: attr.FeatureAblation(filled(Tabular())).attribute(
        x, target=1, feature_mask=torch.tensor([[7, 3, 7, 5]])
    ),
    "ablation/mask across inputs": lambda attr: attr.FeatureAblation(filled(Two())).attribute(
        both,
        target=1,
        feature_mask=(torch.tensor([[0, 1, 1]]), torch.tensor([[[2, 2], [1, 3]]])),
        perturbations_per_eval=3,
    ),
    "ablation/image": lambda attr: attr.FeatureAblation(filled(Image())).attribute(
        image(),
        target=1,
        feature_mask=(torch.arange(36).view(1, 1, 6, 6) // 2) % 7,
        perturbations_per_eval=4,
    ),
    "ablation/extra arguments": lambda attr: attr.FeatureAblation(filled(Rows())).attribute(
        x, target=[0, 1, 2], additional_forward_args=(wave(3, 5), 3), perturbations_per_eval=2
    ),
    "ablation/number for the batch": lambda attr: attr.FeatureAblation(
        lambda v: (v**3).sum()
    ).attribute(x),
    "compute_convergence_delta/one": lambda attr: attr.IntegratedGradients(
        filled(Tabular())
    ).compute_convergence_delta(wave(3, 4), torch.zeros(3, 4).double(), x, target=1),
    "compute_convergence_delta/two": lambda attr: attr.IntegratedGradients(
        filled(Two())
    ).compute_convergence_delta(
        (wave(3, 3), wave(3, 2, 2)),
        (torch.zeros(3, 3).double(), wave(3, 2, 2, start=3.0)),
        both,
        target=torch.tensor([0, 1, 1]),
        additional_forward_args=0.7,
    ),
}
