"""Activations of a data set in files, by names that the user gives them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from captum._engine import store
from captum._engine.errors import wrong
from captum._engine.layers import layer_values, modules_of
from captum.concept.activations import as_inputs

_SUFFIX = ".safetensors"
_VALUES = "values"
_CALL = "AV.generate_dataset_activations(path, model, 'resnet', ['layer4'], loader)"
_NUMBERS = re.compile(r"(\d+)")


class AV:
    """Files `path/av/model_id/identifier/layer/num_id.safetensors`, one for each batch and layer.

    >>> import tempfile
    >>> import torch
    >>> from captum._utils.av import AV
    >>> folder = tempfile.mkdtemp()
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())
    >>> loader = torch.utils.data.DataLoader(torch.randn(10, 3), batch_size=4)
    >>> found = AV.generate_dataset_activations(
    ...     folder, model, "mine", "1", loader, return_activations=True)
    >>> [tuple(values.shape) for values in found]
    [(4, 4), (4, 4), (2, 4)]
    """

    AV_DIR_NAME = "av"

    class AVDataset(Dataset[Tensor]):
        """The batches of stored activations, in the order of their numbers.

        Args:
            path: the folder that everything is in.
            model_id: a name for the model.
            identifier: a name for the data; all of them by default.
            layer: a layer; all of them by default.
            num_id: the number of a batch; all of them by default.

        Raises:
            RuntimeError: there are none.
        """

        def __init__(
            self,
            path: str,
            model_id: str,
            identifier: str | None = None,
            layer: str | None = None,
            num_id: str | None = None,
        ) -> None:
            self.files = AV.sort_files(_found(path, model_id, identifier, layer, num_id))
            if not self.files:
                raise wrong(
                    RuntimeError,
                    f"activations of {model_id!r} in {path}",
                    f"none with identifier={identifier!r}, layer={layer!r}, num_id={num_id!r}",
                    _CALL,
                )

        def __getitem__(self, idx: int) -> Tensor:
            return store.read(Path(self.files[idx]))[0][_VALUES]

        def __len__(self) -> int:
            return len(self.files)

    @staticmethod
    def exists(
        path: str,
        model_id: str,
        identifier: str | None = None,
        layer: str | None = None,
        num_id: str | None = None,
    ) -> bool:
        """Whether there are such activations.

        Args:
            path: the folder that everything is in.
            model_id: a name for the model.
            identifier: a name for the data; any by default.
            layer: a layer; any by default.
            num_id: the number of a batch; any by default.
        """
        return bool(_found(path, model_id, identifier, layer, num_id))

    @staticmethod
    def save(
        path: str,
        model_id: str,
        identifier: str,
        layers: str | list[str],
        act_tensors: Tensor | list[Tensor],
        num_id: str,
    ) -> None:
        """Write a batch's activations, each file in one step.

        Args:
            path: the folder that everything is in.
            model_id: a name for the model.
            identifier: a name for the data.
            layers: names of layers.
            act_tensors: a tensor for each of them.
            num_id: the number of the batch.

        Raises:
            ValueError: as many tensors as layers are needed.
        """
        names = [layers] if isinstance(layers, str) else list(layers)
        values = [act_tensors] if isinstance(act_tensors, Tensor) else list(act_tensors)
        if len(names) != len(values):
            raise wrong(
                ValueError,
                "a tensor for each layer",
                f"{len(values)} of them for {len(names)} layers",
                "AV.save(path, model_id, identifier, ['fc1', 'fc2'], [one, two], '0')",
            )
        for name, value in zip(names, values, strict=True):
            store.write(_file(path, model_id, identifier, name, num_id), {_VALUES: value}, {})

    @staticmethod
    def load(
        path: str,
        model_id: str,
        identifier: str | None = None,
        layer: str | None = None,
        num_id: str | None = None,
    ) -> AV.AVDataset:
        """Stored activations, each read when it is asked for.

        Args:
            path: the folder that everything is in.
            model_id: a name for the model.
            identifier: a name for the data; all of them by default.
            layer: a layer; all of them by default.
            num_id: the number of a batch; all of them by default.

        Raises:
            RuntimeError: there are none.
        """
        return AV.AVDataset(path, model_id, identifier, layer, num_id)

    @staticmethod
    def generate_dataset_activations(
        path: str,
        model: nn.Module,
        model_id: str,
        layers: str | list[str],
        dataloader: Iterable[Any],
        identifier: str = "default",
        load_from_disk: bool = True,
        return_activations: bool = False,
    ) -> AV.AVDataset | list[AV.AVDataset] | None:
        """Make and write the activations of a data set, in one pass for all layers.

        What is there already, of the same model and the same batch, is not made again.

        Args:
            path: the folder that everything is in.
            model: the model.
            model_id: a name for it.
            layers: a layer's name, or several.
            dataloader: batches of inputs, or of inputs and labels.
            identifier: a name for the data.
            load_from_disk: False makes everything anew.
            return_activations: the stored activations; a list where `layers` is one.

        Raises:
            ValueError: a layer that the model does not have.
        """
        modules = modules_of(model, layers, _CALL)
        state = store.digest_of_model(model)
        number = -1
        for number, batch in enumerate(dataloader):
            inputs = as_inputs(batch)
            about = {"of": store.digest(state, inputs)}
            files = {name: _file(path, model_id, identifier, name, str(number)) for name in modules}
            missing = {
                name: module
                for name, module in modules.items()
                if not load_from_disk
                or not files[name].exists()
                or store.about(files[name]) != about
            }
            if missing:
                for name, value in layer_values(model, missing, inputs).items():
                    store.write(files[name], {_VALUES: value}, about)
        for name in modules:
            for file in _file(path, model_id, identifier, name, "0").parent.glob("*" + _SUFFIX):
                if file.stem.isdigit() and int(file.stem) > number:
                    file.unlink()  # of a time when there was more data
        if not return_activations:
            return None
        found = [AV.AVDataset(path, model_id, identifier, name) for name in modules]
        return found[0] if isinstance(layers, str) else found

    @staticmethod
    def sort_files(files: list[str]) -> list[str]:
        """Names in the order of the numbers in them.

        Args:
            files: names.

        >>> from captum._utils.av import AV
        >>> AV.sort_files(["a10", "a2"])
        ['a2', 'a10']
        """
        return sorted(files, key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    parts = _NUMBERS.split(name)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def _found(
    path: str, model_id: str, identifier: str | None, layer: str | None, num_id: str | None
) -> list[str]:
    parts = [part or "*" for part in (identifier, layer)]
    pattern = "/".join([*parts, (num_id or "*") + _SUFFIX])
    _check([model_id, *(part for part in (identifier, layer, num_id) if part)])
    return [str(file) for file in (Path(path) / AV.AV_DIR_NAME / model_id).glob(pattern)]


def _file(path: str, model_id: str, identifier: str, layer: str, num_id: str) -> Path:
    _check([model_id, identifier, layer, num_id])
    return Path(path) / AV.AV_DIR_NAME / model_id / identifier / layer / (num_id + _SUFFIX)


def _check(names: Sequence[str]) -> None:
    for name in names:
        if not name or name in (".", "..") or any(letter in name for letter in "/\\*?["):
            raise wrong(
                ValueError,
                "names that can be a folder's",
                repr(name),
                "AV.load(path, 'resnet', 'train', 'layer4')",
            )
