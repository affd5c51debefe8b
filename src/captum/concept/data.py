"""Examples of concepts from files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from captum._engine.errors import wrong


class CustomIterableDataset(IterableDataset[Tensor]):
    """The examples in the files of a folder, in one file, or in those that a pattern finds.

    Args:
        transform_filename_to_tensor: of a path: the example in it; or a generator of several.
        path: a folder, a file, or a pattern such as "striped/*.jpg".

    Raises:
        FileNotFoundError: no such file.
    """

    def __init__(self, transform_filename_to_tensor: Callable[[str], Any], path: str) -> None:
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
        for file in self.files:
            found = self.transform_filename_to_tensor(file)
            if isinstance(found, Iterator):
                yield from found
            else:
                yield found


def dataset_to_dataloader(dataset: Dataset[Any], batch_size: int = 64) -> DataLoader[Any]:
    """A loader of a data set, in its order."""
    return DataLoader(dataset, batch_size=batch_size, shuffle=False)
