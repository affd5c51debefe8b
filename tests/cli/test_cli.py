"""The command line, as users call it: models and inputs of every kind, errors of one line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from captum.attr import DeepLift, IntegratedGradients, Saliency
from captum.cli import main
from captum.cli.costs import COSTS
from captum.insights.methods import METHODS

CODE = """
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def load():
    return net


class Pictures(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.out = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.conv(x).relu().mean((2, 3)))


def total(a, b):
    return a.sum(1) + 2 * b.sum(1)


class names:
    add = staticmethod(lambda: total)


number = 3
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a module of the user's own, which is the current one."""
    (tmp_path / "users_models.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    torch.manual_seed(1)
    np.savez(tmp_path / "x.npz", x=torch.randn(3, 4).numpy())
    yield tmp_path
    sys.modules.pop("users_models", None)


def net():
    import users_models

    return users_models.net


def said(capsys, *argv):
    assert main(argv) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def rows(place):
    return torch.from_numpy(np.load(place / "x.npz")["x"])


def test_scores_are_the_methods_own(place, capsys):
    for name, given, kind in (
        ("IntegratedGradients", {"n_steps": 20}, IntegratedGradients),
        ("deep-lift", {}, DeepLift),
        ("saliency", {"abs": False}, Saliency),
    ):
        options = [f"--set={key}={json.dumps(value)}" for key, value in given.items()]
        call = ("explain", "users_models:load", "x.npz", "--method", name, "--json", *options)
        found = json.loads(said(capsys, *call))
        x = rows(place)
        target = net()(x).argmax(1)
        base = {} if kind is Saliency else {"baselines": torch.zeros_like(x)}
        truth = kind(net()).attribute(x, target=target, **base, **given)
        assert found["targets"] == target.tolist()
        assert torch.allclose(torch.tensor(found["scores"]["x"]), truth, atol=1e-6)
        outputs = net()(x).gather(1, target[:, None])[:, 0]
        assert torch.allclose(torch.tensor(found["outputs"]), outputs)
    one = json.loads(
        said(capsys, "explain", "users_models:net", "x.npz", "--target", "1", "--json")
    )
    assert one["targets"] == [1, 1, 1]


def test_a_summary_for_people(place, capsys):
    (place / "t.csv").write_text("age,height,weight,shoe\n1,2,3,4\n5,6,7,8.5\n")
    out = said(capsys, "explain", "users_models:net", "t.csv", "--method", "InputXGradient")
    assert "example 1: output" in out
    assert "t[shoe]" in out
    (place / "plain.csv").write_text("1,2,3,4\n")
    assert "example 0" in said(capsys, "explain", "users_models:net", "plain.csv")


def test_several_inputs_and_a_function(place, capsys):
    a, b = torch.randn(2, 3), torch.randn(2, 4)
    save_file({"a": a, "b": b}, place / "two.safetensors")
    call = ("explain", "users_models:names.add", "two.safetensors", "--out", "s.safetensors")
    assert "wrote s.safetensors" in said(capsys, *call)
    found = load_file(place / "s.safetensors")
    assert torch.allclose(found["a"], a, atol=1e-5)
    assert torch.allclose(found["b"], 2 * b, atol=1e-5)


def test_archives_and_scripts(place, capsys):
    x = rows(place)
    sys.path.insert(0, str(place))
    model = __import__("users_models").net.eval()
    batch = torch.export.Dim("batch", min=1, max=512)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: batch},))
    torch.export.save(program, place / "net.pt2")
    truth = IntegratedGradients(model).attribute(x, target=0)
    with pytest.warns(DeprecationWarning, match=r"torch\.jit"):
        traced = torch.jit.trace(model, x)
    traced.save(place / "net.pt")
    for file in ("net.pt2", "net.pt"):
        said(capsys, "explain", file, "x.npz", "--target", "0", "--out", "o.npz")
        assert torch.allclose(torch.from_numpy(np.load("o.npz")["x"]), truth, atol=1e-5)
    assert main(["explain", "net.pt", "x.npz", "--method", "DeepLift"]) == 1
    assert "TorchScript" in capsys.readouterr().err


def test_a_picture_and_a_report(place, capsys):
    Image.fromarray((np.random.default_rng(0).random((20, 30, 3)) * 255).astype("uint8")).save(
        place / "photo.png"
    )
    call = (
        "explain",
        "users_models:Pictures",
        "photo.png",
        "--size",
        "12",
        "16",
        "--set=n_steps=5",
    )
    (place / "classes.txt").write_text("cat\n<script>dog\n")
    out = said(capsys, *call, "--classes", "classes.txt", "--out", "report.html")
    assert out.strip() == "wrote report.html"
    page = (place / "report.html").read_text()
    assert "IntegratedGradients" in page
    assert "<script>dog" not in page
    found = json.loads(said(capsys, *call, "--out", "s.json", "--json"))
    assert found["file"] == "s.json"
    assert np.array(json.loads((place / "s.json").read_text())["scores"]["photo"]).shape == (
        1, 3, 12, 16,
    )  # fmt: skip


def test_methods_say_what_they_need_and_cost(capsys):
    assert set(COSTS) == set(METHODS)
    found = json.loads(said(capsys, "methods", "--json"))
    assert {row["name"] for row in found} == set(METHODS)
    assert all(row["needs"] and row["cost"] and row["about"] for row in found)
    text = said(capsys, "methods")
    assert "KernelShap" in text
    assert "2^G" in text


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere:load", "x.npz"], "No module named 'nowhere'"),
        (["users_models:lost", "x.npz"], "no attribute 'lost'"),
        (["users_models", "x.npz"], "package.module:callable"),
        (["users_models:number", "x.npz"], "not callable"),
        (["users_models:net", "y.npz"], "which is not there"),
        (["users_models:net", "users_models.py"], "inputs in .npz"),
        (["users_models:net", "words.csv"], "a table of numbers"),
        (["users_models:net", "empty.csv"], "a table with rows"),
        (["users_models:net", "odd.npz"], "of the same N examples"),
        (["state.pt", "x.npz"], "perhaps a state dict"),
        (["users_models:net", "x.npz", "--method", "Magic"], "a method: IntegratedGradients"),
        (["users_models:net", "x.npz", "--set", "n_steps=0"], "n_steps: a whole number"),
        (["users_models:net", "x.npz", "--set", "n_steps"], "a parameter and its value"),
        (["users_models:net", "x.npz", "--target", "7"], "--target below 3"),
        (["users_models:net", "x.npz", "--out", "scores.doc"], "--out in .html"),
        (
            ["users_models:net", "x.npz", "--out", "r.html", "--classes", "words.csv"],
            "a line for each of the 3 outputs",
        ),
    ],
)
def test_errors_are_one_line_that_helps(place, capsys, argv, message):
    (place / "words.csv").write_text("a,b\n1,two\n")
    (place / "empty.csv").write_text("a,b\n")
    np.savez(place / "odd.npz", a=np.zeros((2, 3)), b=np.zeros((3, 3)))
    torch.save(nn.Linear(2, 2).state_dict(), place / "state.pt")
    assert main(["explain", *argv]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert message in told.err
    assert told.err.startswith("captum: ")
    assert told.err.count("\n") == 1
    assert main(["explain", *argv, "--json"]) == 1
    assert message in json.loads(capsys.readouterr().out)["error"]


def test_tracebacks_on_request(place):
    with pytest.raises(ValueError, match="a method"):
        main(["explain", "users_models:net", "x.npz", "--method", "Magic", "--traceback"])


def test_a_page_to_look_around(place, capsys, monkeypatch):
    from captum.insights.server import Page

    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(Page, "wait", Page.stop)
    out = said(capsys, "insights", "users_models:net", "x.npz", "--json")
    url = json.loads(out.splitlines()[-1])["url"]
    assert opened == [url]
    assert "127.0.0.1" in url
    said(capsys, "insights", "users_models:net", "x.npz", "--no-browser")
    assert opened == [url]


def test_the_installed_command():
    command = Path(sys.executable).with_name("captum")
    for start in ([str(command)], [sys.executable, "-m", "captum"]):
        done = subprocess.run(
            [*start, "methods", "--json"], capture_output=True, text=True, check=True
        )
        assert len(json.loads(done.stdout)) == len(METHODS)
