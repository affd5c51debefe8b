"""The benchmark's own truth: its formulas by brute force, its findings with margin."""

import itertools
import json
from math import factorial, isnan

import pytest
import torch

from captum._engine.passes import counted
from captum.attr import ShapleyValues
from captum.benchmark import CONTESTANTS, INFLUENCES, JUDGES, TASKS, Results, Task, run
from captum.benchmark.training import run_influence, trained
from captum.cli import main


def brute_force(f, x):
    """Shapley values of one example by all orders of the coalitions."""
    n, found = len(x), torch.zeros(len(x), dtype=torch.float64)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for size in range(n):
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            for chosen in itertools.combinations(others, size):
                there = torch.zeros(n, dtype=torch.float64)
                there[list(chosen)] = x[list(chosen)].double()
                with_i = there.clone()
                with_i[i] = x[i]
                found[i] += weight * (f(with_i[None]) - f(there[None])).detach()[0]
    return found


def test_closed_forms():
    from captum.benchmark.tasks import Polynomial

    torch.manual_seed(0)
    model = Polynomial(torch.rand(7, 5) < 0.5, torch.randn(7).double()).double()
    x = torch.randn(3, 5).double()
    truth = torch.stack([brute_force(model, row) for row in x])
    assert torch.allclose(model.shapley(x), truth)
    for name in ("linear", "products"):
        task = TASKS[name](3)
        found = ShapleyValues(task.model).attribute(task.inputs[:4], task.baselines)
        assert torch.allclose(found, task.scores[:4], atol=1e-4)


@pytest.mark.parametrize("name", TASKS)
def test_tasks_are_made_alike_and_leave_chance_alone(name):
    before = torch.get_rng_state()
    one, other = TASKS[name](5), TASKS[name](5)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.inputs, other.inputs)
    assert torch.equal(one.model(one.inputs), other.model(other.inputs))
    assert isinstance(one, Task)
    assert (one.scores is None) != (one.inside is None)
    if one.inside is not None:
        assert one.inside.any(dim=tuple(range(1, one.inside.ndim))).all()
        right = (one.model(one.inputs).argmax(1) == one.target).float().mean()
        assert right > 0.9, "the net has learnt what was planted"


def test_what_it_finds():
    """Exact methods are exact where they must be; chance is chance; every method beats it."""
    found = run(seeds=3)
    of = {(r.task, r.method, r.metric): r for r in found.rows}
    for method in ("InputXGradient", "IntegratedGradients", "DeepLift", "LRP", "FeatureAblation",
                   "ShapleyValueSampling", "KernelShap"):  # fmt: skip
        assert of["linear", method, "error"].mean < 1e-4, method
    assert of["products", "IntegratedGradients", "error"].mean < 1e-4
    assert of["products", "KernelShap", "error"].mean < 0.1
    assert of["products", "FeatureAblation", "error"].mean > 0.5, "interactions count twice"
    assert abs(of["products", "chance", "agreement with truth"].mean) < 0.2
    for task in ("planted features", "planted shapes"):
        chance = of[task, "chance", "found what was planted"]
        for method in set(CONTESTANTS) - {"chance"}:
            row = of[task, method, "found what was planted"]
            assert row.mean > chance.mean + 2 * (row.error + chance.error), (task, method)
    assert of["linear", "FeatureAblation", "error"].passes == 12 + 1
    assert of["linear", "Saliency", "error"].passes == 1
    assert not any(row.reason for row in found.rows)
    for metric in JUDGES:
        text = found.table(metric)
        assert "*" in text
        assert all(method in text for method in CONTESTANTS)
    assert len(json.loads(found.to_json())) == len(found.rows)
    assert len(found.plot().axes) == len(JUDGES)


def test_planted_training_examples():
    rows = run_influence(seeds=2)
    assert {row.method for row in rows} == set(INFLUENCES)
    for row in rows:
        if row.task == "wrong labels":
            assert row.mean > 0.6, row.method
        else:
            assert row.mean > 5 / 300, row.method
    setting = trained(0)
    assert torch.equal(setting.asked[1], setting.data.tensors[1][setting.twins])
    assert not setting.flipped[setting.twins].any()
    assert "TRAK" in Results(rows).table("found what was planted")


def test_what_is_refused_is_said(monkeypatch):
    def refuses(task, model):
        raise ValueError("expected something else\n  got:   this")

    monkeypatch.setitem(CONTESTANTS, "own", refuses)
    (row,) = run(["own"], ["linear"], seeds=1).rows
    assert row.reason == "expected something else"
    assert isnan(row.mean)
    with pytest.raises(ValueError, match="tasks: linear"):
        run(tasks=["none"])
    with pytest.raises(ValueError, match="seeds of at least 1"):
        run(seeds=0)
    with pytest.raises(ValueError, match="a metric: agreement"):
        Results([row]).table("beauty")


def test_one_command(tmp_path, capsys):
    given = ["--seeds", "1", "--methods", "Saliency", "--tasks", "linear"]
    assert main(["benchmark", *given, "--out", str(tmp_path)]) == 0
    assert "Saliency" in capsys.readouterr().out
    assert json.loads((tmp_path / "benchmark.json").read_text())
    assert (tmp_path / "benchmark.png").stat().st_size > 5000
    assert main(["benchmark", *given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["method"] == "Saliency"


def test_rows_are_counted():
    model = torch.nn.Linear(2, 1)
    rows = []
    with counted(model, rows.append, pause=0):
        model(torch.zeros(3, 2))
        model(torch.zeros(4, 2))
    assert rows == [3, 7]
    model(torch.zeros(1, 2))
    assert rows == [3, 7]
