"""Attribution of one number about a whole data set: features are removed everywhere at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum._engine.features import Features, make_features
from captum._engine.nest import Tensors, map_tensors, tensors
from captum._engine.progress import Progress
from captum._engine.target import Targets, as_tensor
from captum.attr.base import Attribution, PerturbationAttribution, Scores

_ROOM = 64 << 20  # bytes for the reduced outputs of perturbations evaluated together
Reduce = Callable[[Any, Any, tuple[Any, ...]], Any]


class InputRole(IntEnum):
    """What an element of a batch is for."""

    need_attr = 0  # goes to the model and is scored
    need_forward = 1  # goes to the model, unscored
    no_forward = 2  # stays away from the model: a label


def _concatenated(done: Any, output: Any, batch: tuple[Any, ...]) -> Any:
    """The default reduction: all outputs, one after the other."""
    return output if done is None else torch.cat([done, output])


@dataclass
class _Corpus:
    """A data set as a model of which features are present: rows (R, G) in, metrics (R, M) out."""

    model: Callable[..., Any]
    loader: Iterable[tuple[Any, ...]]
    roles: tuple[int, ...] | None
    baselines: Any
    features: Features
    reduce: Reduce
    to_metric: Callable[[Any], Tensor] | None
    progress: Progress
    state_bytes: int = 0  # what one row's reduced outputs take in memory

    def __call__(self, present: Tensor) -> Tensor:
        """Every row's metric; the data set is read once for all of them."""
        done: list[Any] = [None] * len(present)
        for batch in self.loader:
            roles = roles_of(self.roles, batch)
            scored = tuple(x for x, r in zip(batch, roles, strict=True) if r == 0)
            bases = bases_of(self.baselines, scored)
            for i, row in enumerate(present):
                done[i] = self._one(done[i], row, batch, roles, scored, bases)
            self.progress.add(len(present) * len(scored[0]))
        self.state_bytes = sum(x.nbytes for x in tensors(done)) // len(done)
        metrics = [as_tensor(self.to_metric(d) if self.to_metric else d) for d in done]
        return torch.stack([m.detach().reshape(-1) for m in metrics])

    def _one(
        self,
        done: Any,
        present: Tensor,
        batch: tuple[Any, ...],
        roles: tuple[int, ...],
        scored: Tensors,
        bases: Tensors,
    ) -> Any:
        changed = iter(self._without(present, scored, bases))
        # Copies of all of it: the batch serves other rows too, and a model may work in place.
        batch = tuple(
            next(changed) if r == 0 else map_tensors(Tensor.clone, x)
            for x, r in zip(batch, roles, strict=True)
        )
        given = [x for x, r in zip(batch, roles, strict=True) if r != InputRole.no_forward]
        with torch.no_grad():
            return self.reduce(done, self.model(*given), batch)

    def _without(self, present: Tensor, scored: Tensors, bases: Tensors) -> Iterator[Tensor]:
        """The batch with its absent features at their baselines."""
        for value, base, mask in zip(scored, bases, self.features.masks, strict=True):
            here = present[mask.to(present.device)].to(value.device) > 0.5
            yield value.clone() if bool(here.all()) else torch.where(here, value, base)


class DataLoaderAttribution(Attribution):
    r"""Scores for a number about a whole data set: feature g's share of metric(f over all batches).

    The wrapped method sees one example whose features say what is present in every batch.

    Args:
        attr_method: a perturbation method, such as `FeatureAblation(model)`.

    >>> import torch
    >>> from captum.attr import DataLoaderAttribution, FeatureAblation
    >>> loader = torch.utils.data.DataLoader(torch.ones(6, 2), batch_size=2)
    >>> method = DataLoaderAttribution(FeatureAblation(lambda x: x[:, 0] - x[:, 1]))
    >>> total = lambda done, output, batch: output.sum() + (0 if done is None else done)
    >>> method.attribute(loader, reduce=total)
    tensor([[ 6., -6.]])
    """

    def __init__(self, attr_method: Attribution) -> None:
        if not isinstance(attr_method, PerturbationAttribution):
            raise wrong(
                TypeError,
                "a perturbation method, which needs outputs only",
                repr(attr_method),
                "DataLoaderAttribution(FeatureAblation(model))",
            )
        super().__init__(attr_method.forward_func)
        self.attr_method = attr_method

    def attribute(
        self,
        dataloader: Iterable[Any],
        input_roles: tuple[int, ...] | None = None,
        baselines: Any = None,
        feature_mask: Any = None,
        reduce: Reduce | None = None,
        to_metric: Callable[[Any], Tensor] | None = None,
        perturbations_per_pass: int = 1,
        show_progress: bool = False,
        return_input_shape: bool = True,
    ) -> Scores:
        """Scores of shape (M, *F) for a metric of M numbers, as the inputs of a batch.

        Args:
            dataloader: batches: a tensor, or a tuple of which `input_roles` says what is what;
                any iterable that can be read several times, in the same order.
            input_roles: per element of a batch 0 (scored), 1 (for the model, not scored) or 2
                (not for the model); all are scored by default.
            baselines: a number or a tensor (1, *F) per scored element; zeros by default.
            feature_mask: integers (1, *F) per scored element; every entry by default.
            reduce: reduce(done, output, batch) -> done, from None on; concatenates by default.
            to_metric: the metric of what is reduced; itself by default.
            perturbations_per_pass: perturbations evaluated each time the data set is read, at
                least; as many more as their reduced outputs leave room for in memory.
            show_progress: a progress bar of model rows.
            return_input_shape: False gives scores per feature, (M, G).

        Raises:
            ValueError: an empty data set, or roles, baselines and masks that do not fit a batch.
        """
        batch = next(iter(dataloader), None)
        if batch is None:
            raise wrong(ValueError, "at least one batch", "an empty data loader", "a filled one")
        first = as_tuple(batch)
        roles = roles_of(input_roles, first)
        scored = tuple(x for x, r in zip(first, roles, strict=True) if r == InputRole.need_attr)
        features = make_features(scored, _masks(feature_mask, scored))
        present = torch.ones(1, features.count)
        progress = Progress(self.get_name(), show_progress)
        corpus = _Corpus(
            self.forward_func,
            _Held(dataloader),
            input_roles,
            baselines,
            features,
            reduce or _concatenated,
            to_metric,
            progress,
        )
        try:
            scores = self._scores(_Remembering(corpus), present, perturbations_per_pass)
        finally:
            progress.close()
        if not return_input_shape:
            return scores
        shaped = features.spread(scores.unsqueeze(-1))
        shaped = tuple(s.squeeze(1) for s in shaped)
        return shaped[0] if isinstance(batch, Tensor) else shaped

    def _scores(self, corpus: _Remembering, present: Tensor, rows: int) -> Tensor:
        """The wrapped method's scores of every metric, (M, G)."""
        method = copy.copy(self.attr_method)
        method.forward_func = corpus
        metrics = corpus(present).shape[1]
        row_bytes = corpus.function.state_bytes + 64 * present.numel()  # a row is also a key
        rows = max(rows, min(_ROOM // row_bytes, present.numel()))
        found = method.attribute(
            present, target=Targets(*range(metrics)), perturbations_per_eval=rows
        )
        return torch.cat(found)


class _Held:
    """The batches of a loader, held in memory where they fit: then it is read but once."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader
        self.held: list[tuple[Any, ...]] | None = None

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        if self.held is not None:
            yield from self.held
            return
        held: list[tuple[Any, ...]] = []
        room = _ROOM
        for batch in batches(self.loader):
            room -= sum(x.nbytes for x in tensors(batch))
            if room >= 0:
                held.append(batch)
            else:
                held.clear()
            yield batch
        if room >= 0:
            self.held = held


class _Remembering:
    """Never evaluates the same row twice: a pass over a data set is dear."""

    def __init__(self, function: _Corpus) -> None:
        self.function = function
        self.known: dict[tuple[float, ...], Tensor] = {}

    def __call__(self, rows: Tensor) -> Tensor:
        keys = [tuple(row.tolist()) for row in rows]
        new = list(dict.fromkeys(key for key in keys if key not in self.known))
        if new:
            self.known.update(zip(new, self.function(torch.tensor(new)), strict=True))
        return torch.stack([self.known[key] for key in keys])


def batches(loader: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Every batch as a tuple."""
    yield from map(as_tuple, loader)


def as_tuple(batch: Any) -> tuple[Any, ...]:
    return tuple(batch) if isinstance(batch, tuple | list) else (batch,)


def roles_of(given: tuple[int, ...] | None, batch: tuple[Any, ...]) -> tuple[int, ...]:
    roles = tuple(given) if given is not None else (0,) * len(batch)
    if len(roles) != len(batch) or not set(roles) <= {0, 1, 2} or 0 not in roles:
        raise wrong(
            ValueError,
            f"input_roles: a 0, 1 or 2 for each of the {len(batch)} elements, with at least one 0",
            f"input_roles={given}",
            f"input_roles={(0,) * len(batch)}",
        )
    return roles


def bases_of(given: Any, scored: Tensors) -> Tensors:
    each = (
        given if isinstance(given, tuple) else (given,) * (1 if given is not None else len(scored))
    )
    if len(each) != len(scored):
        raise wrong(
            ValueError,
            f"baselines for each of the {len(scored)} scored elements",
            describe(given),
            "baselines=(0, 0)",
        )
    return tuple(
        torch.as_tensor(0 if b is None else b, dtype=x.dtype, device=x.device)
        for b, x in zip(each, scored, strict=True)
    )


def _masks(given: Any, scored: Tensors) -> Tensors | None:
    if given is None:
        return None
    masks = given if isinstance(given, tuple) else (given,)
    if len(masks) != len(scored) or any(len(m) != 1 for m in masks):
        raise wrong(
            ValueError,
            f"a feature_mask of shape (1, *F) for each of the {len(scored)} scored elements",
            describe(given),
            "feature_mask=torch.arange(4).view(1, 4)",
        )
    return masks
