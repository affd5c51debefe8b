"""The values of layers for concepts' examples: one pass for all layers, kept as long as needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine import store
from captum._engine.errors import describe, wrong
from captum._engine.layers import layer_values
from captum._engine.nest import scored, tensors
from captum._engine.ranks import World
from captum.concept.concept import Concept

_PARTS = 2  # of a batch that is a pair: inputs, and labels that are not the model's


class Activations:
    """What a model makes of concepts' examples, at some of its layers.

    Kept in memory; in a folder, too, where one is given: keyed by what is in the model and in the
    examples, so that neither can change unnoticed.

    Args:
        model: the model.
        layers: modules by name.
        inputs: take a layer's input instead of its output.
        folder: where to keep them.
    """

    def __init__(
        self, model: nn.Module, layers: Mapping[str, nn.Module], inputs: bool, folder: Path | None
    ) -> None:
        self.model, self.layers, self.inputs, self.folder = model, dict(layers), inputs, folder
        self._known: dict[str, tuple[str, dict[str, Tensor]]] = {}

    def of(self, concept: Concept) -> tuple[str, dict[str, Tensor]]:
        """A key of all that they hang on, and values (n, F) of every layer for a concept."""
        return self.of_all([concept])[0]

    def of_all(
        self, concepts: Sequence[Concept], state: str = ""
    ) -> list[tuple[str, dict[str, Tensor]]]:
        """The same of several concepts, which processes share.

        `state` is the digest of what is in the model, where the caller knows it.
        """
        world = World.sharing(self.model)
        state = state or store.digest_of_model(self.model)
        keys: list[str] = []
        own: list[tuple[int, dict[str, Tensor]]] = []
        for number, concept in enumerate(concepts):
            batches = _batches(concept)
            keys.append(store.digest(state, ",".join(sorted(self.layers)), self.inputs, batches))
            if world.takes(number) and keys[-1] not in self._known:
                own.append((number, self._found(concept, keys[-1], batches)))
        world.agree({"examples of concepts": store.digest(keys)})
        # What was made of another model will not be asked for again.
        self._known = {key: known for key, known in self._known.items() if known[0] == state}
        for name in self.layers:
            for number, values in world.gathered([(n, found[name]) for n, found in own]):
                self._known.setdefault(keys[number], (state, {}))[1][name] = values
        return [(key, self._known[key][1]) for key in keys]

    def _found(self, concept: Concept, key: str, batches: Sequence[Any]) -> dict[str, Tensor]:
        if self.folder is None:
            return self._made(batches)
        path = self.folder / "av" / f"{concept.identifier}-{key}.safetensors"
        if path.exists():
            return store.read(path)[0]
        made = self._made(batches)
        store.write(path, made, {"concept": concept.identifier, "layers": sorted(self.layers)})
        return made

    def _made(self, batches: Sequence[Any]) -> dict[str, Tensor]:
        parts = [
            layer_values(self.model, self.layers, batch, inputs=self.inputs) for batch in batches
        ]
        return {name: torch.cat([flattened(p[name]) for p in parts]) for name in self.layers}


def _batches(concept: Concept) -> list[Any]:
    """A concept's examples, as the model takes them."""
    if concept.data_iter is None:
        raise wrong(
            ValueError,
            f"examples of {concept!r}",
            "data_iter=None, and no stored vectors of it",
            "Concept(0, 'striped', loader)",
        )
    batches = [as_inputs(batch) for batch in concept.data_iter]
    if not batches:
        raise wrong(ValueError, f"examples of {concept!r}", "none", "a loader that yields some")
    return batches


def as_inputs(batch: Any) -> Any:
    """What goes into the model of a loader's batch: labels beside it are left out."""
    if isinstance(batch, list | tuple):
        found = tuple(batch)
        if len(found) == _PARTS and isinstance(found[1], Tensor) and not _belongs(found):
            return found[0]
        return found[0] if len(found) == 1 else found
    if isinstance(batch, Tensor | Mapping):
        return batch
    raise wrong(
        TypeError,
        "batches of tensors, tuples or dicts",
        describe(batch),
        "DataLoader(images, batch_size=32)",
    )


def _belongs(pair: tuple[Any, ...]) -> bool:
    """Whether the second of a pair is an input: labels are integers (n,)."""
    second = pair[1]
    return bool(second.is_floating_point()) or second.ndim != 1


def flattened(value: Any) -> Tensor:
    """A layer's value as one row for each example, (N, F)."""
    found = scored(value) or tuple(tensors(value))
    return torch.cat([t.flatten(1) for t in found], 1)
