"""What an explanation tells of itself: which rule served each operation, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.errors import warn, wrong
from captum._engine.model import owner
from captum._engine.rules.graph import Findings
from captum._engine.rules.mode import RuleMode
from captum._engine.rules.operation import Rule
from captum._engine.rules.references import ReferenceMode


@dataclass(frozen=True)
class Served:
    """One operation of the model, and the rule that carried scores through it."""

    operation: str
    rule: str
    module: str  # where it ran, "" for the model itself
    times: int


@dataclass
class Report:
    """How an explanation came about, and how far its scores are from their sum.

    Attributes:
        error: Σ scores - what they should sum to, (N,); several targets lead.
        served: the operations that had a rule.
        fallbacks: those that had none: their ordinary gradient served.
        stopped: where gradients of the inputs ended, as at a `detach`.
        absorbed: for LRP, what stays in biases and in operations that do not conserve: by
            operation, summed over the batch and its targets.
    """

    error: Tensor = field(default_factory=lambda: torch.zeros(0))
    served: list[Served] = field(default_factory=list)
    fallbacks: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    absorbed: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        rows = [("operation", "rule", "module", "times")]
        rows += [(s.operation, s.rule, s.module, str(s.times)) for s in self.served]
        rows += [(name, "none: gradient", "", "") for name in self.fallbacks]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        if self.error.numel():
            lines.append(f"largest error: {float(self.error.abs().max()):.3g}")
        lines += [f"stopped at: {', '.join(self.stopped)}"] if self.stopped else []
        lines += [f"absorbed by {name}: {share:.3g}" for name, share in self.absorbed.items()]
        return "\n".join(lines)


class Rules:
    """The rules of one `attribute()` call: makes the mode of each pass, keeps what it found.

    Args:
        table: operation -> rule.
        opaque: rules for whole modules.
        named: whether it is to be known which module runs.
    """

    def __init__(
        self,
        table: Mapping[str, Rule],
        opaque: Mapping[nn.Module, Rule] | None = None,
        *,
        named: bool = False,
    ) -> None:
        self.table, self.opaque, self.named = table, opaque or {}, named
        self.report = Report()
        self.halved = False  # whether something ran in half precision

    def mode(
        self, model: Any, references: Sequence[Tensor] | None = None, shared: bool = False
    ) -> RuleMode:
        """A mode for one pass: one that knows references, unless a subclass has another."""
        return ReferenceMode(
            self.table,
            model,
            references=references,
            shared=shared,
            opaque=self.opaque,
            named=self.named,
        )

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Gradients taken in here are the ordinary ones, where a rule can do without itself."""
        yield

    def again_from(self, report: Report) -> None:
        """Passes start, or start again: what the ones given up have found does not count."""
        self.report = deepcopy(report)

    def took(self, mode: RuleMode, findings: Findings) -> None:
        """A pass is over: the last one's operations are reported, and all that was missing."""
        self.halved |= mode.halved
        report = self.report
        report.served = [Served(*key, times) for key, times in mode.served.items()]
        for name, share in getattr(mode, "absorbed", {}).items():
            report.absorbed[name] = report.absorbed.get(name, 0.0) + share
        report.fallbacks = sorted({*report.fallbacks, *findings.unruled})
        report.stopped = list(dict.fromkeys([*report.stopped, *mode.stopped]))

    def judge(self, strict: bool, consequence: str, broken: bool) -> None:
        """Warn of what had no rule, or refuse it; and of a stopped gradient that broke the sum."""
        fallbacks, stopped = self.report.fallbacks, self.report.stopped
        if fallbacks:
            what = f"no rule for {', '.join(fallbacks)}: the ordinary gradient serves"
            remedy = f"a rule for it, by its name: rules={{{fallbacks[0]!r}: ...}}"
        elif broken and stopped:
            what = f"something depends on the inputs without a gradient, at {', '.join(stopped)}"
            remedy = "a model without detach, no_grad or branches that the inputs decide"
        elif broken:
            what = "the scores do not add up"
            remedy = (
                "a model whose rows do not depend on each other, nor its indices on the data; "
                "return_report=True tells what served"
            )
        else:
            return
        if strict:
            expected = "a rule for every operation on the way, with strict=True"
            raise wrong(ValueError, expected, what, f"{remedy}; or strict=False")
        warn(f"{what}, and {consequence}. What would help is {remedy}.")


def split_rules(model: Any, rules: Mapping[Any, Rule] | None) -> tuple[dict[str, Rule], Opaque]:
    """The user's own rules: for operations by name, and for the modules of a type."""
    named: dict[str, Rule] = {}
    opaque: dict[nn.Module, Rule] = {}
    module = owner(model)
    modules = list(module.modules()) if module is not None else []
    for key, rule in (rules or {}).items():
        if not callable(rule):
            raise wrong(TypeError, "a rule: a function of an operation", repr(rule), _EXAMPLE)
        if isinstance(key, str):
            named[key] = rule
        elif isinstance(key, type) and issubclass(key, nn.Module):
            opaque |= {module: rule for module in modules if isinstance(module, key)}
        else:
            raise wrong(TypeError, "rules by operation name or module type", repr(key), _EXAMPLE)
    return named, opaque


Opaque = dict[nn.Module, Rule]
_EXAMPLE = "rules={'swish': elementwise, MyActivation: elementwise}"
