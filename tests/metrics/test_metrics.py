"""Metrics beside their formulas written out slowly, and where the answer is known."""

import inspect
import itertools
from math import isfinite, log

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from torch import nn

from captum import metrics as m
from captum.attr import IntegratedGradients, Saliency, ShapleyValues, Targets
from captum.metrics import METRICS
from captum.metrics.randomisation import spearman


def net(seed=0, inputs=6, classes=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, classes)).double().eval()


def data(count=4, inputs=6):
    torch.manual_seed(1)
    return torch.randn(count, inputs).double(), torch.arange(count) % 3


def setting():
    model, (x, y) = net(), data()
    torch.manual_seed(2)
    base = torch.randn(1, 6).double()
    mask = torch.tensor([[0, 1, 1, 2, 3, 3]])
    return model, x, y, torch.randn(4, 6).double(), base, mask


def number(model, x, y):
    return model(x).gather(1, y[:, None])[:, 0].detach()


def groups(scores, mask, i):
    """The features of an example from the largest score to the least, as sets of entries."""
    of = {g: [e for e in range(6) if mask[0, e] == g] for g in range(4)}
    sums = {g: float(scores[i, entries].sum()) for g, entries in of.items()}
    return [of[g] for g in sorted(of, key=lambda g: -sums[g])], sums


def without(model, x, y, base, entries):
    gone = x.clone()
    gone[entries] = base[0, entries]
    return float(number(model, gone[None], y[None]))


# ---------------------------------------------------------------------------- features go


def test_curves_written_out(unchanged):
    model, x, y, scores, base, mask = setting()
    given = {"baselines": base, "feature_mask": mask, "target": y, "n_steps": 4}
    with unchanged(model, x, scores):
        gone = m.deletion(model, x, scores, return_curve=True, **given)
        back = m.insertion(model, x, scores, return_curve=True, **given)
    flipped = m.pixel_flipping(model, x, scores, **given)
    assert gone.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    for i in range(4):
        ranked, _ = groups(scores, mask, i)
        goes, comes = [], []
        for k in range(5):
            first = list(itertools.chain(*ranked[:k]))
            rest = list(itertools.chain(*ranked[k:]))
            goes.append(without(model, x[i], y[i], base, first))
            comes.append(without(model, x[i], y[i], base, rest))
        assert gone.values[:, i].tolist() == pytest.approx(goes)
        assert back.values[:, i].tolist() == pytest.approx(comes)
        assert float(gone.area[i]) == pytest.approx(np.trapezoid(goes, dx=0.25))
        assert float(flipped[i]) == pytest.approx(goes[0] - np.mean(goes))
    assert torch.equal(m.deletion(model, x, scores, **given), gone.area)
    assert torch.equal(m.insertion(model, x, scores, **given), back.area)
    assert gone.plot(label="deletion").get_ylabel() == "explained output"


def test_shares_written_out():
    model, x, y, scores, base, mask = setting()
    given = {"baselines": base, "feature_mask": mask, "target": y, "shares": [0.1, 0.5, 0.75]}
    all_there = number(model, x, y)
    drop, keep = m.comprehensiveness(model, x, scores, **given), m.sufficiency(
        model, x, scores, **given
    )  # fmt: skip
    for i in range(4):
        ranked, _ = groups(scores, mask, i)
        drops, keeps = [], []
        for count in (1, 2, 3):
            first, rest = (
                list(itertools.chain(*part)) for part in (ranked[:count], ranked[count:])
            )
            drops.append(float(all_there[i]) - without(model, x[i], y[i], base, first))
            keeps.append(float(all_there[i]) - without(model, x[i], y[i], base, rest))
        assert float(drop[i]) == pytest.approx(np.mean(drops))
        assert float(keep[i]) == pytest.approx(np.mean(keeps))


def test_correlations_written_out():
    model, x, y, scores, base, mask = setting()
    given = {"baselines": base, "feature_mask": mask, "target": y}
    found = m.faithfulness_correlation(
        model, x, scores, subset_size=2, n_samples=30, **given,
        generator=torch.Generator().manual_seed(5),
    )  # fmt: skip
    draws = torch.rand((30, 4, 4), generator=torch.Generator().manual_seed(5))
    gone = draws.argsort(2).argsort(2) < 2
    every = m.sensitivity_n(
        model, x, scores, sizes=[2], n_samples=30, **given,
        generator=torch.Generator().manual_seed(5),
    )  # fmt: skip
    assert torch.equal(every, found[None])
    for i in range(4):
        _, sums = groups(scores, mask, i)
        told, truth = [], []
        for k in range(30):
            chosen = [g for g in range(4) if gone[k, i, g]]
            entries = [e for e in range(6) if mask[0, e] in chosen]
            told.append(sum(sums[g] for g in chosen))
            change = float(number(model, x, y)[i]) - without(model, x[i], y[i], base, entries)
            truth.append(change)
        assert float(found[i]) == pytest.approx(pearsonr(told, truth)[0])


def test_order_written_out():
    model, x, y, scores, base, mask = setting()
    found = m.monotonicity(model, x, scores, base, mask, None, y)
    for i in range(4):
        ranked, _ = groups(scores, mask, i)
        rising = ranked[::-1]
        values = [
            without(model, x[i], y[i], base, list(itertools.chain(*rising[k:]))) for k in range(5)
        ]
        moves = np.diff(values)
        assert float(found[i]) == pytest.approx(np.mean(np.diff(moves) >= 0))


def test_shapley_values_are_found_faithful():
    """And scores in another order are not: the direction of every metric, on a known game."""
    model = nn.Linear(8, 2).double()
    x = torch.randn(20, 8).double()
    right = ShapleyValues(model).attribute(x, target=0)
    wrong_ones = right[:, torch.randperm(8, generator=torch.Generator().manual_seed(0))]
    asked = {"target": 0}
    for name in ("deletion", "insertion", "pixel_flipping", "comprehensiveness", "sufficiency",
                 "faithfulness_correlation", "monotonicity"):  # fmt: skip
        measure = METRICS[name]
        good, bad = (measure.function(model, x, s, **asked).mean() for s in (right, wrong_ones))
        assert (good > bad) == (measure.better == "higher"), name
    assert torch.allclose(
        m.faithfulness_correlation(model, x, right, target=0), torch.ones(20).double()
    )
    assert torch.allclose(m.monotonicity(model, x, right, target=0), torch.ones(20).double())


def test_several_inputs_dicts_and_batches():
    """Rows in batches of one equal all at once; tuples and dicts are one explanation."""
    torch.manual_seed(0)
    a, b = torch.randn(3, 4).double(), torch.randn(3, 2).double()
    one, two = nn.Linear(4, 1).double(), nn.Linear(2, 1).double()
    model = lambda a, b, shift: torch.tanh(one(a) + two(b) + shift)  # noqa: E731
    shift = torch.randn(3, 1).double()
    scores = (torch.randn(3, 4).double(), torch.randn(3, 2).double())
    for function in (m.deletion, m.insertion, m.sufficiency, m.monotonicity):
        found = function(model, (a, b), scores, additional_forward_args=shift)
        for i in range(3):
            row = slice(i, i + 1)
            alone = function(
                model, (a[row], b[row]), tuple(s[row] for s in scores),
                additional_forward_args=shift[row],
            )  # fmt: skip
            assert torch.allclose(found[row], alone)
    named = m.deletion(
        lambda a, b: one(a) + two(b), {"a": a, "b": b}, dict(zip("ab", scores, strict=True))
    )
    assert torch.allclose(named, m.deletion(lambda a, b: one(a) + two(b), (a, b), scores))


# -------------------------------------------------------------------- noise: (in)fidelity


def test_infidelity_of_what_is_exact():
    """0 of a linear model's weights; twice them are wrong by E[(w·I)²], and with β right again."""
    model = nn.Linear(6, 3).double()
    x, y = data()
    weights = model.weight[y].detach()

    def noise(inputs):
        made = torch.randn_like(inputs)
        return made, inputs - made

    exact = m.infidelity(model, noise, x, weights, target=y)
    assert exact.abs().max() < 1e-12
    twice = m.infidelity(model, noise, x, 2 * weights, target=y, n_perturb_samples=4000)
    assert torch.allclose(twice, weights.square().sum(1), rtol=0.1)
    scaled = m.infidelity(model, noise, x, 2 * weights, target=y, normalize=True)
    assert scaled.abs().max() < 1e-12
    assert (m.infidelity(model, noise, x, 0 * weights, target=y, normalize=True) > 0).all()


def test_infidelity_of_several_targets_and_inputs():
    model, (x, _) = net(), data()
    scores = [torch.randn(4, 6).double() for _ in range(2)]

    def noise(inputs):
        made = 0.3 * torch.randn_like(inputs)
        return made, inputs - made

    torch.manual_seed(0)
    both = m.infidelity(model, noise, x, scores, target=Targets(0, 2))
    for k, target in enumerate((0, 2)):
        torch.manual_seed(0)
        assert torch.allclose(both[k], m.infidelity(model, noise, x, scores[k], target=target))

    def pair(inputs):
        made = tuple(0.1 * torch.randn_like(t) for t in inputs)
        return made, tuple(t - d for t, d in zip(inputs, made, strict=True))

    a, b = torch.randn(3, 4).double(), torch.randn(3, 2).double()
    total = lambda a, b: a.sum(1) + b.sum(1)  # noqa: E731
    found = m.infidelity(total, pair, (a, b), (torch.ones_like(a), torch.ones_like(b)))
    assert found.abs().max() < 1e-12


def test_perturbations_from_what_they_did():
    x, base = torch.tensor([[2.0, 4.0, 1.0]]), torch.tensor([[1.0, 0.0, 1.0]])
    made = m.infidelity_perturb_func_decorator(True)(lambda inputs, baselines: baselines)
    change, moved = made(x, base)
    assert change.tolist() == [[1, 1, 0]], "where x is its baseline, nothing was changed"
    assert torch.equal(moved, base)
    plain = m.infidelity_perturb_func_decorator(False)(lambda inputs: inputs * 0.5)
    assert plain(x)[0].tolist() == [[1, 2, 0.5]]
    with pytest.raises(ValueError, match="perturbed inputs of the inputs' shapes"):
        m.infidelity_perturb_func_decorator()(lambda inputs: inputs[:, :1])(x)


def test_sensitivities_of_what_is_known():
    """Of φ = 3 x, changes are three times the input's; relative ones are the same."""
    x = torch.rand(5, 4).double() + 1
    explain = lambda x: 3 * x  # noqa: E731
    moved = x + torch.rand(5, 4).double()
    fixed = lambda inputs: moved  # noqa: E731
    options = {"perturb_func": fixed, "n_perturb_samples": 1}
    ratio = (moved - x).norm(dim=1) / x.norm(dim=1)
    assert torch.allclose(m.sensitivity_max(explain, x, **options), ratio)
    assert torch.allclose(m.local_lipschitz(explain, x, **options), torch.full((5,), 3.0).double())
    model = lambda x: torch.stack([x.sum(1), -x.sum(1)], 1)  # noqa: E731
    same = m.relative_input_stability(explain, x, model, **options)
    assert torch.allclose(same, torch.ones(5).double())
    out = m.relative_output_stability(explain, x, model, **options)
    change = ((moved - x) / x).norm(dim=1) / (model(moved) - model(x)).norm(dim=1)
    assert torch.allclose(out, change)
    flips = lambda x: torch.stack([x.sum(1), x.sum(1) * 0 + 6.5], 1)  # noqa: E731
    answers = flips(moved).argmax(1) == flips(x).argmax(1)
    found = m.relative_input_stability(explain, x, flips, **options)
    assert torch.equal(found > 0, answers), "other answers do not count"


def test_samples_and_arguments_of_each_example():
    """Every row is explained as its own example: with its target and its baseline."""
    model, (x, y) = net(), data()
    explain = IntegratedGradients(model).attribute
    base = torch.randn(4, 6).double()
    torch.manual_seed(0)
    found = m.sensitivity_max(explain, x, target=y.tolist(), baselines=base, n_perturb_samples=3)
    torch.manual_seed(0)
    noise = torch.empty(12, 6).uniform_(-0.02, 0.02).double().reshape(4, 3, 6)
    for i in range(4):
        one = {"target": int(y[i]), "baselines": base[i : i + 1]}
        here = explain(x[i : i + 1], **one)
        there = [explain(x[i : i + 1] + noise[i, s], **one) for s in range(3)]
        ratios = [float((t - here).norm() / here.norm()) for t in there]
        assert float(found[i]) == pytest.approx(max(ratios))


# ------------------------------------------------------------------- the scores themselves


def test_shape_written_out():
    scores = torch.randn(5, 7).double()
    for row, gini, entropy in zip(
        scores.abs(), m.sparseness(scores), m.complexity(scores), strict=True
    ):
        pairs = (row[:, None] - row[None]).abs().mean() / (2 * row.mean())
        assert float(gini) == pytest.approx(float(pairs))
        p = row / row.sum()
        assert float(entropy) == pytest.approx(-float((p * p.log()).sum()))
    zeros = torch.zeros(1, 4)
    assert float(m.sparseness(zeros)) == 0
    assert float(m.complexity(zeros)) == pytest.approx(log(4))


def test_place_written_out():
    scores, inside = torch.randn(6, 3, 3).double(), torch.rand(6, 3, 3) > 0.5
    inside[:, 0, 0] = True
    mass, rank, hit = (f(scores, inside) for f in (m.relevance_mass, m.relevance_rank,
                                                   m.pointing_game))  # fmt: skip
    for i in range(6):
        s, k = scores[i].flatten(), inside[i].flatten()
        positive = s.clamp_min(0)
        assert float(mass[i]) == pytest.approx(float(positive[k].sum() / positive.sum()))
        top = s.topk(int(k.sum())).indices
        assert float(rank[i]) == pytest.approx(float(k[top].double().mean()))
        assert float(hit[i]) == float(k[s.argmax()])


# --------------------------------------------------------------------------- randomisation


def test_randomisation(unchanged):
    """What follows the weights changes; what only looks at the input does not, and is found out."""
    model, (x, y) = net(inputs=12), data(inputs=12)
    before = [p.clone() for p in model.parameters()]
    own = torch.Generator().manual_seed(0)
    with unchanged(model, x):
        found = m.parameter_randomisation(
            Saliency(model).attribute, model, x, target=y, generator=own
        )
    assert found.layers == ["2", "0"]
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert found.similarity[-1].mean() < 0.6
    edges = m.parameter_randomisation(lambda x: x**2, model, x, generator=own)
    assert torch.allclose(edges.similarity, torch.ones(2, 4).double())
    alone = m.parameter_randomisation(
        Saliency(model).attribute, model, x, ["0"], "independent", target=y, generator=own
    )
    assert alone.layers == ["0"]

    def broken(x, target):
        raise RuntimeError("no explanation")

    with pytest.raises(RuntimeError, match="no explanation"):
        m.parameter_randomisation(broken, model, x, target=0)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_rank_correlation():
    one = torch.randint(5, (6, 20)).double()
    other = torch.randint(5, (6, 20)).double()
    truth = [spearmanr(a, b)[0] for a, b in zip(one, other, strict=True)]
    assert spearman(one, other).tolist() == pytest.approx(truth)


# ------------------------------------------------------------------------------ promises


def test_every_metric_says_its_range_and_direction():
    """And keeps within it, on random scores."""
    model, x, y, scores, _, _ = setting()
    explain = Saliency(model).attribute

    def noise(inputs):
        made = torch.randn_like(inputs)
        return made, inputs - made

    public = {
        name
        for name in m.__all__
        if inspect.isfunction(getattr(m, name)) and "decorator" not in name
    }
    assert public == set(METRICS)
    for name, measure in METRICS.items():
        if measure.asks == "shape":
            found = measure.function(scores)
        elif measure.asks == "place":
            found = measure.function(scores, scores > scores.mean(1, keepdim=True))
        elif measure.asks == "weights":
            found = measure.function(explain, model, x, target=y).similarity
        elif name == "infidelity":
            found = measure.function(model, noise, x, scores, target=y)
        elif name.startswith("relative"):
            found = measure.function(explain, x, model, target=y)
        elif measure.asks == "stability":
            found = measure.function(explain, x, target=y)
        else:
            found = measure.function(model, x, scores, target=y)
        assert measure.better in ("higher", "lower")
        assert torch.isfinite(found).all(), name
        assert found.shape[-1] == 4, name
        assert (found >= measure.low).all(), name
        assert (found <= measure.high).all(), name
        assert not found.requires_grad, name
        doc = inspect.getdoc(measure.function)
        assert "(N,)" in doc or measure.asks == "weights" or "(n's, N)" in doc, name
        assert measure.better in doc, name
        assert isfinite(measure.low) or measure.low < 0, name


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda f, x, s: m.deletion(f, x, s[:, :2], target=0), ValueError, "of its shape"),
        (
            lambda f, x, s: m.deletion(f, x, None, target=0),
            ValueError,
            "attributions for the inputs",
        ),
        (lambda f, x, s: m.deletion(f, x, s, target=0, n_steps=0), ValueError, "n_steps of at"),
        (lambda f, x, s: m.deletion(f, x, s, target=Targets(0, 1)), TypeError, "one target"),
        (lambda f, x, s: m.sufficiency(f, x, s, target=0, shares=[0]), ValueError, "shares above"),
        (
            lambda f, x, s: m.faithfulness_correlation(f, x, s, target=0, subset_size=6),
            ValueError,
            "subsets of 1 to 5",
        ),
        (
            lambda f, x, s: m.monotonicity(
                f, x, s, target=0, feature_mask=torch.zeros(1, 6).long()
            ),
            ValueError,
            "two features",
        ),
        (lambda f, x, s: m.infidelity(f, lambda i: i, x, s, target=0), TypeError, "decorator"),
        (
            lambda f, x, s: m.infidelity(f, lambda i: (i[:2], i), x, s, target=0),
            ValueError,
            "of shapes",
        ),
        (
            lambda f, x, s: m.infidelity(f, lambda i: (i, i), x, [s], target=Targets(0, 1)),
            ValueError,
            "attributions of 2 targets",
        ),
        (
            lambda f, x, s: m.sensitivity_max(lambda i: i.sum(), x),
            ValueError,
            "an explanation with a row",
        ),
        (
            lambda f, x, s: m.sensitivity_max(lambda i: i, x, lambda i: i[:1]),
            ValueError,
            "perturbed inputs of the",
        ),
        (
            lambda f, x, s: m.sensitivity_max(lambda i: i, x, max_examples_per_batch=0),
            ValueError,
            "max_examples_per_batch",
        ),
        (
            lambda f, x, s: m.relative_input_stability(lambda i: i, x, lambda i: i[:, 0]),
            ValueError,
            "an output",
        ),
        (lambda f, x, s: m.sparseness("scores"), TypeError, "scores"),
        (lambda f, x, s: m.pointing_game(s, s[:, :2] > 0), ValueError, "masks of the scores"),
        (lambda f, x, s: m.relevance_mass(s, s * 0), ValueError, "something inside"),
        (
            lambda f, x, s: m.parameter_randomisation(lambda i: i, f, x, order="up"),
            ValueError,
            "order 'cascade'",
        ),
        (
            lambda f, x, s: m.parameter_randomisation(lambda i: i, f, x, ["fc"]),
            ValueError,
            "modules of the model",
        ),
    ],
)
def test_refused(call, kind, message):
    model, x, _, scores, _, _ = setting()
    with pytest.raises(kind, match=message):
        call(model, x, scores)
