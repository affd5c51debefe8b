"""Products, quotients and softmaxes of values that all depend on the input."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rules.entry import Between, Entry, Over, normal, rows_of

TOKENS = (3, 4)

# Of two halves (N, 3) each.
_PAIRS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mul": lambda a, b: a * b,
    "torch.mul": torch.mul,
    "mul_": lambda a, b: a.clone().mul_(b),
    "a sigmoid gate": lambda a, b: a * torch.sigmoid(b),
    "a gate in place": lambda a, b: b.clone().sigmoid_() * a.clone().mul_(2),
    "SwiGLU": lambda a, b: F.silu(a) * b,
    "GeGLU": lambda a, b: F.gelu(a) * b,
    "a ReLU gate": lambda a, b: a.relu() * b,
    "squared": lambda a, b: a * a + b,
    "three factors": lambda a, b: a * b * (a + b),
    "div": lambda a, b: a / (b.exp() + 0.5),
    "torch.div": lambda a, b: torch.div(a, b * b + 0.5),
    "/=": lambda a, b: a.clone().div_(b.exp() + 0.5),
    "pow of two": lambda a, b: (a.exp() + 0.2) ** b,
    "float_power": lambda a, b: a.exp().pow(b.sigmoid()),
    "addcmul": lambda a, b: torch.addcmul(a, b, a.tanh(), value=0.5),
    "addcmul_": lambda a, b: a.clone().addcmul_(b, a.tanh()),
    "addcdiv": lambda a, b: torch.addcdiv(a, b, a.exp() + 0.5, value=2),
    "lerp": lambda a, b: torch.lerp(a, b, 0.3),
    "lerp by a live weight": lambda a, b: torch.lerp(a, b, torch.sigmoid(a - b)),
    "hypot": lambda a, b: (a * a + b * b).sqrt(),
    "atan of a quotient": lambda a, b: torch.atan(a / (b.exp() + 0.5)),
    "where by the other": lambda a, b: torch.where(b > 0, a, b),
    "where of their order": lambda a, b: torch.where(a > b, a, 2 * b),
    "mask of the other": lambda a, b: a * (b > 0),
    "a Hadamard power": lambda a, b: (a * b).pow(2) - b,
    "bilinear of two": lambda a, b: F.bilinear(a, b, torch.ones(3, 3, 3, dtype=a.dtype).tril()),
    "einsum of two": lambda a, b: torch.einsum("ni,nj->nij", a, b).sum(2),
    "outer by broadcasting": lambda a, b: (a[:, :, None] * b[:, None, :]).amax(2),
    "inner by einsum": lambda a, b: torch.einsum("ni,ni->n", a, b)[:, None] * a,
    "cross": lambda a, b: torch.stack(
        [a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1], a[:, 0] * b[:, 1], b[:, 2] * b[:, 0]], 1
    ),
    "cosine similarity": lambda a, b: F.cosine_similarity(a, b)[:, None].expand(-1, 3),
    "nn.CosineSimilarity": lambda a, b: nn.CosineSimilarity(0)(a.T, b.T)[:, None] + a,
    "distance": lambda a, b: torch.stack([(a - b).norm(dim=1), a.norm(dim=1), b.sum(1)], 1),
    "distance of p = 1": lambda a, b: (a - b).abs().cumsum(1),
    "mse": lambda a, b: F.mse_loss(a, b, reduction="none"),
    "huber": lambda a, b: F.smooth_l1_loss(a, b, reduction="none", beta=0.3),
}
# A sum of parts that each are a product of two, or homogeneous: f(x) goes on in full.
_CONSERVING_PAIRS = {
    *("mul", "torch.mul", "mul_", "SwiGLU", "GeGLU", "a ReLU gate", "squared", "three factors"),
    *("lerp", "einsum of two", "bilinear of two", "mask of the other"),
}

# Of tokens (N, 3, 4).
_TOKENS: dict[str, Callable[[Tensor], Tensor]] = {
    "matmul of two": lambda h: h @ h.transpose(1, 2).tanh(),
    "gram": lambda h: h @ h.mT,
    "bmm": lambda h: torch.bmm(h.transpose(1, 2), h.relu()),
    "torch.matmul with a vector": lambda h: torch.matmul(h, h[:, 0, :, None]).squeeze(-1),
    "baddbmm": lambda h: torch.baddbmm(h[:, :, :3], h, h.mT, beta=0.5, alpha=0.3),
    "einsum of tokens": lambda h: torch.einsum("nid,njd->nij", h, h.sin()),
    "einsum with a transposed": lambda h: torch.einsum("...id,...jd->...ji", h, h.relu()),
    "einsum of one": lambda h: torch.einsum("nij->nji", h).relu(),
    "F.linear with a live weight": lambda h: torch.stack([F.linear(g, g[:2].sin()) for g in h]),
    "conv with live kernels": lambda h: F.conv1d(
        h.reshape(1, -1, 4), h.tanh().reshape(-1, 1, 4)[:, :, :2], groups=h.shape[0] * h.shape[1]
    ).view(h.shape[0], -1),
    "softmax": lambda h: h.softmax(-1),
    "softmax of the middle axis": lambda h: torch.softmax(h * 3, dim=1),
    "F.softmax": lambda h: F.softmax(h, dim=2),
    "nn.Softmax": nn.Softmax(dim=-1),
    "softmin": lambda h: F.softmin(h, dim=-1),
    "softmax written out": lambda h: h.exp() / h.exp().sum(-1, keepdim=True),
    "softmax written out, stable": lambda h: (
        (e := (h - h.amax(-1, keepdim=True)).exp()) / e.sum(-1, keepdim=True)
    ),
    "softmax with temperature": lambda h: torch.softmax(h / h.std(-1, keepdim=True), -1),
    "softmax of a mask with -inf": lambda h: h.masked_fill(
        torch.tensor([False, True, False, False]), float("-inf")
    ).softmax(-1),
    "softmax plus a mask": lambda h: (h + torch.tensor([0, -torch.inf, 0, -1e9])).softmax(-1),
    "log_softmax": lambda h: h.log_softmax(-1),
    "log of softmax": lambda h: h.softmax(-1).log(),
    "nn.LogSoftmax": nn.LogSoftmax(1),
    "logsumexp of tokens": lambda h: h.logsumexp(1),
    "logsumexp kept": lambda h: h - torch.logsumexp(h, dim=(1, 2), keepdim=True),
    "entropy": lambda h: -(h.softmax(-1) * h.log_softmax(-1)).sum(-1),
    "cross entropy": lambda h: F.cross_entropy(
        h.transpose(1, 2), torch.zeros(h.shape[0], 3, dtype=torch.long), reduction="none"
    ),
    "nll of log_softmax": lambda h: F.nll_loss(
        h.log_softmax(-1).flatten(0, 1), torch.ones(h[..., 0].numel()).long(), reduction="none"
    ).view(h.shape[0], 3),
    "binary cross entropy": lambda h: F.binary_cross_entropy_with_logits(
        h, torch.ones_like(h), reduction="none"
    ),
    "variance": lambda h: h.var(-1),
    "standard deviation": lambda h: torch.std(h, dim=1),
    "norm": lambda h: h.norm(dim=-1),
    "norm of p = 1": lambda h: h.norm(p=1, dim=-1),
    "norm of p = inf": lambda h: torch.linalg.vector_norm(h, float("inf"), dim=-1),
    "Frobenius norm": lambda h: torch.linalg.matrix_norm(h)[:, None] * h[:, 0],
    "mean of squares": lambda h: h.square().mean(-1),
    "cumsum": lambda h: h.cumsum(1).relu(),
    "prod": lambda h: h.prod(-1),
    "prod of an odd number, kept": lambda h: torch.prod(h, dim=1, keepdim=True) * 2,
}
_CONSERVING_TOKENS = {
    *("matmul of two", "gram", "bmm", "torch.matmul with a vector", "einsum of tokens"),
    *("einsum with a transposed", "einsum of one", "mean of squares", "cumsum"),
    *("prod", "prod of an odd number, kept"),
    *("F.linear with a live weight", "conv with live kernels"),
}


class Excited(nn.Module):
    """Squeeze and excitation: channels scaled by what their means say."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.down, self.up = nn.Linear(4, 2), nn.Linear(2, 4)
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.conv(x))
        scale = torch.sigmoid(self.up(F.relu(self.down(h.mean((2, 3))))))
        return self.last((h * scale[:, :, None, None]).mean((2, 3)))


class Two(nn.Module):
    """nn.Bilinear of two inputs, and of one with itself."""

    def __init__(self) -> None:
        super().__init__()
        self.join = nn.Bilinear(4, 5, 6)
        self.again = nn.Bilinear(6, 6, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.join(x, y).tanh()
        return self.again(h, h)


def of_halves(act: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: Between(lambda h: act(*h.chunk(2, dim=1)), out=3)


def of_tokens(act: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: Over(nn.Linear(4, 4), act, TOKENS)


PRODUCTS: list[Entry] = [
    *rows_of(
        "two live operands",
        {name: of_halves(act) for name, act in _PAIRS.items()},
        normal((4,)),
        conserves=_CONSERVING_PAIRS,
        linear={"lerp"},
    ),
    *rows_of(
        "tokens that meet",
        {name: of_tokens(act) for name, act in _TOKENS.items()},
        normal(TOKENS),
        conserves=_CONSERVING_TOKENS,
    ),
    *rows_of(
        "a gate",
        {
            "nn.GLU": lambda: Between(nn.GLU(), out=3),
            "F.glu": lambda: Between(lambda h: F.glu(h, dim=-1), out=3),
        },
        normal((4,)),
    ),
    Entry("squeeze-excite", Excited, normal((2, 4, 4)), "a gate of channels"),
    Entry("nn.Bilinear", Two, normal((4,), (5,)), "two inputs that are multiplied"),
]
