"""Concept activation vectors: directions in a layer, and where they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captum._engine import store
from captum._engine.errors import wrong
from captum.concept.concept import Concept, concepts_to_str

_SUFFIX = ".safetensors"


class CAV:
    """The directions that tell some concepts apart, at a layer.

    Args:
        concepts: the concepts.
        layer: the layer's name.
        stats: {"weights": (C, F), "classes": the labels in their order, "accs": accuracy}.
        save_path: a folder for `save`.
        model_id: a folder within.
    """

    def __init__(
        self,
        concepts: list[Concept],
        layer: str,
        stats: dict[str, Any] | None = None,
        save_path: str = "./cav/",
        model_id: str = "default_model_id",
    ) -> None:
        self.concepts, self.layer, self.stats = concepts, layer, stats
        self.save_path, self.model_id = save_path, model_id

    @staticmethod
    def assemble_save_path(
        path: str, model_id: str, concepts: Sequence[Concept], layer: str
    ) -> str:
        """The file of concepts and a layer.

        >>> from captum.concept import CAV, Concept
        >>> pair = [Concept(0, "striped", []), Concept(1, "random", [])]
        >>> CAV.assemble_save_path("cavs", "net", pair, "conv4")
        'cavs/net/0-1-conv4.safetensors'
        """
        return str(Path(path) / model_id / f"{concepts_to_str(concepts)}-{layer}{_SUFFIX}")

    @staticmethod
    def create_cav_dir_if_missing(save_path: str, model_id: str) -> None:
        """Make the folder."""
        (Path(save_path) / model_id).mkdir(parents=True, exist_ok=True)

    def save(self) -> None:
        """Write weights, classes and accuracy to a file that is whole or not there.

        Raises:
            ValueError: there are no weights yet.
        """
        if self.stats is None or "weights" not in self.stats:
            raise wrong(
                ValueError, "vectors to save", "stats without weights", "compute_cavs(sets)"
            )
        path = self.assemble_save_path(self.save_path, self.model_id, self.concepts, self.layer)
        found = {"weights": torch.as_tensor(self.stats["weights"])}
        if self.stats.get("accs") is not None:
            found["accs"] = torch.as_tensor(self.stats["accs"])
        about = {
            "concept_ids": [concept.id for concept in self.concepts],
            "concept_names": [concept.name for concept in self.concepts],
            "layer": self.layer,
            "classes": [int(c) for c in self.stats["classes"]],
            "key": self.stats.get("key"),
        }
        store.write(Path(path), found, about)

    @staticmethod
    def load(cavs_path: str, model_id: str, concepts: list[Concept], layer: str) -> CAV | None:
        """What `save` wrote; None where there is nothing.

        Raises:
            ValueError: a file of another program, or a broken one; other concepts' vectors.
        """
        path = Path(CAV.assemble_save_path(cavs_path, model_id, concepts, layer))
        if not path.exists():
            return None
        found, about = store.read(path)
        if about["concept_names"] != [concept.name for concept in concepts]:
            raise wrong(
                ValueError,
                f"vectors of {[concept.name for concept in concepts]}",
                f"those of {about['concept_names']} in {path}",
                "concepts with ids of their own, or another save_path",
            )
        stats: dict[str, Any] = {"weights": found["weights"], "classes": about["classes"]}
        stats["accs"] = found.get("accs")
        stats["key"] = about["key"]
        return CAV(concepts, layer, stats, cavs_path, model_id)

    @property
    def weights(self) -> Tensor:
        """The directions in the order of the concepts, (C, F)."""
        if self.stats is None:
            raise wrong(ValueError, "vectors", "none yet", "compute_cavs(sets)")
        classes = [int(c) for c in self.stats["classes"]]
        order = [classes.index(concept.id) for concept in self.concepts]
        return torch.as_tensor(self.stats["weights"])[order]
