"""Small models and data with known answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from captum.insights import AttributionVisualizer, Batch
from captum.insights.features import GeneralFeature, ImageFeature, TextFeature
from captum.insights.session import Session

EVIL = "</script><img src=x onerror=alert(1)>"


class Both(nn.Module):
    """A picture (N, 1, 8, 8), ids (N, 4) and a scale (N,): three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3)
        )
        self.embedding = nn.Embedding(6, 5)
        self.text = nn.Linear(20, 3)

    def forward(self, picture: Tensor, ids: Tensor, scale: Tensor) -> Tensor:
        words = self.embedding(ids) if not ids.is_floating_point() else ids
        text: Tensor = self.text(words.flatten(1)).tanh()
        found: Tensor = self.image(picture) + text * scale[:, None]
        return found


def pictures(count: int = 6) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def ids(count: int = 6) -> Tensor:
    return torch.randint(1, 6, (count, 4), generator=torch.Generator().manual_seed(2))


def cnn(seed: int = 0, classes: int = 3) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            *(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, classes))
        ).eval()


def both(seed: int = 0) -> Both:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Both().eval()


def images(
    models: Any = None, labels: Sequence[int] | None = (0, 1, 2, 0, 1, 2), **more: Any
) -> AttributionVisualizer:
    """One or two networks look at six pictures."""
    known = None if labels is None else torch.tensor(labels)
    given = {
        "models": [cnn(0), cnn(1)] if models is None else models,
        "classes": ["cat", "dog", EVIL],
        "features": [ImageFeature("Photo", lambda x: x * 0, lambda x: 2 * x - 1)],
        "dataset": [Batch(pictures()[:2], None if known is None else known[:2]),
                    Batch(pictures()[2:], None if known is None else known[2:])],
        "score_func": lambda output: output.softmax(1),
    }  # fmt: skip
    return AttributionVisualizer(**(given | more))


def multimodal(**more: Any) -> AttributionVisualizer:
    """A picture, words and a further argument."""
    words = ["<pad>", "a", "b", EVIL, "d", "e"]

    def batches() -> Iterator[Batch]:
        yield Batch((pictures(), ids()), [0, 1, 2, 0, 1, 2], torch.linspace(1, 2, 6))

    given = {
        "models": both(),
        "classes": ["x", "y", "z"],
        "features": [
            ImageFeature("Photo", None, None),
            TextFeature(
                "Words", torch.zeros_like, None, lambda t: [words[i] for i in t.squeeze(0)]
            ),
        ],
        "dataset": batches(),
    }
    return AttributionVisualizer(**(given | more))


def general(model: Any, rows: Tensor, classes: Sequence[str], labels: Any = None) -> Any:
    """Numbers with names."""
    names = [f"n{i}" for i in range(rows.shape[1])]
    return AttributionVisualizer(
        model, classes, GeneralFeature("Row", names), [Batch(rows, labels)]
    )


def asked(session: Session, **message: Any) -> dict[str, Any]:
    """The last thing a session says to a message."""
    said: list[dict[str, Any]] = []
    session.ask({"id": 1, **message}, said.append)
    assert all("progress" in each for each in said[:-1])
    return said[-1]
