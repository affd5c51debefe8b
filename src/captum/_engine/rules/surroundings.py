"""What surrounds a pass: which module runs, what is compiled, what no rule can see into."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import handle_torch_function, has_torch_function

from captum._engine.errors import wrong
from captum._engine.model import owner
from captum._engine.rules.operation import flat
from captum._engine.site import current_pass


def check_model(model: Any) -> None:
    """Refuse by name what runs where no rule can see it."""
    whole = owner(model)
    for name, module in whole.named_modules() if whole is not None else ():
        where = f"module {name!r}" if name else "the model"
        if isinstance(module, torch.jit.ScriptModule):
            what, works = "TorchScript", "the original model, before torch.jit.script or trace"
        elif isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
            what, works = "DataParallel, which runs in other threads", "its .module"
        elif type(module).__module__.startswith(("torch.ao.nn.quantized", "torch.nn.quantized")):
            what, works = f"the quantized {type(module).__name__}", "the float model"
        else:
            continue
        expected = "a model whose operations can be seen, and differentiated"
        raise wrong(TypeError, expected, f"{where} is {what}", works)


class Modules:
    """The modules that run now, innermost last; known inside the block, in this pass only."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.running: list[tuple[str, nn.Module]] = []

    @contextmanager
    def watched(self) -> Iterator[None]:
        mine = current_pass.get()

        def push(name: str, module: nn.Module, _args: Any) -> None:
            if current_pass.get() is mine:
                self.running.append((name, module))

        def pop(_module: nn.Module, _args: Any, _output: Any) -> None:
            if current_pass.get() is mine and self.running:
                self.running.pop()

        with ExitStack() as stack:
            whole = owner(self.model)
            if whole is None:  # a function: whatever module it calls, without a name
                before = register_module_forward_pre_hook(functools.partial(push, ""))
                stack.callback(before.remove)
                after = register_module_forward_hook(pop, always_call=True)
                stack.callback(after.remove)
            for name, module in whole.named_modules() if whole is not None else ():
                before = module.register_forward_pre_hook(functools.partial(push, name))
                stack.callback(before.remove)
                after = module.register_forward_hook(pop, always_call=True)  # errors included
                stack.callback(after.remove)
            yield
        self.running.clear()

    @property
    def innermost(self) -> tuple[str, nn.Module] | None:
        return self.running[-1] if self.running else None


def visible(
    function: Callable[..., Any], name: str, module: nn.Module | None = None
) -> Callable[..., Any]:
    """Give a function of your own a name that rules can be attached to.

    What a custom `torch.autograd.Function` or a C++ operator does is invisible to rules. Call it
    through this in the model, and say what it is: `DeepLift(model, rules={"swish": elementwise})`.

    Args:
        function: a function of tensors, such as `Swish.apply`.
        name: the name of the operation.
        module: the module whose forward it is, where it is one.

    >>> import torch
    >>> from captum.attr import DeepLift, elementwise, visible
    >>> class Double(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x): return x + x
    ...     @staticmethod
    ...     def backward(ctx, g): return g + g
    >>> double = visible(Double.apply, "double")
    >>> method = DeepLift(lambda x: double(x).sum(1), rules={"double": elementwise})
    >>> method.attribute(torch.ones(1, 2))
    tensor([[2., 2.]])
    """

    @functools.wraps(function, assigned=("__doc__",), updated=())
    def announce(*args: Any, **kwargs: Any) -> Any:
        relevant = tuple(flat((args, kwargs)))
        if has_torch_function(relevant):  # again for the next mode, where several are open
            return handle_torch_function(announce, relevant, *args, **kwargs)
        return function(*args, **kwargs)

    announce.__name__ = announce.operation = name  # type: ignore[attr-defined] # ours to read
    announce.inner = function  # type: ignore[attr-defined] # for those who have no rule for it
    announce.module = module  # type: ignore[attr-defined] # how a rule for one module finds it
    return announce


class _Opaque:
    """Modules whose forward is announced as one operation while some pass wants it so."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users: dict[nn.Module, int] = {}
        self.own: dict[nn.Module, Any] = {}  # a forward that the instance had of its own

    @contextmanager
    def held(self, modules: list[nn.Module]) -> Iterator[None]:
        with self.lock:
            for module in modules:
                self.users[module] = self.users.get(module, 0) + 1
                if self.users[module] == 1:
                    if "forward" in vars(module):
                        self.own[module] = module.forward
                    name = f"module {type(module).__name__}"
                    module.forward = visible(module.forward, name, module)
        try:
            yield
        finally:
            with self.lock:
                for module in modules:
                    self.users[module] -= 1
                    if not self.users[module]:
                        del self.users[module], module.forward  # the class's own shows again
                        if module in self.own:
                            module.forward = self.own.pop(module)


class _Eager:
    """Compiled parts run eagerly while some pass needs to see them; counted, process-wide."""

    def __init__(self) -> None:
        self.lock, self.users = threading.Lock(), 0
        self.stance: AbstractContextManager[Any] | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        with self.lock:
            self.users += 1
            if self.stance is None and "torch._dynamo" in sys.modules:
                self.stance = torch.compiler.set_stance("force_eager")
                self.stance.__enter__()
        try:
            yield
        finally:
            with self.lock:
                self.users -= 1
                if not self.users and self.stance is not None:
                    self.stance.__exit__(None, None, None)
                    self.stance = None


OPAQUE, EAGER = _Opaque(), _Eager()


def inside_checkpoint() -> bool:
    """Whether a checkpoint would recompute this in the backward pass, where no mode is."""
    top = torch._C._autograd._top_saved_tensors_default_hooks(False)
    return top is not None and getattr(top[0], "__module__", "") == "torch.utils.checkpoint"


def kept(tensor: Tensor) -> Tensor:
    """A saved-tensor hook that keeps the tensor instead of recomputing it."""
    return tensor
