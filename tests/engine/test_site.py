"""Layers of every kind: their values are read, replaced and observed, and left as they were."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from captum.attr import (
    IntegratedGradients,
    InternalInfluence,
    Layer,
    LayerActivation,
    LayerConductance,
    LayerGradCamPlusPlus,
    LayerGradientXActivation,
    LayerIntegratedGradients,
    Neuron,
    NeuronConductance,
    NeuronGradient,
    NeuronIntegratedGradients,
    Saliency,
    Targets,
)

X = torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 3)


class Net(nn.Module):
    """A model around one layer, with a way past it."""

    def __init__(self, layer, before=None):
        super().__init__()
        torch.manual_seed(1)
        self.before = before or nn.Linear(3, 3)
        self.layer = layer
        self.last = nn.Linear(3, 2)
        self.double()

    def forward(self, x):
        y = self.layer(self.before(x))
        y = y[0] if isinstance(y, tuple) else y["a"] if isinstance(y, dict) else y
        return self.last(y * y + x)


class Twice(nn.Module):
    """One module that runs twice, the second time on what the first made."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.first, self.act, self.last = nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)
        self.double()

    def forward(self, x):
        return self.last(self.act(self.act(self.first(x)) + x) * x)


class Siamese(nn.Module):
    """One module that runs on two inputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.arm = nn.Linear(3, 4)
        self.double()

    def forward(self, a, b):
        return (self.arm(a).tanh() * self.arm(b).sigmoid()).sum(1)


class Returning(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, x):
        return self.form(x.tanh())


FORMS = {
    "a tensor": (lambda y: y, lambda s: s),
    "a tuple of one": (lambda y: (y,), lambda s: s),
    "a tuple with None": (lambda y: (y, None), lambda s: s[0]),
    "a dict": (lambda y: {"a": y, "n": 3}, lambda s: s["a"]),
    "a tuple with ids": (lambda y: (y, torch.zeros(4).long()), lambda s: s[0]),
}


@pytest.mark.parametrize("side", ["output", "input"])
@pytest.mark.parametrize(("form", "read"), FORMS.values(), ids=FORMS)
def test_values_of_every_form(form, read, side):
    model = Net(Returning(form))
    at_input = side == "input"
    scores, delta = LayerIntegratedGradients(model, model.layer).attribute(
        X, target=1, attribute_to_layer_input=at_input, return_convergence_delta=True
    )
    score = scores if at_input else read(scores)
    assert score.shape == X.shape
    assert delta.abs().max() < 1e-10
    value = LayerActivation(model, model.layer).attribute(X, attribute_to_layer_input=at_input)
    expected = model.before(X) if at_input else model.before(X).tanh()
    assert torch.equal(value if at_input else read(value), expected.detach())


def test_a_skip_connection_keeps_the_rest_at_the_inputs():
    """Only the layer moves: Σ scores = f(y; x) - f(y₀; x), which is not f(x) - f(x₀)."""
    model = Net(nn.Tanh())
    scores, delta = LayerIntegratedGradients(model, model.layer).attribute(
        X, target=0, return_convergence_delta=True
    )
    y, y0 = model.before(X).tanh(), model.before(0 * X).tanh()
    expected = (model.last(y * y + X) - model.last(y0 * y0 + X))[:, 0].detach()
    assert torch.allclose(scores.sum(1), expected, atol=1e-10)
    assert delta.abs().max() < 1e-10


class TestRunsTwice:
    def test_one_result_per_run(self):
        model = Siamese()
        a, b = X, X.flip(0) + 0.3
        scores, delta = LayerIntegratedGradients(model, model.arm).attribute(
            (a, b), return_convergence_delta=True
        )
        assert isinstance(scores, list)
        assert [s.shape for s in scores] == [(4, 4), (4, 4)]
        assert delta.abs().max() < 1e-9
        one, two = LayerActivation(model, model.arm).attribute((a, b))
        assert torch.equal(one, model.arm(a).detach())
        assert torch.equal(two, model.arm(b).detach())

    def test_conductance_of_all_runs_is_complete(self):
        model = Siamese()
        a, b = X, X.flip(0) + 0.3
        scores, delta = LayerConductance(model, model.arm).attribute(
            (a, b), n_steps=4000, method="riemann_trapezoid", return_convergence_delta=True
        )
        change = (model(a, b) - model(0 * a, 0 * b)).detach()
        assert delta.abs().max() < 2e-3 * change.abs().max()
        assert torch.allclose(scores[0].sum(1) + scores[1].sum(1), change + delta)

    def test_influence_holds_the_other_run_fixed(self):
        model = Twice()
        first, second = InternalInfluence(model, model.act).attribute(X, target=0, n_steps=1)
        assert torch.equal(first, torch.zeros_like(first))  # all of it goes through the second
        assert torch.allclose(second, model.last.weight[0] * X / 2)  # the one point is half-way

    def test_a_gradient_follows_from_run_to_run(self):
        model = Twice()
        first, second = LayerGradientXActivation(model, model.act).attribute(X, target=0)
        y = model.act(model.first(X)).detach().requires_grad_()
        z = model.act(y + X)
        (grad,) = torch.autograd.grad(model.last(z * X)[:, 0].sum(), y)
        assert torch.allclose(first, (y * grad).detach())
        assert torch.allclose(second, (z * X * model.last.weight[0]).detach())

    @pytest.mark.parametrize(("call", "run"), [(0, 0), (1, 1), (-1, 1), (-2, 0)])
    def test_a_neuron_of_one_run(self, call, run):
        model = Twice()
        x = X.clone().requires_grad_()
        first = model.act(model.first(x))
        runs = [first, model.act(first + x)]
        (expected,) = torch.autograd.grad(runs[run][:, 1].sum(), x)
        found = Saliency(model, of=Neuron(model.act, 1, call=call)).attribute(X, abs=False)
        assert torch.allclose(found, expected)


class TestSeveralLayers:
    def test_gradients_in_a_chain(self):
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
        both = LayerGradientXActivation(model, [model[0], model[1]]).attribute(X, target=0)
        alone = [
            LayerGradientXActivation(model, layer).attribute(X, target=0)
            for layer in (model[0], model[1])
        ]
        assert isinstance(both, list)
        assert all(torch.allclose(a, b) for a, b in zip(both, alone, strict=True))

    def test_side_by_side(self):
        model = Siamese()
        other = nn.Linear(3, 4).double()
        scores, delta = LayerIntegratedGradients(
            lambda a, b: (model.arm(a).tanh() * other(b)).sum(1), [model.arm, other]
        ).attribute((X, X), return_convergence_delta=True)
        assert [s.shape for s in scores] == [(4, 4), (4, 4)]
        assert delta.abs().max() < 1e-9

    def test_a_module_list_is_a_list(self):
        layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)]).double()
        values = LayerActivation(lambda x: layers[1](layers[0](x)), layers).attribute(X)
        assert [v.shape for v in values] == [(4, 3), (4, 3)]


class Keywords(nn.Module):
    """A block that is only ever called by keyword, as the layers of some language models."""

    def forward(self, *, states, mask=None, count=3):
        return (states * 2, None)


def test_keyword_only_layers():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Keywords()

        def forward(self, x):
            mask = torch.ones(4, dtype=torch.bool)
            return (self.block(states=x.tanh(), mask=mask)[0] ** 2).sum(1)

    model = Model()
    scores, delta = LayerIntegratedGradients(model, model.block).attribute(
        X, attribute_to_layer_input=True, return_convergence_delta=True
    )
    assert set(scores) == {"states", "mask"}
    assert scores["mask"] is None
    assert torch.allclose(scores["states"].sum(1), model(X))
    assert delta.abs().max() < 1e-10


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layers(kind):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.rnn, self.last = kind(3, 4, num_layers=2, batch_first=True), nn.Linear(4, 2)

        def forward(self, x):
            _, state = self.rnn(x)
            return self.last((state[0] if isinstance(state, tuple) else state)[-1])

    model = Model().double()
    x = torch.rand(5, 6, 3, dtype=torch.float64)
    scores, delta = LayerIntegratedGradients(model, model.rnn).attribute(
        x, target=0, return_convergence_delta=True
    )
    states = scores[1][0] if kind is nn.LSTM else scores[1]
    assert states.shape == (2, 5, 4)
    assert float(delta.abs().max()) < 1e-10  # one total: the states do not lie row by row
    whole, gap = IntegratedGradients(model).attribute(x, target=0, return_convergence_delta=True)
    assert whole.shape == x.shape
    assert gap.shape == (5,)
    assert gap.abs().max() < 1e-10


class TestInputSide:
    """What goes into a layer may also go around it."""

    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(4)
            self.first, self.second, self.last = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
            self.double()

        def forward(self, x):
            h = self.first(x).tanh()
            return self.last(h + self.second(h).tanh())

    def test_a_gradient_is_of_all_ways(self):
        model = self.Around()
        found = LayerGradientXActivation(model, model.second).attribute(
            X, target=0, attribute_to_layer_input=True
        )
        h = model.first(X).tanh().detach().requires_grad_()
        output = model.last(h + model.second(h).tanh())
        (grad,) = torch.autograd.grad(output[:, 0].sum(), h)
        assert torch.allclose(found, (h * grad).detach())

    def test_conductance_is_complete(self):
        model = self.Around()
        _, delta = LayerConductance(model, model.second).attribute(
            X,
            target=0,
            n_steps=3000,
            method="riemann_trapezoid",
            attribute_to_layer_input=True,
            return_convergence_delta=True,
        )
        assert delta.abs().max() < 2e-3

    def test_frozen_models(self):
        model = self.Around().requires_grad_(False)
        found = LayerGradientXActivation(model, model.second).attribute(
            X, target=0, attribute_to_layer_input=True
        )
        model.requires_grad_(True)
        again = LayerGradientXActivation(model, model.second).attribute(
            X, target=0, attribute_to_layer_input=True
        )
        assert torch.equal(found, again)

    def test_ids_are_values_too(self):
        model = nn.Sequential(nn.Embedding(9, 2), nn.Flatten())
        ids = torch.tensor([[1, 2], [3, 4]])
        found = LayerActivation(model, model[0]).attribute(ids, attribute_to_layer_input=True)
        assert torch.equal(found, ids)


def test_conductance_through_a_tuple():
    model = nn.LSTM(3, 4, batch_first=True).double()
    x = torch.rand(2, 5, 3, dtype=torch.float64)
    found = NeuronConductance(lambda x: model(x)[0][:, 2].sum(1), model).attribute(x, (2, 1))
    expected = NeuronIntegratedGradients(lambda x: model(x)[0], model).attribute(
        x, (2, 1), method="riemann_trapezoid"
    )
    assert torch.allclose(found, expected)


def test_in_place_after_the_layer():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)).double()
    plain = nn.Sequential(model[0], nn.ReLU(), model[2])
    for method in (LayerIntegratedGradients, LayerConductance, LayerGradientXActivation):
        ours = method(model, model[0]).attribute(X, target=0)
        assert torch.allclose(ours, method(plain, plain[0]).attribute(X, target=0))
    value = LayerActivation(model, model[0]).attribute(X)
    assert torch.equal(value, plain[0](X).detach())
    neuron = NeuronGradient(model, model[0]).attribute(X, 2)
    assert torch.allclose(neuron, model[0].weight[2].expand(4, 3))


def test_in_place_on_the_inputs():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2)).double()
    x = X.clone()
    found = Saliency(model).attribute(x, target=0)
    assert torch.allclose(found, model[1].weight[0].abs() * (X > 0))
    scores = IntegratedGradients(model).attribute(x, target=0)
    assert torch.allclose(scores, model[1].weight[0] * X.relu())
    assert torch.equal(x, X)


def test_at_and_of_together():
    """A neuron's dependence on a layer before it."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 5), nn.Tanh()).double()
    found = IntegratedGradients(model, at=model[0], of=Neuron(model[2], 3)).attribute(X)
    y, y0 = model[0](X), model[0](0 * X)
    change = (model[2](y.tanh()) - model[2](y0.tanh()))[:, 3].detach()
    assert torch.allclose(found.sum(1), change, atol=1e-10)


def test_the_input_side_by_at():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    at = IntegratedGradients(model, at=Layer(model[1], side="input")).attribute(X, target=0)
    assert torch.allclose(at, IntegratedGradients(model, at=model[0]).attribute(X, target=0))


@pytest.mark.parametrize("selector", [1, (1,), (slice(1, 2),), lambda y: y[:, 1]])
def test_selectors(selector):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    found = NeuronIntegratedGradients(model, model[1]).attribute(X, selector)
    assert torch.allclose(found.sum(1), (model[:2](X) - model[:2](0 * X))[:, 1].detach())


def test_a_slice_of_neurons_is_summed():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    method = NeuronGradient(model, model[1])
    both = method.attribute(X, 1) + method.attribute(X, 2)
    assert torch.allclose(method.attribute(X, (slice(1, 3),)), both)


class TestWrappers:
    def test_compiled_models_are_looked_into(self):
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
        compiled = torch.compile(model, backend="eager")
        compiled(X)  # warm: its hooks no longer run
        found = LayerIntegratedGradients(compiled, model[0]).attribute(X, target=0)
        expected = LayerIntegratedGradients(model, model[0]).attribute(X, target=0)
        assert torch.allclose(found, expected)

    def test_data_parallel_without_devices(self):
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
        wrapped = nn.DataParallel(model)
        for method in (LayerConductance, LayerActivation):
            kwargs = {} if method is LayerActivation else {"target": 0}
            found = method(wrapped, model[1]).attribute(X, **kwargs)
            assert torch.allclose(found, method(model, model[1]).attribute(X, **kwargs))

    def test_a_bound_method(self):
        model = nn.Sequential(nn.Linear(3, 2)).double()
        found = Saliency(model.forward).attribute(X, target=0)
        assert torch.equal(found, Saliency(model).attribute(X, target=0))


class TestEarlyStop:
    """Once a layer is known to run once, later passes end there."""

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.ends = nn.Linear(3, 2), 0

        def forward(self, x):
            y = self.layer(x)
            self.ends += 1
            return y

    def test_neurons(self):
        model = self.Counting()
        found = NeuronIntegratedGradients(model, model.layer).attribute(
            X.float(), 0, internal_batch_size=4, n_steps=10
        )
        assert model.ends == 1
        assert torch.allclose(found, model.layer.weight[0] * X.float())

    def test_activations(self):
        model = self.Counting()
        x = torch.rand(5000, 3)
        assert torch.equal(LayerActivation(model, model.layer).attribute(x), model.layer(x))
        assert model.ends < 3


class TestOtherPasses:
    """Hooks stand on the user's modules, but answer to their own pass only."""

    def test_threads(self):
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
        method = LayerIntegratedGradients(model, model[0])
        expected = method.attribute(X, target=0)

        def explained(_):
            return torch.equal(method.attribute(X, target=0), expected)

        def served(_):
            with torch.no_grad():
                return not model(X).requires_grad

        with ThreadPoolExecutor(4) as pool:
            found = [pool.map(explained, range(40)), pool.map(served, range(400))]
            assert all(all(each) for each in found)

    def test_an_attribution_inside_the_model(self):
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
        expected = LayerGradientXActivation(model, model[0]).attribute(X, target=0)
        inner, seen = LayerActivation(model, model[1]), []

        def look(_module, _args, _output):
            if not seen:
                seen.append(None)
                seen[0] = inner.attribute(X)

        handle = model[1].register_forward_hook(look)
        found = LayerGradientXActivation(model, model[0]).attribute(X, target=0)
        handle.remove()
        assert torch.equal(found, expected)
        assert torch.equal(seen[0], model[:2](X).detach())


def test_a_frozen_block():
    """A layer that the model itself runs under no_grad still has a way to the output."""

    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
            self.double()

        def forward(self, x):
            with torch.no_grad():
                y = self.block(x)
            return self.last(y.tanh())

    model = Frozen()
    scores, delta = LayerIntegratedGradients(model, model.block).attribute(
        X, target=0, return_convergence_delta=True
    )
    assert scores.abs().sum() > 0
    assert delta.abs().max() < 1e-10
    y = model.block(X).detach()
    both = LayerGradientXActivation(model, [model.block, model.last]).attribute(X, target=0)
    assert torch.allclose(both[0], y * (1 - y.tanh() ** 2) * model.last.weight[0].detach())


def test_two_frozen_blocks():
    """What the model cuts between its blocks stays cut; the last one has its way to the output."""

    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 3).double(), nn.Linear(3, 3).double()

        def forward(self, x):
            with torch.no_grad():
                y = self.one(x)
            with torch.no_grad():
                z = self.two(y)
            return (y.tanh() * z.sin()).sum(1)

    model = Frozen()
    found = LayerGradientXActivation(model, [model.one, model.two]).attribute(X)
    y = model.one(X).detach()
    z = model.two(y).detach()
    assert torch.allclose(found[0], y * (1 - y.tanh() ** 2) * z.sin())
    assert torch.allclose(found[1], z * y.tanh() * z.cos())


def test_a_neuron_between_layers():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 5), nn.Linear(5, 2)).double()
    neuron = Neuron(model[2], 3)
    with pytest.warns(UserWarning, match="layer Linear"):
        both = IntegratedGradients(model, at=[model[0], model[3]], of=neuron).attribute(X)
    alone = IntegratedGradients(model, at=model[0], of=neuron).attribute(X)
    assert torch.allclose(both[0], alone)
    assert torch.equal(both[1], torch.zeros(4, 2, dtype=torch.float64))


def test_activations_are_nobodys_memory():
    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.p = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return self.p.expand(len(x), 3)

    layer, identity = Learned(), nn.Identity()
    x = torch.ones(2, 3)
    LayerActivation(layer, layer).attribute(x).zero_()
    LayerActivation(identity, identity).attribute(x).zero_()
    assert torch.equal(layer.p, torch.ones(3))
    assert torch.equal(x, torch.ones(2, 3))


def test_a_model_that_clamps_its_input_under_no_grad():
    def model(x):
        with torch.no_grad():
            x.clamp_(min=0)
        return x.sum(1)

    x = X.clone()
    for method in (Saliency, IntegratedGradients):
        method(model).attribute(x)
        assert torch.equal(x, X)


def test_states_with_as_many_layers_as_examples():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.rnn, self.last = nn.LSTM(3, 4, num_layers=2, batch_first=True), nn.Linear(4, 1)

        def forward(self, x):
            return self.last(self.rnn(x)[1][0][-1].tanh())

    model = Model().double()
    _, delta = LayerIntegratedGradients(model, model.rnn).attribute(
        torch.rand(2, 5, 3).double(), n_steps="auto", tol=1e-6, return_convergence_delta=True
    )
    assert delta.shape == (1,)
    assert float(delta.abs()) < 1e-6


def test_options_for_autograd():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    plain = LayerGradientXActivation(model, model[0]).attribute(X, target=0)
    kept = LayerGradientXActivation(model, model[0]).attribute(
        X, target=0, grad_kwargs={"retain_graph": True}
    )
    assert torch.equal(plain, kept)


def test_sums_are_exact_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        _, delta = IntegratedGradients(lambda x: (x**3).sum(1)).attribute(
            3 * X.float(), return_convergence_delta=True
        )
    assert delta.abs().max() < 1e-3


def test_maps_of_half_precision():
    """Squares and cubes of small gradients are beyond float16, their ratios are not."""
    torch.manual_seed(0)
    conv, last = nn.Conv2d(1, 3, 3), nn.Linear(3, 1)
    model = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
    last.weight.data.mul_(1e-3).abs_()
    x = torch.rand(2, 1, 6, 6)
    wanted = LayerGradCamPlusPlus(model, conv).attribute(x)
    half = LayerGradCamPlusPlus(model.half(), model[0]).attribute(x.half())
    assert half.dtype == torch.float16
    assert (half.float() - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_the_delta_of_a_neuron():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    method = IntegratedGradients(model, of=Neuron(model[1], 0))
    delta = method.compute_convergence_delta(method.attribute(X), 0 * X, X)
    assert delta.abs().max() < 1e-10


def test_several_targets_can_be_copied():
    targets = Targets(0, (1, 2))
    assert copy.deepcopy(targets) == pickle.loads(pickle.dumps(targets)) == targets
