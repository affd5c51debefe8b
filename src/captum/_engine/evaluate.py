"""Values and gradients of WHAT at WHERE, in passes of a bearable size.

An `Engine` lives for one `attribute()` call. Methods ask it for values at the site (`read`), for
the explained number (`evaluate`) and for its gradients at the site (`gradients`); they never see
a hook, an autograd mode or a batch size. Where a method needs the model at many points for each
example, it asks for `copies`: rows come copy after copy, row = copy * N + example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from captum._engine.batching import NotPerRow, Part, Points, RowLimit, Rows, out_of_memory, split
from captum._engine.call import Call
from captum._engine.errors import warn, wrong
from captum._engine.explained import Explained, Neuron, Output
from captum._engine.model import Model, mixes_rows
from captum._engine.nest import Tensors, is_real, scored
from captum._engine.one_pass import GraphLost, Pass, Runner
from captum._engine.paths import wide
from captum._engine.prefix import Prefix
from captum._engine.progress import Progress
from captum._engine.replay import Diverged
from captum._engine.rules.mode import RuleMode
from captum._engine.rules.references import ReferenceMode
from captum._engine.rules.report import Rules
from captum._engine.rules.shared_rows import NotShared
from captum._engine.site import Edit, Inputs, Layer, Site


@dataclass(frozen=True)
class Ruled:
    """What rules carried back to the site."""

    values: Tensors  # at the site, (N, *L)
    references: Tensors  # the same at the reference; () where rules know none
    multipliers: Tensors  # in the place of gradients; K targets lead
    numbers: Tensor  # what is explained, (N,); K targets lead
    before: Tensor | None  # the same at the reference
    passed: Tensors = ()  # a layer's values on the way
    slopes: Tensors = ()  # the ordinary gradients there; K targets lead


class Engine:
    """One model, one WHAT, one WHERE, for the length of one `attribute()` call."""

    def __init__(
        self,
        model: Model,
        at: Site | None = None,
        of: Explained | None = None,
        *,
        rows: Rows = "auto",
        create_graph: bool = False,
        grad_kwargs: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.at = at or Inputs()
        self.create_graph = create_graph
        self.progress = progress or Progress()
        self.limit = RowLimit.of(rows)
        self.whole = False  # rows cannot be split or repeated: one copy of the call per pass
        self.scattered = False  # some value or number does not have one row per example
        self.lead = 0  # 1 where gradients have a leading dimension for several targets
        self._shares = True  # one reference row may stand for many
        self._more = False  # this pass is not the last of its kind
        self._learning = False  # this pass is measured, to size the next ones
        self._run = Runner(model, self.at, of or Output(), create_graph, grad_kwargs or {})
        self._prefix: Prefix | None = None  # what lies before a layer, for values put there

    # ------------------------------------------------------------------ the three questions

    def plain(self, call: Call) -> bool:
        """Whether the site is the model's inputs as they are, and nothing has to be read."""
        return self._run.plain(call)

    def read(
        self,
        call: Call,
        copies: int = 1,
        *,
        inputs: Tensors | None = None,
        every: bool = False,
    ) -> Tensors:
        """The values at the site, as the model makes them from the call's inputs or others.

        With `every`, also those that cannot hold scores, such as token ids.
        """
        if self._run.plain(call):
            return call.inputs if inputs is None else inputs

        def one(part: Part) -> list[Tensors]:
            found: list[Tensor] = []

            def keep(_source: int, live: Tensors) -> Tensors:
                # Copies: what follows may work in place, and a layer may hand out its own memory.
                found.extend(x.clone() for x in live)
                return live

            with torch.set_grad_enabled(self.create_graph or self._learning):
                self._run.forward(part.call(inputs), keep, numbers=False, every=every)
            return [tuple(x if self.create_graph else x.detach() for x in found)]

        return self._over_parts(call, copies, one)[0]

    def evaluate(
        self,
        call: Call,
        copies: int = 1,
        *,
        inputs: Points | None = None,
        values: Points | None = None,
    ) -> Tensor:
        """The explained number for every row, shape (copies * N,); several targets lead.

        The points may be made pass by pass, so that not all of them are in memory at once.
        """

        def keep(_source: int, live: Tensors) -> Tensors:
            # The caller's own may be asked about again, and what follows may work in place.
            return live if callable(values) else tuple(x.clone() for x in live)

        def one(part: Part) -> list[Tensors]:
            # While sizes are learnt a graph is built, as what it keeps is what is measured.
            with torch.set_grad_enabled(self.create_graph or self._learning):
                if values is None:
                    numbers = self._run.forward(part.call(inputs), None).numbers
                else:
                    numbers = self._put(call, copies, part, inputs, values, keep).numbers
            # Copies: a view would keep the whole output in memory.
            return [tuple(n if self.create_graph else n.detach().clone() for n in numbers)]

        if self._run.plain(call) and values is not None:
            inputs, values = values, None
        (numbers,) = self._over_parts(call, copies, one)
        return self._by_target(call, [(n,) for n in numbers])[0]

    def gradients(
        self,
        call: Call,
        copies: int = 1,
        *,
        inputs: Tensors | None = None,
        values: Tensors | None = None,
        cut: bool = False,
    ) -> tuple[Tensors, Tensors]:
        """The values at the site and the explained number's gradients there, as `differentiated`.

        Values (copies * N, *L) and gradients of the same shape, or (K, copies * N, *L) for K
        targets.
        """
        found = self.differentiated(call, copies, inputs=inputs, values=values, cut=cut)
        return found[1], found[2]

    def differentiated(
        self,
        call: Call,
        copies: int = 1,
        *,
        inputs: Tensors | None = None,
        values: Tensors | None = None,
        cut: bool = False,
    ) -> tuple[Tensor, Tensors, Tensors]:
        """The explained number, the values at the site, and the number's gradients there.

        Args:
            call: the call of N rows.
            copies: how many points per example `inputs` and `values` hold.
            inputs: points for the model's inputs, (copies * N, *F); the call's own by default.
            values: points for the site's values, likewise; what the model makes by default.
            cut: hold the other runs of a module fixed where one of them moves. Without, a value
                that depends on an earlier one gives that its share.

        Returns:
            Numbers (copies * N,), values (copies * N, *L), and gradients of their shape; for K
            targets, numbers and gradients have K in front.
        """

        if self._run.plain(call) and values is not None:
            inputs, values = values, None
        # What goes into a layer may also go around it: its gradient is of all its ways.
        tied = values is None and isinstance(self.at, Layer) and self.at.side == "input"

        def one(part: Part) -> list[Tensors]:
            leaves: list[Tensor] = []

            # What leads to the site is measured too, while sizes are learnt.
            with self._run.autograd(tied or self._learning):
                edit = self._run.leaf_maker(leaves, cut, tied)
                if values is not None:
                    run = self._with_graph(
                        self._put(call, copies, part, inputs, values, edit), part
                    )
                else:
                    part_call = part.call(inputs)
                    if tied:
                        starts = (
                            x if self.create_graph and x.requires_grad else _tied(x)
                            for x in part_call.inputs
                        )
                        part_call = part_call.moved(tuple(starts))
                    run = self._forward(part_call, edit, part)
                grads = self._run.backward(run.numbers, tuple(leaves))
            ends = (run.numbers, leaves)
            kept = [tuple(x if self.create_graph else x.detach() for x in each) for each in ends]
            return [*kept, *grads]

        numbers, found, *grads = self._over_parts(call, copies, one)
        of_targets = self._by_target(call, [(n,) for n in numbers])[0]
        return of_targets, found, self._by_target(call, grads)

    def ruled(
        self,
        call: Call,
        rules: Rules,
        copies: int = 1,
        *,
        inputs: Tensors | None = None,
        references: Tensors | None = None,
        observe: bool = False,
        through: Neuron | None = None,
    ) -> Ruled:
        """What `rules` carry back from the explained number to the site, instead of gradients.

        Args:
            call: the call of N rows.
            rules: what makes the mode of each pass.
            copies: how many points per example `inputs` and `references` hold.
            inputs: points for the model's inputs, (copies * N, *F); the call's own by default.
            references: where values came from, for rules that need to know: of the site's values
                or, with `observe`, of the model's inputs. (copies * N, *F), or one row per copy,
                (copies, *F), that all of its examples share.
            observe: the inputs move, and the site only looks on.
            through: a layer whose values and ordinary gradients are wanted from the same pass.
        """
        observe = observe and not self._run.plain(call)  # inputs look on at themselves
        moves = references is not None and not observe  # the site's own values, one by one
        tied = isinstance(self.at, Layer) and self.at.side == "input" and not moves

        def one(part: Part) -> list[Tensors]:
            leaves: list[Tensor] = []
            part_call = part.call(inputs)
            found = [part.reference(r, copies) for r in references or ()]
            # One row stands for all of them, unless rows belong together.
            one_row = any(len(r) == 1 for r in found) and part.rows > 1
            shared = self._shares and not self.whole and one_row
            mode = rules.mode(
                self._run.model, None if references is None or observe else found, shared
            )
            looks_on = observe and isinstance(mode, ReferenceMode)
            # What leads to the site is measured too, while sizes are learnt.
            with self._run.autograd(tied or (self._learning and not looks_on)):
                if looks_on:
                    assert isinstance(mode, ReferenceMode)  # for mypy
                    mode.weigh = self._limit(call).weigh if self._learning else None
                    part_call = part_call.moved(mode.follow(part_call.inputs, found, tied))
                elif tied:
                    part_call = part_call.moved(tuple(map(_tied, part_call.inputs)))
                edit = self._run.leaf_maker(leaves, tied=tied, apart=moves, mode=mode)
                run = self._forward(part_call, edit, part, through, mode)
                if shared and any(n.shape != (part.rows,) for n in run.numbers):
                    raise NotShared
                findings = mode.audited(run.numbers, leaves)
                passed = scored(run.through) if through else ()
                slopes = self._slopes(run.numbers, passed, rules) if through else []
                grads = self._run.backward(run.numbers, tuple(leaves))
                rules.took(mode, findings)
            at_end = [tuple(x.detach() for x in each) for each in (leaves, run.numbers, passed)]
            return [*at_end, *_at_start(mode, leaves, run.numbers), *grads, *slopes]

        if references is not None:
            # A reference for all rows runs again in each pass: fewer of them, where no graph
            # keeps what leads to the site.
            fewer = observe and len(references[0]) == copies
            self._limit(call).stretch = 4 if fewer else 1
        found = self._shared_or_not(call, copies, one, rules)
        values, numbers, passed, references, before, *grads = found
        targets = len(call.targets)
        return Ruled(
            values,
            references,
            self._by_target(call, grads[:targets]),
            self._by_target(call, [(n,) for n in numbers])[0],
            self._by_target(call, [(n,) for n in before])[0] if before else None,
            passed,
            self._by_target(call, grads[targets:]) if through else (),
        )

    def _shared_or_not(
        self, call: Call, copies: int, one: Callable[[Part], list[Tensors]], rules: Rules
    ) -> list[Tensors]:
        """The passes; once more with a reference for each row, where one does not stand for all."""
        report = rules.report
        passes = partial(self._over_parts, call, copies, one, lambda: rules.again_from(report))
        try:
            return passes()
        except NotShared:
            self._shares = False
        try:
            return passes()
        except NotShared:
            raise wrong(
                ValueError,
                "values whose views at the reference lie in memory as at the input",
                "a write into a view of another layout",
                "contiguous inputs and baselines: x.contiguous()",
            ) from None

    def _slopes(self, numbers: list[Tensor], values: Tensors, rules: Rules) -> list[Tensors]:
        """The ordinary gradients of each number at values on the way; the graph stays."""
        with rules.suspended():
            return [
                torch.autograd.grad(number.sum(), values, retain_graph=True) for number in numbers
            ]

    def gradients_through(
        self, neuron: Neuron, call: Call, copies: int = 1, *, inputs: Tensors
    ) -> Tensors:
        """∂f/∂y · ∂y/∂x for a neuron y between the inputs x and the explained number f."""

        def one(part: Part) -> list[Tensors]:
            leaves: list[Tensor] = []

            with self._run.autograd():
                edit = self._run.leaf_maker(leaves)
                run = self._forward(part.call(inputs), edit, part, neuron)
                return [
                    self._run.backward_through(neuron, number, run.through, tuple(leaves))
                    for number in run.numbers
                ]

        return self._by_target(call, self._over_parts(call, copies, one))

    def _by_target(self, call: Call, groups: list[Tensors]) -> Tensors:
        """One group of tensors, or those of several targets along a dimension that leads."""
        self.lead = int(call.several)
        if not self.lead:
            return groups[0]
        return tuple(torch.stack(each) for each in zip(*groups, strict=True))

    # ------------------------------------------------------------------ help for methods

    def integral(
        self, call: Call, weights: Tensor, gradients: Callable[[slice], Tensors]
    ) -> Tensors:
        """Σₛ wₛ · gradientsₛ over S points per example, a pass's share of them at a time.

        `gradients` gives those of a slice of the points as rows, (points * N, *F); sums are kept
        in float32 or better.
        """
        total: list[Tensor] = []
        for part in self.copies(call, len(weights)):
            sums = [self._weighted(rows, weights[part]) for rows in gradients(part)]
            total = [a + b for a, b in zip(total, sums, strict=True)] if total else sums
        return tuple(total)

    def _weighted(self, rows: Tensor, weights: Tensor) -> Tensor:
        lead = rows.shape[: self.lead]
        flat = rows.reshape(*lead, len(weights), -1).to(wide(rows.dtype))
        with torch.autocast(flat.device.type, enabled=False):  # a sum, not a layer of the model
            summed = torch.matmul(weights.to(flat.device, flat.dtype), flat)
        return summed.reshape(*lead, -1, *rows.shape[self.lead + 1 :])

    def missing(self, call: Call, items: Tensors, change: Tensor) -> Tensor:
        """Σ scores - change for every example, (N,); several targets lead.

        Where scores do not lie example by example (a recurrent state, the nodes of a graph), the
        batch has one total, (1,).
        """
        lead = self.lead
        rows = [x.flatten(lead + 1).sum(-1) if x.ndim > lead + 1 else x for x in items]
        if self.scattered or not call.aligned or any(row.shape != change.shape for row in rows):
            rows = [row.sum(-1, keepdim=True) for row in rows]
            change = change.sum(-1, keepdim=True)
        return torch.stack([row.to(change.device) for row in rows]).sum(0) - change

    def expect(self, call: Call, points: int, reads: int = 0, evaluations: int = 0) -> None:
        """Tell the progress bar how many model rows there will be, per example.

        `points` are gradients or evaluations at points, `reads` of the site cost a pass where the
        site is not simply the inputs.
        """
        passes = points + evaluations + (0 if self._run.plain(call) else reads)
        self.progress.expect(call.rows * passes)

    def fits(self, call: Call, rows: int) -> bool:
        """Whether so many rows go in one pass, as far as is known."""
        return not self.whole and self._limit(call).rows >= rows

    def copies(self, call: Call, total: int, least: int = 1) -> Iterator[slice]:
        """Slices of `total` points per example, each a pass or so; sizes follow what is learnt.

        Several points share a pass if at least so many fit.
        """
        start = 0
        while start < total:
            whole = self.whole or not call.aligned
            fit = 1 if whole else max(1, self._limit(call).rows // call.rows)
            stop = min(total, start + (fit if fit >= least else 1))
            self._more = stop < total
            yield slice(start, stop)
            start = stop

    def by_copy(self, rows: Tensor, copies: int) -> Tensor:
        """(copies * N, *F) as (copies, N, *F), behind the dimension of several targets."""
        shape = rows.shape
        return rows.reshape(*shape[: self.lead], copies, -1, *shape[self.lead + 1 :])

    def per_layer(self, items: Tensors) -> list[Tensors] | None:
        """The values of each layer of a list of them; None where the site is none."""
        if not (isinstance(self.at, Layer) and self.at.several):
            return None
        rest = iter(items)
        found: dict[int, list[Tensor]] = {}
        for source, form in self._run.seen or []:
            found.setdefault(source, []).extend(next(rest) for _ in scored(form))
        return [tuple(found[source]) for source in sorted(found)]

    def arrange(self, call: Call, items: Tensors) -> Any:
        """Scores at the site in the user's shape; a list of results for several targets."""
        if not self.lead:
            return self.at.result(call, self._run.seen or [], items, 0)
        each = zip(*(item.unbind(0) for item in items), strict=True)
        return [self.at.result(call, self._run.seen or [], item, 0) for item in each]

    def warn_unused(self, call: Call) -> None:
        """One warning that names what the explained number does not depend on."""
        if self._run.unused is None:  # no gradient was asked for
            return
        names = self.at.unused(call, self._run.seen or [], self._run.unused)
        if names:
            warn(
                f"the explained output does not depend on {', '.join(names)}, or not through a "
                "gradient: the scores are zeros. To leave it out, pass it in "
                "additional_forward_args or forward_kwargs."
            )

    # ------------------------------------------------------------------ many passes

    def _over_parts(
        self,
        call: Call,
        copies: int,
        one: Callable[[Part], list[Tensors]],
        begin: Callable[[], None] = lambda: None,
    ) -> list[Tensors]:
        """Run `one` on every part, and put the parts' rows together again.

        `begin` is told when passes start, also when they have to start again.
        """
        while True:
            begin()
            self.whole = self.whole or not call.aligned or mixes_rows(self._run.model)
            alone = self.whole or call.rows * copies == 1
            limit = None if alone else self._limit(call)
            try:
                parts = [self._checked(p, one, call, copies) for p in split(call, copies, limit)]
                break
            except NotPerRow:
                if self.whole:
                    raise wrong(
                        ValueError,
                        "values at the site that keep their shape from pass to pass",
                        "a value of another shape than the one to be put in its place",
                        "baselines of the inputs' shape, or one example per call",
                    ) from None
                self.whole = self.scattered = True
                self._run.seen = None  # once more, copy by copy
            except Diverged:
                pass  # once more: what lies before the site is run now
            except GraphLost:
                self._run.early = True  # once more, with a graph from the start
            except RuntimeError as error:
                if not self._run.copy and "leaf Variable that requires grad" in str(error):
                    self._run.copy = True
                elif limit is None or not out_of_memory(error) or not limit.halve():
                    raise
        if len(parts) == 1:
            return parts[0]
        return [
            tuple(torch.cat(rows) for rows in zip(*group, strict=True))
            for group in zip(*parts, strict=True)
        ]

    def _checked(
        self, part: Part, one: Callable[[Part], list[Tensors]], call: Call, copies: int
    ) -> list[Tensors]:
        """One pass: measured where sizes are still to be learnt, and looked at for its rows."""
        rows, every = part.rows, call.rows * copies
        more = rows < every or self._more
        self._learning = more and not (self._limit(call).measured or self.whole)
        if self._learning:
            with self._limit(call).measuring(rows, call.inputs[0].device):
                result = one(part)
        else:
            result = one(part)
        for group in result:
            self._require_rows(group, part)
        if self.progress.show:
            self.progress.add(rows)
        return result

    def _forward(
        self,
        call: Call,
        edit: Edit,
        part: Part,
        through: Neuron | None = None,
        mode: RuleMode | None = None,
    ) -> Pass:
        """A pass with a way back, unless a block of the model has lost it."""
        run = self._run.forward(call, edit, through=through, mode=mode)
        return self._with_graph(run, part)

    def _with_graph(self, run: Pass, part: Part) -> Pass:
        if not torch.is_grad_enabled():
            if not self._run.early:
                raise GraphLost
            torch.set_grad_enabled(True)
        self._require_rows(run.numbers, part)
        return run

    def _put(
        self,
        call: Call,
        copies: int,
        part: Part,
        inputs: Points | None,
        values: Points,
        then: Edit,
    ) -> Pass:
        """A pass with values put at the site, where `then` sees them."""
        shared = part.share(values)
        rest = iter(shared)

        def edit(source: int, live: Tensors) -> Tensors:
            new = tuple(next(rest) for _ in live)
            if any(old.shape != value.shape for old, value in zip(live, new, strict=True)):
                raise NotPerRow
            return then(source, tuple(v.to(old.device) for old, v in zip(live, new, strict=True)))

        if inputs is not None or self.whole:
            return self._run.forward(part.call(inputs), edit)
        if self._prefix is None:
            limit = self._limit(call)
            most = limit.rows if limit.fixed else limit.most
            self._prefix = Prefix(self._run, self.progress, most)
        return self._prefix.forward(call, copies, part, shared, edit)

    def _require_rows(self, tensors: Sequence[Tensor], part: Part) -> None:
        """Whether there is a row for each row of the pass: else rows cannot be split or repeated.

        A pass of everything as the user gave it is right in any case.
        """
        if self.whole:
            return
        for x in tensors:
            if x.ndim == 0 or x.shape[0] != part.rows:
                break
        else:
            return
        if not part.everything:
            raise NotPerRow
        self.whole = self.scattered = True

    def _limit(self, call: Call) -> RowLimit:
        if self.limit is None:
            self.limit = RowLimit.first(call.inputs)
        return self.limit


def _at_start(
    mode: RuleMode, leaves: Sequence[Tensor], numbers: Sequence[Tensor]
) -> tuple[Tensors, Tensors]:
    """Where values and numbers were at the reference, for modes that know one."""
    if not isinstance(mode, ReferenceMode):
        return (), ()
    of = mode.of
    return tuple(of(x).expand_as(x) for x in leaves), tuple(of(n).expand_as(n) for n in numbers)


@contextmanager
def opened(engine: Engine) -> Iterator[None]:
    """Autograd's modes for one public call, and its progress bar; both as before afterwards."""
    # Under a caller's inference_mode not even a copy of the inputs could take part in autograd.
    inference = torch.is_inference_mode_enabled()
    before = torch.is_grad_enabled()
    with torch.inference_mode(False) if inference else nullcontext():
        torch.set_grad_enabled(engine.create_graph)
        try:
            yield
        finally:
            torch.set_grad_enabled(before)
            engine.progress.close()


def _tied(x: Tensor) -> Tensor:
    return x.detach().requires_grad_().clone() if is_real(x) else x
