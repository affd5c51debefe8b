"""What gates of every distribution share: who shares a gate, and what an open gate costs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from captum._engine.errors import describe, wrong
from captum._engine.paths import wide

_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda chances: chances,
    "mean": Tensor.mean,
    "sum": Tensor.sum,
}

_WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class StochasticGatesBase(nn.Module, ABC):
    r"""Inputs times gates that are 0, 1 or between, and the expected number of open gates.

    x̃ = x · clamp(z, 0, 1) with z drawn anew for every example, and λ Σ_g P(z_g > 0): a model
    trained with both learns which inputs it can do without. In eval mode, z is a fixed value.

    A distribution of your own is a subclass with the three methods that are abstract here.
    Gates are float32 or better, whatever the inputs are; gated inputs keep their dtype.

    Args:
        n_gates: how many gates, G.
        mask: integers 0 to G - 1, which gate each element has; broadcastable to the inputs
            (N, *F). Without, every element of an example has its own.
        reg_weight: λ, the price of an open gate.
        reg_reduction: of the prices of all gates: sum, mean or none.
    """

    mask: Tensor | None
    _groups: Tensor | None

    def __init__(
        self,
        n_gates: int,
        mask: Tensor | None = None,
        reg_weight: float = 1.0,
        reg_reduction: str = "sum",
    ) -> None:
        super().__init__()
        if isinstance(n_gates, bool) or not isinstance(n_gates, int) or n_gates < 1:
            raise wrong(ValueError, "n_gates of at least 1", f"n_gates={n_gates!r}", "n_gates=30")
        if reg_reduction not in _REDUCTIONS:
            known = ", ".join(map(repr, _REDUCTIONS))
            raise wrong(ValueError, f"one of {known}", repr(reg_reduction), "reg_reduction='sum'")
        self.n_gates = n_gates
        self.reg_weight = reg_weight
        self.reg_reduction = reg_reduction
        self.register_buffer("mask", None if mask is None else _checked(mask, n_gates))
        self.register_buffer("_groups", None, persistent=False)
        _find_groups(self)
        self.register_load_state_dict_post_hook(  # type: ignore[no-untyped-call]  # torch's is
            _find_groups
        )

    def forward(self, input_tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Gated inputs (N, *F), and the price of the open gates: a number, or (G,).

        Args:
            input_tensor: what is gated, (N, *F); without a mask, F has G elements.

        Raises:
            ValueError: inputs that neither the gates nor the mask fit.
        """
        self._check(input_tensor)
        if self.training:
            gates = self._sample_gate_values(len(input_tensor))
        else:
            gates = self._get_gate_values().unsqueeze(0)  # one row serves all examples
        spread = self._spread(gates.clamp(0, 1), input_tensor.shape)
        if input_tensor.is_floating_point():
            spread = spread.to(input_tensor.dtype)
        reduce = _REDUCTIONS[self.reg_reduction]
        return input_tensor * spread, self.reg_weight * reduce(self._get_gate_active_probs())

    def get_gate_values(self, clamp: bool = True) -> Tensor:
        """The gates of eval mode, (G,).

        Args:
            clamp: within 0 and 1; otherwise as learned, which still ranks gates that are all
                open or all shut.
        """
        values = self._get_gate_values().detach()
        return values.clamp(0, 1) if clamp else values.clone()

    def get_gate_active_probs(self) -> Tensor:
        """P(z > 0), the chance of each gate to be open, (G,)."""
        return self._get_gate_active_probs().detach()

    def extra_repr(self) -> str:
        return f"n_gates={self.n_gates}"

    @abstractmethod
    def _sample_gate_values(self, batch_size: int) -> Tensor:
        """Gates at random, (N, G); what lies outside 0 and 1 is clamped later."""

    @abstractmethod
    def _get_gate_values(self) -> Tensor:
        """Gates without chance, (G,); what lies outside 0 and 1 is clamped later."""

    @abstractmethod
    def _get_gate_active_probs(self) -> Tensor:
        """P(z > 0), (G,), with its gradient."""

    def _check(self, x: Tensor) -> None:
        if not isinstance(x, Tensor):
            raise wrong(TypeError, "a tensor to gate", describe(x), "gates(torch.rand(8, 30))")
        if _fit(x, self.mask, self.n_gates):
            return
        if self.mask is None:
            wanted, works = f"{self.n_gates} elements in each example", f"(8, {self.n_gates})"
        else:
            shape = tuple(self.mask.shape)
            wanted, works = f"a shape that the mask {shape} broadcasts to", f"{(8, *shape)}"
        raise wrong(
            ValueError, f"inputs (N, *F) with {wanted}", describe(x), f"an input of shape {works}"
        )

    def _spread(self, gates: Tensor, shape: torch.Size) -> Tensor:
        """Every element's gate, in a shape that broadcasts to the inputs', from (N or 1, G)."""
        groups = self._groups
        if groups is None:
            return gates.view(-1, *shape[1:])
        groups = groups.view(*[1] * (len(shape) - groups.ndim), *groups.shape)
        if len(groups) == 1:
            return gates.index_select(1, groups.flatten()).view(-1, *groups.shape[1:])
        # Every example has a mask of its own.
        return gates.expand(len(groups), -1).gather(1, groups.flatten(1)).view(groups.shape)


def _find_groups(gates: StochasticGatesBase, _: object = None) -> None:
    """The mask, of size 1 along the dimensions it does not depend on: there a gate broadcasts."""
    groups = gates.mask
    if groups is not None:
        for i in range(groups.ndim):
            first = groups.narrow(i, 0, 1)
            groups = first if torch.equal(groups, first.expand_as(groups)) else groups
        groups = groups.contiguous()
    gates._groups = groups


def _checked(mask: Tensor, n_gates: int) -> Tensor:
    """The mask as integers, and as a copy: to load a state writes into it."""
    works = "n_gates=int(mask.max()) + 1, with a mask that counts from 0"
    if not isinstance(mask, Tensor) or mask.dtype not in _WHOLE or not mask.numel():
        raise wrong(ValueError, "a mask of integers", describe(mask), works)
    groups = mask.to(torch.long, copy=True)
    least, most = int(groups.min()), int(groups.max())
    if least < 0 or most != n_gates - 1:
        expected = f"a mask whose integers go from 0 to n_gates - 1 = {n_gates - 1}"
        raise wrong(ValueError, expected, f"integers from {least} to {most}", works)
    return groups


def _fit(x: Tensor, mask: Tensor | None, n_gates: int) -> bool:
    """Is there a gate for every element?"""
    if mask is None:
        return x.ndim > 1 and math.prod(x.shape[1:]) == n_gates
    sizes = zip(reversed(mask.shape), reversed(x.shape), strict=False)
    return x.ndim >= max(2, mask.ndim) and all(own in (1, given) for own, given in sizes)


def precise(parameter: Tensor) -> Tensor:
    """A parameter in float32 or better: in float16, the sum of 100 000 chances is infinite."""
    return parameter.to(wide(parameter.dtype))
