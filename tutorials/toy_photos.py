"""What the vision tutorial works on: photographs with things in them, and a ResNet that finds them.

scikit-learn brings two photographs along, a pagoda above a lake and a dahlia before leaves. Cut out
and pasted in front of lake or leaves they make as many pictures as one likes, in which it is known
where the pagoda is, and where the dahlia. The network answers for each whether it is there.

With `CAPTUM_TUTORIAL_RESNET` set to the name of a torchvision model, say `resnet18`, the tutorial
explains that model instead, with the weights that torchvision fetches for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.path import Path
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

PRETRAINED = os.environ.get("CAPTUM_TUTORIAL_RESNET", "")
HEIGHT, WIDTH = 96, 128
# What networks for ImageNet expect of their inputs.
MEAN, STD = (
    torch.tensor(each).view(1, 3, 1, 1) for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
)
# The pagoda's outline in china.jpg, (x, y), roof by roof, without what the trees cover.
OUTLINE = """
196,30 214,30 214,46 220,62 245,92 270,104 295,106 320,118 316,128 294,136 294,160 328,176 320,182
320,225 328,227 328,240 352,254 340,266 340,302 348,306 352,318 372,334 345,366 325,372 300,385
245,388 205,365 160,340 75,332 82,322 82,285 64,270 80,255 94,240 94,228 98,225 98,188 84,178
108,162 122,158 120,140 96,128 96,110 125,102 160,92 192,62 198,46
"""
BOX = (slice(None), slice(28, 390), slice(62, 374))  # around it


def photograph(name: str) -> Tensor:
    """(3, H, W), between 0 and 1."""
    return torch.tensor(load_sample_image(name)).permute(2, 0, 1) / 255


@dataclass(frozen=True)
class Cutout:
    """A thing on its own: its pixels, and where they are the thing's."""

    pixels: Tensor
    mask: Tensor

    def scaled(self, height: int) -> Cutout:
        both = torch.cat([self.pixels, self.mask])[None]
        width = round(height * both.shape[-1] / both.shape[-2])
        both = F.interpolate(both, (height, width), mode="bilinear", antialias=True)[0]
        return Cutout(both[:3], both[3:])

    def paste(self, picture: Tensor, top: int, left: int) -> Tensor:
        """The picture with the thing in it, and where the thing now is."""
        height, width = self.mask.shape[-2:]
        box = (slice(None), slice(top, top + height), slice(left, left + width))
        picture, where = picture.clone(), torch.zeros_like(picture[:1])
        picture[box] = self.mask * self.pixels + (1 - self.mask) * picture[box]
        where[box] = self.mask
        return torch.cat([picture, where])


def pagoda() -> Cutout:
    photo = photograph("china.jpg")
    corners = [tuple(map(int, pair.split(","))) for pair in OUTLINE.split()]
    y, x = np.mgrid[: photo.shape[1], : photo.shape[2]]
    inside = Path(corners).contains_points(np.stack([x.ravel(), y.ravel()], 1))
    mask = torch.tensor(inside.reshape(x.shape), dtype=torch.float32)[None]
    return Cutout(photo[BOX], mask[BOX])


def dahlia() -> Cutout:
    """Orange is before the leaves wherever there is more red than green."""
    bloom = photograph("flower.jpg")[:, 84:356, 168:448]
    orange = (bloom[:1] > bloom[1:2] + 0.1).float()[None]
    for sign in (1, -1, -1, 1):  # grown and shrunk, gaps close; shrunk and grown, specks go
        orange = sign * F.max_pool2d(sign * orange, 9, stride=1, padding=4)
    return Cutout(bloom, orange[0])


def leaves() -> Cutout:
    """A round piece of nothing in particular: that something is pasted in must not give it away."""
    piece = photograph("china.jpg")[:, 240:420, 420:600]
    y, x = torch.meshgrid(*2 * [torch.linspace(-1, 1, 180)], indexing="ij")
    return Cutout(piece, (x**2 + y**2 < 1).float()[None])


class Scenes:
    """Random pictures: a background, and each thing in front of it or not."""

    names = ("dahlia", "pagoda")

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        lake, bush = photograph("china.jpg")[:, :, 380:], photograph("flower.jpg")[:, :, 460:]
        self.backgrounds = [F.avg_pool2d(lake, 2), bush]
        sizes = range(32, 77, 4)
        self.things = [[t.scaled(h) for h in sizes] for t in (dahlia(), pagoda(), leaves())]

    def number(self, low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=self.generator))

    def one(self) -> tuple[Tensor, Tensor]:
        """A picture (3, H, W), and whether there are a dahlia and a pagoda in it."""
        photo = self.backgrounds[self.number(0, 2)]
        top, left = (
            self.number(0, size - wanted + 1)
            for size, wanted in zip(photo.shape[1:], (HEIGHT, WIDTH), strict=True)
        )
        picture = photo[:, top : top + HEIGHT, left : left + WIDTH]
        there = torch.rand(3, generator=self.generator) < 0.5
        for i in torch.randperm(3, generator=self.generator).tolist():
            if there[i]:
                thing = self.things[i][self.number(0, len(self.things[i]))]
                height, width = thing.mask.shape[-2:]
                spot = self.number(0, HEIGHT - height), self.number(0, WIDTH - width)
                picture = thing.paste(picture, *spot)[:3]
        return picture, there[:2].float()

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Normalised pictures (count, 3, H, W), and what is in them (count, 2)."""
        pictures, answers = zip(*(self.one() for _ in range(count)), strict=True)
        return (torch.stack(pictures) - MEAN) / STD, torch.stack(answers)

    def empty(self, count: int) -> Tensor:
        """Normalised pictures without a dahlia and without a pagoda."""
        pictures, answers = self.batch(8 * count)
        return pictures[~answers.bool().any(1)][:count]


class Block(nn.Module):
    """Two convolutions and a way around them: one ReLU, called twice, as torchvision has it."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        around = [nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)]
        self.downsample = nn.Sequential(*around) if before != width else None

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + identity)


class ResNet(nn.Module):
    """A ResNet in all but size, with the names of its big sisters."""

    def __init__(self, width: int = 12, answers: int = 2) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(Block(width, width, 1))
        self.layer2 = nn.Sequential(Block(width, 2 * width, 2), Block(2 * width, 2 * width, 1))
        self.layer3 = nn.Sequential(Block(2 * width, 4 * width, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * width, answers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))


def train(net: nn.Module, steps: int = 200) -> None:
    """Until both answers are right on nearly every scene."""
    scenes = Scenes(seed=0)
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=steps)
    for _ in range(steps):
        pictures, answers = scenes.batch(20)
        loss = F.binary_cross_entropy_with_logits(net(pictures), answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    net.eval()


@dataclass(frozen=True)
class Photo:
    """A picture to explain: as the network takes it, and where in it things are."""

    pixels: Tensor  # (1, 3, H, W), normalised
    where: dict[str, Tensor]  # (H, W), true where the thing is
    targets: dict[str, int]  # which output asks for it
    empty: Tensor  # (K, 3, H, W): pictures like it, without the things

    @property
    def picture(self) -> Tensor:
        """(H, W, 3), between 0 and 1."""
        return (self.pixels * STD + MEAN)[0].permute(1, 2, 0).clamp(0, 1)


def photo(scale: int = 4, targets: tuple[int, int] = (0, 1)) -> Photo:
    """The pagoda where it always stood, and a dahlia above the lake."""
    whole = photograph("china.jpg")
    where = torch.zeros_like(whole[:1])
    where[BOX] = pagoda().mask
    crop = torch.cat([whole, where])[:, 20 : 20 + 4 * HEIGHT, 50 : 50 + 4 * WIDTH]
    small = F.avg_pool2d(crop, scale)
    pasted = dahlia().scaled(160 // scale).paste(small[:3], 32 // scale, 340 // scale)
    masks = {"dahlia": pasted[3] > 0.5, "pagoda": small[3] > 0.5}
    pixels = (pasted[None, :3] - MEAN) / STD
    empty = F.interpolate(Scenes(seed=2).empty(8), pixels.shape[2:], mode="bilinear")
    return Photo(pixels, masks, dict(zip(Scenes.names, targets, strict=True)), empty)


def load() -> tuple[Any, Photo]:
    """A ResNet, trained here or fetched, and a photograph for it."""
    if PRETRAINED:
        from torchvision.models import get_model  # noqa: PLC0415 - only who fetches needs it

        # ImageNet knows no dahlia and no pagoda: daisy and stupa come nearest.
        return get_model(PRETRAINED, weights="DEFAULT").eval(), photo(1, (985, 832))
    torch.manual_seed(0)
    net = ResNet()
    train(net)
    return net, photo()
