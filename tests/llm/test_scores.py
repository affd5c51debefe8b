"""What is explained, by every kind of method: beside slow twins, in float64 where it can be."""

import copy
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
import transformers as hf
from torch import nn
from torch.ao.quantization import quantize_dynamic

from captum import attr
from captum.attr import (
    Contrast,
    FeatureAblation,
    InputXGradient,
    IntegratedGradients,
    LayerGradientXActivation,
    LayerIntegratedGradients,
    LLMAttribution,
    LLMGradientAttribution,
    ShapleyValues,
    ShapleyValueSampling,
    TextTemplateInput,
    TextTokenInput,
)
from captum.attr.llm.scoring import proofs
from captum.attr.llm.scoring.language_model import LanguageModel

from .families import decoder, sharpened
from .tokenizers import Letters, bytes_bpe
from .twins import ablated, log_probs, shapley

LETTERS = Letters()
PROMPT, TARGET = "a quick fox", "jump"
TARGET_IDS = LETTERS.encode(TARGET)


@pytest.fixture(scope="module")
def model():
    return copy.deepcopy(decoder("llama")).double()


def prompt(**options):
    return TextTokenInput(PROMPT, LETTERS, **options)


def logits_at(model, row, target):
    """The logits in front of each of the target's tokens, (T, V)."""
    ids = torch.tensor([[*map(int, row), *target]])
    with torch.no_grad():
        return model(ids).logits[0, len(row) - 1 : -1]


# What is explained -> (a number per token, what the whole is of them).
READ = {
    "log_prob": (lambda z, t: z.log_softmax(-1)[range(len(t)), t], torch.sum),
    "prob": (lambda z, t: z.softmax(-1)[range(len(t)), t], torch.prod),
    "logit": (lambda z, t: z[range(len(t)), t], torch.sum),
    "entropy": (lambda z, t: torch.distributions.Categorical(logits=z).entropy(), torch.sum),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_explained(model, name):
    read, whole = READ[name]
    result = LLMAttribution(FeatureAblation(model), LETTERS, name).attribute(prompt(), TARGET)

    def tokens_of(row):
        return read(logits_at(model, row, TARGET_IDS), torch.tensor(TARGET_IDS))

    def both(row):
        found = tokens_of(row)
        return torch.cat([whole(found)[None], found])

    twin = ablated(both, prompt().ids.tolist(), 0)
    size = twin.abs().max(1).values
    assert ((result.seq_attr - twin[0]).abs().max() / size[0]) < 1e-4
    assert ((result.token_attr - twin[1:]).abs().amax(1) / size[1:]).max() < 1e-4


@pytest.mark.parametrize("other", ["walk", "run"])
def test_a_contrast(model, other):
    """Why this continuation and not that one; per token where both are as long."""
    explain = LLMAttribution(FeatureAblation(model), LETTERS, Contrast(other))
    result = explain.attribute(prompt(), TARGET)
    ids = LETTERS.encode(other)
    rows = prompt().ids.tolist()
    ours = ablated(lambda row: log_probs(model, row, TARGET_IDS), rows, 0)
    theirs = ablated(lambda row: log_probs(model, row, ids), rows, 0)
    assert (result.seq_attr - (ours.sum(0) - theirs.sum(0))).abs().max() < 1e-4
    if len(other) == len(TARGET):
        assert (result.token_attr - (ours - theirs)).abs().max() < 1e-4
    else:
        assert result.token_attr is None
    method = InputXGradient(model, at=model.model.embed_tokens)
    gradients = LLMGradientAttribution(method, LETTERS, attr_target=Contrast(other))
    plain = LLMGradientAttribution(method, LETTERS)
    parts = [plain.attribute(prompt(), each).seq_attr for each in (TARGET, other)]
    found = gradients.attribute(prompt(), TARGET)
    assert torch.allclose(found.seq_attr, parts[0] - parts[1], atol=1e-5)
    assert (found.token_attr is None) == (len(other) != len(TARGET))


def test_a_function_of_logits(model):
    def rank(logits, tokens):
        own = logits.gather(1, tokens[:, None])
        return (logits > own).sum(1).float()

    result = LLMAttribution(FeatureAblation(model), LETTERS, rank).attribute(prompt(), TARGET)

    def ranks(row):
        z = logits_at(model, row, TARGET_IDS)
        return torch.stack([(z[i] > z[i, t]).sum() for i, t in enumerate(TARGET_IDS)]).float()

    assert torch.equal(result.token_attr, ablated(ranks, prompt().ids.tolist(), 0))
    with pytest.raises(ValueError, match="a number per token"):
        LLMAttribution(FeatureAblation(model), LETTERS, lambda z, t: z).attribute(prompt(), "a")
    with pytest.raises(ValueError, match="attr_target to be one of"):
        LLMAttribution(FeatureAblation(model), LETTERS, "surprise")


# ----------------------------------------------------------- methods that perturb


def test_exact_shapley_values(model):
    template = TextTemplateInput("{} {} {}!", ["ab", "cd", "e"], ["x", "", "y"])
    result = LLMAttribution(ShapleyValues(model), LETTERS).attribute(template, TARGET)

    def made(there):
        return LETTERS.encode(template.to_model_input(torch.from_numpy(there)[None]))

    twin = shapley(lambda row: log_probs(model, row, TARGET_IDS), made, 3)
    assert (result.token_attr - twin).abs().max() < 1e-4
    for method in (ShapleyValueSampling(model), attr.KernelShap(model)):
        sampled = LLMAttribution(method, LETTERS).attribute(template, TARGET, n_samples=6)
        assert (sampled.token_attr - twin).abs().max() < 1e-4, "few features: exact"


METHODS = {
    "FeatureAblation": {},
    "ShapleyValues": {},
    "ShapleyValueSampling": {"n_samples": 4, "return_std": True},
    "KernelShap": {"n_samples": 30},
    "Lime": {"n_samples": 30},
    "Occlusion": {"sliding_window_shapes": (2,)},
    "OwenValues": {"hierarchy": [[0, 1, 2], [3, 4, 5, 6, 7, 8]]},
    "ShapleyInteractions": {},
    "RISE": {"n_samples": 20},
}


@pytest.mark.parametrize("name", METHODS)
def test_every_perturbation_method(model, name, unchanged):
    """The target's scores are the sum of its tokens', as all are linear in what is explained."""
    explain = LLMAttribution(getattr(attr, name)(model), LETTERS)
    inp = TextTokenInput("quick fox", LETTERS)
    with unchanged(model):
        state = torch.get_rng_state()
        result = explain.attribute(inp, TARGET, **METHODS[name])
        torch.set_rng_state(state)
    shape = (9, 9) if name == "ShapleyInteractions" else (9,)
    assert result.seq_attr.shape == shape
    assert result.token_attr.shape == (4, *shape)
    if name != "Lime":  # whose LASSO is not
        assert torch.allclose(result.token_attr.sum(0), result.seq_attr, atol=1e-4)
    assert (result.seq_std is not None) == (name == "ShapleyValueSampling")
    assert result.input_tokens == inp.values


def test_errors_shrink_and_stop(model):
    inp = TextTokenInput("the quick brown fox", LETTERS)
    explain = LLMAttribution(ShapleyValueSampling(model), LETTERS)
    torch.manual_seed(0)
    few, many = (explain.attribute(inp, TARGET, n_samples=n, return_std=True) for n in (6, 60))
    assert many.seq_std.mean() < 0.6 * few.seq_std.mean()
    assert many.token_std.shape == many.token_attr.shape
    trials = explain.attribute(inp, TARGET, n_samples=6, return_std=True, num_trials=4)
    assert trials.seq_std.mean() < 0.8 * few.seq_std.mean()
    stopped = explain.attribute(inp, TARGET, n_samples=10_000, tol=0.2)
    assert stopped.evaluations < 10_000


def test_progress_counts_what_is_run(model, capsys):
    LLMAttribution(FeatureAblation(model), LETTERS).attribute(
        TextTokenInput("the quick brown fox " * 5, LETTERS), TARGET, show_progress=True
    )
    lines = capsys.readouterr().err.replace("\r", "\n").strip().split("\n")
    assert "101/101" in lines[-1]
    assert len(lines) > 2, "on the way too"


def test_refining_finds_what_a_close_look_finds(model):
    text = "quick . brown fox . lazy dog . the mat ."
    tokenizer = _spelled()
    prompt = TextTokenInput(text, tokenizer, groups="sentences")
    explain = LLMAttribution(FeatureAblation(model), tokenizer)
    result = explain.attribute(prompt, TARGET, refine=["words", "tokens"], keep=0.0)
    whole = explain.attribute(TextTokenInput(text, tokenizer, groups="tokens"), TARGET)
    assert result.covered == 1
    visible = [name for name in whole.input_tokens if name.strip()]
    assert result.input_tokens == visible
    kept = [i for i, name in enumerate(whole.input_tokens) if name.strip()]
    assert torch.allclose(result.seq_attr, whole.seq_attr[kept], atol=1e-5)
    some = explain.attribute(prompt, TARGET, refine=["words"], keep=0.9)
    assert 0 < some.covered < 1
    assert some.evaluations < result.evaluations
    with pytest.raises(ValueError, match="with groups to refine"):
        explain.attribute(TextTemplateInput("{}!", ["a"]), TARGET, refine=["words"])
    with pytest.raises(ValueError, match="lost all of its tokens"):
        explain.attribute(TextTemplateInput("{}", ["a"]), TARGET)


class _Spelled(Letters):
    def __call__(self, text, add_special_tokens=True, return_offsets_mapping=False):
        spans = [(i, i + 1) for i in range(len(text))]
        return {"input_ids": self.encode(text), "offset_mapping": spans}


def _spelled():
    return _Spelled()


# --------------------------------------------------------------- methods that differentiate


def embeddings(model, row):
    return model.model.embed_tokens(torch.tensor([row])).detach()


def of_embeddings(model, prompt_values, t):
    """log p of the target's token t, of the prompt's embeddings (1, n, D)."""
    tail = embeddings(model, TARGET_IDS)[:, :t]
    logits = model(inputs_embeds=torch.cat([prompt_values, tail], 1)).logits[0, -1]
    return logits.log_softmax(-1)[TARGET_IDS[t]]


def test_integrated_gradients_beside_a_twin(model):
    rows, base = prompt().ids.tolist(), [7] * len(PROMPT)
    x, x0 = embeddings(model, rows), embeddings(model, base)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    twin = []
    for t in range(len(TARGET_IDS)):
        total = torch.zeros_like(x)
        for node, weight in zip(nodes, weights, strict=True):
            point = (x0 + (node + 1) / 2 * (x - x0)).requires_grad_()
            (slope,) = torch.autograd.grad(of_embeddings(model, point, t), point)
            total += weight / 2 * slope
        twin.append(((x - x0) * total).sum(-1)[0])
    twin = torch.stack(twin)
    layer = model.model.embed_tokens
    for method in (
        LayerIntegratedGradients(model, layer),
        IntegratedGradients(model, at=layer),
        IntegratedGradients(model),
    ):
        explain = LLMGradientAttribution(method, LETTERS)
        inp = prompt(baselines=7)
        result = explain.attribute(inp, TARGET, n_steps=8)
        assert (result.token_attr - twin).abs().max() < 1e-5
        assert (result.seq_attr - twin.sum(0)).abs().max() < 1e-5
        whole = explain.attribute(inp, TARGET, n_steps=8, per_token=False)
        assert whole.token_attr is None
        assert (whole.seq_attr - twin.sum(0)).abs().max() < 1e-5


def test_input_x_gradient_beside_a_twin(model):
    x = embeddings(model, prompt().ids.tolist()).requires_grad_()
    twin = torch.stack(
        [
            (x * torch.autograd.grad(of_embeddings(model, x, t), x)[0]).sum(-1)[0]
            for t in range(len(TARGET_IDS))
        ]
    )
    layer = model.model.embed_tokens
    for method in (InputXGradient(model, at=layer), LayerGradientXActivation(model, layer)):
        result = LLMGradientAttribution(method, LETTERS).attribute(prompt(), TARGET)
        assert (result.token_attr - twin).abs().max() < 1e-5


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("name", ["DeepLift", "LayerDeepLift", "GradientShap", "LRP", "LayerLRP"])
def test_every_gradient_method(family, name):
    """Complete where the method is; the whole is the sum of its tokens."""
    model = copy.deepcopy(decoder(family)).double()
    layer = model.get_input_embeddings()
    method = (
        getattr(attr, name)(model, layer)
        if "Layer" in name
        else getattr(attr, name)(model, at=layer)
    )
    inp = prompt(baselines=7)
    result = LLMGradientAttribution(method, LETTERS).attribute(inp, TARGET)
    assert torch.allclose(result.token_attr.sum(0), result.seq_attr, atol=1e-5)
    if "DeepLift" in name:
        ends = (inp.ids, inp.reference()[0])
        change = torch.stack([log_probs(model, row, TARGET_IDS) for row in ends])
        assert (result.token_attr.sum(1) - (change[0] - change[1])).abs().max() < 1e-4


def test_saliency_is_not_a_sum(model):
    explain = LLMGradientAttribution(attr.Saliency(model, at=model.model.embed_tokens), LETTERS)
    result = explain.attribute(prompt(), TARGET)
    assert (result.token_attr >= 0).all()
    assert (result.seq_attr < result.token_attr.sum(0)).any()
    whole = explain.attribute(prompt(), TARGET, per_token=False)
    assert torch.allclose(result.seq_attr, whole.seq_attr, rtol=1e-5)


def test_gradients_of_groups_are_sums():
    tokenizer = bytes_bpe()
    config = hf.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    model = sharpened(hf.LlamaForCausalLM(config))
    method = InputXGradient(model, at=model.get_input_embeddings())
    explain = LLMGradientAttribution(method, tokenizer)
    text = "the well-known café"
    by_token = explain.attribute(TextTokenInput(text, tokenizer), " fox")
    by_word = explain.attribute(TextTokenInput(text, tokenizer, groups="words"), " fox")
    assert by_word.input_tokens == ["the", "well-known", "café"]
    # The start of the text and lone spaces are no word's.
    inside = by_word.inp.membership.tokens
    assert 0 not in inside
    assert torch.allclose(by_word.seq_attr.sum(), by_token.seq_attr[inside].sum(), atol=1e-5)
    skipped = explain.attribute(TextTokenInput(text, tokenizer, skip_tokens=["<s>"]), " fox")
    assert torch.equal(skipped.seq_attr, by_token.seq_attr[1:])


# ------------------------------------------------------------------- kinds of numbers


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision(kind):
    """Scores of the size of the float32 model's; all of the published package's are zero."""
    full = decoder("llama")
    half = copy.deepcopy(full).to(kind)
    truth = LLMAttribution(FeatureAblation(full), LETTERS).attribute(prompt(), TARGET)
    found = LLMAttribution(FeatureAblation(half), LETTERS).attribute(prompt(), TARGET)
    single = ablated(lambda row: log_probs(half, row, TARGET_IDS), prompt().ids.tolist(), 0)
    noise = 20 * torch.finfo(kind).eps
    assert (found.token_attr - single).abs().max() < noise
    assert (found.seq_attr - truth.seq_attr).abs().max() < 4 * noise
    assert found.token_attr.dtype == torch.float32


def test_a_model_whose_rows_depend_on_one_another():
    """As of dynamic quantisation: found out at run time, and asked row by row."""

    class Coupled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = copy.deepcopy(decoder("gpt2"))

        def forward(self, input_ids, attention_mask=None):
            logits = self.inner(input_ids).logits
            scale = logits.abs().amax() / 127  # of the whole batch
            return (logits / scale).round() * scale

    model = Coupled().eval()
    result = LLMAttribution(FeatureAblation(model), LETTERS).attribute(prompt(), TARGET)

    def score(row):
        with torch.no_grad():
            logs = model(torch.tensor([[*map(int, row), *TARGET_IDS]]))[0].double().log_softmax(-1)
        return logs[range(len(row) - 1, len(row) + len(TARGET_IDS) - 1), TARGET_IDS]

    twin = ablated(score, prompt().ids.tolist(), 0)
    assert (result.token_attr - twin).abs().max() < 1e-4
    assert proofs.found(LanguageModel(model), "padded", [len(PROMPT) + 3]) is False


def test_dynamically_quantised_linear_layers():
    """All but the last, which only sees the positions that are asked about."""
    model = copy.deepcopy(decoder("llama"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch wants another package for it
        quantize_dynamic(model.model, {nn.Linear}, dtype=torch.qint8, inplace=True)
    result = LLMAttribution(FeatureAblation(model), LETTERS).attribute(prompt(), TARGET)
    twin = ablated(lambda row: log_probs(model, row, TARGET_IDS), prompt().ids.tolist(), 0)
    assert (result.token_attr - twin).abs().max() < 1e-3
    assert proofs.found(LanguageModel(model), "padded", [len(PROMPT) + 3]) is False


class Bare(nn.Module):
    """A language model of nobody's library: ids in, logits out."""

    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(64, 16), nn.Linear(16, 64)

    def forward(self, ids):
        values = self.embed(ids)
        count = torch.arange(1, ids.shape[1] + 1)[:, None]
        return self.out(torch.tanh(3 * values.cumsum(1) / count))


def test_a_module_of_one_s_own():
    torch.manual_seed(0)
    model = Bare()

    def score(row):
        with torch.no_grad():
            logs = model(torch.tensor([[*map(int, row), *TARGET_IDS]]))[0].double().log_softmax(-1)
        return logs[range(len(row) - 1, len(row) + len(TARGET_IDS) - 1), TARGET_IDS]

    for baseline in (0, None):
        inp = prompt(baselines=baseline)
        result = LLMAttribution(FeatureAblation(model), LETTERS).attribute(inp, TARGET)
        twin = ablated(score, inp.ids.tolist(), baseline)
        assert (result.token_attr - twin).abs().max() < 1e-5
    explain = LLMGradientAttribution(LayerIntegratedGradients(model, model.embed), LETTERS)
    change = score(prompt().ids) - score([0] * len(PROMPT))
    result = explain.attribute(prompt(), TARGET, n_steps=100)
    assert (result.token_attr.sum(1) - change).abs().max() < 1e-3
    with pytest.raises(TypeError, match="cannot generate"):
        explain.attribute(prompt())


# ---------------------------------------------------------------------- targets, errors


def test_targets(model):
    explain = LLMAttribution(FeatureAblation(model), LETTERS)
    whole = explain.attribute(prompt(), TARGET)
    for target in (TARGET_IDS, torch.tensor(TARGET_IDS), torch.tensor([TARGET_IDS])):
        found = explain.attribute(prompt(), target)
        assert torch.equal(found.token_attr, whole.token_attr)
    one = explain.attribute(prompt(), "j")
    assert one.token_attr.shape == (1, len(PROMPT))
    assert torch.allclose(one.token_attr[0], whole.token_attr[0], atol=1e-5)
    without = explain.attribute(prompt(), TARGET, skip_tokens=["j"])
    rest = explain.attribute(prompt(), TARGET[1:])
    assert torch.equal(without.seq_attr, rest.seq_attr)
    generated = explain.attribute(prompt(), gen_args={"max_new_tokens": 3, "do_sample": False})
    made = model.generate(prompt().to_model_input(), max_new_tokens=3, do_sample=False)
    assert generated.output_tokens == LETTERS.convert_ids_to_tokens(made[0, -3:].tolist())
    chances = [log_probs(model, prompt().ids, made[0, -3:].tolist()).exp()]
    assert torch.allclose(generated.output_probs.double(), chances[0], atol=1e-6)
    with pytest.raises(ValueError, match="at least one token"):
        explain.attribute(prompt(), "")
    with pytest.raises(ValueError, match="gen_args only"):
        explain.attribute(prompt(), TARGET, gen_args={"max_new_tokens": 3})
    with pytest.raises(ValueError, match="num_trials"):
        explain.attribute(prompt(), TARGET, num_trials=0)
    with pytest.raises(TypeError, match="an InterpretableInput"):
        explain.attribute(PROMPT, TARGET)


def test_what_is_looked_at(model):
    """The published package's hook: text, target, and probabilities of the whole and each token."""
    seen = []
    explain = LLMAttribution(FeatureAblation(model), LETTERS)
    explain.attribute(
        TextTokenInput("AB", LETTERS), "C", _inspect_forward=lambda *each: seen.append(each)
    )
    texts = [text for text, _, _ in seen]
    assert texts[0] == "AB"
    assert len(texts) == 3
    for _, target, chances in seen:
        assert target == "C"
        assert np.allclose(chances[0], chances[1])
        assert 0 < chances[0] < 1


def test_methods_of_another_kind_are_refused(model):
    layer = model.model.embed_tokens
    for method in (
        IntegratedGradients(model),
        attr.LayerFeatureAblation(model, layer),
        FeatureAblation(model, at=layer),
        FeatureAblation(model, of=attr.Neuron(layer, (0, 0))),
    ):
        with pytest.raises(TypeError, match="a perturbation method"):
            LLMAttribution(method, LETTERS)
    for method in (FeatureAblation(model), IntegratedGradients(model, of=attr.Neuron(layer, 0))):
        with pytest.raises(TypeError, match="a gradient or rule method"):
            LLMGradientAttribution(method, LETTERS)
    with pytest.raises(TypeError, match="a language model"):
        LLMAttribution(FeatureAblation(lambda x: x), LETTERS).attribute(prompt(), TARGET)
    explain = LLMGradientAttribution(IntegratedGradients(model), LETTERS)
    with pytest.raises(TypeError, match="as gradients go to tokens"):
        explain.attribute(TextTemplateInput("{}", ["a"]), TARGET)
    with pytest.raises(ValueError, match="a baseline token"):
        explain.attribute(prompt(baselines=None), TARGET)
    inner = LLMGradientAttribution(LayerIntegratedGradients(model, model.lm_head), LETTERS)
    with pytest.raises(ValueError, match="a place for each"):
        inner.attribute(prompt(), TARGET)
    with pytest.raises(NotImplementedError, match="no futures"):
        explain.attribute_future()
    with pytest.raises(ValueError, match="a language model, which gives logits"):
        LLMAttribution(FeatureAblation(_NoLogits()), LETTERS).attribute(prompt(), TARGET)


class _NoLogits(nn.Module):
    def forward(self, ids):
        return ids.float()


def test_passes_that_do_not_fit_are_halved():
    """Of a tree and of a batch: less at once, the same numbers."""
    model = copy.deepcopy(decoder("llama"))
    seen = []

    def small(module, args, kwargs):
        size = kwargs["input_ids"].numel()
        seen.append(size)
        if size > 40:
            raise RuntimeError("CUDA out of memory. Tried to allocate")

    plain = LLMAttribution(FeatureAblation(model), LETTERS).attribute(prompt(), TARGET)
    masks = LLMAttribution(attr.KernelShap(model), LETTERS)
    torch.manual_seed(0)
    sampled = masks.attribute(prompt(), TARGET, n_samples=40)
    with_hook = model.register_forward_pre_hook(small, with_kwargs=True)
    try:
        found = LLMAttribution(FeatureAblation(model), LETTERS).attribute(prompt(), TARGET)
        assert max(seen) > 40
        torch.manual_seed(0)
        again = masks.attribute(prompt(), TARGET, n_samples=40)
    finally:
        with_hook.remove()
    assert torch.allclose(found.seq_attr, plain.seq_attr, atol=1e-5)
    assert torch.allclose(again.seq_attr, sampled.seq_attr, atol=1e-4)
    with_hook = model.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        LLMAttribution(FeatureAblation(model), LETTERS).attribute(prompt(), TARGET)
    with_hook.remove()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.compile's own imports
def test_wrapped_models(model):
    plain = LLMAttribution(FeatureAblation(model), LETTERS).attribute(prompt(), TARGET)
    for wrapped in (nn.DataParallel(model), torch.compile(model)):
        found = LLMAttribution(FeatureAblation(wrapped), LETTERS).attribute(prompt(), TARGET)
        assert torch.equal(found.seq_attr, plain.seq_attr)


def test_names_and_kinds(model):
    explain = LLMAttribution(FeatureAblation(model), LETTERS)
    assert explain.get_name() == "LLM Attribution"
    assert not explain.has_convergence_delta()
    assert explain.multiplies_by_inputs == FeatureAblation(model).multiplies_by_inputs
    paths = LLMGradientAttribution(
        LayerIntegratedGradients(model, model.model.embed_tokens), LETTERS
    )
    assert paths.has_convergence_delta()
    assert paths.multiplies_by_inputs


def test_a_long_prompt_stays_in_its_budget():
    """Two thousand tokens: no pass holds more than its share, whatever the coalitions are."""
    config = hf.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=2100,
    )  # fmt: skip
    model = sharpened(hf.LlamaForCausalLM(config))
    largest = []
    hook = model.lm_head.register_forward_hook(
        lambda module, args, output: largest.append(output.nbytes)
    )
    rows = []
    inner = model.model.register_forward_hook(
        lambda module, args, output: rows.append(output[0].shape[:2].numel())
    )
    text = "the quick brown fox " * 100
    groups = [(i, i + 100) for i in range(0, len(text), 100)]
    prompt = TextTokenInput(text, _spelled(), groups=groups)
    for method, options in (
        (FeatureAblation(model), {}),
        (attr.KernelShap(model), {"n_samples": 40}),
    ):
        result = LLMAttribution(method, _spelled()).attribute(prompt, TARGET, **options)
        assert result.seq_attr.shape == (20,)
    hook.remove()
    inner.remove()
    assert max(rows) <= 2003, "one row, where a row is more than a pass's share"
    assert max(largest) <= 64 << 20
    assert sum(1 for _ in pairwise(rows)) > 40
