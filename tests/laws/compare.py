"""Compare results of any shape: tensors, tuples, lists and dicts of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from captum._engine.nest import scored

Law = Callable[[Any, Any], None]


def assert_same_scores(got: Any, wanted: Any, close: float = 1e-10) -> None:
    """The same nest of finite numbers, up to `close` times the largest one."""
    assert type(got) is type(wanted)
    pairs = list(zip(scored(got), scored(wanted), strict=True))
    assert pairs, "nothing to compare"
    for ours, theirs in pairs:
        assert ours.shape == theirs.shape
        assert torch.isfinite(ours).all()
        scale = max(float(theirs.abs().max()), 1e-30)
        assert float((ours.double() - theirs.double()).abs().max()) <= close * scale


def each(name: str, cases: Iterable[Any]) -> Callable[[Law], Callable[[Any], None]]:
    """A test of (method, case) as one test of the method, which names the case that fails.

    As parameters they would be thousands of tests, which take longer to set up than to run.
    """
    cases = list(cases)

    def looped(law: Law) -> Callable[[Any], None]:
        def test(method: Any) -> None:
            case = None
            try:
                for case in cases:
                    law(method, case)
            except Exception as error:
                raise AssertionError(f"{name}={case!r}: {error}") from error

        test.__name__, test.__doc__, test.__module__ = law.__name__, law.__doc__, law.__module__
        return test

    return looped


def total(scores: Any) -> Tensor:
    """All scores of each example, added up, (N,)."""
    return torch.stack([s.flatten(1).sum(1) for s in scored(scores)]).sum(0)


def every(scores: Any, law: Callable[[Tensor], bool]) -> bool:
    return all(law(s) for s in scored(scores))
