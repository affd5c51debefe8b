"""Record the published package's numbers: `python tests/golden/record.py`, where captum is 0.9.0.

They go to golden.json beside this file, with the versions they came from.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

HERE = Path(__file__).resolve().parent
PUBLISHED = "0.9.0"


def plain(value: Any) -> Any:
    """A nest of tensors as what JSON holds; float64 keeps the digits that are right."""
    if isinstance(value, Tensor):
        digits = 8 if value.dtype == torch.float32 else 11
        numbers = value.detach().reshape(-1).tolist()
        if value.is_floating_point():
            numbers = [float(f"{number:.{digits}g}") for number in numbers]
        kind = str(value.dtype).removeprefix("torch.")
        return {"dtype": kind, "shape": list(value.shape), "numbers": numbers}
    if isinstance(value, dict):
        return {"dict": {key: plain(item) for key, item in value.items()}}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [plain(item) for item in value]}
    return value


def main() -> None:
    sys.path.insert(0, str(HERE.parent))
    import captum
    import captum.attr
    from golden.cases import cases, sampled, trapezoids

    if captum.__version__ != PUBLISHED:
        raise SystemExit(f"needs captum {PUBLISHED}, this is {captum.__version__}")
    calls: dict[str, Callable[[Any], Any]] = dict(cases())
    calls |= {f"trapezoid {name}": call for name, (_, call) in trapezoids().items()}
    calls |= sampled()
    versions = {"captum": captum.__version__, "torch": torch.__version__}
    found = {}
    for name, call in calls.items():
        np.random.seed(0)  # what the published GradientShap draws from, beside torch
        torch.manual_seed(0)
        found[name] = plain(call(captum.attr))
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(each)}" for name, each in found.items())
    text = f'{{"versions": {json.dumps(versions)},\n"cases": {{\n{lines}\n}}}}\n'
    (HERE / "golden.json").write_text(text)
    print(f"{len(calls)} cases, {len(text) >> 10} KB")


if __name__ == "__main__":
    main()
