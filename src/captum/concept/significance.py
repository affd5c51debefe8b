"""Whether a concept's scores are other than random examples': tests, corrected, and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captum._engine.errors import extra
from captum.attr.visualization.canvas import canvas, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def outlying(mean: Tensor, others: Tensor) -> Tensor:
    """p of one more value at least as far from the mean of R others, had it come from among them.

    Two-sided, by Student's t with R - 1 degrees: t = (m - mean) / (s √(1 + 1/R)).

    Args:
        mean: m, (*).
        others: (*, R).

    >>> import torch
    >>> outlying(torch.tensor([1.0]), torch.tensor([[0.4, 0.5, 0.6]])) < 0.05
    tensor([True])
    """
    count = others.shape[-1]
    spread = others.std(-1).clamp_min(1e-6) * (1 + 1 / count) ** 0.5
    t = ((mean - others.mean(-1)) / spread).abs()
    tail = extra("scipy.stats", "stats").t.sf(t.double().numpy(), count - 1)
    return torch.as_tensor(2 * tail, dtype=torch.get_default_dtype())


def holm(chances: Tensor) -> Tensor:
    """p of several tests, corrected so that at most one false finding has the chance it says.

    Paper: Holm, A simple sequentially rejective multiple test procedure (1979).

    >>> import torch
    >>> holm(torch.tensor([0.01, 0.04, 0.03]))
    tensor([0.0300, 0.0600, 0.0600])
    """
    order = chances.argsort()
    factors = torch.arange(len(chances), 0, -1, dtype=chances.dtype)
    stepped = (chances[order] * factors).cummax(0).values.clamp_max(1)
    found = torch.empty_like(stepped)
    found[order] = stepped
    return found


@dataclass(eq=False)
class ConceptTest:
    """Scores of K concepts at L layers, against R random ones, and whether they mean something.

    Args:
        concepts: the concepts' names, (K,).
        layers: the layers' names, (L,).
        scores: the share of inputs that a concept leads to the answer for, (K, L, R).
        random: the mean of the same for each random concept against the others, (L, R).
        chances: p of a mean over R so far from the random concepts' means, (K, L).
        corrected: the same for all of them together, (K, L).
    """

    concepts: list[str]
    layers: list[str]
    scores: Tensor
    random: Tensor
    chances: Tensor
    corrected: Tensor

    def significant(self, level: float = 0.05) -> Tensor:
        """Which concepts mean something at which layer, (K, L)."""
        return self.corrected < level

    def plot(self, show: bool = False, level: float = 0.05) -> tuple[Figure, Axes] | None:
        """Bars of scores by layer, with their spread; a star where they are other than chance.

        Args:
            show: show it now and return nothing; else return figure and axes.
            level: a star for corrected p below it.
        """
        names: Sequence[str] = [*self.concepts, "random"]
        every = torch.cat([self.scores, self.random.unsqueeze(0)])
        width = 0.8 / len(names)
        figure, (axes,) = canvas(None, (2 + 1.2 * len(self.layers) * len(names) / 2, 4), show)
        places = torch.arange(len(self.layers)).double()
        starred = self.significant(level)
        for i, name in enumerate(names):
            at = places + (i - (len(names) - 1) / 2) * width
            means = every[i].mean(-1)
            spread = every[i].std(-1) if every.shape[-1] > 1 else torch.zeros_like(means)
            colour = "tab:gray" if name == "random" and i == len(names) - 1 else None
            axes.bar(
                at.numpy(), means.numpy(), width, yerr=spread.numpy(), label=name, color=colour,
                capsize=2,
            )  # fmt: skip
            if i < len(self.concepts):
                for x, mean, edge, star in zip(at, means, spread, starred[i], strict=True):
                    if star:
                        axes.text(float(x), float(mean + edge) + 0.02, "*", ha="center")
        axes.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
        axes.set_xticks(places.numpy(), self.layers)
        axes.set_ylabel("TCAV score (sign count)")
        axes.set_ylim(0, 1.15)
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
        figure.tight_layout()
        if not show:
            return figure, axes
        finish(True)
        return None
