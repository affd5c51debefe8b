"""Feature permutation: what the output loses when a feature is exchanged between examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from captum._engine.batching import Rows
from captum._engine.coalitions import shuffled
from captum._engine.errors import describe, warn, wrong
from captum._engine.explained import Explained
from captum._engine.features import chosen
from captum._engine.game import Game
from captum._engine.model import Model
from captum._engine.nest import Tensors
from captum._engine.site import Site
from captum.attr.base import LayerAttribution, Layers, Scores
from captum.attr.feature_ablation import FeatureAblation

Permute = Callable[[Tensor, Tensor], Tensor]  # of a batch (N, *F) and the feature's mask


def feature_permutation(
    game: Game, permute: Permute | None, generator: torch.Generator | None
) -> Tensor:
    """f(x) - f(x with feature g of other examples) for every feature g, (*lead, G, N)."""
    n = len(game.values[0])
    lead = game.engine.lead
    if n < 2:
        warn("one example has nothing to exchange with: the scores are zeros")
        return torch.zeros_like(game.full).unsqueeze(lead).repeat_interleave(game.players, lead)
    made = _Own(game, permute) if permute else _Shuffled(game, n, generator)
    return game.full.unsqueeze(lead) - game.evaluated(game.players, made)


class _Shuffled:
    """Every feature in another random order of the examples, the same in all values."""

    def __init__(self, game: Game, n: int, generator: torch.Generator | None) -> None:
        self.game = game
        self.orders = torch.stack([_moved(n, generator) for _ in range(game.players)])
        self.alike = not game.features.per_example
        # The entries of each value in the order of their features.
        values = range(len(game.values) if self.alike else 0)
        self.entries = [game.groups.entries(i).flatten().sort(stable=True) for i in values]

    def __call__(self, within: slice, examples: slice) -> Tensors:
        exchange = self._exchanged if self.alike else self._exchanged_by_example
        values = range(len(self.game.values))
        return tuple(exchange(i, within, examples).flatten(0, 1) for i in values)

    def _exchanged(self, i: int, within: slice, examples: slice) -> Tensor:
        """Copies of the rows, and in each of them the entries of its feature from other rows."""
        (features, entries), value = self.entries[i], self.game.values[i]
        own, orders = value[examples], self.orders[within, examples].to(value.device)
        ends = torch.tensor([within.start, within.stop], device=value.device)
        here = slice(*torch.searchsorted(features, ends).tolist())
        rows = own.expand(len(orders), *own.shape).clone(memory_format=torch.contiguous_format)
        copy, entry = (features[here] - within.start).unsqueeze(1), entries[here].unsqueeze(1)
        example = torch.arange(len(own), device=value.device)
        others = value.flatten(1)[orders[copy.squeeze(1)], entry]
        rows.flatten(2)[copy, example, entry] = others
        return rows

    def _exchanged_by_example(self, i: int, within: slice, examples: slice) -> Tensor:
        """The same where every example has features of its own."""
        value, numbers = self.game.values[i], torch.arange(self.game.players)
        coalitions = numbers != numbers[within].unsqueeze(1)
        here = self.game.features.present(i, coalitions, examples)
        own, orders = value[examples], self.orders[within, examples].to(value.device)
        if here is None:
            return own.expand(len(orders), *own.shape)
        return chosen(here.to(value.device), own, value[orders])


class _Own:
    """What the user's function makes of every feature; asked once for each."""

    def __init__(self, game: Game, permute: Permute) -> None:
        self.game, self.permute = game, permute
        self.known: dict[int, Tensors] = {}

    def __call__(self, within: slice, examples: slice) -> Tensors:
        numbers = range(within.start, within.stop)
        self.known = {g: self.known.get(g) or self._made(g) for g in numbers}
        each = [tuple(x[examples] for x in self.known[g]) for g in numbers]
        return tuple(torch.cat(rows) for rows in zip(*each, strict=True))

    def _made(self, feature: int) -> Tensors:
        masks = [mask == feature for mask in self.game.groups.masks]
        return tuple(
            self._permuted(value, mask) if bool(mask.any()) else value
            for value, mask in zip(self.game.values, masks, strict=True)
        )

    def _permuted(self, value: Tensor, mask: Tensor) -> Tensor:
        found = self.permute(value, mask)
        if not isinstance(found, Tensor) or found.shape != value.shape:
            raise wrong(
                ValueError,
                f"a perm_func that returns a tensor of shape {tuple(value.shape)}",
                describe(found),
                "perm_func=lambda x, mask: torch.where(mask, x.roll(1, 0), x)",
            )
        return found


def _moved(n: int, generator: torch.Generator | None) -> Tensor:
    """A random order that is not the one there is."""
    while True:
        order = shuffled(n, generator)
        if not torch.equal(order, torch.arange(n)):
            return order


def _permute_feature(x: Tensor, feature_mask: Tensor) -> Tensor:
    """A batch (N, *F) with the masked entries in another random order of the examples."""
    if len(x) < 2:
        raise wrong(ValueError, "at least two examples", describe(x), "a batch of several examples")
    return torch.where(feature_mask, x[_moved(len(x), None).to(x.device)], x)


class FeaturePermutation(FeatureAblation):
    r"""Score of a feature = f(x) - f(x with the feature of another example of the batch).

    One random exchange of the examples for every feature. Where f is an error over the batch,
    the score is minus the permutation importance.

    Paper: Breiman, Random forests (2001); Fisher, Rudin, Dominici, All models are wrong, but many
    are useful (2019), https://arxiv.org/abs/1801.01489.

    Args:
        forward_func: the model; no gradient is needed.
        perm_func: a function of the batch (N, *F) and the feature's boolean mask that returns
            the batch with the feature permuted; a random exchange by default.
        at: where the features are: the inputs, or the values of a layer.
        of: what is explained: the output at the target, or a neuron.

    >>> import torch
    >>> from captum.attr import FeaturePermutation
    >>> x = torch.tensor([[1., 5.], [2., 5.]])
    >>> FeaturePermutation(lambda x: x.sum(1)).attribute(x)
    tensor([[-1.,  0.],
            [ 1.,  0.]])
    """

    def __init__(
        self,
        forward_func: Model,
        perm_func: Permute = _permute_feature,
        *,
        at: Site | Layers | None = None,
        of: Explained | None = None,
    ) -> None:
        super().__init__(forward_func, at=at, of=of)
        self.perm_func = perm_func

    def attribute(  # type: ignore[override]  # no baselines, as in the published package
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        perturbations_per_eval: Rows = "auto",
        show_progress: bool = False,
        *,
        generator: torch.Generator | None = None,
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them; N >= 2.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            feature_mask: see the glossary: entries with one number are one feature.
            perturbations_per_eval: see the glossary: perturbations per pass at most.
            show_progress: a progress bar of model rows.
            generator: see the glossary: where random numbers come from.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: a mask that does not fit the inputs, or a perm_func that changes shapes.
        """
        return self._permute(
            (inputs, target, additional_forward_args, forward_kwargs),
            feature_mask,
            rows=perturbations_per_eval,
            show_progress=show_progress,
            generator=generator,
        )

    def _permute(
        self,
        given: tuple[Any, Any, Any, Mapping[str, Any] | None],
        mask: Any,
        *,
        at: Site | None = None,
        rows: Rows = "auto",
        show_progress: bool = False,
        generator: torch.Generator | None = None,
    ) -> Scores:
        with self._play(given, None, mask, at=at, rows=rows, show_progress=show_progress) as game:
            game.expect(game.players)
            own = None if self.perm_func is _permute_feature else self.perm_func
            return game.arrange(feature_permutation(game, own, generator), game.kind_of_differences)


class LayerFeaturePermutation(LayerAttribution, FeaturePermutation):
    r"""Score of a part of a layer's value = f(x) - f(x with that part of another example).

    What lies before the layer runs once.

    Args:
        forward_func: the model; no gradient is needed.
        layer: a module of it, or a list of modules.
        device_ids: accepted for code written for `torch.nn.DataParallel`; not needed.
        perm_func: see `FeaturePermutation`.
        of: explain a neuron instead of the output.

    >>> import torch
    >>> from captum.attr import LayerFeaturePermutation
    >>> model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(2, 1))
    >>> LayerFeaturePermutation(model, model[0]).attribute(torch.ones(3, 2)).abs().sum().item()
    0.0
    """

    def __init__(
        self,
        forward_func: Model,
        layer: Layers,
        device_ids: list[int] | None = None,
        *,
        perm_func: Permute = _permute_feature,
        of: Explained | None = None,
    ) -> None:
        LayerAttribution.__init__(self, forward_func, layer, device_ids)
        self.perm_func, self._of = perm_func, of

    @property
    def attributor(self) -> type[FeaturePermutation]:
        """The method that does the same with parts of the inputs."""
        return FeaturePermutation

    def attribute(  # type: ignore[override]  # a layer_mask, as in the published package
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        layer_mask: Any = None,
        perturbations_per_eval: Rows = "auto",
        show_progress: bool = False,
        *,
        attribute_to_layer_input: bool = False,
        generator: torch.Generator | None = None,
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Scores of shape (N, *L), as the layer's value; a tuple where that is one.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them; N >= 2.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            layer_mask: integers (1 or N, *L) per value: entries with one number are one part;
                by default every entry is.
            perturbations_per_eval: see the glossary: perturbations per pass at most.
            show_progress: a progress bar of model rows.
            attribute_to_layer_input: take the layer's input instead of its output.
            generator: see the glossary: where random numbers come from.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: a mask that does not fit the layer's value.
        """
        return self._permute(
            (inputs, target, additional_forward_args, forward_kwargs),
            layer_mask,
            at=self._site(attribute_to_layer_input),
            rows=perturbations_per_eval,
            show_progress=show_progress,
            generator=generator,
        )
