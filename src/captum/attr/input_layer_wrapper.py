"""Inputs as layers: for layer methods that attribute to inputs and layers at once."""

from inspect import Parameter, signature
from typing import Any

from torch import Tensor, nn, strided

from captum._engine.errors import describe, wrong


class _InputIdentity(nn.Module):
    """x ↦ x, as a tensor of its own: one tensor given as two inputs has two gradients."""

    def forward(self, x: Any) -> Any:
        return x.view_as(x) if isinstance(x, Tensor) and x.layout == strided else x


class ModelInputWrapper(nn.Module):
    """model(I(x), I(y), …), with an identity module I of its own for each input.

    Called like the model. The module of input "x" is `input_maps["x"]`, so a layer method can
    attribute to an input and to an embedding layer, `module.embedding`, in one call. The inputs
    that the model takes as `*args` or `**kwargs` have no name of their own and go straight through,
    as do arguments left to their defaults.

    Args:
        module_to_wrap: the model.

    Raises:
        TypeError: for something that is no module.
        KeyError: where an input has the name of an attribute of `nn.ModuleDict`, such as "keys".

    >>> import torch
    >>> wrapper = ModelInputWrapper(nn.Bilinear(2, 3, 1))
    >>> list(wrapper.input_maps)
    ['input1', 'input2']
    >>> _ = wrapper.input_maps["input2"].register_forward_hook(lambda layer, x, y: 0 * y)
    >>> x, y = torch.ones(1, 2), torch.ones(1, 3)
    >>> bool((wrapper(x, y) == wrapper.module(x, 0 * y)).all())
    True
    """

    def __init__(self, module_to_wrap: nn.Module) -> None:
        super().__init__()
        if not isinstance(module_to_wrap, nn.Module):
            works = "ModelInputWrapper(model) with an nn.Module"
            raise wrong(TypeError, "a module", describe(module_to_wrap), works)
        variadic = Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD
        parameters = signature(module_to_wrap.forward).parameters.values()
        named = [p for p in parameters if p.kind not in variadic]
        self.module = module_to_wrap
        self.input_maps = nn.ModuleDict({p.name: _InputIdentity() for p in named})
        self._positional = [p.name for p in named if p.kind is not Parameter.KEYWORD_ONLY]
        self.training = module_to_wrap.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's output; arguments as for the model."""
        count = len(self._positional)
        # Not strict: the model itself says best what is missing.
        pairs = zip(self._positional, args, strict=False)
        named = [self.input_maps[name](value) for name, value in pairs]
        keywords = {name: self._through(name, value) for name, value in kwargs.items()}
        return self.module(*named, *args[count:], **keywords)

    def _through(self, name: str, value: Any) -> Any:
        return self.input_maps[name](value) if name in self.input_maps else value
