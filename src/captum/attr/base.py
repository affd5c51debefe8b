"""The public bases: what every attribution method is, and what users subclass."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum._engine.backgrounds import background, like_values
from captum._engine.batching import RowLimit, Rows
from captum._engine.call import Call, baselines, make_call
from captum._engine.errors import wrong
from captum._engine.evaluate import Engine, opened
from captum._engine.explained import Explained, Neuron
from captum._engine.features import as_masks, make_features, masks_of
from captum._engine.game import Game
from captum._engine.model import Model
from captum._engine.nest import scored
from captum._engine.progress import Progress
from captum._engine.site import Inputs, Layer, Side, Site, make_site

# Scores in the user's own shape: a tensor, a tuple or a dict as the inputs came, or as the layer's
# value is made; a list for several layers, calls or targets.
Scores = Any
Layers = nn.Module | list[nn.Module] | tuple[nn.Module, ...]


class Attribution:
    """A method that scores what a model's answer depends on.

    To write one, subclass it and define `attribute`; `GradientAttribution` adds gradients.

    Args:
        forward_func: the model, a `torch.nn.Module` or any function of tensors.
        at: where the scores land: the inputs by default, a module, a list of modules, or
            `Layer(module, side)`.
        of: what is explained: the model's output at the target by default, or
            `Neuron(module, selector)`.
    """

    attribute: Callable[..., Any]

    def __init__(
        self, forward_func: Model, *, at: Site | Layers | None = None, of: Explained | None = None
    ) -> None:
        if not callable(forward_func):
            raise wrong(
                TypeError,
                "a model: a torch.nn.Module or a function",
                repr(forward_func),
                f"{type(self).__name__}(model)",
            )
        self.forward_func = forward_func
        self._at = make_site(at)
        self._of = of

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether scores are contributions (they sum to an output) rather than sensitivities."""
        return False

    def has_convergence_delta(self) -> bool:
        """Whether `attribute` takes `return_convergence_delta`."""
        return False

    @classmethod
    def get_name(cls) -> str:
        """The class name in words.

        >>> from captum.attr import IntegratedGradients
        >>> IntegratedGradients.get_name()
        'Integrated Gradients'
        """
        return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", cls.__name__)

    def compute_convergence_delta(self, attributions: Any, *args: Any, **kwargs: Any) -> Tensor:
        """How far the scores are from summing to the output's change."""
        raise NotImplementedError(f"{type(self).__name__} promises no sum of its scores")

    @contextmanager
    def _open(
        self,
        inputs: Any,
        target: Any = None,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        at: Site | None = None,
        of: Explained | None = None,
        rows: Rows = "auto",
        create_graph: bool = False,
        grad_kwargs: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Iterator[tuple[Engine, Call]]:
        """An engine and a checked call for one `attribute()`; nothing of it outlives the block."""
        engine = Engine(
            self.forward_func,
            at or self._at,
            of or self._of,
            rows=rows,
            create_graph=create_graph,
            grad_kwargs=grad_kwargs,
            progress=progress,
        )
        with opened(engine):
            call = make_call(self.forward_func, inputs, target, args, kwargs)
            yield engine, call
        engine.warn_unused(call)


class GradientAttribution(Attribution):
    """A method that differentiates the model.

    A subclass has `self.gradient_func(forward_func, inputs, target, additional_forward_args)`,
    which returns a tuple of gradients, one per input.
    """

    def __init__(
        self, forward_func: Model, *, at: Site | Layers | None = None, of: Explained | None = None
    ) -> None:
        super().__init__(forward_func, at=at, of=of)
        self.gradient_func = compute_gradients

    def compute_convergence_delta(
        self,
        attributions: Any,
        start_point: Any,
        end_point: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Tensor:
        r"""δ = Σ attributions - (f(end) - f(start)), one number per example, shape (N,).

        The points are inputs of the model; f is what the method explains.

        >>> import torch
        >>> from captum.attr import InputXGradient
        >>> method = InputXGradient(lambda x: (3 * x).sum(1))
        >>> x = torch.ones(2, 2)
        >>> method.compute_convergence_delta(method.attribute(x), torch.zeros(2, 2), x)
        tensor([0., 0.])
        """
        given = (end_point, target, additional_forward_args, forward_kwargs)
        end = make_call(self.forward_func, *given)
        start = end.moved(baselines(end, start_point))
        engine = Engine(self.forward_func, of=self._of)
        change = engine.evaluate(end) - engine.evaluate(end, inputs=start.inputs)
        return engine.missing(end, scored(attributions), change)


class PerturbationAttribution(Attribution):
    """A method that changes the inputs and watches the output; no gradient is needed."""

    @contextmanager
    def _play(
        self,
        given: tuple[Any, Any, Any, Mapping[str, Any] | None],
        baselines: Any = None,
        feature_mask: Any = None,
        *,
        at: Site | None = None,
        of: Explained | None = None,
        site_baselines: bool = False,
        rows: Rows = "auto",
        show_progress: bool = False,
    ) -> Iterator[Game]:
        """A game whose players are the features: entries of the inputs, or of the site's values.

        `baselines` are the inputs', or with `site_baselines` the site's own; `feature_mask` may
        also be a function of the site's values that makes the players; `rows` bounds the
        coalitions per pass.
        """
        progress = Progress(self.get_name(), show_progress)
        with self._open(*given, at=at, of=of, progress=progress) as (engine, call):
            per_pass = RowLimit.of(rows, "perturbations_per_eval")
            if per_pass is not None:
                engine.limit = RowLimit.first(call.inputs, per_pass.rows * call.rows)
            at_inputs = isinstance(engine.at, Inputs)
            values = call.inputs if at_inputs else engine.read(call)
            bases = (
                like_values(values, baselines)
                if site_baselines
                else background(engine, call, baselines)
            )
            if callable(feature_mask):
                features = feature_mask(values)
            else:
                masks = masks_of(call, feature_mask) if at_inputs else as_masks(feature_mask)
                features = make_features(values, masks)
            yield Game(engine, call, values, bases, features)


class InternalAttribution(Attribution):
    """A method about a layer of the model.

    Args:
        forward_func: the model.
        layer: a module of it, or a list of modules where the method takes one.
        device_ids: accepted for code written for `torch.nn.DataParallel`; not needed.
    """

    def __init__(
        self, forward_func: Model, layer: Layers, device_ids: list[int] | None = None
    ) -> None:
        super().__init__(forward_func)
        self.layer = layer
        self.device_ids = device_ids


class LayerAttribution(InternalAttribution):
    """A method whose scores land on a layer's value."""

    def _site(self, attribute_to_layer_input: bool) -> Layer:
        return Layer(self.layer, _side(attribute_to_layer_input))

    @staticmethod
    def interpolate(
        layer_attribution: Tensor,
        interpolate_dims: int | tuple[int, ...],
        interpolate_mode: str = "nearest",
    ) -> Tensor:
        """Resize a layer's map, (N, C, *L), to the size of the input, (N, C, *dims).

        >>> import torch
        >>> from captum.attr import LayerAttribution
        >>> LayerAttribution.interpolate(torch.ones(1, 1, 2, 2), (4, 4)).shape
        torch.Size([1, 1, 4, 4])
        """
        return F.interpolate(layer_attribution, interpolate_dims, mode=interpolate_mode)


class NeuronAttribution(InternalAttribution):
    """A method that explains a neuron of a layer instead of the model's output."""

    def _neuron(self, selector: Any, attribute_to_neuron_input: bool) -> Neuron:
        if not isinstance(self.layer, nn.Module):
            raise wrong(
                TypeError, "one layer", repr(self.layer), f"{type(self).__name__}(model, layer)"
            )
        return Neuron(self.layer, selector, _side(attribute_to_neuron_input))


class _Multiplying(Attribution):
    """A method whose scores are contributions, unless the user wants sensitivities."""

    _multiply_by_inputs = True

    @property
    def multiplies_by_inputs(self) -> bool:
        return self._multiply_by_inputs


class InputContributions(_Multiplying, GradientAttribution):
    """Contributions of the inputs, or of the values at `at=`."""

    def __init__(
        self,
        forward_func: Model,
        multiply_by_inputs: bool = True,
        *,
        at: Site | Layers | None = None,
        of: Explained | None = None,
    ) -> None:
        super().__init__(forward_func, at=at, of=of)
        self._multiply_by_inputs = multiply_by_inputs


class LayerGradientAttribution(LayerAttribution, GradientAttribution):
    """Gradients at a layer's value; `of=` explains a neuron instead of the output."""

    def __init__(
        self,
        forward_func: Model,
        layer: Layers,
        device_ids: list[int] | None = None,
        *,
        of: Explained | None = None,
    ) -> None:
        super().__init__(forward_func, layer, device_ids)
        self._of = of


class NeuronGradientAttribution(NeuronAttribution, GradientAttribution):
    """Gradients of a neuron; `at=` lets them land on a layer instead of the inputs."""

    def __init__(
        self,
        forward_func: Model,
        layer: Layers,
        device_ids: list[int] | None = None,
        *,
        at: Site | Layers | None = None,
    ) -> None:
        super().__init__(forward_func, layer, device_ids)
        self._at = make_site(at)


class LayerContributions(_Multiplying, LayerGradientAttribution):
    """Contributions of a layer's value."""

    def __init__(
        self,
        forward_func: Model,
        layer: Layers,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        of: Explained | None = None,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, of=of)
        self._multiply_by_inputs = multiply_by_inputs


class NeuronContributions(_Multiplying, NeuronGradientAttribution):
    """Contributions to a neuron, of the inputs or of the values at `at=`."""

    def __init__(
        self,
        forward_func: Model,
        layer: Layers,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        at: Site | Layers | None = None,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, at=at)
        self._multiply_by_inputs = multiply_by_inputs


def _side(is_input: bool) -> Side:
    return "input" if is_input else "output"


def compute_gradients(
    forward_fn: Model, inputs: Any, target_ind: Any = None, additional_forward_args: Any = None
) -> tuple[Tensor, ...]:
    """∂f/∂x for each input: what `GradientAttribution.gradient_func` is."""
    with torch.inference_mode(False):
        call = make_call(forward_fn, inputs, target_ind, additional_forward_args)
        return Engine(forward_fn, Inputs()).gradients(call)[1]
