"""Gates beside the papers' formulas written out; who shares a gate; what a seed repeats."""

import copy
import math
import pickle
from typing import ClassVar

import pytest
import torch
from torch.func import functional_call
from torch.testing import assert_close

from captum.module import (
    BinaryConcreteStochasticGates,
    GaussianStochasticGates,
    StochasticGatesBase,
)

KINDS = [BinaryConcreteStochasticGates, GaussianStochasticGates]
kinds = pytest.mark.parametrize("kind", KINDS)
NAMES = {BinaryConcreteStochasticGates: "log_alpha_param", GaussianStochasticGates: "mu"}


def made(kind, values, mask=None, **options):
    """Gates in float64, with these values of their parameter."""
    gates = kind(len(values), mask, **options).double()
    gates.load_state_dict({NAMES[kind]: torch.tensor(values)}, strict=False)
    return gates


# ------------------------------------------------------------------------------- literal twins


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def clamp(z):
    return min(1.0, max(0.0, z))


class ConcreteTwin:
    """Louizos et al.: the hard concrete distribution, and the chance that it is not 0."""

    kind, values = BinaryConcreteStochasticGates, (-3.0, -0.4, 0.0, 5.0)
    options: ClassVar = {"temperature": 0.4, "lower_bound": -0.3, "upper_bound": 1.2}
    beta, gamma, zeta = options.values()

    def noise(self, *shape):
        return torch.empty(*shape).uniform_(1e-8, 1 - 1e-8)

    def drawn(self, log_alpha, u):
        s = sigmoid((math.log(u) - math.log(1 - u) + log_alpha) / self.beta)
        return clamp(s * (self.zeta - self.gamma) + self.gamma)

    def fixed(self, log_alpha):
        return clamp(sigmoid(log_alpha) * (self.zeta - self.gamma) + self.gamma)

    def chance(self, log_alpha):
        return sigmoid(log_alpha - self.beta * math.log(-self.gamma / self.zeta))


class GaussianTwin:
    """Yamada et al.: a Gaussian, clamped, and the chance that it is not 0."""

    kind, values = GaussianStochasticGates, (-0.7, 0.2, 0.5, 1.4)
    options: ClassVar = {"std": 0.8}

    def noise(self, *shape):
        return torch.randn(*shape)

    def drawn(self, mu, noise):
        return clamp(mu + 0.8 * noise)

    def fixed(self, mu):
        return clamp(mu)

    def chance(self, mu):
        return (1 + math.erf(mu / (0.8 * math.sqrt(2)))) / 2


twins = pytest.mark.parametrize("twin", [ConcreteTwin(), GaussianTwin()], ids=["concrete", "gauss"])


def gates_of(twin, mask=None, **options):
    return made(twin.kind, twin.values, mask, **twin.options, **options)


@twins
def test_training_draws_the_papers_gates(twin):
    gates, x = gates_of(twin, reg_weight=0.3), torch.randn(5, 2, 2, dtype=torch.float64)
    torch.manual_seed(3)
    gated, price = gates(x)
    torch.manual_seed(3)
    noise = twin.noise(5, 4).tolist()
    for n in range(5):
        for g in range(4):
            wanted = x[n, g // 2, g % 2].item() * twin.drawn(twin.values[g], noise[n][g])
            assert gated[n, g // 2, g % 2].item() == pytest.approx(wanted, abs=1e-6)
    assert price.item() == pytest.approx(0.3 * sum(map(twin.chance, twin.values)))


@twins
def test_without_training_the_gates_are_their_values(twin, unchanged):
    gates, x = gates_of(twin).eval(), torch.randn(5, 4, dtype=torch.float64)
    wanted = torch.tensor([twin.fixed(value) for value in twin.values], dtype=torch.float64)
    with unchanged(gates, x):
        gated, _ = gates(x)
        assert_close(gates.get_gate_values(), wanted)
    assert_close(gated, x * wanted)
    raw = gates.get_gate_values(clamp=False)
    assert_close(raw.clamp(0, 1), wanted)
    assert raw.argsort().tolist() == [0, 1, 2, 3], "also shut gates and open ones are ranked"
    assert raw[0] < 0
    assert raw[-1] > 1


@twins
def test_the_chance_of_a_gate_is_the_share_of_open_ones(twin):
    gates, count = gates_of(twin), 40_000
    chances = gates.get_gate_active_probs()
    assert_close(chances.tolist(), [twin.chance(value) for value in twin.values])
    open_ = (gates(torch.ones(count, 4, dtype=torch.float64))[0] > 0).double()
    error = (chances * (1 - chances) / count).sqrt()
    assert ((open_.mean(0) - chances).abs() < 4 * error).all()


@twins
@pytest.mark.parametrize("training", [True, False])
def test_gradients_reach_the_parameter_and_the_inputs(twin, training):
    gates = gates_of(twin, torch.tensor([[0, 1], [2, 3], [0, 0]])).train(training)
    ((name, parameter),) = gates.named_parameters()

    def both(parameter, x):
        torch.manual_seed(0)
        return functional_call(gates, {name: parameter}, x)

    x = torch.randn(3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(both, (parameter, x))
    gates(x)[1].backward()
    assert (parameter.grad > 0).all(), "a gate that opens costs more"


# -------------------------------------------------------------------------------- shared gates

SEGMENTS = torch.arange(6).view(2, 3) // 2
MASKS = {
    "a segment per place": (SEGMENTS, (4, 5, 2, 3)),
    "with a dimension of channels": (SEGMENTS.view(1, 1, 2, 3), (4, 5, 2, 3)),
    "written out for all channels": (SEGMENTS.repeat(5, 1, 1), (4, 5, 2, 3)),
    "a view": (SEGMENTS.expand(5, 2, 3), (4, 5, 2, 3)),
    "a gate per channel": (torch.arange(5).view(5, 1, 1), (4, 5, 2, 3)),
    "channels and places": (torch.randperm(30).view(5, 2, 3), (4, 5, 2, 3)),
    "its own for each example": (torch.arange(12).view(4, 3) % 5, (4, 3)),
    "its own for each, spread": (torch.arange(4).view(4, 1, 1), (4, 2, 3)),
    "as many rows as examples, all alike": (torch.arange(3).repeat(4, 1), (4, 3)),
    "one gate for everything": (torch.tensor(0), (4, 3)),
    "yes or no": (torch.tensor([True, False, True]), (4, 3)),
    "small integers": (torch.tensor([1, 0, 2], dtype=torch.uint8), (4, 3)),
    "a gate that nothing has": (torch.tensor([2, 0, 2]), (4, 3)),
}


@kinds
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MASKS)
def test_elements_of_a_group_share_a_gate(kind, training, name):
    mask, shape = MASKS[name]
    count = int(mask.max()) + 1
    values = [g / count for g in range(count)]
    gates = made(kind, values, mask).train(training)
    alone = made(kind, values).train(training)
    x = torch.randn(shape, dtype=torch.float64)
    torch.manual_seed(5)
    gated, price = gates(x)
    torch.manual_seed(5)
    each, same_price = alone(torch.ones(len(x), count, dtype=torch.float64))
    groups = mask.long().expand(shape)
    wanted = torch.stack([x[n] * each[n][groups[n]] for n in range(len(x))])
    assert torch.equal(gated, wanted)
    assert torch.equal(price, same_price)


def test_what_a_group_learns_is_the_sum_over_its_elements():
    mask = torch.tensor([0, 1, 1, 0, 2])
    gates = made(GaussianStochasticGates, [0.3, 0.5, 0.7], mask, reg_weight=0.0).eval()
    x = torch.randn(4, 5, dtype=torch.float64)
    gates(x)[0].sum().backward()
    assert_close(gates.mu.grad, torch.stack([x[:, mask == g].sum() for g in range(3)]))


@kinds
def test_a_mask_is_the_module_s_own(kind):
    mask = torch.tensor([0, 1, 1])
    gates = kind(2, mask)
    other = kind(2, torch.tensor([1, 0, 0]))
    gates.load_state_dict(other.state_dict())
    assert mask.tolist() == [0, 1, 1]
    assert gates.mask.tolist() == [1, 0, 0]


# ------------------------------------------------------------------------------- what is drawn


@kinds
@pytest.mark.parametrize("mask", [None, torch.tensor([0, 1, 2, 0])])
def test_a_seed_repeats_the_gates_and_nothing_else_is_drawn(kind, mask):
    gates, x = kind(4 if mask is None else 3, mask), torch.ones(6, 4)
    torch.manual_seed(1)
    first, after = gates(x)[0], torch.rand(1)
    torch.manual_seed(1)
    again = gates(x)[0]
    other = gates(x)[0]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(first.unique(dim=0)) == 6, "every example has draws of its own"
    torch.manual_seed(1)
    draw = torch.rand if kind is BinaryConcreteStochasticGates else torch.randn
    draw(6, gates.n_gates)
    assert torch.equal(torch.rand(1), after)


@kinds
def test_draws_for_each_of_many_under_vmap(kind):
    gates, x = kind(3), torch.ones(4, 2, 3)
    gated = torch.vmap(lambda x: gates(x)[0], randomness="different")(x)
    assert gated.shape == x.shape
    assert len(gated.flatten(0, 1).unique(dim=0)) == 8


@kinds
def test_the_smallest_and_the_largest_draws_are_finite(kind):
    gates = made(kind, [0.1])
    gated, price = gates(torch.ones(300_000, 1))
    (gated.mean() + price).backward()
    assert all(p.grad.isfinite().all() for p in gates.parameters())
    assert gated.isfinite().all()
    assert gated.min() == 0
    assert gated.max() == 1


def test_eps_keeps_draws_from_the_ends():
    gates = made(BinaryConcreteStochasticGates, [0.0], eps=0.4, temperature=0.9)
    gated = gates(torch.ones(2000, 1))[0]
    ends = [sigmoid(math.log(u / (1 - u)) / 0.9) * 1.2 - 0.1 for u in (0.4, 0.6)]
    assert [gated.min().item(), gated.max().item()] == pytest.approx(ends, abs=1e-3)


# ------------------------------------------------------------------------- dtypes, devices, states


@kinds
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("own", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("given", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_gated_inputs_keep_their_dtype(kind, training, own, given):
    mask = torch.tensor([[0, 1, 2], [2, 1, 0]])
    gates = kind(3, mask).to(own).train(training)
    x = torch.randn(4, 2, 3).to(given)
    torch.manual_seed(0)
    gated, price = gates(x)
    assert gated.dtype == given
    best = torch.float64 if own == torch.float64 else torch.float32
    assert price.dtype == gates.get_gate_values().dtype == gates.get_gate_active_probs().dtype
    assert price.dtype == best
    torch.manual_seed(0)
    exact = gates.double()(x.double())[0]
    error = 2 * torch.finfo(given).eps + 2 * torch.finfo(best).eps
    assert_close(gated.double(), exact, rtol=error, atol=error)
    (gated.float().sum() + price).backward()
    assert all(p.grad.isfinite().all() for p in gates.parameters())


@kinds
def test_other_inputs_become_what_gates_are(kind):
    gates = kind(3)
    assert gates(torch.ones(2, 3, dtype=torch.long))[0].dtype == torch.float32
    assert gates(torch.ones(2, 3, dtype=torch.complex64))[0].dtype == torch.complex64
    assert gates(torch.ones(0, 3))[0].shape == (0, 3)


def test_a_penalty_in_half_precision_does_not_overflow():
    gates = GaussianStochasticGates(100_000).half()
    assert gates(torch.ones(1, 100_000).half())[1].item() == pytest.approx(84_134, rel=1e-3)


@kinds
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mask", [None, torch.tensor([2, 1, 0])])
def test_everything_is_on_the_device_of_the_module(kind, training, mask):
    gates = kind(3, mask).train(training).to("meta")
    gated, price = gates(torch.ones(2, 3, device="meta"))
    assert gated.device == price.device == torch.device("meta")


@kinds
def test_states_have_the_published_keys_and_come_back(kind):
    mask = torch.tensor([[0, 1], [0, 1]])
    gates = made(kind, [0.3, 0.8], mask)
    assert list(kind(2).state_dict()) == [NAMES[kind]]
    assert list(gates.state_dict()) == [NAMES[kind], "mask"]
    # A mask of another kind: there the gates lie along the other dimension.
    other = made(kind, [0.1, 0.2], mask.T)
    other.load_state_dict(gates.state_dict())
    parent = torch.nn.Sequential(made(kind, [0.1, 0.2], mask.T))
    parent.load_state_dict({f"0.{key}": value for key, value in gates.state_dict().items()})
    x = torch.randn(5, 2, 2, dtype=torch.float64)
    copies = [other, parent[0], copy.deepcopy(gates), pickle.loads(pickle.dumps(gates))]
    for each in copies:
        for training in (True, False):
            results = []
            for g in (gates, each):
                torch.manual_seed(2)
                results.append(g.train(training)(x))
            assert torch.equal(results[0][0], results[1][0])
            assert torch.equal(results[0][1], results[1][1])
    copies[2].load_state_dict(made(kind, [0.3, 0.8], mask.T).state_dict())
    changed = copies[2].eval()(torch.ones_like(x))[0]
    assert not torch.equal(changed, gates.eval()(torch.ones_like(x))[0])
    assert torch.equal(changed[0].T, gates(torch.ones_like(x))[0][0])


@kinds
def test_values_are_read_as_copies(kind):
    gates = kind(3)
    for read in (
        gates.get_gate_values,
        lambda: gates.get_gate_values(clamp=False),
        gates.get_gate_active_probs,
    ):
        values = read()
        assert not values.requires_grad
        before = values.clone()
        values.zero_()
        assert torch.equal(read(), before)


def test_a_new_gate_is_half_open_and_can_learn_either():
    for kind in KINDS:
        values = kind(1000).get_gate_values()
        assert values.mean().item() == pytest.approx(0.5, abs=0.002)
        assert 0 < values.std() < 0.02
    assert repr(GaussianStochasticGates(3)) == "GaussianStochasticGates(n_gates=3)"


# ------------------------------------------------------------------------------------ the price


@twins
@pytest.mark.parametrize("training", [True, False])
def test_the_price_is_reduced_as_asked(twin, training):
    chances = torch.tensor([twin.chance(value) for value in twin.values], dtype=torch.float64)
    x = torch.ones(2, 4, dtype=torch.float64)
    for reduction, wanted in (
        ("none", chances),
        ("mean", chances.mean()),
        ("sum", chances.sum()),
    ):
        gates = gates_of(twin, reg_weight=2.5, reg_reduction=reduction).train(training)
        price = gates(x)[1]
        assert_close(price, 2.5 * wanted)
        price.sum().backward()
        assert all((p.grad > 0).all() for p in gates.parameters())


class Bernoulli(StochasticGatesBase):
    """A distribution of one's own: open with a fixed chance."""

    def _sample_gate_values(self, batch_size):
        return 3.0 * (torch.rand(batch_size, self.n_gates) < 0.25)

    def _get_gate_values(self):
        return torch.full((self.n_gates,), 0.25)

    def _get_gate_active_probs(self):
        return torch.full((self.n_gates,), 0.25)


def test_a_distribution_of_one_s_own():
    gates = Bernoulli(2, torch.tensor([0, 1, 1]), reg_weight=4.0)
    gated, price = gates(torch.ones(4000, 3))
    assert set(gated.unique().tolist()) == {0, 1}
    assert gated.mean().item() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(gated[:, 1], gated[:, 2])
    assert price == 2
    assert gates.eval()(torch.ones(1, 3))[0].tolist() == [[0.25] * 3]
    with pytest.raises(TypeError, match="abstract"):
        StochasticGatesBase(2)


# --------------------------------------------------------------------------------- at the door


@kinds
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_gates": 0}, "n_gates of at least 1"),
        ({"n_gates": -2}, "n_gates of at least 1"),
        ({"n_gates": 3.0}, "n_gates of at least 1"),
        ({"n_gates": True}, "n_gates of at least 1"),
        ({"mask": torch.tensor([0, 1, 3])}, r"integers go from 0 to n_gates - 1 = 2\n.* 0 to 3"),
        ({"mask": torch.tensor([0, 1])}, r"integers go from 0 to n_gates - 1 = 2\n.* 0 to 1"),
        ({"mask": torch.tensor([-1, 2])}, r"integers go from 0 to n_gates - 1 = 2\n.* -1 to 2"),
        ({"mask": torch.tensor([0.0, 2.0])}, r"a mask of integers\n.* float32 tensor"),
        ({"mask": torch.tensor([2j])}, r"a mask of integers\n.* complex64 tensor"),
        ({"mask": torch.tensor([], dtype=torch.long)}, "a mask of integers"),
        ({"mask": [0, 1, 2]}, "a mask of integers"),
        ({"reg_reduction": "max"}, "one of 'none', 'mean', 'sum'"),
    ],
)
def test_gates_that_make_no_sense(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**{"n_gates": 3, **options})


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        *((BinaryConcreteStochasticGates, "temperature", v) for v in (0, 1, -0.5, math.nan)),
        *((BinaryConcreteStochasticGates, "lower_bound", v) for v in (0, 0.2, -math.inf)),
        *((BinaryConcreteStochasticGates, "upper_bound", v) for v in (1, 0.9, math.inf)),
        *((BinaryConcreteStochasticGates, "eps", v) for v in (-1e-8, 0.5, math.nan)),
        *((GaussianStochasticGates, "std", v) for v in (0, -1, math.inf, math.nan)),
    ],
)
def test_distributions_that_make_no_sense(kind, option, value):
    with pytest.raises(ValueError, match=rf"a finite {option} .*\n.*{option}={value}"):
        kind(3, **{option: value})


@kinds
@pytest.mark.parametrize(
    ("mask", "shape"),
    [
        (None, (3,)),
        (None, ()),
        (None, (3, 1)),
        (None, (3, 2, 3)),
        (torch.tensor([0, 1, 2]), (3,)),
        (torch.tensor([0, 1, 2]), (2, 4)),
        (torch.tensor([0, 1, 2]), (2, 3, 1)),
        (torch.tensor([[[0, 1, 2]]]), (2, 3)),
        (torch.tensor([[0, 1, 2]] * 3), (2, 3)),
        (torch.tensor(2), (3,)),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_inputs_that_do_not_fit(kind, mask, shape, training):
    wanted = "3 elements in each example" if mask is None else r"a shape that the mask \("
    with pytest.raises(ValueError, match=rf"inputs \(N, \*F\) with {wanted}"):
        kind(3, mask).train(training)(torch.ones(shape))
    with pytest.raises(TypeError, match="a tensor to gate"):
        kind(3, mask)([[1.0, 2.0, 3.0]])


@kinds
def test_one_gate_needs_a_dimension_of_its_own(kind):
    assert kind(1)(torch.ones(3, 1))[0].shape == (3, 1)
    with pytest.raises(ValueError, match="1 elements in each example"):
        kind(1)(torch.ones(3))
