"""Results that are worth keeping for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from torch import Tensor

from captum._engine.model import owner

T = TypeVar("T")


class Memory:
    """The latest `size` results by their questions.

    >>> memory = Memory(1)
    >>> [memory.once(key, lambda: made) for made, key in enumerate("aab")]
    [0, 0, 2]
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: OrderedDict[str, Any] = OrderedDict()

    def once(self, key: str, make: Callable[[], T]) -> T:
        """The result made for this key, before or now."""
        if key not in self.kept:
            self.kept[key] = make()
        self.kept.move_to_end(key)
        while len(self.kept) > self.size:
            self.kept.popitem(last=False)
        found: T = self.kept[key]
        return found


def state_of(models: Iterable[Any]) -> str:
    """Something that changes when a model is trained on, loaded anew or switched to another mode.

    >>> import torch
    >>> net = torch.nn.Linear(1, 1)
    >>> before = state_of([net])
    >>> _ = torch.nn.init.zeros_(net.weight)
    >>> state_of([net]) == before
    False
    """
    modules = [module for module in map(owner, models) if module is not None]
    modes = [[part.training for part in module.modules()] for module in modules]
    tensors = [[*module.parameters(), *module.buffers()] for module in modules]
    return str(hash(str((modes, [[_version(t) for t in each] for each in tensors]))))


def _version(tensor: Tensor) -> tuple[int, int]:
    """Which tensor it is, and how often it was written to."""
    return id(tensor), 0 if tensor.is_inference() else tensor._version
