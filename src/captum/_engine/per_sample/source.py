"""The gradients of every example's loss, by each parameter: in the cheapest way that is right.

One pass of the batch gives those of parameters that are used in known ways (`uses.py`). The others
are asked one example at a time, by `vmap` where the model allows it. What is known is checked: on a
few examples, each example's gradients must be what autograd gives for it alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from captum._engine.errors import describe, wrong
from captum._engine.model import has_recurrent_layer, inside, mixes_rows
from captum._engine.nest import map_tensors, tensors
from captum._engine.per_sample.factors import Factor, Whole
from captum._engine.per_sample.uses import Uses

Factors = dict[str, Factor]

_CHECKED = 3  # examples, each of them also alone
# Of a parameter's largest gradient; times the rounding of the type over float32's.
_TOLERANCE = 1e-4
_NOTHING = 1e-2  # of the largest gradient of all: smaller ones are mostly rounding
_CHUNK = 32  # examples of a vmap


@dataclass(frozen=True)
class Batch:
    """Examples: what the model is called with, and what the loss compares its output with."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    targets: Any

    def __len__(self) -> int:
        return next(len(t) for t in tensors((self.args, self.kwargs, self.targets)))

    def narrow(self, start: int, length: int) -> Batch:
        return self._mapped(lambda t: t.narrow(0, start, length))

    def to(self, device: torch.device) -> Batch:
        return self._mapped(lambda t: t.to(device))

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(
            map_tensors(change, self.args),
            map_tensors(change, dict(self.kwargs)),
            map_tensors(change, self.targets),
        )


# The losses of a batch's examples, or their sum: of the model's output and the targets.
Loss = Callable[[Any, Any], Tensor]


@dataclass
class _Notes:
    by_hand: dict[str, str] = field(default_factory=dict)
    checked: bool = False
    vmaps: bool = True


_FOUND: WeakKeyDictionary[nn.Module, dict[Any, _Notes]] = WeakKeyDictionary()


class GradientSource:
    """Gradients of Σ_i loss_i, example by example.

    Args:
        model: the model, in a mode in which examples do not meet.
        loss: gives the losses of N examples, (N,), or their sum.
        names: parameters, by name; all that need gradients by default.
    """

    def __init__(self, model: nn.Module, loss: Loss, names: Sequence[str] | None = None) -> None:
        self.model, self.loss = inside(model), loss
        model = self.model
        every = dict(model.named_parameters())
        self.parameters = {name: every[name] for name in (names if names is not None else every)}
        # Parameter -> why it is asked one example at a time. What was found of a model is kept.
        case = (model.training, *((name, id(p)) for name, p in self.parameters.items()))
        self._notes = _FOUND.setdefault(model, {}).setdefault(case, _Notes())
        self.by_hand = self._notes.by_hand

    @property
    def nbytes(self) -> int:
        """What one example's gradients take, written out."""
        return sum(p.numel() * p.element_size() for p in self.parameters.values())

    def factors(self, batch: Batch, loss: Loss | None = None) -> Factors:
        """The gradients by every parameter, for each example of a batch."""
        if mixes_rows(self.model):
            raise wrong(
                ValueError,
                "a model whose examples do not meet",
                "batch normalisation in training mode",
                "model.eval()",
            )
        loss = loss or self.loss
        if not self._notes.checked:
            self._check(batch, loss)
        found = self._known(batch, loss)
        missing = [name for name in self.parameters if name not in found]
        if missing:
            found.update(self._one_by_one(batch, loss, missing))
        return {name: found[name] for name in self.parameters}

    def losses(self, batch: Batch, loss: Loss | None = None) -> Tensor:
        """The sum of the examples' losses, with its graph."""
        return self._summed(
            (loss or self.loss)(self.model(*batch.args, **batch.kwargs), batch.targets)
        )

    # -------------------------------------------------------------------- one pass for all

    def _known(self, batch: Batch, loss: Loss) -> Factors:
        """Those of parameters that are used in known ways."""
        wanted = {id(p): p for name, p in self.parameters.items() if name not in self.by_hand}
        if not wanted:
            return {}
        device = next(iter(wanted.values())).device
        kind = next(iter(wanted.values())).dtype
        with torch.enable_grad():
            anchor = torch.zeros((), device=device, dtype=kind, requires_grad=True)
            with Uses(wanted, len(batch), anchor) as uses:
                output = self.model(*batch.args, **batch.kwargs)
            total = self._summed(loss(output, batch.targets))
            if total.requires_grad:
                torch.autograd.grad(total, anchor, allow_unused=True)
        made = uses.factors()
        found: Factors = {}
        for name, p in self.parameters.items():
            if id(p) in uses.others:
                self.by_hand.setdefault(name, "it is used in a way that is not known")
            elif id(p) in made and len(made[id(p)]) == len(batch):
                found[name] = made[id(p)]
            elif id(p) not in made and name not in self.by_hand:
                found[name] = Whole(p.new_zeros(len(batch), p.numel()))  # not in this pass
        return found

    @staticmethod
    def _summed(losses: Tensor) -> Tensor:
        if not isinstance(losses, Tensor):
            raise wrong(
                TypeError, "a loss that is a tensor", describe(losses), "nn.CrossEntropyLoss()"
            )
        return losses.sum()

    # ----------------------------------------------------------------- one example at a time

    def _one_by_one(self, batch: Batch, loss: Loss, names: Sequence[str]) -> Factors:
        # Functional calls leave traces on recurrent layers.
        if self._notes.vmaps and not has_recurrent_layer(self.model):
            try:
                return self._by_vmap(batch, loss, names)
            except (RuntimeError, ValueError, NotImplementedError):
                self._notes.vmaps = False  # the model looks at its values, or does what has no rule
        return self._by_loop(batch, loss, names)

    def _by_vmap(self, batch: Batch, loss: Loss, names: Sequence[str]) -> Factors:
        chosen = {name: self.parameters[name].detach() for name in names}
        state = {
            **{k: p.detach() for k, p in self.model.named_parameters() if k not in chosen},
            **dict(self.model.named_buffers()),
        }

        def of_one(parameters: Any, args: Any, kwargs: Any, targets: Any) -> Tensor:
            def row(t: Tensor) -> Tensor:
                return t.unsqueeze(0)

            output = functional_call(
                self.model,
                {**state, **parameters},
                map_tensors(row, args),
                map_tensors(row, kwargs),
            )
            return self._summed(loss(output, map_tensors(row, targets)))

        call = vmap(grad(of_one), in_dims=(None, 0, 0, 0), chunk_size=_CHUNK, randomness="error")
        with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():  # the only one vmap knows
            warnings.filterwarnings("ignore", "There is a performance drop")
            made = call(chosen, batch.args, dict(batch.kwargs), batch.targets)
        return {name: Whole(value.flatten(1)) for name, value in made.items()}

    def _by_loop(self, batch: Batch, loss: Loss, names: Sequence[str]) -> Factors:
        rows = [self._alone(batch.narrow(i, 1), loss, names) for i in range(len(batch))]
        return {
            name: Whole(torch.stack(column))
            for name, column in zip(names, zip(*rows, strict=True), strict=True)
        }

    def _alone(self, example: Batch, loss: Loss, names: Sequence[str]) -> list[Tensor]:
        """Ordinary gradients of one example, each (P,)."""
        chosen = [self.parameters[name] for name in names]
        with torch.enable_grad(), needing(chosen):
            total = self.losses(example, loss)
            if not total.requires_grad:
                return [torch.zeros_like(p).flatten() for p in chosen]
            made = torch.autograd.grad(total, chosen, allow_unused=True)
        return [
            torch.zeros_like(p).flatten() if g is None else g.flatten()
            for g, p in zip(made, chosen, strict=True)
        ]

    # ------------------------------------------------------------------------ the check

    def _check(self, batch: Batch, loss: Loss) -> None:
        """Move parameters whose gradients are not those of examples alone to the slow way."""
        few = batch.narrow(0, min(_CHECKED, len(batch)))
        found = self._known(few, loss)
        names = list(found)
        for i in range(len(few) if names else 0):
            alone = self._alone(few.narrow(i, 1), loss, names)
            overall = max(float(truth.abs().max()) for truth in alone)
            for name, truth in zip(names, alone, strict=True):
                made = found[name].narrow(i, 1).flat()[0]
                rounding = torch.finfo(truth.dtype).eps / torch.finfo(torch.float32).eps
                size = max(float(truth.abs().max()), _NOTHING * overall)
                allowed = _TOLERANCE * max(1.0, rounding) * size
                if not torch.allclose(made, truth, rtol=0, atol=allowed):
                    self.by_hand.setdefault(
                        name, "its examples cannot be told apart where it is used"
                    )
        self._notes.checked = len(few) > 1


class needing:  # noqa: N801 - reads as words in a with
    """Parameters that need gradients for a while, also where the user froze them."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.frozen = [p for p in parameters if not p.requires_grad]

    def __enter__(self) -> None:
        for p in self.frozen:
            p.requires_grad_(True)

    def __exit__(self, *_: object) -> None:
        for p in self.frozen:
            p.requires_grad_(False)
