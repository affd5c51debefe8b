"""What an attribution of a text found: scores, and ways to look at them and to keep them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from captum._engine.errors import describe, extra, wrong
from captum.attr.llm import page, plots
from captum.attr.llm.image_mask import ImageMaskInput
from captum.attr.llm.interpretable import InterpretableInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

_TENSORS = "seq_attr", "token_attr", "output_probs", "seq_std", "token_std"


class _Numbers:
    """An attribute that holds a tensor on the CPU, or None, of whatever it is set to."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.place = f"_{name}"

    def __get__(self, found: Any, owner: type | None = None) -> Any:
        return self if found is None else getattr(found, self.place)

    def __set__(self, found: Any, value: Any) -> None:
        value = value if value is None else torch.as_tensor(value).detach().cpu()
        setattr(found, self.place, value)


class LLMAttributionResult:
    """Scores of G features of a prompt for a target of T tokens.

    Args:
        input_tokens: the features' names, (G,).
        output_tokens: the target's tokens, (T,).
        seq_attr: scores for the whole target, (G,); (G, G) of pairs of features.
        token_attr: scores for each of its tokens, (T, G); None where they are not known.
        output_probs: the model's probability of each token of the target, (T,).
        inp: the prompt that was explained.
        seq_std: standard errors of `seq_attr`, where the method gave them.
        token_std: standard errors of `token_attr`.
        covered: with `refine`, the share of the scores' size that was looked at closely.
        evaluations: prompts that the model was run on.
        forward_tokens: tokens that went through it.

    >>> from captum.attr import LLMAttributionResult
    >>> result = LLMAttributionResult(
    ...     input_tokens=["the", "cat"], output_tokens=["sat"], seq_attr=[0.5, 2.0])
    >>> result.seq_attr_dict
    {'the': 0.5, 'cat': 2.0}
    """

    seq_attr: Any = _Numbers()
    token_attr: Any = _Numbers()
    output_probs: Any = _Numbers()
    seq_std: Any = _Numbers()
    token_std: Any = _Numbers()

    def __init__(
        self,
        *,
        input_tokens: list[str],
        output_tokens: list[str],
        seq_attr: Any,
        token_attr: Any = None,
        output_probs: Any = None,
        inp: InterpretableInput | None = None,
        seq_std: Any = None,
        token_std: Any = None,
        covered: float | None = None,
        evaluations: int | None = None,
        forward_tokens: int | None = None,
    ) -> None:
        self.input_tokens, self.output_tokens = list(input_tokens), list(output_tokens)
        self.seq_attr, self.token_attr = seq_attr, token_attr
        self.seq_std, self.token_std = seq_std, token_std
        self.output_probs = output_probs
        self.inp = inp
        self.covered = covered
        self.evaluations, self.forward_tokens = evaluations, forward_tokens

    def __repr__(self) -> str:
        words = f"input_tokens={self.input_tokens}, output_tokens={self.output_tokens}"
        return f"{type(self).__name__}({words}, seq_attr={self.seq_attr})"

    @property
    def seq_attr_dict(self) -> dict[str, float]:
        """Scores for the whole target by feature; a name that comes again gets its number.

        >>> from captum.attr import LLMAttributionResult
        >>> LLMAttributionResult(
        ...     input_tokens=["a", "b", "a"], output_tokens=["c"], seq_attr=[1., 2., 3.]
        ... ).seq_attr_dict
        {'a': 1.0, 'b': 2.0, 'a (2)': 3.0}
        """
        found: dict[str, float] = {}
        for name, score in zip(self.input_tokens, self._by_feature().tolist(), strict=True):
            key, number = name, 1
            while key in found:
                number += 1
                key = f"{name} ({number})"
            found[key] = score
        return found

    def plot_seq_attr(self, show: bool = False) -> tuple[Figure, Axes] | None:
        """A bar for every feature: its score for the whole target, with its error if known.

        Args:
            show: show it now and return nothing; else return figure and axes.
        """
        if self.seq_attr.ndim == 2:
            drawn = plots.heatmap(self.seq_attr, self.input_tokens, self.input_tokens)
        else:
            drawn = plots.bars(self.seq_attr, self.input_tokens, self.seq_std)
        return plots.shown(*drawn, show)

    def plot_token_attr(self, show: bool = False) -> tuple[Figure, Axes] | None:
        """A table of colours: features across, the target's tokens down.

        Args:
            show: show it now and return nothing; else return figure and axes.
        """
        scores = self._by_token("plot_seq_attr()")
        return plots.shown(*plots.heatmap(scores, self.input_tokens, self.output_tokens), show)

    def plot_image_heatmap(
        self,
        show: bool = False,
        target_token_pos: int | tuple[int, int] | None = None,
        border_width: int = 2,
        show_legends: bool = True,
    ) -> tuple[Figure, Axes] | None:
        """The picture of an `ImageMaskInput` under its segments' scores.

        Args:
            show: show it now and return nothing; else return figure and axes.
            target_token_pos: explain one of the target's tokens, or those from the first up to
                but without the second of a pair; the whole target by default.
            border_width: of the lines around segments of a `mask_list`, in pixels.
            show_legends: write the number of each segment of a `mask_list` at its centre.
        """
        if not isinstance(self.inp, ImageMaskInput):
            raise wrong(
                ValueError, "the result of an ImageMaskInput", describe(self.inp), "plot_seq_attr()"
            )
        if target_token_pos is None:
            scores = self.seq_attr
        else:
            by_token = self._by_token("target_token_pos=None")
            first, stop = (
                (target_token_pos, target_token_pos + 1)
                if isinstance(target_token_pos, int)
                else target_token_pos
            )
            if not 0 <= first < stop <= len(by_token):
                raise wrong(
                    ValueError,
                    f"a position from 0 to {len(by_token) - 1}, or a pair (first, stop)",
                    repr(target_token_pos),
                    "target_token_pos=0",
                )
            scores = by_token[first:stop].sum(0)
        listed = self.inp.mask_list is not None
        drawn = plots.picture(
            self.inp.image,
            self.inp.format_pixel_attr(scores[None])[0],
            self.inp.get_mask_list(),
            border_width if listed else 0,
            show_legends and listed,
        )
        return plots.shown(*drawn, show)

    def save(self, path: str | Path) -> None:
        """Write a page that explains the result to whoever opens it: one file, no network.

        Choosing a token of the target colours the prompt for it.
        """
        Path(path).write_text(
            page.document(self._repr_html_()), encoding="utf-8", errors="xmlcharrefreplace"
        )

    def _repr_html_(self) -> str:
        if self.seq_attr.ndim != 1:
            return page.pairs(self.input_tokens, self.seq_attr)
        return page.choices(
            self.input_tokens, self.output_tokens, self.seq_attr, self.token_attr, self.output_probs
        )

    def to_json(self) -> str:
        """Everything but the prompt object, as text that `from_json` reads."""
        numbers = {
            name: None if getattr(self, name) is None else getattr(self, name).tolist()
            for name in _TENSORS
        }
        return json.dumps(
            {
                "input_tokens": self.input_tokens,
                "output_tokens": self.output_tokens,
                **numbers,
                "covered": self.covered,
                "evaluations": self.evaluations,
                "forward_tokens": self.forward_tokens,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> LLMAttributionResult:
        """The result that `to_json` wrote.

        >>> from captum.attr import LLMAttributionResult
        >>> result = LLMAttributionResult(
        ...     input_tokens=["cat"], output_tokens=["sat"], seq_attr=[0.5])
        >>> LLMAttributionResult.from_json(result.to_json()).seq_attr
        tensor([0.5000])
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise wrong(
                ValueError, "what to_json() wrote", describe(text), "from_json(result.to_json())"
            ) from error

    def to_dataframe(self) -> DataFrame:
        """A row for every feature and token: feature, position, token, token_position, score.

        The whole target has the token "" and the position -1.
        """
        rows = [
            (name, i, "", -1, score)
            for i, (name, score) in enumerate(
                zip(self.input_tokens, self._by_feature().tolist(), strict=True)
            )
        ]
        for t, token in enumerate(self.output_tokens if self.token_attr is not None else ()):
            scores = self._by_token("")[t].tolist()
            rows += [(self.input_tokens[i], i, token, t, score) for i, score in enumerate(scores)]
        columns = ["feature", "position", "token", "token_position", "score"]
        frame: DataFrame = extra("pandas", "tables").DataFrame(rows, columns=columns)
        return frame

    def _by_feature(self) -> Tensor:
        scores: Tensor = self.seq_attr
        if scores.ndim == 1:
            return scores
        raise wrong(ValueError, "one score per feature", describe(self.seq_attr), "result.seq_attr")

    def _by_token(self, instead: str) -> Tensor:
        scores: Tensor | None = self.token_attr
        if scores is None or scores.ndim != 2:
            raise wrong(
                ValueError,
                "scores for every token of the target",
                f"token_attr={describe(self.token_attr)}",
                instead or "result.seq_attr",
            )
        return scores
