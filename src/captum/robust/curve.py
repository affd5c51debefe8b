"""How many answers survive an attack, at every radius."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import describe, extra, warn, wrong
from captum._engine.nest import map_tensors, tensors
from captum.robust.base import Attack
from captum.robust.losses import labels_of
from captum.robust.square import Square

_QUERIES = 200  # of the check that gradients are not masked
_NOT_MASKED = 0.02  # of the answers: fewer that only the check breaks are luck


@dataclass(frozen=True)
class RobustnessCurve:
    """What `robustness_curve` found: of N examples, at R radii.

    Args:
        radii: in rising order, (R,).
        accuracy: the share of right answers that survive, (R,): from 1 to 0, higher is better.
        broken_at: for each example the least radius that breaks it, (N,): 0 where its answer is
            wrong as it is, infinite where none does.
        points: the inputs that break it, in the inputs' own shape; where none does, the last ones
            tried.
    """

    radii: Tensor
    accuracy: Tensor
    broken_at: Tensor
    points: Any

    def plot(self, axis: Any = None, label: str | None = None, show: bool = False) -> Any:
        """The curve, on a matplotlib axis."""
        pyplot = extra("matplotlib.pyplot", "viz")
        if axis is None:
            axis = pyplot.subplots(figsize=(5, 3.5))[1]
        axis.plot(self.radii.tolist(), self.accuracy.tolist(), marker="o", label=label)
        axis.set_xlabel("radius")
        axis.set_ylabel("right answers that survive")
        axis.set_ylim(-0.02, 1.02)
        if label is not None:
            axis.legend()
        if show:
            pyplot.show()
        return axis


def robustness_curve(
    attack: Attack,
    inputs: Any,
    target: Any,
    radii: Sequence[float] | Tensor,
    additional_forward_args: Any = None,
    radius_name: str = "radius",
    check_gradients: bool = True,
    **attack_kwargs: Any,
) -> RobustnessCurve:
    r"""Share of examples whose answer no attack of at most a radius has changed, for all radii.

    All examples and radii go through the attack together. What breaks at a radius counts as broken
    at every larger one.

    Args:
        attack: `PGD`, `APGD`, `FGSM`, `Square` or another whose radius may differ by example.
        inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
        target: the right answers, of an output (N, C).
        radii: R of them.
        additional_forward_args: see the glossary: what else the model takes, by position.
        radius_name: the attack's name for it, such as "epsilon" of `FGSM`.
        check_gradients: let `Square`, which asks for no gradient, attack what has survived the
            largest radius, and warn where it breaks what gradients could not.
        attack_kwargs: what `perturb` of the attack takes, too.

    Raises:
        ValueError: no radii, or negative ones; an output that is not (N, C).

    >>> import torch
    >>> from captum.robust import FGSM, robustness_curve
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> model.weight.data = torch.eye(2)
    >>> fgsm = FGSM(model, torch.nn.CrossEntropyLoss(reduction="none"))
    >>> x = torch.tensor([[2., 1.], [4., 1.], [0., 1.]])
    >>> curve = robustness_curve(fgsm, x, 0, [0.1, 1., 2.], radius_name="epsilon")
    >>> curve.accuracy, curve.broken_at
    (tensor([0.6667, 0.3333, 0.0000]), tensor([1., 2., 0.]))
    """
    rising = torch.as_tensor(radii, dtype=torch.float64).sort().values
    if rising.ndim != 1 or not len(rising) or float(rising[0]) < 0:
        raise wrong(ValueError, "radii of at least 0", describe(radii), "radii=[0.01, 0.02, 0.04]")
    count = len(next(tensors(inputs)))
    labels = labels_of(target, count)

    def tiled(value: Any) -> Any:
        return map_tensors(
            lambda t: (
                t.repeat(len(rising), *[1] * (t.ndim - 1)) if t.ndim and len(t) == count else t
            ),
            value,
        )

    args = additional_forward_args
    points = attack.perturb(
        tiled(inputs),
        target=tiled(labels),
        additional_forward_args=tiled(args),
        **{radius_name: rising.repeat_interleave(count)},
        **tiled(attack_kwargs),
    )
    right = _right(attack, inputs, labels, args)
    survived = _right(attack, points, tiled(labels), tiled(args)).view(len(rising), count) & right
    survived = survived.cumprod(0).bool()
    broken = torch.where(
        survived.all(0), torch.inf, rising[survived.sum(0).clamp(max=len(rising) - 1)]
    )
    broken = torch.where(right, broken, 0.0).float()
    place = survived.sum(0).clamp(max=len(rising) - 1)
    rows = place * count + torch.arange(count)
    if check_gradients and not isinstance(attack, Square) and bool(survived[-1].any()):
        _check(attack, inputs, labels, args, float(rising[-1]), survived[-1])
    return RobustnessCurve(
        rising.float(),
        survived.float().mean(1),
        broken,
        map_tensors(lambda t: t[rows.to(t.device)], points),
    )


def _right(attack: Attack, inputs: Any, labels: Tensor, args: Any) -> Tensor:
    """Whether the answers are the labels, on the CPU."""
    with attack._opened(inputs, labels, args) as assault:
        logits = assault.outputs(assault.start)
    if logits.ndim != 2:
        raise wrong(ValueError, "an output (N, C)", describe(logits), "a classifier")
    return (logits.argmax(1) == labels.to(logits.device)).cpu()


def _check(
    attack: Attack, inputs: Any, labels: Tensor, args: Any, radius: float, survived: Tensor
) -> None:
    """Warn where random squares break what the attack did not."""
    generator = torch.Generator().manual_seed(0)
    square = Square(attack.forward_func, None, attack.lower_bound, attack.upper_bound)
    points = square.perturb(inputs, radius, labels, args, query_num=_QUERIES, generator=generator)
    more = survived & ~_right(attack, points, labels, args)
    if int(more.sum()) > _NOT_MASKED * len(survived):
        warn(
            f"random squares break {int(more.sum())} of the {int(survived.sum())} answers that "
            f"{type(attack).__name__} did not: the model's gradients are masked, and the curve is "
            "too high. Try Square itself, or APGD with loss_func='dlr'."
        )
