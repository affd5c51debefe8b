"""Tell of the rows that go through a model, while they go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from captum._engine.model import owner
from captum._engine.nest import first_tensor

Told = Callable[[int], None]  # rows so far


class _Count:
    """Rows so far, told now and then."""

    def __init__(self, tell: Told, pause: float) -> None:
        self.tell, self.pause = tell, pause
        self.rows, self.last = 0, time.monotonic()

    def add(self, given: Any) -> None:
        x = first_tensor(given)
        self.rows += len(x) if x is not None and x.ndim else 1
        if time.monotonic() - self.last >= self.pause:
            self.last = time.monotonic()
            self.tell(self.rows)


def _told(model: Any, count: _Count) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        count.add((args, kwargs))
        return model(*args, **kwargs)

    return forward


@contextmanager
def counted(model: Any, tell: Told | None, pause: float = 0.1) -> Iterator[Any]:
    """The model, whose passes are told of while the block lasts, at most every `pause` seconds.

    What `tell` raises ends the pass, and with it the calculation.

    >>> import torch
    >>> told = []
    >>> with counted(lambda x: x + 1, told.append, pause=0) as model:
    ...     _ = model(torch.zeros(3, 2)), model(torch.zeros(2, 2))
    >>> told
    [3, 5]
    """
    if tell is None:
        yield model
        return
    count, module = _Count(tell, pause), owner(model)
    if module is None:
        yield _told(model, count)
        return
    handle = module.register_forward_pre_hook(
        lambda _module, args, kwargs: count.add((args, kwargs)), with_kwargs=True
    )
    try:
        yield model
    finally:
        handle.remove()
