"""How LRP hands relevance through a layer: the rules, and ready-made sets of them.

A rule is set on a module, `model.conv1.rule = GammaRule(0.25)`, or for a place in the model,
`LRP(model, rules=[(nn.Conv2d, GammaRule(0.25))])`. With z the layer's output, W its weights, x its
input, and ⁺ and ⁻ the positive and negative parts, all of them have the form

    R_in = Σ_G  x_G ⊙ Wᵀ_G (k_G R / (z_G + ε sign z_G))

over groups G of inputs and weights; the classes say which.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from captum._engine.errors import describe, wrong
from captum._engine.rules.operation import Operation
from captum._engine.rules.primitives import scale
from captum._engine.rules.relevance import gated, kept_share, stabilised
from captum._engine.rules.relevance_mode import Linear

__all__ = [
    "Addition_Module",
    "Alpha1_Beta0_Rule",
    "AlphaBetaRule",
    "ConstantRule",
    "EpsilonRule",
    "FlatRule",
    "GammaRule",
    "GateRule",
    "IdentityRule",
    "PropagationRule",
    "WSquareRule",
    "ZBoxRule",
    "ZPlusRule",
    "cp_lrp",
    "epsilon_alpha2_beta1",
    "epsilon_gamma_box",
    "epsilon_plus",
    "epsilon_plus_flat",
]

# Below this, a stabiliser is lost in rounding: the backward pass carries R / z, and never divides.
_NEGLIGIBLE = 1e-8


class PropagationRule:
    """The base: relevance in proportion to x ⊙ W, with weights that a subclass may change.

    A subclass says how: either `surrogate`, which builds what the layer is to autograd, or
    `_manipulate_weights(module, inputs, outputs)`, which assigns other weights to the module that
    it gets. That is a copy: the model's own weights are never touched.
    """

    STABILITY_FACTOR = 1e-9
    whole = False  # whether the rule looks at nothing but what goes in and comes out
    manipulates = False  # whether a subclass changes the weights of the module that it gets
    fills = False  # whether entries that are zero get relevance too

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.manipulates = cls._manipulate_weights is not PropagationRule._manipulate_weights

    def surrogate(self, linear: Linear) -> Tensor | None:
        """What the layer is to autograd: its gradient, times R / z, is what relevance goes by."""
        weight, bias = self._changed(linear)
        z = linear(linear.x, weight, bias)
        return z * self.share(linear.value, z)

    def through(self, op: Operation) -> Any:
        """An operation that is not linear: its gradient, stabilised."""
        z = op.value()
        if self.STABILITY_FACTOR <= _NEGLIGIBLE or not isinstance(z, Tensor):
            return op.claim(op.run())
        y = op.claim(op.run())
        return scale(z, y, self.share(z, y))

    def share(self, value: Tensor, z: Tensor) -> Tensor:
        """value / (z + ε sign z), a constant."""
        return (value / stabilised(z, self.STABILITY_FACTOR)).detach()

    def _changed(self, linear: Linear) -> tuple[Tensor, Tensor | None]:
        module = linear.module
        if not self.manipulates or module is None:
            return linear.weight, linear.bias
        kind: Any = type_before_parametrizations(module)
        own: nn.Module = kind.__new__(kind)
        own.__dict__.update(module.__dict__)
        own._parameters = {
            name: None if p is None else nn.Parameter(p.clone(), requires_grad=False)
            for name, p in (("weight", linear.weight), ("bias", linear.bias))
        }
        self._manipulate_weights(own, (linear.x.detach(),), linear.value.detach())
        bias = own._parameters.get("bias")
        weight = own._parameters["weight"]
        assert weight is not None  # a linear map has one
        return weight.detach(), None if bias is None else bias.detach()

    def _manipulate_weights(
        self, module: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor
    ) -> None:
        """For a subclass: assign `module.weight.data` and `module.bias.data`."""

    # The published package hangs its rules on hooks of these names. Nothing is hooked here; they
    # stay for subclasses that call them by super().

    def forward_hook(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        """Does nothing: rules are part of the pass."""

    def forward_hook_weights(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        """Changes a module's weights, as `_manipulate_weights` does."""
        self._manipulate_weights(module, inputs, outputs)

    def forward_pre_hook_activations(self, module: nn.Module, inputs: Any) -> Any:
        """Returns the inputs: they are the model's own in any case."""
        return inputs

    @staticmethod
    def backward_hook_activation(module: nn.Module, grad_input: Any, grad_output: Any) -> Any:
        """Returns the output's relevance: it passes an activation unchanged."""
        return grad_output


class EpsilonRule(PropagationRule):
    r"""R_in = x ⊙ Wᵀ (R / (z + ε sign z)), where z includes the bias.

    With the default ε this is LRP-0. For middle layers.

    >>> import torch
    >>> from captum.attr import LRP
    >>> from captum.attr.lrp_rules import EpsilonRule
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> model.rule = EpsilonRule(1e-6)
    >>> x = torch.ones(1, 2)
    >>> torch.allclose(LRP(model).attribute(x), x * model.weight, atol=1e-4)
    True
    """

    def __init__(self, epsilon: float = 1e-9) -> None:
        self.STABILITY_FACTOR = epsilon

    def surrogate(self, linear: Linear) -> Tensor | None:
        if self.STABILITY_FACTOR <= _NEGLIGIBLE:
            return None
        return super().surrogate(linear)


class GammaRule(PropagationRule):
    r"""As ε with the weights W + γ W⁺: positive contributions count for more. For lower layers.

    Args:
        gamma: γ.
        set_bias_to_zero: leave the bias out of z.
        signed: the rule for inputs of either sign: negative inputs meet W + γ W⁻ where the output
            is positive, and the other way round where it is negative. The default takes the same
            weights for all, and the bias as it is, as the published package does.
        epsilon: ε.
    """

    def __init__(
        self,
        gamma: float = 0.25,
        set_bias_to_zero: bool = False,
        *,
        signed: bool = False,
        epsilon: float = 1e-9,
    ) -> None:
        self.gamma, self.set_bias_to_zero, self.signed = gamma, set_bias_to_zero, signed
        self.STABILITY_FACTOR = epsilon

    def surrogate(self, linear: Linear) -> Tensor | None:
        g, weight = self.gamma, linear.weight
        bias = None if self.set_bias_to_zero else linear.bias
        up = weight + g * weight.clamp(min=0)
        if not self.signed:
            z = linear(linear.x, up, bias)
            return z * self.share(linear.value, z)
        down = weight + g * weight.clamp(max=0)
        high = None if bias is None else bias + g * bias.clamp(min=0)
        low = None if bias is None else bias + g * bias.clamp(max=0)
        positive, negative = linear.x.clamp(min=0), linear.x.clamp(max=0)
        z1 = linear(positive, up, high) + linear(negative, down, None)
        z2 = linear(positive, down, low) + linear(negative, up, None)
        value = linear.value
        above, below = self.share(value.clamp(min=0), z1), self.share(value.clamp(max=0), z2)
        return z1 * above + z2 * below


class Alpha1_Beta0_Rule(PropagationRule):  # noqa: N801 - the published name
    r"""As ε with the weights W⁺ alone, and the bias as it is.

    For layers whose inputs are not negative; `ZPlusRule` is for any.

    Args:
        set_bias_to_zero: leave the bias out of z.
    """

    def __init__(self, set_bias_to_zero: bool = False) -> None:
        self.set_bias_to_zero = set_bias_to_zero

    def surrogate(self, linear: Linear) -> Tensor | None:
        bias = None if self.set_bias_to_zero else linear.bias
        z = linear(linear.x, linear.weight.clamp(min=0), bias)
        return z * self.share(linear.value, z)


class AlphaBetaRule(PropagationRule):
    r"""R_in = α × the share of what excites − β × the share of what inhibits, with α − β = 1.

    What excites is x⁺ W⁺ + x⁻ W⁻ + b⁺, what inhibits x⁺ W⁻ + x⁻ W⁺ + b⁻.

    Args:
        alpha, beta: α and β.
        epsilon: ε.
    """

    def __init__(self, alpha: float = 2.0, beta: float = 1.0, epsilon: float = 1e-9) -> None:
        if abs(alpha - beta - 1) > 1e-6 or beta < 0:
            raise wrong(
                ValueError,
                "alpha - beta = 1 with beta of at least 0, which conserves relevance",
                f"alpha={alpha}, beta={beta}",
                "AlphaBetaRule(alpha=2, beta=1)",
            )
        self.alpha, self.beta, self.STABILITY_FACTOR = alpha, beta, epsilon

    def surrogate(self, linear: Linear) -> Tensor | None:
        x, w, b = linear.x, linear.weight, linear.bias
        plus, minus = w.clamp(min=0), w.clamp(max=0)
        positive, negative = x.clamp(min=0), x.clamp(max=0)
        b_plus = None if b is None else b.clamp(min=0)
        b_minus = None if b is None else b.clamp(max=0)
        z = linear(positive, plus, b_plus) + linear(negative, minus, None)
        total = self.alpha * z * self.share(linear.value, z)
        if self.beta:
            z = linear(positive, minus, b_minus) + linear(negative, plus, None)
            total = total - self.beta * z * self.share(linear.value, z)
        return total


class ZPlusRule(AlphaBetaRule):
    r"""Only what excites counts: α = 1, β = 0, for inputs of either sign.

    Args:
        epsilon: ε.
    """

    def __init__(self, epsilon: float = 1e-9) -> None:
        super().__init__(1.0, 0.0, epsilon)


class Addition_Module(nn.Module):  # noqa: N801 - the published name
    """x₁ + x₂, for models written for the published package; here `x1 + x2` does as well."""

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return x1 + x2


class _Filling(PropagationRule):
    """Rules that give relevance to zeros too: for the first layer, where zeros are data."""

    fills = True

    def __init__(self, epsilon: float = 1e-9) -> None:
        self.STABILITY_FACTOR = epsilon

    def _unit(self, x: Tensor) -> Tensor:
        """1, with the gradient 1 / x."""
        u = x / filled(x.detach())
        return u + (1 - u).detach()


class WSquareRule(_Filling):
    r"""Relevance in proportion to w²: whatever the input is. For first layers.

    Args:
        epsilon: ε.
    """

    def surrogate(self, linear: Linear) -> Tensor | None:
        z = linear(self._unit(linear.x), linear.weight.square(), None)
        return z * self.share(linear.value, z)


class FlatRule(_Filling):
    r"""Relevance in equal parts over a unit's receptive field. For first layers.

    Args:
        epsilon: ε.
    """

    def surrogate(self, linear: Linear) -> Tensor | None:
        z = linear(self._unit(linear.x), torch.ones_like(linear.weight), None)
        return z * self.share(linear.value, z)


class ZBoxRule(_Filling):
    r"""Relevance in proportion to x W − l W⁺ − h W⁻, for inputs between l and h: pixels.

    Args:
        low, high: the bounds l and h: numbers, or tensors that broadcast against the input.
        epsilon: ε.
    """

    def __init__(self, low: float | Tensor, high: float | Tensor, epsilon: float = 1e-9) -> None:
        super().__init__(epsilon)
        self.low, self.high = low, high

    def surrogate(self, linear: Linear) -> Tensor | None:
        x, w, b = linear.x, linear.weight, linear.bias
        unit, value = self._unit(x), x.detach()
        low, high = (torch.as_tensor(t).to(value).expand_as(value) for t in (self.low, self.high))
        plus, minus = (None, None) if b is None else (b.clamp(min=0), b.clamp(max=0))
        z = linear(unit * value, w, b)
        z = (
            z
            - linear(unit * low, w.clamp(min=0), plus)
            - linear(unit * high, w.clamp(max=0), minus)
        )
        return z * self.share(linear.value, z)


class IdentityRule(EpsilonRule):
    r"""R_in = R: every entry keeps its relevance. For layers with outputs of their inputs' shape.

    The layer then is one operation, whatever happens inside.

    Args:
        epsilon: accepted; relevance that stays in its place needs none.
    """

    whole = True

    def surrogate(self, linear: Linear) -> Tensor | None:
        return self._kept(linear.value, linear.x)

    def through(self, op: Operation) -> Any:
        return op.claim(self._kept(op.value(), op.args[0]))

    def _kept(self, value: Tensor, x: Tensor) -> Tensor:
        if value.shape != x.shape:
            raise wrong(
                ValueError,
                "a layer whose output has its input's shape, for IdentityRule",
                f"{describe(x)} that becomes {describe(value)}",
                "EpsilonRule()",
            )
        return scale(value.clone(), x, kept_share(value, x))


class ConstantRule(PropagationRule):
    r"""R_in = 0: the operation is taken as a constant, as attention weights are in CP-LRP."""

    whole = True

    def surrogate(self, linear: Linear) -> Tensor | None:
        return linear.value + 0 * linear.x.sum()

    def through(self, op: Operation) -> Any:
        op.mode.ended.add(op.name)
        return op.value()


class GateRule(PropagationRule):
    r"""In a product with an activation, as of a gated layer, the activation is a constant."""

    def through(self, op: Operation) -> Any:
        return gated(op)


def filled(x: Tensor) -> Tensor:
    """x with zeros replaced by a number so small that only rules for zeros notice."""
    tiny = torch.finfo(x.dtype).tiny ** 0.5
    return torch.where(x.abs() < tiny, tiny, x)


# ------------------------------------------------------------------------------------- composites

Composite = list[tuple[Any, PropagationRule]]


def epsilon_plus(epsilon: float = 1e-6) -> Composite:
    """z⁺ for convolutions, ε for linear layers."""
    return [*_convolutions(ZPlusRule(epsilon)), ("*", EpsilonRule(epsilon))]


def epsilon_plus_flat(epsilon: float = 1e-6) -> Composite:
    """The same, with the flat rule at the first layer."""
    return [(0, FlatRule(epsilon)), *epsilon_plus(epsilon)]


def epsilon_alpha2_beta1(epsilon: float = 1e-6) -> Composite:
    """α = 2, β = 1 for convolutions, ε for linear layers."""
    return [*_convolutions(AlphaBetaRule(2, 1, epsilon)), ("*", EpsilonRule(epsilon))]


def epsilon_gamma_box(
    low: float | Tensor, high: float | Tensor, gamma: float = 0.25, epsilon: float = 1e-6
) -> Composite:
    """z-box for pixels between low and high, γ for convolutions, ε for linear layers."""
    convolutions = _convolutions(GammaRule(gamma, signed=True, epsilon=epsilon))
    return [(0, ZBoxRule(low, high, epsilon)), *convolutions, ("*", EpsilonRule(epsilon))]


def cp_lrp(epsilon: float = 1e-9) -> Composite:
    """For transformers, ε with constant attention weights, and constant gates in gated layers.

    It conserves where AttnLRP does not.

    Paper: Ali et al., XAI for transformers: better explanations through conservative propagation
    (2022).
    """
    return [("softmax", ConstantRule()), ("mul", GateRule()), ("*", EpsilonRule(epsilon))]


def _convolutions(rule: PropagationRule) -> Composite:
    return [(f"conv{t}{n}d", rule) for n in "123" for t in ("", "_transpose")]
