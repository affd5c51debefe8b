"""`python -m captum.demo`: train a model on real data, ask why, see the answer.

A small network learns to tell malignant from benign tumours (scikit-learn's breast-cancer data).
Integrated gradients say which measurements speak for its answers, conductance which hidden
neurons, and one neuron is asked for its own view. The terminal shows a table, an HTML file the
pictures.
"""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.errors import extra
from captum.attr import IntegratedGradients, LayerConductance, NeuronConductance

MALIGNANT = 0
FOR, AGAINST = "#b4413c", "#3c6e91"


@dataclass(frozen=True)
class Trained:
    """A model and the data it has not seen."""

    model: nn.Sequential
    names: list[str]
    inputs: Tensor  # (N, 30), standardised
    labels: Tensor  # (N,)
    accuracy: float


@dataclass(frozen=True)
class Explained:
    """Scores (N, 30), conductance (N, 8), the busiest neuron and its view (N, 30)."""

    scores: Tensor
    delta: float
    conductance: Tensor
    neuron: int
    view: Tensor


def train(seed: int = 0, epochs: int = 60) -> Trained:
    """A 30-16-8-2 network, trained on three quarters of the data in a second or two."""
    data = extra("sklearn.datasets", "tutorials").load_breast_cancer()
    torch.manual_seed(seed)
    order = torch.randperm(len(data.target))
    inputs = torch.tensor(data.data, dtype=torch.float32)[order]
    labels = torch.tensor(data.target)[order]
    cut = 3 * len(labels) // 4
    inputs = (inputs - inputs[:cut].mean(0)) / inputs[:cut].std(0)
    model = nn.Sequential(
        nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2)
    )
    step = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.05)
    for _ in range(epochs):
        for rows in torch.chunk(torch.randperm(cut), 7):
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            step.zero_grad()
            torch.autograd.backward(loss)
            step.step()
    model.eval()
    with torch.no_grad():
        right = model(inputs[cut:]).argmax(1) == labels[cut:]
    names = [str(name) for name in data.feature_names]
    return Trained(model, names, inputs[cut:], labels[cut:], float(right.float().mean()))


def explain(trained: Trained, show_progress: bool = True) -> Explained:
    """Which measurements, which hidden neurons, and what one of them looks at."""
    model, inputs = trained.model, trained.inputs
    scores, delta = IntegratedGradients(model).attribute(
        inputs,
        target=MALIGNANT,
        n_steps=1000,
        return_convergence_delta=True,
        show_progress=show_progress,
    )
    hidden = model[3]
    conductance = LayerConductance(model, hidden).attribute(inputs, target=MALIGNANT, n_steps=200)
    neuron = int(conductance.abs().mean(0).argmax())
    view = NeuronConductance(model, hidden).attribute(inputs, neuron, target=MALIGNANT)
    return Explained(scores, float(delta.abs().max()), conductance, neuron, view)


def table(trained: Trained, found: Explained, rows: int = 8) -> str:
    """The measurements that matter most, for all and for the two diagnoses."""
    malignant = trained.labels == MALIGNANT
    columns = (found.scores.abs(), found.scores[malignant], found.scores[~malignant])
    size, ill, well = (scores.mean(0) for scores in columns)
    lines = [f"{'measurement':<26}{'mean |score|':>13}{'malignant':>12}{'benign':>10}"]
    for i in size.argsort(descending=True)[:rows].tolist():
        bar = "█" * round(20 * float(size[i] / size.max()))
        name = trained.names[i]
        lines.append(f"{name:<26}{size[i]:>13.2f}{ill[i]:>12.2f}{well[i]:>10.2f}  {bar}")
    return "\n".join(lines)


def pictures(trained: Trained, found: Explained) -> dict[str, str]:
    """Title and caption -> PNG, as text for a page."""
    figure = extra("matplotlib.figure", "viz").Figure
    case = int((found.scores.sum(1) * (trained.labels == MALIGNANT)).argmax())
    drawn = {
        "Which measurements speak for “malignant”: one patient": _bars(
            figure, found.scores[case], trained.names, "score of integrated gradients"
        ),
        "Which hidden neurons carry the answer: every patient, sorted by the model's answer": _map(
            figure, trained, found.conductance
        ),
        f"What neuron {found.neuron} looks at: the same patient": _bars(
            figure, found.view[case], trained.names, "conductance through the neuron"
        ),
    }
    return {title: _png(each) for title, each in drawn.items()}


def _bars(figure: Any, scores: Tensor, names: list[str], label: str, count: int = 12) -> Any:
    chosen = scores.abs().argsort(descending=True)[:count].flip(0).tolist()
    fig = figure(figsize=(7, 4.2), layout="constrained")
    axis = fig.subplots()
    values = [float(scores[i]) for i in chosen]
    axis.barh([names[i] for i in chosen], values, color=[FOR if v > 0 else AGAINST for v in values])
    axis.axvline(0, color="0.3", linewidth=0.8)
    axis.set_xlabel(f"{label} (right: for malignant)")
    axis.spines[["top", "right", "left"]].set_visible(False)
    return fig


def _map(figure: Any, trained: Trained, conductance: Tensor) -> Any:
    with torch.no_grad():
        order = trained.model(trained.inputs)[:, MALIGNANT].argsort()
    span = float(conductance.abs().max())
    fig = figure(figsize=(7, 3), layout="constrained")
    axis = fig.subplots()
    shown = axis.imshow(
        conductance[order].T.numpy(), aspect="auto", cmap="RdBu_r", vmin=-span, vmax=span
    )
    axis.set(xlabel="patients: benign → malignant", ylabel="hidden neuron")
    fig.colorbar(shown, label="conductance")
    return fig


def _png(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return base64.b64encode(buffer.getvalue()).decode()


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Why this diagnosis?</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; color: #222;
        padding: 0 1rem }}
h1 {{ font-size: 1.6rem }} h2 {{ font-size: 1.1rem; margin-top: 2rem }}
pre {{ background: #f5f5f3; padding: 1rem; overflow-x: auto; font-size: .8rem; line-height: 1.35 }}
img {{ max-width: 100% }}
</style>
<h1>Why this diagnosis?</h1>
<p>A 30-16-8-2 network tells malignant from benign tumours and is right on {accuracy:.1%} of
{count} patients it has never seen. These are its reasons. Every score is a share of the output
“malignant”: over the measurements of a patient the scores add up to the output's change from an
average patient, within {delta:.1g}.</p>
<h2>The measurements that matter most</h2>
<pre>{table}</pre>
{pictures}
</html>
"""


def report(trained: Trained, found: Explained, path: Path) -> Path:
    """One self-contained HTML file."""
    shown = "\n".join(
        f'<h2>{html.escape(title)}</h2>\n<img alt="{html.escape(title)}" '
        f'src="data:image/png;base64,{png}">'
        for title, png in pictures(trained, found).items()
    )
    page = _PAGE.format(
        accuracy=trained.accuracy,
        count=len(trained.labels),
        delta=found.delta,
        table=html.escape(table(trained, found)),
        pictures=shown,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path.resolve()


def main() -> None:
    """Train, explain, show."""
    print("Training a network on scikit-learn's breast-cancer data …")
    trained = train()
    print(f"right on {trained.accuracy:.1%} of {len(trained.labels)} unseen patients\n")
    found = explain(trained)
    print("\nWhat speaks for “malignant” (integrated gradients):\n")
    print(table(trained, found))
    print(f"\nScores add up to the output's change within {found.delta:.1g}.")
    share = found.conductance.abs().mean(0)
    busiest = float(share[found.neuron] / share.sum())
    print(f"Hidden neuron {found.neuron} carries {busiest:.0%} of the conductance.")
    print(f"\nReport: {report(trained, found, Path('captum-demo/report.html'))}")


if __name__ == "__main__":
    main()
