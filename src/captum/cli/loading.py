"""What a command line names: a model, and inputs in a file."""

from __future__ import annotations

import csv
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum._engine.errors import extra, wrong

_MODELS = "package.module:callable, a .pt2 archive of torch.export, or a TorchScript .pt"
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class Inputs:
    """What a file holds: N examples of one input or several.

    Args:
        values: each (N, *F).
        names: what they are called.
        columns: what the entries of a table's rows are called.
    """

    values: tuple[Tensor, ...]
    names: tuple[str, ...]
    columns: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """N."""
        return len(self.values[0])


def model_of(text: str) -> Callable[..., Any]:
    """A model by its name: `module:callable`, or a file.

    What is named is the model, or a class or function without arguments that makes it. Modules are
    put into eval mode.
    """
    path = Path(text)
    if path.suffix == ".pt2":
        made: Any = torch.export.load(_there(path)).module()
        return made  # type: ignore[no-any-return]  # torch's own module
    if path.suffix in (".pt", ".pth", ".ts"):
        return _scripted(_there(path))
    name, colon, attribute = text.partition(":")
    if not colon:
        raise wrong(ValueError, f"a model: {_MODELS}", repr(text), "captum explain net:load x.npz")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise wrong(ValueError, f"a model: {_MODELS}", f"{text}: {error}", "net:load") from None
    model = found if isinstance(found, nn.Module) else found()
    if not callable(model):
        raise wrong(TypeError, f"{text} to be a model, or to make one", repr(model), "net:load")
    return model.eval() if isinstance(model, nn.Module) else model


def _scripted(path: Path) -> Callable[..., Any]:
    try:
        with warnings.catch_warnings():  # that TorchScript is old, the user knows
            warnings.simplefilter("ignore", DeprecationWarning)
            model: Any = torch.jit.load(path)  # type: ignore[no-untyped-call]  # torch's own
    except RuntimeError:
        raise wrong(
            ValueError,
            f"a model: {_MODELS}",
            f"{path}, which is no TorchScript: perhaps a state dict, which has no code",
            "package.module:load, a function that builds the net and loads the state",
        ) from None
    made: Callable[..., Any] = model.eval()
    return made


def inputs_of(text: str, size: Sequence[int] | None = None) -> Inputs:
    """Inputs from .npz, .npy, .safetensors, .csv or a picture, in float32 where they are real."""
    path = _there(Path(text))
    kind = path.suffix.lower()
    if kind == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return _named({name: torch.from_numpy(file[name]) for name in file.files})
    if kind == ".npy":
        return _named({"input": torch.from_numpy(np.load(path, allow_pickle=False))})
    if kind == ".safetensors":
        return _named(extra("safetensors.torch", "store").load_file(path))
    if kind == ".csv":
        return _table(path)
    if kind in _IMAGES:
        return _picture(path, size)
    known = ".npz, .npy, .safetensors, .csv, or a picture"
    raise wrong(ValueError, f"inputs in {known}", str(path), "captum explain net:load x.npz")


def _named(found: dict[str, Tensor]) -> Inputs:
    values = tuple(t.float() if t.is_floating_point() else t for t in found.values())
    if not values or any(v.ndim == 0 or len(v) != len(values[0]) for v in values):
        shapes = ", ".join(f"{name} {tuple(v.shape)}" for name, v in found.items())
        raise wrong(
            ValueError, "arrays (N, *F) of the same N examples", shapes or "none", "x[None]"
        )
    return Inputs(values, tuple(found))


def _table(path: Path) -> Inputs:
    """Rows of numbers, with or without a line of names."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    try:
        columns: tuple[str, ...] = ()
        if rows and not all(map(_is_number, rows[0])):
            columns, rows = tuple(rows[0]), rows[1:]
        values = torch.tensor([[float(each) for each in row] for row in rows])
    except ValueError as error:
        raise wrong(
            ValueError, "a table of numbers, below a line of names", f"{path}: {error}", "x.csv"
        ) from None
    if values.ndim != 2:
        raise wrong(ValueError, "a table with rows", str(path), "x.csv")
    return Inputs((values,), (path.stem,), columns)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _picture(path: Path, size: Sequence[int] | None) -> Inputs:
    """(1, 3, H, W), from 0 to 1."""
    picture = extra("PIL.Image", "tutorials").open(path).convert("RGB")
    if size is not None:
        picture = picture.resize((size[1], size[0]))
    values = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
    return Inputs((values,), (path.stem,))


def _there(path: Path) -> Path:
    if not path.is_file():
        raise wrong(
            FileNotFoundError,
            "a file",
            f"{path}, which is not there",
            "captum explain net:load x.npz",
        )
    return path
