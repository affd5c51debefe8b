"""The mode of LRP: which rule each operation gets, and where relevance stays.

The rules' arithmetic stands in `relevance.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from captum._engine.errors import wrong
from captum._engine.nest import map_tensors
from captum._engine.rules.graph import Findings
from captum._engine.rules.mode import MARK, RuleMode
from captum._engine.rules.operation import (
    Operation,
    Rule,
    body_of,
    flat,
    normal_form,
    resolve,
    words,
)
from captum._engine.rules.report import Rules
from captum._engine.rules.secants import PIECEWISE, SMOOTH
from captum._engine.rules.written_out import DROPOUTS

# fmt: off
# Graph nodes of functions with f(t x) = t f(x): their gradient hands all relevance on. Softmax is
# here by AttnLRP's choice.
HOMOGENEOUS = words("""
    Relu LeakyRelu Abs PreluKernel RreluWithNoise MaxPool1D MaxPool2DWithIndices
    MaxPool3DWithIndices MaxPool2D AdaptiveMaxPool2D AdaptiveMaxPool3D Max Min Amax Amin Maximum
    Minimum Fmax Fmin Sort Topk Kthvalue Median Softmax LogSoftmax Logsumexp Threshold
""")
# Operations that hand values on as they are: no relevance can stay there.
_KEEPING = words("""
    view reshape flatten unflatten transpose t permute expand expand_as squeeze unsqueeze select
    narrow split chunk unbind contiguous clone to float double type_as __getitem__ detach
    split_with_sizes tensor_split swapaxes swapdims movedim view_as reshape_as __setitem__ roll
    flip type __get__ index_select gather copy zero fill
""")
# fmt: on
WEIGHTED = ["linear", *(f"conv{t}{n}d" for n in "123" for t in ("", "_transpose"))]
MAPS = [*WEIGHTED, "matmul", "mm", "bmm", "mv", "einsum", "addmm"]
HOMOGENEOUS_NAMES = words("relu leaky_relu prelu abs rrelu positive")
# What passes relevance on in its place, whatever rule its module has.
_PASSING = PIECEWISE | SMOOTH | DROPOUTS | {"pow", "float_power"}
# What is linear and works entry by entry, where one operand is live.
_LINEAR_ENTRYWISE = HOMOGENEOUS_NAMES | words("add sub neg rsub")


class Trace(NamedTuple):
    """What is known of a value that was made entry by entry from another one.

    inverse: it is what others are divided by.
    bent: not in proportion.
    origin: the other one, when it was of this version.
    fold: the linear map that made it, whose operand was of this version, and its rule: a batch
        norm that follows becomes a part of it.
    """

    inverse: bool = False
    bent: bool = False
    origin: Tensor | None = None
    version: int = 0
    fold: tuple[Linear, Propagation, int] | None = None


class Linear:
    """An operation that is linear in its one live operand, as a propagation rule sees it.

    Attributes:
        x: the operand.
        weight, bias: constants.
        value: the operation's value, without history.
        module: the module that runs it, where somebody asked for modules.
    """

    def __init__(
        self,
        op: Operation,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        apply: Callable[[Tensor, Tensor, Tensor | None], Tensor],
    ) -> None:
        self.op, self.x, self.apply = op, x, apply
        self.weight, self.bias = weight.detach(), None if bias is None else bias.detach()

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The operation at another operand, weight and bias."""
        return self.apply(x, weight, bias)

    @cached_property
    def value(self) -> Tensor:
        value: Tensor = self.op.value()
        return value

    @property
    def module(self) -> nn.Module | None:
        running = self.op.mode.modules.innermost
        return running[1] if running else None


def is_weight(tensor: Tensor) -> bool:
    base = tensor._base if tensor._is_view() else tensor
    return isinstance(base, nn.Parameter)


class Propagation(Protocol):
    """LRP's rule proper: how relevance goes through an operation.

    whole: whether it looks at nothing but what goes in and comes out.
    """

    whole: bool

    def surrogate(self, linear: Linear) -> Tensor | None:
        """What a linear map is to autograd; None where that is its ordinary gradient."""

    def through(self, op: Operation) -> Any:
        """The result of an operation of another kind, with the history that the rule gives it."""


@dataclass(frozen=True)
class Place:
    """Where an operation stands in the model.

    Attributes:
        operation: its name, such as "conv2d".
        linear: whether it is a linear map with weights.
        position: how many of these ran before it.
        name, module: the module that runs, where somebody asked for modules.
    """

    operation: str
    linear: bool
    position: int
    name: str
    module: nn.Module | None


# The rule for a place, None for the usual one; and whether a batch-norm behind it is folded in.
Choose = Callable[[Place], tuple[Propagation | None, bool]]


class RelevanceMode(RuleMode):
    """A rule mode in which operations get the propagation rule that was chosen for their place.

    Args:
        choose: see `Choose`.
        positions: whether anybody asks for positions, which count what is not live too: a layer's
            relevance ends in the middle of the model.
        accounted: whether to find out where relevance stays, operation by operation.
    """

    accepted = HOMOGENEOUS

    def __init__(
        self,
        rules: Mapping[str, Rule],
        model: Any,
        choose: Choose,
        *,
        opaque: Mapping[nn.Module, Rule] | None = None,
        named: bool = False,
        positions: bool = False,
        accounted: bool = False,
    ) -> None:
        super().__init__(rules, model, opaque=opaque, named=named)
        self.choose, self.accounted = choose, accounted
        self.position = 0
        self.positions = positions
        self.absorbed: dict[str, float] = {}
        self.ended: set[str] = set()  # operations that a rule has made constants
        self._counting = False

    def chosen(self, op: Operation, linear: bool) -> tuple[Propagation | None, bool]:
        name, module = self.modules.innermost or ("", None)
        return self.choose(Place(op.name, linear, self.position, name, module))

    # -------------------------------------------------------------------------------- traces

    def trace(self, value: Tensor) -> Trace:
        note: Trace | None = value.__dict__[MARK][1] if self.live(value) else None
        return note or Trace()

    def origin(self, value: Tensor) -> Tensor:
        """What a live value was made from entry by entry: itself, if nobody knows."""
        trace = self.trace(value)
        known = trace.origin is not None and trace.origin._version == trace.version
        return trace.origin if known and trace.origin is not None else value

    def made(
        self, result: Any, operand: Tensor, *, inverse: bool = False, bent: bool = False
    ) -> Any:
        """A result that was made from an operand entry by entry."""
        if isinstance(result, Tensor) and result.requires_grad:
            known, origin = self.trace(operand)._replace(fold=None), self.origin(operand)
            if origin.shape == result.shape:
                known = known._replace(origin=origin, version=origin._version)
            inverse = inverse or known.inverse or self.trace(result).inverse
            self._mark(result, known._replace(inverse=inverse, bent=bent or known.bent))
        return result

    def common(self, operands: Sequence[Tensor]) -> Tensor | None:
        """The value that all operands were made from entry by entry, if they were."""
        origins = {id(origin): origin for origin in map(self.origin, operands)}
        return next(iter(origins.values())) if len(origins) == 1 else None

    def fold(self, value: Any) -> tuple[Linear, Propagation] | None:
        """The map, and its rule, that a batch norm of its result is a part of.

        Its outputs have to be the norm's channels, and its operand what it was.
        """
        fold = self.trace(value).fold if isinstance(value, Tensor) else None
        if fold is None:
            return None
        linear, rule, version = fold
        name = linear.op.name
        channels = name in WEIGHTED and (name != "linear" or linear.x.ndim == 2)
        return (linear, rule) if channels and linear.x._version == version else None

    def _ordinary(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = super()._ordinary(func, name, args, kwargs)
        if name == "clone" and self.live(args[0]):
            self._mark(result, self.trace(args[0]))
        elif name in _KEEPING and args and self.live(args[0]) and self.trace(args[0]).inverse:
            for tensor in flat(result):
                self._mark(tensor, Trace(inverse=True))
        elif name in _LINEAR_ENTRYWISE and not resolve(func)[1]:
            operands = [t for t in flat(args) if self.live(t)]
            if operands and self.common(operands) is not None:
                self.made(result, operands[0], bent=name in HOMOGENEOUS_NAMES)
        return result

    def observed(self, value: Tensor) -> None:
        """A value whose relevance is asked for: no fold may lead past it."""
        if self.live(value):
            self._mark(value, self.trace(value)._replace(fold=None, origin=None))

    def _overwritten(self, target: Tensor, result: Tensor, op: Operation) -> None:
        super()._overwritten(target, result, op)
        if self._marked(result) and self.trace(result).inverse:
            self._mark(target, Trace(inverse=True))

    # --------------------------------------------------------------------------------- rules

    def _aside(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.positions:
            name = resolve(func)[0]
            weighted = name in MAPS and any(map(is_weight, flat((args, kwargs))))
            self.position += name in WEIGHTED or weighted
            body = body_of(func)
            if body is not None:
                with self:
                    return body(*args, **kwargs)
        return func(*args, **kwargs)

    def _count(self, name: str, rule: Any) -> None:
        """Nothing yet: the rule of its place comes later."""

    def told(self, op: Operation, rule: Any) -> None:
        """An operation was served, by this rule."""
        super()._count(op.name, getattr(rule, "__self__", rule))

    def _finish(self, op: Operation, rule: Rule) -> Any:
        if op.name not in MAPS:
            propagation, _ = self.chosen(op, linear=False)
            # Activations pass relevance on by their own rule, unless one is for them alone.
            if propagation is not None and (propagation.whole or op.name not in _PASSING):
                rule = propagation.through
            self.told(op, rule)
        result = super()._finish(op, rule)
        if op.name in _PASSING and op.live_count == 1:
            return self.made(result, op.args[0], bent=op.name not in DROPOUTS)
        return result

    def refuse(self, findings: Findings) -> None:
        super().refuse(findings)
        if not findings.connected and self.ended:
            raise wrong(
                ValueError,
                "relevance that reaches the site",
                f"none: by its rule it ends at {', '.join(sorted(self.ended))}",
                "another rule than ConstantRule on the only way to the inputs",
            )

    # ---------------------------------------------------------------------------- accounting

    def _handle(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], live: list[Tensor]
    ) -> Any:
        """As ever; and, where accounts are kept, what goes in is compared with what comes out."""
        name = resolve(func)[0]
        counted = (
            self.accounted
            and not self._counting  # a part of what is counted as a whole
            and name not in _KEEPING
            and torch.is_grad_enabled()
            and any(t.requires_grad for t in live)
            and (name in self.rules or body_of(func) is None)
            # One function of one value hands its relevance there, past what it is made of.
            and not (name == "mul" and len(live) > 1 and self.common(live) is not None)
        )
        if not counted:
            return super()._handle(func, args, kwargs, live)
        # Copies, as an operand may have other consumers; out of place, as values are kept.
        name, func, args, kwargs, inplace = normal_form(func, args, kwargs)
        target, operands = args[0], list[Tensor]()
        fold = self.fold(target) if name == "batch_norm" else None
        name = name if fold is None else fold[0].op.name  # of which it is a part

        def alias(value: Tensor) -> Tensor:
            if not (self.live(value) and value.requires_grad):
                return value
            operands.append(value.clone())
            origin = self.origin(value)
            known = self.trace(value)._replace(origin=origin, version=origin._version)
            self._mark(operands[-1], known)
            return operands[-1]

        args, kwargs = map_tensors(alias, args), map_tensors(alias, kwargs)
        self._counting = True
        try:
            result = super()._handle(func, args, kwargs, operands)
        finally:
            self._counting = False
        for operand in operands:
            self._listen(name, operand, -1)
        result = map_tensors(partial(self._heard, name), result)
        if not inplace:
            return result
        target.copy_(result)
        self._written(target)
        return target

    def _heard(self, name: str, result: Tensor) -> Tensor:
        """A copy of a result, as another one may be made of it: an LSTM's output of its cell."""
        if not result.requires_grad:
            return result
        alias = result.clone()
        if self.live(result):
            self._mark(alias, self.trace(result))
        self._listen(name, alias, 1)
        return alias

    def _listen(self, name: str, tensor: Tensor, sign: int) -> None:
        value = tensor.detach().clone()  # what follows may work in place
        absorbed = self.absorbed  # not self, which the graph would keep alive in a circle

        def heard(grad: Tensor) -> None:
            # Where nothing arrives, nothing is meant: a masked score is -inf.
            product = (grad.conj() * value).real if grad.is_complex() else grad * value
            share = sign * float(torch.where(grad == 0, 0, product).sum())
            absorbed[name] = absorbed.get(name, 0.0) + share

        tensor.register_hook(heard)  # type: ignore[no-untyped-call] # torch's


class RelevanceRules(Rules):
    """The rules of LRP for one `attribute()` call: see `RelevanceMode`."""

    def __init__(
        self,
        choose: Choose,
        table: Mapping[str, Rule],
        opaque: Mapping[nn.Module, Rule],
        *,
        named: bool = False,
        positions: bool = False,
        accounted: bool = False,
    ) -> None:
        super().__init__(table, opaque, named=named)
        self.choose, self.positions, self.accounted = choose, positions, accounted

    def mode(
        self, model: Any, references: Sequence[Tensor] | None = None, shared: bool = False
    ) -> RuleMode:
        return RelevanceMode(
            self.table,
            model,
            self.choose,
            opaque=self.opaque,
            named=self.named,
            positions=self.positions,
            accounted=self.accounted,
        )
