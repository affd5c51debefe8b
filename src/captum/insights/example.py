"""`python -m captum.insights.example`: two networks read handwritten digits; see how.

They learn from scikit-learn's digits in a few seconds, a convolutional one and one without
convolutions. Where scikit-learn is missing they tell shapes apart, which are drawn here.
"""

from __future__ import annotations

import argparse
import webbrowser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum._engine.errors import extra
from captum.insights import AttributionVisualizer, Batch
from captum.insights.features import ImageFeature
from captum.insights.visualizer import Asked

SIZE = 16


@dataclass(frozen=True)
class Pictures:
    """Grey pictures (N, 1, 16, 16) between 0 and 1, what they show (N,), and how that is called."""

    pictures: Tensor
    labels: Tensor
    names: list[str]

    def split(self, at: int) -> tuple[Pictures, Pictures]:
        """The first `at`, and the others."""
        first = Pictures(self.pictures[:at], self.labels[:at], self.names)
        return first, Pictures(self.pictures[at:], self.labels[at:], self.names)


class Convolutional(nn.Sequential):
    """A small network that looks at neighbourhoods."""

    def __init__(self, classes: int) -> None:
        super().__init__(
            *(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(24 * 16, classes)),
        )


class Dense(nn.Sequential):
    """A small network that sees every pixel for itself."""

    def __init__(self, classes: int) -> None:
        super().__init__(
            *(nn.Flatten(), nn.Linear(SIZE * SIZE, 32), nn.ReLU(), nn.Linear(32, classes)),
        )


def digits() -> Pictures:
    """Scikit-learn's 1,797 handwritten digits, enlarged, in random order."""
    data = extra("sklearn.datasets", "sklearn").load_digits()
    small = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    pictures = F.interpolate(small, SIZE, mode="bilinear").clamp(0, 1)
    order = torch.randperm(len(pictures))
    names = [str(name) for name in data.target_names]
    return Pictures(pictures[order], torch.tensor(data.target)[order], names)


def shapes(count: int = 1500) -> Pictures:
    """Discs, squares and crosses somewhere on a noisy ground."""
    labels = torch.randint(3, (count,))
    x, y = torch.rand(2, count, 1, 1) * 8 + 4
    across, down = torch.arange(SIZE) - x, torch.arange(SIZE).view(-1, 1) - y
    far = torch.maximum(across.abs(), down.abs()) < 4
    thin = torch.minimum(across.abs(), down.abs()) < 1
    kinds = torch.stack([across.square() + down.square() < 16, far, far & thin])
    drawn = kinds[labels, torch.arange(count)].float()
    pictures = (drawn * 0.8 + torch.rand(count, SIZE, SIZE) * 0.2)[:, None]
    return Pictures(pictures, labels, ["disc", "square", "cross"])


def real_or_drawn() -> Pictures:
    """Digits, or, without scikit-learn, shapes."""
    try:
        return digits()
    except ImportError:
        return shapes()


def normalize(pictures: Tensor) -> Tensor:
    """What the networks take, between -1 and 1."""
    return pictures * 2 - 1


def fit(model: nn.Module, data: Pictures, epochs: int) -> nn.Module:
    """Train; returns the model in evaluation mode."""
    step = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(epochs):
        for rows in torch.chunk(torch.randperm(len(data.labels)), 16):
            loss = F.cross_entropy(model(normalize(data.pictures[rows])), data.labels[rows])
            step.zero_grad()
            torch.autograd.backward(loss)
            step.step()
    return model.eval()


def batches(data: Pictures, size: int = 16) -> Iterator[Batch]:
    """The pictures as the visualizer takes them."""
    for at in range(0, len(data.labels), size):
        yield Batch(inputs=data.pictures[at : at + size], labels=data.labels[at : at + size])


def visualizer(seed: int = 0, epochs: int = 6) -> AttributionVisualizer:
    """Two networks trained on two thirds of the pictures, to look at with the others."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        known, unseen = real_or_drawn().split(1000)
        models = [fit(kind(len(known.names)), known, epochs) for kind in (Convolutional, Dense)]
    photo = ImageFeature("Picture", lambda x: torch.full_like(x, -1), normalize)
    return AttributionVisualizer(
        models=models,
        score_func=lambda output: output.softmax(1),
        classes=unseen.names,
        features=[photo],
        dataset=batches(unseen),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and open the page or save it."""
    parser = argparse.ArgumentParser(prog="python -m captum.insights.example", description=__doc__)
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    parser.add_argument("--port", type=int, help="a port; a free one by default")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write one HTML file instead")
    given = parser.parse_args(arguments)
    print("Training two networks ...", flush=True)
    found = visualizer()
    if given.save:
        methods: list[Asked] = ["IntegratedGradients", ("Occlusion", {"window": 4, "strides": 2})]
        print(f"Saved {found.save(given.save, methods, examples=8)}")
        return
    page = found.serve(port=given.port)
    if not given.no_browser:
        webbrowser.open(page.url)
    print("Ctrl-C ends it.")
    page.wait()


if __name__ == "__main__":
    main()
