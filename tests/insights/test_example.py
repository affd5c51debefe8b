"""`python -m captum.insights.example` has something true to show."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from captum.insights import example


@pytest.fixture(scope="module")
def visualizer() -> example.AttributionVisualizer:
    return example.visualizer(epochs=3)


def test_the_networks_read_digits(visualizer: example.AttributionVisualizer) -> None:
    outputs = visualizer.visualize(method="Saliency", examples=100)
    for model in (0, 1):
        right = sum(each[model].predicted[0].index == each[model].actual.index for each in outputs)
        assert right > 80


def test_it_can_be_saved(
    visualizer: example.AttributionVisualizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(example, "visualizer", lambda: visualizer)
    example.main(["--save", str(tmp_path / "digits.html")])
    assert "digits.html" in capsys.readouterr().out
    assert (tmp_path / "digits.html").stat().st_size > 50_000


def test_without_scikit_learn_it_draws_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    data = example.real_or_drawn()
    assert data.names == ["disc", "square", "cross"]
    assert data.pictures.shape == (1500, 1, 16, 16)
    means = [float(data.pictures[data.labels == i].mean()) for i in range(3)]
    assert means[1] > means[0] > means[2]  # of the same width, a square is the largest


def test_it_serves_until_it_is_stopped(
    visualizer: example.AttributionVisualizer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened = []
    monkeypatch.setattr(example, "visualizer", lambda: visualizer)
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("captum.insights.server.Page.wait", lambda page: page.stop())
    example.main([])
    example.main(["--no-browser"])
    assert len(opened) == 1
    assert opened[0] in capsys.readouterr().out
