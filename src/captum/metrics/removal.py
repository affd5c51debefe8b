"""What the model says where features are taken away, or only some are left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum._engine.call import Call, baselines
from captum._engine.errors import describe, wrong
from captum._engine.evaluate import Engine
from captum._engine.features import Features, chosen, make_features, masks_of
from captum._engine.model import Model
from captum._engine.nest import Tensors
from captum.metrics.opened import asked, scores_of

_BLOCK_BYTES = 8 << 20  # of what is there or not there, at a time


@dataclass
class Removal:
    """The explained number of N examples with any of their G features at the baseline.

    `scores` are the explanation's, summed over each feature, (N, G); `full` is the number with all
    features, (N,).
    """

    engine: Engine
    call: Call
    bases: Tensors
    features: Features
    scores: Tensor
    full: Tensor

    @property
    def count(self) -> int:
        """G."""
        return self.features.count

    def numbers(self, present: Tensor) -> Tensor:
        """The explained number where features are present, (K, N, G) -> (K, N)."""
        rows = present.shape[1]
        step = max(1, _BLOCK_BYTES // max(1, rows * sum(x[0].numel() for x in self.call.inputs)))
        found = []
        for part in torch.split(present, step):

            def points(within: slice, examples: slice, part: Tensor = part) -> Tensors:
                here = part[within, examples]
                return tuple(self._points(i, here, examples) for i in range(len(self.bases)))

            made = self.engine.evaluate(self.call, len(part), inputs=points)
            found.append(made.reshape(len(part), rows))
        return torch.cat(found)

    @property
    def empty(self) -> Tensor:
        """The number with no feature, (N,)."""
        nothing = torch.zeros(1, self.call.rows, self.count, dtype=torch.bool)
        return self.numbers(nothing)[0]

    def ranked(self) -> Tensor:
        """Features from the largest score to the least, (N, G)."""
        return self.scores.argsort(dim=1, descending=True, stable=True)

    def _points(self, i: int, present: Tensor, examples: slice) -> Tensor:
        x, base = self.call.inputs[i][examples], self.bases[i][examples]
        mask = self.features.masks[i]
        mask = (mask if len(mask) == 1 else mask[examples]).expand(len(x), *x.shape[1:])
        copies = len(present)
        index = mask.reshape(1, len(x), -1).expand(copies, -1, -1)
        here = present.to(x.device).gather(2, index).reshape(copies, *x.shape)
        return chosen(here, x, base).flatten(0, 1)


@contextmanager
def removal(
    model: Model,
    inputs: Any,
    attributions: Any,
    given_baselines: Any,
    feature_mask: Any,
    args: Any,
    target: Any,
) -> Iterator[Removal]:
    """What a metric that takes features away needs."""
    with asked(model, inputs, target, args) as (engine, call):
        if call.several:
            raise wrong(
                TypeError, "one target of each example", describe(target), "a call for each of them"
            )
        features = make_features(call.inputs, masks_of(call, feature_mask))
        scores = _by_feature(scores_of(call, attributions), features)
        yield Removal(
            engine,
            call,
            baselines(call, given_baselines),
            features,
            scores,
            engine.evaluate(call),
        )


def _by_feature(scores: Tensors, features: Features) -> Tensor:
    """Scores summed over each feature's entries, (N, G)."""
    first = scores[0]
    total = first.new_zeros(len(first), features.count)
    for each, mask in zip(scores, features.masks, strict=True):
        index = mask.expand(each.shape).flatten(1)
        total.scatter_add_(1, index, each.flatten(1).to(total))
    return total
