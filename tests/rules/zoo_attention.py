"""Attention: written out, through the fused kernel, and as torch's modules."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rules.entry import Entry, normal, rows_of

N, T, E, H = 2, 4, 8, 2  # T = 2 N: a sequence-first batch looks like two batches
TOKENS = (T, E)
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
sdpa = F.scaled_dot_product_attention


class Heads(nn.Module):
    """Projections, heads, `attend` of (N, heads, T, d), and back; a context for cross-attention."""

    def __init__(self, attend: Attend, groups: int = H) -> None:
        super().__init__()
        self.attend, self.groups = attend, groups
        size = E // H * groups
        self.q, self.k, self.v = nn.Linear(E, E), nn.Linear(E, size), nn.Linear(E, size)
        self.out, self.last = nn.Linear(E, E), nn.Linear(E, 3)

    def split(self, h: Tensor, heads: int) -> Tensor:
        return h.view(h.size(0), h.size(1), heads, -1).transpose(1, 2)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        other = x if context is None else context
        q = self.split(self.q(x), H)
        k, v = (self.split(f(other), self.groups) for f in (self.k, self.v))
        h = self.attend(q, k, v).transpose(1, 2).contiguous().view(x.size(0), -1, E)
        return self.last((x + self.out(h)).mean(1))


def written(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))).softmax(-1) @ v


def written_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.mT * 0.5
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v


def written_in_place(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.matmul(q, k.mT)
    scores /= 2
    scores += torch.arange(T, dtype=q.dtype)
    return torch.matmul(F.dropout(scores.softmax(-1), 0.1, training=False), v)


def written_einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.einsum("nhij,nhjd->nhid", torch.einsum("nhid,nhjd->nhij", q, k).softmax(-1), v)


def in_float32(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The softmax in float32, as the language models have it."""
    weights = F.softmax(q @ k.mT, dim=-1, dtype=torch.float32).to(q.dtype)
    return weights @ v


def kernelised(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Linear attention: no softmax, a quotient of sums."""
    q, k = F.elu(q) + 1, F.elu(k) + 1
    return q @ (k.mT @ v) / (q @ k.sum(-2).unsqueeze(-1))


_SEEN = torch.tensor([True, True, False, True])
_ATTENDS: dict[str, Attend] = {
    "attention written out": written,
    "causal attention written out": written_causal,
    "attention written in place": written_in_place,
    "attention by einsum": written_einsum,
    "linear attention": kernelised,
    "sdpa": sdpa,
    "sdpa causal": lambda q, k, v: sdpa(q, k, v, is_causal=True),
    "sdpa with scale": lambda q, k, v: sdpa(q, k, v, scale=0.7),
    "sdpa with a bool mask": lambda q, k, v: sdpa(q, k, v, attn_mask=_SEEN.expand(T, T)),
    "sdpa with a float mask": lambda q, k, v: sdpa(
        q, k, v, attn_mask=torch.linspace(-2, 2, T * T, dtype=q.dtype).view(T, T)
    ),
    "sdpa with -inf in its mask": lambda q, k, v: sdpa(
        q, k, v, attn_mask=torch.zeros(T, T, dtype=q.dtype).masked_fill(~_SEEN, -torch.inf)
    ),
    "sdpa with a live mask": lambda q, k, v: sdpa(q, k, v, attn_mask=(q @ k.mT).tanh()),
    "sdpa of three axes": lambda q, k, v: sdpa(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)),
}


def repeated(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return sdpa(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1))


class Multi(nn.Module):
    """nn.MultiheadAttention between linear maps; `more` goes to its call."""

    def __init__(self, batch_first: bool = True, cross: bool = False, **more: object) -> None:
        super().__init__()
        self.more, self.batch_first, self.cross = more, batch_first, cross
        sizes = {"kdim": 6, "vdim": 5} if cross else {}
        self.attention = nn.MultiheadAttention(E, H, batch_first=batch_first, **sizes)
        self.last = nn.Linear(E, 3)

    def forward(self, x: Tensor) -> Tensor:
        if not self.batch_first:
            x = x.transpose(0, 1)
        others = (x[..., :6].tanh(), x[..., 3:]) if self.cross else (x, x)
        h, weights = self.attention(x, *others, **self.more)
        out = self.last(h + x).mean(1 if self.batch_first else 0)
        return out if weights is None else out + weights.flatten(1)[:, :3]


def multi(**options: object) -> Callable[[], nn.Module]:
    return lambda: Multi(**options)


class Encoded(nn.Module):
    """A torch encoder between (N, T, E) and a mean over the tokens."""

    def __init__(self, layers: int, masked: bool = False, **options: object) -> None:
        super().__init__()
        self.first = bool(options.get("batch_first", False))
        self.masked = masked
        layer = nn.TransformerEncoderLayer(E, H, 12, **options)
        # Nested tensors are for padded batches in no_grad alone; torch warns where it drops them.
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.last = nn.Linear(E, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.first else x.permute(1, 0, 2)
        mask = nn.Transformer.generate_square_subsequent_mask(T, dtype=x.dtype)
        h = self.encoder(x, mask=mask if self.masked else None)
        return self.last(h.mean(1 if self.first else 0))


class Layer(nn.Module):
    """One nn.TransformerEncoderLayer, with or without padding."""

    def __init__(self, padded: bool = False, **options: object) -> None:
        super().__init__()
        self.padded, self.first = padded, bool(options.get("batch_first", False))
        self.layer = nn.TransformerEncoderLayer(E, H, 12, **options)
        self.last = nn.Linear(E, 3)

    def forward(self, x: Tensor) -> Tensor:
        padding = ~_SEEN.expand(x.shape[0], T) if self.padded else None
        x = x if self.first else x.transpose(0, 1)
        h = self.layer(x, src_key_padding_mask=padding)
        return self.last(h[:, 0] if self.first else h[0])


class Decoded(nn.Module):
    """nn.TransformerDecoder, or all of nn.Transformer, of two inputs."""

    def __init__(self, whole: bool, batch_first: bool) -> None:
        super().__init__()
        self.first, self.whole = batch_first, whole
        if whole:
            layer = nn.TransformerEncoderLayer(E, H, 12, batch_first=batch_first)
            encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
            self.model = nn.Transformer(
                E, H, 1, 1, 12, batch_first=batch_first, custom_encoder=encoder
            )
        else:
            layer = nn.TransformerDecoderLayer(E, H, 12, activation="gelu", batch_first=batch_first)
            self.model = nn.TransformerDecoder(layer, 2)
        self.last = nn.Linear(E, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        if not self.first:
            x, y = x.transpose(0, 1), y.transpose(0, 1)
        mask = nn.Transformer.generate_square_subsequent_mask(3, dtype=x.dtype)
        h = self.model(x, y, tgt_mask=mask) if self.whole else self.model(y, x, tgt_mask=mask)
        return self.last(h[:, -1] if self.first else h[-1])


_ENCODERS: dict[str, Callable[[], nn.Module]] = {
    "encoder layer": lambda: Layer(batch_first=True),
    "encoder layer, sequence first": Layer,
    "encoder layer, padded": lambda: Layer(padded=True, batch_first=True),
    "encoder layer, padded, sequence first": lambda: Layer(padded=True),
    "encoder layer, norm first": lambda: Layer(norm_first=True, batch_first=True),
    "encoder layer, gelu": lambda: Layer(activation=F.gelu, batch_first=True),
    "encoder layer, without bias": lambda: Layer(bias=False, batch_first=True),
    "encoder": lambda: Encoded(2, batch_first=True),
    "encoder, sequence first": lambda: Encoded(2),
    "encoder, causal, sequence first": lambda: Encoded(1, masked=True),
    "encoder, norm first, causal": lambda: Encoded(2, True, norm_first=True, batch_first=True),
}
_MULTI: dict[str, Callable[[], nn.Module]] = {
    "MultiheadAttention": multi(),
    "MultiheadAttention without weights": multi(need_weights=False),
    "MultiheadAttention, weights of heads": multi(average_attn_weights=False),
    "MultiheadAttention, sequence first": multi(batch_first=False, need_weights=False),
    "MultiheadAttention, sequence first, weights": multi(batch_first=False, need_weights=True),
    "MultiheadAttention across": multi(cross=True),
    "MultiheadAttention across, sequence first": multi(cross=True, batch_first=False),
    "MultiheadAttention, masked": multi(
        need_weights=False, attn_mask=torch.ones(T, T, dtype=torch.bool).triu(1)
    ),
}

ATTENTION: list[Entry] = [
    *rows_of(
        "self-attention",
        {name: lambda attend=attend: Heads(attend) for name, attend in _ATTENDS.items()},
        normal(TOKENS),
        rows=N,
    ),
    *rows_of(
        "self-attention whose softmax is in float32",
        {"attention with a softmax in float32": lambda: Heads(in_float32)},
        normal(TOKENS),
        close=1e-5,
    ),
    *rows_of(
        "cross-attention of two inputs",
        {"attention across": lambda: Heads(written), "sdpa across": lambda: Heads(sdpa)},
        normal(TOKENS, (3, E)),
    ),
    *rows_of(
        "grouped queries",
        {
            "sdpa of grouped queries": lambda: Heads(
                lambda q, k, v: sdpa(q, k, v, enable_gqa=True), groups=1
            ),
            "grouped queries, repeated": lambda: Heads(repeated, groups=1),
        },
        normal(TOKENS),
    ),
    *rows_of("nn.MultiheadAttention", _MULTI, normal(TOKENS), rows=N),
    *rows_of("torch's encoder", _ENCODERS, normal(TOKENS), rows=N),
    *rows_of(
        "torch's decoder",
        {
            "decoder": lambda: Decoded(False, True),
            "decoder, sequence first": lambda: Decoded(False, False),
            "nn.Transformer": lambda: Decoded(True, True),
            "nn.Transformer, sequence first": lambda: Decoded(True, False),
        },
        normal(TOKENS, (3, E)),
        rows=N,
    ),
]
