"""What a prompt's features are, and the prompt that a coalition of them leaves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor


class InterpretableInput(ABC):
    r"""x = h(z): the model's input x for an interpretable description z, (1, G).

    Entry i of z says whether feature i of the prompt is there (1) or not (0). To explain prompts
    of your own kind, subclass it; `n_itp_features` is G, `values` are the features' names.

    Paper: Ribeiro, Singh, Guestrin, "Why should I trust you?" (2016),
    https://arxiv.org/abs/1602.04938.

    >>> import torch
    >>> from captum.attr import InterpretableInput
    >>> class Shout(InterpretableInput):
    ...     n_itp_features, values = 1, ["loud"]
    ...     def to_tensor(self):
    ...         return torch.ones(1, 1)
    ...     def to_model_input(self, perturbed_tensor=None):
    ...         return "HELLO" if perturbed_tensor is None or perturbed_tensor[0, 0] else "hello"
    ...     def format_attr(self, itp_attr):
    ...         return itp_attr
    >>> Shout().to_model_inputs(torch.tensor([[1], [0]]))
    ['HELLO', 'hello']
    """

    n_itp_features: int
    values: list[str]

    @abstractmethod
    def to_tensor(self) -> Tensor:
        """z of the prompt as it is, (1, G)."""

    @abstractmethod
    def to_model_input(self, perturbed_tensor: Tensor | None = None) -> Any:
        """The prompt for z (1, G), by default as it is.

        Text, a list of chat messages, token ids (1, n), or the tensors a processor makes.
        """

    @abstractmethod
    def format_attr(self, itp_attr: Tensor) -> Tensor:
        """Scores of the description (..., G) as scores of what the user named."""

    def to_model_inputs(self, perturbed_tensor: Tensor) -> list[Any]:
        """The prompts for K descriptions (K, G); override it where all can be made at once."""
        return [self.to_model_input(z.unsqueeze(0)) for z in perturbed_tensor]
