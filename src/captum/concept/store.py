"""Tensors in files that are whole or not there, and that nothing runs when they are read."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.errors import extra, wrong
from captum._engine.nest import tensors

_FORMAT = "captum-1"


def write(path: Path, found: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Tensors and what there is to know of them, in one step: a reader never sees half of it."""
    save = extra("safetensors.torch", "store").save_file
    path.parent.mkdir(parents=True, exist_ok=True)
    ready = {name: t.detach().cpu().contiguous() for name, t in found.items()}
    meta = {"format": _FORMAT, "about": json.dumps(dict(about))}
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    os.close(handle)
    try:
        save(ready, name, metadata=meta)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write` wrote."""
    safetensors = extra("safetensors", "store")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            if meta.get("format") != _FORMAT:
                raise ValueError("another program's file")
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
        return found, dict(json.loads(meta["about"]))
    except FileNotFoundError:
        raise
    except Exception as error:
        raise wrong(
            ValueError,
            f"a file that captum wrote: {path}",
            f"one that cannot be read ({error})",
            "delete it, and it is made anew",
        ) from error


def digest(*values: Any) -> str:
    """A few letters that change with any tensor, array or word among the values."""
    made = blake2b(digest_size=12)
    for value in values:
        for tensor in tensors(value):
            made.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            made.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        if not any(True for _ in tensors(value)):
            made.update(repr(value).encode())
        made.update(b"|")
    return made.hexdigest()


def digest_of_model(model: nn.Module) -> str:
    """The same of a model's class, parameters and buffers."""
    state = model.state_dict()
    return digest(type(model).__qualname__, list(state), list(state.values()))
