"""Scores of a data set, read back: as tensors, as a torch data set, as a table, as statistics."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from captum._engine import store
from captum._engine.errors import describe, extra, wrong
from captum._engine.ranks import World
from captum._engine.shards import Rows, manifest_of, parts_of
from captum.attr.summary import ClassSummarizer, Summarizer

TARGET = "_target"  # beside the scores, which have names of the user's
_COLUMNS = 1000  # of a table
_COMPLETE = "complete.json"


class Attributions(Dataset[Any]):
    """What `attribute_dataset` wrote into a folder; an item is one example's scores.

    Args:
        folder: the folder.

    Raises:
        ValueError: no such scores, or not all of them.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.about = manifest_of(self.folder)
        except FileNotFoundError:
            raise wrong(
                ValueError,
                "a folder that attribute_dataset wrote",
                str(folder),
                "attribute_dataset(method, loader, out=folder)",
            ) from None
        self._parts = sorted(
            (start, end, path) for start, (end, path) in parts_of(self.folder).items()
        )
        self._complete()
        # How scores are arranged, in names.
        self.form = store.about(self._parts[0][2])["form"] if self._parts else None

    def __len__(self) -> int:
        return self._parts[-1][1] if self._parts else 0

    def __getitem__(self, index: int | slice) -> Any:
        count = len(self)
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(count))]
        if not -count <= index < count:
            raise IndexError(f"example {index} of {count}")
        index %= count
        start, _, path = self._parts[bisect(self._parts, index, key=lambda part: part[0]) - 1]
        rows = store.read_rows(path, index - start, index - start + 1)
        return arranged(self.form, {name: value[0] for name, value in rows.items()})

    def parts(self) -> Iterator[Rows]:
        """Scores and targets, a file at a time: rows by name."""
        return self.shared(World())

    def shared(self, world: World) -> Iterator[Rows]:
        """A process's share of these."""
        for number, (_, _, path) in enumerate(self._parts):
            if world.takes(number):
                yield store.read(path)[0]

    def scores(self) -> Any:
        """All scores, as the method arranges them, (N, *F)."""
        return arranged(self.form, self._joined())

    def targets(self) -> Tensor | None:
        """What was explained of each example, (N,), where examples have targets of their own."""
        return self._joined((TARGET,)).get(TARGET)

    def summarise(self, summarizer: Summarizer) -> None:
        """Update statistics with every example's scores, a file at a time."""
        for rows in self.parts():
            summarise(summarizer, rows, self.form)

    def to_dataframe(self) -> Any:
        """A table with a row for each example: its target, and its scores.

        Raises:
            ValueError: more than 1,000 scores of an example.
        """
        pandas = extra("pandas", "tables")
        columns: dict[str, Any] = {}
        for name, values in sorted(self._joined().items(), key=lambda pair: pair[0] == TARGET):
            flat = values.reshape(len(values), -1)
            if flat.shape[1] > _COLUMNS:
                raise wrong(
                    ValueError,
                    f"at most {_COLUMNS} scores of an example in a table",
                    f"{flat.shape[1]} of {name!r}",
                    "scores(), or parts()",
                )
            title = "target" if name == TARGET else name
            names = [f"{title}[{i}]" for i in range(flat.shape[1])]
            if name == TARGET and values.ndim == 1:
                names = [title]
            columns |= dict(zip(names, as_array(flat.T), strict=True))
        return pandas.DataFrame(columns)

    def _joined(self, names: tuple[str, ...] | None = None) -> Rows:
        parts = [
            {k: v for k, v in rows.items() if names is None or k in names} for rows in self.parts()
        ]
        return joined(parts, "parts(), or found[i]")

    def _complete(self) -> None:
        end = 0
        for start, stop, _ in self._parts:
            if start != end:
                break
            end = stop
        wanted = self.about.get("examples")
        if wanted is None and (self.folder / _COMPLETE).exists():
            wanted = store.read_json(self.folder / _COMPLETE)["examples"]
        if end != len(self) or end != wanted:
            many = "all" if wanted is None else f"all {wanted}"
            raise wrong(
                ValueError,
                f"scores of {many} examples in {self.folder}",
                f"{end} without a gap",
                "attribute_dataset with the same arguments, which goes on",
            )


def joined(parts: Sequence[Rows], works: str) -> Rows:
    """Rows of several batches as one.

    Raises:
        ValueError: their shapes differ.
    """
    found = {}
    for name in parts[0] if parts else ():
        values = [rows[name] for rows in parts]
        shapes = list(dict.fromkeys(tuple(value.shape[1:]) for value in values))
        if len(shapes) > 1:
            got = f"shapes {shapes[0]} and {shapes[1]} of {name!r}"
            raise wrong(ValueError, "scores of the same shape for all examples", got, works)
        found[name] = torch.cat(values)
    return found


def as_array(values: Tensor) -> Any:
    """As numpy has it, which has no bfloat16."""
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def complete(folder: Path, examples: int) -> None:
    """Write down how many there are, of data that does not say so before it is read.

    Raises:
        ValueError: there were more or fewer the last time.
    """
    if manifest_of(folder)["examples"] is not None:
        return
    path = folder / _COMPLETE
    before = store.read_json(path)["examples"] if path.exists() else examples
    if before != examples:
        got = f"{examples}, after {before} the last time"
        raise wrong(ValueError, f"the data of which {folder} is", got, "another folder")
    store.write_json(path, {"examples": examples})


def flattened(scores: Any) -> tuple[Any, Rows]:
    """Scores by name, on the CPU, and how they are arranged.

    >>> flattened((torch.zeros(2), {"a": torch.ones(2)}))[0]
    ['tuple', ['0'], ['dict', {'a': ['1.a']}]]
    """
    rows: Rows = {}

    def form(value: Any, name: str) -> Any:
        inside = f"{name}." if name else ""
        if isinstance(value, Tensor):
            rows[name or "scores"] = value.detach().cpu()
            return [name or "scores"]
        if isinstance(value, tuple | list):
            kind = "list" if isinstance(value, list) else "tuple"
            return [kind, *(form(item, f"{inside}{i}") for i, item in enumerate(value))]
        if isinstance(value, dict):
            return ["dict", {key: form(item, f"{inside}{key}") for key, item in value.items()}]
        if value is None:
            return None
        raise wrong(TypeError, "scores that are tensors", describe(value), "method.attribute")

    return form(scores, ""), rows


def arranged(form: Any, rows: Rows) -> Any:
    """Scores as they were arranged."""
    if form is None:
        return None
    if len(form) == 1:
        return rows[form[0]]
    kind, *items = form
    if kind == "dict":
        return {key: arranged(item, rows) for key, item in items[0].items()}
    made = [arranged(item, rows) for item in items]
    return made if kind == "list" else tuple(made)


def summarise(summarizer: Summarizer, rows: Rows, form: Any) -> None:
    """Update statistics with the scores of each example; of each target, where classes are kept."""
    kept = tuple(value for name, value in rows.items() if name != TARGET)
    values = kept[0] if len(form) == 1 else kept
    if not isinstance(summarizer, ClassSummarizer):
        summarizer.update_rows(values)
        return
    if TARGET not in rows or rows[TARGET].ndim > 1:
        got = "the same for all" if TARGET not in rows else describe(rows[TARGET])
        raise wrong(ValueError, "a target for each example, as its class", got, "Summarizer(…)")
    summarizer.update(values, rows[TARGET].tolist())
