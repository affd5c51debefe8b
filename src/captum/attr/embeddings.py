"""Token ids cannot be moved a little; their embeddings can. Feed a model embeddings directly."""

from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.errors import describe, wrong


class TokenReferenceBase:
    """The baseline of a text: (r, r, …, r) of shape `(T)`, r being a token that says nothing.

    Args:
        reference_token_idx: r, the id of such a token, usually that of the padding.

    >>> TokenReferenceBase(reference_token_idx=1).generate_reference(4, device="cpu")
    tensor([1, 1, 1, 1])
    """

    def __init__(self, reference_token_idx: int = 0) -> None:
        self.reference_token_idx = reference_token_idx

    def generate_reference(
        self, sequence_length: int, device: torch.device | str | int | None
    ) -> Tensor:
        """`sequence_length` times the reference token, int64 of shape `(T)`; add N yourself.

        Raises:
            ValueError: for a negative length.
        """
        if sequence_length < 0:
            got, works = f"sequence_length={sequence_length}", "generate_reference(len(ids), 'cpu')"
            raise wrong(ValueError, "a sequence_length of at least 0", got, works)
        reference = self.reference_token_idx
        return torch.full((sequence_length,), reference, dtype=torch.long, device=device)


class InterpretableEmbeddingBase(nn.Module):
    """e ↦ e in the place of ids ↦ embedding(ids): takes embeddings and hands them on.

    `configure_interpretable_embedding_layer` makes it. Attributes that it does not have, such as
    `weight` or `padding_idx`, are those of the original, for models that read them.

    Args:
        embedding: the original layer, an `nn.Embedding`, an `nn.EmbeddingBag` or any module.
        full_name: the dotted name of that layer in its model.

    >>> layer = InterpretableEmbeddingBase(nn.Embedding(5, 3), "encoder.embedding")
    >>> embeddings = layer.indices_to_embeddings(torch.tensor([[0, 4]]))
    >>> layer(embeddings) is embeddings, layer.embedding_dim, layer.padding_idx
    (True, 3, None)
    """

    def __init__(self, embedding: nn.Module, full_name: str) -> None:
        super().__init__()
        self.embedding = embedding
        self.full_name = full_name
        # A new module is in training mode; this one stands in for a layer that may not be.
        self.training = embedding.training

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            # Copying and unpickling ask before there are any submodules.
            original = self.__dict__.get("_modules", {}).get("embedding")
            if original is None:
                raise
        return getattr(original, name)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """The first argument, positional or by keyword, unchanged: embeddings `(N, T, D)`, say.

        Raises:
            TypeError: where there is no argument, or it is a tensor of ids.
        """
        works = f"ids -> model({self.full_name}.indices_to_embeddings(ids))"
        given = (*inputs, *kwargs.values())
        if not given:
            raise wrong(TypeError, "embeddings as first argument", "no argument", works)
        first = given[0]
        if isinstance(first, Tensor) and not (first.is_floating_point() or first.is_complex()):
            raise wrong(TypeError, f"embeddings at {self.full_name!r}", describe(first), works)
        return first

    def indices_to_embeddings(self, *input: Any, **kwargs: Any) -> Any:
        """embedding(*input, **kwargs), the original layer applied to ids `(N, T)`, say."""
        return self.embedding(*input, **kwargs)


def _layer(model: nn.Module, name: str) -> tuple[nn.Module, nn.Module]:
    """The module that holds the layer of this dotted name, and the layer."""
    path, _, last = name.rpartition(".")
    try:
        parent = model.get_submodule(path)
        layer = parent._modules.get(last)
        found = layer if layer is not None else getattr(parent, last)
    except AttributeError:
        known = [
            n for n, m in model.named_modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)
        ]
        works = f"one of {known}" if known else "one of the names in model.named_modules()"
        expected = f"the name of a layer of {type(model).__name__}"
        raise wrong(AttributeError, expected, repr(name), works) from None
    if layer is None or type(layer).forward is nn.Module.forward:
        expected = f"a layer that can be called at {name!r}"
        works = "the name of an nn.Embedding or another module with a forward"
        raise wrong(TypeError, expected, describe(found), works)
    return parent, layer


def configure_interpretable_embedding_layer(
    model: nn.Module, embedding_layer_name: str = "embedding"
) -> InterpretableEmbeddingBase:
    """Make model(ids) into model(embedding(ids)): the layer is replaced by an identity.

    The original is untouched and comes back with `remove_interpretable_embedding_layer`. Where the
    model holds one layer under several names, only the given name changes. Models of transformers 5
    read the shape (N, T) off their ids: give them embeddings as `inputs_embeds`.

    Args:
        model: the model, which is changed in place.
        embedding_layer_name: the dotted name of its embedding layer.

    Returns:
        The layer now in its place, whose `indices_to_embeddings` applies the original.

    Raises:
        AttributeError: where the model has no such name.
        TypeError: where the name is not that of a module with a forward.
        ValueError: where the layer is configured already.

    >>> model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2))
    >>> ids = torch.tensor([[0, 4]])
    >>> expected = model(ids)
    >>> layer = configure_interpretable_embedding_layer(model, "0")
    >>> bool((model(layer.indices_to_embeddings(ids)) == expected).all())
    True
    >>> remove_interpretable_embedding_layer(model, layer)
    >>> model[0]
    Embedding(5, 3)
    """
    parent, layer = _layer(model, embedding_layer_name)
    if isinstance(layer, InterpretableEmbeddingBase) or isinstance(
        parent, InterpretableEmbeddingBase
    ):
        raise wrong(
            ValueError,
            "a layer that is not configured yet",
            f"{embedding_layer_name!r}, which is",
            "remove_interpretable_embedding_layer(model, layer) first",
        )
    replacement = InterpretableEmbeddingBase(layer, embedding_layer_name)
    setattr(parent, embedding_layer_name.rpartition(".")[2], replacement)
    return replacement


def remove_interpretable_embedding_layer(
    model: nn.Module, interpretable_emb: InterpretableEmbeddingBase
) -> None:
    """Put the original embedding layer, the same object, back into its place.

    To remove a layer once more changes nothing.

    Args:
        model: the model that was configured.
        interpretable_emb: what `configure_interpretable_embedding_layer` returned.

    Raises:
        AttributeError: where the model does not have the layer's name.
        ValueError: where another layer has its place, as in another model.

    >>> model = nn.Sequential(nn.Embedding(5, 3))
    >>> original = model[0]
    >>> layer = configure_interpretable_embedding_layer(model, "0")
    >>> remove_interpretable_embedding_layer(model, layer)
    >>> model[0] is original
    True
    """
    name = interpretable_emb.full_name
    parent, layer = _layer(model, name)
    if layer is not interpretable_emb and layer is not interpretable_emb.embedding:
        expected = f"the model that was configured at {name!r}"
        works = "remove_interpretable_embedding_layer(model, layer), with the model of that layer"
        raise wrong(ValueError, expected, f"one that has another layer there: {layer}", works)
    setattr(parent, name.rpartition(".")[2], interpretable_emb.embedding)
