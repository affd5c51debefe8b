"""`python -m captum.benchmark`: the tables, and the picture."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from captum.benchmark import JUDGES, Results, run, run_influence


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m captum.benchmark", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="models of each task")
    parser.add_argument("--methods", nargs="*", help="all by default")
    parser.add_argument("--tasks", nargs="*", help="all by default")
    parser.add_argument("--out", type=Path, help="a folder for benchmark.json and benchmark.png")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = run(given.methods, given.tasks, given.seeds, show_progress=True)
    for metric in JUDGES:
        print(found.table(metric), end="\n\n")
    if given.methods is None and given.tasks is None:
        planted = run_influence(given.seeds, show_progress=True)
        print(Results(planted).table("found what was planted"), end="\n\n")
        found = Results(found.rows + planted)
    for row in found.rows:
        if row.reason:
            print(f"{row.method} on {row.task}: {row.reason}")
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "benchmark.json").write_text(found.to_json() + "\n")
        found.plot(given.out / "benchmark.png")


if __name__ == "__main__":
    main()
