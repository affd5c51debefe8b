"""Comparison of attacks, the least perturbation, curves over radii, attacks on explanations."""

from collections import namedtuple
from math import isnan

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from captum.attr import FeatureAblation, IntegratedGradients, Saliency
from captum.robust import (
    APGD,
    FGSM,
    PGD,
    AttackComparator,
    ExplanationAttack,
    MinParamPerturbation,
    Square,
    robustness_curve,
)

from .test_attacks import CE, data, linear, net

Metrics = namedtuple("Metrics", "right loss")


def metrics(output, target):
    return Metrics((output.argmax(1) == target).float(), F.cross_entropy(output, target))


# ------------------------------------------------------------------------------- comparison


def test_comparison_written_out(unchanged):
    model, (x, y) = net(), data()
    shifts = iter([0.0, 0.5, 1.0, 0.0, 0.5, 1.0])
    compare = AttackComparator(model, metrics)
    compare.add_attack(lambda x: x + next(shifts), "shift", num_attempts=3)
    compare.add_attack(
        FGSM(model, CE), attack_kwargs={"epsilon": 0.1}, additional_attack_arg_names=["target"]
    )
    with unchanged(model, x, y):
        found = compare.evaluate(x, target=y)
    each = [metrics(model(x + s), y) for s in (0.0, 0.5, 1.0)]
    rows = torch.stack([m.right for m in each])
    assert isinstance(found["shift"]["mean"], Metrics)
    assert torch.equal(found["shift"]["mean"].right, rows.mean(0))
    assert torch.equal(found["shift"]["min"].right, rows.amin(0))
    assert torch.equal(found["shift"]["max"].right, rows.amax(0))
    assert torch.allclose(found["Original"].loss, metrics(model(x), y).loss)
    pushed = FGSM(model, CE).perturb(x, 0.1, y)
    assert torch.allclose(found["FGSM"]["mean"].loss, metrics(model(pushed), y).loss)
    assert set(found["FGSM"]) == {"mean"}
    assert not any(t.requires_grad for m in found["shift"].values() for t in m)
    again = compare.evaluate(x, perturbations_per_eval=4, target=y)
    assert torch.allclose(again["shift"]["mean"].right, found["shift"]["mean"].right)


def test_summaries_weigh_examples():
    """A batch of one counts a fifth of a batch of five: the mean over all examples."""
    model, (x, y) = net(), data(6)
    compare = AttackComparator(model, lambda output, target: (output.argmax(1) == target).float())
    compare.add_attack(lambda x: x, "same", num_attempts=2)
    right = (model(x).argmax(1) == y).float()
    for part in (slice(0, 5), slice(5, 6)):
        compare.evaluate(x[part], target=y[part])
    summary = compare.summary()
    assert set(summary) == {"Original", "same Mean Attempt", "same Min Attempt", "same Max Attempt"}
    assert all(torch.allclose(each["mean"], right.mean()) for each in summary.values())
    compare.reset()
    assert compare.summary() == {}


def test_whatever_the_model_takes():
    """Words, made into tensors, attacked before and after that; numbers as metrics."""
    model = net()
    ready = lambda words: torch.tensor([[float(len(w))] * 6 for w in words]).double()  # noqa: E731
    compare = AttackComparator(model, lambda output: float(output.mean()), ready)
    compare.add_attack(lambda words: [w + "!" for w in words], "louder")
    compare.add_attack(lambda x: x + 1, "more", apply_before_preproc=False)
    found = compare.evaluate(["a", "bb"])
    assert found["louder"]["mean"] == found["more"]["mean"] != found["Original"]
    with pytest.raises(RuntimeError, match="a name of its own"):
        compare.add_attack(lambda x: x, "more")
    with pytest.raises(TypeError, match="a metric that is"):
        AttackComparator(model, lambda output: "good").evaluate(torch.ones(1, 6).double())
    with pytest.raises(ValueError, match="perturbations_per_eval of at least 1"):
        compare.evaluate(["a"], perturbations_per_eval=0)


# --------------------------------------------------------------------- the least perturbation


def darker(x, by):
    return x - torch.tensor([by, 0.0, 0.0]).double()


@pytest.mark.parametrize("mode", ["linear", "binary"])
@pytest.mark.parametrize("together", [1, 3, 50])
def test_the_least(mode, together):
    """2 x₀ - x₁ + 2 x₂ - ½ turns at by = (score) / 2."""
    model = linear()
    x = torch.tensor([[1.0, 0.0, 0.3], [2.0, 0.0, 0.0], [0.4, 0, 0]]).double()
    target = model(x).argmax(1)
    search = MinParamPerturbation(model, darker, "by", 0.0, 1.6, 0.1, mode)
    scores = (x @ model.weight[0] + model.bias[0]).tolist()
    truth = [next((k / 10 for k in range(16) if s - k / 5 < 0), None) for s in scores]
    for i in range(3):
        changed, value = search.evaluate(
            x[i : i + 1], target=target[i], perturbations_per_eval=together
        )
        if truth[i] is None:
            assert changed is None
            assert value is None
        else:
            assert value == pytest.approx(truth[i])
            assert torch.equal(changed, darker(x[i : i + 1], value))
    changed, values = search.evaluate_each(x, target=target)
    for i in range(3):
        if truth[i] is None:
            assert values[i].isnan()
            assert torch.equal(changed[i], x[i])
        else:
            assert float(values[i]) == pytest.approx(truth[i])
            assert torch.allclose(changed[i], darker(x[i : i + 1], truth[i])[0])
    first = min(t for t in truth if t is not None)
    assert search.evaluate(x, target=target)[1] == pytest.approx(first)


def test_only_what_still_stands_is_asked():
    model, rows = linear(), []
    x = torch.tensor([[0.4, 0, 0], [0.9, 0, 0]]).double()
    target = model(x).argmax(1)
    model.register_forward_hook(lambda _m, _i, out: rows.append(len(out)))
    MinParamPerturbation(model, darker, "by", 0.0, 2.0, 0.1).evaluate_each(x, target=target)
    assert rows == [2, 2, 2, *[1] * 5]


def test_attempts_preprocessing_and_a_rule_of_ones_own():
    model, seen = linear(), []

    def attack(words, shift, extra=0):
        seen.append((shift, extra))
        return [w + shift for w in words]

    ready = lambda numbers: torch.tensor([[float(n), 0, 0] for n in numbers]).double()  # noqa: E731
    search = MinParamPerturbation(
        model,
        attack,
        "shift",
        0,
        5,
        1,
        num_attempts=2,
        preproc_fn=ready,
        apply_before_preproc=True,
        correct_fn=lambda output, below: bool((output[:, 0] < below).all()),
    )
    found = search.evaluate([1.0], attack_kwargs={"extra": 7}, correct_fn_kwargs={"below": 4.0})
    assert found == ([3.0], 2)
    assert seen == [(0, 7), (0, 7), (1, 7), (1, 7), (2, 7)]
    with pytest.raises(ValueError, match="a target, or a correct_fn"):
        MinParamPerturbation(model, darker, "by", 0, 1, 0.1).evaluate(torch.ones(1, 3).double())
    for bad in ({"mode": "up"}, {"arg_step": 0}, {"arg_max": 0}, {"num_attempts": 0}):
        options = {"arg_min": 0, "arg_max": 1, "arg_step": 0.1, **bad}
        with pytest.raises(ValueError, match="works"):
            MinParamPerturbation(model, darker, "by", **options)


def test_each_example_behind_a_preprocessing():
    """What comes back is what the attack made: of the inputs, or of what became of them."""
    model = linear()
    x = torch.tensor([[1.0, 0.0], [4.0, 0.0]]).double()
    ready = lambda x: torch.cat([x, torch.zeros(len(x), 1).double()], 1)  # noqa: E731
    target = model(ready(x)).argmax(1)
    fewer = lambda x, by: x - torch.tensor([by, 0.0]).double()  # noqa: E731
    for before, attack, width in ((False, darker, 3), (True, fewer, 2)):
        search = MinParamPerturbation(
            model, attack, "by", 0.0, 2.0, 0.1, "binary", 1, ready, before
        )
        changed, values = search.evaluate_each(x, target=target)
        assert changed.shape == (2, width)
        assert float(values[0]) == pytest.approx(0.8)
        assert values[1].isnan()


def test_attacks_of_the_library_are_searched():
    model, (x, y) = net(), data()
    y = model(x).argmax(1)
    search = MinParamPerturbation(model, FGSM(model, CE), "epsilon", 0.0, 1.0, 0.05, "binary")
    changed, values = search.evaluate_each(x, target=y, attack_kwargs={"target": y})
    for i, value in enumerate(values.tolist()):
        if not isnan(value):
            alone = FGSM(model, CE).perturb(x[i : i + 1], value, y[i : i + 1])
            assert torch.allclose(changed[i], alone[0])
            assert model(alone).argmax(1) != y[i]


# ------------------------------------------------------------------------------------ curves


@pytest.mark.parametrize("attack", [FGSM, APGD, Square])
def test_a_linear_models_curve_is_known(attack):
    """Answers survive up to |score| / |w|₁."""
    model = linear()
    x = torch.randn(40, 3).double()
    y = model(x).argmax(1)
    y[:4] = 1 - y[:4]
    radii = [0.4, 0.05, 0.1, 0.2]
    options = {FGSM: {"radius_name": "epsilon"}, APGD: {"step_num": 10}, Square: {"query_num": 300}}
    made = attack(model, CE) if attack is FGSM else attack(model)
    curve = robustness_curve(made, x, y, radii, **options[attack])
    least = (x @ model.weight[0] + model.bias[0]).detach().abs() / 5
    least[:4] = 0
    truth = [(least > r).double().mean() for r in sorted(radii)]
    assert torch.allclose(curve.accuracy, torch.stack(truth).float())
    for i, far in enumerate(curve.broken_at.tolist()):
        expected = 0 if i < 4 else next((r for r in sorted(radii) if r > least[i]), float("inf"))
        assert far == pytest.approx(expected)
    broken = curve.broken_at.isfinite()
    assert (model(curve.points[broken]).argmax(1) != y[broken]).all()
    axis = curve.plot(label="attack")
    assert axis.get_xlabel() == "radius"


def test_masked_gradients_are_found_out():
    """Steps have no slope; squares do not need one."""
    model = linear()
    stairs = lambda x: (model(x) * 20).round()  # noqa: E731
    x = torch.randn(30, 3).double()
    y = model(x).argmax(1)
    with (
        pytest.warns(UserWarning, match="has no gradient"),
        pytest.warns(UserWarning, match="gradients are masked"),
    ):
        robustness_curve(PGD(stairs, CE), x, y, [0.3], step_size=0.1, step_num=3)
    with pytest.raises(ValueError, match="radii of at least 0"):
        robustness_curve(APGD(model), x, y, [-1.0])


# ----------------------------------------------------------------------- of the explanation


@pytest.mark.parametrize("kind", [Saliency, IntegratedGradients, FeatureAblation])
def test_explanations_change_and_answers_do_not(kind, unchanged):
    model, (x, _) = net(), data()
    method = kind(model)
    target = model(x).argmax(1)
    attack = ExplanationAttack(method, -3, 3)
    own = torch.Generator().manual_seed(0)
    with unchanged(model, x):
        moved = attack.perturb(x, 0.3, target, generator=own)
    assert (moved - x).abs().max() <= 0.3 + 1e-9
    assert torch.equal(model(moved).argmax(1), target)
    before, after = (method.attribute(v, target=target).flatten(1) for v in (x, moved))
    change = 1 - F.cosine_similarity(before, after)
    chances = []
    for _ in range(10):
        noise = x + 0.3 * torch.randn(x.shape, generator=own).sign().double()
        there = method.attribute(noise, target=target).flatten(1)
        allowed = model(noise).argmax(1) == target
        chances.append((1 - F.cosine_similarity(before, there)) * allowed)
    assert change.mean() > 1.5 * torch.stack(chances).mean()
    tight = attack.perturb(x, 0.3, target, step_num=15, tolerance=1e-3, generator=own)
    picked = torch.arange(len(x)), target
    assert ((model(tight)[picked] - model(x)[picked]).abs() <= 1e-3).all()


def test_what_has_no_way_stays():
    model = nn.Linear(6, 3).double()
    x = data()[0]
    attack = ExplanationAttack(Saliency(model))
    assert torch.equal(attack.perturb(x, 0.3, 0, step_num=3), x)
    with pytest.raises(TypeError, match="an attribution method"):
        ExplanationAttack(model)
    with pytest.raises(TypeError, match="floating point"):
        attack.perturb(x.long(), 0.3, 0)
