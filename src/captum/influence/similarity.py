"""Which training examples look most alike to a layer of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.errors import wrong
from captum._engine.layers import layer_values, modules_of
from captum._engine.nest import scored
from captum._engine.plan import Plan
from captum._engine.ranks import World, together
from captum._engine.store import digest
from captum.influence.base import DataInfluence
from captum.influence.batches import Data, loader_of
from captum.influence.sinks import TopK

Similarity = Callable[[Tensor, Tensor], Tensor]


def cosine_similarity(test: Tensor, train: Tensor, replace_nan: int = 0) -> Tensor:
    """Cosines of the rows of (M, *) and (N, *), shape (M, N); of zeros, `replace_nan`.

    >>> import torch
    >>> from captum.influence import cosine_similarity
    >>> cosine_similarity(torch.tensor([[3., 4.]]), torch.tensor([[6., 8.], [0., 0.]]))
    tensor([[1., 0.]])
    """
    ours, theirs = test.flatten(1), train.flatten(1)
    lengths = torch.linalg.norm(ours, dim=1)[:, None] * torch.linalg.norm(theirs, dim=1)
    return torch.nan_to_num((ours @ theirs.T) / lengths, nan=replace_nan)


def euclidean_distance(test: Tensor, train: Tensor) -> Tensor:
    """Distances between the rows of (M, *) and (N, *), shape (M, N).

    >>> import torch
    >>> from captum.influence import euclidean_distance
    >>> euclidean_distance(torch.tensor([[0., 0.]]), torch.tensor([[3., 4.]]))
    tensor([[5.]])
    """
    return torch.cdist(test.flatten(1), train.flatten(1))


class SimilarityInfluence(DataInfluence):
    """Score of a training example: how alike it is to a test example, at a layer's value.

    Args:
        module: the model.
        layers: a module's name, or a list of them.
        influence_src_dataset: the training data: a data set or a DataLoader of inputs, or of
            tuples that the model takes.
        activation_dir: accepted for code written for the published package: values are made anew,
            batch by batch, so they never are those of another model.
        model_id: accepted likewise.
        similarity_metric: of values (M, *L) and (N, *L): numbers (M, N).
        similarity_direction: "max" where more alike is larger, "min" where it is smaller.
        batch_size: of the loader, where a data set is given.

    >>> import torch
    >>> from captum.influence import SimilarityInfluence
    >>> model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(2, 1))
    >>> train = [torch.tensor([1., 0.]), torch.tensor([3., 4.])]
    >>> alike = SimilarityInfluence(model, "0", train, "", batch_size=2)
    >>> alike.influence(torch.tensor([[6., 8.]]))["0"]
    (tensor([[1]]), tensor([[1.]]))
    """

    def __init__(
        self,
        module: nn.Module,
        layers: str | list[str],
        influence_src_dataset: Data,
        activation_dir: str,
        model_id: str = "",
        similarity_metric: Similarity = cosine_similarity,
        similarity_direction: str = "max",
        batch_size: int = 1,
        **kwargs: Any,
    ) -> None:
        self.module = module
        self._modules = modules_of(
            module, layers, "SimilarityInfluence(model, ['layer4'], data, '')"
        )
        self.layers = list(self._modules)
        if similarity_direction not in ("max", "min"):
            raise wrong(
                ValueError,
                "similarity_direction 'max' or 'min'",
                repr(similarity_direction),
                "'max'",
            )
        self.influence_src_dataset = influence_src_dataset
        data = influence_src_dataset
        if isinstance(data, list):
            data = _Listed(data)
        self._loader = loader_of(data, batch_size, "influence_src_dataset")
        self.activation_dir, self.model_id = activation_dir, model_id
        self.similarity_metric = similarity_metric
        self.similarity_direction = similarity_direction
        self.batch_size = batch_size

    @together
    def influence(  # type: ignore[override]  # test examples are needed
        self,
        inputs: Any,
        top_k: int = 1,
        additional_forward_args: Any = None,
        load_src_from_disk: bool = True,
        **kwargs: Any,
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """For each layer, positions and similarities (M, top_k) of the examples most alike.

        Args:
            inputs: M test examples, a tensor or a tuple of them.
            top_k: how many.
            additional_forward_args: what else the model takes, by position.
            load_src_from_disk: accepted: nothing is on disk.
        """
        if top_k < 1:
            raise wrong(ValueError, "top_k of at least 1", repr(top_k), "top_k=5")
        largest = self.similarity_direction == "max"
        sinks = {name: TopK(top_k, largest) for name in self.layers}
        queries = self._values(inputs, additional_forward_args)
        world = World.sharing(self.module)
        plan = Plan.of(self._loader, 1, ordered=world.size > 1)
        if world.size > 1:
            world.agree(plan.looked_at()[1] | {"test examples": digest(inputs)})
        for start, (batch,) in plan.chosen(lambda number, start, end: world.takes(number)):
            there = tuple(batch) if isinstance(batch, list) else batch
            for name, value in self._values(there, additional_forward_args).items():
                sinks[name].add(start, self.similarity_metric(queries[name], value))
        found = {name: sink.result(world) for name, sink in sinks.items()}
        return {name: (each.indices, each.influence_scores) for name, each in found.items()}

    def _values(self, batch: Any, args: Any) -> dict[str, Tensor]:
        found = layer_values(self.module, self._modules, batch, args)
        return {name: scored(value)[0] for name, value in found.items()}


class _Listed(torch.utils.data.Dataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __getitem__(self, index: int) -> Any:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)
