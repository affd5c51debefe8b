"""Views, joins, buffers and resamplings: linear, but where a rule may lose its way."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rules.entry import Entry, Over, normal, rows_of

IMAGE, TOKENS = (4, 4, 4), (3, 4)
Act = Callable[[Tensor], Tensor]


def interleaved(h: Tensor) -> Tensor:
    out = torch.zeros(h.shape[0], h.shape[1], 8, dtype=h.dtype)
    out[:, :, ::2] = h.relu()
    out[:, :, 1::2] = h.tanh()
    return out


def into_a_view(h: Tensor) -> Tensor:
    out = h.new_zeros(h.shape[0], 6, 4)
    out[:, :3].copy_(h.sin())
    out.narrow(1, 3, 3).add_(h.relu())
    out.view(-1, 4)[:, ::2] += 0.5
    return out * out


def into_new_rows(h: Tensor) -> Tensor:
    out = torch.empty_like(h)
    for i in range(h.shape[1]):
        out[:, i] = h[:, i].relu() if i else h[:, i].tanh() + out.new_ones(4)
    return out


def chain_on_views(h: Tensor) -> Tensor:
    flat = h.clone().view(h.size(0), -1)
    flat[:, :6].clamp_(min=0)
    flat.transpose(0, 1)[2].add_(1)
    flat[:, 3:9].mul_(2).tanh_()
    return flat


def sibling_views(h: Tensor) -> Tensor:
    base = h * 2
    first, all_of_it = base[:, 0], base.flatten(1)
    first.relu_()
    return all_of_it.sigmoid()


def residual_in_place(h: Tensor) -> Tensor:
    skip = h
    h = h.sin()
    h += skip
    h += h.relu()
    return h


def scattered(h: Tensor) -> Tensor:
    index = torch.tensor([2, 0, 1]).view(1, 3, 1).expand_as(h)
    return torch.zeros_like(h).scatter_add(1, index, h.relu()).scatter(1, index[:, :1], h[:, :1])


def gathered(h: Tensor) -> Tensor:
    index = torch.tensor([2, 0]).view(1, 2, 1).expand(h.shape[0], 2, 4)
    return h.gather(1, index).relu() + h[:, [0, 0]] + h.index_select(1, torch.tensor([1, 1]))


def put(h: Tensor) -> Tensor:
    out = h.sin()
    return out.index_add(1, torch.tensor([0, 0, 2]), h).index_put(
        (torch.arange(h.shape[0]), torch.tensor(1)), h[:, 2].relu()
    )


# Each with a ReLU, a sine or the like at its end, so that the plain gradient will not do.
_TOKENS: dict[str, Act] = {
    "view(size(0), -1)": lambda h: h.view(h.size(0), -1).relu(),
    "reshape by shape[0]": lambda h: h.relu().reshape(h.shape[0], 2, -1).transpose(1, 2).tanh(),
    "heads and back": lambda h: (
        h.view(h.size(0), 3, 2, 2).transpose(1, 2).relu().contiguous().view(h.size(0), 2, 6)
    ),
    "sequence first": lambda h: h.permute(1, 0, 2).relu().sum(0),
    "transposes": lambda h: h.transpose(0, 1).relu().mT.permute(2, 1, 0),
    "swapaxes, movedim": lambda h: h.swapaxes(0, 2).tanh().movedim(2, 0),
    "squeeze, unsqueeze": lambda h: h.unsqueeze(1).relu().squeeze(1)[..., None],
    "flatten, unflatten": lambda h: h.flatten(1).unflatten(1, (2, 6)).relu(),
    "cat": lambda h: torch.cat([h, h.relu(), torch.ones_like(h)], dim=1),
    "stack": lambda h: torch.stack([h, h.sin()], dim=-1).relu(),
    "hstack, vstack": lambda h: torch.hstack([h, torch.vstack([h]).relu()]),
    "split": lambda h: torch.cat([g.relu() * (i + 1) for i, g in enumerate(h.split([1, 3], 2))], 2),
    "chunk": lambda h: (parts := h.chunk(2, -1))[0].relu() - parts[1].tanh(),
    "unbind": lambda h: sum(g.relu() * (i - 1) for i, g in enumerate(h.unbind(1))),
    "iterated": lambda h: torch.stack([row.relu().sum(0) for row in h]),
    "roll, flip": lambda h: h.roll((1, 2), (1, 2)).relu() + h.flip(1).tanh(),
    "pad": lambda h: F.pad(h.relu(), (1, 2), value=0.5).sin(),
    "repeat, tile": lambda h: h.repeat(1, 2, 1).relu() + torch.tile(h, (1, 2, 1)).sin(),
    "repeat_interleave": lambda h: h.repeat_interleave(2, dim=1).relu(),
    "expand": lambda h: h[:, :1].expand(-1, 5, -1).relu(),
    "broadcast": lambda h: h.relu()[:, :, None] + h.tanh()[:, None],
    "slices": lambda h: h[:, ::2].relu() + h[:, 1:, :].sin() + h[:, -1:],
    "a boolean index": lambda h: h[:, torch.tensor([True, False, True])].relu(),
    "narrow, select": lambda h: h.narrow(1, 1, 2).relu() + h.select(1, 0)[:, None],
    "gather": gathered,
    "scatter": scattered,
    "index_add, index_put": put,
    "tril": lambda h: h[:, :, :3].tril().relu() + h[:, :, 1:].triu().sin(),
    "diagonal": lambda h: h.diagonal(dim1=1, dim2=2).relu() + torch.diag_embed(h[:, 0])[:, 0, :3],
    "unfold of a line": lambda h: h.unfold(2, 2, 1).relu(),
    "as_strided": lambda h: h.contiguous().as_strided((h.shape[0], 3, 3), (12, 4, 1)).relu(),
    "interleaved into zeros": interleaved,
    "written into views": into_a_view,
    "written row by row": into_new_rows,
    "a chain on views": chain_on_views,
    "sibling views": sibling_views,
    "residual in place": residual_in_place,
    "residual": lambda h: h + h.relu() + torch.add(h.tanh(), h, alpha=0.5),
    "sub, neg, rsub": lambda h: 1 - (-h.relu()) - torch.sub(h, h.sin(), alpha=2),
    "clone, contiguous, to": lambda h: h.clone().contiguous().double().relu().to(h.dtype),
    "an empty slice": lambda h: torch.cat([h[:, :0], h.relu()], 1),
    "addmm": lambda h: torch.addmm(
        torch.ones(4, dtype=h.dtype), h.relu().sum(1), torch.eye(4, dtype=h.dtype)
    ),
    "matmul of constants": lambda h: torch.arange(6, dtype=h.dtype).view(2, 3) @ h.relu(),
    "einsum of constants": lambda h: torch.einsum("nij,ik->nkj", h.relu(), h.new_ones(3, 2)),
    "tensordot": lambda h: torch.tensordot(h.relu(), h.new_ones(4, 2), dims=1),
    "sum of a list": lambda h: sum([h.relu(), h.sin(), 1.0]),
    "mean, sum": lambda h: h.relu().mean(1, keepdim=True) + h.sin().sum(-1, keepdim=True),
}
_IMAGES: dict[str, Act] = {
    "interpolate nearest": lambda h: F.interpolate(h.relu(), scale_factor=2),
    "interpolate bilinear": lambda h: F.interpolate(h, (3, 5), mode="bilinear").relu(),
    "interpolate bicubic": lambda h: F.interpolate(h, (6, 6), mode="bicubic").relu(),
    "nn.Upsample": lambda h: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)(
        h.relu()
    ),
    "pixel_shuffle": lambda h: F.pixel_shuffle(h.relu(), 2),
    "pixel_unshuffle": lambda h: F.pixel_unshuffle(h, 2).relu(),
    "channel shuffle": lambda h: F.channel_shuffle(h.relu(), 2),
    "F.unfold": lambda h: F.unfold(h, 2).relu(),
    "F.fold": lambda h: F.fold(F.unfold(h, 2).relu(), (4, 4), 2),
    "pad reflect": lambda h: F.pad(h, (1, 1, 2, 1), mode="reflect").relu(),
    "pad replicate": lambda h: F.pad(h, (1, 1, 1, 1), mode="replicate").relu(),
    "pad circular": lambda h: F.pad(h.relu(), (1, 1, 1, 1), mode="circular"),
    "grid_sample": lambda h: F.grid_sample(
        h.relu(),
        torch.linspace(-0.9, 0.8, 18, dtype=h.dtype).view(1, 3, 3, 2).expand(len(h), -1, -1, -1),
        align_corners=False,
    ),
    "windows": lambda h: (
        h.view(h.shape[0], 4, 2, 2, 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, 4).softmax(-1)
    ).view(h.shape[0], -1),
    "channels last": lambda h: h.to(memory_format=torch.channels_last).relu(),
}
# Piecewise linear through zero, or identity-ruled, and no constant that is added.
_LOST = {
    *("cat", "pad", "written row by row", "a chain on views", "sibling views", "windows"),
    *("sub, neg, rsub", "sum of a list", "addmm", "written into views"),
}

_CONVS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Conv1d": (lambda: nn.Conv1d(4, 3, 2, stride=2, padding=1), (4, 6)),
    "Conv1d same, circular": (
        lambda: nn.Conv1d(4, 4, 3, padding="same", padding_mode="circular"),
        (4, 6),
    ),
    "Conv2d grouped, dilated": (lambda: nn.Conv2d(4, 4, 2, groups=2, dilation=2), IMAGE),
    "Conv2d depthwise, reflected": (
        lambda: nn.Conv2d(4, 4, 3, groups=4, padding=1, padding_mode="reflect", bias=False),
        IMAGE,
    ),
    "Conv3d": (lambda: nn.Conv3d(2, 3, 2), (2, 3, 3, 3)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 3, 3, stride=2), (4, 4)),
    "ConvTranspose2d": (
        lambda: nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1, groups=2),
        IMAGE,
    ),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(2, 2, 2, dilation=2), (2, 2, 2, 2)),
}


class Tokenised(nn.Module):
    """A class token, expanded to the batch, before the others; positions added in place."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.position = nn.Parameter(torch.randn(1, 4, 4))
        self.mix, self.last = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        h += self.position
        h = h + (h @ h.mT / 4).softmax(-1) @ F.relu(self.mix(h))
        return self.last(h[:, 0])


def over(
    stem: Callable[[], nn.Module], act: Act, shape: tuple[int, ...]
) -> Callable[[], nn.Module]:
    return lambda: Over(stem(), act, shape)


SHAPES: list[Entry] = [
    *rows_of(
        "a change of shape, with an activation",
        {name: over(lambda: nn.Linear(4, 4), act, TOKENS) for name, act in _TOKENS.items()},
        normal(TOKENS),
        conserves=set(_TOKENS) - _LOST,
    ),
    *rows_of(
        "a change of an image's shape, with an activation",
        {name: over(lambda: nn.Conv2d(4, 4, 1), act, IMAGE) for name, act in _IMAGES.items()},
        normal(IMAGE),
        conserves=set(_IMAGES) - _LOST,
    ),
    *(
        Entry(name, over(stem, F.relu, shape), normal(shape), "a convolution", conserves=True)
        for name, (stem, shape) in _CONVS.items()
    ),
    Entry("class token", Tokenised, normal(TOKENS), "a constant expanded to the batch"),
]
