"""Rows that are made part by part, kept in memory or in a folder of files.

In a folder there is a manifest that says what the rows are of, and a file for each part, written in
one step: a run that was killed leaves whole files, and the next one makes the others.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from captum._engine import store
from captum._engine.errors import wrong
from captum._engine.ranks import World

Rows = dict[str, Tensor]  # tensors (n, *) of the same n rows

_MANIFEST = "manifest.json"
_ANEW = "another folder, or delete this one"
_NAME = re.compile(r"(\d{12})-(\d{12})\.safetensors")


class Kept(Protocol):
    """Rows that are there, and take more."""

    def has(self, start: int, end: int) -> bool:
        """Whether these rows are there as one part."""

    def put(self, start: int, rows: Rows) -> None:
        """Rows from a number on, as one part."""

    def mine(self, world: World) -> Iterator[tuple[int, Rows]]:
        """This process's share of the parts, in order: the number of the first row, and rows."""


class InMemory:
    """Rows in memory: each process has those that it made."""

    def __init__(self) -> None:
        self._parts: dict[int, Rows] = {}

    def has(self, start: int, end: int) -> bool:
        return start in self._parts

    def put(self, start: int, rows: Rows) -> None:
        self._parts[start] = rows

    def mine(self, world: World) -> Iterator[tuple[int, Rows]]:
        return iter(sorted(self._parts.items(), key=lambda part: part[0]))


class Shards:
    """Rows in a folder, opened by all processes of a run together.

    Args:
        folder: where; it is made where it is not there.
        about: what the rows hang on, in words and numbers. Rows of something else are refused.

    Raises:
        ValueError: the folder holds rows of something else, or what cannot be read.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder = folder
        # By the first process, so that all see the same, or are refused with the same words; and
        # before anybody has anything unfinished of its own.
        found = World.now().first(_prepared(folder, about) if World.now().rank == 0 else {})
        if isinstance(found, Exception):
            raise found
        self._parts: dict[int, tuple[int, Path]] = found
        self._starts = sorted(self._parts)

    def has(self, start: int, end: int) -> bool:
        """Whether these rows are there as one part.

        Raises:
            ValueError: some of them are there, in other parts.
        """
        before = bisect_left(self._starts, end)  # parts that begin before the end of these
        first = self._starts[before - 1] if before else start
        last = self._parts[first][0] if before else start
        if last > start and (first, last) != (start, end):
            raise wrong(
                ValueError,
                f"rows {start} to {end} in one file of {self.folder}",
                f"{first} to {last}",
                "the batches with which the run began, or another folder",
            )
        return last > start

    def put(self, start: int, rows: Rows, known: Mapping[str, Any] | None = None) -> None:
        """Rows from a number on, as one part; and what else there is to know of them."""
        end = start + _count(rows)
        path = self.folder / f"{start:012d}-{end:012d}.safetensors"
        store.write(path, rows, {"start": start, **(known or {})})
        self._parts[start] = end, path
        insort(self._starts, start)

    def mine(self, world: World) -> Iterator[tuple[int, Rows]]:
        parts = sorted(parts_of(self.folder).items())
        end = 0
        for start, (stop, _) in parts:
            if start != end:
                got = f"some from {start} on, after {end}"
                raise wrong(ValueError, f"rows without a gap in {self.folder}", got, _ANEW)
            end = stop
        for number, (start, (_, path)) in enumerate(parts):
            if world.takes(number):
                yield start, store.read(path)[0]


def _prepared(folder: Path, about: Mapping[str, Any]) -> dict[int, tuple[int, Path]] | Exception:
    """The parts of a folder that is for these rows, swept; or what is wrong with it."""
    try:
        manifest = folder / _MANIFEST
        if manifest.exists():
            _check(folder, store.read_json(manifest), about)
        else:
            if folder.exists() and parts_of(folder):
                got = "files of rows without one: nobody knows what they are of"
                raise wrong(ValueError, f"a folder with {_MANIFEST}: {folder}", got, _ANEW)
            store.write_json(manifest, about)
        for left in folder.glob("*" + store.PART):
            left.unlink(missing_ok=True)
        return parts_of(folder)
    except (ValueError, OSError) as error:
        return error


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
            _ANEW,
        )
