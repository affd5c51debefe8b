"""`captum explain`: scores of a method for inputs in a file, as a report, a file or a summary."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum._engine.errors import extra, wrong
from captum._engine.target import as_tensor
from captum.cli.loading import Inputs, inputs_of, model_of
from captum.insights import AttributionVisualizer, Batch
from captum.insights.features import BaseFeature, GeneralFeature, ImageFeature
from captum.insights.methods import METHODS, Offer
from captum.insights.scoring import scores

_PICTURE_DIMS, _CHANNELS = 4, (1, 3)
_FEW = 5  # features of an example in a summary
_MANY = 2000  # scores beyond which --json names a file instead


@dataclass(frozen=True)
class Explained:
    """Scores for all inputs, and what they explain."""

    method: str
    values: dict[str, Any]
    inputs: Inputs
    targets: list[int] | None
    outputs: list[float]
    scores: tuple[Tensor, ...]


def explain(given: argparse.Namespace) -> str:
    """What the command prints."""
    model, inputs = model_of(given.model), inputs_of(given.inputs, given.size)
    name = method_named(given.method)
    values = dict(map(assignment, given.set or ()))
    out = None if given.out is None else Path(given.out)
    if out is not None and out.suffix == ".html":
        visualizer(model, inputs, given.classes, given.baseline, given.target).save(
            out, [(name, values)], range(inputs.count)
        )
        return json.dumps({"report": str(out)}) if given.json else f"wrote {out}"
    found = explained(model, inputs, name, values, given.target, given.baseline)
    if out is not None:
        _write(out, found)
    if given.json:
        return json.dumps(_described(found, out))
    return _summary(found) + (f"\nwrote {out}" if out is not None else "")


def explained(
    model: Callable[..., Any],
    inputs: Inputs,
    name: str,
    values: dict[str, Any],
    target: int | None,
    baseline: float,
) -> Explained:
    """Scores of all examples together."""
    kinds = ["image" if is_picture(v) else "general" for v in inputs.values]
    offer = Offer.to([model], kinds, [v[:1] for v in inputs.values])
    chosen, checked = offer[name], offer.checked(name, values)
    with torch.no_grad():
        output = as_tensor(model(*inputs.values))
    several = output.ndim > 1 and output.shape[1] > 1
    targets = None if not several else _targets(output, target)
    bases = [tuple(torch.full_like(v, baseline) for v in inputs.values)]
    made = scores(
        chosen,
        model,
        inputs.values,
        bases,
        kinds,
        checked,
        targets,  # type: ignore[arg-type]  # one for each example
        (),
    )
    picked = output.flatten() if targets is None else output.gather(1, targets[:, None])[:, 0]
    listed = None if targets is None else targets.tolist()
    return Explained(name, checked, inputs, listed, picked.tolist(), made)


def method_named(text: str) -> str:
    """A method's class name, however it is spelled."""
    plain = {name.lower(): name for name in METHODS}
    found = plain.get(text.replace("-", "").replace("_", "").replace(" ", "").lower())
    if found is None:
        raise wrong(ValueError, f"a method: {', '.join(METHODS)}", repr(text), "--method Saliency")
    return found


def assignment(text: str) -> tuple[str, Any]:
    """`n_steps=20` as a name and a value.

    >>> assignment("n_steps=20"), assignment("method=riemann_left"), assignment("abs=false")
    (('n_steps', 20), ('method', 'riemann_left'), ('abs', False))
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise wrong(ValueError, "a parameter and its value", repr(text), "--set n_steps=100")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def visualizer(
    model: Callable[..., Any],
    inputs: Inputs,
    classes: str | None,
    baseline: float,
    target: int | None = None,
) -> AttributionVisualizer:
    """The inputs as Insights shows them."""
    with torch.no_grad():
        output = as_tensor(model(*(v[:1] for v in inputs.values)))
    count = output.shape[1] if output.ndim > 1 else 1
    labels = None if target is None else torch.full((inputs.count,), target)
    values = inputs.values if len(inputs.values) > 1 else inputs.values[0]
    return AttributionVisualizer(
        [model],
        _classes(classes, count),
        [_feature(inputs, i, baseline) for i in range(len(inputs.values))],
        [Batch(values, labels)],
    )


def is_picture(values: Tensor) -> bool:
    """Whether an input is pictures: (N, 1 or 3, H, W)."""
    return values.ndim == _PICTURE_DIMS and values.shape[1] in _CHANNELS


def _feature(inputs: Inputs, i: int, baseline: float) -> BaseFeature:
    values, name = inputs.values[i], inputs.names[i]
    base = [lambda x: torch.full_like(x, baseline)]
    if is_picture(values):
        low, high = float(values.min()), float(values.max())
        span = (high - low) or 1.0
        return ImageFeature(name, base, [], lambda x: (x - low) / span)
    feature = GeneralFeature(name, _columns(inputs, values))
    feature.baseline_transforms = base
    return feature


def _columns(inputs: Inputs, values: Tensor) -> list[str]:
    count = values[0].numel()
    if len(inputs.columns) == count:
        return list(inputs.columns)
    return [str(i) for i in range(count)]


def _classes(file: str | None, count: int) -> list[str]:
    """A line of a file for each output, or numbers."""
    if file is None:
        return [str(i) for i in range(count)]
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    if len(lines) != count:
        raise wrong(
            ValueError, f"a line for each of the {count} outputs", f"{len(lines)}", "--classes FILE"
        )
    return lines


def _targets(output: Tensor, target: int | None) -> Tensor:
    if target is None:
        return output.argmax(1)
    if not -output.shape[1] <= target < output.shape[1]:
        raise wrong(ValueError, f"--target below {output.shape[1]}", str(target), "--target 0")
    return torch.full((len(output),), target % output.shape[1])


def _write(path: Path, found: Explained) -> None:
    named = dict(zip(found.inputs.names, found.scores, strict=True))
    if path.suffix == ".npz":
        arrays: Any = {name: t.detach().numpy() for name, t in named.items()}
        np.savez(path, **arrays)
    elif path.suffix == ".safetensors":
        ready = {name: t.detach().contiguous() for name, t in named.items()}
        extra("safetensors.torch", "store").save_file(ready, path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(_described(found, None)) + "\n", encoding="utf-8")
    else:
        known = ".html, .npz, .safetensors or .json"
        raise wrong(ValueError, f"--out in {known}", str(path), "--out report.html")


def _described(found: Explained, out: Path | None) -> dict[str, Any]:
    count = sum(t.numel() for t in found.scores)
    named = {n: t.tolist() for n, t in zip(found.inputs.names, found.scores, strict=True)}
    return {
        "method": found.method,
        "parameters": found.values,
        "targets": found.targets,
        "outputs": found.outputs,
        "file": None if out is None else str(out),
        "scores": named if out is None or count <= _MANY else None,
    }


def _summary(found: Explained) -> str:
    lines = [f"{found.method} ({', '.join(f'{k}={v}' for k, v in found.values.items())})"]
    for i in range(found.inputs.count):
        of = "" if found.targets is None else f"output {found.targets[i]} = "
        total = sum(float(t[i].sum()) for t in found.scores)
        lines.append(f"example {i}: {of}{found.outputs[i]:.4g}, scores sum to {total:.4g}")
        lines += [f"  {name:24} {score: .4g}" for name, score in _largest(found, i)]
    return "\n".join(lines)


def _largest(found: Explained, i: int) -> Sequence[tuple[str, float]]:
    """The features with the largest scores of an example, whatever their sign."""
    named: list[tuple[str, float]] = []
    for name, values, score in zip(
        found.inputs.names, found.inputs.values, found.scores, strict=True
    ):
        columns = _columns(found.inputs, values)
        flat = score[i].flatten()
        if flat.numel() != len(columns):  # a layer's map
            columns = [str(k) for k in range(flat.numel())]
        places = flat.abs().topk(min(_FEW, flat.numel())).indices.tolist()
        named += [(f"{name}[{columns[k]}]", float(flat[k])) for k in places]
    return sorted(named, key=lambda pair: -abs(pair[1]))[:_FEW]
