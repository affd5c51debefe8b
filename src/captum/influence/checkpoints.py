"""Checkpoints of a model: loaded when they are asked for, and the model put back afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine import store
from captum._engine.errors import describe, wrong
from captum._engine.model import device_of, inside, takes_all_processes
from captum._engine.ranks import World

# Puts a checkpoint into the model and returns the learning rate it stands for.
Load = Callable[[nn.Module, Any], float]

_PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")  # of wrappers, and of one in the other
_STATE, _RATE = "model_state_dict", "learning_rate"


def load_state(model: nn.Module, checkpoint: Any) -> float:
    """Load a state dict, from a file or as it is; its learning rate, or 1.

    A checkpoint may also be a dict with "model_state_dict" and "learning_rate". Files are read
    without running code that they hold; wrappers that replicate or compile make no difference,
    neither the model's nor the one that a state dict was saved from.
    """
    found = checkpoint
    if isinstance(checkpoint, str | Path):
        device = device_of(model)
        found = torch.load(checkpoint, map_location=device, weights_only=True)
    if not isinstance(found, Mapping):
        raise wrong(
            TypeError,
            "a checkpoint: a state dict, or a file that holds one",
            describe(found),
            "torch.save(model.state_dict(), path)",
        )
    state = found.get(_STATE, found)
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key[len(prefix) :]: value for key, value in state.items()}
    inside(model).load_state_dict(state)
    return float(found.get(_RATE, 1.0)) if _STATE in found else 1.0


class Checkpoints:
    """The checkpoints of one model, each loaded once and then kept in memory.

    Args:
        model: what they are loaded into.
        given: a folder, or paths, state dicts or whatever `load` understands.
        load: puts one of them into the model, and returns its learning rate.
    """

    def __init__(self, model: nn.Module, given: Any, load: Load) -> None:
        self.model, self.load = model, load
        if isinstance(given, str | Path) and Path(given).is_dir():
            given = sorted(str(path) for path in Path(given).iterdir() if path.is_file())
        elif isinstance(given, str | Path | Mapping):
            given = [given]
        self.given: list[Any] = list(given)
        if not self.given:
            raise wrong(
                ValueError, "at least one checkpoint", repr(given), "checkpoints=['last.pt']"
            )
        away = [name for name, p in model.named_parameters() if p.is_meta]
        if away or takes_all_processes(model):
            raise wrong(
                ValueError,
                "a model whose parameters are here: checkpoints are loaded into them",
                f"{away[0]} is elsewhere until it is needed" if away else "shards of parameters",
                "the plain model, before it is offloaded or sharded",
            )
        self.rates: list[float] = []
        self._states: list[dict[str, Tensor]] = []
        self._current: int | None = None

    def __len__(self) -> int:
        return len(self.given)

    @contextmanager
    def opened(self) -> Iterator[Checkpoints]:
        """Within, the model is at one checkpoint or another; afterwards as it was."""
        before = _copy(self.model)
        try:
            self._read()
            yield self
        finally:
            self._put(before)
            self._states, self.rates, self._current = [], [], None

    def use(self, number: int) -> float:
        """Put a checkpoint into the model; its learning rate."""
        if self._current != number:
            self._put(self._states[number])
            self._current = number
        return self.rates[number]

    def _read(self) -> None:
        for each in self.given:
            self.rates.append(float(self.load(self.model, each)))
            self._states.append(_copy(self.model))
        self._current = len(self.given) - 1
        world = World.now()
        if world.met:
            world.agree({"checkpoints": store.digest(self._states)})

    def _put(self, state: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in _named(self.model):
                tensor.copy_(state[name])


def _named(model: nn.Module) -> Sequence[tuple[str, Tensor]]:
    model = inside(model)
    return [*model.named_parameters(), *model.named_buffers()]


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in _named(model)}
