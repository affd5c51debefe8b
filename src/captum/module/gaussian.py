"""Gates that are drawn from a Gaussian."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from captum._engine.errors import wrong
from captum.module.gates import StochasticGatesBase, precise


class GaussianStochasticGates(StochasticGatesBase):
    r"""Gates z = μ + σ ε, ε from N(0, 1).

    P(z > 0) = Φ(μ / σ); in eval mode z = μ. What lies below 0 is shut and what lies above 1 is
    open; μ is learned by gradients all the same.

    Paper: Yamada, Lindenbaum, Negahban, Kluger, Feature selection using stochastic gates (2020),
    https://arxiv.org/abs/1810.04247.

    Args:
        n_gates: how many gates, G.
        mask: integers 0 to G - 1, which gate each element has; broadcastable to the inputs
            (N, *F). Without, every element of an example has its own.
        reg_weight: λ, the price of an open gate.
        std: σ, above 0; it is not learned.
        reg_reduction: of the prices of all gates: sum, mean or none.

    Raises:
        ValueError: gates, a mask or a standard deviation that make no sense.

    >>> import torch
    >>> from captum.module import GaussianStochasticGates
    >>> gates = GaussianStochasticGates(3, reg_weight=0.1)
    >>> gates.load_state_dict({"mu": torch.tensor([-1.0, 0.5, 2.0])})
    <All keys matched successfully>
    >>> gates.get_gate_active_probs()
    tensor([0.0228, 0.8413, 1.0000])
    >>> gated, price = gates.eval()(torch.tensor([[4.0, 4.0, 4.0]]))
    >>> gated.tolist(), round(price.item(), 4)
    ([[0.0, 2.0, 4.0]], 0.1864)
    """

    def __init__(
        self,
        n_gates: int,
        mask: Tensor | None = None,
        reg_weight: float = 1.0,
        std: float = 0.5,
        reg_reduction: str = "sum",
    ) -> None:
        super().__init__(n_gates, mask, reg_weight, reg_reduction)
        if not 0 < std < math.inf:
            raise wrong(ValueError, "a finite std above 0", f"std={std!r}", "std=0.5")
        self.std = std
        self.mu = nn.Parameter(torch.empty(n_gates).normal_(0.5, 0.01))

    def _sample_gate_values(self, batch_size: int) -> Tensor:
        # In float32 whatever the parameter is: a seed opens the same gates in every dtype.
        noise = torch.randn(batch_size, self.n_gates, dtype=torch.float32, device=self.mu.device)
        return self.mu + self.std * noise

    def _get_gate_values(self) -> Tensor:
        return precise(self.mu)

    def _get_gate_active_probs(self) -> Tensor:
        chances: Tensor = torch.special.ndtr(precise(self.mu) / self.std)
        return chances
