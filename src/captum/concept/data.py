"""Examples of concepts from files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from captum._engine.errors import wrong


class CustomIterableDataset(IterableDataset[Tensor]):
    """The files of a folder, or those that a pattern finds, each as what a function makes of it.

    Args:
        transform_filename_to_tensor: of a path: the example.
        path: a folder, or a pattern such as "striped/*.jpg".

    Raises:
        FileNotFoundError: no such file.
    """

    def __init__(self, transform_filename_to_tensor: Callable[[str], Tensor], path: str) -> None:
        folder = Path(path)
        if folder.is_dir():
            found = [each for each in folder.iterdir() if each.is_file()]
        else:
            found = [each for each in folder.parent.glob(folder.name) if each.is_file()]
        if not found:
            raise wrong(FileNotFoundError, "a folder with files", repr(path), "'concepts/striped'")
        self.files = sorted(map(str, found))
        self.transform_filename_to_tensor = transform_filename_to_tensor

    def __iter__(self) -> Iterator[Tensor]:
        return map(self.transform_filename_to_tensor, self.files)


def dataset_to_dataloader(dataset: Dataset[Any], batch_size: int = 64) -> DataLoader[Any]:
    """A loader of a data set, in its order."""
    return DataLoader(dataset, batch_size=batch_size, shuffle=False)
