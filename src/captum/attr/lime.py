"""LIME: a sparse linear model of which features are present, fitted near the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from captum._engine.batching import Rows
from captum._engine.errors import wrong
from captum._engine.explained import Explained
from captum._engine.game import Game
from captum._engine.model import Model as Explainee
from captum._engine.nest import map_tensors, tensors
from captum._engine.sampling import check_samples
from captum._engine.site import Site, make_site
from captum.attr.base import Layers, Scores
from captum.attr.lime_base import LimeBase, Nearby, Surroundings, fitted, nearby
from captum.attr.similarity import ExpKernel
from captum.linear import Lasso, Model
from captum.linear.solve import lasso

_ALPHA = 0.01  # of the default model


def lime(
    game: Game,
    samples: int,
    kernel: ExpKernel,
    model: Model | None,
    generator: torch.Generator | None,
) -> Tensor:
    """argmin_b Σ_k π_k (v(S_k) - b·S_k - c)² / (2 Σ π) + α |b|₁ for random S, (*lead, G, N)."""
    device = None if generator is None else generator.device
    chances = torch.full((samples, game.players), 0.5, device=device)
    drawn = torch.bernoulli(chances, generator=generator).cpu()
    coalitions = drawn > 0
    answers = game.stream(samples, lambda rows: coalitions[rows]).transpose(-1, -2)
    weights = kernel.weights(game, coalitions).T.expand_as(answers)
    described = drawn.to(answers)
    if model is None:
        slopes, _ = lasso(described, answers, weights, alpha=_ALPHA)
        return slopes.transpose(-1, -2)
    problems = zip(answers.reshape(-1, samples), weights.reshape(-1, samples), strict=True)
    each = [_flat(fitted(model, Nearby(described, *problem))) for problem in problems]
    return torch.stack(each).to(answers).view(*answers.shape[:-1], -1).transpose(-1, -2)


def _flat(slopes: Any) -> Tensor:
    return torch.as_tensor(slopes).detach().reshape(-1)


def default_perturb_func(
    original_inp: Any, *, generator: torch.Generator | None = None, **kwargs: Any
) -> Tensor:
    """Each of `num_interp_features` features there or not, by the toss of a coin, (1, G)."""
    chances = torch.full((1, kwargs["num_interp_features"]), 0.5)
    return torch.bernoulli(chances, generator=generator).long()


def default_from_interp_rep_transform(
    curr_sample: Tensor, original_inputs: Any, **kwargs: Any
) -> Any:
    """The original where a feature is there in the sample (1, G), the baseline where it is not.

    Args:
        curr_sample: which features are there.
        original_inputs: a tensor (1, *F), or a tuple or dict of them.
        kwargs: feature_mask, integers below G, and baselines, both as for `Lime`.
    """
    given, masks = list(tensors(original_inputs)), tensors(kwargs["feature_mask"])
    bases = _for_each(kwargs["baselines"], len(given))
    made = (
        torch.where(curr_sample[0].to(m.device)[m] > 0, x, torch.as_tensor(b).to(x))
        for x, m, b in zip(given, masks, bases, strict=True)
    )
    return map_tensors(lambda _: next(made), original_inputs)


def _for_each(given: Any, count: int) -> list[Any]:
    """A baseline for each of the inputs, as users give them; None stands where an input is None."""
    if not isinstance(given, tuple | list | Mapping):
        return [given] * count
    items = given.values() if isinstance(given, Mapping) else given
    return [item for item in items if item is not None]


class Lime(LimeBase):
    r"""Score: the slope of a feature in argmin_b Σ_k π_k (f(x_k) - b·z_k - c)² / (2 Σ π) + α |b|₁.

    z_k says at random which features are present; in x_k the others are at their baseline, and
    π_k = exp(-d(x, x_k)² / 2) with the cosine distance. By default α = 0.01. The examples of a
    batch share draws and passes, and are fitted at once.

    Paper: Ribeiro, Singh, Guestrin, "Why should I trust you?" (2016),
    https://arxiv.org/abs/1602.04938.

    Args:
        forward_func: the model; no gradient is needed.
        interpretable_model: another model than the LASSO, a `captum.linear.Model`.
        similarity_func: π, a function of the original, the perturbed input and z (1, G); see
            `get_exp_kernel_similarity_function`.
        perturb_func: how z (1, G) is drawn, a function of the original, or a generator. It and
            π get the keywords baselines, feature_mask and num_interp_features.
        at: where the features are: the inputs, or the values of a layer.
        of: what is explained: the output at the target, or a neuron.

    >>> import torch
    >>> from captum.attr import Lime
    >>> from captum.linear import LinearRegression
    >>> _ = torch.manual_seed(0)
    >>> lime = Lime(lambda x: 3 * x[:, 0] - x[:, 1], LinearRegression())
    >>> lime.attribute(torch.ones(1, 2)).round(decimals=3)
    tensor([[ 3., -1.]])
    """

    def __init__(
        self,
        forward_func: Explainee,
        interpretable_model: Model | None = None,
        similarity_func: Callable[..., Any] | None = None,
        perturb_func: Callable[..., Any] | None = None,
        *,
        at: Site | Layers | None = None,
        of: Explained | None = None,
    ) -> None:
        super().__init__(
            forward_func,
            Lasso(alpha=_ALPHA) if interpretable_model is None else interpretable_model,
            ExpKernel() if similarity_func is None else similarity_func,
            default_perturb_func if perturb_func is None else perturb_func,
            perturb_interpretable_space=True,
            from_interp_rep_transform=default_from_interp_rep_transform,
            to_interp_rep_transform=None,
            of=of,
        )
        self._at = make_site(at)
        self._own_model = interpretable_model
        if at is not None and self._kernel is None:
            raise wrong(
                TypeError,
                "the similarity function of get_exp_kernel_similarity_function, and no "
                "perturb_func, with at=",
                "functions of inputs",
                "Lime(model, at=layer)",
            )

    @property
    def _kernel(self) -> ExpKernel | None:
        """The kernel, where samples can be drawn and weighed together from sums over features."""
        given, plain = self.similarity_func, self.perturb_func is default_perturb_func
        return given if isinstance(given, ExpKernel) and plain else None

    def attribute(  # type: ignore[override]  # baselines come second, as published
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        n_samples: int = 25,
        perturbations_per_eval: Rows = "auto",
        return_input_shape: bool = True,
        show_progress: bool = False,
        *,
        generator: torch.Generator | None = None,
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs; or one per feature, (N, G).

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: see the glossary: what an absent feature is replaced by, zeros by default.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            feature_mask: see the glossary: entries with one number are one feature.
            n_samples: perturbed inputs, one model row per example each.
            perturbations_per_eval: see the glossary: perturbations per pass at most.
            return_input_shape: False gives scores per feature, (N, G).
            show_progress: a progress bar of model rows.
            generator: see the glossary: where random numbers come from.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: no samples; a mask or baselines that do not fit the inputs.
            TypeError: a generator beside a `perturb_func`.
        """
        check_samples(n_samples, "n_samples")
        if generator is not None and self.perturb_func is not default_perturb_func:
            raise wrong(
                TypeError,
                "no generator where perturb_func draws",
                "both",
                "a perturb_func that uses the generator itself",
            )
        given = (inputs, target, additional_forward_args, forward_kwargs)
        with self._play(
            given, baselines, feature_mask, rows=perturbations_per_eval, show_progress=show_progress
        ) as game:
            game.expect(n_samples)
            if self._kernel is not None:
                scores = lime(game, n_samples, self._kernel, self._own_model, generator)
            else:
                scores = self._by_functions(game, baselines, n_samples, generator)
            return game.arrange(scores) if return_input_shape else game.per_feature(scores)

    def _by_functions(
        self, game: Game, baselines: Any, samples: int, generator: torch.Generator | None
    ) -> Tensor:
        """The same with functions of the user's, which see one example and sample at a time."""
        call = game.call
        if game.backgrounds > 1:
            raise wrong(
                ValueError,
                "one baseline beside functions of your own, which are told of it",
                f"{game.backgrounds} of them",
                "baselines=0, or one tensor like the inputs",
            )
        together = game.full.shape[-1] != call.rows
        parts = [slice(None)] if together else [slice(n, n + 1) for n in range(call.rows)]
        each = []
        for part in parts:
            around = self._around(game, baselines, part, generator)
            own = call if together else call.narrow(part.start, 1)
            found = nearby(game.engine, own, around, samples).fits(self.interpretable_model)
            each.append(torch.stack([_flat(slopes) for slopes in found]))
        scores = torch.stack(each, -1).to(game.full)
        return scores if call.several else scores[0]

    def _around(
        self, game: Game, baselines: Any, part: slice, generator: torch.Generator | None
    ) -> Surroundings:
        call, n = game.call, game.call.rows

        def own(x: Tensor) -> Tensor:
            return x[part] if x.ndim and len(x) == n else x

        zeros = tuple(0 for _ in call.form.names) if call.form.kind == "tuple" else 0
        kwargs = {
            "baselines": zeros if baselines is None else map_tensors(own, baselines),
            "feature_mask": call.form.arrange([own(m) for m in game.groups.masks]),
            "num_interp_features": game.players,
        }
        perturb = self.perturb_func
        if generator is not None:
            perturb = partial(perturb, generator=generator)
        return Surroundings(perturb, self.similarity_func, True, self._translate, kwargs)
