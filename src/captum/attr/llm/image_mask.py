"""A picture whose features are segments: for models that read images and text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from captum._engine.errors import describe, extra, wrong
from captum.attr.llm import plots
from captum.attr.llm.interpretable import InterpretableInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image


def _as_it_is(image: Image) -> Image:
    return image


class ImageMaskInput(InterpretableInput):
    r"""A picture whose features are segments: an absent one is painted over.

    Args:
        image: a PIL image, h x w pixels.
        mask: integers (h, w); pixels with one number are one feature. The whole picture is one by
            default.
        mask_list: booleans (h, w), one per feature, instead: a pixel may be in several, and is
            painted over as soon as one of them is absent.
        baseline: the colour, red, green and blue from 0 to 255.
        processor_fn: what the model reads, made of a picture: mostly a processor's tensors, with
            the text that the picture goes with.

    Raises:
        ValueError: masks that do not have the picture's size.

    >>> import numpy, torch
    >>> from PIL import Image
    >>> from captum.attr import ImageMaskInput
    >>> picture = Image.new("RGB", (4, 2), (9, 9, 9))
    >>> halves = ImageMaskInput(picture, torch.tensor([[0, 0, 1, 1]] * 2), baseline=(0, 0, 0))
    >>> numpy.asarray(halves.to_model_input(torch.tensor([[0, 1]])))[0, :, 0].tolist()
    [0, 0, 9, 9]
    """

    def __init__(
        self,
        image: Image,
        mask: Tensor | None = None,
        mask_list: list[Tensor] | None = None,
        baseline: tuple[int, int, int] = (255, 255, 255),
        processor_fn: Callable[[Image], Any] = _as_it_is,
    ) -> None:
        self.image = image.convert("RGB")
        self.mask, self.mask_list = mask, mask_list
        self.baseline = baseline
        self.processor_fn = processor_fn
        shape = (self.image.height, self.image.width)
        if mask_list is None:
            numbers = torch.zeros(shape) if mask is None else torch.as_tensor(mask)
            self._masks = [numbers == number for number in torch.unique(numbers)]
        else:
            self._masks = [torch.as_tensor(m).bool() for m in mask_list]
        for m in self._masks:
            if tuple(m.shape) != shape:
                raise wrong(
                    ValueError,
                    f"masks of the picture's height and width, {shape}",
                    describe(m),
                    f"torch.zeros({shape}, dtype=torch.long)",
                )
        if not self._masks:
            raise wrong(ValueError, "at least one mask", "mask_list=[]", "mask_list=[mask]")
        self.n_itp_features = len(self._masks)
        self.values = [f"image_segment_{i}" for i in range(self.n_itp_features)]

    def to_tensor(self) -> Tensor:
        """Ones, (1, G)."""
        return torch.ones(1, self.n_itp_features, dtype=torch.long)

    def to_model_input(self, perturbed_tensor: Tensor | None = None) -> Any:
        """The picture for a coalition (1, G), as the processor makes it; the whole by default."""
        if perturbed_tensor is None:
            return self.processor_fn(self.image)
        absent = (perturbed_tensor.reshape(-1) == 0).tolist()
        pixels = np.array(self.image)
        for gone, mask in zip(absent, self._masks, strict=True):
            if gone:
                pixels[mask.cpu().numpy()] = self.baseline
        return self.processor_fn(extra("PIL.Image", "viz").fromarray(pixels))

    def format_attr(self, itp_attr: Tensor) -> Tensor:
        """The same: every segment is named."""
        return itp_attr

    def format_pixel_attr(self, itp_attr: Tensor) -> Tensor:
        """Scores of segments (1, G) as scores of pixels (1, h, w), summed where they overlap."""
        masks = torch.stack(self._masks).to(itp_attr)
        return torch.einsum("ng,ghw->nhw", itp_attr.reshape(1, -1), masks)

    def get_mask_list(self) -> list[Tensor]:
        """The pixels of each feature, booleans (h, w)."""
        return list(self._masks)

    def plot_mask_overlay(
        self, show: bool = False, border_width: int = 0, show_legends: bool = True
    ) -> tuple[Figure, Axes] | None:
        """The picture under its segments, each in its own colour.

        Args:
            show: show it now and return nothing; else return figure and axes.
            border_width: of the lines around segments, in pixels.
            show_legends: write each segment's number at its centre.
        """
        figure, axes = plots.overlay(self.image, self._masks, border_width, show_legends)
        return plots.shown(figure, axes, show)
