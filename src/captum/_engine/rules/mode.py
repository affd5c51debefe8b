"""The mode of a pass: it sees each torch function, and gives some of them another way back.

Rules live in the autograd graph that they leave; the backward pass needs no mode and no hook.
What is live, that is, depends on what the pass attributes to, is a mark on the tensor object with
this mode's token: `requires_grad` would say the same of weights, and several threads may share a
model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from captum._engine.errors import wrong
from captum._engine.nest import is_real
from captum._engine.rules.graph import LINEAR_NAMES, RULED, UNRULED, Findings, audit, remedy
from captum._engine.rules.operation import (
    Operation,
    Rule,
    body_of,
    flat,
    masked_assignment,
    normal_form,
    resolve,
    words,
)
from captum._engine.rules.primitives import scale, scale_
from captum._engine.rules.surroundings import (
    EAGER,
    OPAQUE,
    Modules,
    check_model,
    inside_checkpoint,
    kept,
)

MARK = "_captum_pass"
# Questions about a tensor that have no tensor for an answer; asked all the time.
_QUESTIONS = frozenset(
    [
        Tensor.shape.__get__,  # type: ignore[attr-defined]
        Tensor.device.__get__,
        Tensor.dtype.__get__,  # type: ignore[attr-defined]
        Tensor.ndim.__get__,  # type: ignore[attr-defined]
        Tensor.requires_grad.__get__,  # type: ignore[attr-defined]
        Tensor.is_cuda.__get__,  # type: ignore[attr-defined]
        Tensor.size,
        Tensor.dim,
        Tensor.numel,
        Tensor.is_floating_point,
        Tensor.stride,
        Tensor.is_contiguous,
        Tensor.__len__,
    ]
)


_DERIVING = words("grad backward")
_SHAPED = words("""
    zeros_like ones_like full_like empty_like rand_like randn_like randint_like new_zeros new_ones
    new_full new_empty new_tensor
""")


class Elementwise:
    """A rule for an operation that acts entry by entry on its first argument: one slope each."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def fits(self, op: Operation) -> bool:
        """Whether only the first argument is live, and real."""
        return op.live(op.args[0]) and op.live_count == 1 and not op.args[0].is_complex()

    def parts(self, op: Operation) -> tuple[Tensor, Tensor]:
        """The operation's value, and the slope that gradients are multiplied with."""
        raise NotImplementedError

    def __call__(self, op: Operation) -> Any:
        if not self.fits(op):
            return op.mode.decline(op)
        value, slope = self.parts(op)
        return scale(value, op.args[0], slope)


class RuleMode(TorchFunctionMode):
    """Applies rules, operation name -> rule, to what is live in one pass.

    Args:
        rules: the table.
        model: the model that runs, for its modules.
        opaque: rules for whole modules, each of which then is one operation.
        named: whether anybody asks which module runs.
    """

    accepted: frozenset[str] = frozenset()  # graph nodes that need no rule, beside linear ones

    def __init__(
        self,
        rules: Mapping[str, Rule],
        model: Any = None,
        *,
        opaque: Mapping[nn.Module, Rule] | None = None,
        named: bool = False,
    ) -> None:
        super().__init__()
        self.rules, self.opaque, self.model, self.named = rules, opaque or {}, model, named
        self.modules = Modules(model)
        self.token = object()
        self.served: Counter[tuple[str, str, str]] = Counter()  # operation, rule, module
        self.stopped: dict[str, None] = {}  # where a live gradient ended, in order
        self.halved = False  # whether something ran in half precision
        self.adopted: list[Tensor] = []  # the model's own tensors that became live
        self._surroundings = ExitStack()
        self._depth = self._paused = 0

    # ------------------------------------------------------------------------------ liveness

    def source(self, leaf: Tensor, index: int, origin: Tensor) -> None:
        """Everything that comes from this leaf, which takes the origin's place, is live."""
        self._mark(leaf)

    def observed(self, value: Tensor) -> None:
        """What a live value gets is asked for, here on the way."""

    def _mark(self, tensor: Tensor, note: Any = None) -> None:
        """Live from here on; with what a mode has to remember of it."""
        tensor.__dict__[MARK] = (self.token, note)

    def _marked(self, tensor: Tensor) -> bool:
        mark = tensor.__dict__.get(MARK)
        return mark is not None and mark[0] is self.token

    def live(self, value: Any) -> bool:
        if not isinstance(value, Tensor):
            return False
        if self._marked(value):
            return True
        if value.grad_fn is not None and value._is_view() and self._marked(value._base):  # type: ignore[arg-type]
            self._mark(value)  # a view that was taken before its base was written to
            return True
        return False

    # ---------------------------------------------------------------------------- life cycle

    def __enter__(self) -> RuleMode:
        if not self._depth:
            check_model(self.model)
            self._surroundings.enter_context(EAGER.held())
            self._surroundings.enter_context(OPAQUE.held(list(self.opaque)))
            if self.named:
                self._surroundings.enter_context(self.modules.watched())
        self._depth += 1
        super().__enter__()  # type: ignore[no-untyped-call] # torch's
        return self

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)  # type: ignore[no-untyped-call] # torch's
        self._depth -= 1
        if not self._depth:
            self._surroundings.close()
            for tensor in self.adopted:  # nothing stays on the model's own
                tensor.__dict__.pop(MARK, None)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What runs in here is not the model's."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    # -------------------------------------------------------------------------- interception
    # In a handler the mode is off; `with self:` switches it on again for what is written out.

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._paused or func in _QUESTIONS:
            return func(*args, **kwargs)
        module = getattr(func, "module", None)
        if module is not None and module not in self.opaque:
            with self:  # another thread's: one operation for its rules, an open one for these
                return func.inner(*args, **kwargs)
        live = [t for t in flat(args) if self.live(t)]
        if kwargs:
            live += [t for t in flat(kwargs) if self.live(t)]
        if not live:
            return self._aside(func, args, kwargs)
        if inside_checkpoint():
            with saved_tensors_hooks(kept, kept):
                return self._handle(func, args, kwargs, live)
        return self._handle(func, args, kwargs, live)

    def _aside(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What is not live is none of a rule's business."""
        return func(*args, **kwargs)

    def _handle(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], live: list[Tensor]
    ) -> Any:
        moves = any(t.requires_grad for t in live)
        name = "masked_fill" if masked_assignment(func, args) else resolve(func)[0]
        if name in _DERIVING and moves:
            raise wrong(
                ValueError,
                "a model that takes no gradient itself, which would be the rules' instead",
                f"{name}() of what depends on the inputs",
                "a model without torch.autograd in its forward pass",
            )
        rule = self._rule(func, name) if moves and torch.is_grad_enabled() else None
        if rule is None:
            body = body_of(func)
            if body is not None:  # its parts, one by one
                with self:
                    return body(*args, **kwargs)
            ends = {t.grad_fn for t in live}  # before a call in place gives them another
            result = self._ordinary(func, name, args, kwargs)
            if moves:
                self._note(func, name, result, ends)
            return result
        name, func, args, kwargs, inplace = normal_form(func, args, kwargs)
        if kwargs.get("out") is not None:
            raise wrong(
                TypeError,
                "operations that return their result",
                f"torch.{name}(..., out=...), which has no gradient",
                f"y = torch.{name}(...)",
            )
        self._count(name, rule)
        if not inplace:
            return self._finish(Operation(name, func, args, kwargs, self), rule)
        return self._in_place(Operation(name, func, args, kwargs, self), rule)

    def _count(self, name: str, rule: Any) -> None:
        """An operation was served, by this rule."""
        self.served[name, _title(rule), self._place] += 1

    def _rule(self, func: Any, name: str) -> Rule | None:
        module = getattr(func, "module", None) if self.opaque else None
        return self.rules.get(name) if module is None else self.opaque.get(module)

    def _ordinary(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation without a rule, as it is."""
        result = func(*args, **kwargs)
        self._follow(result)
        if resolve(func)[1]:
            self._written(args[0])
        return result

    def _finish(self, op: Operation, rule: Rule) -> Any:
        result = rule(op)
        self._follow(result)
        return result

    def _in_place(self, op: Operation, rule: Rule) -> Any:
        """The rule's result, written over the first argument."""
        target = op.args[0]
        if isinstance(rule, Elementwise) and rule.fits(op) and not target.is_leaf:
            value, slope = rule.parts(op)
            scale_(target, value, slope)
            self._overwritten(target, value, op)
            return target
        op.args = (self._kept(target), *op.args[1:])
        result = self._finish(op, rule)
        target.copy_(result)
        self._overwritten(target, result, op)
        return target

    def _kept(self, target: Tensor) -> Tensor:
        """What stands in a tensor before it is overwritten."""
        old = target.clone()
        if self.live(target):
            self._mark(old, target.__dict__[MARK][1])
        return old

    def _overwritten(self, target: Tensor, _result: Tensor, _op: Operation) -> None:
        self._written(target)

    def _follow(self, result: Any) -> None:
        for tensor in flat(result):
            if tensor.requires_grad and not self._marked(tensor):
                self._mark(tensor)

    def _written(self, target: Any) -> None:
        """After a write: what was constant may be live now, and what it is a view of."""
        if not isinstance(target, Tensor) or not target.requires_grad:
            return
        if not self._marked(target):
            self.adopted.append(target)
        self._mark(target)
        if target._is_view() and target._base is not None:
            self.adopted.append(target._base)
            self._mark(target._base)

    # ------------------------------------------------------------------------------ findings

    @property
    def _place(self) -> str:
        if not self.named:
            return ""
        running = self.modules.innermost
        return running[0] if running else ""

    def _note(self, func: Any, name: str, result: Any, ends: set[Any]) -> None:
        """Remember what had no rule, and where gradients end."""
        found = [t for t in flat(result) if is_real(t) or t.is_complex()]
        ended = name == "detach" or (found and not any(t.requires_grad for t in found))
        if ended and (self._depth > 1 or name in _SHAPED):
            return  # a rule's own work; or what takes no more than a shape
        if ended:
            if name == "__get__":  # x.data
                name = getattr(func.__self__, "__name__", name)
            name = name if torch.is_grad_enabled() else f"{name} under no_grad"
            self.stopped.setdefault(f"{name} in {self._place}" if self._place else name)
        elif name not in LINEAR_NAMES:
            self._claim(found, ends, UNRULED, name)

    def claim(self, result: Any, origins: Any) -> None:
        """What lies between a result and its origins is the work of a rule."""
        self._claim(list(flat(result)), {t.grad_fn for t in flat(origins)}, RULED, True)

    def decline(self, op: Operation) -> Any:
        """Where a rule does not fit, the operation's ordinary gradient serves, and is reported."""
        result = op.run()
        ends = {t.grad_fn for t in flat((op.args, op.kwargs))}
        self._claim(list(flat(result)), ends, UNRULED, op.name)
        return result

    def _claim(self, results: Sequence[Tensor], ends: set[Any], key: str, note: Any) -> None:
        todo = [t.grad_fn for t in results]
        while todo:
            node = todo.pop()
            if node is None or node in ends:
                continue
            known: Any = node.metadata
            if RULED not in known and UNRULED not in known:
                known[key] = note
                todo.extend(n for n, _ in node.next_functions)

    def audited(self, numbers: Sequence[Tensor], sources: Sequence[Tensor]) -> Findings:
        """What is on the way from the numbers to the sources; refuses what no rule could see."""
        findings = self.audit(numbers, sources)
        self.refuse(findings)
        return findings

    def audit(self, numbers: Sequence[Tensor], sources: Sequence[Tensor]) -> Findings:
        return audit(numbers, sources, self.accepted)

    def refuse(self, findings: Findings) -> None:
        """What no rule could see, and what the inputs do not reach."""
        if findings.unseen:
            got, works = remedy(findings.unseen)
            raise wrong(
                ValueError, "a model whose operations rules can see", f"{got} on the way", works
            )
        if not findings.connected and self.stopped:
            raise wrong(
                ValueError,
                "an explained output that depends on the site through differentiable operations",
                f"a gradient that stops at {', '.join(self.stopped)}",
                "a model without detach, no_grad or numpy between the inputs and the output",
            )


def _title(rule: Any) -> str:
    name: str = getattr(rule, "__name__", type(rule).__name__)
    return name if name[:1].isupper() else name.strip("_").replace("_", " ")
