"""Ablation, permutation and occlusion of the inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from .cases import Attr, Case
from .models import (
    Bag,
    Image,
    Rows,
    Sequence,
    Tabular,
    Two,
    filled,
    ids,
    image,
    sequence,
    tabular,
    two,
    wave,
)

CASES: dict[str, Case] = {}
x, both, pair = tabular(), two(), tabular()[:2]
columns = torch.tensor([[0, 1, 0, 2]])
per_example = torch.tensor([[0, 1, 0, 2], [2, 1, 1, 0], [0, 0, 1, 2]])
across = (torch.tensor([[0, 1, 1]]), torch.tensor([[[2, 2], [1, 3]]]))
blocks = torch.arange(36).view(1, 1, 6, 6) // 2 % 7


def shaped(*shape: int, of: int) -> Tensor:
    """A mask that goes round `of` features."""
    return torch.arange(torch.Size(shape).numel()).view(shape) % of


def ablated(attr: Attr, model: object, inputs: object, **options: object) -> object:
    return attr.FeatureAblation(model).attribute(inputs, **options)


def occluded(attr: Attr, model: object, inputs: object, **options: object) -> object:
    """In float32, which the published package returns whatever the model is in."""
    found = attr.Occlusion(model).attribute(inputs, **options)
    return tuple(each.float() for each in found) if isinstance(found, tuple) else found.float()


def rolled(batch: Tensor, mask: Tensor) -> Tensor:
    """The feature of the example before."""
    return torch.where(mask, batch.roll(1, 0), batch)


def permuted(attr: Attr, model: object, inputs: object, **options: object) -> object:
    return attr.FeaturePermutation(model, rolled).attribute(inputs, **options)


def power(v: Tensor) -> Tensor:
    """One number for the batch."""
    return (v**3).sum() + v[0].prod()


def counts(v: Tensor) -> Tensor:
    """An integer for each example."""
    return (v * torch.arange(1, 5)).sum(1) + v[:, 0] * v[:, 3]


# ------------------------------------------------------------------------------ ablation

MASKS = {
    "row": torch.tensor([[0, 1, 0, 2]]),
    "without the batch": torch.tensor([0, 1, 0, 2]),
    "column": torch.tensor([[0], [1], [0]]),
    "one number": torch.tensor(0),
    "one by one": torch.tensor([[4]]),
    "negative": torch.tensor([[-3, 5, -3, 0]]),
}
for name, mask in MASKS.items():
    CASES[f"FeatureAblation/mask {name}"] = lambda attr, m=mask: ablated(
        attr, filled(Tabular()), x, target=1, feature_mask=m, baselines=0.2
    )
for name, mask in {
    "channel": shaped(1, 1, 1, 1, of=1),
    "rows of pixels": shaped(1, 1, 6, 1, of=6),
    "columns of pixels": shaped(1, 6, of=3),
    "halves per example": torch.stack([shaped(1, 6, 6, of=2), shaped(1, 6, 6, of=3)]),
}.items():
    CASES[f"FeatureAblation/image, mask {name}"] = lambda attr, m=mask: ablated(
        attr, filled(Image()), image(), target=2, feature_mask=m, baselines=wave(1, 1, 6, 6)
    )
for number in (1, 2, 3, 50):
    CASES[f"FeatureAblation/{number} per pass"] = lambda attr, n=number: ablated(
        attr,
        filled(Rows()),
        x,
        target=[2, 0, 1],
        additional_forward_args=(wave(3, 5), 2),
        feature_mask=per_example,
        baselines=wave(3, 4, start=2.0),
        perturbations_per_eval=n,
    )
    CASES[f"FeatureAblation/two inputs, {number} per pass"] = lambda attr, n=number: ablated(
        attr,
        filled(Two()),
        both,
        target=torch.tensor([1, 0, 1]),
        additional_forward_args=0.7,
        feature_mask=across,
        baselines=(0.1, wave(1, 2, 2)),
        perturbations_per_eval=n,
    )
CASES |= {
    "FeatureAblation/two inputs": lambda attr: ablated(attr, filled(Two()), both, target=0),
    "FeatureAblation/tuple of one": lambda attr: ablated(
        attr, filled(Tabular()), (x,), target=0, feature_mask=(columns,), baselines=(0.3,)
    ),
    "FeatureAblation/float32": lambda attr: ablated(
        attr, filled(Tabular()).float(), x.float(), target=0
    ),
    "FeatureAblation/positions": lambda attr: ablated(
        attr, filled(Sequence()), sequence(), target=(1, 0), feature_mask=shaped(1, 4, 1, of=4)
    ),
    "FeatureAblation/tokens": lambda attr: ablated(
        attr, filled(Bag()), ids(), target=1, baselines=3, perturbations_per_eval=2
    ),
    "FeatureAblation/integers": lambda attr: ablated(attr, counts, torch.arange(8).view(2, 4) - 3),
    "FeatureAblation/column of outputs": lambda attr: ablated(
        attr, lambda v: v.prod(1, keepdim=True), x, baselines=0.5
    ),
    "FeatureAblation/one-dimensional": lambda attr: ablated(attr, lambda v: v**2 + v, x[:, 0]),
    "FeatureAblation/number for the batch, mask": lambda attr: ablated(
        attr, power, x, feature_mask=columns, baselines=wave(3, 4)
    ),
    "FeatureAblation/python float": lambda attr: ablated(attr, lambda v: float(power(v)), x),
    "FeatureAblation/several numbers for the batch": lambda attr: ablated(
        attr, lambda v: (v**3 + v.roll(1, 1)).sum(0), x, feature_mask=columns, baselines=0.5
    ),
    "FeatureAblation/one-element output": lambda attr: ablated(
        attr, lambda v: power(v).view(1), both[0]
    ),
    "FeatureAblation/two inputs, number for the batch": lambda attr: ablated(
        attr,
        lambda v, w: (v.sum() * w**2).sum(),
        both,
        feature_mask=across,
        baselines=(0.4, wave(3, 2, 2)),
    ),
}

# --------------------------------------------------------------------------- permutation

for number in (1, 2, 50):
    CASES[f"FeaturePermutation/{number} per pass"] = lambda attr, n=number: permuted(
        attr,
        filled(Rows()),
        x,
        target=[2, 0, 1],
        additional_forward_args=(wave(3, 5), 2),
        perturbations_per_eval=n,
    )
CASES |= {
    "FeaturePermutation/plain": lambda attr: permuted(attr, filled(Tabular()), x, target=1),
    "FeaturePermutation/mask": lambda attr: permuted(
        attr, filled(Tabular()), x, target=torch.tensor([0, 2, 1]), feature_mask=columns
    ),
    "FeaturePermutation/image": lambda attr: permuted(
        attr, filled(Image()), image(), target=1, feature_mask=blocks
    ),
    "FeaturePermutation/two inputs": lambda attr: permuted(
        attr, filled(Two()), both, target=1, feature_mask=across
    ),
    "FeaturePermutation/number for the batch": lambda attr: permuted(
        attr, lambda v: (v.cumsum(1).exp() * wave(3, 1)).sum(), x, feature_mask=columns
    ),
    "FeaturePermutation/integers": lambda attr: permuted(attr, counts, torch.arange(12).view(3, 4)),
    # Two examples can only change places.
    "FeaturePermutation/two examples": lambda attr: attr.FeaturePermutation(
        filled(Tabular())
    ).attribute(pair, target=2, feature_mask=columns),
    "FeaturePermutation/two examples of two inputs": lambda attr: attr.FeaturePermutation(
        filled(Two())
    ).attribute((both[0][:2], both[1][:2]), target=[1, 0], perturbations_per_eval=3),
    "FeaturePermutation/whole batch": lambda attr: attr.FeaturePermutation(
        filled(Tabular()), lambda batch, mask: batch.flip(0)
    ).attribute(x, target=0),
}

# ----------------------------------------------------------------------------- occlusion

WINDOWS = {
    "1": ((1,), None),
    "2": ((2,), None),
    "3 by 2": ((3,), 2),
    "3 by 3": ((3,), (3,)),
    "all": ((4,), 1),
}
for name, (window, strides) in WINDOWS.items():
    CASES[f"Occlusion/window {name}"] = lambda attr, w=window, s=strides: occluded(
        attr, filled(Tabular()), x, target=1, sliding_window_shapes=w, strides=s
    )
for name, (window, strides) in {
    "pixels": ((1, 1, 1), None),
    "3 x 3": ((1, 3, 3), (1, 2, 3)),
    "4 x 5": ((1, 4, 5), (1, 4, 2)),
    "2 x 6": ((1, 2, 6), (1, 1, 1)),
}.items():
    CASES[f"Occlusion/image {name}"] = lambda attr, w=window, s=strides: occluded(
        attr,
        filled(Image()),
        image(),
        target=[0, 2],
        sliding_window_shapes=w,
        strides=s,
        baselines=0.4,
        perturbations_per_eval=5,
    )
windows = ((2,), (1, 2))
CASES |= {
    "Occlusion/two inputs": lambda attr: occluded(
        attr, filled(Two()), both, target=1, sliding_window_shapes=windows
    ),
    "Occlusion/two inputs, strides": lambda attr: occluded(
        attr,
        filled(Two()),
        both,
        target=[0, 1, 0],
        additional_forward_args=0.6,
        sliding_window_shapes=windows,
        strides=(2, (1, 1)),
        baselines=(wave(3, 3), 0.2),
        perturbations_per_eval=4,
    ),
    "Occlusion/extra arguments": lambda attr: occluded(
        attr,
        filled(Rows()),
        x,
        target=[0, 1, 2],
        additional_forward_args=(wave(3, 5), 3),
        sliding_window_shapes=(2,),
        strides=2,
        perturbations_per_eval=2,
    ),
    "Occlusion/baseline": lambda attr: occluded(
        attr, filled(Tabular()), x, target=0, sliding_window_shapes=(2,), baselines=wave(3, 4)
    ),
    "Occlusion/positions": lambda attr: occluded(
        attr, filled(Sequence()), sequence(), target=(2, 1), sliding_window_shapes=(2, 3)
    ),
    "Occlusion/number for the batch": lambda attr: occluded(
        attr, power, x, sliding_window_shapes=(2,), strides=1
    ),
    "Occlusion/several numbers for the batch": lambda attr: occluded(
        attr, lambda v: (v**3 + v.roll(1, 1)).sum(0), x, sliding_window_shapes=(2,)
    ),
    "Occlusion/integers": lambda attr: occluded(
        attr, counts, torch.arange(8).view(2, 4), sliding_window_shapes=(2,), baselines=1
    ),
    "Occlusion/tokens": lambda attr: occluded(
        attr, filled(Bag()), ids(), target=0, sliding_window_shapes=(2,), baselines=6
    ),
    "Occlusion/float32": lambda attr: occluded(
        attr, filled(Tabular()).float(), x.float(), target=0, sliding_window_shapes=(3,)
    ),
}
