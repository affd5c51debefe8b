"""Rows that are made one after the other, kept in memory or in a folder of files.

In a folder there is a manifest that says what the rows are of, and one file for every so many of
them, each written in one step: a run that was killed leaves whole files, and goes on after the
last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from captum._engine import store
from captum._engine.errors import wrong

Rows = dict[str, Tensor]  # tensors (n, *) of the same n rows

_MANIFEST = "manifest.json"
_NAME = re.compile(r"(\d{12})-(\d{12})\.safetensors")


class Kept(Protocol):
    """Rows that are there, and take more."""

    @property
    def done(self) -> int:
        """How many there are."""

    def add(self, rows: Rows) -> None:
        """More rows, as one part."""

    def __iter__(self) -> Iterator[Rows]:
        """The parts, in order."""


class InMemory:
    """Rows in memory."""

    def __init__(self) -> None:
        self.done = 0
        self._parts: list[Rows] = []

    def add(self, rows: Rows) -> None:
        self._parts.append(rows)
        self.done += _count(rows)

    def __iter__(self) -> Iterator[Rows]:
        return iter(self._parts)


class Shards:
    """Rows in a folder.

    Args:
        folder: where; it is made where it is not there.
        about: what the rows hang on, in words and numbers. Rows of something else are refused.
        clean: sweep away what was left unfinished; not where others may be writing.

    Raises:
        ValueError: the folder holds rows of something else, or what cannot be read.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], clean: bool = True) -> None:
        self.folder = folder
        manifest = folder / _MANIFEST
        if manifest.exists():
            _check(folder, store.read_json(manifest), about)
        else:
            store.write_json(manifest, about)
        for left in folder.glob("*" + store.PART) if clean else ():
            left.unlink(missing_ok=True)
        self._parts = parts_of(folder)

    @property
    def done(self) -> int:
        """How many rows there are without a gap."""
        end = 0
        while end in self._parts:
            end = self._parts[end][0]
        return end

    def has(self, start: int, end: int) -> bool:
        """Whether these rows are there as one part.

        Raises:
            ValueError: a part that begins there and ends elsewhere.
        """
        found = self._parts.get(start)
        if found is not None and found[0] != end:
            raise wrong(
                ValueError,
                f"rows {start} to {end} in one file of {self.folder}",
                f"{start} to {found[0]}",
                "the batches with which the run began, or another folder",
            )
        return found is not None

    def add(self, rows: Rows) -> None:
        self.put(self.done, rows)

    def put(self, start: int, rows: Rows) -> None:
        """Rows from a number on, as one part."""
        end = start + _count(rows)
        path = self.folder / f"{start:012d}-{end:012d}.safetensors"
        store.write(path, rows, {"start": start})
        self._parts[start] = end, path

    def __iter__(self) -> Iterator[Rows]:
        end = 0
        while end in self._parts:
            end, path = self._parts[end]
            yield store.read(path)[0]


def parts_of(folder: Path) -> dict[int, tuple[int, Path]]:
    """The files of a folder: start -> end, file."""
    found = {}
    for path in sorted(folder.iterdir()):
        name = _NAME.fullmatch(path.name)
        if name:
            found[int(name[1])] = int(name[2]), path
    return found


def manifest_of(folder: Path) -> dict[str, Any]:
    """What the rows of a folder hang on."""
    return store.read_json(folder / _MANIFEST)


class Regular:
    """Puts rows together, and hands them on so many at a time.

    >>> import torch
    >>> kept = InMemory()
    >>> regular = Regular(kept, 4)
    >>> for part in torch.arange(10).split(3):
    ...     regular.add({"x": part})
    >>> regular.close()
    >>> [len(rows["x"]) for rows in kept]
    [4, 4, 2]
    """

    def __init__(self, to: Kept, size: int) -> None:
        self.to, self.size = to, size
        self._waiting: list[Rows] = []
        self._count = 0

    def add(self, rows: Rows) -> None:
        self._waiting.append(rows)
        self._count += _count(rows)
        if self._count >= self.size:
            whole = self._joined()
            for start in range(0, self._count - self.size + 1, self.size):
                self.to.add({k: t[start : start + self.size] for k, t in whole.items()})
            left = self._count % self.size
            self._waiting = [{k: t[self._count - left :] for k, t in whole.items()}]
            self._count = left

    def close(self) -> None:
        """Hand on what is left."""
        if self._count:
            self.to.add(self._joined())
            self._waiting, self._count = [], 0

    def _joined(self) -> Rows:
        return {k: torch.cat([rows[k] for rows in self._waiting]) for k in self._waiting[0]}


def _count(rows: Rows) -> int:
    return len(next(iter(rows.values())))


def _check(folder: Path, found: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    keys = {*found, *about}
    other = sorted(key for key in keys if found.get(key) != about.get(key))
    if other:
        raise wrong(
            ValueError,
            f"a folder for these results: {folder}",
            "one with results of another "
            + ", ".join(f"{k} ({found.get(k)!r}, not {about.get(k)!r})" for k in other),
            "another folder, or delete this one",
        )
