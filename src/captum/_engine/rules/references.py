"""Reference values beside live ones: the second forward pass that DeepLIFT needs, at any layout.

The model runs on x exactly as it was written. Each torch function it calls is called once more on
the references of its live arguments, without a graph, and what comes out is kept on the result.
So rules know both ends of every value, and no batch axis has to be doubled or even known.

A reference may be shared: one row for all rows of the batch, which costs one row. Where an
operation does not let one row stand for all, its references are expanded to full size first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from captum._engine.errors import wrong
from captum._engine.nest import Tensors, map_tensors
from captum._engine.rules.mode import MARK, Elementwise, RuleMode
from captum._engine.rules.operation import Operation, Rule, flat, resolve, words
from captum._engine.rules.shared_rows import NotShared, check_write, shared_result

# One draw serves both ends.
_RANDOM = words("rand_like randn_like randint_like bernoulli multinomial normal poisson")
# Where a tensor becomes a number of Python's, that a branch may hang on.
_DECIDING = words("bool int float index item tolist is_nonzero equal allclose")


class ReferenceMode(RuleMode):
    """A rule mode in which every live tensor has its value at the reference.

    Args:
        references: of the sources in their order, each with as many rows as its source or, while
            `shared`, with one; None where sources come from followed inputs.
        shared: whether a reference may have one row for all.
    """

    def __init__(
        self,
        rules: Mapping[str, Rule],
        model: Any = None,
        *,
        references: Sequence[Tensor] | None = None,
        shared: bool = False,
        opaque: Mapping[nn.Module, Rule] | None = None,
        named: bool = False,
    ) -> None:
        super().__init__(rules, model, opaque=opaque, named=named)
        self.references, self.shared = references, shared
        self.weigh: Callable[[Tensor], Tensor] | None = None  # who is told of values without graph
        self.sources: dict[Any, Tensor] = {}  # graph node -> leaf
        self.constants: set[Any] = set()  # graph nodes that are known not to depend on them

    # ------------------------------------------------------------------------------ liveness

    def source(self, leaf: Tensor, index: int, origin: Tensor) -> None:
        if self.references is None:
            reference = self.of(origin)
        else:
            reference = self._own(self.references[index], leaf)
        self.sources[get_gradient_edge(leaf).node] = leaf
        self._mark(leaf, reference.detach())

    def follow(self, inputs: Tensors, references: Sequence[Tensor], graph: bool) -> Tensors:
        """Make inputs live that no scores land on. With a `graph`, nothing of them can escape."""
        live = []
        for x, reference in zip(inputs, references, strict=True):
            leaf = x.detach()
            if graph and leaf.is_floating_point():
                self.sources[get_gradient_edge(leaf.requires_grad_()).node] = leaf
                leaf = leaf.clone()  # which the model may overwrite
            self._mark(leaf, self._own(reference, leaf))
            live.append(leaf)
        return tuple(live)

    def _own(self, reference: Tensor, leaf: Tensor) -> Tensor:
        """A reference that the model may write to, in memory as the leaf is: views are alike."""
        if self.shared and len(reference) == 1:
            return reference.to(leaf, copy=True)
        return torch.empty_like(leaf).copy_(reference).detach()

    def live(self, value: Any) -> bool:
        if not isinstance(value, Tensor):
            return False
        if self._marked(value):
            return True
        if value.grad_fn is None:
            return False
        base = value._base
        if base is not None and value._is_view() and self._marked(base):
            # A view that was taken before its base was written to.
            self._mark(value, _view_like(value, base, self.of(base)))
            return True
        self._refuse_escaped(value)
        return False

    def of(self, tensor: Tensor) -> Tensor:
        """The tensor at the reference; a constant is its own."""
        if not self.live(tensor):
            return tensor.detach()
        reference: Tensor = tensor.__dict__[MARK][1]
        return reference

    def ends(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Where a value is, and where it was at the reference."""
        return tensor.detach(), self.of(tensor)

    def at_reference(self, op: Operation, value: Any) -> Any:
        """The operation's value at the reference, replayed once."""
        if op.replayed is None:
            op.replayed = self._replay(op.function, op.args, op.kwargs, value)
        return op.replayed

    def _refuse_escaped(self, tensor: Tensor) -> None:
        """A tensor without a reference must not depend on the sources."""
        todo, seen = [tensor.grad_fn], set()
        while todo:
            node = todo.pop()
            if node is None or node in self.constants or node in seen:
                continue
            if node in self.sources:
                # The audit says it better, if it can.
                self.audited([tensor], list(self.sources.values()))
                raise wrong(
                    ValueError,
                    "a model whose operations rules can see",
                    f"a value of shape {tuple(tensor.shape)}, made out of their sight",
                    "plain Python functions, in the thread that runs the model",
                )
            seen.add(node)
            todo.extend(n for n, _ in node.next_functions)
        self.constants |= seen

    # -------------------------------------------------------------------------------- replay

    def _replay(self, function: Callable[..., Any], args: Any, kwargs: Any, result: Any) -> Any:
        """What a call gives at the reference."""
        with torch.no_grad():
            if self.shared:
                given = [t for t in flat((args, kwargs)) if self.live(t)]
                if any(self.of(t).shape != t.shape for t in given):
                    found = shared_result(function, args, kwargs, self.of, given, result)
                    if found is not None:
                        return found
                    memory = {t.untyped_storage().data_ptr() for t in given}
                    if any(t.untyped_storage().data_ptr() in memory for t in flat(result)):
                        raise NotShared  # a view, which a copy of the reference would not be
            return self._run(function, args, kwargs, self._full)

    def _run(
        self, function: Callable[..., Any], args: Any, kwargs: Any, at: Callable[[Tensor], Tensor]
    ) -> Any:
        try:
            return function(*map_tensors(at, args), **map_tensors(at, kwargs))
        except (RuntimeError, IndexError, ValueError) as error:
            raise _other_way(f"{resolve(function)[0]} there: {error}") from error

    def _rewrite(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        """A call in place, at the reference."""
        if self.shared and self.of(args[0]).shape != args[0].shape:
            check_write(function, args, self.of)
        with torch.no_grad():
            try:
                self._run(function, args, kwargs, self.of)
            except ValueError:
                if self.shared:
                    raise NotShared from None
                raise

    def _full(self, tensor: Tensor) -> Tensor:
        """A reference with a row for every row."""
        reference = self.of(tensor)
        if reference.shape == tensor.shape:
            return reference
        return reference.expand_as(tensor).contiguous()

    # -------------------------------------------------------------------------- interception

    def _ordinary(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inplace = resolve(func)[1]
        if inplace and not self.live(args[0]):
            self._adopt(args[0])
        result = func(*args, **kwargs)
        if inplace:
            self._rewrite(func, args, kwargs)
        elif next(flat(result), None) is not None:
            if name not in _RANDOM:
                self._pair(result, self._replay(func, args, kwargs, result))
        elif name in _DECIDING and self._replay(func, args, kwargs, result) != result:
            self.stopped.setdefault(f"{name}() of what differs at the baseline")
        return result

    def _finish(self, op: Operation, rule: Rule) -> Any:
        result = rule(op)
        if not all(map(self._marked, flat(result))):
            self._pair(result, self.at_reference(op, result))
        return result

    def _pair(self, result: Any, reference: Any) -> None:
        for x, r in zip(flat(result), flat(reference), strict=True):
            if x.shape != r.shape and not _broadcasts(r, x):
                raise _other_way(f"a value of shape {tuple(r.shape)}, not {tuple(x.shape)}")
            self.halved |= x.dtype in (torch.float16, torch.bfloat16)
            if self.weigh is not None and not x.requires_grad:
                self.weigh(x)
            self._mark(x, r)

    def _in_place(self, op: Operation, rule: Rule) -> Any:
        target = op.args[0]
        if not self.live(target):
            self._adopt(target)
        return super()._in_place(op, rule)

    def _kept(self, target: Tensor) -> Tensor:
        old = target.clone()
        self._mark(old, self.of(target).clone())
        return old

    def _overwritten(self, target: Tensor, result: Tensor, op: Operation) -> None:
        new, reference = self.at_reference(op, result), self.of(target)
        if new.shape != reference.shape and self.shared:
            raise NotShared
        reference.copy_(new)

    def _adopt(self, target: Tensor) -> None:
        """A constant that live values are written into gets a reference, and so has its base."""
        base = target._base
        if base is not None and target._is_view():
            if not self._marked(base):
                self._mark(base, base.detach().clone())
                self.adopted.append(base)
            self._mark(target, _view_like(target, base, self.of(base)))
        else:
            self._mark(target, target.detach().clone())
        self.adopted.append(target)


def _other_way(got: str) -> ValueError:
    return wrong(
        ValueError,
        "a model that runs the same operations on the same shapes at the baseline",
        got,
        "a model whose indices and shapes do not depend on the data, or baselines that take the "
        "same way, such as the same experts",
    )


def _broadcasts(reference: Tensor, x: Tensor) -> bool:
    return reference.ndim == x.ndim and all(
        a in (b, 1) for a, b in zip(reference.shape, x.shape, strict=True)
    )


def _view_like(view: Tensor, base: Tensor, reference: Tensor) -> Tensor:
    """The reference of a view, as a view of its base's reference."""
    if reference.shape != base.shape or reference.stride() != base.stride():
        raise NotShared
    offset = view.storage_offset() - base.storage_offset() + reference.storage_offset()
    return reference.as_strided(view.size(), view.stride(), offset)


class Secant(Elementwise):
    """A rule for an operation entry by entry, from the slope between its two ends.

    `slope(op, a, b, fa, fb)` gets the argument and the value at x and at the reference.
    """

    def __init__(
        self, title: str, slope: Callable[[Operation, Tensor, Tensor, Tensor, Tensor], Tensor]
    ) -> None:
        super().__init__(title)
        self.slope = slope

    def parts(self, op: Operation) -> tuple[Tensor, Tensor]:
        value = op.value()
        with torch.no_grad():
            a, b = op.mode.ends(op.args[0])
            fa, fb = value, op.mode.at_reference(op, value)
            if a.dtype in (torch.float16, torch.bfloat16):
                a, b, fa, fb = a.float(), b.float(), fa.float(), fb.float()
            return value, self.slope(op, a, b, fa, fb)
