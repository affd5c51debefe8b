"""Layer-wise relevance propagation: the output, handed down through the model.

The rules' arithmetic stands in `captum._engine.rules.relevance`, the rules that users choose from
in `captum.attr.lrp_rules`; here stands which of them goes where.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.batching import Rows
from captum._engine.errors import warn, wrong
from captum._engine.explained import Explained
from captum._engine.model import Model, owner
from captum._engine.nest import scored
from captum._engine.progress import Progress
from captum._engine.rules.operation import Rule
from captum._engine.rules.relevance import RELEVANCE, identity
from captum._engine.rules.relevance_mode import HOMOGENEOUS_NAMES, Place, RelevanceRules
from captum._engine.site import Layer, Side, Site
from captum.attr.base import (
    Attribution,
    GradientAttribution,
    LayerGradientAttribution,
    Layers,
    Scores,
)
from captum.attr.lrp_rules import EpsilonRule, PropagationRule, filled

# A name or operation (with * and ?), a module or its type, a position from the input, or a
# function of a `Place`.
Selector = str | int | range | nn.Module | type[nn.Module] | Callable[[Place], bool]
RuleList = Sequence[tuple[Selector, PropagationRule]]


# Of operations: those with a rule, and those whose gradient is theirs.
_NAMES = frozenset(RELEVANCE) | HOMOGENEOUS_NAMES | {"softmax", "log_softmax", "logsumexp"}


class Choice:
    """Which rule a place in the model gets: a module's own, the first that fits, or ε."""

    def __init__(self, model: Any, pairs: RuleList) -> None:
        self.pairs = [_checked(pair) for pair in pairs]
        self.model = owner(model)
        self._refuse_double_meanings()
        self.default = EpsilonRule()
        modules = self.model.modules() if self.model is not None else ()
        own = {m: rule for m in modules if (rule := _own_rule(m)) is not None}
        rules = [*own.values(), *(rule for _, rule in self.pairs)]
        # Of a function nobody knows which modules it calls, before they run.
        self.named = bool(
            own
            or self.model is None
            or any(_by_module(selector) for selector, _ in self.pairs)
            or any(rule.manipulates for rule in rules)
        )
        self.positions = any(_by_position(selector) for selector, _ in self.pairs)
        self.fills = any(rule.fills for rule in rules)
        self.opaque: dict[nn.Module, Rule] = {
            module: rule.through for module, rule in own.items() if rule.whole
        }
        containers = [s for s, _ in self.pairs if isinstance(s, nn.Module)]
        self.inside = {container: set(container.modules()) for container in containers}
        self.idle = {i for i, (s, _) in enumerate(self.pairs) if s != "*" and s not in _NAMES}

    def _refuse_double_meanings(self) -> None:
        names = dict(self.model.named_modules()) if self.model is not None else {}
        for selector, _ in self.pairs:
            if isinstance(selector, str) and selector in _NAMES and selector in names:
                raise wrong(
                    ValueError,
                    "names that mean an operation or a module",
                    f"{selector!r}, which is both",
                    f"rules=[(model.{selector}, ...)] for the module",
                )

    def __call__(self, place: Place) -> tuple[PropagationRule | None, bool]:
        own = self._own(place)
        if own is not None:
            return own, False
        fitting = [i for i, (selector, _) in enumerate(self.pairs) if self._fits(selector, place)]
        self.idle.difference_update(fitting)
        if fitting:
            return self.pairs[fitting[0]][1], True
        return (self.default if place.linear else None), False

    def _own(self, place: Place) -> PropagationRule | None:
        """A module's own rule is for what it computes itself, not for what its children do."""
        module = place.module
        if module is None or not (place.linear or next(module.children(), None) is None):
            return None
        return _own_rule(module)

    def warn_unused(self) -> None:
        """Say which rules have found no place."""
        idle = [self.pairs[i] for i in sorted(self.idle)]
        if idle:
            named = ", ".join(f"{_shown(where)} ({type(rule).__name__})" for where, rule in idle)
            warn(f"no operation of the model is where these rules are for: {named}")

    def _fits(self, selector: Any, place: Place) -> bool:
        if isinstance(selector, str):
            named = fnmatch(place.operation, selector) and (place.linear or selector != "*")
            return named or (place.linear and fnmatch(place.name, selector))
        return place.linear and self._fits_map(selector, place)

    def _fits_map(self, selector: Any, place: Place) -> bool:
        if isinstance(selector, int | range):
            wanted = selector if isinstance(selector, range) else (selector,)
            return place.position in wanted
        if isinstance(selector, nn.Module):
            return place.module in self.inside[selector]
        if isinstance(selector, type):
            return isinstance(place.module, selector)
        return bool(selector(place))

    def operations(self) -> dict[str, Rule]:
        """Operations of the user's own that have a rule by their name."""
        names = [s for s, _ in self.pairs if isinstance(s, str) and s not in RELEVANCE]
        return dict.fromkeys(names, identity)  # until its place has its rule


def _checked(pair: Any) -> tuple[Any, PropagationRule]:
    fits = isinstance(pair, tuple) and len(pair) == 2
    if not fits or not isinstance(pair[1], PropagationRule):
        raise wrong(
            TypeError,
            "rules as pairs (where, rule)",
            repr(pair),
            "LRP(model, rules=[(nn.Conv2d, GammaRule()), ('*', EpsilonRule())])",
        )
    return pair[0], pair[1]


def _own_rule(module: nn.Module) -> PropagationRule | None:
    rule = getattr(module, "rule", None)
    if rule is not None and not isinstance(rule, PropagationRule):
        raise wrong(
            TypeError,
            f"a PropagationRule as the rule of {type(module).__name__}",
            repr(rule),
            "module.rule = EpsilonRule()",
        )
    return rule


def _shown(selector: Any) -> str:
    named = isinstance(selector, type)
    return selector.__name__ if named else repr(selector).partition("\n")[0]


def _by_position(selector: Any) -> bool:
    return not isinstance(selector, str | type | nn.Module)


def _by_module(selector: Any) -> bool:
    """Whether a selector asks which module runs."""
    if isinstance(selector, str):
        return selector != "*" and selector not in _NAMES
    return not isinstance(selector, int | range)


class _LRP(Attribution):
    """What the input and layer forms share."""

    rules: RuleList

    def _propagate(
        self,
        given: tuple[Any, Any, Any, Mapping[str, Any] | None],
        *,
        at: Site | None = None,
        delta: bool = False,
        report: bool = False,
        verbose: bool = False,
        strict: bool = False,
        rows: Rows = "auto",
        show_progress: bool = False,
    ) -> Any:
        choice = Choice(self.forward_func, self.rules)
        told = report or verbose
        rules = RelevanceRules(
            choice,
            {**choice.operations(), **RELEVANCE},
            choice.opaque,
            named=choice.named or told,
            positions=choice.positions,
            accounted=report,
        )
        progress = Progress(self.get_name(), show_progress)
        with self._open(*given, at=at, rows=rows, progress=progress) as (engine, call):
            engine.expect(call, 1)
            run = engine.ruled(call, rules)
            values = map(filled, run.values) if choice.fills else run.values
            items = tuple(v * c for v, c in zip(values, run.multipliers, strict=True))
            results = [engine.arrange(call, items)]
            # Per layer where there are several: each holds all of the output's relevance.
            layers = engine.per_layer(items)
            deltas = [-engine.missing(call, layer, run.numbers) for layer in layers or [items]]
        # What is detached absorbs its share, as biases do: no reason to warn.
        stopped = strict and bool(rules.report.stopped)
        rules.judge(strict, "relevance may not be conserved there", broken=stopped)
        if at is None and not isinstance(self._at, Layer):  # else a rule may be for what is before
            choice.warn_unused()
        if verbose:
            print(rules.report)
        if delta:
            results.append(deltas if layers else deltas[0])
        if report:
            rules.report.error = -(torch.stack(deltas) if layers else deltas[0])
            results.append(rules.report)
        return tuple(results) if len(results) > 1 else results[0]

    def compute_convergence_delta(self, attributions: Any, output: Tensor) -> Tensor:
        """δ = f(x) - Σ scores, one number per example, (N,): what biases and the like absorbed.

        Args:
            attributions: the scores, a tensor or a tuple of them.
            output: the explained output, (N,) or (N, 1).
        """
        rows = [score.flatten(1).sum(1) for score in scored(attributions)]
        return output.flatten() - torch.stack(rows).sum(0)

    def has_convergence_delta(self) -> bool:
        return True


class LRP(_LRP, GradientAttribution):  # type: ignore[misc] # its delta takes the output
    r"""Score = the relevance of each input entry: f(x), handed down operation by operation.

    Linear maps hand it down by their rule (ε by default), products in equal parts; activations,
    norms and attention as AttnLRP says. The scores sum to f(x) minus what biases absorb.

    Papers: Bach et al., On pixel-wise explanations for non-linear classifier decisions by
    layer-wise relevance propagation (2015), https://doi.org/10.1371/journal.pone.0130140;
    Achtibat et al., AttnLRP (2024), https://arxiv.org/abs/2402.05602.

    Args:
        model: the model. `model.conv1.rule = GammaRule()` sets a module's rule.
        rules: pairs (where, rule) for modules without one; the first that fits. Where: an
            operation or module by name (with * and ?), a module, a module type, a position from
            the input (0 is the first linear map) or a range of them, or a function of a `Place`.
            Batch norm behind a linear map is folded into it. `captum.attr.lrp_rules` has sets.

    >>> import torch
    >>> from captum.attr import LRP
    >>> f = lambda x: torch.relu(x) * x
    >>> LRP(f).attribute(torch.tensor([[3.0]]), 0)
    tensor([[9.]])
    """

    def __init__(
        self,
        model: Model,
        *,
        at: Site | Layers | None = None,
        of: Explained | None = None,
        rules: RuleList = (),
    ) -> None:
        super().__init__(model, at=at, of=of)
        self.rules = rules
        Choice(model, rules)  # refuses what is not a rule

    @property
    def multiplies_by_inputs(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        verbose: bool = False,
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
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            return_convergence_delta: also δ = f(x) - Σ scores, shape (N,).
            verbose: print which rule served each operation.
            return_report: also a `Report`: which rule served, and how much each kind of operation
                absorbed.
            strict: an operation without a rule is an error, not a warning.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            forward_kwargs: what else the model takes, by keyword.
            show_progress: a progress bar of model rows.

        Raises:
            ValueError: dropout in training mode, or an operation that no rule can see.
            TypeError: a rule that is none; a TorchScript or quantised model.
        """
        return self._propagate(
            (inputs, target, additional_forward_args, forward_kwargs),
            delta=return_convergence_delta,
            report=return_report,
            verbose=verbose,
            strict=strict,
            rows=internal_batch_size,
            show_progress=show_progress,
        )


class LayerLRP(_LRP, LayerGradientAttribution):  # type: ignore[misc] # as LRP
    r"""Score = the relevance of each entry of a layer's value.

    Args:
        model: the model; rules as for `LRP`.
        layer: a module, or a list of modules; scores then come as a list. None means every module
            without children that runs, in the model's order.
        rules: see `LRP`.

    >>> import torch
    >>> from captum.attr import LayerLRP
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1, bias=False))
    >>> x = torch.ones(1, 2)
    >>> scores = LayerLRP(model, model[0]).attribute(x)
    >>> torch.allclose(scores.sum(1), model(x)[:, 0], atol=1e-6)
    True
    """

    def __init__(
        self,
        model: Model,
        layer: Layers | None,
        *,
        of: Explained | None = None,
        rules: RuleList = (),
    ) -> None:
        found = layer
        if found is None:
            modules = model.modules() if isinstance(model, nn.Module) else ()
            found = [m for m in modules if next(m.children(), None) is None]
        super().__init__(model, found, of=of)
        self.every, self.rules = layer is None, rules
        Choice(model, rules)

    @property
    def multiplies_by_inputs(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        verbose: bool = False,
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
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            return_convergence_delta: also δ = f(x) - Σ scores, (N,); a list for several layers.
            attribute_to_layer_input: score the layer's input, not its output.
            verbose: print which rule served each operation.
            return_report: also a `Report`, as of `LRP`.
            strict: an operation without a rule is an error, not a warning.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            forward_kwargs: what else the model takes, by keyword.
            show_progress: a progress bar of model rows.

        Raises:
            ValueError: the layer does not run; and see `LRP`.
            TypeError: see `LRP`.
        """
        side: Side = "input" if attribute_to_layer_input else "output"
        return self._propagate(
            (inputs, target, additional_forward_args, forward_kwargs),
            at=Layer(self.layer, side, optional=self.every),
            delta=return_convergence_delta,
            report=return_report,
            verbose=verbose,
            strict=strict,
            rows=internal_batch_size,
            show_progress=show_progress,
        )
