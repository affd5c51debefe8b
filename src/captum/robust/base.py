"""What every perturbation is, and what attacks on a model's loss share."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from captum._engine.call import Call, make_call, matched
from captum._engine.errors import describe, warn, wrong
from captum._engine.evaluate import Engine, opened
from captum._engine.model import Model
from captum._engine.nest import Tensors, is_real
from captum._engine.target import Raw
from captum.robust.losses import LossFunction, loss_target


class Perturbation(ABC):
    """Changes inputs. To write one, define `perturb`; calling it does the same.

    >>> from captum.robust import Perturbation
    >>> class Brighter(Perturbation):
    ...     def perturb(self, inputs, by):
    ...         return inputs + by
    >>> Brighter()(1, by=2)
    3
    """

    perturb: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.perturb(*args, **kwargs)


@dataclass
class Assault:
    """One call of an attack: the loss at points near the inputs, and where points may lie."""

    engine: Engine
    call: Call
    masks: Tensors | None
    bound: Callable[[Tensor], Tensor]
    sign: float  # -1 where the loss is to fall

    @property
    def start(self) -> Tensors:
        return self.call.inputs

    @property
    def rows(self) -> int:
        return self.call.rows

    def of(self, rows: Tensor) -> Assault:
        """The same of some examples."""
        masks = self.masks and tuple(m if len(m) == 1 else m[rows] for m in self.masks)
        return replace(self, call=self.call.chosen(rows), masks=masks)

    def slopes(self, points: Tensors) -> tuple[Tensor, Tensors]:
        """What is to grow at points (N, *F), (N,), and its gradients; 0 where a mask says so."""
        numbers, _, slopes = self.engine.differentiated(self.call, inputs=points)
        masks = self.masks or (None,) * len(slopes)
        slopes = tuple(
            self.sign * (g if m is None else g * m) for g, m in zip(slopes, masks, strict=True)
        )
        return self.sign * numbers, slopes

    def outputs(self, points: Tensors) -> Tensor:
        """The model's whole output at points, (N, ...)."""
        return self.engine.evaluate(replace(self.call, targets=(Raw(),)), inputs=points)

    def numbers(self, points: Tensors, copies: int = 1) -> Tensor:
        """What is to grow at points (copies · N, *F), without gradients."""
        return self.sign * self.engine.evaluate(self.call, copies, inputs=points)

    @property
    def free(self) -> Tensors:
        """The masks; ones where there are none."""
        return self.masks or tuple(x.new_ones(()) for x in self.start)

    def within(self, points: Tensors) -> Tensors:
        """Points as the user's bounds allow them."""
        return tuple(map(self.bound, points))

    def result(self, points: Tensors) -> Any:
        """Points in the user's own shape."""
        return self.call.form.arrange(points)


class Attack(Perturbation):
    """A perturbation that makes a loss of the model large, or small for a wanted answer.

    Args:
        forward_func: the model.
        loss_func: of output and labels: losses one by one, or their sum or mean. -log f of the
            target's output f by default, as of probabilities; of what is not positive, -f.
        lower_bound: of what inputs may become.
        upper_bound: likewise.
    """

    bound: Callable[[Tensor], Tensor]

    def __init__(
        self,
        forward_func: Model,
        loss_func: LossFunction | str | None = None,
        lower_bound: float = float("-inf"),
        upper_bound: float = float("inf"),
    ) -> None:
        if not callable(forward_func):
            raise wrong(
                TypeError,
                "a model: a torch.nn.Module or a function",
                repr(forward_func),
                f"{type(self).__name__}(model)",
            )
        if not lower_bound < upper_bound:
            raise wrong(
                ValueError,
                "lower_bound below upper_bound",
                f"{lower_bound} and {upper_bound}",
                "lower_bound=0, upper_bound=1",
            )
        self.forward_func, self.loss_func = forward_func, loss_func
        self.lower_bound, self.upper_bound = lower_bound, upper_bound
        self.bound = self._clamped

    def _clamped(self, values: Tensor) -> Tensor:
        return values.clamp(self.lower_bound, self.upper_bound)

    @contextmanager
    def _opened(
        self,
        inputs: Any,
        target: Any,
        args: Any,
        targeted: bool = False,
        mask: Any = None,
    ) -> Iterator[Assault]:
        engine = Engine(self.forward_func)
        with opened(engine):
            call = make_call(self.forward_func, inputs, None, args)
            if not all(map(is_real, call.inputs)):
                raise wrong(
                    TypeError,
                    "inputs that can change a little: floating point",
                    describe(inputs),
                    "an attack on embeddings, of a model that takes them",
                )
            call = replace(call, targets=(loss_target(self.loss_func, target, call.rows),))
            masks = matched(call, mask, "mask")
            yield Assault(engine, call, masks, self.bound, -1.0 if targeted else 1.0)


def tell_masked(slopes: Tensors) -> None:
    """A warning where examples have no slope at all: no attack by gradients can move them."""
    flat = torch.cat([g.flatten(1) for g in slopes], 1)
    still = int((flat == 0).all(1).sum())
    if still:
        warn(
            f"the loss of {still} of {len(flat)} examples has no gradient: an attack that follows "
            "it finds nothing there, which does not make the model robust. Try loss_func='dlr' of "
            "logits, or captum.robust.Square, which asks for no gradient."
        )
