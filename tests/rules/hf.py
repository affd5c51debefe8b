"""Models of the transformers library, from configs: of embeddings, of ids, and those that route.

Weights are drawn; nothing is downloaded. The widths are the smallest the families take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

from rules.entry import Entry, ids, normal, rows_of

T, E, WORDS = 4, 16, 20
_SIZES = {"hidden_size": E, "num_hidden_layers": 2, "num_attention_heads": 4}
_WORDS = {"vocab_size": WORDS, "max_position_embeddings": 16}
_SEEN = torch.tensor([[1, 1, 1, 0]])


class Embedded(nn.Module):
    """A model of `inputs_embeds`, its mask the same for every row; logits come out."""

    def __init__(self, model: nn.Module, padded: bool = False, **more: Any) -> None:
        super().__init__()
        self.model, self.padded, self.more = model, padded, more

    def forward(self, embeds: Tensor) -> Tensor:
        mask = {"attention_mask": _SEEN.expand(len(embeds), -1)} if self.padded else {}
        return self.model(inputs_embeds=embeds, **mask, **self.more).logits


class Both(nn.Module):
    """An encoder and a decoder, both of embeddings."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, embeds: Tensor, decoded: Tensor) -> Tensor:
        return self.model(
            inputs_embeds=embeds, decoder_inputs_embeds=decoded, use_cache=False
        ).logits


class Ids(nn.Module):
    """A model of ids, and of the decoder's ids where it has one; `logits` alone come out."""

    def __init__(self, model: nn.Module, **more: Any) -> None:
        super().__init__()
        self.model, self.more = model, more

    def forward(self, input_ids: Tensor, decoder_input_ids: Tensor | None = None) -> Tensor:
        both = {} if decoder_input_ids is None else {"decoder_input_ids": decoder_input_ids}
        return self.model(input_ids=input_ids, **both, **self.more).logits


def louder(model: nn.Module) -> nn.Module:
    """Weights drawn at 0.02 leave every layer near its linear part; these do not."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.mul_(8)
    return model


def bert(**options: Any) -> nn.Module:
    config = hf.BertConfig(**_SIZES, **_WORDS, intermediate_size=24, num_labels=3, **options)
    return louder(hf.BertForSequenceClassification(config))


def roberta() -> nn.Module:
    config = hf.RobertaConfig(**_SIZES, **_WORDS, intermediate_size=24, num_labels=3)
    return louder(hf.RobertaForSequenceClassification(config))


def distilbert() -> nn.Module:
    config = hf.DistilBertConfig(
        vocab_size=WORDS, max_position_embeddings=16, dim=E, n_layers=2, n_heads=4, hidden_dim=24
    )
    config.num_labels = 3
    return louder(hf.DistilBertForSequenceClassification(config))


def gpt2(**options: Any) -> nn.Module:
    sizes = {"vocab_size": WORDS, "n_positions": 16, "n_embd": E, "n_layer": 2, "n_head": 4}
    sizes |= {"bos_token_id": None, "eos_token_id": None}
    return louder(hf.GPT2LMHeadModel(hf.GPT2Config(**sizes, **options)))


def _decoder(config: Any, model: Any, **options: Any) -> nn.Module:
    sizes = {**_SIZES, **_WORDS, "intermediate_size": 24, "num_key_value_heads": 2}
    return louder(model(config(**{**sizes, **options})))


def llama(**options: Any) -> nn.Module:
    return _decoder(hf.LlamaConfig, hf.LlamaForCausalLM, **options)


def qwen2() -> nn.Module:
    return _decoder(hf.Qwen2Config, hf.Qwen2ForCausalLM)


def qwen3() -> nn.Module:
    return _decoder(hf.Qwen3Config, hf.Qwen3ForCausalLM, head_dim=4)


def mistral() -> nn.Module:
    return _decoder(hf.MistralConfig, hf.MistralForCausalLM, sliding_window=2)


def gemma2() -> nn.Module:
    return _decoder(hf.Gemma2Config, hf.Gemma2ForCausalLM, head_dim=4, sliding_window=2)


def neox() -> nn.Module:
    config = hf.GPTNeoXConfig(**_SIZES, **_WORDS, intermediate_size=24)
    return louder(hf.GPTNeoXForCausalLM(config))


def mixtral() -> nn.Module:
    return _decoder(
        hf.MixtralConfig, hf.MixtralForCausalLM, num_local_experts=3, experts_implementation="eager"
    )


def t5(**options: Any) -> nn.Module:
    sizes = {"vocab_size": WORDS, "d_model": E, "d_kv": 4, "d_ff": 24, "num_layers": 1}
    config = hf.T5Config(**sizes, num_heads=4, **options)
    return louder(hf.T5ForConditionalGeneration(config))


def bart() -> nn.Module:
    sizes = {
        f"{side}_{name}": n
        for side in ("encoder", "decoder")
        for name, n in (("layers", 1), ("attention_heads", 4), ("ffn_dim", 24))
    }
    config = hf.BartConfig(**sizes, vocab_size=WORDS, d_model=E, max_position_embeddings=16)
    return louder(hf.BartForConditionalGeneration(config))


def vit() -> nn.Module:
    config = hf.ViTConfig(
        **_SIZES, intermediate_size=24, image_size=8, patch_size=4, num_channels=2, num_labels=3
    )
    return Pictured(louder(hf.ViTForImageClassification(config)))


class Pictured(nn.Module):
    """`logits` of a picture."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model(pixel_values=pixels).logits


def eager(make: Callable[..., nn.Module]) -> Callable[[], nn.Module]:
    return lambda: make(attn_implementation="eager")


def embedded(make: Callable[[], nn.Module], **more: Any) -> Callable[[], nn.Module]:
    return lambda: Embedded(make(), **more)


def of_ids(make: Callable[[], nn.Module], **more: Any) -> Callable[[], nn.Module]:
    return lambda: Ids(make(), **more)


_CLASSIFIERS: dict[str, Callable[[], nn.Module]] = {
    "BERT": embedded(bert),
    "BERT, padded": embedded(bert, padded=True),
    "BERT, eager": embedded(eager(bert)),
    "BERT, eager, padded": embedded(eager(bert), padded=True),
    "RoBERTa": embedded(roberta),
    "DistilBERT": embedded(distilbert),
    "DistilBERT, padded": embedded(distilbert, padded=True),
}
# These compute attention or norms in float32 whatever they are given.
_DECODERS: dict[str, Callable[[], nn.Module]] = {
    "GPT-2": embedded(gpt2, use_cache=False),
    "GPT-2, eager": embedded(eager(gpt2)),
    "Llama": embedded(llama, use_cache=False),
    "Llama, with its cache": embedded(llama),
    "Llama, eager, padded": embedded(eager(llama), padded=True),
    "Qwen2": embedded(qwen2),
    "Qwen3": embedded(qwen3, use_cache=False),
    "Mistral": embedded(mistral, use_cache=False),
    "Gemma 2": embedded(gemma2, use_cache=False),
    "GPT-NeoX": embedded(neox, use_cache=False),
}
_EXACT = {"GPT-2", "GPT-2, eager"}
_IDS: dict[str, Callable[[], nn.Module]] = {
    "BERT of ids": of_ids(bert),
    "GPT-2 of ids": of_ids(gpt2, use_cache=False),
    "Llama of ids": of_ids(llama, use_cache=False),
}

HF: list[Entry] = [
    *rows_of("an encoder of text", _CLASSIFIERS, normal((T, E)), rows=2),
    *(
        Entry(
            name,
            make,
            normal((T, E)),
            "a decoder of text",
            target=(-1, 5),
            rows=2,
            close=1e-10 if name in _EXACT else 1e-5,
        )
        for name, make in _DECODERS.items()
    ),
    *rows_of("an encoder of pictures", {"ViT of transformers": vit}, normal((2, 8, 8)), rows=2),
    *(
        Entry(name, make, ids(T), "a model of ids", target=t, rows=2, close=close)
        for (name, make), t, close in zip(
            _IDS.items(), [1, (-1, 5), (-1, 5)], [1e-10, 1e-10, 1e-5], strict=True
        )
    ),
    *(
        Entry(name, make, draw, why, target=(-1, 5), rows=2, close=close)
        for name, make, draw, why, close in (
            ("T5", lambda: Both(t5()), normal((T, E), (3, E)), "encoder and decoder", 1e-5),
            ("BART", lambda: Both(bart()), normal((T, E), (3, E)), "encoder and decoder", 1e-10),
            ("T5 of ids", lambda: Ids(t5(), use_cache=False), ids(T, 3), "both of ids", 1e-5),
            ("BART of ids", lambda: Ids(bart(), use_cache=False), ids(T, 3), "of ids", 1e-10),
        )
    ),
]
# Which experts a token goes to is no function that could be followed.
ROUTED = Entry(
    "Mixtral",
    embedded(mixtral, use_cache=False),
    normal((T, E)),
    "a choice of experts",
    target=(-1, 5),
    rows=2,
    close=1e-5,
)
