"""Guided backpropagation and deconvolution: only the way back through ReLU is another.

    guided          g -> g⁺ · [x > 0]
    deconvolution   g -> g⁺

Papers: Springenberg et al., Striving for simplicity: the all convolutional net (2014),
https://arxiv.org/abs/1412.6806; Zeiler, Fergus, Visualizing and understanding convolutional
networks (2014), https://arxiv.org/abs/1311.2901.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from captum._engine.rules.graph import RULED, Findings
from captum._engine.rules.mode import RuleMode
from captum._engine.rules.operation import Operation, resolve
from captum._engine.rules.primitives import carry
from captum._engine.rules.report import Rules


class Rectifier:
    """The rule of ReLU; while `plain`, its ordinary gradient."""

    def __init__(self, masked: bool) -> None:
        self.masked, self.plain = masked, False
        self.__name__ = "guided" if masked else "deconvolution"

    def __call__(self, op: Operation) -> Any:
        value = op.value()

        def back(saved: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
            if self.plain:
                return [grad * saved[0]]
            kept = grad.clamp(min=0)
            return [kept.mul_(saved[0]) if self.masked else kept]

        return carry(value, [op.args[0]], back, [value > 0])

    def heard(self, grad: Tensor) -> Tensor | None:
        """The same behind an ordinary ReLU, whose own gradient has the mask."""
        return None if self.plain else grad.clamp(min=0)


class RectifiedMode(RuleMode):
    """A mode that asks of the graph only that no ReLU ran out of sight."""

    def live(self, value: Any) -> bool:
        """Weights are as good: what no input reaches gets nothing back."""
        return isinstance(value, Tensor) and value.requires_grad

    def _handle(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], live: list[Tensor]
    ) -> Any:
        name = resolve(func)[0]
        rule = self.rules.get(name)
        x = args[0] if args else None
        if not (isinstance(rule, Rectifier) and rule.masked and torch.is_grad_enabled()):
            return super()._handle(func, args, kwargs, live)
        if not isinstance(x, Tensor) or x._is_view() or not x.requires_grad:
            return super()._handle(func, args, kwargs, live)
        # A hook costs less than a rule. It would miss what is written into a view.
        self._count(name, rule)
        result = func(*args, **kwargs)
        result.register_hook(rule.heard)
        result.grad_fn.metadata[RULED] = True  # also in place, where the result is the argument
        self._follow(result)
        return result

    def audited(self, numbers: Sequence[Tensor], sources: Sequence[Tensor]) -> Findings:
        findings = self.audit(numbers, sources)
        hidden = tuple(name for name in findings.unseen if _may_hide(name))
        findings = Findings(findings.connected, frozenset(), hidden)
        self.refuse(findings)
        return findings


def _may_hide(name: str) -> bool:
    return name in ("Relu", "scripted", "checkpoint") or "CompiledFunction" in name


class RectifiedRules(Rules):
    """The rules of guided backpropagation, or of deconvolution without the mask."""

    def __init__(self, masked: bool) -> None:
        self.rectifier = Rectifier(masked)
        super().__init__({"relu": self.rectifier})

    def mode(
        self, model: Any, references: Sequence[Tensor] | None = None, shared: bool = False
    ) -> RuleMode:
        return RectifiedMode(self.table, model)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        self.rectifier.plain = True
        try:
            yield
        finally:
            self.rectifier.plain = False
