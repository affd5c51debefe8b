"""Models as people write them: in-place operations, modules that run twice, odd row counts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum import attr
from captum._engine.nest import scored
from laws import nets
from laws.compare import assert_same_scores, each
from laws.methods import METHODS, Method, keeping, name_of

_WITH_KINKS = keeping(lambda m: m.kinks)


def seeded(method: Method, *args: Any, **more: Any) -> Any:
    nets.reseed()
    return method.scores(*args, **more)


class Entering(nn.Module):
    """Changes its own argument before it does anything else."""

    def __init__(self, net: nets.Net, enter: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net = net
        self.enter = enter

    def forward(self, x: Tensor) -> Tensor:
        self.enter(x)
        out: Tensor = self.net(x)
        return out


@pytest.mark.parametrize("method", _WITH_KINKS, ids=name_of)
def test_layers_whose_value_is_overwritten(method: Method) -> None:
    """A ReLU in place right behind the layer, and behind the neuron's."""
    x = nets.images()
    wanted = seeded(method, nets.kinked(), x)
    found = seeded(method, nets.kinked(in_place=True), x)
    assert_same_scores(found, wanted, max(1e-12, method.rounds))


def _activations(net: nn.Sequential) -> list[Any]:
    act, at = net[1], attr.Layer(net[1], side="input")
    into = {"target": 1, "attribute_to_layer_input": True}
    return [
        attr.LayerActivation(net, act).attribute(X, attribute_to_layer_input=True),
        attr.Saliency(net, at=at).attribute(X, 1),
        attr.IntegratedGradients(net, at=at).attribute(X, target=1),
        attr.FeatureAblation(net, at=at).attribute(X, target=1),
        attr.LayerGradientXActivation(net, act).attribute(X, **into),
        attr.LayerConductance(net, act).attribute(X, **into),
        attr.InternalInfluence(net, act).attribute(X, **into),
        attr.NeuronGradient(net, act).attribute(X, 1, attribute_to_neuron_input=True),
        attr.DeepLift(net, at=at).attribute(X, target=1),
        attr.LayerDeepLift(net, act).attribute(X, **into),
        attr.NeuronDeepLift(net, act).attribute(X, 1, attribute_to_neuron_input=True),
        attr.LRP(net, at=at).attribute(X, 1),
        attr.LayerLRP(net, act).attribute(X, **into),
        attr.GuidedBackprop(net, at=at).attribute(X, 1),
    ]


def test_a_layer_that_overwrites_its_own_input() -> None:
    """What goes in is what is explained, not what is made of it."""
    first, last = nn.Linear(4, 5).double(), nn.Linear(5, 2).double()
    plain = nn.Sequential(first, nn.ReLU(), last)
    in_place = nn.Sequential(first, nn.ReLU(inplace=True), last)
    assert_same_scores(_activations(in_place), _activations(plain))


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_models_that_overwrite_their_input(method: Method) -> None:
    """The user's tensor is not what they overwrite: `scores` compares it."""
    net, x = method.net(), nets.images()
    found = seeded(method, Entering(net, lambda v: v.mul_(0.5)), x, places=net)

    def halved(v: Tensor) -> Any:
        return net(v * 0.5)

    assert_same_scores(found, seeded(method, halved, x, places=net), 1e-8)


@pytest.mark.parametrize("method", keeping(lambda m: m.asks == "target"), ids=name_of)
def test_several_targets_of_models_that_overwrite_their_input(method: Method) -> None:
    net, x, both = method.net(), nets.images(), attr.Targets(0, 2)
    more = {"n_steps": 20} if "auto" in method.name else {}
    model = Entering(net, lambda v: v.mul_(0.5))
    together = seeded(method, model, x, both, places=net, **more)
    for got, target in zip(together, both, strict=True):
        assert_same_scores(got, seeded(method, model, x, target, places=net, **more), 1e-12)


class Summed(nn.Module):
    """One number for the whole batch."""

    def __init__(self, net: nets.Net, number: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net = net
        self.number = number

    def forward(self, x: Tensor) -> Any:
        return self.number(self.net(x)[:, 1].sum())


# Their scores of a sum over the batch are those of each example's own output.
_ADDITIVE = keeping(
    lambda m: (
        m.asks == "target"
        and not m.perturbs
        and m.name not in ("LayerScoreCam", "IntegratedGradients auto")
    )
)


@pytest.mark.parametrize("method", _ADDITIVE, ids=name_of)
@each("shape", [(), (1,), (1, 1)])
def test_one_number_for_the_batch(method: Method, shape: tuple[int, ...]) -> None:
    net, x = method.net(), nets.images()
    model = Summed(net, lambda total: total.reshape(shape))
    nets.reseed()
    found = method.on(model, places=net).attribute(x, **method.given(x))
    assert_same_scores(found, seeded(method, net, x, 1), 1e-10)


def test_ablation_of_one_number_for_the_batch() -> None:
    """A feature is then absent in all examples at once, and has one score."""
    net, x = nets.smooth(), nets.images()
    model = Summed(net, lambda total: total)
    found = attr.FeatureAblation(model).attribute(x)
    each = attr.FeatureAblation(net).attribute(x, target=1)
    assert_same_scores(found, each.sum(0, keepdim=True))


class Twice(nn.Module):
    """One module, run two times, the second on what the first gave."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(4, 4).double()
        self.head = nn.Linear(4, 3).double()
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.linspace(-0.7, 0.9, p.numel()).view(p.shape).sin())

    def forward(self, x: Tensor) -> Tensor:
        once = torch.tanh(self.cell(x))
        out: Tensor = self.head(torch.tanh(self.cell(once)) + once)
        return out


class Unrolled(Twice):
    """The same with two modules, to be seen one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Linear(4, 4).double()
        self.again.load_state_dict(self.cell.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        once = torch.tanh(self.cell(x))
        out: Tensor = self.head(torch.tanh(self.again(once)) + once)
        return out


_REPEATED: dict[str, Callable[[nn.Module, Any], Any]] = {
    "activation": lambda m, at: attr.LayerActivation(m, at).attribute(X),
    "gradient": lambda m, at: attr.LayerGradientXActivation(m, at).attribute(X, 1),
    "gradient shap": lambda m, at: attr.LayerGradientShap(m, at).attribute(
        X, X[:1] * 0, target=1, generator=torch.Generator().manual_seed(0)
    ),
    "internal gradient": lambda m, at: attr.InputXGradient(m, at=at).attribute(X, target=1),
    "layer ig": lambda m, at: attr.LayerIntegratedGradients(m, at).attribute(X, target=1),
    "ablation": lambda m, at: attr.FeatureAblation(m, at=at).attribute(X, target=1),
    "deep lift": lambda m, at: attr.DeepLift(m, at=at).attribute(X, target=1),
    "layer deep lift": lambda m, at: attr.LayerDeepLift(m, at).attribute(X, target=1),
    "lrp": lambda m, at: attr.LRP(m, at=at).attribute(X, target=1),
    "layer lrp": lambda m, at: attr.LayerLRP(m, at).attribute(X, target=1),
}
# What flows through one run while the other is held: their shares add up, so the first has not
# what two modules of a chain have, each looked at alone.
_SHARED: dict[str, Callable[[nn.Module, Any], Any]] = {
    "conductance": lambda m, at: attr.LayerConductance(m, at).attribute(X, target=1),
    "influence": lambda m, at: attr.InternalInfluence(m, at).attribute(X, target=1),
}
X = torch.linspace(-1, 1.5, 12, dtype=torch.float64).view(3, 4).cos()


@pytest.mark.parametrize("name", _REPEATED)
def test_a_module_that_runs_twice_is_as_two_modules(name: str) -> None:
    twice, unrolled = Twice(), Unrolled()
    found = _REPEATED[name](twice, twice.cell)
    wanted = _REPEATED[name](unrolled, [unrolled.cell, unrolled.again])
    assert isinstance(found, list)
    assert len(found) == 2
    assert_same_scores(found, list(wanted))


@pytest.mark.parametrize("name", _SHARED)
def test_the_last_run_has_what_the_last_module_has(name: str) -> None:
    twice, unrolled = Twice(), Unrolled()
    first, last = _SHARED[name](twice, twice.cell)
    wanted = _SHARED[name](unrolled, [unrolled.cell, unrolled.again])
    assert_same_scores(last, wanted[1])
    assert not torch.allclose(first, wanted[0])


_OBSERVED = ["activation", "gradient", "gradient shap", "layer deep lift", "layer lrp"]


@pytest.mark.parametrize("name", [*_SHARED, *_OBSERVED])
def test_layers_of_a_chain_are_as_each_alone(name: str) -> None:
    unrolled, method = Unrolled(), {**_SHARED, **_REPEATED}[name]
    layers = [unrolled.cell, unrolled.again]
    assert_same_scores(method(unrolled, layers), [method(unrolled, layer) for layer in layers])


_COMPLETE: dict[str, Callable[[nn.Module, Any], Any]] = {
    "layer ig": attr.LayerIntegratedGradients,
    "ig": lambda m, at: attr.IntegratedGradients(m, at=at),
    "deep lift": lambda m, at: attr.DeepLift(m, at=at),
}


@pytest.mark.parametrize("name", _COMPLETE)
def test_a_module_that_runs_twice_is_complete(name: str) -> None:
    """Where values are put in their place, each run has what does not flow through the other."""
    twice = Twice()
    scores, delta = _COMPLETE[name](twice, twice.cell).attribute(
        X, target=1, return_convergence_delta=True
    )
    assert float(delta.abs().max()) < 1e-10
    change = (twice(X) - twice(X * 0))[:, 1]
    total = sum(s.sum(1) for s in scores)
    torch.testing.assert_close(total, change.detach(), atol=1e-10, rtol=1e-10)


def test_each_run_of_a_module_that_is_looked_at_has_all_that_flows_through_it() -> None:
    """All of the change comes through the first run, a part of it through the second."""
    twice = Twice()
    first, second = attr.LayerDeepLift(twice, twice.cell).attribute(X, target=1)
    change = (twice(X) - twice(X * 0))[:, 1].detach()
    torch.testing.assert_close(first.sum(1), change, atol=1e-10, rtol=1e-10)
    assert not torch.allclose(second.sum(1), change)


@pytest.mark.parametrize("call", [0, 1, -1, -2])
def test_the_run_of_a_neuron_can_be_chosen(call: int) -> None:
    twice, unrolled = Twice(), Unrolled()
    found = attr.InputXGradient(twice, of=attr.Neuron(twice.cell, 2, call=call)).attribute(X)
    module = [unrolled.cell, unrolled.again][call]
    wanted = attr.InputXGradient(unrolled, of=attr.Neuron(module, 2)).attribute(X)
    assert_same_scores(found, wanted)


class GraphNet(nn.Module):
    """Nodes (V, F), weights of edges (E,), and one row of outputs per node."""

    def __init__(self, ends: Tensor, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.ends = ends
        self.inside = nn.Linear(3, 4).double()
        self.head = nn.Linear(4, 2).double()
        self.act = act

    def forward(self, nodes: Tensor, weights: Tensor) -> Tensor:
        source, goal = self.ends
        hidden = self.act(self.inside(nodes))
        sent = weights[:, None] * hidden[source]
        out: Tensor = self.head(hidden.index_add(0, goal, sent))
        return out


def graph(act: Callable[[Tensor], Tensor] = torch.tanh) -> tuple[GraphNet, Tensor, Tensor]:
    net = GraphNet(torch.tensor([[0, 1, 2, 3, 0, 2, 4], [1, 2, 3, 4, 2, 0, 1]]), act)
    nodes, weights = torch.randn(5, 3), torch.rand(7)
    return net, nodes.double(), weights.double()


_ON_GRAPHS: dict[str, Callable[..., Any]] = {
    "saliency": lambda net, given, **k: attr.Saliency(net).attribute(given, 1, **k),
    "input x gradient": lambda net, given, **k: attr.InputXGradient(net).attribute(given, 1, **k),
    "integrated gradients": lambda net, given, **k: attr.IntegratedGradients(net).attribute(
        given, target=1, **k
    ),
    "conductance": lambda net, given, **k: attr.LayerConductance(net, net.inside).attribute(
        given, target=1, **k
    ),
    "layer ig": lambda net, given, **k: attr.LayerIntegratedGradients(net, net.inside).attribute(
        given, target=1, **k
    ),
    "influence": lambda net, given, **k: attr.InternalInfluence(net, net.inside).attribute(
        given, target=1, **k
    ),
    "deep lift": lambda net, given, **k: attr.DeepLift(net).attribute(given, target=1, **k),
    "deep lift shap": lambda net, given, **k: attr.DeepLiftShap(net).attribute(
        given, (torch.zeros(2, 3).double(), torch.zeros(2).double()), target=1, **k
    ),
    "layer deep lift": lambda net, given, **k: attr.LayerDeepLift(net, net.inside).attribute(
        given, target=1, **k
    ),
    "deep lift at": lambda net, given, **k: attr.DeepLift(net, at=net.inside).attribute(
        given, target=1, **k
    ),
    "lrp": lambda net, given, **k: attr.LRP(net).attribute(given, target=1, **k),
    "layer lrp": lambda net, given, **k: attr.LayerLRP(net, net.inside).attribute(
        given, target=1, **k
    ),
    "deconvolution": lambda net, given, **k: attr.Deconvolution(net).attribute(given, 1, **k),
}
_OF_NODES_AND_EDGES = (
    *("saliency", "input x gradient", "integrated gradients"),
    *("deep lift", "deep lift shap", "lrp", "deconvolution"),
)


@pytest.mark.parametrize("name", _ON_GRAPHS)
def test_a_graph_whose_nodes_and_edges_differ_in_number(
    name: str, unchanged: Callable[..., Any]
) -> None:
    net, nodes, weights = graph(torch.relu if name == "deconvolution" else torch.tanh)
    with unchanged(net, nodes, weights):
        found = _ON_GRAPHS[name](net, (nodes, weights))
    if name in _OF_NODES_AND_EDGES:
        assert [s.shape for s in found] == [nodes.shape, weights.shape]
    assert all(bool((s != 0).any()) for s in scored(found))
    assert all(bool(s.isfinite().all()) for s in scored(found))


@pytest.mark.parametrize(
    "name",
    ["integrated gradients", "layer ig", "deep lift", "deep lift shap", "deep lift at"],
)
def test_a_graph_is_complete_as_a_whole(name: str) -> None:
    net, nodes, weights = graph()
    inputs = (nodes, weights)
    found, delta = _ON_GRAPHS[name](net, inputs, return_convergence_delta=True)
    assert abs(float(delta.sum())) < 1e-10
    if name in _OF_NODES_AND_EDGES:
        start = net(nodes * 0, weights * 0)[:, 1].sum()
        change = (net(nodes, weights)[:, 1].sum() - start).detach()
        total = sum(s.sum() for s in found)
        torch.testing.assert_close(total, change, atol=1e-10, rtol=1e-10)


def test_a_graph_in_steps_equals_its_loop() -> None:
    """Integrated gradients of a graph, node by quadrature node."""
    net, nodes, weights = graph()
    found = attr.IntegratedGradients(net).attribute(
        (nodes, weights), target=0, n_steps=4, method="riemann_middle"
    )
    sums = [torch.zeros_like(nodes), torch.zeros_like(weights)]
    for alpha in (0.125, 0.375, 0.625, 0.875):
        point = [(alpha * v).requires_grad_() for v in (nodes, weights)]
        grads = torch.autograd.grad(net(*point)[:, 0].sum(), point)
        sums = [s + g / 4 for s, g in zip(sums, grads, strict=True)]
    wanted = (sums[0] * nodes, sums[1] * weights)
    assert_same_scores(found, wanted)


def test_a_graph_with_noise() -> None:
    net, nodes, weights = graph()
    tunnel = attr.NoiseTunnel(attr.InputXGradient(net))
    found = tunnel.attribute((nodes, weights), target=1, nt_samples=4, stdevs=(0.1, 0.0))
    assert [s.shape for s in found] == [nodes.shape, weights.shape]
    still = tunnel.attribute((nodes, weights), target=1, nt_samples=4, stdevs=0.0)
    assert_same_scores(still, attr.InputXGradient(net).attribute((nodes, weights), 1))
