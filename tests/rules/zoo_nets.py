"""Whole networks, written out as their papers have them, as small as they go."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rules.entry import Entry, ids, normal

IMAGE = (2, 8, 8)


class Block(nn.Module):
    """conv, norm, ReLU, conv, norm, the sum in place, and the same ReLU again."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, out, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(out), nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.down = None
        if into != out:
            self.down = nn.Sequential(
                nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.down is None else self.down(x)
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        self.layers = nn.Sequential(Block(4, 4, 1), Block(4, 6, 2))
        self.pool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.pool(self.layers(self.stem(x))), 1))


class UNet(nn.Module):
    """Down, up by a transposed convolution, and the skip concatenated; a map comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(4, 3, 2, stride=2), nn.Conv2d(6, 3, 3, padding=1)
        self.norm = nn.GroupNorm(1, 4)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.relu(self.down(x))
        deep = F.silu(self.norm(self.deep(F.max_pool2d(skip, 2))))
        return self.out(torch.cat([self.up(deep), skip], 1))


class Plain(nn.Module):
    """A U-Net without norms and of ReLUs: it conserves."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.out = nn.Conv2d(7, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.relu(self.down(x))
        deep = F.relu(self.deep(F.max_pool2d(skip, 2)))
        return self.out(torch.cat([F.interpolate(deep, scale_factor=2.0), skip], 1)).mean((2, 3))


class DenseNet(nn.Module):
    """Each layer sees all before it."""

    def __init__(self) -> None:
        super().__init__()
        widths = (2, 4, 6)
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) for w in widths)
        self.convs = nn.ModuleList(nn.Conv2d(w, 2, 3, padding=1, bias=False) for w in widths)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            features.append(conv(F.relu(norm(torch.cat(features, 1)), inplace=True)))
        h = F.avg_pool2d(torch.cat(features, 1), 2)
        return self.fc(F.adaptive_avg_pool2d(F.relu(h), 1).flatten(1))


class Attention(nn.Module):
    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(size, 3 * size), nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        n, t, e = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, e // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q * (e // self.heads) ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(n, t, e))


class ViT(nn.Module):
    """Patches, a class token, positions, pre-norm blocks with GELU."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(2, size, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, size))
        self.position = nn.Parameter(torch.randn(1, 5, size) / 2)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm1": nn.LayerNorm(size),
                    "attention": Attention(size, 2),
                    "norm2": nn.LayerNorm(size),
                    "mlp": nn.Sequential(nn.Linear(size, 12), nn.GELU(), nn.Linear(12, size)),
                }
            )
            for _ in range(2)
        )
        self.norm, self.head = nn.LayerNorm(size), nn.Linear(size, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.patches(x).flatten(2).transpose(1, 2)
        h = torch.cat((self.token.expand(h.shape[0], -1, -1), h), dim=1) + self.position
        for block in self.blocks:
            h = h + block["attention"](block["norm1"](h))
            h = h + block["mlp"](block["norm2"](h))
        return self.head(self.norm(h)[:, 0])


class Mixer(nn.Module):
    """Tokens and channels are mixed in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.channels = nn.Linear(4, 4), nn.Linear(6, 6)
        self.norm, self.head = nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + F.gelu(self.tokens(self.norm(x).transpose(1, 2))).transpose(1, 2)
        return self.head((x + F.gelu(self.channels(self.norm(x)))).mean(1))


class ConvNext(nn.Module):
    """A depthwise convolution, a norm of channels, a wide GELU, a learnt scale of the branch."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = nn.Conv2d(2, 2, 3, padding=1, groups=2)
        self.norm, self.up, self.down = nn.LayerNorm(2), nn.Linear(2, 8), nn.Linear(8, 2)
        self.scale, self.head = nn.Parameter(torch.ones(2)), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.depth(x).permute(0, 2, 3, 1))
        h = (self.scale * self.down(F.gelu(self.up(h)))).permute(0, 3, 1, 2)
        return self.head((x + h).mean([-2, -1]))


class MobileNet(nn.Module):
    """Inverted residuals with ReLU6, and a squeeze by hard functions."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.Conv2d(2, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU6(True))
        self.depth = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.squeeze = nn.Conv2d(4, 4, 1)
        self.down, self.head = nn.Conv2d(4, 2, 1), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = F.hardswish(self.depth(self.up(x)))
        h = h * F.hardsigmoid(self.squeeze(F.adaptive_avg_pool2d(h, 1)))
        return self.head((x + self.down(h)).flatten(2).mean(2))


class Convs(nn.Module):
    """A text classifier of convolutions over embedded ids, its filters of several widths."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 4)
        self.convs = nn.ModuleList(nn.Conv1d(4, 3, width) for width in (2, 3))
        self.fc = nn.Linear(6, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.embed(tokens).transpose(1, 2)
        return self.fc(torch.cat([F.relu(conv(h)).max(2)[0] for conv in self.convs], dim=1))


class WaveNet(nn.Module):
    """Causal dilated convolutions, tanh times sigmoid, skips summed up."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(2, 4, 2, dilation=d) for d in (1, 2))
        self.mix, self.fc = nn.Conv1d(2, 2, 1), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        skips = torch.zeros_like(x)
        for conv in self.convs:
            left, right = conv(F.pad(x, (conv.dilation[0], 0))).chunk(2, 1)
            h = left.tanh() * right.sigmoid()
            skips = skips + h
            x = x + self.mix(h)
        return self.fc(F.relu(skips).mean(2))


class Mlp(nn.Module):
    """Without a bias anywhere, read twice and added up."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(5, 6, bias=False),
            nn.ReLU(),
            nn.Linear(6, 5, bias=False),
            nn.ReLU(),
        )
        self.head = nn.Linear(5, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x) + self.layers(-x / 2))


class Graph(nn.Module):
    """Messages along the edges of a fixed graph, and gated attention over neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.score, self.head = nn.Linear(4, 4), nn.Linear(8, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        source, to = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([1, 2, 3, 0, 2])
        h = self.message(x)
        pairs = torch.cat([h[:, source], h[:, to]], -1)
        weight = F.leaky_relu(self.score(pairs), 0.2).sigmoid()
        out = torch.zeros_like(h).index_add_(1, to, weight * h[:, source])
        return self.head(F.elu(out + h).mean(1))


NETS: list[Entry] = [
    Entry("MLP without bias", Mlp, normal((5,)), "the net of the LRP papers", conserves=True),
    Entry("ResNet", ResNet, normal(IMAGE), "batch norms, sums in place, reuse", conserves=True),
    Entry("U-Net", UNet, normal(IMAGE), "a map comes out", target=(1, 3, 4)),
    Entry("U-Net of ReLUs", Plain, normal(IMAGE), "skips are concatenated", conserves=True),
    Entry("DenseNet", DenseNet, normal(IMAGE), "norm before conv, all joined", conserves=True),
    Entry("ViT", ViT, normal(IMAGE), "a transformer of patches"),
    Entry("Mixer", Mixer, normal((4, 6)), "one norm used twice, transposes"),
    Entry("ConvNeXt", ConvNext, normal((2, 4, 4)), "channels last and first"),
    Entry("MobileNet", MobileNet, normal((2, 4, 4)), "hard functions, gates of channels"),
    Entry("TextCNN", Convs, ids(5), "ids, convolutions, maximum over time"),
    Entry("WaveNet", WaveNet, normal((2, 6)), "gates, dilation, two running sums"),
    Entry("graph net", Graph, normal((4, 4)), "gather, gates, scatter"),
]
