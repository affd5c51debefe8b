"""Small models of every family of decoders that transformers builds from a config."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import transformers as hf
from torch import nn

VOCABULARY = 64
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
_GROUPED = {"num_key_value_heads": 2}
_GPT = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 128,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
_WINDOW = {"sliding_window": 8}


def _named(name: str, sizes: dict[str, Any] | None = None, **more: Any) -> Callable[[], Any]:
    """A config by its class's name; a family that this release lacks is told by the test."""
    return lambda: getattr(hf, name)(**{**(_SIZES if sizes is None else sizes), **more})


# Family -> its config. The windows are shorter than the prompts.
DECODERS: dict[str, Callable[[], Any]] = {
    "llama": _named("LlamaConfig", **_GROUPED),
    "mistral": _named("MistralConfig", **_GROUPED, **_WINDOW),
    "mixtral": _named("MixtralConfig", **_GROUPED, num_local_experts=4),
    "qwen2": _named("Qwen2Config", **_GROUPED),
    "qwen2 with windows": _named(
        "Qwen2Config", **_GROUPED, **_WINDOW, use_sliding_window=True, max_window_layers=1
    ),
    "qwen3": _named("Qwen3Config", **_GROUPED, head_dim=8),
    "qwen2_moe": _named(
        "Qwen2MoeConfig",
        num_experts=4,
        moe_intermediate_size=32,
        shared_expert_intermediate_size=32,
    ),
    "gemma": _named("GemmaConfig", **_GROUPED, head_dim=8),
    "gemma2": _named("Gemma2Config", **_GROUPED, **_WINDOW, head_dim=8, query_pre_attn_scalar=8),
    "gemma3": _named(
        "Gemma3TextConfig",
        **_GROUPED,
        **_WINDOW,
        head_dim=8,
        query_pre_attn_scalar=8,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "phi": _named("PhiConfig"),
    "phi3": _named("Phi3Config", **_GROUPED),
    "gpt2": _named("GPT2Config", _GPT),
    "gpt_neo": _named(
        "GPTNeoConfig",
        {k: v for k, v in _SIZES.items() if not k.startswith("num_")},
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=8,
    ),
    "gptj": _named("GPTJConfig", _GPT, rotary_dim=4),
    "gpt_neox": _named("GPTNeoXConfig"),
    "codegen": _named("CodeGenConfig", _GPT, rotary_dim=4, n_ctx=128),
    "gpt_bigcode": _named("GPTBigCodeConfig", _GPT),
    "opt": _named("OPTConfig", ffn_dim=64, word_embed_proj_dim=32),
    "xglm": _named(
        "XGLMConfig",
        {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0},
        d_model=32,
        ffn_dim=64,
        num_layers=2,
        attention_heads=4,
        max_position_embeddings=128,
    ),
    "bloom": _named("BloomConfig", {"vocab_size": VOCABULARY}, hidden_size=32, n_layer=2, n_head=4),
    "falcon": _named("FalconConfig"),
    "falcon with alibi": _named("FalconConfig", alibi=True),
    "mpt": _named(
        "MptConfig", {"vocab_size": VOCABULARY}, d_model=32, n_heads=4, n_layers=2, max_seq_len=128
    ),
    "mamba": _named("MambaConfig", state_size=4),
    "rwkv": _named("RwkvConfig", attention_hidden_size=32),
    "recurrent_gemma": _named(
        "RecurrentGemmaConfig",
        num_key_value_heads=1,
        lru_width=32,
        attention_window_size=8,
        head_dim=8,
        block_types=["recurrent", "attention"],
    ),
    "jamba": _named(
        "JambaConfig",
        **_GROUPED,
        attn_layer_period=2,
        attn_layer_offset=1,
        num_experts=2,
        use_mamba_kernels=False,
        mamba_d_state=4,
    ),
    "olmo2": _named("Olmo2Config"),
    "cohere": _named("CohereConfig", **_GROUPED),
    "stablelm": _named("StableLmConfig", **_GROUPED),
    "starcoder2": _named("Starcoder2Config", **_GROUPED, **_WINDOW),
    "granite": _named("GraniteConfig", **_GROUPED),
    "nemotron": _named("NemotronConfig", **_GROUPED, head_dim=8),
    "deepseek_v3": _named(
        "DeepseekV3Config",
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_rope_head_dim=8,
        v_head_dim=8,
        qk_nope_head_dim=8,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        moe_intermediate_size=32,
        first_k_dense_replace=1,
    ),
    "llama4": _named(
        "Llama4TextConfig",
        **_GROUPED,
        head_dim=8,
        num_local_experts=2,
        intermediate_size_mlp=64,
        attention_chunk_size=8,
    ),
}
# What shared prompts cannot be told to: states that run on, biases of their own, another mask.
NO_TREE = {
    *("gpt_neo", "bloom", "falcon with alibi", "mpt", "mamba", "rwkv"),
    *("recurrent_gemma", "jamba", "llama4"),
}


@cache
def decoder(family: str) -> nn.Module:
    """A model whose answers depend on all of its prompt."""
    return sharpened(hf.AutoModelForCausalLM.from_config(DECODERS[family]()))


def sharpened(model: nn.Module) -> nn.Module:
    """Weights like those of a trained model: where attention looks matters."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if p.ndim > 1 and "conv" not in name:
                p.copy_(0.2 * torch.randn(p.shape, generator=generator))
    return model.eval()
