"""Tensors in files that are whole or not there, and that nothing runs when they are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor, nn

from captum._engine.errors import extra, wrong
from captum._engine.model import inside
from captum._engine.nest import tensors

_FORMAT = "captum-1"
PART = ".part"  # how the names of unfinished files end


def write(path: Path, found: Mapping[str, Tensor], known: Mapping[str, Any]) -> None:
    """Tensors and what there is to know of them, in one step: a reader never sees half of it."""
    save = extra("safetensors.torch", "store").save_file
    ready = {name: t.detach().cpu().contiguous() for name, t in found.items()}
    meta = {"format": _FORMAT, "about": json.dumps(dict(known))}
    with _replacing(path) as part:
        try:
            save(ready, part, metadata=meta)
        except extra("safetensors", "store").SafetensorError as error:  # of the disk: all else fits
            raise OSError(
                f"{path} could not be written, what was written stays: {error}"
            ) from error


def write_json(path: Path, known: Mapping[str, Any]) -> None:
    """The same of what there is to know, for people to read too."""
    with _replacing(path) as part:
        part.write_text(json.dumps({"format": _FORMAT, **known}, indent=2) + "\n")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file to write, which takes the other's place once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".{uuid4().hex}{PART}"
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write` wrote."""
    return _read(path, True)


def about(path: Path) -> dict[str, Any]:
    """What there is to know of a file's tensors, without reading them."""
    return _read(path, False)[1]


def read_rows(path: Path, start: int, end: int) -> dict[str, Tensor]:
    """Some rows of every tensor, without reading the others."""
    safetensors = extra("safetensors", "store")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            _known(file)
            return {name: file.get_slice(name)[start:end] for name in list(file.keys())}
    except Exception as error:
        raise _unreadable(path, error) from error


def _read(path: Path, values: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    safetensors = extra("safetensors", "store")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            meta = _known(file)
            names = list(file.keys()) if values else []
            found = {name: file.get_tensor(name) for name in names}
        return found, dict(json.loads(meta["about"]))
    except FileNotFoundError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def _known(file: Any) -> dict[str, str]:
    meta: dict[str, str] = file.metadata() or {}
    if meta.get("format") != _FORMAT:
        raise ValueError("another program's file")
    return meta


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote."""
    try:
        found = json.loads(path.read_text())
        if found.pop("format") != _FORMAT:
            raise ValueError("another program's file")
        return dict(found)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise _unreadable(
            path, error, "another folder: what this one is of is not known"
        ) from error


def _unreadable(
    path: Path, error: Exception, works: str = "delete it, and it is made anew"
) -> ValueError:
    got = f"one that cannot be read ({error})"
    return wrong(ValueError, f"a file that captum wrote: {path}", got, works)


def digest(*values: Any) -> str:
    """A few letters that change with any tensor, array or word among the values."""
    made = blake2b(digest_size=12)

    def add(value: Any) -> None:
        if isinstance(value, Tensor):
            # A shard: all processes, which all ask, have the whole one.
            tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
            made.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().reshape(-1).contiguous()
            made.update(flat.view(torch.uint8).numpy().tobytes())
        elif isinstance(value, Mapping):
            add([*value, *value.values()])
        elif isinstance(value, tuple | list):
            made.update(f"{len(value)}[".encode())
            for item in value:
                add(item)
        elif hasattr(value, "__array_interface__") and np.asarray(value).dtype != object:
            array = np.ascontiguousarray(value)  # of numpy, or a picture
            made.update(f"{array.dtype}{array.shape}".encode())
            made.update(array.tobytes())
        else:
            made.update(plain(repr(value)).encode())
        made.update(b"|")

    add(values)
    return made.hexdigest()


def digest_of_model(model: nn.Module) -> str:
    """The same of a model's modules, parameters and buffers; of those inside a wrapper."""
    model = inside(model)
    state = model.state_dict()
    if any(t.is_meta for t in tensors(state)):  # accelerate has them elsewhere
        state = extra("accelerate.utils.modeling", "llm").get_state_dict_offloaded_model(model)
    names = sorted(state)
    modules = [
        (name, _class(type(module)).__qualname__, plain(module.extra_repr()), own_settings(module))
        for name, module in model.named_modules()
    ]
    return digest(modules, names, [state[name] for name in names])


def own_settings(module: nn.Module) -> dict[str, Any]:
    """The numbers and words that a module holds, beside its tensors and modules."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, bool | int | float | str) and name[0] != "_" and name != "training"
    }


def plain(text: str) -> str:
    """A representation without the addresses that may be in it."""
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def _class(kind: type) -> type:
    """The class before `fully_shard` made one of its own of it."""
    return kind.__bases__[-1] if kind.__name__.startswith("FSDP") else kind
