"""v(S): the explained number where the features of a coalition S are there and others are not.

Every perturbation method asks a game for the worth of coalitions and reduces what it gets. The
game packs coalitions and examples into passes, knows v of all features from the call itself, and
runs no coalition twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum._engine.call import Call
from captum._engine.coalitions import subsets
from captum._engine.errors import wrong
from captum._engine.evaluate import Engine
from captum._engine.features import Features, Players, chosen
from captum._engine.nest import Tensors
from captum._engine.paths import wide
from captum._engine.site import Inputs

_BLOCK_BYTES = 16 << 20  # of a matrix of coalitions
_FEW_BYTES = 1 << 20
_WORTH_BYTES = 64 << 20  # of their worths for all examples
_CACHE_BYTES = 64 << 20  # of worths and of what they are found by


class Game:
    """The worth of coalitions of G features, for each of N examples.

    Args:
        engine: knows the model, the site and the size of passes.
        call: N rows.
        values: what is there where a feature is present, (N, *F).
        bases: what is there where it is absent, (B, 1 or N, *F): the mean over all B of them.
        features: which entries make up a feature.
    """

    def __init__(
        self, engine: Engine, call: Call, values: Tensors, bases: Tensors, features: Players
    ) -> None:
        self.engine, self.call, self.features = engine, call, features
        self.values, self.bases = tuple(v.detach() for v in values), bases
        self.backgrounds = len(bases[0])
        self._at_inputs = isinstance(engine.at, Inputs)
        # At a layer its own values are put back: what comes before is then known for the others.
        whole = engine.evaluate(call, values=None if self._at_inputs else values)
        real = whole.dtype.is_floating_point or whole.dtype.is_complex
        self.kind = whole.dtype if real else torch.get_default_dtype()  # of scores
        exact = wide(whole.dtype) if real else torch.float64
        self.full = whole.to(exact)  # v of all features, (*lead, N)
        # Differences of integers are integers, means of them are not.
        counts = whole.dtype.is_signed and self.backgrounds == 1
        self.kind_of_differences = whole.dtype if counts else self.kind
        _check_masks(features, self.full)
        self._known: dict[bytes, int] = {}
        self._worths: Tensor | None = None  # of the known coalitions, (*lead, K, N)

    @property
    def players(self) -> int:
        return self.features.count

    @property
    def groups(self) -> Features:
        """The features where each entry belongs to one."""
        assert isinstance(self.features, Features)  # for mypy: only Occlusion plays with windows
        return self.features

    @property
    def empty(self) -> Tensor:
        """v without any feature, (*lead, N)."""
        return self(torch.zeros(1, self.players, dtype=torch.bool)).squeeze(self.engine.lead)

    def __call__(self, coalitions: Tensor) -> Tensor:
        """v of each row of a boolean matrix (K, G), shape (*lead, K, N)."""
        keys = _keys(coalitions)
        lead = self.engine.lead
        if (
            self._worths is not None
            and self._worths.nbytes + len(keys[0]) * len(self._known) > _CACHE_BYTES
        ):
            self._known, self._worths = {}, None
        first: dict[bytes, int] = {}
        for i, key in enumerate(keys):
            if key not in self._known:
                first.setdefault(key, i)
        self.skip(len(keys) - len(first))
        if first:
            rows = list(first.values())
            found = self.once(coalitions if len(rows) == len(keys) else coalitions[rows])
            if self._worths is None and len(rows) == len(keys):
                self._known = {key: i for i, key in enumerate(keys)}
                self._worths = found
                return found
            start = len(self._known)
            self._known.update((key, start + i) for i, key in enumerate(first))
            known = self._worths
            self._worths = found if known is None else torch.cat([known, found], lead)
        assert self._worths is not None  # for mypy: something is known by now
        places = torch.tensor([self._known[key] for key in keys], device=self._worths.device)
        return self._worths.index_select(lead, places)

    def once(self, coalitions: Tensor) -> Tensor:
        """The same for coalitions that are known to be new and distinct."""
        lead = self.engine.lead
        complete = coalitions.all(1)
        if bool(complete.any()):
            self.skip(int(complete.sum()))
            worths = self.full.unsqueeze(lead).repeat_interleave(len(coalitions), lead)
            rest = (~complete).nonzero().flatten()
            if len(rest):
                found = self.once(coalitions[rest])
                worths.index_copy_(lead, rest.to(worths.device), found)
            return worths

        def points(within: slice, examples: slice) -> Tensors:
            return tuple(
                self._points(i, coalitions, within, examples) for i in range(len(self.values))
            )

        worths = self.evaluated(len(coalitions) * self.backgrounds, points)
        if self.backgrounds == 1:
            return worths
        shape = (*worths.shape[:lead], len(coalitions), self.backgrounds, worths.shape[-1])
        return worths.reshape(shape).mean(lead + 1)

    def evaluated(self, copies: int, points: Callable[[slice, slice], Tensors]) -> Tensor:
        """The explained number at any points, made a pass at a time, (*lead, copies, N)."""
        # Few rows are made in one go, many of them pass by pass.
        few = copies * sum(v.nbytes for v in self.values) <= _FEW_BYTES
        made = points(slice(0, copies), slice(None)) if few else points
        where = {"inputs": made} if self._at_inputs else {"values": made}
        numbers = self.engine.evaluate(self.call, copies, **where)
        return self.engine.by_copy(numbers.to(self.full.dtype), copies)

    def expect(self, coalitions: int) -> None:
        """Tell the progress bar how many there will be, beside the call itself."""
        self.engine.expect(self.call, coalitions * self.backgrounds + 1, reads=1 + self.backgrounds)

    def skip(self, coalitions: int) -> None:
        """Coalitions of the plan that are not needed after all."""
        self.engine.progress.skip(coalitions * self._rows)

    def stream(self, total: int, make: Callable[[Tensor], Tensor], once: bool = False) -> Tensor:
        """v of `total` coalitions that are made a block of numbers at a time, (*lead, total, N)."""
        if not total:
            return self.full.unsqueeze(self.engine.lead).narrow(self.engine.lead, 0, 0)
        ask = self.once if once else self
        blocks = [ask(make(torch.arange(*block))) for block in self.blocks(total)]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, self.engine.lead)

    def everything(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All 2^G coalitions, and how much their worths differ from that of all features.

        A block at a time: (K, G) and (*lead, K, N). Where weights sum to zero any offset may go,
        and small numbers lose less.
        """
        for start, stop in self.blocks(2**self.players):
            coalitions = subsets(start, stop, self.players)
            yield coalitions, self.once(coalitions) - self.full.unsqueeze(self.engine.lead)

    def blocks(self, total: int) -> Iterator[tuple[int, int]]:
        """Start and stop of as many coalitions as are made, and asked for, at a time."""
        worths = self.full.numel() * self.full.element_size()
        size = max(1, min(_BLOCK_BYTES // self.players, _WORTH_BYTES // worths))
        for start in range(0, total, size):
            yield start, min(total, start + size)

    @property
    def _rows(self) -> int:
        """Model rows per coalition."""
        return self.call.rows * self.backgrounds

    def _points(self, i: int, coalitions: Tensor, within: slice, examples: slice) -> Tensor:
        """Value i as the coalitions of a pass leave it, (k * n, *F); a view where they all do."""
        value, base = self.values[i][examples], self.bases[i]
        if base.shape[1] > 1:
            base = base[:, examples]
        if self.backgrounds == 1:
            own = coalitions[within]
        else:
            copies = torch.arange(within.start, within.stop)
            own = coalitions[copies // self.backgrounds]
            base = base[(copies % self.backgrounds).to(base.device)]
        here = self.features.present(i, own, examples)
        if here is None:
            rows = value.expand(len(own), *value.shape)
            # What follows a layer may work in place.
            return (rows if self._at_inputs else rows.clone()).flatten(0, 1)
        return chosen(here.to(value.device), value, base).flatten(0, 1)

    def arrange(self, scores: Tensor, kind: torch.dtype | None = None) -> Any:
        """Scores per feature, (*lead, G, N), in the user's shape; a list for several targets."""
        return self.arranged(self.features.spread(scores.to(kind or self.kind)))

    def arranged(self, items: Tensors) -> Any:
        """Scores per entry, (*lead, N, *F), in the user's shape."""
        if not self._at_inputs:
            return self.engine.arrange(self.call, items)
        if not self.call.several:
            return self.call.form.arrange(items)
        return [self.call.form.arrange(each) for each in zip(*items, strict=True)]

    def per_feature(self, scores: Tensor) -> Any:
        """Scores per feature as (N, G); a list for several targets."""
        by_row = scores.to(self.kind).transpose(-1, -2)
        return list(by_row) if self.call.several else by_row


def _check_masks(features: Players, numbers: Tensor) -> None:
    if features.per_example and numbers.shape[-1] != len(features.found):
        raise wrong(
            ValueError,
            "one feature_mask (1, *F) for all examples, as the model gives one number for all",
            f"a mask for each of {len(features.found)} examples",
            "feature_mask=mask[:1]",
        )


def _keys(coalitions: Tensor) -> list[bytes]:
    packed = np.packbits(coalitions.numpy(), axis=1)
    width, text = packed.shape[1], packed.tobytes()
    return [text[i : i + width] for i in range(0, len(text), width)]
