"""The strict client runs as it is; `make types` checks its types."""

import runpy
from pathlib import Path

import torch


def test_the_strict_client_runs() -> None:
    found = runpy.run_path(str(Path(__file__).with_name("strict.py")))["main"]()
    assert all(torch.isfinite(tensor).all() for tensor in found)
