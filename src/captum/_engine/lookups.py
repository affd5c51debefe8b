"""Integer inputs: they are attributed where the model looks them up in an embedding.

A token id has no gradient; its embedding has. While this mode is open, every integer tensor that
comes from an input is followed through views, slices and shifts to the lookups that use it. A
lookup's rows are the values that receive scores, and `place` brings them back to the ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from captum._engine.errors import describe, wrong

# fmt: off
# Functions that move entries without changing what they are: positions move along.
_MOVES = frozenset([
    "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "transpose", "t", "permute",
    "swapaxes", "swapdims", "movedim", "contiguous", "expand", "expand_as", "view_as", "reshape_as",
    "cat", "concat", "concatenate",
    "stack", "hstack", "vstack", "narrow", "chunk", "split", "tensor_split", "unbind", "select",
    "index_select", "getitem", "roll", "flip", "repeat", "tile",
])
# Functions that change ids one by one, in their places: types, offsets, hashes, masks, tables.
_RENAMES = frozenset([
    "clone", "detach", "to", "long", "int", "short", "type", "type_as", "cpu", "cuda",
    "add", "radd", "sub", "mul", "rmul", "remainder", "fmod", "floor_divide", "floordiv", "mod",
    "clamp", "clamp_min", "clamp_max", "clip", "masked_fill", "where", "bitwise_and", "and",
    "bitwise_xor", "xor", "minimum", "maximum", "abs",
])
# fmt: on


@dataclass(frozen=True)
class Origin:
    """Where an integer tensor's entries come from: an input, and the flat places in it."""

    source: int
    places: Tensor


class Lookups(TorchFunctionMode):
    """Calls `visit(source, columns, rows)` at each embedding lookup of an integer input.

    `columns` (t,) are the places of the looked-up ids within one example, `rows` (N, t, D) their
    embeddings; what `visit` returns goes on in the model.
    """

    def __init__(
        self, ids: Mapping[int, Tensor], visit: Callable[[int, Tensor, Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.visit = visit
        self.width = {source: x[0].numel() for source, x in ids.items()}
        # Strong references: a freed tensor's id() could come back as another tensor's.
        self.known: dict[int, tuple[Tensor, Origin]] = {}
        for source, x in ids.items():
            places = torch.arange(x.numel(), device=x.device).view(x.shape)
            self._remember(x, Origin(source, places))

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.embedding or func is torch.embedding:
            return self._embedding(func, args, kwargs)
        if func is F.embedding_bag:
            return self._bag(func, args, kwargs)
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "").strip("_")
        if name == "getitem" and (found := self._origin(args[1])) is not None:
            return self._indexed(found, result)
        origin = next(filter(None, map(self._origin, _flat(args))), None)
        if origin is not None and _is_ids(result):
            self._follow(name, func, args, kwargs, origin, result)
        return result

    def _indexed(self, origin: Origin, rows: Tensor) -> Tensor:
        """`table[ids]` is a lookup too; in a table of integers it only renames the ids."""
        if not _is_ids(rows):
            return self._visited(origin, rows)
        if rows.shape == origin.places.shape:
            self._remember(rows, origin)
        return rows

    def _origin(self, value: Any) -> Origin | None:
        entry = self.known.get(id(value))
        return entry[1] if entry else None

    def _remember(self, tensor: Tensor, origin: Origin) -> None:
        self.known[id(tensor)] = (tensor, origin)

    def _follow(
        self, name: str, func: Any, args: Sequence[Any], kwargs: Any, origin: Origin, result: Any
    ) -> None:
        """Give the result the places of its entries; what mixes entries is not followed."""
        if name in _MOVES:
            places = func(*_swap(args, self._places), **kwargs)
        elif name in _RENAMES:
            self._check_alone(args, origin)
            places = origin.places
        else:
            return
        both = ((result,), (places,)) if isinstance(result, Tensor) else (result, places)
        for each, place in zip(*both, strict=False):
            if each.shape == place.shape:
                self._remember(each, Origin(origin.source, place.long()))

    def _check_alone(self, args: Sequence[Any], origin: Origin) -> None:
        origins = filter(None, map(self._origin, _flat(args)))
        if any(other.source != origin.source for other in origins):
            raise wrong(
                ValueError,
                "each looked-up id to come from one input",
                "ids that are made of two inputs, such as a + b",
                "attribute to the embedding layer: IntegratedGradients(model, at=model.embedding)",
            )

    def _places(self, tensor: Tensor) -> Tensor:
        origin = self._origin(tensor)
        if origin is not None:
            return origin.places
        if not _is_ids(tensor):
            return tensor
        return torch.full(tensor.shape, -1, dtype=torch.long, device=tensor.device)

    def _embedding(self, func: Any, args: Sequence[Any], kwargs: Any) -> Tensor:
        names = ("input", "weight") if func is F.embedding else ("weight", "indices")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        rows: Tensor = func(*args, **kwargs)
        origin = self._origin(given["input" if func is F.embedding else "indices"])
        return rows if origin is None else self._visited(origin, rows)

    def _bag(self, func: Any, args: Sequence[Any], kwargs: Any) -> Tensor:
        ids, weight = args[0], args[1]
        origin = self._origin(ids)
        if origin is None:
            bag: Tensor = func(*args, **kwargs)
            return bag
        if ids.ndim != 2:
            raise wrong(
                ValueError,
                "the ids of an embedding bag as one row per example",
                f"{describe(ids)} with offsets",
                "ids of shape (N, T), or LayerIntegratedGradients(model, model.embedding_bag)",
            )
        norm, kind = kwargs.get("max_norm"), kwargs.get("norm_type", 2.0)
        rows = F.embedding(ids, weight, max_norm=norm, norm_type=kind)
        padding = kwargs.get("padding_idx")
        if padding is not None:  # padding adds nothing: its row is zero before it is seen
            rows = rows.masked_fill((ids == padding)[..., None], 0)
        return _bagged(self._visited(origin, rows), ids, kwargs)

    def _visited(self, origin: Origin, rows: Tensor) -> Tensor:
        width = self.width[origin.source]
        places = origin.places.reshape(len(origin.places), -1)
        columns = places.remainder(width)
        each = torch.arange(len(places), device=places.device)[:, None]
        per_example = (places < 0) | ((places // width == each) & (columns == columns[:1]))
        if not bool(per_example.all()):
            raise wrong(
                ValueError,
                "embedding lookups that keep one example per row",
                f"a lookup of shape {tuple(origin.places.shape)} that mixes or moves examples",
                "attribute to the embedding layer: IntegratedGradients(model, at=model.embedding)",
            )
        return self.visit(origin.source, torch.where(places[0] < 0, -1, columns[0]), rows)


def place(scores: Tensor, columns: Tensor, ids: Tensor, lead: int = 0) -> Tensor:
    """Scores of looked-up rows, (*lead, N, *t, D), summed into one per id, (*lead, *ids.shape).

    A place that is looked up twice gets both scores, one that never is, zero.
    """
    per_row = scores.sum(-1).reshape(*scores.shape[: lead + 1], -1)
    kept = columns >= 0
    summed = per_row.new_zeros(*per_row.shape[:-1], ids[0].numel())
    summed.index_add_(-1, columns[kept], per_row[..., kept])
    return summed.view(*per_row.shape[:-1], *ids.shape[1:])


def _flat(args: Sequence[Any]) -> list[Any]:
    return [x for a in args for x in (a if isinstance(a, tuple | list) else (a,))]


def _swap(args: Sequence[Any], places: Callable[[Tensor], Tensor]) -> list[Any]:
    """The arguments with every followed tensor replaced by its places."""

    def swapped(a: Any) -> Any:
        if isinstance(a, Tensor):
            return places(a)
        if isinstance(a, tuple | list) and any(isinstance(x, Tensor) for x in a):
            return type(a)(places(x) if isinstance(x, Tensor) else x for x in a)
        return a

    return [swapped(args[0]), *args[1:]]


def _is_ids(value: Any) -> bool:
    first = value[0] if isinstance(value, tuple | list) and value else value
    return isinstance(first, Tensor) and not (
        first.is_floating_point() or first.is_complex() or first.dtype == torch.bool
    )


def _bagged(rows: Tensor, ids: Tensor, options: Mapping[str, Any]) -> Tensor:
    """What an embedding bag makes of its rows (N, T, D): their sum, mean or maximum."""
    padding, weights = options.get("padding_idx"), options.get("per_sample_weights")
    keep = torch.ones_like(ids) if padding is None else (ids != padding).long()
    mode = options.get("mode", "mean")
    if mode == "max":
        return rows.masked_fill(keep[..., None] == 0, float("-inf")).amax(1)
    total = rows.sum(1) if weights is None else (rows * weights[..., None]).sum(1)
    return total if mode == "sum" else total / keep.sum(1, keepdim=True).clamp(min=1)
