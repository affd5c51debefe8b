"""What readers of the rules have found wrong once, each in as few lines as show it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum._engine.evaluate import Engine
from captum.attr import (
    LRP,
    DeepLift,
    DeepLiftShap,
    GuidedBackprop,
    LayerDeepLiftShap,
    LayerLRP,
    elementwise,
)
from captum.attr.lrp_rules import (
    EpsilonRule,
    FlatRule,
    GammaRule,
    GateRule,
    cp_lrp,
    epsilon_plus,
)

W = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def drawn(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def close(a: Any, b: Any, atol: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, atol=atol, rtol=1e-9)


def normed(*layers: nn.Module, seed: int = 0) -> nn.Sequential:
    """A net whose batch norms have something to say."""
    torch.manual_seed(seed)
    net = nn.Sequential(*layers).double().eval()
    for module in net:
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.normal_()
            module.bias.data.normal_()
    return net


# ------------------------------------------------------------------------------------ DeepLIFT


def _in_place_on_a_view(x: Tensor) -> Tensor:
    h = x @ W
    h.view(-1).mul_(2.0)
    return torch.tanh(h).sum(1)


def _held_view(x: Tensor) -> Tensor:
    h = x @ W
    held = h.diagonal()
    held.mul_(3.0)
    return torch.tanh(h).sum(1)


def _one_row(x: Tensor) -> Tensor:
    h = x @ W
    h[0].zero_()
    return torch.tanh(h).sum(1)


def _one_column(x: Tensor) -> Tensor:
    h = x @ W
    h.T[:, 0] = 0
    return torch.tanh(h).sum(1)


def _row_by_row(x: Tensor) -> Tensor:
    return torch.tanh((x @ W).fill_diagonal_(0.0)).sum(1)


@pytest.mark.parametrize(
    "model",
    [_in_place_on_a_view, _held_view, _one_row, _one_column, _row_by_row],
    ids=lambda f: f.__name__,
)
def test_a_shared_row_is_written_to_for_all_or_not_shared(model: Callable[..., Tensor]) -> None:
    x, b = drawn(4, 4), drawn(1, 4, seed=2)
    close(DeepLift(model).attribute(x, b).sum(1), model(x) - model(b.expand(4, 4)))


def test_a_layer_with_more_baselines_than_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "fits", lambda *_: False)  # so that the baselines run
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    x, rows = drawn(2, 4), drawn(7, 4, seed=2)
    scores = LayerDeepLiftShap(net, net[0]).attribute(x, rows, target=1)
    close(scores.sum(1), (net(x)[:, 1] - net(rows)[:, 1].mean()).detach())
    one_by_one = [DeepLift(net).attribute(x, row[None], target=1) for row in rows]
    close(DeepLiftShap(net).attribute(x, rows, target=1), torch.stack(one_by_one).mean(0))


def test_a_delta_of_a_model_that_views_its_input() -> None:
    def model(x: Tensor) -> Tensor:
        return torch.relu(x.view(-1, 5)).view(len(x), -1).sum(1)

    _, delta = DeepLift(model).attribute(drawn(4, 3, 5), return_convergence_delta=True)
    assert float(delta.abs().max()) < 1e-10


def test_a_running_maximum_from_minus_infinity() -> None:
    def model(x: Tensor) -> Tensor:
        most = torch.full((len(x),), -float("inf"), dtype=x.dtype)
        for t in range(4):
            most = torch.maximum(most, x[:, t])
        return most

    x, b = drawn(3, 4), drawn(3, 4, seed=2)
    close(DeepLift(model).attribute(x, b).sum(1), model(x) - model(b))


def test_an_argument_larger_than_the_input() -> None:
    def model(x: Tensor) -> Tensor:
        return (x ** torch.arange(1.0, 4.0, dtype=x.dtype)).sum(1)

    x = torch.tensor([[1.5]], dtype=torch.float64)
    close(DeepLift(model).attribute(x, x - 1e-6) / 1e-6, torch.full_like(x, 10.75), 1e-4)


def test_norms_of_nothing() -> None:
    zeros = torch.zeros(2, 4, dtype=torch.float64)
    model = lambda x: 10 * x.norm(dim=1) + x.sum(1)  # noqa: E731
    close(DeepLift(model).attribute(zeros, zeros), zeros)


def test_products_of_complex_numbers() -> None:
    def model(x: Tensor) -> Tensor:
        z = torch.fft.rfft(x)
        return (z * z.conj()).real.sum(1)

    x, b = drawn(3, 4), drawn(3, 4, seed=2)
    close(DeepLift(model).attribute(x, b).sum(1), model(x) - model(b))


def test_a_bias_that_depends_on_the_input() -> None:
    model = lambda x: F.linear(x, W, x[0]).tanh().sum(1)  # noqa: E731
    x, b = drawn(1, 4), drawn(1, 4, seed=2)
    close(DeepLift(model).attribute(x, b).sum(1), model(x) - model(b))


# ----------------------------------------------------------------------------------------- LRP


def test_a_report_changes_nothing() -> None:
    net = normed(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    x = drawn(2, 2, 6, 6)
    for rules in ([("*", GammaRule())], epsilon_plus()):
        alone = LRP(net, rules=rules).attribute(x, 0)
        close(LRP(net, rules=rules).attribute(x, 0, return_report=True)[0], alone)


def test_a_norm_is_folded_into_what_it_follows() -> None:
    """Not where something happened in between, in place or not."""
    x = drawn(2, 2, 6, 6)
    nets = [
        normed(nn.Conv2d(2, 3, 3), nn.ReLU(inplace), nn.BatchNorm2d(3), nn.Flatten())
        for inplace in (True, False)
    ]
    nets[1].load_state_dict(nets[0].state_dict())
    scores = [LRP(net, rules=epsilon_plus()).attribute(x, 5) for net in nets]
    close(*scores)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_norm_behind_a_transposed_convolution(groups: int) -> None:
    conv = nn.ConvTranspose2d(4, 6, 2, groups=groups)
    net = normed(conv, nn.BatchNorm2d(6), nn.Flatten())
    merged = nn.utils.fuse_conv_bn_eval(net[0], net[1], transpose=True) if groups == 1 else None
    x = drawn(2, 4, 3, 3)
    found = LRP(net, rules=[("*", GammaRule())]).attribute(x, 1)
    if merged is not None:
        alone = nn.Sequential(merged, nn.Flatten())
        close(found, LRP(alone, rules=[("*", GammaRule())]).attribute(x, 1))
    else:  # by ε, folded and not are one
        small = LRP(net, rules=[("*", EpsilonRule(2e-8))]).attribute(x, 1)
        close(small, LRP(net).attribute(x, 1), 1e-5)


def test_a_norm_over_another_axis_is_not_folded() -> None:
    net = normed(nn.Linear(5, 3), nn.BatchNorm1d(3), nn.Flatten())
    x = drawn(2, 3, 5)
    small = LRP(net, rules=[("*", EpsilonRule(2e-8))]).attribute(x, 1)
    close(small, LRP(net).attribute(x, 1), 1e-5)


def test_inverses_in_place() -> None:
    def model(x: Tensor, inplace: bool) -> Tensor:
        size = x.square().mean(-1, keepdim=True) + 1e-6
        return (x * (size.rsqrt_() if inplace else size.rsqrt()) @ W).sum(1)

    x = drawn(3, 4)
    close(*(LRP(model).attribute(x, additional_forward_args=i) for i in (True, False)))


def test_a_summand_is_no_factor() -> None:
    x = drawn(3, 4)
    close(LRP(lambda x: torch.addmm(x, x, W).sum(1)).attribute(x).sum(1), (x + x @ W).sum(1))


def test_a_function_written_out_is_that_function() -> None:
    def written(x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.erf(x / 2**0.5))

    x = drawn(3, 4)
    for rules in ([], cp_lrp()):  # nor is it a gate
        close(
            LRP(lambda x: (written(x @ W) @ W).sum(1), rules=rules).attribute(x),
            LRP(lambda x: (F.gelu(x @ W) @ W).sum(1), rules=rules).attribute(x),
        )


def test_a_gate_is_constant() -> None:
    model = lambda x: (F.silu(x @ W) * (x @ W.T)).sum(1)  # noqa: E731
    x = drawn(3, 4)
    held = F.silu(x @ W)
    expected = LRP(lambda x: (held * (x @ W.T)).sum(1)).attribute(x)
    close(LRP(model, rules=[("mul", GateRule())]).attribute(x), expected)


def test_positions_count_from_the_input_at_layers_too() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    x = drawn(2, 3).abs()
    plain = LayerLRP(net, net[0]).attribute(x, 0)
    close(LayerLRP(net, net[0], rules=[(0, FlatRule())]).attribute(x, 0), plain)


def test_a_name_with_two_meanings_is_refused() -> None:
    net = nn.ModuleDict({"linear": nn.Linear(3, 2)})
    with pytest.raises(ValueError, match=r"'linear', which is both"):
        LRP(net, rules=[("linear", GammaRule())])


def test_absorbed_counts_the_passes_that_count() -> None:
    """A layer with time first runs again, whole: what came before does not count."""

    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(torch.relu(self.layer(x.transpose(0, 1))).mean(0))
            return out

    torch.manual_seed(0)
    net, x = Late().double(), drawn(4, 5, 3)
    found = [
        LayerLRP(net, net.layer)
        .attribute(x, 1, return_report=True, internal_batch_size=size)[1]
        .absorbed
        for size in (1, 2, "auto")
    ]
    for each in found[:2]:
        for name, share in found[2].items():
            assert abs(each[name] - share) < 1e-9


# ---------------------------------------------------------------------------------- what is said


def test_a_gradient_inside_the_model_is_refused() -> None:
    def energy(x: Tensor) -> Tensor:
        z = x if x.requires_grad else x.clone().requires_grad_()
        (g,) = torch.autograd.grad(-torch.relu(z).sum(), z, create_graph=True)
        return (x * g).sum(1)

    for kind in (DeepLift, LRP, GuidedBackprop):
        with pytest.raises(ValueError, match=r"grad\(\) of what depends on the inputs"):
            kind(energy).attribute(drawn(2, 3))


def test_a_backward_hook_is_named() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU()).double()
    handle = net[0].register_full_backward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="backward hook on a module"):
        DeepLift(net).attribute(drawn(2, 3), target=0)
    handle.remove()


def test_an_operation_in_place_without_a_rule_is_named() -> None:
    model = lambda x: (x @ W).cumprod_(1).sum(1)  # noqa: E731
    with pytest.warns(UserWarning, match="no rule for cumprod"):
        DeepLift(model).attribute(drawn(2, 4))


def test_another_threads_opaque_modules_are_open() -> None:
    """While one thread treats a module as one operation, another one sees inside."""
    net = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2)).double()
    x, b = drawn(4, 4), drawn(4, 4, seed=2)
    expected = DeepLift(net).attribute(x, b, target=1)
    wrong: list[float] = []

    def explain(method: DeepLift) -> None:
        for _ in range(15):
            found = method.attribute(x, b, target=1)
            wrong.append(float((found - expected).abs().max()))

    methods = [DeepLift(net, rules={nn.GELU: elementwise}), DeepLift(net)]
    threads = [threading.Thread(target=explain, args=(m,)) for m in methods]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 30
    assert max(wrong) < 1e-10
