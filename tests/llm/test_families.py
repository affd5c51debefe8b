"""Shared, padded and single prompts give the same numbers, for every family of models."""

import numpy as np
import pytest
import torch
import transformers

from captum.attr import FeatureAblation, LLMAttribution, ShapleyValueSampling, TextTokenInput
from captum.attr.llm.scores import LOG_PROB
from captum.attr.llm.scoring import padded, proofs, tree
from captum.attr.llm.scoring.budget import Budget
from captum.attr.llm.scoring.language_model import LanguageModel

from .families import DECODERS, NO_TREE, decoder
from .tokenizers import Letters
from .twins import ablated, log_probs

PROMPT, TARGET = "the quick brown fox ", "jumps on"
TOKENIZER = Letters()
NOTHING = np.zeros(0, np.int64)
RELEASE = int(transformers.__version__.partition(".")[0])
TARGET_IDS = TOKENIZER.encode(TARGET)


def close(ours, theirs, tolerance=1e-4):
    assert (ours.double() - theirs.double()).abs().max() < tolerance


@pytest.mark.parametrize("family", DECODERS)
@pytest.mark.parametrize("baseline", [0, None], ids=["replaced", "removed"])
def test_ablation_equals_single_rows(family, baseline):
    model = decoder(family)
    prompt = TextTokenInput(PROMPT, TOKENIZER, baselines=baseline)
    result = LLMAttribution(FeatureAblation(model), TOKENIZER).attribute(prompt, TARGET)
    twin = ablated(lambda p: log_probs(model, p, TARGET_IDS), prompt.ids.tolist(), baseline)
    assert twin.abs().max() > 0.05, "a model that does not read its prompt proves nothing"
    close(result.token_attr, twin)
    close(result.seq_attr, twin.sum(0))
    if RELEASE < 5:
        return
    lengths = [len(prompt.ids) + len(TARGET_IDS) - 1 - (baseline is None)]
    found = proofs.found(LanguageModel(model), "tree", lengths)
    assert bool(found) == (family not in NO_TREE), "the set of families that share has changed"


@pytest.mark.skipif(RELEASE < 5, reason="fewer families know the masks of a tree")
@pytest.mark.parametrize("family", sorted(set(DECODERS) - NO_TREE))
def test_every_way_alone(family):
    """The tree in chunks of any size, and ragged batches, without the check at run time."""
    model, target = LanguageModel(decoder(family)), np.array(TARGET_IDS)
    rng = np.random.default_rng(0)
    prompts = [rng.integers(1, 64, size) for size in (5, 9, 14, 20)]
    prompts += [np.concatenate([prompts[2][:9], rng.integers(1, 64, 3)]), prompts[3][:7]]
    single = torch.stack([log_probs(model.module, p, target) for p in prompts])
    budget = Budget(model)
    for budget.nodes in (1, 3, 16, 1000):
        grown = tree.grow(prompts, target, NOTHING)
        close(tree.run(model, grown, tree.Trunk(), target, LOG_PROB.read, budget), single)
        for first in range(len(prompts)):
            trunk = tree.Trunk()
            alone = tree.grow([prompts[first]], target, trunk.tokens)
            close(tree.run(model, alone, trunk, target, LOG_PROB.read, budget)[0], single[first])
            others = [p for i, p in enumerate(prompts) if i != first]
            grown = tree.grow(others, target, trunk.tokens)
            found = tree.run(model, grown, trunk, target, LOG_PROB.read, budget)
            close(found, single[[i for i in range(len(prompts)) if i != first]])
    for budget.tokens in (1, 60, 1000):
        close(padded.run(model, prompts, target, LOG_PROB.read, budget), single)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral", "gemma3"])
def test_attention_of_either_kind(family, implementation):
    model = decoder(family)
    before = model.config._attn_implementation
    model.set_attn_implementation(implementation)
    try:
        prompt = TextTokenInput(PROMPT, TOKENIZER)
        result = LLMAttribution(FeatureAblation(model), TOKENIZER).attribute(prompt, TARGET)
        twin = ablated(lambda p: log_probs(model, p, TARGET_IDS), prompt.ids.tolist(), 0)
        close(result.token_attr, twin)
    finally:
        model.set_attn_implementation(before)


def test_a_tree_has_what_prompts_share_once():
    rows = [np.array(row) for row in ([1, 2, 3], [1, 2, 4], [1, 5], [1, 2, 3, 6])]
    grown = tree.grow(rows, np.array([7, 8]), NOTHING)
    # 1 2 3 6 7 | 3 7 | 4 7 | 5 7
    assert len(grown) == 5 + 1 + 2 + 2
    for i, row in enumerate(rows):
        nodes = grown.before[i]
        assert grown.tokens[nodes].tolist() == [row[-1], 7]
        assert grown.depth[nodes].tolist() == [len(row) - 1, len(row)]
        path = np.flatnonzero((np.arange(len(grown)) <= nodes[-1]) & (grown.end > nodes[-1]))
        assert grown.tokens[path].tolist() == [*row.tolist(), 7]


def test_a_trunk_is_not_run_again():
    rows = [np.array(row) for row in ([1, 2, 9], [1, 5, 3], [1, 2])]
    grown = tree.grow(rows, np.array([7, 8]), np.array([1, 2, 3, 7]))
    # 1 2 are known, but what follows 2 is asked of it: | 2 (7) 9 7 | 5 3 7
    assert grown.start == 1
    assert grown.tokens[:2].tolist() == [1, 2]
    far = tree.grow([np.array([1, 2, 3, 4])], np.array([7]), np.array([1, 2, 3, 9]))
    assert (far.start, len(far)) == (3, 1)
    assert tree.grow(rows, np.array([7]), np.array([4])).start == 0


def test_shared_work_is_counted_and_saved():
    model = decoder("llama")
    prompt = TextTokenInput(PROMPT, TOKENIZER)
    explain = LLMAttribution(FeatureAblation(model), TOKENIZER)
    explain.attribute(prompt, TARGET)  # proves the tree
    result = explain.attribute(prompt, TARGET)
    n, t = len(PROMPT), len(TARGET_IDS)
    assert result.evaluations == n + 1
    # The whole prompt, then for every token its replacement and what follows.
    assert result.forward_tokens == (n + t - 1) + sum(n + t - 1 - i for i in range(n))
    assert result.forward_tokens < 0.7 * (n + 1) * (n + t - 1)


def test_a_prompt_is_run_once():
    """Coalitions that leave the same prompt, over trials and levels too."""
    model = decoder("llama")
    prompt = TextTokenInput("aaaa", TOKENIZER, baselines="a")  # every coalition is the prompt
    result = LLMAttribution(ShapleyValueSampling(model), TOKENIZER).attribute(
        prompt, TARGET, num_trials=3, n_samples=2
    )
    assert result.evaluations == 1
    assert torch.equal(result.seq_attr, torch.zeros(4))
