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


@dataclass
class _Taken:
    """A recorded pass of the examples start to start + length."""

    start: int
    length: int
    recording: Recording
    values: Tensors  # at the site, of the first of them
    numbers: list[Tensor]  # and what was explained there

    def holds(self, start: int, length: int) -> bool:
        return self.start <= start and start + length <= self.start + self.length


class Prefix:
    """The passes of one call in which values are put at a layer.

    What comes before the layer is the same in all of them, whatever is put there.
    """

    def __init__(self, run: Runner, progress: Progress) -> None:
        self._run, self._progress = run, progress
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
        start = part.examples.start or 0
        here = part.copies.stop - part.copies.start
        length = part.rows // here
        taken = next((t for t in self._taken if t.holds(start, length)), None)
        if taken is not None:
            ahead = (copies - part.copies.start) * call.rows
            record = self._record(call, taken) if self._asked + ahead >= _PAYS else None
            self._asked += part.rows
            if record is not None:
                mode = Replaying(record, here, start - taken.start, length)
                return self._replayed(mode, part_call, edit)
        # The first pass of all learns things of its own; results with a graph are not kept.
        elif self._run.seen is not None and not torch.is_grad_enabled():
            return self._recorded(part_call, part.rows, values, edit, start, length)
        return self._run.forward(part_call, edit)

    def _recorded(
        self, part_call: Call, rows: int, values: Tensors, edit: Edit, start: int, length: int
    ) -> Pass:
        mode = Recording(rows)
        result = self._run.forward(part_call, mode.watching(edit), mode=mode)
        if mode.finished():
            few = min(_FEW, length)
            first = tuple(v[:few].detach() for v in values)
            numbers = [n[:few].detach() for n in result.numbers]
            self._taken.append(_Taken(start, length, mode, first, numbers))
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
            record = Record(taken.recording, self._other(call, taken))
            return record if self._tells_truth(call, taken, record) else None
        except Exception:  # a model that takes no other number of rows, for one
            return None

    def _other(self, call: Call, taken: _Taken) -> Recording:
        """A pass of another number of rows, up to the site."""
        rows = 1 if taken.recording.rows == 2 else 2
        few = call.narrow(taken.start, min(rows, taken.length))
        mode = Recording(rows)
        edit = mode.watching(lambda _source, live: live)
        self._run.forward(few.tile(rows // few.rows), edit, numbers=False, mode=mode)
        self._progress.more(rows)
        return mode

    def _tells_truth(self, call: Call, taken: _Taken, record: Record) -> bool:
        """Whether two copies of a few examples, replayed, give the numbers that they gave."""
        few = len(taken.values[0])
        mode = Replaying(record, 2, 0, few)
        rest = iter(taken.values)

        def edit(_source: int, live: Tensors) -> Tensors:
            return tuple(torch.cat([next(rest)] * 2) for _ in live)

        twice = call.narrow(taken.start, few).tile(2)
        found = self._run.forward(twice, mode.watching(edit), mode=mode).numbers
        self._progress.more(twice.rows)
        return all(
            _close(n, torch.cat([before] * 2))
            for n, before in zip(found, taken.numbers, strict=True)
        )


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or not b.is_floating_point():
        return torch.equal(a, b)
    exact = torch.finfo(b.dtype).eps ** 0.5
    return bool(((a - b).abs() <= exact * (1e-3 + b.abs().max())).all())
