"""LIME in its general form: an interpretable model that is fitted to the model's answers nearby."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from types import GeneratorType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from captum._engine.batching import RowLimit, Rows
from captum._engine.call import Call, matched
from captum._engine.errors import describe, warn, wrong
from captum._engine.evaluate import Engine
from captum._engine.explained import Explained
from captum._engine.model import Model as Explainee
from captum._engine.nest import Tensors
from captum._engine.progress import Progress
from captum._engine.sampling import check_samples
from captum.attr.base import PerturbationAttribution
from captum.linear import Model

_BLOCK_BYTES = 16 << 20  # of perturbed inputs that wait for their passes


@dataclass(frozen=True)
class Surroundings:
    """How a user's functions perturb an input, describe it and weigh it."""

    perturb: Callable[..., Any]
    similarity: Callable[..., Any]
    interpretable: bool  # whether `perturb` makes descriptions (1, G), or inputs
    translate: Callable[..., Any]  # a description to its input, or the other way round
    kwargs: Mapping[str, Any]

    def samples(self, original: Any, count: int) -> Iterator[tuple[Any, Tensor, Any]]:
        """Perturbed inputs, their descriptions and their weights."""
        made = self._drawn(original)
        for _ in range(count):
            try:
                sample = next(made)
            except StopIteration:
                warn(f"perturb_func came to its end before the {count} samples that were asked for")
                return
            other = self.translate(sample, original, **self.kwargs)
            point, description = (other, sample) if self.interpretable else (sample, other)
            yield (
                point,
                description,
                self.similarity(original, point, description, **self.kwargs),
            )

    def _drawn(self, original: Any) -> Iterator[Any]:
        first = self.perturb(original, **self.kwargs)
        if isinstance(first, GeneratorType):
            yield from first
            return
        yield first
        while True:
            yield self.perturb(original, **self.kwargs)


@dataclass(frozen=True)
class Nearby:
    """What a surrogate is fitted to: descriptions (K, G), answers (*lead, K) and weights (K,)."""

    described: Tensor
    answers: Tensor
    weights: Tensor

    def fits(self, model: Model) -> list[Any]:
        """The representation of the model, once for each target."""
        several = self.answers.reshape(-1, self.answers.shape[-1])
        return [fitted(model, replace(self, answers=answers)) for answers in several]


def nearby(engine: Engine, call: Call, around: Surroundings, samples: int) -> Nearby:
    """The model's answers to perturbed inputs."""
    original = call.form.arrange(call.inputs)
    bytes_each = sum(x.nbytes for x in call.inputs)
    block = max(1, _BLOCK_BYTES // bytes_each)
    described, weights, answers, waiting = [], [], [], []
    for point, description, weight in around.samples(original, samples):
        described.append(_description(description))
        weights.append(torch.as_tensor(weight).detach().reshape(()).float().cpu())
        waiting.append(matched(call, point, "perturbed inputs") or ())
        if len(waiting) == block:
            answers.append(_answered(engine, call, waiting))
            waiting = []
    if waiting:
        answers.append(_answered(engine, call, waiting))
    if not described:
        raise wrong(
            ValueError, "at least one sample", "a perturb_func that gave none", "n_samples=50"
        )
    device = call.inputs[0].device
    return Nearby(
        torch.cat(described).to(device, torch.float32),
        torch.cat(answers, -1),
        torch.stack(weights).to(device),
    )


def fitted(model: Model, data: Nearby) -> Any:
    """The representation of an interpretable model, fitted in one batch."""
    rows = TensorDataset(data.described, data.answers.float(), data.weights)
    # A loader draws a seed for its workers, which must not move the user's random numbers.
    own = torch.Generator()
    model.fit(DataLoader(rows, batch_size=len(rows), generator=own))
    return model.representation()


def _description(given: Any) -> Tensor:
    if isinstance(given, Tensor) and given.ndim == 2 and len(given) == 1:
        return given.detach()
    raise wrong(
        ValueError,
        "a sample described by a tensor of shape (1, G)",
        describe(given),
        "z.view(1, -1)",
    )


def _answered(engine: Engine, call: Call, points: list[Tensors]) -> Tensor:
    """The model's answers, (*lead, K). What has another shape cannot go through in one pass."""
    runs = (list(run) for _, run in groupby(points, key=_shapes))
    return torch.cat([_answered_alike(engine, call, run) for run in runs], -1)


def _shapes(point: Tensors) -> list[torch.Size]:
    return [x.shape for x in point]


def _answered_alike(engine: Engine, call: Call, points: list[Tensors]) -> Tensor:
    copies = len(points)
    rows = tuple(torch.cat(each) for each in zip(*points, strict=True))
    numbers = engine.by_copy(engine.evaluate(call, copies, inputs=rows), copies)
    if numbers.shape[-2:] != (copies, 1):
        raise wrong(
            ValueError,
            "a model that gives one number for each perturbed input",
            f"numbers of shape {tuple(numbers.shape[-1:])} for {call.rows} examples",
            "one example at a time: attribute(inputs[:1])",
        )
    return numbers.squeeze(-1)


class LimeBase(PerturbationAttribution):
    r"""The representation of argmin_g Σ_k π(x, x_k) (f(x_k) - g(z_k))² for samples x_k near x.

    z_k is the interpretable description of x_k, and g a model of your choice. The x_k may have
    other lengths than x: a text without some of its words.

    Paper: Ribeiro, Singh, Guestrin, "Why should I trust you?" (2016),
    https://arxiv.org/abs/1602.04938.

    Args:
        forward_func: the model; no gradient is needed.
        interpretable_model: g, a `captum.linear.Model`: its fit gets a data loader with one batch
            of descriptions (K, G), answers (K,) and weights (K,).
        similarity_func: π: of the original, the perturbed input and the description; a number.
        perturb_func: of the original: a sample, a description (1, G) with
            `perturb_interpretable_space` and an input without; or a generator of them.
        perturb_interpretable_space: what `perturb_func` makes.
        from_interp_rep_transform: of a description and the original: the input.
        to_interp_rep_transform: of an input and the original: the description.

    All functions also get the keywords of `attribute` that it does not know itself.

    >>> import torch
    >>> from captum.attr import LimeBase
    >>> from captum.linear import LinearRegression
    >>> lime = LimeBase(
    ...     lambda x: 3 * x[:, 0] - x[:, 1],
    ...     LinearRegression(),
    ...     similarity_func=lambda x, near, z: 1.0,
    ...     perturb_func=lambda x: torch.bernoulli(torch.full((1, 2), 0.5)),
    ...     perturb_interpretable_space=True,
    ...     from_interp_rep_transform=lambda z, x: z * x,
    ...     to_interp_rep_transform=None,
    ... )
    >>> _ = torch.manual_seed(0)
    >>> lime.attribute(torch.ones(1, 2)).round(decimals=3)
    tensor([[ 3., -1.]])
    """

    def __init__(
        self,
        forward_func: Explainee,
        interpretable_model: Model,
        similarity_func: Callable[..., Any],
        perturb_func: Callable[..., Any],
        perturb_interpretable_space: bool,
        from_interp_rep_transform: Callable[..., Any] | None,
        to_interp_rep_transform: Callable[..., Any] | None,
        *,
        of: Explained | None = None,
    ) -> None:
        super().__init__(forward_func, of=of)
        self.interpretable_model = interpretable_model
        self.similarity_func = similarity_func
        self.perturb_func = perturb_func
        self.perturb_interpretable_space = perturb_interpretable_space
        self.from_interp_rep_transform = from_interp_rep_transform
        self.to_interp_rep_transform = to_interp_rep_transform
        self._translate = _translation(
            perturb_interpretable_space, from_interp_rep_transform, to_interp_rep_transform
        )

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        n_samples: int = 50,
        perturbations_per_eval: Rows = 1,
        show_progress: bool = False,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """What the fitted model's `representation` returns; a list for several targets.

        Args:
            inputs: one example, (1, *F), or a tuple or dict of tensors; a batch only where the
                model gives one number for all of it.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            n_samples: perturbed inputs, one model row each.
            perturbations_per_eval: perturbed inputs of one shape that may go through the model
                in one batch, or "auto"; by default it sees each by itself.
            show_progress: a progress bar of model rows.
            forward_kwargs: what else the model takes, by keyword.
            kwargs: what the functions get by keyword.

        Raises:
            ValueError: no samples; several numbers for one sample.
        """
        check_samples(n_samples, "n_samples")
        progress = Progress(self.get_name(), show_progress)
        given = (inputs, target, additional_forward_args, forward_kwargs)
        with self._open(*given, progress=progress) as (engine, call):
            per_pass = RowLimit.of(perturbations_per_eval, "perturbations_per_eval")
            if per_pass is not None:
                engine.limit = RowLimit.first(call.inputs, per_pass.rows * call.rows)
            around = Surroundings(
                self.perturb_func,
                self.similarity_func,
                self.perturb_interpretable_space,
                self._translate,
                kwargs,
            )
            engine.expect(call, n_samples)
            found = nearby(engine, call, around, n_samples).fits(self.interpretable_model)
            return found if call.several else found[0]


def _translation(
    interpretable: bool, to_input: Callable[..., Any] | None, to_description: Any
) -> Callable[..., Any]:
    chosen: Callable[..., Any] | None = to_input if interpretable else to_description
    if chosen is None:
        name = "from_interp_rep_transform" if interpretable else "to_interp_rep_transform"
        space = "descriptions" if interpretable else "inputs"
        raise wrong(
            TypeError,
            f"{name}, as perturb_func makes {space}",
            f"{name}=None",
            f"LimeBase(..., {name}=lambda sample, original, **kwargs: ...)",
        )
    return chosen
