"""DeepLIFT: what the change from a baseline contributed, in one pass, exactly.

Multipliers come from `captum._engine.rules.secants`; here stands what is done with them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.batching import Rows
from captum._engine.call import Call, baselines
from captum._engine.errors import wrong
from captum._engine.evaluate import Engine, Ruled
from captum._engine.explained import Explained
from captum._engine.model import Model
from captum._engine.nest import Tensors
from captum._engine.progress import Progress
from captum._engine.rules.operation import Rule
from captum._engine.rules.report import Rules, split_rules
from captum._engine.rules.secants import SECANTS
from captum._engine.site import Site
from captum.attr.base import (
    Attribution,
    InputContributions,
    LayerContributions,
    Layers,
    NeuronContributions,
    Scores,
)
from captum.attr.gradient_shap import distribution

Custom = Callable[..., tuple[Tensor, ...]]
OwnRules = Mapping[str | type[nn.Module], Rule]


@dataclass(frozen=True)
class Difference:
    """What is made of multipliers.

    Attributes:
        multiply: whether by the differences.
        custom: the user's own function of multipliers, values and references.
        observe: the inputs move, and the site looks on.
        delta: whether the sum is compared with the model's own answers.
    """

    multiply: bool = True
    custom: Custom | None = None
    observe: bool = False
    delta: bool = False

    def scores(self, run: Ruled, shares: Tensors) -> Tensors:
        """`shares` are the run's contributions."""
        if self.custom is None:
            return shares if self.multiply else run.multipliers
        given = (run.multipliers, run.values, run.references)
        wanted = len(inspect.signature(self.custom).parameters)
        return tuple(self.custom(*given[:wanted]))

    def sums(self, engine: Engine, shares: Tensors) -> list[Tensors]:
        """What sums to the change: all that moves, or each layer that looks on."""
        return (engine.per_layer(shares) if self.observe else None) or [shares]


class Found:
    """Scores, a mean over the baselines, and how their sums fit."""

    def __init__(self) -> None:
        self.scores: list[Tensor] = []
        self.deltas: list[list[Tensor]] = []  # layer by layer, pass by pass: (copies, N)
        self.gaps: list[Tensor] = []  # the largest one of each pass, by what it saw itself
        self.sizes: list[Tensor] = []  # of what was summed

    def saw(self, engine: Engine, call: Call, run: Ruled) -> Tensors:
        """Take note of how exact a pass is; returns its contributions."""
        shares = contributions(run)
        assert run.before is not None  # these rules know where they came from
        self.gaps.append(engine.missing(call, shares, run.numbers - run.before).abs().max())
        self.sizes += [share.abs().sum() / call.rows for share in shares]
        return shares

    def compared(self, gaps: list[Tensor]) -> None:
        """Take note of how far each layer's sum is from the model's own answers."""
        self.deltas = self.deltas or [[] for _ in gaps]
        for known, gap in zip(self.deltas, gaps, strict=True):
            known.append(gap)

    def joined(self, lead: int, dim: int) -> list[Tensor]:
        """Deltas layer by layer, example by example, as the published package has them."""
        return [torch.cat(each, dim).transpose(-1, -2).flatten(lead) for each in self.deltas]

    def gap(self) -> float:
        seen = [delta.abs().max() for each in self.deltas for delta in each]
        return float(torch.stack([*self.gaps, *seen]).max())

    def exact(self, halved: bool) -> bool:
        """What rounding leaves is far below the root of its unit; a model may work in float32."""
        kind = torch.bfloat16 if halved else self.scores[0].dtype
        rounding: float = max(torch.finfo(kind).eps ** 0.5, 1e-5)
        return self.gap() <= rounding * (float(torch.stack(self.sizes).max()) + 1e-3)


def contributions(run: Ruled) -> Tensors:
    """m ⊙ (v - v₀)."""
    triples = zip(run.multipliers, run.values, run.references, strict=True)
    return tuple(m * (v - r) for m, v, r in triples)


def deep_lift(
    engine: Engine, call: Call, starts: Tensors, copies: int, rules: Rules, how: Difference
) -> Found:
    """Multipliers from each start, (copies, *F) for all examples or one each, (N, *F)."""
    by_inputs = how.observe or engine.plain(call)
    if by_inputs and call.aligned and call.rows < copies and not engine.fits(call, 3 * copies):
        return _turned(engine, call, starts, copies, rules, how)
    found = Found()
    # A start costs one row where a pass has no other; that pays unless many starts fit in it.
    for part in engine.copies(call, copies, least=3):
        k = part.stop - part.start
        given = tuple(s[part] for s in starts) if copies > 1 else starts
        rows = tuple(_per_row(s, k, x) for s, x in zip(given, call.inputs, strict=True))
        # A layer's values, or embeddings, move from where the baselines put them.
        ends = given if by_inputs else engine.read(call, k, inputs=rows)
        run = engine.ruled(call, rules, k, references=ends, observe=how.observe)
        if how.observe and part.start == 0:
            _check_seen(engine, call, run, rows, rules)
        shares = found.saw(engine, call, run)
        items = [engine.by_copy(item, k).sum(engine.lead) for item in how.scores(run, shares)]
        known = found.scores or [torch.zeros_like(item) for item in items]
        found.scores = [a + b for a, b in zip(known, items, strict=True)]
        if how.delta or rules.report.stopped:  # then what the pass saw is not the whole truth
            at = {"inputs": rows} if by_inputs else {"values": ends}
            change = run.numbers - engine.evaluate(call, k, **at)
            gaps = [engine.missing(call, each, change) for each in how.sums(engine, shares)]
            found.compared([_by_start(gap, k, engine) for gap in gaps])
    found.scores = [score / copies if copies > 1 else score for score in found.scores]
    return found


def _check_seen(engine: Engine, call: Call, run: Ruled, rows: Tensors, rules: Rules) -> None:
    """Whether a layer's references are the model's own, on one example.

    Before the layer there is no graph, which elsewhere proves that rules have seen everything.
    """
    if engine.whole or not call.aligned:
        return
    assert run.before is not None  # these rules know where they came from
    seen = run.before[..., :1]
    own = engine.evaluate(call.narrow(0, 1), inputs=tuple(r[:1] for r in rows))
    close = 0.05 if rules.halved else 1e-3
    if not torch.allclose(own, seen.to(own.dtype), rtol=close, atol=close * float(own.abs().max())):
        raise wrong(
            ValueError,
            "a model whose operations rules can see, and that runs alike at the baselines",
            f"f(x0) = {own.tolist()} by the model, {seen.tolist()} by what was seen of it",
            "the original model without TorchScript, other threads or branches on data; or "
            "DeepLift(model, at=layer), for which only what follows the layer matters",
        )


def _turned(
    engine: Engine, call: Call, starts: Tensors, copies: int, rules: Rules, how: Difference
) -> Found:
    """The same, where there are fewer examples than starts: the starts run, examples are shared.

    Every rule's multipliers are the same from either end.
    """
    found = Found()
    rows: list[Tensors] = []
    for i in range(call.rows):
        example = call.narrow(i, 1)
        passing = example.tile(copies, starts)
        run = engine.ruled(passing, rules, references=example.inputs, observe=how.observe)
        assert run.before is not None  # these rules know where they came from
        run = replace(
            run,
            values=run.references,
            references=run.values,
            numbers=run.before,
            before=run.numbers,
        )
        if how.observe and i == 0:
            _check_seen(engine, example, replace(run, before=run.numbers), example.inputs, rules)
        shares = found.saw(engine, passing, run)
        lead = engine.lead
        rows.append(tuple(item.mean(lead, keepdim=True) for item in how.scores(run, shares)))
        if how.delta or rules.report.stopped:
            change = run.numbers - engine.evaluate(passing)
            gaps = [engine.missing(passing, each, change) for each in how.sums(engine, shares)]
            found.compared([gap.unsqueeze(-1) for gap in gaps])
    found.scores = [torch.cat(each, engine.lead) for each in zip(*rows, strict=True)]
    found.deltas = [[torch.cat(each, -1)] for each in found.deltas]
    return found


def _per_row(start: Tensor, copies: int, x: Tensor) -> Tensor:
    """A start for every row of every copy."""
    if len(start) != copies:
        return start
    return start.repeat_interleave(len(x), 0)


def _by_start(gap: Tensor, copies: int, engine: Engine) -> Tensor:
    by_row = gap.shape[-1] % copies == 0 and gap.shape[-1] >= copies
    return engine.by_copy(gap, copies) if by_row else gap.unsqueeze(-1)


def start_rows(call: Call, given: Any) -> Tensors:
    """One baseline per example, (N, *F), or where all are the same, (1, *F)."""
    rows = baselines(call, given)
    if not call.aligned or call.rows == 1:
        return rows
    return tuple(
        b[:1] if b.stride(0) == 0 or torch.equal(b, b[:1].expand_as(b)) else b for b in rows
    )


class _DeepLift(Attribution):
    """What the six forms share."""

    takes_distribution = False  # of baselines, whose differences are averaged

    def _lift(
        self,
        given: tuple[Any, Any, Any, Mapping[str, Any] | None],
        baselines: Any,
        how: Difference,
        *,
        at: Site | None = None,
        of: Explained | None = None,
        delta: bool = False,
        report: bool = False,
        own: OwnRules | None = None,
        strict: bool = False,
        rows: Rows = "auto",
        grad_kwargs: Mapping[str, Any] | None = None,
        show_progress: bool = False,
    ) -> Any:
        progress = Progress(self.get_name(), show_progress)
        named, opaque = split_rules(self.forward_func, own)
        rules = Rules({**SECANTS, **named}, opaque, named=report)
        how = replace(how, delta=delta or report or strict)
        with self._open(
            *given, at=at, of=of, rows=rows, grad_kwargs=grad_kwargs, progress=progress
        ) as (engine, call):
            if self.takes_distribution:
                starts = distribution(call, baselines, given[0])
                copies = len(starts[0])
            else:
                starts, copies = start_rows(call, baselines), 1
            engine.expect(call, copies, copies, copies * how.delta)
            found = deep_lift(engine, call, starts, copies, rules, how)
            results = [engine.arrange(call, tuple(found.scores))]
            deltas = found.joined(engine.lead, engine.lead)
        missed = f"scores miss f(x) - f(x0) by up to {found.gap():.3g}"
        # A layer that looks on need not be all there is on the way.
        rules.judge(strict, missed, broken=not (how.observe or found.exact(rules.halved)))
        several = how.observe and engine.per_layer(tuple(found.scores)) is not None
        if delta:
            results.append(deltas if several else deltas[0])
        if report:
            rules.report.error = torch.stack(deltas) if several else deltas[0]
            results.append(rules.report)
        return tuple(results) if len(results) > 1 else results[0]

    def satisfies_attribute_criteria(self, module: nn.Module) -> bool:
        """Whether a module keeps its input and output as attributes; none has to, here."""
        return hasattr(module, "input") and hasattr(module, "output")


class DeepLift(_DeepLift, InputContributions):
    r"""Score = m ⊙ (x - x₀), with multipliers m that are exact for every operation on the way.

    The scores sum to f(x) - f(x₀) on any model that is made of torch functions: an activation
    called as a function or twice, residual connections, products, norms, softmax, attention,
    recurrent layers. `return_report=True` tells which rule served where.

    Paper: Shrikumar et al., Learning important features through propagating activation
    differences (2017), https://arxiv.org/abs/1704.02685 (the Rescale rule).

    Args:
        model: the model, a module or any function of tensors.
        multiply_by_inputs: False gives the multipliers m.
        eps: accepted; slopes need no threshold here.
        rules: rules for operations of your own, by the name that `visible` gave them, or for
            modules by their type: `rules={MyActivation: elementwise}`.

    >>> import torch
    >>> from captum.attr import DeepLift
    >>> f = lambda x: torch.relu(x[:, 0] * x[:, 1] - 1)
    >>> DeepLift(f).attribute(torch.tensor([[2.0, 3.0]]))
    tensor([[2.5000, 2.5000]])
    """

    def __init__(
        self,
        model: Model,
        multiply_by_inputs: bool = True,
        eps: float = 1e-10,
        *,
        at: Site | Layers | None = None,
        of: Explained | None = None,
        rules: OwnRules | None = None,
    ) -> None:
        super().__init__(model, multiply_by_inputs, at=at, of=of)
        self.eps, self.rules = eps, rules

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: Custom | None = None,
        *,
        return_report: bool = False,
        strict: bool = False,
        internal_batch_size: Rows = "auto",
        forward_kwargs: Mapping[str, Any] | None = None,
        show_progress: bool = False,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs; then the delta and report that were asked for.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: see the glossary: where differences start, zeros by default.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            return_convergence_delta: also δ = Σ scores - (f(x) - f(x₀)), shape (N,).
            custom_attribution_func: function of multipliers, inputs and baselines (or of the
                first ones of these), tuples of tensors; what it returns are the scores.
            return_report: also a `Report`: δ, which rule served each operation, what had none.
            strict: an operation without a rule is an error, not a warning.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            forward_kwargs: what else the model takes, by keyword.
            show_progress: a progress bar of model rows.

        Raises:
            ValueError: baselines that do not fit, dropout in training mode, or an operation that
                no rule can see, such as a custom autograd.Function without one.
            TypeError: a TorchScript or quantised model.
        """
        return self._lift(
            (inputs, target, additional_forward_args, forward_kwargs),
            baselines,
            Difference(self._multiply_by_inputs, custom_attribution_func),
            delta=return_convergence_delta,
            report=return_report,
            own=self.rules,
            strict=strict,
            rows=internal_batch_size,
            show_progress=show_progress,
        )


class DeepLiftShap(DeepLift):
    r"""Score = E[m ⊙ (x - b)] over baselines b: DeepLIFT's approximation of SHAP values.

    The scores sum to f(x) - E[f(b)].

    Paper: Lundberg, Lee, A unified approach to interpreting model predictions (2017),
    https://arxiv.org/abs/1705.07874.

    Args:
        model: the model, a module or any function of tensors.
        multiply_by_inputs: False gives the mean multipliers.
        rules: see `DeepLift`.

    >>> import torch
    >>> from captum.attr import DeepLiftShap
    >>> f = lambda x: torch.relu(x).sum(1)
    >>> x, rows = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    >>> DeepLiftShap(f).attribute(x, rows)
    tensor([[ 1.5000, -0.5000]])
    """

    takes_distribution = True

    def __init__(
        self,
        model: Model,
        multiply_by_inputs: bool = True,
        *,
        at: Site | Layers | None = None,
        of: Explained | None = None,
        rules: OwnRules | None = None,
    ) -> None:
        super().__init__(model, multiply_by_inputs, at=at, of=of, rules=rules)

    def attribute(  # type: ignore[override] # baselines have no default here
        self,
        inputs: Any,
        baselines: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: Custom | None = None,
        *,
        return_report: bool = False,
        strict: bool = False,
        internal_batch_size: Rows = "auto",
        forward_kwargs: Mapping[str, Any] | None = None,
        show_progress: bool = False,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs; then the deltas and report that were asked for.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: rows (K, *F) to average over, paired across inputs; or a function that
                returns them, of the inputs or of nothing.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            return_convergence_delta: also δ per baseline, shape (N * K,), example by example.
            custom_attribution_func: see `DeepLift`; it gets a row per baseline and example.
            return_report: also a `Report`, as of `DeepLift`.
            strict: an operation without a rule is an error, not a warning.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            forward_kwargs: what else the model takes, by keyword.
            show_progress: a progress bar of model rows.

        Raises:
            ValueError: see `DeepLift`.
            TypeError: see `DeepLift`.
        """
        return super().attribute(
            inputs,
            baselines,
            target,
            additional_forward_args,
            return_convergence_delta,
            custom_attribution_func,
            return_report=return_report,
            strict=strict,
            internal_batch_size=internal_batch_size,
            forward_kwargs=forward_kwargs,
            show_progress=show_progress,
        )


class LayerDeepLift(_DeepLift, LayerContributions):
    r"""Score = m ⊙ (y(x) - y(x₀)) at a layer's value y, while the inputs move from x₀ to x.

    `DeepLift(model, at=layer)` holds the inputs and moves the layer's value instead; the two
    differ where a connection leads around the layer, and then only that sums exactly.

    Args:
        model: the model.
        layer: a module, or a list of modules; scores then come as a list.
        multiply_by_inputs: False gives the multipliers m.
        rules: see `DeepLift`.

    >>> import torch
    >>> from captum.attr import LayerDeepLift
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> x, x0 = torch.ones(1, 2), torch.zeros(1, 2)
    >>> scores = LayerDeepLift(model, model[0]).attribute(x, x0)
    >>> torch.allclose(scores.sum(1), (model(x) - model(x0))[:, 0], atol=1e-6)
    True
    """

    def __init__(
        self,
        model: Model,
        layer: Layers,
        multiply_by_inputs: bool = True,
        *,
        of: Explained | None = None,
        rules: OwnRules | None = None,
    ) -> None:
        super().__init__(model, layer, None, multiply_by_inputs, of=of)
        self.rules = rules

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: Custom | None = None,
        grad_kwargs: Mapping[str, Any] | None = None,
        *,
        return_report: bool = False,
        strict: bool = False,
        internal_batch_size: Rows = "auto",
        forward_kwargs: Mapping[str, Any] | None = None,
        show_progress: bool = False,
    ) -> Scores:
        """Scores of shape (N, *L), as the layer's value; then delta and report as asked for.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: see the glossary: where the inputs start, zeros by default.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            return_convergence_delta: also δ = Σ scores - (f(x) - f(x₀)), shape (N,).
            attribute_to_layer_input: score the layer's input, not its output.
            custom_attribution_func: see `DeepLift`; of multipliers, values and references.
            grad_kwargs: passed on to `torch.autograd.grad`.
            return_report: also a `Report`, as of `DeepLift`.
            strict: an operation without a rule is an error, not a warning.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            forward_kwargs: what else the model takes, by keyword.
            show_progress: a progress bar of model rows.

        Raises:
            ValueError: the layer does not run; and see `DeepLift`.
            TypeError: see `DeepLift`.
        """
        return self._lift(
            (inputs, target, additional_forward_args, forward_kwargs),
            baselines,
            Difference(self._multiply_by_inputs, custom_attribution_func, observe=True),
            at=self._site(attribute_to_layer_input),
            delta=return_convergence_delta,
            report=return_report,
            own=self.rules,
            strict=strict,
            rows=internal_batch_size,
            grad_kwargs=grad_kwargs,
            show_progress=show_progress,
        )


class LayerDeepLiftShap(LayerDeepLift):
    r"""Score = E[m ⊙ (y(x) - y(b))] at a layer's value y, over baselines b of the inputs.

    Args:
        model: the model.
        layer: a module, or a list of modules; scores then come as a list.
        multiply_by_inputs: False gives the mean multipliers.
        rules: see `DeepLift`.

    >>> import torch
    >>> from captum.attr import LayerDeepLiftShap
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> x, rows = torch.ones(1, 2), torch.zeros(4, 2)
    >>> scores = LayerDeepLiftShap(model, model[0]).attribute(x, rows)
    >>> torch.allclose(scores.sum(1), (model(x) - model(rows[:1]))[:, 0], atol=1e-6)
    True
    """

    takes_distribution = True

    def attribute(  # type: ignore[override] # baselines have no default here
        self,
        inputs: Any,
        baselines: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: Custom | None = None,
        *,
        return_report: bool = False,
        strict: bool = False,
        internal_batch_size: Rows = "auto",
        forward_kwargs: Mapping[str, Any] | None = None,
        show_progress: bool = False,
    ) -> Scores:
        """Scores of shape (N, *L), as the layer's value; then deltas and report as asked for.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: rows (K, *F) to average over: see `DeepLiftShap`.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            return_convergence_delta: also δ per baseline, shape (N * K,), example by example.
            attribute_to_layer_input: score the layer's input, not its output.
            custom_attribution_func: see `DeepLift`; it gets a row per baseline and example.
            return_report: also a `Report`, as of `DeepLift`.
            strict: an operation without a rule is an error, not a warning.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            forward_kwargs: what else the model takes, by keyword.
            show_progress: a progress bar of model rows.

        Raises:
            ValueError: the layer does not run; and see `DeepLift`.
            TypeError: see `DeepLift`.
        """
        return super().attribute(
            inputs,
            baselines,
            target,
            additional_forward_args,
            return_convergence_delta,
            attribute_to_layer_input,
            custom_attribution_func,
            return_report=return_report,
            strict=strict,
            internal_batch_size=internal_batch_size,
            forward_kwargs=forward_kwargs,
            show_progress=show_progress,
        )


class NeuronDeepLift(_DeepLift, NeuronContributions):
    r"""Score = m ⊙ (x - x₀) for a neuron y of a layer; the scores sum to y(x) - y(x₀).

    Args:
        model: the model.
        layer: the neuron's module.
        multiply_by_inputs: False gives the multipliers m.
        rules: see `DeepLift`.

    >>> import torch
    >>> from captum.attr import NeuronDeepLift
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU())
    >>> x = torch.ones(1, 2)
    >>> scores = NeuronDeepLift(model, model[0]).attribute(x, 1)
    >>> torch.allclose(scores, x * model[0].weight[1])
    True
    """

    def __init__(
        self,
        model: Model,
        layer: Layers,
        multiply_by_inputs: bool = True,
        *,
        at: Site | Layers | None = None,
        rules: OwnRules | None = None,
    ) -> None:
        super().__init__(model, layer, None, multiply_by_inputs, at=at)
        self.rules = rules

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any = None,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
        custom_attribution_func: Custom | None = None,
        *,
        return_report: bool = False,
        strict: bool = False,
        internal_batch_size: Rows = "auto",
        forward_kwargs: Mapping[str, Any] | None = None,
        show_progress: bool = False,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs; then the report where asked for.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            neuron_selector: see the glossary: the neuron within one example's layer value.
            baselines: see the glossary: where differences start, zeros by default.
            additional_forward_args: see the glossary: what else the model takes, by position.
            attribute_to_neuron_input: the neuron is in the layer's input, not its output.
            custom_attribution_func: see `DeepLift`.
            return_report: also a `Report`, as of `DeepLift`.
            strict: an operation without a rule is an error, not a warning.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            forward_kwargs: what else the model takes, by keyword.
            show_progress: a progress bar of model rows.

        Raises:
            ValueError: the layer does not run; and see `DeepLift`.
            TypeError: see `DeepLift`.
        """
        return self._lift(
            (inputs, None, additional_forward_args, forward_kwargs),
            baselines,
            Difference(self._multiply_by_inputs, custom_attribution_func),
            of=self._neuron(neuron_selector, attribute_to_neuron_input),
            report=return_report,
            own=self.rules,
            strict=strict,
            rows=internal_batch_size,
            show_progress=show_progress,
        )


class NeuronDeepLiftShap(NeuronDeepLift):
    r"""Score = E[m ⊙ (x - b)] for a neuron of a layer, over baselines b.

    Args:
        model: the model.
        layer: the neuron's module.
        multiply_by_inputs: False gives the mean multipliers.
        rules: see `DeepLift`.

    >>> import torch
    >>> from captum.attr import NeuronDeepLiftShap
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU())
    >>> x = torch.ones(1, 2)
    >>> scores = NeuronDeepLiftShap(model, model[0]).attribute(x, 1, torch.zeros(3, 2))
    >>> torch.allclose(scores, x * model[0].weight[1])
    True
    """

    takes_distribution = True

    def attribute(  # type: ignore[override] # baselines have no default here
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
        custom_attribution_func: Custom | None = None,
        *,
        return_report: bool = False,
        strict: bool = False,
        internal_batch_size: Rows = "auto",
        forward_kwargs: Mapping[str, Any] | None = None,
        show_progress: bool = False,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs; then the report where asked for.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            neuron_selector: see the glossary: the neuron within one example's layer value.
            baselines: rows (K, *F) to average over: see `DeepLiftShap`.
            additional_forward_args: see the glossary: what else the model takes, by position.
            attribute_to_neuron_input: the neuron is in the layer's input, not its output.
            custom_attribution_func: see `DeepLift`; it gets a row per baseline and example.
            return_report: also a `Report`, as of `DeepLift`.
            strict: an operation without a rule is an error, not a warning.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            forward_kwargs: what else the model takes, by keyword.
            show_progress: a progress bar of model rows.

        Raises:
            ValueError: the layer does not run; and see `DeepLift`.
            TypeError: see `DeepLift`.
        """
        return super().attribute(
            inputs,
            neuron_selector,
            baselines,
            additional_forward_args,
            attribute_to_neuron_input,
            custom_attribution_func,
            return_report=return_report,
            strict=strict,
            internal_batch_size=internal_batch_size,
            forward_kwargs=forward_kwargs,
            show_progress=show_progress,
        )
