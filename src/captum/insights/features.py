"""What a model's inputs are, how they get ready for it, and how their attributions are shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum.attr.visualization.layout import attribution_map, picture
from captum.attr.visualization.scaling import Array, Values, finite, normalized
from captum.insights.png import data_uri

__all__ = [
    "BaseFeature",
    "EmptyFeature",
    "FeatureOutput",
    "GeneralFeature",
    "ImageFeature",
    "TextFeature",
]

Transform = Callable[[Any], Any]
Transforms = Transform | Iterable[Transform] | None

FOR, AGAINST = (214, 69, 65), (38, 110, 196)  # told apart by eyes that mix up red and green
_OUTLIERS = 2.0  # percent of the attribution that may lie beyond the end of the colour scale
_LONGEST_SIDE = 512  # pixels of a picture on the page


class FeatureOutput(NamedTuple):
    """One input of one example, ready to be shown: plain data that JSON can hold.

    Args:
        name: the feature's name.
        base: the input itself: a picture as a data URI, tokens, "name: value" lines, None.
        modified: its attribution: a heat map as a data URI, one score per token or line, None.
        type: how both are drawn, the feature's `visualization_type()`.
        contribution: the input's share of the attributions of all inputs, 0 to 1.
    """

    name: str
    base: Any
    modified: Any
    type: str
    contribution: float


class BaseFeature(ABC):
    """One input of the model. Subclass it for a kind of your own.

    Args:
        name: what it is called on the page.
        baseline_transforms: a function, or several, from a ready input (*F) to a baseline of the
            same shape; several baselines are averaged over. Zeros by default.
        input_transforms: functions, applied in turn, from a raw input (*F) to what the model
            takes.
        visualization_transform: from the raw input (1, *F) to what is shown.

    >>> class Length(BaseFeature):
    ...     def visualization_type(self):
    ...         return "general"
    ...     def visualize(self, attribution, data, contribution_frac):
    ...         line, score = f"{data.numel()} values", float(attribution.sum())
    ...         return FeatureOutput(self.name, [line], [score], "general", contribution_frac)
    >>> Length("signal", None, None, None).visualize(torch.ones(1, 3), torch.ones(1, 3), 1.0).base
    ['3 values']
    """

    def __init__(
        self,
        name: str,
        baseline_transforms: Transforms,
        input_transforms: Transforms,
        visualization_transform: Transform | None,
    ) -> None:
        self.name = name
        self.baseline_transforms = _several(baseline_transforms)
        self.input_transforms = _several(input_transforms)
        self.visualization_transform = visualization_transform

    @abstractmethod
    def visualization_type(self) -> str:
        """How the page draws it: "image", "text", "general", "empty"; anything else as text."""

    @abstractmethod
    def visualize(self, attribution: Any, data: Any, contribution_frac: float) -> FeatureOutput:
        """What is shown of one example.

        Args:
            attribution: scores of the ready input, (1, *F).
            data: the raw input, (1, *F).
            contribution_frac: the input's share of all attributions.
        """

    def _shown(self, data: Any) -> Any:
        transform = self.visualization_transform
        return data if transform is None else transform(data)


class ImageFeature(BaseFeature):
    """A picture (1, C, H, W), shown with its attribution: red speaks for the answer, blue against.

    Attributions are summed over channels; those of the largest 2 percent get the full colour.

    Args:
        name: what it is called on the page.
        baseline_transforms: see `BaseFeature`.
        input_transforms: see `BaseFeature`.
        visualization_transform: see `BaseFeature`; what it returns is a picture, 0..1 or 0..255.

    >>> photo = ImageFeature("Photo", baseline_transforms=[lambda x: x * 0], input_transforms=[])
    >>> shown = photo.visualize(torch.ones(1, 3, 4, 4), torch.rand(1, 3, 4, 4), 1.0)
    >>> shown.base[:22], shown.modified[:22]
    ('data:image/png;base64,', 'data:image/png;base64,')
    """

    def __init__(
        self,
        name: str,
        baseline_transforms: Transforms,
        input_transforms: Transforms,
        visualization_transform: Transform | None = None,
    ) -> None:
        super().__init__(name, baseline_transforms, input_transforms, visualization_transform)

    def visualization_type(self) -> str:
        """`"image"`."""
        return "image"

    def visualize(self, attribution: Any, data: Any, contribution_frac: float) -> FeatureOutput:
        """The picture and its heat map, as data URIs; the map is transparent where scores are 0.

        Args:
            attribution: scores, (1, C, H, W), (C, H, W) or (H, W).
            data: the picture, in the same shapes.
            contribution_frac: the picture's share of all attributions.

        Raises:
            ValueError: NaN among the scores, or shapes that no picture has.
        """
        colours = _fitted(picture(_pixels(self._shown(data))))
        heat = heat_map(_fitted(attribution_map(_pixels(attribution))[..., None])[..., 0])
        base, modified = data_uri(_bytes(colours)), data_uri(heat)
        return FeatureOutput(
            self.name, base, modified, self.visualization_type(), contribution_frac
        )


class TextFeature(BaseFeature):
    """A text of T tokens, ids (1, T) or embeddings (1, T, D), each on the colour of its score.

    Args:
        name: what it is called on the page.
        baseline_transforms: see `BaseFeature`.
        input_transforms: see `BaseFeature`; such as ids to embeddings.
        visualization_transform: from the raw input (1, T) to T words.

    >>> words = ["<pad>", "what", "colour"]
    >>> text = TextFeature("Question", None, None, lambda ids: [words[i] for i in ids.squeeze(0)])
    >>> text.visualize(torch.tensor([[0.5, -1.0]]), torch.tensor([[1, 2]]), 1.0)[1:3]
    (['what', 'colour'], [0.5, -1.0])
    """

    def visualization_type(self) -> str:
        """`"text"`."""
        return "text"

    def visualize(self, attribution: Any, data: Any, contribution_frac: float) -> FeatureOutput:
        """The tokens and a score for each; those of padding beyond the last token are left out.

        Args:
            attribution: scores, (1, T) or, summed over D, (1, T, D).
            data: the raw text, (1, T).
            contribution_frac: the text's share of all attributions.

        Raises:
            ValueError: more tokens than scores, or NaN among the scores.
        """
        tokens, scores = _words(self._shown(data)), per_token(attribution)
        if len(tokens) > len(scores):
            raise wrong(
                ValueError,
                f"at most {len(scores)} tokens for feature {self.name!r}, as it has scores",
                f"{len(tokens)} tokens",
                "visualization_transform=lambda ids: [words[i] for i in ids.squeeze(0)]",
            )
        kind = self.visualization_type()
        return FeatureOutput(self.name, tokens, scores[: len(tokens)], kind, contribution_frac)


class GeneralFeature(BaseFeature):
    """A row of named numbers (1, F), each with a bar for its score.

    Args:
        name: what it is called on the page.
        categories: the F names.

    >>> patient = GeneralFeature("Patient", ["age", "pulse"])
    >>> patient.visualize(torch.tensor([[0.5, -1.0]]), torch.tensor([[61.0, 72.5]]), 1.0)[1:3]
    (['age: 61', 'pulse: 72.5'], [0.5, -1.0])
    """

    def __init__(self, name: str, categories: Sequence[str]) -> None:
        super().__init__(name, None, None, None)
        self.categories = list(categories)

    def visualization_type(self) -> str:
        """`"general"`."""
        return "general"

    def visualize(self, attribution: Any, data: Any, contribution_frac: float) -> FeatureOutput:
        """A line "name: value" and a score for each number.

        Args:
            attribution: scores, (1, F).
            data: the numbers, (1, F).
            contribution_frac: their share of all attributions.

        Raises:
            ValueError: more or fewer numbers than categories, or NaN among the scores.
        """
        values, scores = _numbers(data), _numbers(finite(attribution, "attribution"))
        if not len(values) == len(scores) == len(self.categories):
            raise wrong(
                ValueError,
                f"one number per category of feature {self.name!r}, {len(self.categories)}",
                describe(data),
                f"GeneralFeature({self.name!r}, categories=[one name per number])",
            )
        lines = [f"{c}: {v:.5g}" for c, v in zip(self.categories, values, strict=True)]
        return FeatureOutput(self.name, lines, scores, self.visualization_type(), contribution_frac)


class EmptyFeature(BaseFeature):
    """An input that is not shown; its share of the attributions is.

    >>> EmptyFeature().visualize(torch.ones(1, 2), torch.ones(1, 2), 0.25)
    FeatureOutput(name='empty', base=None, modified=None, type='empty', contribution=0.25)
    """

    def __init__(
        self,
        name: str = "empty",
        baseline_transforms: Transforms = None,
        input_transforms: Transforms = None,
        visualization_transform: Transform | None = None,
    ) -> None:
        super().__init__(name, baseline_transforms, input_transforms, visualization_transform)

    def visualization_type(self) -> str:
        """`"empty"`."""
        return "empty"

    def visualize(self, attribution: Any, data: Any, contribution_frac: float) -> FeatureOutput:
        """The name and the share alone."""
        return FeatureOutput(self.name, None, None, self.visualization_type(), contribution_frac)


def heat_map(scores: Array) -> NDArray[np.uint8]:
    """Scores (H, W) as colours (H, W, 4): their sign is the hue, their size the opacity.

    >>> heat_map(np.array([[1.0, -0.5, 0.0]]))[0].tolist()
    [[214, 69, 65, 255], [38, 110, 196, 128], [38, 110, 196, 0]]
    """
    strength = normalized(scores, _OUTLIERS)
    hue = np.where((strength > 0)[..., None], FOR, AGAINST)
    return _bytes(np.concatenate([hue / 255, np.abs(strength)[..., None]], axis=-1))


def per_token(attribution: Values) -> list[float]:
    """One score per token: (1, T) or (T), or (1, T, D) summed over its last dimension.

    >>> per_token(torch.ones(1, 3, 2))
    [2.0, 2.0, 2.0]
    """
    scores = finite(attribution, "attribution")
    rows = scores[0] if scores.ndim > 1 else scores
    return _numbers(rows.reshape(len(rows), -1).sum(-1))


def _several(transforms: Transforms) -> list[Transform]:
    if transforms is None:
        return []
    return [transforms] if callable(transforms) else list(transforms)


def _pixels(image: Any) -> Any:
    """A batch of one picture, or a picture, as the drawing code knows it."""
    if isinstance(image, Tensor):
        image = image.detach().cpu()
    return image[0] if getattr(image, "ndim", 0) > 3 and len(image) == 1 else image


def _fitted(image: Array) -> Array:
    """(H, W, C) no larger than a page needs: each pixel is the mean of those it stands for."""
    scale = _LONGEST_SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    sizes = [max(1, round(side * scale)) for side in image.shape[:2]]
    moved = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    return np.asarray(F.interpolate(moved, sizes, mode="area")[0].permute(1, 2, 0).numpy())


def _bytes(colours: Array) -> NDArray[np.uint8]:
    return np.rint(colours * 255).astype(np.uint8)


def _words(shown: Any) -> list[str]:
    """Tokens as text: words as they are, and ids, where nobody made words of them, as numbers."""
    if isinstance(shown, Tensor | np.ndarray):
        shown = shown.reshape(-1).tolist()
    return str(shown).split() if isinstance(shown, str) else [str(word) for word in shown]


def _numbers(values: Any) -> list[float]:
    flat = values.detach().cpu() if isinstance(values, Tensor) else np.asarray(values)
    return [float(value) for value in flat.reshape(-1).tolist()]
