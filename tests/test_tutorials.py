"""Every tutorial runs from its first cell to its last, offline, and what it asserts holds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "tutorials"
# Those with cells; the others are helpers that tutorials import.
TUTORIALS = sorted(p for p in FOLDER.glob("*.py") if re.search(r"^# %%", p.read_text(), re.M))

# Warnings that point at our modules, or at a tutorial's own lines, are errors; other packages' are
# their affair. The command line's -W knows no patterns.
RUN = r"""
import runpy, sys, warnings
warnings.filterwarnings("error", module=r"(captum(\..*)?|__main__)$")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(script: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """A script in a process of its own, at a place of its own, which it may fill with files."""
    environment = {k: v for k, v in os.environ.items() if k != "DISPLAY"}
    environment |= {
        "MPLBACKEND": "Agg",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(FOLDER),
    }
    command = [sys.executable, "-c", RUN, str(script)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_there_are_tutorials() -> None:
    assert TUTORIALS


@pytest.mark.parametrize("script", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_runs(script: Path, tmp_path: Path) -> None:
    done = run(script, tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("assert 1 == 2", "AssertionError"),
        ("import warnings; warnings.warn('old')", "UserWarning: old"),
        ("from captum.attr import Saliency\n"
         "import torch\n"
         "x = torch.ones(1, 2)\n"
         "Saliency(lambda x, y: x.sum(1)).attribute((x, x))", "does not depend on inputs[1]"),
    ],
)  # fmt: skip
def test_a_tutorial_that_fails_or_warns_is_seen(line: str, error: str, tmp_path: Path) -> None:
    script = tmp_path / "bad.py"
    script.write_text(f"# %%\n{line}\n")
    done = run(script, tmp_path)
    assert done.returncode == 1
    assert error in done.stderr
