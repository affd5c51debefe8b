"""Shapley values, LIME and what goes with them, where the published package draws nothing.

Its Shapley values are in float32 whatever the model is in, so ours are made that here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor

from .cases import Attr, Case
from .models import (
    Bag,
    Image,
    Pairs,
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
x, both = tabular(), two()
columns = torch.tensor([[0, 1, 0, 2]])
per_example = torch.tensor([[0, 1, 0, 2], [2, 1, 1, 0], [0, 0, 1, 2]])
across = (torch.tensor([[0, 1, 1]]), torch.tensor([[[2, 2], [1, 3]]]))


def single(found: Any) -> Any:
    return tuple(map(single, found)) if isinstance(found, tuple) else found.float()


def shapley(attr: Attr, model: object, inputs: object, **options: object) -> object:
    return single(attr.ShapleyValues(model).attribute(inputs, **options))


def sampled(attr: Attr, model: object, inputs: object, **options: object) -> object:
    return single(attr.ShapleyValueSampling(model).attribute(inputs, **options))


def regressed(attr: Attr, model: object, inputs: object, **options: object) -> object:
    """To three places: the published constraint is a weight of a million, in float32."""
    found = attr.KernelShap(model).attribute(inputs, **options)
    each = found if isinstance(found, tuple) else (found,)
    rounded = tuple((1e3 * e.double()).round() / 1e3 for e in each)
    return rounded if isinstance(found, tuple) else rounded[0]


def power(v: Tensor) -> Tensor:
    """One number for the batch."""
    return (v**3).sum() + v[0].prod()


def additive(v: Tensor, w: Tensor | None = None) -> Tensor:
    """What every order of arrival, and every regression, agrees about."""
    total = (v**2 * wave(4)).flatten(1).sum(1)
    return total if w is None else total + w.flatten(1).exp().sum(1)


# ------------------------------------------------------------------------ Shapley values

for name, target in {
    "int": 1,
    "negative": -1,
    "list": [0, 2, 1],
    "tensor": torch.tensor([2, 0, 1]),
    "one-element tensor": torch.tensor([2]),
    "one-tuple": (2,),
}.items():
    CASES[f"ShapleyValues/target {name}"] = lambda attr, t=target: shapley(
        attr, filled(Tabular()), x, target=t
    )
for name, baseline in {
    "int": 1,
    "float": 0.25,
    "row": wave(1, 4, start=2.0),
    "tensor": wave(3, 4, start=2.0),
}.items():
    CASES[f"ShapleyValues/baseline {name}"] = lambda attr, b=baseline: shapley(
        attr, filled(Tabular()), x, target=0, baselines=b
    )
for name, mask in {
    "row": columns,
    "without the batch": columns[0],
    "per example": per_example,
}.items():
    CASES[f"ShapleyValues/mask {name}"] = lambda attr, m=mask: shapley(
        attr, filled(Tabular()), x, target=1, baselines=0.3, feature_mask=m
    )
for number in (1, 2, 3, 50):
    CASES[f"ShapleyValues/{number} per pass"] = lambda attr, n=number: shapley(
        attr,
        filled(Rows()),
        x,
        target=[2, 0, 1],
        additional_forward_args=(wave(3, 5), 2),
        feature_mask=per_example,
        baselines=wave(3, 4, start=2.0),
        perturbations_per_eval=n,
    )
    CASES[f"ShapleyValues/two inputs, {number} per pass"] = lambda attr, n=number: shapley(
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
    "ShapleyValues/image": lambda attr: shapley(
        attr,
        filled(Image()),
        image(),
        target=1,
        feature_mask=torch.arange(36).view(1, 1, 6, 6) // 8,
        perturbations_per_eval=5,
    ),
    "ShapleyValues/positions": lambda attr: shapley(
        attr, filled(Sequence()), sequence(), target=(1, 0), feature_mask=torch.arange(4).view(4, 1)
    ),
    "ShapleyValues/tokens": lambda attr: shapley(
        attr,
        filled(Bag()),
        ids(),
        target=1,
        baselines=3,
        feature_mask=torch.tensor([[0, 1, 2, 1, 0]]),
    ),
    "ShapleyValues/tuple of one": lambda attr: shapley(
        attr, filled(Tabular()), (x,), target=0, feature_mask=(columns,), baselines=(0.3,)
    ),
    "ShapleyValues/layers of a tuple": lambda attr: shapley(attr, filled(Pairs()), x, target=2),
    "ShapleyValues/float32": lambda attr: shapley(
        attr, filled(Tabular()).float(), x.float(), target=0
    ),
    "ShapleyValues/integers": lambda attr: shapley(
        attr, lambda v: v.sum(1) * v[:, 0] * v[:, 2], torch.arange(8).view(2, 4) - 3
    ),
    "ShapleyValues/number for the batch": lambda attr: shapley(
        attr, power, x, feature_mask=columns, baselines=wave(3, 4)
    ),
    "ShapleyValues/python float": lambda attr: shapley(attr, lambda v: float(power(v)), x),
    "ShapleyValues/one-element output": lambda attr: shapley(
        attr, lambda v: power(v).view(1), both[0]
    ),
    "ShapleyValues/several numbers for the batch": lambda attr: shapley(
        attr, lambda v: v.prod(0) + v.roll(1, 1).cumsum(0)[0] * v[1], x, baselines=0.5
    ),
    "ShapleyValues/one feature": lambda attr: shapley(
        attr, lambda v: v[:, 0].exp(), x[:, :1], baselines=0.5
    ),
    "ShapleyValueSampling/one feature": lambda attr: sampled(
        attr, filled(Tabular()), x, target=2, feature_mask=torch.zeros(1, 4).long(), n_samples=3
    ),
    "ShapleyValueSampling/additive": lambda attr: sampled(
        attr, additive, x, baselines=wave(1, 4, start=2.0), n_samples=2, perturbations_per_eval=3
    ),
    "ShapleyValueSampling/additive, two inputs": lambda attr: sampled(
        attr,
        additive,
        (x, both[1]),
        feature_mask=(columns, torch.tensor([[[1, 3], [3, 4]]])),
        baselines=(0.3, wave(3, 2, 2)),
        n_samples=3,
    ),
    "ShapleyValueSampling/additive, number for the batch": lambda attr: sampled(
        attr, lambda v: additive(v).sum(), x, baselines=0.2
    ),
}

# --------------------------------------------------------------------------- Kernel SHAP

for name, options in {
    "additive": {},
    "baseline": {"baselines": wave(1, 4, start=2.0)},
    "mask": {"baselines": 0.2, "feature_mask": columns},
    "three per pass": {"baselines": -0.3, "perturbations_per_eval": 3},
    "per feature": {"return_input_shape": False, "feature_mask": columns},
}.items():
    CASES[f"KernelShap/{name}"] = lambda attr, o=options: regressed(
        attr, additive, x[:1], n_samples=60, **o
    )
CASES["KernelShap/two inputs"] = lambda attr: regressed(
    attr,
    additive,
    (x[:1], both[1][:1]),
    feature_mask=(columns, torch.tensor([[[1, 3], [3, 4]]])),
    baselines=(0.3, wave(1, 2, 2)),
    n_samples=80,
)
CASES["KernelShap/number for the batch"] = lambda attr: regressed(
    attr, lambda v: additive(v).sum(), x, n_samples=60
)


def kernel(attr: Attr) -> object:
    """The parts of it that are public."""
    method = attr.KernelShap(additive)
    sizes = torch.distributions.Categorical(torch.tensor([0.0, 0.5, 0.5]))
    made = method.kernel_shap_perturb_generator(
        x, num_interp_features=3, num_select_distribution=sizes
    )
    weights = [
        method.kernel_shap_similarity_kernel(x, x, z, num_interp_features=3)
        for z in (torch.zeros(1, 3), torch.tensor([[0, 1, 1]]), torch.ones(1, 3).long())
    ]
    return next(made), next(made), weights


CASES["KernelShap/kernel"] = kernel

# ---------------------------------------------------------------------------------- LIME


class LeastSquares:
    """A surrogate of one's own: slopes and offset of the weighted least squares."""

    def fit(self, loader: Any, **kwargs: Any) -> dict[str, float]:
        ((z, y, w),) = list(loader)
        design = torch.cat([z, torch.ones(len(z), 1)], 1).double()
        root = w.double().sqrt()
        answers = (y.double() * root).unsqueeze(1)
        self.found = torch.linalg.lstsq(design * root.unsqueeze(1), answers).solution
        return {}

    def representation(self) -> Tensor:
        return self.found[:-1].T.float()


def every(_original: Any, **kwargs: Any) -> Iterator[Tensor]:
    """All coalitions, over and over."""
    while True:
        for z in product((1, 0), repeat=kwargs["num_interp_features"]):
            yield torch.tensor([z])


def exponential(*kind: object) -> Any:
    """The published package has it at a deep path only, and ours knows that."""
    from captum.attr._core.lime import get_exp_kernel_similarity_function

    return get_exp_kernel_similarity_function(*kind)


def limed(
    attr: Attr, surrogate: Any, model: object, inputs: Any, near: Any = None, **options: object
) -> object:
    method = attr.Lime(model, surrogate, near, every)
    return single(method.attribute(inputs, **options))


def near(_original: Any, _perturbed: Any, z: Tensor, **kwargs: Any) -> Tensor:
    """More weight for more features."""
    return 0.5 + z.float().mean()


SURROGATES: dict[str, Any] = {"LASSO": lambda: None, "least squares": LeastSquares}
for name, made in SURROGATES.items():
    for what, options in {
        "plain": {},
        "baseline": {"baselines": wave(1, 4, start=2.0), "perturbations_per_eval": 3},
        "mask": {"feature_mask": columns, "baselines": 0.3},
        "per feature": {"feature_mask": columns, "return_input_shape": False},
    }.items():
        CASES[f"Lime/{name}, {what}"] = lambda attr, m=made, o=options: limed(
            attr, m(), filled(Tabular()), x[:1], target=1, n_samples=16, **o
        )
    CASES[f"Lime/{name}, own weights"] = lambda attr, m=made: limed(
        attr, m(), filled(Tabular()), x[1:2], near, target=0, n_samples=24
    )
    CASES[f"Lime/{name}, two inputs"] = lambda attr, m=made: limed(
        attr,
        m(),
        filled(Two()),
        tuple(each[:1] for each in both),
        exponential("euclidean", 2.0),
        target=1,
        additional_forward_args=(0.7,),
        feature_mask=across,
        baselines=(0.1, wave(1, 2, 2)),
        n_samples=16,
    )
    CASES[f"Lime/{name}, number for the batch"] = lambda attr, m=made: limed(
        attr, m(), power, x, n_samples=16
    )
    CASES[f"Lime/{name}, tokens"] = lambda attr, m=made: limed(
        attr, m(), filled(Bag()), ids()[:1], target=0, baselines=3, n_samples=32
    )


def described(attr: Attr, **options: object) -> object:
    """LimeBase with samples that are described as which entries are larger."""
    places = iter(range(1, 40))
    return attr.LimeBase(
        filled(Tabular()),
        LeastSquares(),
        similarity_func=lambda a, b, z, **kwargs: float((-((a - b) ** 2)).sum().exp()),
        perturb_func=lambda a, **kwargs: a + wave(1, 4, start=1.7 * next(places), step=1.9),
        perturb_interpretable_space=False,
        from_interp_rep_transform=None,
        to_interp_rep_transform=lambda p, a, **kwargs: (p > a).long(),
    ).attribute(x[:1], target=2, n_samples=20, **options)


def placed(attr: Attr, inputs: Any, **options: object) -> object:
    """LimeBase with coalitions, of a tuple of inputs, with a keyword for its functions."""
    return attr.LimeBase(
        filled(Two()),
        LeastSquares(),
        similarity_func=lambda a, b, z, scale, **kwargs: torch.exp(scale * z.float().mean()),
        perturb_func=every,
        perturb_interpretable_space=True,
        from_interp_rep_transform=lambda z, a, **kwargs: tuple(
            each * z[0, i] for i, each in enumerate(a)
        ),
        to_interp_rep_transform=None,
    ).attribute(inputs, target=0, n_samples=8, num_interp_features=2, scale=0.4, **options)


CASES |= {
    "LimeBase/descriptions of inputs": described,
    "LimeBase/five per pass": lambda attr: described(attr, perturbations_per_eval=5),
    "LimeBase/inputs of descriptions": lambda attr: placed(
        attr, tuple(each[:1] for each in both), additional_forward_args=(0.7,)
    ),
}

# -------------------------------------------------------------------- distances and draws


def distances(_attr: Attr) -> object:
    pairs = [(x, wave(3, 4)), (both, (wave(3, 3), wave(3, 2, 2))), (ids(), ids() * 2)]
    kinds = [("cosine", 1.0), ("cosine", 0.2), ("euclidean", 1.0), ("euclidean", 5.0)]
    found = [exponential(*kind)(a, b, None) for kind in kinds for a, b in [*pairs, (x, x * 0)]]
    return torch.tensor(found)


CASES |= {
    "similarity": distances,
    "ProductBaselines/lists": lambda attr: attr.ProductBaselines([[1], ["a"], [None]]).sample(),
    "ProductBaselines/names": lambda attr: attr.ProductBaselines(
        {"name": ["Ann"], ("city", "state"): [("Austin", "TX")]}
    )(),
}
