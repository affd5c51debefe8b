"""What tutorials about images work on: little paintings, and for every pixel what it shows.

A sky, a meadow or a sea, and in front of them a sun, houses, trees, boats, cats and balls. Since we
paint them, it is known where everything is, and what decides the answer. Sun and ball are the same
yellow disc: the one hangs in the sky, the other lies on the ground.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from matplotlib.colors import to_rgb
from torch import Tensor, nn

HEIGHT, WIDTH = 64, 96
FINE = 2  # painted larger, then averaged: smooth edges
SEGMENTS = ("sky", "ground", "sun", "house", "tree", "boat", "cat", "ball")
THINGS = SEGMENTS[2:]
COLOURS = {"sky": "#9cc6e6", "meadow": "#7fae5a", "sea": "#2f6f9f"}
SLOT = WIDTH // 4  # everything on the ground has a place of its own: nothing hides anything

# A thing is painted stroke by stroke, in a box with x from -1 to 1 and y from 0 (its feet) to 2.
# A stroke is a colour and a disc (x, y, two radii), or a colour and the corners of a polygon that
# bulges everywhere.
Shape = tuple[float, ...] | list[tuple[float, float]]
STROKES: dict[str, list[tuple[str, Shape]]] = {
    "sun": [("#f5c93b", (0, 1, 0.7, 0.7))],
    "ball": [("#f5c93b", (0, 0.7, 0.7, 0.7))],
    "house": [
        ("#e8ddc9", [(-0.7, 0), (0.7, 0), (0.7, 1.1), (-0.7, 1.1)]),
        ("#b5493a", [(-0.95, 1.1), (0.95, 1.1), (0, 1.9)]),
        ("#6b4a35", [(-0.15, 0), (0.25, 0), (0.25, 0.65), (-0.15, 0.65)]),
    ],
    "tree": [
        ("#6b4a35", [(-0.14, 0), (0.14, 0), (0.14, 0.9), (-0.14, 0.9)]),
        ("#1f4f2b", (0, 1.3, 0.75, 0.7)),
    ],
    "boat": [
        ("#7a3f28", [(-0.55, 0), (0.55, 0), (0.95, 0.45), (-0.95, 0.45)]),
        ("#f2f2ee", [(0.08, 0.55), (0.8, 0.55), (0.08, 1.95)]),
        ("#f2f2ee", [(-0.08, 0.55), (-0.08, 1.7), (-0.7, 0.55)]),
    ],
    "cat": [
        ("#000000", (0, 0.5, 0.5, 0.55)),
        ("#000000", (0, 1.2, 0.36, 0.34)),
        ("#000000", [(-0.34, 1.3), (-0.02, 1.45), (-0.3, 1.85)]),
        ("#000000", [(0.34, 1.3), (0.3, 1.85), (0.02, 1.45)]),
        ("#000000", [(0.35, 0), (0.9, 0.75), (0.8, 0.95), (0.25, 0.3)]),
    ],
}


@dataclass(frozen=True)
class Painting:
    """A picture, and of every pixel which of the segments it shows."""

    pixels: Tensor  # (3, H, W), between 0 and 1
    mask: Tensor  # (1, H, W), integers: places in SEGMENTS
    one_by_one: Tensor  # (1, H, W): the same, but two things of a kind are two

    @property
    def there(self) -> Tensor:
        """Of every thing whether it is there: (len(THINGS),)."""
        return torch.tensor([(self.mask == SEGMENTS.index(t)).any() for t in THINGS]).float()


def inside(shape: Shape, x: Tensor, y: Tensor) -> Tensor:
    """Which points lie in a disc, or on the same side of every edge of a polygon."""
    if isinstance(shape, tuple):
        across, up, wide, high = shape
        return ((x - across) / wide) ** 2 + ((y - up) / high) ** 2 < 1
    edges = zip(shape, shape[1:] + shape[:1], strict=True)
    sides = [(x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) for (x0, y0), (x1, y1) in edges]
    turns = torch.stack(sides) > 0
    return turns.all(0) | (~turns).all(0)


class Painter:
    """Paints at random, and the same again for the same seed."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        rows, columns = torch.arange(HEIGHT * FINE), torch.arange(WIDTH * FINE)
        self.y, self.x = torch.meshgrid((rows + 0.5) / FINE, (columns + 0.5) / FINE, indexing="ij")

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def tinted(self, colour: str, spread: float = 0.06) -> Tensor:
        """No two meadows are of the same green; but black stays black."""
        plain = torch.tensor(to_rgb(colour)).view(3, 1, 1)
        change = spread * torch.randn(3, 1, 1, generator=self.generator)
        return (plain + change).clamp(0, 1) if plain.any() else plain

    def ground(self, kind: str) -> tuple[Tensor, Tensor, float]:
        """Sky above, meadow or sea below, in broad uneven strokes; and where the horizon is."""
        horizon = self.uniform(0.35, 0.6) * HEIGHT
        below = (self.y > horizon)[None]
        picture = torch.where(below, self.tinted(COLOURS[kind]), self.tinted(COLOURS["sky"]))
        for rows, columns, strength in ((8, 6, 0.05), (32, 12, 0.03)):
            noise = torch.randn(1, 1, rows, columns, generator=self.generator)
            noise = F.interpolate(noise, self.x.shape, mode="bicubic")[0]
            picture = picture + strength * noise
        return picture.clamp(0.02, 0.98), below.long(), horizon

    def place(self, thing: str, horizon: float, slot: int) -> tuple[float, float, float]:
        """Where a thing is: its middle, its feet, and half its height."""
        if thing == "sun":
            return self.uniform(8, WIDTH - 8), self.uniform(16, horizon), 8.0
        size = 8.0 if thing == "ball" else self.uniform(9, 11.5)
        middle = SLOT * (slot + 0.5) + self.uniform(-1, 1) * (SLOT / 2 - size)
        return middle, self.uniform(max(horizon + 5, 2 * size + 1), HEIGHT - 2), size

    def paint(self, kind: str, things: Sequence[str]) -> Painting:
        """A painting with these things: the sun behind all others, four of which have room."""
        picture, mask, horizon = self.ground(kind)
        numbers = mask.clone()
        slots = torch.randperm(4, generator=self.generator).tolist()
        for number, thing in enumerate(sorted(things, key=lambda t: t != "sun"), 2):
            slot = -1 if thing == "sun" else slots.pop()
            middle, feet, size = self.place(thing, horizon, slot)
            rows = slice(max(0, int(FINE * (feet - 2 * size))), int(FINE * feet) + 1)
            columns = slice(max(0, int(FINE * (middle - size))), int(FINE * (middle + size)) + 1)
            box = (slice(None), rows, columns)
            x, y = (self.x[box[1:]] - middle) / size, (feet - self.y[box[1:]]) / size
            for colour, shape in STROKES[thing]:
                here = inside(shape, x, y)[None]
                picture[box] = torch.where(here, self.tinted(colour, 0.03), picture[box])
                mask[box].masked_fill_(here, SEGMENTS.index(thing))
                numbers[box].masked_fill_(here, number)
        coarse = (slice(None), slice(FINE // 2, None, FINE), slice(FINE // 2, None, FINE))
        return Painting(F.avg_pool2d(picture, FINE), mask[coarse], numbers[coarse])

    def some(self, things: Collection[str] = THINGS, room: int = 4) -> list[str]:
        """Each of these things or not, by the toss of a coin; no more on the ground than fit."""
        tossed = torch.rand(len(things), generator=self.generator) < 0.5
        chosen = [thing for thing, heads in zip(things, tossed, strict=True) if heads]
        return chosen if len({*chosen} - {"sun"}) <= room else self.some(things, room)

    def meadow_or_sea(self) -> str:
        return "meadow" if self.uniform(0, 1) < 0.5 else "sea"

    def anything(self) -> Painting:
        """Any things, on a meadow or at sea as it comes."""
        return self.paint(self.meadow_or_sea(), self.some())


def album(
    painter: Painter, count: int, paint: Callable[[Painter], Painting] = Painter.anything
) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (count, 3, H, W), their masks (count, H, W), and what is there (count, things)."""
    paintings = [paint(painter) for _ in range(count)]
    return (
        torch.stack([each.pixels for each in paintings]),
        torch.cat([each.mask for each in paintings]),
        torch.stack([each.there for each in paintings]),
    )


class Classifier(nn.Module):
    """Of every thing a logit: is it there?"""

    def __init__(self, width: int = 16, wide: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, width, 6, 4, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, wide, 4, 2, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()),
            *(nn.Conv2d(wide, wide, 3, 1, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()),
        )
        self.head = nn.Linear(wide, len(THINGS))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(2 * x - 1).amax((2, 3)))


def train(
    net: nn.Module,
    pictures: Tensor,
    answers: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    epochs: int,
    rate: float = 1e-2,
) -> None:
    """By AdamW in batches of 32."""
    steps = epochs * -(-len(pictures) // 32)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(pictures)).split(32):
            optimizer.zero_grad()
            loss(net(pictures[rows]), answers[rows]).backward()
            optimizer.step()
            schedule.step()
    net.eval()
