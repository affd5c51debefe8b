"""Passes of a bearable size: explicit sizes to the row, our own by what was measured."""

import weakref

import pytest
import torch
from torch import nn

from captum._engine.batching import RowLimit, split
from captum._engine.call import make_call
from captum.attr import (
    FeatureAblation,
    GradientShap,
    IntegratedGradients,
    LayerActivation,
    LayerConductance,
    LayerIntegratedGradients,
    NoiseTunnel,
    Saliency,
    Targets,
)


class Recording(nn.Module):
    """A network that notes how many rows each pass has, and may run out of memory."""

    def __init__(self, most=10**9, width=8):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(3, width)
        self.last = nn.Linear(width, 2)
        self.most, self.passes = most, []

    def forward(self, x):
        if len(x) > self.most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        self.passes.append(len(x))
        return self.last(self.first(x).tanh())


@pytest.mark.parametrize(
    ("examples", "steps", "size", "passes"),
    [
        (4, 50, 16, [16] * 12 + [8]),
        (4, 5, 20, [20]),
        (4, 5, 21, [20]),
        (10, 2, 3, [3, 3, 3, 1] * 2),
        (1, 7, 1, [1] * 7),
        (5, 3, 5, [5] * 3),
    ],
)
def test_explicit_sizes_are_honoured(examples, steps, size, passes):
    model = Recording()
    IntegratedGradients(model).attribute(
        torch.rand(examples, 3), target=0, n_steps=steps, internal_batch_size=size
    )
    assert model.passes == passes


@pytest.mark.parametrize(("perturbations", "passes"), [(1, [2] * 4), (2, [2, 4, 2]), (9, [2, 6])])
def test_perturbations_per_eval_counts_features(perturbations, passes):
    model = Recording()
    FeatureAblation(model).attribute(
        torch.rand(2, 3), target=0, perturbations_per_eval=perturbations
    )
    assert model.passes == passes


@pytest.mark.parametrize("most", [1, 2, 7, 40])
@pytest.mark.parametrize(
    "run",
    [
        lambda m, x: IntegratedGradients(m).attribute(x, target=0),
        lambda m, x: Saliency(m).attribute(x, target=0),
        lambda m, x: LayerConductance(m, m.first).attribute(x, target=0),
        lambda m, x: LayerIntegratedGradients(m, m.first).attribute(x, target=0),
        lambda m, x: FeatureAblation(m).attribute(x, target=0),
        lambda m, x: LayerActivation(m, m.first).attribute(x),
    ],
)
def test_running_out_of_memory_halves_the_pass(run, most):
    x = torch.rand(9, 3)
    small = Recording(most)
    assert torch.allclose(run(small, x), run(Recording(), x), atol=1e-6)
    assert max(small.passes) <= most


def test_memory_that_no_pass_fits_in_is_the_users_to_know():
    with pytest.raises(RuntimeError, match="allocate memory"):
        Saliency(Recording(most=0)).attribute(torch.rand(2, 3), target=0)
    with pytest.raises(RuntimeError, match="allocate memory"):  # an explicit size is an order
        IntegratedGradients(Recording(most=3)).attribute(
            torch.rand(2, 3), target=0, internal_batch_size=8
        )


def test_sizes_are_learnt_from_the_largest_activation():
    wide, narrow = Recording(width=4096), Recording(width=8)
    for model in (wide, narrow):
        Saliency(model).attribute(torch.rand(5000, 3), target=0)
    assert wide.passes[0] == narrow.passes[0] == 1024  # the first guess is of the inputs
    assert max(wide.passes[1:]) * 4096 * 4 <= 5 << 20
    assert narrow.passes[1:] == [3976]


def test_a_perturbation_learns_its_sizes_too():
    model = Recording(width=4096)
    FeatureAblation(model).attribute(torch.rand(3000, 3), target=0)
    assert max(model.passes[1:]) * 4096 * 4 <= 5 << 20


def test_a_short_run_is_one_pass():
    model = Recording()
    IntegratedGradients(model).attribute(torch.rand(4, 3), target=0)
    assert model.passes == [200]


def test_batch_norm_in_training_keeps_the_batch_together():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=0.0), nn.Linear(4, 2))
    x = torch.rand(6, 3)
    whole = Saliency(model).attribute(x, target=0)
    method = IntegratedGradients(model)
    few = method.attribute(x, target=0, internal_batch_size=2)
    assert torch.allclose(few, method.attribute(x, target=0), atol=1e-6)
    x.requires_grad_()
    (expected,) = torch.autograd.grad(model(x)[:, 0].sum(), x)
    assert torch.allclose(whole, expected.abs(), atol=1e-6)


def test_an_output_for_the_whole_batch():
    """f(x) = mean(x)²: rows cannot be split; each step sees all of them."""
    x = torch.rand(6, 3, dtype=torch.float64)
    scores, delta = IntegratedGradients(lambda x: x.mean() ** 2).attribute(
        x, n_steps=20, internal_batch_size=4, return_convergence_delta=True
    )
    assert torch.allclose(scores, x * x.mean() / x.numel(), atol=1e-12)
    assert delta.shape == (1,)
    assert float(delta.abs()) < 1e-12


@pytest.mark.parametrize(
    ("model", "target"),
    [
        (lambda x: x.pow(2).sum(1).mean(), None),
        (lambda x: x.pow(2).mean(1, keepdim=True), lambda output: output[:, 0].mean()),
    ],
)
def test_a_mean_over_the_batch_is_never_split(model, target):
    """One number for the whole batch: repeating or splitting rows would change it."""
    x = torch.rand(4, 3, dtype=torch.float64)
    found = IntegratedGradients(model).attribute(x, target=target)
    one = IntegratedGradients(model).attribute(x, target=target, internal_batch_size=4)
    assert torch.allclose(found, one)
    many = torch.rand(5000, 3, dtype=torch.float64)
    plain = many.clone().requires_grad_()
    output = model(plain)
    (expected,) = torch.autograd.grad(output if target is None else target(output), plain)
    assert torch.allclose(Saliency(model).attribute(many, target=target), expected.abs())


def test_time_first_recurrent_models():
    torch.manual_seed(0)
    rnn, last = nn.RNN(3, 4).double(), nn.Linear(4, 1).double()
    x = torch.rand(5, 2, 3, dtype=torch.float64)

    def model(x):
        return last(rnn(x)[0][-1])

    found, delta = IntegratedGradients(model).attribute(x, return_convergence_delta=True)
    assert delta.shape == (1,)
    assert float(delta.abs()) < 1e-10
    assert torch.allclose(found, IntegratedGradients(model).attribute(x, internal_batch_size=5))


def test_batch_norm_in_training_behind_a_method():
    model = nn.Sequential(nn.BatchNorm1d(3, momentum=0.0), nn.Tanh(), nn.Linear(3, 1)).double()
    x = torch.rand(4, 3, dtype=torch.float64)
    found = IntegratedGradients(model.forward).attribute(x)
    assert torch.allclose(found, IntegratedGradients(model).attribute(x))


def test_a_tolerance_stops_the_draws():
    model = Recording()
    GradientShap(model).attribute(
        torch.rand(4, 3), torch.rand(8, 3), n_samples=20_000, tol=0.5, target=0
    )
    assert sum(model.passes) < 4000


def test_a_large_output_is_not_kept():
    """A view of the picked numbers would keep each pass's whole output alive."""
    kept = []

    def model(x):
        output = x.sum(1, keepdim=True).expand(-1, 50).clone()
        kept.append(weakref.ref(output))
        return output

    FeatureAblation(model).attribute(torch.rand(5, 4), target=3, perturbations_per_eval=1)
    assert sum(ref() is not None for ref in kept) <= 1


def test_a_graph_whose_inputs_have_different_rows():
    """Node features (V, F) and edge weights (E,): one output for the graph."""
    source, sink = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 2, 0, 2])

    def network(nodes, weights):
        messages = torch.zeros_like(nodes).index_add(0, sink, nodes[source] * weights[:, None])
        return messages.tanh().sum()

    nodes, weights = torch.rand(3, 2).double(), torch.rand(4).double()
    method = IntegratedGradients(network)
    scores, delta = method.attribute((nodes, weights), return_convergence_delta=True)
    assert [s.shape for s in scores] == [(3, 2), (4,)]
    assert abs(float(sum(s.sum() for s in scores)) - float(network(nodes, weights))) < 1e-9
    assert float(delta.abs()) < 1e-9
    noisy = NoiseTunnel(Saliency(network)).attribute((nodes, weights), stdevs=0.0)
    plain = Saliency(network).attribute((nodes, weights))
    assert all(torch.allclose(a, b) for a, b in zip(noisy, plain, strict=True))


def test_random_draws_do_not_depend_on_the_passes():
    x, rows = torch.rand(4, 3), torch.rand(7, 3)
    found = []
    for size in (1, 3, 64, "auto"):
        torch.manual_seed(5)
        found.append(
            GradientShap(Recording()).attribute(
                x, rows, n_samples=6, stdevs=0.1, target=0, internal_batch_size=size
            )
        )
    assert all(torch.allclose(found[0], other, atol=1e-6) for other in found[1:])


def test_split_covers_every_row_once():
    call = make_call(lambda x: x, torch.arange(5.0)[:, None])
    points = torch.arange(15.0)[:, None]
    for rows in range(1, 20):
        taken = [part.take(points) for part in split(call, 3, RowLimit(rows, fixed=True))]
        assert torch.equal(torch.cat(taken), points)
        assert all(len(t) <= rows for t in taken)


class TestProgress:
    """done = total = real rows through the model."""

    @pytest.mark.parametrize(
        "run",
        [
            lambda m, x, **k: IntegratedGradients(m).attribute(x, target=0, n_steps=20, **k),
            lambda m, x, **k: IntegratedGradients(m).attribute(
                x, [0, 0.5], target=0, return_convergence_delta=True, **k
            ),
            lambda m, x, **k: LayerIntegratedGradients(m, m.first).attribute(
                x, target=0, return_convergence_delta=True, **k
            ),
            lambda m, x, **k: LayerConductance(m, m.first).attribute(
                x, target=0, return_convergence_delta=True, **k
            ),
            lambda m, x, **k: GradientShap(m).attribute(x, x, target=0, **k),
            lambda m, x, **k: FeatureAblation(m).attribute(x, target=0, **k),
            lambda m, x, **k: FeatureAblation(m, at=m.first).attribute(x, target=0, **k),
        ],
    )
    def test_totals(self, run, capsys):
        model = Recording()
        run(model, torch.rand(4, 3), show_progress=True)
        rows = sum(model.passes)
        assert f"{rows}/{rows}" in capsys.readouterr().err

    def test_silent_by_default(self, capsys):
        IntegratedGradients(Recording()).attribute(torch.rand(4, 3), target=0)
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "run",
    [
        lambda m, x, t: Saliency(m).attribute(x, target=t),
        lambda m, x, t: IntegratedGradients(m).attribute(x, target=t),
        lambda m, x, t: LayerConductance(m, m.first).attribute(x, target=t),
        lambda m, x, t: FeatureAblation(m).attribute(x, target=t),
    ],
)
def test_several_targets_share_their_forwards(run):
    one, several = Recording(), Recording()
    x = torch.rand(5, 3)
    run(one, x, 0)
    found = run(several, x, Targets(0, 1, 0))
    assert several.passes == one.passes
    assert torch.allclose(found[0], found[2], atol=1e-6)
    assert torch.allclose(found[1], run(Recording(), x, 1), atol=1e-6)


def test_sizes_are_learnt_from_a_first_point():
    """Few examples at many points: the first pass is of one point, the next of what was learnt."""
    model = Recording(width=256)
    IntegratedGradients(model).attribute(torch.rand(600, 3), target=0, n_steps=30)
    assert model.passes[0] == 600
    assert max(model.passes) > 1200
