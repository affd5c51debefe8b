"""What holds for every test: a known seed at the start, and no leak into the process at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from laws.nets import reseed
from laws.unchanged import assert_same, world
from laws.unchanged import unchanged as _unchanged

collect_ignore = ["conftest.py"]  # not a module with examples: src has another of this name


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Modes, flags and global hooks are after each test what they were before."""
    reseed(0)
    before = world()
    yield
    assert_same(before, world(), "the process")


@pytest.fixture
def unchanged() -> Callable[..., AbstractContextManager[Any]]:
    """`with unchanged(model, inputs): ...` fails if anything is left on them, or drawn."""
    return _unchanged
