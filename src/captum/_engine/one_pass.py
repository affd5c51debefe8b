"""One pass through the model: hooks at the site, autograd modes, and the way back.

The only file that opens hooks and switches autograd; whatever happens, both are afterwards as
they were found.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum._engine.call import Call
from captum._engine.errors import describe, wrong
from captum._engine.explained import Explained, Neuron, Output
from captum._engine.model import Model, has_recurrent_layer, replica, unwrapped
from captum._engine.nest import Tensors, is_real, map_tensors, replaced, scored
from captum._engine.rules.mode import RuleMode
from captum._engine.site import Edit, Inputs, Layer, Site, Stop, Visitor, current_pass


class GraphLost(Exception):  # noqa: N818 - a finding that changes the plan, not an error
    """A block of the model switched autograd back to how it was before the site was seen."""


@dataclass
class Pass:
    """What one forward pass left: the explained numbers."""

    numbers: list[Tensor]  # per target, shape (rows,)
    through: Any = None  # the value of a layer on the way, where one was asked for


class Runner:
    """Runs a model with its site and its explained number watched, pass after pass."""

    def __init__(
        self,
        model: Model,
        at: Site,
        of: Explained,
        create_graph: bool,
        grad_kwargs: Mapping[str, Any],
    ) -> None:
        self.at, self.of = at, of
        hooked = isinstance(at, Layer) or isinstance(of, Neuron)
        self.model = unwrapped(model) if hooked else replica(model)
        self.create_graph = create_graph
        self.grad_kwargs = grad_kwargs
        self.seen: list[tuple[int, Any]] | None = None  # the site's values in a pass, their forms
        self.neuron_calls: int | None = None  # how often the neuron's layer runs in a pass
        self.unused: set[int] | None = None  # the values at the site that no gradient reached
        # Models may work in place on a value that they get. A layer's is therefore copied; for
        # the inputs autograd refuses before anything is changed, and then they are copied too.
        self.copy = isinstance(at, Layer)
        # A graph from the start, not only from the first value at the site on.
        self.early = create_graph or isinstance(self.model, nn.DataParallel)
        self._overwrites: bool | None = None  # whether the model works in place on its arguments
        self._recurrent: bool | None = None

    def plain(self, call: Call) -> bool:
        """Whether the site is the model's arguments as they are."""
        return isinstance(self.at, Inputs) and all(map(is_real, call.inputs))

    def autograd(self, early: bool = False) -> AbstractContextManager[Any]:
        """The mode of a pass with a way back: no graph before the first value at the site.

        Unless it has to be `early`, because that value is not all there is to follow.
        """
        return torch.set_grad_enabled(early or self.early)

    def leaf_maker(
        self,
        leaves: list[Tensor],
        cut: bool = False,
        tied: bool = False,
        apart: bool = False,
        mode: RuleMode | None = None,
    ) -> Edit:
        """Turns each value at the site into one that gradients are taken at.

        A value that depends on an earlier one stays tied to it; with `cut`, not to an earlier run
        of the same module, and with `apart` to none. With `tied`, every value stays in the graph
        as it is. A `mode` is told of the leaves.
        """
        ran: set[int] = set()
        own = isinstance(self.at, Layer) or self._overwrites is False  # not the user's memory

        def edit(source: int, live: Tensors) -> Tensors:
            if ran and not (torch.is_grad_enabled() or self.early):
                raise GraphLost
            torch.set_grad_enabled(True)
            follow = self.create_graph or (
                isinstance(self.at, Layer)
                and bool(ran)
                and not apart
                and not (cut and source in ran)
            )
            ran.add(source)
            with mode.paused() if mode else nullcontext():
                new = [
                    x
                    if x.requires_grad and (follow or tied)
                    else (x.detach() if own else x.detach().clone()).requires_grad_()
                    for x in live
                ]
            if mode is not None:
                for x, origin in zip(new, live, strict=True):
                    if x is not origin or not mode.live(x):
                        mode.source(x, len(leaves), origin)
                    else:
                        mode.observed(x)
                    leaves.append(x)
            else:
                leaves.extend(new)
            return tuple(x.clone() for x in new) if self.copy or tied else tuple(new)

        return edit

    def forward(
        self,
        call: Call,
        edit: Edit | None,
        numbers: bool = True,
        through: Neuron | None = None,
        every: bool = False,
        mode: TorchFunctionMode | None = None,
    ) -> Pass:
        """Run the model; `edit` sees the values at the site and says which go on.

        Without an `edit`, nobody looks at the site. Without `numbers`, the pass may end once the
        site has been seen. With `every`, values that cannot hold scores are seen too. A `mode`
        sees what the model calls on the way.
        """
        token = current_pass.set(object())
        try:
            if mode is not None:
                with mode:
                    return self._watched(call, edit, numbers, through, every)
            if through is None and isinstance(self.of, Output) and (not edit or self.plain(call)):
                values = edit(0, call.inputs) if edit else call.inputs  # nothing is hooked
                with self._cudnn(call):
                    output = self._called(call, values)
                return Pass([target.select(output) for target in call.targets])
            return self._watched(call, edit, numbers, through, every)
        except Stop:  # before the model ran: the arguments themselves were all there is to see
            return Pass([])
        finally:
            current_pass.reset(token)

    def _watched(
        self, call: Call, edit: Edit | None, numbers: bool, through: Neuron | None, every: bool
    ) -> Pass:
        visitor = Visitor(edit or (lambda _source, live: live), every=every)
        if not numbers and self.seen:
            visitor.stop_after = len(self.seen)
        picked: list[Tensor] = []
        # A neuron may end the pass only where no value at the site can come after it.
        calls = self.neuron_calls if isinstance(self.at, Inputs) else None
        with (
            self._cudnn(call),
            self.at.opened(call, visitor) if edit else nullcontext(call) as moved,
            self.of.watched(calls) as watch,
            through.watched(None) if through else nullcontext() as passed,
        ):
            output = self._called(moved, moved.inputs)
            if numbers:
                picked = [watch.read(output, target) for target in call.targets]
        if watch.visitor is not None and self.neuron_calls is None:
            self.neuron_calls = len(watch.visitor.seen)
        if edit:
            self._check_site(visitor, call)
        value = passed.value() if passed is not None and passed.value is not None else None
        return Pass(picked, value)

    def _called(self, call: Call, inputs: Tensors) -> Any:
        """The model's output, None if the pass ended early. What it overwrites are copies.

        The first pass tells whether it does, so that the others need not copy.
        """
        if self._overwrites is False:
            return self._output(call, inputs)
        own: list[Tensor] = []  # what the model may overwrite without touching the user's memory

        def owned(x: Tensor) -> Tensor:
            if x.is_leaf and x.requires_grad:  # a leaf, which is a copy already
                own.append(x)
            elif not isinstance(self.at, Inputs) or is_real(x):  # ids are followed by identity
                own.append(x.clone())
            else:
                return x
            return own[-1]

        given = tuple(map(owned, inputs))
        if call.args or call.kwargs:
            args, kwargs = map_tensors(owned, call.args), map_tensors(owned, call.kwargs)
            call = replace(call, args=args, kwargs=kwargs)
        output = self._output(call, given)
        if self._overwrites is None:
            self._overwrites = any(x._version > 0 for x in own)
        return output

    def _output(self, call: Call, inputs: Tensors) -> Any:
        args, kwargs = call.bind(inputs)
        try:
            return self.model(*args, **kwargs)
        except Stop:
            return None

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

    def backward(self, numbers: list[Tensor], leaves: Tensors) -> list[Tensors]:
        """Gradients of each target's numbers; zeros where nothing depends on a value."""
        results: list[Tensors] = []
        used: set[int] = set()
        for i, number in enumerate(numbers):
            found: tuple[Tensor | None, ...] = (None,) * len(leaves)
            if number.requires_grad:
                keep = self.create_graph or i + 1 < len(numbers)
                found = torch.autograd.grad(
                    # One number is its own sum, and one node less to go back through.
                    number if number.numel() == 1 else number.sum(),
                    leaves,
                    **{
                        "retain_graph": keep,
                        "create_graph": self.create_graph,
                        "allow_unused": True,
                        **self.grad_kwargs,
                    },
                )
            used.update(j for j, g in enumerate(found) if g is not None)
            pairs = zip(leaves, found, strict=True)
            results.append(tuple(torch.zeros_like(x) if g is None else g for x, g in pairs))
        if not used:
            raise wrong(
                ValueError,
                "an explained output that depends on the site through differentiable operations",
                "an output without a gradient",
                "a model without argmax, detach or no_grad between the inputs and the output",
            )
        if len(used) < len(leaves) or self.unused:
            unused = set(range(len(leaves))) - used
            self.unused = unused if self.unused is None else self.unused & unused
        else:
            self.unused = set()
        return results

    def backward_through(
        self, neuron: Neuron, number: Tensor, value: Any, leaves: Tensors
    ) -> Tensors:
        """The chain rule through one neuron: two steps back through one graph."""
        options = {"retain_graph": True, "allow_unused": True, **self.grad_kwargs}
        values = scored(value)
        slopes = torch.autograd.grad(number.sum(), values, **options)
        pairs = zip(values, slopes, strict=True)
        slope = replaced(value, [torch.zeros_like(v) if s is None else s for v, s in pairs])
        share = (neuron.entries(slope) * neuron.entries(value)).sum()
        grads = torch.autograd.grad(share, leaves, retain_graph=True, allow_unused=True)
        return tuple(
            torch.zeros_like(x) if g is None else g for x, g in zip(leaves, grads, strict=True)
        )

    def _cudnn(self, call: Call) -> AbstractContextManager[Any]:
        """cuDNN cannot go backward through a recurrent layer in eval mode; PyTorch's own can."""
        if not call.inputs[0].is_cuda:
            return nullcontext()
        if self._recurrent is None:
            self._recurrent = has_recurrent_layer(self.model)
        return torch.backends.cudnn.flags(enabled=not self._recurrent)
