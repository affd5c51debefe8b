"""Values and gradients of WHAT at WHERE, in passes of a bearable size.

An `Engine` lives for one `attribute()` call. Methods ask it for values at the site (`read`), for
the explained number (`evaluate`) and for its gradients at the site (`gradients`); they never see
a hook, an autograd mode or a batch size. Where a method needs the model at many points for each
example, it asks for `copies`: rows come copy after copy, row = copy * N + example.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.batching import NotPerRow, Part, RowLimit, Rows, out_of_memory, split
from captum._engine.call import Call
from captum._engine.errors import describe, wrong
from captum._engine.explained import Explained, Neuron, Output
from captum._engine.model import Model, has_recurrent_layer, mixes_rows, unwrapped
from captum._engine.nest import Tensors, is_real
from captum._engine.paths import wide
from captum._engine.progress import Progress
from captum._engine.site import Inputs, Layer, Site, Stop, Visitor


@dataclass
class Pass:
    """What one forward pass left: values at the site and the explained numbers."""

    values: Tensors
    numbers: list[Tensor]  # per target, shape (rows,)
    through: Any = None  # the value of a layer on the way, where one was asked for


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
        self.of = of or Output()
        hooked = isinstance(self.at, Layer) or isinstance(self.of, Neuron)
        self.model = unwrapped(model) if hooked else model
        self.create_graph = create_graph
        self.grad_kwargs = dict(grad_kwargs or {})
        self.progress = progress or Progress("", None, show=False)
        self.limit = RowLimit.of(rows)
        self.whole = False  # rows cannot be split or repeated: one copy of the call per pass
        self.seen: list[tuple[int, Any]] | None = None  # the site's values in a pass, their forms
        self.neuron_calls: int | None = None
        self.unused: set[int] | None = None
        self._learning = False  # this pass is measured, to size the next ones
        self.lead = 0  # 1 where gradients have a leading dimension for several targets
        self._recurrent: bool | None = None
        # Models may work in place on a value that they get. A layer's is therefore copied; for
        # the inputs autograd refuses before anything is changed, and then they are copied too.
        self._copy = isinstance(self.at, Layer)

    # ------------------------------------------------------------------ the three questions

    def read(self, call: Call, copies: int = 1, *, inputs: Tensors | None = None) -> Tensors:
        """The values at the site, as the model makes them from the call's inputs or others."""
        if self._plain(call):
            return call.inputs if inputs is None else inputs

        def keep(found: list[Tensor]) -> Callable[[Tensors], Tensors]:
            def edit(live: Tensors) -> Tensors:
                found.extend(live)
                return tuple(x.clone() for x in live)  # what follows may work in place

            return edit

        def one(part: Part) -> list[Tensors]:
            found: list[Tensor] = []
            with torch.set_grad_enabled(self.create_graph):
                self._forward(part.call(inputs), keep(found), numbers=False)
            return [tuple(found)]

        return self._over_parts(call, copies, one)[0]

    def evaluate(
        self,
        call: Call,
        copies: int = 1,
        *,
        inputs: Tensors | None = None,
        values: Tensors | None = None,
    ) -> Tensor:
        """The explained number for every row, shape (copies * N,); several targets lead."""

        def one(part: Part) -> list[Tensors]:
            edit = _place(part, values, lambda x: x)
            # While sizes are learnt a graph is built, as what it keeps is what is measured.
            with torch.set_grad_enabled(self.create_graph or self._learning):
                numbers = self._forward(part.call(inputs), edit).numbers
            return [tuple(n if self.create_graph else n.detach() for n in numbers)]

        if self._plain(call) and values is not None:
            inputs, values = values, None
        (numbers,) = self._over_parts(call, copies, one)
        self.lead = int(call.several)
        return torch.stack(numbers) if self.lead else numbers[0]

    def gradients(
        self,
        call: Call,
        copies: int = 1,
        *,
        inputs: Tensors | None = None,
        values: Tensors | None = None,
        cut: bool = False,
    ) -> tuple[Tensors, Tensors]:
        """The values at the site and the explained number's gradients there.

        Args:
            call: the call of N rows.
            copies: how many points per example `inputs` and `values` hold.
            inputs: points for the model's inputs, (copies * N, *F); the call's own by default.
            values: points for the site's values, likewise; what the model makes by default.
            cut: hold every value at the site fixed while another one moves. Without, a value
                that depends on an earlier one gives that its share.

        Returns:
            Values (copies * N, *L) and gradients of the same shape, or (K, copies * N, *L) for K
            targets.
        """

        if self._plain(call) and values is not None:
            inputs, values = values, None
        follow = not cut and isinstance(self.at, Layer)

        def one(part: Part) -> list[Tensors]:
            leaves: list[Tensor] = []

            def leaf(value: Tensor) -> Tensor:
                # No graph is built before the first value at the site is seen.
                torch.set_grad_enabled(True)
                keep = value.requires_grad and (self.create_graph or (leaves and follow))
                leaves.append(value if keep else value.detach().requires_grad_())
                return leaves[-1].clone() if self._copy else leaves[-1]

            with _autograd(self._graph_from_start):
                run = self._forward(part.call(inputs), _place(part, values, leaf))
                torch.set_grad_enabled(True)
                grads = self._backward(run.numbers, tuple(leaves))
            found = tuple(leaves) if self.create_graph else tuple(x.detach() for x in leaves)
            return [found, *grads]

        found, *grads = self._over_parts(call, copies, one)
        self.lead = int(call.several)
        if not self.lead:
            return found, grads[0]
        return found, tuple(torch.stack(each) for each in zip(*grads, strict=True))

    def gradients_through(
        self, neuron: Neuron, call: Call, copies: int = 1, *, inputs: Tensors
    ) -> Tensors:
        """∂f/∂y · ∂y/∂x for a neuron y between the inputs x and the explained number f."""

        def one(part: Part) -> list[Tensors]:
            leaves: list[Tensor] = []

            def leaf(value: Tensor) -> Tensor:
                leaves.append(value.detach().requires_grad_())
                return leaves[-1].clone()

            with torch.inference_mode(False), torch.enable_grad():
                edit = _place(part, None, leaf)
                run = self._forward(part.call(inputs), edit, through=neuron)
                return [self._chained(neuron, n, run.through, tuple(leaves)) for n in run.numbers]

        grads = self._over_parts(call, copies, one)
        self.lead = int(call.several)
        if not self.lead:
            return grads[0]
        return tuple(torch.stack(each) for each in zip(*grads, strict=True))

    def _chained(self, neuron: Neuron, number: Tensor, value: Tensor, leaves: Tensors) -> Tensors:
        """The chain rule through one neuron: two steps back through one graph."""
        options = {"retain_graph": True, "allow_unused": True, **self.grad_kwargs}
        (slope,) = torch.autograd.grad(number.sum(), value, **options)
        if slope is None:
            return tuple(map(torch.zeros_like, leaves))
        share = (neuron.entries(slope) * neuron.entries(value)).sum()
        grads = torch.autograd.grad(share, leaves, retain_graph=True, allow_unused=True)
        pairs = zip(leaves, grads, strict=True)
        return tuple(torch.zeros_like(x) if g is None else g for x, g in pairs)

    # ------------------------------------------------------------------ help for methods

    def weighted(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Σₛ wₛ · rowsₛ over the S copies of (S * N, *F)."""
        lead = rows.shape[: self.lead]
        flat = rows.reshape(*lead, len(weights), -1).to(wide(rows.dtype))
        summed = torch.matmul(weights.to(flat.device, flat.dtype), flat)
        return summed.reshape(*lead, -1, *rows.shape[self.lead + 1 :])

    def expect(self, call: Call, points: int, reads: int = 0, evaluations: int = 0) -> None:
        """Tell the progress bar how many model rows there will be, per example.

        `points` are gradients or evaluations at points, `reads` of the site cost a pass where the
        site is not simply the inputs.
        """
        passes = points + evaluations + (0 if self._plain(call) else reads)
        self.progress.expect(call.rows * passes)

    def copies(self, call: Call, total: int) -> Iterator[slice]:
        """Slices of `total` points per example, each a pass or so; sizes follow what is learnt."""
        start = 0
        while start < total:
            whole = self.whole or not call.aligned
            fit = 1 if whole else max(1, self._limit(call).rows // call.rows)
            stop = min(total, start + fit)
            yield slice(start, stop)
            start = stop

    def by_copy(self, rows: Tensor, copies: int) -> Tensor:
        """(copies * N, *F) as (copies, N, *F), behind the dimension of several targets."""
        shape = rows.shape
        return rows.reshape(*shape[: self.lead], copies, -1, *shape[self.lead + 1 :])

    def arrange(self, call: Call, items: Tensors) -> Any:
        """Scores at the site in the user's shape; a list of results for several targets."""
        if not self.lead:
            return self.at.result(call, self.seen or [], items, 0)
        each = zip(*(item.unbind(0) for item in items), strict=True)
        return [self.at.result(call, self.seen or [], item, 0) for item in each]

    def warn_unused(self, call: Call) -> None:
        """One warning that names what the explained number does not depend on."""
        if self.unused is None:  # no gradient was asked for
            return
        names = self.at.unused(call, self.seen or [], self.unused)
        if names:
            warnings.warn(
                f"the explained output does not depend on {', '.join(names)}, or not through a "
                "gradient: the scores are zeros. To leave it out, pass it in "
                "additional_forward_args or forward_kwargs.",
                UserWarning,
                stacklevel=5,
            )

    # ------------------------------------------------------------------ one pass

    def _plain(self, call: Call) -> bool:
        """Whether the site is the model's arguments as they are."""
        return isinstance(self.at, Inputs) and all(map(is_real, call.inputs))

    @property
    def _graph_from_start(self) -> bool:
        return self.create_graph or isinstance(self.model, nn.DataParallel)

    def _forward(
        self,
        call: Call,
        edit: Callable[[Tensors], Tensors],
        numbers: bool = True,
        through: Neuron | None = None,
    ) -> Pass:
        if through is None and isinstance(self.of, Output) and self._plain(call):
            values = edit(call.inputs)  # nothing is hooked: the model is simply called
            args, kwargs = call.bind(values)
            with self._cudnn(call):
                output = self.model(*args, **kwargs)
            return Pass(values, [target.select(output) for target in call.targets])
        found: list[Tensor] = []

        def record(live: Tensors) -> Tensors:
            found.extend(live)
            return edit(live)

        visitor = Visitor(record)
        if not numbers and self.seen:
            visitor.stop_after = len(self.seen)
        picked: list[Tensor] = []
        with (
            self._cudnn(call),
            self.at.opened(call, visitor) as moved,
            self.of.watched(self.neuron_calls) as watch,
            through.watched(None) if through else nullcontext() as passed,
        ):
            args, kwargs = moved.bind(moved.inputs)
            try:
                output = self.model(*args, **kwargs)
            except Stop:
                output = None
            if numbers:
                picked = [watch.read(output, target) for target in call.targets]
        if watch.visitor is not None and self.neuron_calls is None:
            self.neuron_calls = len(watch.visitor.seen)
        self._check_site(visitor, call)
        value = passed.value() if passed is not None and passed.value is not None else None
        return Pass(tuple(found), picked, value)

    def _check_site(self, visitor: Visitor, call: Call) -> None:
        if self.seen is None:
            missing = self.at.missing(visitor.seen) if isinstance(self.at, Layer) else None
            if missing is None and not any(visitor.seen):
                missing = "the inputs are integers, and no embedding looks them up: " + ", ".join(
                    describe(x) for x in call.inputs
                )
            if missing is not None:
                raise wrong(
                    ValueError,
                    "values at the site that can receive scores",
                    missing,
                    "a layer that the forward pass uses, or floating-point inputs: inputs.float()",
                )
            self.seen = visitor.seen
        elif len(visitor.seen) != len(self.seen):
            raise wrong(
                ValueError,
                f"the same {len(self.seen)} values at the site in every pass",
                f"{len(visitor.seen)} values in a later pass",
                "a model whose control flow does not depend on the data, or one example per call",
            )

    def _backward(self, numbers: list[Tensor], leaves: Tensors) -> list[Tensors]:
        """Gradients of each target's numbers; zeros where nothing depends on a value."""
        results: list[Tensors] = []
        unused = set(range(len(leaves)))
        for i, number in enumerate(numbers):
            found: tuple[Tensor | None, ...] = (None,) * len(leaves)
            if number.requires_grad:
                keep = self.create_graph or i + 1 < len(numbers)
                found = torch.autograd.grad(
                    # One number is its own sum, and one node less to go back through.
                    number if number.numel() == 1 else number.sum(),
                    leaves,
                    retain_graph=keep,
                    create_graph=self.create_graph,
                    **{"allow_unused": True, **self.grad_kwargs},
                )
            unused -= {j for j, g in enumerate(found) if g is not None}
            pairs = zip(leaves, found, strict=True)
            results.append(tuple(torch.zeros_like(x) if g is None else g for x, g in pairs))
        if len(unused) == len(leaves):
            raise wrong(
                ValueError,
                "an explained output that depends on the site through differentiable operations",
                "an output without a gradient",
                "a model without argmax, detach or no_grad between the inputs and the output",
            )
        self.unused = unused if self.unused is None else self.unused & unused
        return results

    def _cudnn(self, call: Call) -> AbstractContextManager[Any]:
        """cuDNN cannot go backward through a recurrent layer in eval mode; PyTorch's own can."""
        if not call.inputs[0].is_cuda:
            return nullcontext()
        if self._recurrent is None:
            self._recurrent = has_recurrent_layer(self.model)
        return torch.backends.cudnn.flags(enabled=not self._recurrent)

    # ------------------------------------------------------------------ many passes

    def _over_parts(
        self, call: Call, copies: int, one: Callable[[Part], list[Tensors]]
    ) -> list[Tensors]:
        """Run `one` on every part, and put the parts' rows together again."""
        while True:
            self.whole = self.whole or not call.aligned or mixes_rows(self.model)
            limit = None if self.whole else self._limit(call)
            try:
                parts = [self._checked(p, one, call, copies) for p in split(call, copies, limit)]
                break
            except NotPerRow:
                self.seen = None  # once more, copy by copy
            except RuntimeError as error:
                if not self._copy and "leaf Variable that requires grad" in str(error):
                    self._copy = True
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
        self._learning = rows < every and not (self._limit(call).measured or self.whole)
        if self._learning:
            with self._limit(call).measuring(rows, call.inputs[0].device):
                result = one(part)
        else:
            result = one(part)
        if not self.whole and not all(
            x.shape[0] == rows if x.ndim else False for g in result for x in g
        ):
            self.whole = True
            if copies > 1 or rows < every:
                raise NotPerRow
        self.progress.add(rows)
        return result

    def _limit(self, call: Call) -> RowLimit:
        if self.limit is None:
            self.limit = RowLimit.first(call.inputs)
        return self.limit


def _autograd(enabled: bool) -> AbstractContextManager[Any]:
    """Autograd, also for a caller in inference mode; the caller's modes come back afterwards."""
    if not torch.is_inference_mode_enabled():
        return torch.set_grad_enabled(enabled)
    stack = ExitStack()
    stack.enter_context(torch.inference_mode(False))
    stack.enter_context(torch.set_grad_enabled(enabled))
    return stack


def _place(
    part: Part, values: Tensors | None, then: Callable[[Tensor], Tensor]
) -> Callable[[Tensors], Tensors]:
    """An edit that puts the given values in the place of the live ones, in order."""
    if values is None:
        return lambda live: tuple(map(then, live))
    rest = iter([part.take(v) for v in values])

    def edit(live: Tensors) -> Tensors:
        new = tuple(next(rest) for _ in live)
        for old, value in zip(live, new, strict=True):
            if old.shape != value.shape:
                raise NotPerRow
        return tuple(then(v.to(old.device)) for old, v in zip(live, new, strict=True))

    return edit
