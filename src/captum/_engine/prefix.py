"""Whether what a model does before the site is recorded, replayed or run as ever: pass by pass."""

from __future__ import annotations

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


@dataclass
class _Taken:
    """A recorded pass, and a trial: what values at the site gave in it, as other rows."""

    share: _Share
    recording: Recording
    trial: _Share
    values: Tensors
    numbers: list[Tensor]


class Prefix:
    """The passes of one call in which values are put at a layer.

    What comes before the layer is the same in all of them, whatever is put there. No pass has
    more than `most` rows: where these are too few for a trial with other numbers of rows, a record
    serves passes of its own share alone.
    """

    def __init__(self, run: Runner, progress: Progress, most: int) -> None:
        self._run, self._progress = run, progress
        self._alike = most < 2 * _FEW
        self._taken: list[_Taken] = []
        self._records: dict[int, Record] = {}
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
        taken = next((t for t in self._taken if self._serves(t, share)), None)
        if taken is not None:
            ahead = (copies - part.copies.start) * call.rows
            record = self._record(call, taken) if self._asked + ahead >= _PAYS else None
            self._asked += part.rows
            if record is not None:
                mode = Replaying(record, here, share.start - taken.share.start, share.length)
                return self._replayed(mode, part_call, edit)
        # The first pass of all learns things of its own; results with a graph are not kept.
        elif self._run.seen is not None and not torch.is_grad_enabled():
            return self._recorded(part_call, share, values, edit)
        return self._run.forward(part_call, edit)

    def _serves(self, taken: _Taken, share: _Share) -> bool:
        if self._alike:
            return taken.share == share
        own = taken.share
        return own.start <= share.start and share.start + share.length <= own.start + own.length

    def _recorded(self, part_call: Call, share: _Share, values: Tensors, edit: Edit) -> Pass:
        mode = Recording(share.rows)
        trial = share if self._alike else _Share(2, share.start, min(_FEW, share.length))

        def tried(rows: Tensor) -> Tensor:
            rows = rows.detach()
            return rows.clone() if self._alike else torch.cat([rows[: trial.length]] * 2)

        kept = tuple(map(tried, values))  # before the model works on them in place
        result = self._run.forward(part_call, mode.watching(edit), mode=mode)
        if mode.finished():
            numbers = [tried(n) for n in result.numbers]
            self._taken.append(_Taken(share, mode, trial, kept, numbers))
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

    def _record(self, call: Call, taken: _Taken) -> Record | None:
        """The record of a recorded pass, once it is known to tell the truth."""
        key = id(taken)
        if key not in self._records:
            with torch.no_grad():
                record = self._proven(call, taken)
            if record is None:
                self._given_up = True
                return None
            self._records[key] = record
        return self._records[key]

    def _proven(self, call: Call, taken: _Taken) -> Record | None:
        try:
            other = None if self._alike else self._other(call, taken)
            record = Record(taken.recording, other)
            return record if self._tells_truth(call, taken, record) else None
        except Exception:  # a model that takes no other number of rows, for one
            return None

    def _other(self, call: Call, taken: _Taken) -> Recording:
        """A pass of another number of rows, up to the site."""
        rows = 1 if taken.share.rows == 2 else 2
        few = min(rows, taken.share.length)
        mode = Recording(rows)
        edit = mode.watching(lambda _source, live: live)
        share = _Share(rows // few, taken.share.start, few)
        self._run.forward(share.of(call), edit, numbers=False, mode=mode)
        self._progress.more(rows)
        return mode

    def _tells_truth(self, call: Call, taken: _Taken, record: Record) -> bool:
        """Whether the trial, replayed, gives the numbers that its rows gave."""
        mode = Replaying(record, taken.trial.copies, 0, taken.trial.length)
        rest = iter(taken.values)

        def edit(_source: int, live: Tensors) -> Tensors:
            return tuple(next(rest) for _ in live)

        found = self._run.forward(taken.trial.of(call), mode.watching(edit), mode=mode).numbers
        self._progress.more(taken.trial.rows)
        return all(map(_close, found, taken.numbers))


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or not b.is_floating_point():
        return torch.equal(a, b)
    exact = torch.finfo(b.dtype).eps ** 0.5
    return bool(((a - b).abs() <= exact * (1e-3 + b.abs().max())).all())
