"""Every method on every task, by every metric, from several seeds: means, errors and costs."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from captum import metrics
from captum._engine.errors import wrong
from captum._engine.passes import counted
from captum._engine.progress import Progress
from captum.benchmark.contestants import CONTESTANTS
from captum.benchmark.results import Results, Row, over_seeds
from captum.benchmark.tasks import TASKS, Task
from captum.metrics.randomisation import spearman

Judge = Callable[[Task, Tensor], Tensor | None]


def agreement(task: Task, scores: Tensor) -> Tensor | None:
    """Spearman's ρ with the right scores, (N,): -1 to 1, higher is better."""
    return None if task.scores is None else spearman(scores.flatten(1), task.scores.flatten(1))


def error(task: Task, scores: Tensor) -> Tensor | None:
    """‖φ - right‖ / ‖right‖, (N,): 0 or more, lower is better."""
    if task.scores is None:
        return None
    off = torch.linalg.vector_norm((scores - task.scores).flatten(1), dim=1)
    found: Tensor = off / torch.linalg.vector_norm(task.scores.flatten(1), dim=1)
    return found


def inside(task: Task, scores: Tensor) -> Tensor | None:
    """Share of the K largest sizes among the K entries that matter, (N,): higher is better."""
    if task.inside is None:
        return None
    return metrics.relevance_rank(scores.abs(), task.inside)


def deletion(task: Task, scores: Tensor) -> Tensor | None:
    """`captum.metrics.deletion`, (N,): lower is better."""
    made: Tensor = metrics.deletion(
        task.model, task.inputs, scores, task.baselines, target=task.target
    )
    return made


def faithfulness(task: Task, scores: Tensor) -> Tensor | None:
    """`captum.metrics.faithfulness_correlation`, (N,): higher is better."""
    return metrics.faithfulness_correlation(
        task.model,
        task.inputs,
        scores,
        task.baselines,
        target=task.target,
        generator=torch.Generator().manual_seed(0),
    )


JUDGES: dict[str, Judge] = {
    "agreement with truth": agreement,
    "error": error,
    "found what was planted": inside,
    "deletion": deletion,
    "faithfulness correlation": faithfulness,
}


def run(
    methods: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    seeds: int = 5,
    show_progress: bool = False,
) -> Results:
    """Judge attribution methods on models whose right answer is known.

    Args:
        methods: names of `CONTESTANTS`; all by default.
        tasks: names of `TASKS`; all by default.
        seeds: how many models of each task are made.
        show_progress: a progress bar of methods, tasks and seeds.

    Raises:
        ValueError: a name that is not known, or no seed.

    >>> from captum.benchmark import run
    >>> found = run(["IntegratedGradients", "Saliency"], ["linear"], seeds=2)
    >>> {row.method: round(row.mean, 3) for row in found.rows if row.metric == "error"}
    {'IntegratedGradients': 0.0, 'Saliency': ...}
    """
    methods = _known(methods, CONTESTANTS, "methods")
    tasks = _known(tasks, TASKS, "tasks")
    if seeds < 1:
        raise wrong(ValueError, "seeds of at least 1", repr(seeds), "seeds=5")
    progress = Progress("benchmark", show_progress)
    progress.expect(len(methods) * len(tasks) * seeds)
    rows: list[Row] = []
    for name in tasks:
        made = [TASKS[name](seed) for seed in range(seeds)]
        for method in methods:
            rows += _judged(name, method, made, progress)
    progress.close()
    return Results(rows)


def _judged(name: str, method: str, made: list[Task], progress: Progress) -> Iterator[Row]:
    """A method's rows on a task."""
    found: dict[str, list[float]] = {}
    passes, seconds, reason = 0.0, 0.0, ""
    for seed, task in enumerate(made):
        count = len(task.inputs)
        rows = [0]
        with counted(task.model, rows.append, pause=0), torch.random.fork_rng():
            torch.manual_seed(seed)
            start = time.process_time()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # what methods say of a model is not judged
                    scores = CONTESTANTS[method](task, task.model).detach()
            except (ValueError, TypeError, RuntimeError) as refused:
                reason = str(refused).partition("\n")[0]
                break
            finally:
                progress.add(1)
            seconds += (time.process_time() - start) / count
            passes += rows[-1] / count
        for metric, judge in JUDGES.items():
            value = judge(task, scores)
            if value is not None:
                found.setdefault(metric, []).append(float(value.mean()))
    if reason:
        nothing = float("nan")
        yield Row(name, method, next(iter(JUDGES)), nothing, nothing, nothing, nothing, reason)
        return
    for metric, values in found.items():
        yield over_seeds(name, method, metric, values, seconds / len(made), passes / len(made))


def _known(names: Sequence[str] | None, known: Any, what: str) -> list[str]:
    chosen = list(known) if names is None else list(names)
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        raise wrong(
            ValueError,
            f"{what}: {', '.join(known)}",
            repr(unknown),
            f"{what}={[next(iter(known))]}",
        )
    return chosen
