"""`captum benchmark`: the tables, and the picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from captum.benchmark import JUDGES, Results, run, run_influence


def benchmark(given: argparse.Namespace) -> str:
    """What the command prints."""
    quiet = given.json
    found = run(given.methods, given.tasks, given.seeds, show_progress=not quiet)
    tables = [found.table(metric) for metric in JUDGES]
    if given.methods is None and given.tasks is None:
        planted = run_influence(given.seeds, show_progress=not quiet)
        tables.append(Results(planted).table("found what was planted"))
        found = Results(found.rows + planted)
    tables += [f"{r.method} on {r.task}: {r.reason}" for r in found.rows if r.reason]
    if given.out is not None:
        folder = Path(given.out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "benchmark.json").write_text(found.to_json() + "\n", encoding="utf-8")
        found.plot(folder / "benchmark.png")
    return found.to_json() if quiet else "\n\n".join(tables)
