"""What there is to know of a language model, and one pass of it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum._engine.errors import describe, wrong
from captum._engine.model import Model, inside, owner, unwrapped

Kind = Literal["decoder", "encoder-decoder", "masked"]

_KEEP = "logits_to_keep", "num_logits_to_keep"


class LanguageModel:
    """A model that gives logits (K, n, V) for token ids (K, n).

    Args:
        model: of `transformers`, or any module whose first argument is token ids.
    """

    def __init__(self, model: Model) -> None:
        # Copies on other devices are not worth their traffic: one of them is asked.
        self.model = unwrapped(inside(model))
        module = owner(self.model)
        if module is None:
            raise wrong(
                TypeError,
                "a method made with a language model, a torch.nn.Module",
                describe(model),
                "LLMAttribution(FeatureAblation(model), tokenizer)",
            )
        self.module = module
        config = getattr(module, "config", None)
        self.config: Any = config
        self.kind = _kind(module, config)
        self.takes = _parameters(self.model, config is not None)

    @property
    def device(self) -> torch.device:
        """Where token ids go: to the embedding, wherever the other layers are."""
        get = getattr(self.module, "get_input_embeddings", None)
        entry = get() if get is not None else self.module
        first = next(entry.parameters(), None)
        if first is not None and first.device.type != "meta":
            return torch.device(first.device)
        # accelerate keeps weights elsewhere, and brings them here when they are needed.
        hook = getattr(entry, "_hf_hook", None)
        return torch.device(getattr(hook, "execution_device", None) or "cpu")

    @property
    def dtype(self) -> torch.dtype:
        """What it counts in; quantised weights are integers, and count in what is left."""
        kinds = (p.dtype for p in self.module.parameters() if p.is_floating_point())
        return next(kinds, torch.float32)

    @property
    def precision(self) -> torch.dtype:
        """What scores are kept in."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32

    @property
    def keeps_state(self) -> bool:
        """Whether a pass leaves something on the model, as recurrent ones may.

        Releases before 5 do not say so of recurrent_gemma.
        """
        early = getattr(self.config, "model_type", None) == "recurrent_gemma"
        return early or bool(getattr(self.module, "_is_stateful", False))

    @property
    def vocabulary(self) -> int:
        """V, as far as it is known; for the memory that logits take."""
        text = getattr(self.config, "get_text_config", lambda: self.config)()
        return int(getattr(text, "vocab_size", None) or 50_000)

    def logits(self, ids: Tensor, keep: int | Tensor, **more: Any) -> Tensor:
        """One pass: logits (K, m, V) at the last `keep` positions, or at the positions `keep`.

        No logits are made at other positions, if the model can leave them out.
        """
        given: dict[str, Any] = {"attention_mask": torch.ones_like(ids), "use_cache": False, **more}
        if self.keeps_state:
            del given["use_cache"]  # without, some start where their last pass ended
        given = {name: value for name, value in given.items() if name in self.takes}
        name = next((name for name in _KEEP if name in self.takes), None)
        if name is not None and (isinstance(keep, int) or name == _KEEP[0]):
            given[name] = keep
        output = (
            self.model(input_ids=ids, **given)
            if "input_ids" in self.takes
            else self.model(ids, **given)
        )
        return _at(logits_of(output), keep, ids.shape[1])

    def generate(self, inputs: Mapping[str, Any], gen_args: Mapping[str, Any]) -> Tensor:
        """The tokens that the model goes on with, (T,)."""
        generate = getattr(self.module, "generate", None)
        if generate is None:
            raise wrong(
                TypeError,
                "a target, as this model cannot generate one",
                f"target=None for a {type(self.module).__name__}",
                "attribute(prompt, target=' Paris')",
            )
        with torch.no_grad():
            found: Tensor = generate(**inputs, **gen_args)
        start = 1 if self.kind == "encoder-decoder" else inputs["input_ids"].shape[1]
        return found[0, start:].cpu()

    def first_of_decoder(self) -> int:
        """The token that a decoder's text begins with."""
        for config in (getattr(self.module, "generation_config", None), self.config):
            for name in ("decoder_start_token_id", "bos_token_id"):
                found = getattr(config, name, None)
                if isinstance(found, int):
                    return found
        return 0


def logits_of(output: Any) -> Tensor:
    """The logits in what a model returns."""
    found = getattr(output, "logits", output)
    if isinstance(found, tuple | list):
        found = found[0]
    if isinstance(found, Tensor) and found.ndim == 3:
        return found
    raise wrong(
        ValueError,
        "a language model, which gives logits (rows, positions, words)",
        describe(output),
        "AutoModelForCausalLM, or a module that returns such a tensor",
    )


def _at(logits: Tensor, keep: int | Tensor, length: int) -> Tensor:
    """The logits that were asked for, of a model that may have made all."""
    count = keep if isinstance(keep, int) else len(keep)
    if logits.shape[1] == count and count < length:
        return logits
    return logits[:, -keep:] if isinstance(keep, int) else logits[:, keep.to(logits.device)]


def _kind(module: nn.Module, config: Any) -> Kind:
    if getattr(config, "is_encoder_decoder", False):
        return "encoder-decoder"
    base = getattr(module, "get_base_model", lambda: module)()
    return "masked" if type(base).__name__.endswith("ForMaskedLM") else "decoder"


def _parameters(model: Model, of_transformers: bool) -> frozenset[str]:
    """The names that a pass may be given."""
    function = model.forward if isinstance(model, nn.Module) else model
    names = set(inspect.signature(function).parameters)
    if of_transformers and "input_ids" not in names:  # a wrapper that hands everything on
        names |= {"input_ids", "attention_mask", "use_cache"}
    return frozenset(names)
