"""Gates that are drawn from a stretched binary concrete distribution."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from captum._engine.errors import wrong
from captum.module.gates import StochasticGatesBase, precise


class BinaryConcreteStochasticGates(StochasticGatesBase):
    r"""Gates z = γ + (ζ - γ) · sigmoid((log(u / (1 - u)) + log α) / β), u uniform on (0, 1).

    P(z > 0) = sigmoid(log α - β log(-γ / ζ)); in eval mode z = γ + (ζ - γ) · sigmoid(log α).
    As γ < 0 and ζ > 1, a gate is shut or open for good with a chance of its own, and log α is
    learned by gradients all the same.

    Paper: Louizos, Welling, Kingma, Learning sparse neural networks through L0 regularization
    (2018), https://arxiv.org/abs/1712.01312.

    Args:
        n_gates: how many gates, G.
        mask: integers 0 to G - 1, which gate each element has; broadcastable to the inputs
            (N, *F). Without, every element of an example has its own.
        reg_weight: λ, the price of an open gate.
        temperature: β, between 0 and 1: the nearer to 0, the fewer gates are ajar.
        lower_bound: γ, below 0.
        upper_bound: ζ, above 1.
        eps: u is drawn from eps to 1 - eps.
        reg_reduction: of the prices of all gates: sum, mean or none.

    Raises:
        ValueError: gates, a mask or constants of the distribution that make no sense.

    >>> import torch
    >>> from captum.module import BinaryConcreteStochasticGates
    >>> gates = BinaryConcreteStochasticGates(3, reg_weight=0.1)
    >>> gates.load_state_dict({"log_alpha_param": torch.tensor([-9.0, 0.0, 9.0])})
    <All keys matched successfully>
    >>> gates.get_gate_active_probs()
    tensor([6.1002e-04, 8.3182e-01, 9.9998e-01])
    >>> gated, price = gates.eval()(torch.tensor([[4.0, 4.0, 4.0]]))
    >>> gated.tolist(), round(price.item(), 4)
    ([[0.0, 2.0, 4.0]], 0.1832)
    """

    def __init__(
        self,
        n_gates: int,
        mask: Tensor | None = None,
        reg_weight: float = 1.0,
        temperature: float = 2.0 / 3,
        lower_bound: float = -0.1,
        upper_bound: float = 1.1,
        eps: float = 1e-8,
        reg_reduction: str = "sum",
    ) -> None:
        super().__init__(n_gates, mask, reg_weight, reg_reduction)
        for name, value, fits, expected, works in (
            ("temperature", temperature, 0 < temperature < 1, "between 0 and 1", "2 / 3"),
            ("lower_bound", lower_bound, -math.inf < lower_bound < 0, "below 0", "-0.1"),
            ("upper_bound", upper_bound, 1 < upper_bound < math.inf, "above 1", "1.1"),
            ("eps", eps, 0 <= eps < 0.5, "of at least 0 and below 0.5", "1e-8"),
        ):
            if not fits:
                raise wrong(
                    ValueError,
                    f"a finite {name} {expected}",
                    f"{name}={value!r}",
                    f"{name}={works}",
                )
        self.temperature = temperature
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound
        self.eps = eps
        self.log_alpha_param = nn.Parameter(torch.empty(n_gates).normal_(0.0, 0.01))

    def _sample_gate_values(self, batch_size: int) -> Tensor:
        # In float32 whatever the parameter is: a seed opens the same gates in every dtype.
        shape, device = (batch_size, self.n_gates), self.log_alpha_param.device
        u = torch.rand(shape, dtype=torch.float32, device=device)
        noise = u.mul_(1 - 2 * self.eps).add_(self.eps).logit_()
        return self._stretched((noise + self.log_alpha_param) / self.temperature)

    def _get_gate_values(self) -> Tensor:
        return self._stretched(precise(self.log_alpha_param))

    def _get_gate_active_probs(self) -> Tensor:
        shift = self.temperature * math.log(-self.lower_bound / self.upper_bound)
        return torch.sigmoid(precise(self.log_alpha_param) - shift)

    def _stretched(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits) * (self.upper_bound - self.lower_bound) + self.lower_bound
