"""What was found: rows, as a table, a picture or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from captum._engine.errors import extra, wrong

# Of each metric of the benchmark, which way is better.
BETTER = {
    "agreement with truth": "higher",
    "error": "lower",
    "found what was planted": "higher",
    "deletion": "lower",
    "faithfulness correlation": "higher",
}


@dataclass(frozen=True)
class Row:
    """A method's score on a task.

    Args:
        task: its name.
        method: its name.
        metric: its name.
        mean: over seeds of the mean over examples.
        error: the standard error of that; NaN of a single seed.
        passes: rows through the model, forward, for each example.
        seconds: for each example, of one thread's CPU.
        reason: why there is no score, where there is none.
    """

    task: str
    method: str
    metric: str
    mean: float
    error: float
    passes: float
    seconds: float
    reason: str = ""


def over_seeds(
    task: str, method: str, metric: str, values: Sequence[float], seconds: float, passes: float = 0
) -> Row:
    """A row from a number of each seed."""
    over = torch.tensor(values, dtype=torch.float64)
    off = float(over.std() / len(over) ** 0.5) if len(over) > 1 else float("nan")
    return Row(task, method, metric, float(over.mean()), off, passes, seconds)


@dataclass(frozen=True)
class Results:
    """The rows of a run, as a table, a picture or JSON."""

    rows: list[Row]

    def table(self, metric: str) -> str:
        """Methods by tasks, the best of each column marked, as text."""
        return "\n".join(_table(self.rows, metric))

    def to_json(self) -> str:
        """All rows."""
        return json.dumps([asdict(row) for row in self.rows], indent=1)

    def plot(self, path: str | Path | None = None, show: bool = False) -> Any:
        """A panel for each metric: methods beside one another, tasks in colours, with errors."""
        pyplot = extra("matplotlib.pyplot", "viz")
        figure = _drawn(pyplot, self.rows)
        if path is not None:
            figure.savefig(path, dpi=110, bbox_inches="tight")
        if show:
            pyplot.show()
        return figure


def _table(rows: list[Row], metric: str) -> Iterator[str]:
    if metric not in BETTER:
        raise wrong(ValueError, f"a metric: {', '.join(BETTER)}", repr(metric), "table('error')")
    better = BETTER[metric]
    cells = {(r.method, r.task): r for r in rows if r.metric == metric and not r.reason}
    tasks = list(dict.fromkeys(task for _, task in cells))
    yield f"{metric} ({better} is better)"
    yield f"{'':22}" + "".join(f"{task:>22}" for task in tasks) + f"{'rows an example':>18}"
    pick = max if better == "higher" else min
    best = {t: pick(r.mean for (_, task), r in cells.items() if task == t) for t in tasks}
    for method in dict.fromkeys(r.method for r in rows):
        line, passes = f"{method:22}", []
        for task in tasks:
            row = cells.get((method, task))
            if row is None:
                line += f"{'-':>22}"
                continue
            mark = "*" if abs(row.mean - best[task]) <= row.error else " "
            line += f"{row.mean:.3f} ± {row.error:.3f}{mark}".rjust(22)
            passes.append(row.passes)
        yield line + (f"{sum(passes) / len(passes):18.0f}" if passes else "")


def _drawn(pyplot: Any, rows: list[Row]) -> Any:
    names = [m for m in BETTER if any(r.metric == m and not r.reason for r in rows)]
    methods = list(dict.fromkeys(r.method for r in rows))
    tasks = list(dict.fromkeys(r.task for r in rows))
    figure, axes = pyplot.subplots(
        1, len(names), figsize=(3.2 * len(names), 0.32 * len(methods) + 1.2), sharey=True,
        squeeze=False,
    )  # fmt: skip
    for axis, name in zip(axes[0], names, strict=True):
        for k, task in enumerate(tasks):
            cells = [r for r in rows if (r.task, r.metric) == (task, name) and not r.reason]
            places = [methods.index(r.method) + 0.12 * (k - (len(tasks) - 1) / 2) for r in cells]
            axis.errorbar(
                [r.mean for r in cells], places, xerr=[r.error for r in cells], fmt="o",
                markersize=4, label=task,
            )  # fmt: skip
        axis.set_title(f"{name}\n({BETTER[name]} is better)", fontsize=9)
        axis.grid(axis="x", alpha=0.3)
    axes[0][0].set_yticks(range(len(methods)), methods, fontsize=8)
    axes[0][0].invert_yaxis()
    handles, labels = axes[0][-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=len(tasks), fontsize=8)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    return figure
