"""Whether what a model does before the site is recorded, replayed or run as ever: pass by pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from captum._engine.batching import NotPerRow, Part, out_of_memory
from captum._engine.call import Call
from captum._engine.nest import Tensors
from captum._engine.one_pass import GraphLost, Pass, Runner
from captum._engine.progress import Progress
from captum._engine.replay import Diverged, Record, Recording, Replaying
from captum._engine.site import Edit, Layer

_PAYS = 32  # after so many rows more, a record is worth its proof
_FEW = 2  # examples that a record is tried on
_PASSES = 4  # as many more as the recorded one are worth a proof with all of its examples


@dataclass(frozen=True)
class _Share:
    """What a pass has rows of: some copies of the examples start to start + length."""

    copies: int
    start: int
    length: int

    @property
    def rows(self) -> int:
        return self.copies * self.length

    def of(self, call: Call) -> Call:
        return call.narrow(self.start, self.length).tile(self.copies)

    def within(self, other: _Share) -> bool:
        """Whether all its examples are among the other's."""
        return other.start <= self.start and self._end <= other._end

    @property
    def _end(self) -> int:
        return self.start + self.length


@dataclass
class _Taken:
    """A recorded pass, and what the first copy of its examples gave in it."""

    share: _Share
    recording: Recording
    values: Tensors  # at the site
    numbers: Tensors  # what was explained
    record: Record | None = None
    serves: Callable[[_Share], bool] = lambda share: True  # of those with its examples


class Prefix:
    """The passes of one call in which values are put at a layer.

    What comes before the layer is the same in all of them, whatever is put there. No pass has
    more than `most` rows: where these are too few for a proof with other numbers of rows, a record
    serves passes of its own share alone.
    """

    def __init__(self, run: Runner, progress: Progress, most: int) -> None:
        self._run, self._progress, self._most = run, progress, most
        self._taken: list[_Taken] = []
        self._asked = 0
        self._given_up = not isinstance(run.at, Layer) or run.early

    def forward(self, call: Call, copies: int, part: Part, values: Tensors, edit: Edit) -> Pass:
        """A pass of those for `copies` points; `edit` puts `values`, the part's rows, at the site.

        Raises:
            Diverged: a replayed pass failed; the next ones are run.
        """
        part_call = part.call(None)
        if self._given_up:
            return self._run.forward(part_call, edit)
        here = part.copies.stop - part.copies.start
        share = _Share(here, part.examples.start or 0, part.rows // here)
        taken = next((t for t in self._taken if share.within(t.share) and t.serves(share)), None)
        if taken is not None:
            ahead = (copies - part.copies.start) * call.rows
            if taken.record is None and self._asked + ahead >= _PAYS:
                self._prove(call, taken, ahead)
            self._asked += part.rows
            if taken.record is not None and taken.serves(share):
                mode = Replaying(taken.record, here, share.start - taken.share.start, share.length)
                return self._replayed(mode, part_call, edit)
        # The first pass of all learns things of its own; results with a graph are not kept.
        elif self._run.seen is not None and not torch.is_grad_enabled():
            return self._recorded(part_call, share, values, edit)
        return self._run.forward(part_call, edit)

    def _recorded(self, part_call: Call, share: _Share, values: Tensors, edit: Edit) -> Pass:
        mode = Recording(share.rows)

        def first(rows: Tensor) -> Tensor:
            return rows.detach()[: share.length].clone()

        kept = tuple(map(first, values))  # before the model works on them in place
        result = self._run.forward(part_call, mode.watching(edit), mode=mode)
        if mode.finished():
            self._taken.append(_Taken(share, mode, kept, tuple(map(first, result.numbers))))
        else:
            self._given_up = True
        return result

    def _replayed(self, mode: Replaying, part_call: Call, edit: Edit) -> Pass:
        try:
            return self._run.forward(part_call, mode.watching(edit), mode=mode)
        except (NotPerRow, GraphLost):
            raise
        except Exception as error:
            if isinstance(error, RuntimeError) and out_of_memory(error):
                raise
            self._given_up = True  # if it is the model's own, it comes again
            raise Diverged from error

    def _prove(self, call: Call, taken: _Taken, ahead: int) -> None:
        """Find out what a recorded pass serves for; nothing more is tried if it is nothing."""
        own = taken.share
        if self._most < 2 * _FEW:
            taken.serves = lambda share: share == own
            taken.record = self._proven(call, taken, None, own)
        else:
            few = min(_FEW, own.length)
            other = _Share(2 // few, own.start, few) if own.rows != 2 else _Share(1, own.start, 1)
            taken.record = self._proven(call, taken, other, _Share(2, own.start, few))
        more = _Share(own.copies - 1 if own.copies > 1 else 2, own.start, own.length)
        if taken.record is None and ahead >= _PASSES * own.rows and more.rows <= self._most:
            # What is asked of all examples, such as whether a mask hides anything, is then as it
            # was: as long as they stay together.
            taken.serves = lambda share: (share.start, share.length) == (own.start, own.length)
            taken.record = self._proven(call, taken, more, more)
        taken.values = taken.numbers = ()
        self._given_up = taken.record is None

    def _proven(
        self, call: Call, taken: _Taken, other: _Share | None, trial: _Share
    ) -> Record | None:
        """The record, found with a pass of another number of rows, if a trial has it right."""
        try:
            with torch.no_grad():
                second = None if other is None else self._again(call, other)
                record = Record(taken.recording, second)
                return record if self._tells_truth(call, taken, record, trial) else None
        except Exception:  # a model that takes no other number of rows, for one
            return None

    def _again(self, call: Call, share: _Share) -> Recording:
        """A pass of another number of rows, up to the site."""
        mode = Recording(share.rows)
        edit = mode.watching(lambda _source, live: live)
        self._run.forward(share.of(call), edit, numbers=False, mode=mode)
        self._progress.more(share.rows)
        return mode

    def _tells_truth(self, call: Call, taken: _Taken, record: Record, trial: _Share) -> bool:
        """Whether a replayed pass gives the numbers that the recorded one gave."""

        def rows(first: Tensor) -> Tensor:
            return torch.cat([first[: trial.length]] * trial.copies)

        mode = Replaying(record, trial.copies, 0, trial.length)
        rest = map(rows, taken.values)

        def edit(_source: int, live: Tensors) -> Tensors:
            return tuple(next(rest) for _ in live)

        found = self._run.forward(trial.of(call), mode.watching(edit), mode=mode).numbers
        self._progress.more(trial.rows)
        return all(map(_close, found, map(rows, taken.numbers)))


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or not b.is_floating_point():
        return torch.equal(a, b)
    exact = torch.finfo(b.dtype).eps ** 0.5
    return bool(((a - b).abs() <= exact * (1e-3 + b.abs().max())).all())
