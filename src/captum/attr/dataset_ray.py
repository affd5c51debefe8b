"""The same for a data set of Ray: a `map_batches` job, on as many machines as Ray has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from captum._engine import store
from captum._engine.errors import describe, extra, wrong
from captum.attr.base import Attribution
from captum.attr.dataset_asking import LABELS, Asking
from captum.attr.dataset_store import TARGET, as_array

if TYPE_CHECKING:
    from ray.data import Dataset

_NUMBERS = "biuf"  # kinds of numpy's dtypes


def attribute_ray_dataset(
    method: Attribution | Callable[[], Attribution],
    data: Dataset,
    target: Any = None,
    *,
    inputs: Callable[[Mapping[str, Any]], Any] | None = None,
    arguments: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
    batch_size: int = 64,
    seed: int = 0,
    concurrency: Any = 1,
    options: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Dataset:
    """A data set of Ray with columns of scores added: "scores", or "scores.0" … for several.

    Nothing runs before the result is read or written, as usual there; going on after a crash is
    Ray's. Scores that are drawn at random hang on `seed` and the batch's numbers.

    Args:
        method: any attribution method whose scores have a row for each example; or what makes one,
            called in each worker, as for a model that belongs on the worker's GPU.
        data: its columns of numbers are explained, but for "labels": a single one as it is, several
            by keyword.
        target: as for `attribute`; or "labels", or "predictions", the largest output of each
            example. Those of each example become a column "target".
        inputs: of a batch, columns by name, numbers as tensors: what is explained, where it is not
            as above.
        arguments: of such a batch: more arguments for `attribute`, such as a mask of its own.
        batch_size: examples of a pass.
        seed: of what methods draw.
        concurrency: workers, or a tuple of the fewest and the most.
        options: for `map_batches`, such as {"num_gpus": 1}.
        kwargs: for `attribute`.

    Raises:
        TypeError: no data set of Ray.
        ImportError: Ray is missing: the extra `ray` brings it.
    """
    ray = extra("ray.data", "ray")
    if not isinstance(data, ray.Dataset):
        raise wrong(TypeError, "a data set of Ray", describe(data), "ray.data.read_parquet(path)")
    found: Dataset = data.map_batches(
        _Worker,
        fn_constructor_args=(method, target, inputs, arguments, seed, kwargs),
        batch_size=batch_size,
        batch_format="numpy",
        concurrency=concurrency,
        **(options or {}),
    )
    return found


class _Worker:
    """Scores for one batch after the other, where the method was brought to or made."""

    def __init__(
        self,
        method: Attribution | Callable[[], Attribution],
        target: Any,
        inputs: Callable[[Mapping[str, Any]], Any] | None,
        arguments: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None,
        seed: int,
        kwargs: Mapping[str, Any],
    ) -> None:
        made = method if isinstance(method, Attribution) else method()
        self.asking = Asking(made, target, inputs or _explained, arguments, seed, kwargs)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        given = {
            name: torch.as_tensor(column) if column.dtype.kind in _NUMBERS else column
            for name, column in batch.items()
        }
        place = int(store.digest(given)[:8], 16)  # where in the data it was, nobody knows
        found = {}
        for name, rows in self.asking.rows(place, [given]).items():
            whole = {TARGET: "target", "scores": "scores"}
            title = whole.get(name, f"scores.{name}")
            if title in batch:
                got = f"{title!r} among its columns"
                raise wrong(ValueError, "data without scores", got, "data.drop_columns(…)")
            found[title] = as_array(rows)
        return {**batch, **found}


def _explained(batch: Mapping[str, Any]) -> Any:
    """What of a batch is explained: numbers, but for labels."""
    found = {k: v for k, v in batch.items() if isinstance(v, torch.Tensor) and k != LABELS}
    if not found:
        raise wrong(ValueError, "columns of numbers", f"{sorted(batch)}", "inputs=lambda batch: …")
    return next(iter(found.values())) if len(found) == 1 else found
