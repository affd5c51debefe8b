# %% [markdown]
# # Attribution of a causal language model: which words of the prompt made the answer?
#
# A language model says how likely a text is after a prompt. We take parts of the prompt away,
# words, examples, messages or sentences, and see what that does to the answer; then we ask the
# gradients.
#
# The model is a small Llama trained here, in seconds, on tasks whose solution is known: of
# *Dave lives in Palm Coast. Ann lives in Cedar Hill. Dave lives in* we know which words the answer
# can come from (see `toy_chat.py`, which also says how to explain a real checkpoint with the same
# code).

# %%
import math

import matplotlib.pyplot as plt
import torch

import toy_chat
from captum.attr import (
    LRP,
    ChatInput,
    Contrast,
    FeatureAblation,
    LayerIntegratedGradients,
    LLMAttribution,
    LLMAttributionResult,
    LLMGradientAttribution,
    ProductBaselines,
    ShapleyValues,
    ShapleyValueSampling,
    TextTemplateInput,
    TextTokenInput,
)

toy = not toy_chat.CHECKPOINT  # what we know of the toy's answers is only asserted there
model, tokenizer = toy_chat.load()
blank = toy_chat.blank(tokenizer)  # the token in the place of those that are gone
text = "Dave lives in Palm Coast. Ann lives in Cedar Hill. Ben lives in Silver Lake. Dave lives in"
answer = " Palm Coast"

# %% [markdown]
# ## Single tokens
#
# A method, `FeatureAblation` for one, is made with the model, and `LLMAttribution` lets it ask
# about texts. `TextTokenInput` makes every token a feature. An absent one is replaced by a token
# that says nothing; those in `skip_tokens` always stay, here the one that begins every text.
#
# The score of a feature is what the answer loses without it,
#
# $$\log p(\text{answer} \mid \text{prompt})
# - \log p(\text{answer} \mid \text{prompt without it}),$$
#
# for the answer as a whole (`seq_attr`) and for each of its tokens (`token_attr`). By the chain
# rule, the tokens' scores sum to the whole's.

# %%
prompt = TextTokenInput(text, tokenizer, baselines=blank, skip_tokens=[tokenizer.bos_token_id])
ablation = LLMAttribution(FeatureAblation(model), tokenizer)
result = ablation.attribute(prompt, target=answer)

print("p of each token of the answer:", [f"{p:.3f}" for p in result.output_probs.tolist()])
print("seq_attr", tuple(result.seq_attr.shape), "token_attr", tuple(result.token_attr.shape))
result.plot_token_attr(show=True)


# %%
def most(scores, count=4):
    """The largest scores by name, of either sign."""
    largest = sorted(scores.items(), key=lambda pair: -abs(pair[1]))[:count]
    return ", ".join(f"{name} {score:+.2f}" for name, score in largest)


def by_token(found):
    """Scores by name, for each token of the answer."""
    return [dict(zip(found.seq_attr_dict, row.tolist(), strict=True)) for row in found.token_attr]


by = result.seq_attr_dict  # a name that comes again gets its number: Dave, Dave (2)
print(most(by))
assert torch.allclose(result.token_attr.sum(0), result.seq_attr, atol=1e-3)

# %% [markdown]
# **What one should see.** The answer stands in the prompt, and it is found through Dave's name; Ann
# and Ben do not matter. Row by row, *Palm* needs to know about Dave. *Coast* does not: once *Palm*
# has been said, what is missing is its second half. The first *Dave* may count for less than the
# second: a fact that has lost its name can only be his, as Ann and Ben have theirs.

# %%
four = ["Palm", "Coast", "Dave", "Dave (2)"]
if toy:
    names = result.input_tokens
    first, second = by_token(result)
    others = [abs(score) for score in [*by.values()][6:18]]
    share = sum(by[name] for name in four) / result.seq_attr.abs().sum()
    print(
        f"share of the four words: {share:.2f}; of Ann's and Ben's at most {max(others):.2f} each"
    )
    assert names[:5] == ["Dave", "lives", "in", "Palm", "Coast"]
    assert share > 0.7
    assert min(by["Palm"], by["Coast"]) > 2 * max(others)
    assert first["Dave"] + first["Dave (2)"] > 3 * abs(second["Dave"] + second["Dave (2)"])
    assert second["Coast"] > 3 * abs(first["Coast"])

# %% [markdown]
# What an absent word leaves behind is part of the question. With `baselines=None` it leaves
# nothing, and the text closes up. Now the last *in* matters too: *Dave lives* goes on with *in*,
# not with a town. With an unknown word in its place, a town is still to come.

# %%
closing = TextTokenInput(text, tokenizer, baselines=None, skip_tokens=[tokenizer.bos_token_id])
closed = ablation.attribute(closing, target=answer)
print("taken out:", most(closed.seq_attr_dict))
if toy:
    assert float(closed.seq_attr[-1]) > float(result.seq_attr[-1]) + 0.2

# %% [markdown]
# ## Templates: features that belong to a form
#
# Often the features are not tokens but what a form was filled with. `TextTemplateInput` takes a
# form and its values. Of this one we know that lawyers like golf and that one surfs in Florida; the
# name, the town and the pronoun do not matter.

# %%
form = "{} lives in {}, {} and is a {}. {} personal interests include"
likes = " golf and surfing"

filled = TextTemplateInput(form, ["Dave", "Palm Coast", "Florida", "lawyer", "His"])
emptied = ablation.attribute(filled, target=likes)
print("absent values are empty:", most(emptied.seq_attr_dict))

replaced = TextTemplateInput(
    form,
    ["Dave", "Palm Coast", "Florida", "lawyer", "His"],
    baselines=["Ann", "Silver Lake", "Texas", "doctor", "Her"],
)
swapped = ablation.attribute(replaced, target=likes)
print("somebody else's values:", most(swapped.seq_attr_dict))
swapped.plot_token_attr(show=True)


# %% [markdown]
# **What one should see.** *Golf* is the lawyer's and *surfing* is Florida's. Without an occupation
# the model has to guess one of six. With somebody else's it need not guess, and is sure of another
# word: a doctor takes more from *golf* than nobody does. A score is always about a comparison.

# %%
if toy:
    for found in (emptied, swapped):
        golf, _, surfing = by_token(found)
        assert golf["lawyer"] > 2 * max(abs(v) for k, v in golf.items() if k != "lawyer")
        assert surfing["Florida"] > 2 * max(abs(v) for k, v in surfing.items() if k != "Florida")
    nobody, doctor = (by_token(found)[0]["lawyer"] for found in (emptied, swapped))
    print(f"what golf loses: {nobody:.2f} to nobody, {doctor:.2f} to a doctor")
    assert 0.5 < nobody < doctor - 1

# %% [markdown]
# **Names, groups and many baselines.** With a dict the fields have names. One other person is one
# comparison out of many: `ProductBaselines` draws a new one for every prompt, a name together with
# its pronoun and a town with its state, and `num_trials` averages. `mask` makes values one feature:
# those with the same number come and go together, and have the same score.

# %%
torch.manual_seed(0)
people = ProductBaselines(
    {
        ("name", "pronoun"): [("Ann", "Her"), ("Ben", "His"), ("Emma", "Her")],
        ("city", "state"): [
            ("Silver Lake", "Texas"),
            ("Cedar Hill", "Utah"),
            ("High Creek", "Maine"),
        ],
        "occupation": ["doctor", "nurse", "farmer", "teacher"],
    }
)
named = TextTemplateInput(
    "{name} lives in {city}, {state} and is a {occupation}. {pronoun} personal interests include",
    values={
        "name": "Dave",
        "city": "Palm Coast",
        "state": "Florida",
        "occupation": "lawyer",
        "pronoun": "His",
    },
    baselines=people,
    mask={"name": 0, "pronoun": 0, "city": 1, "state": 1, "occupation": 2},
)
result = ablation.attribute(named, target=likes, num_trials=3)
print(most(result.seq_attr_dict, 5))

by = result.seq_attr_dict
assert by["Palm Coast"] == by["Florida"]
assert by["Dave"] == by["His"]
if toy:
    golf, _, surfing = by_token(result)
    assert golf["lawyer"] > 5 * max(abs(golf["Dave"]), abs(golf["Florida"]))
    assert surfing["Florida"] > 5 * max(abs(surfing["Dave"]), abs(surfing["lawyer"]))

# %% [markdown]
# **Shapley values.** Ablation looks at what is lost from the whole prompt. A Shapley value is the
# mean loss over all orders in which the features can go, so the scores sum to what all of them do
# together: a step that is also the score of all values as a single feature.

# %%
shapley = LLMAttribution(ShapleyValues(model), tokenizer)
result = shapley.attribute(replaced, target=likes)
at_once = TextTemplateInput(form, replaced.values, baselines=replaced.baselines, mask=[0] * 5)
step = ablation.attribute(at_once, target=likes).seq_attr[0]
print(most(result.seq_attr_dict, 5))
print(f"sum {float(result.seq_attr.sum()):.3f}, all at once {float(step):.3f}")
assert torch.isclose(result.seq_attr.sum(), step, atol=1e-2)
if toy:
    shares = result.seq_attr / step
    assert float(shares[2] + shares[3]) > 0.8  # Florida and lawyer
    assert min(shares[2:4]) > 0.25

# %% [markdown]
# Of 21 tokens nobody can try all orders. `ShapleyValueSampling` tries some: with `tol` it stops
# when every standard error is below this share of the largest score, and `return_std` gives the
# errors. The sum is exact all the same.

# %%
torch.manual_seed(0)
sampling = LLMAttribution(ShapleyValueSampling(model), tokenizer)
result = sampling.attribute(prompt, target=answer, n_samples=2000, tol=0.04, return_std=True)
print(f"{result.evaluations} prompts, errors of at most {float(result.seq_std.max()):.3f}")
result.plot_seq_attr(show=True)

whole = TextTokenInput(text, tokenizer, baselines=blank, groups=[text])
step = ablation.attribute(whole, target=answer).seq_attr[0]
assert torch.isclose(result.seq_attr.sum(), step, atol=1e-2)
if toy:
    by = result.seq_attr_dict
    print(f"Palm and Coast: {by['Palm'] + by['Coast']:.2f} of {float(step):.2f}")
    assert by["Palm"] + by["Coast"] > 0.3 * float(step)
    assert float(result.seq_std.max()) < 0.1 * float(result.seq_attr.max())

# %% [markdown]
# ## An answer that the model gives itself
#
# Without a target the model's own answer is explained; `gen_args` go to its `generate`. Here
# `skip_tokens` leaves the token that ends the answer out of what is explained.

# %%
question = TextTokenInput(
    "Dave lives in Palm Coast. Ann lives in Cedar Hill. Where does Ann live?",
    tokenizer,
    baselines=blank,
    groups="words",
)
result = ablation.attribute(
    question,
    gen_args={"max_new_tokens": 8, "do_sample": False},
    skip_tokens=[tokenizer.eos_token_id],
)
print("generated:", tokenizer.decode(tokenizer.convert_tokens_to_ids(result.output_tokens)))
result.plot_token_attr(show=True)

# %% [markdown]
# **What one should see.** Each word of the answer has its own source. *Ann* is copied from the
# question, *Cedar* and *Hill* from the facts, and *lives in* is how answers go: no single word is
# needed for it.

# %%
if toy:
    assert result.output_tokens == ["Ann", "lives", "in", "Cedar", "Hill", "."]
    heads = {i: result.input_tokens[int(row.argmax())] for i, row in enumerate(result.token_attr)}
    asked = len(result.input_tokens) - 3
    assert int(result.token_attr[0].argmax()) == asked  # the second Ann
    assert heads[4] in ("Hill", "Cedar")
    assert float(result.token_attr[[1, 2, 5]].abs().max()) < 0.3

# %% [markdown]
# ## A chat
#
# `ChatInput` takes the messages and lets the tokenizer's chat template write them. The features lie
# in what was said; what the template puts around it always stays. The template writes the token
# that begins a text, and a tokenizer would add another one. There is exactly one:

# %%
conversation = [
    {"role": "system", "content": "Answer the question."},
    {"role": "user", "content": "Dave lives in Palm Coast. Ann lives in Cedar Hill."},
    {"role": "assistant", "content": "I see."},
    {"role": "user", "content": "Where does Dave live?"},
]
chat = ChatInput(conversation, tokenizer, baselines=blank, groups="messages")
ids = chat.to_model_input()[0]
print(ids.tolist())
print(tokenizer.decode(ids))
assert int((ids == tokenizer.bos_token_id).sum()) == 1

# %% [markdown]
# With `groups="messages"` every message is a feature; without, every token of a message is one.

# %%
result = ablation.attribute(chat, target="Dave lives in Palm Coast.")
result.input_tokens = ["system", "user", "assistant", "user again"]  # short names for the plot
result.plot_token_attr(show=True)

words = ablation.attribute(
    ChatInput(conversation, tokenizer, baselines=blank), target="Dave lives in Palm Coast."
)
print("words:", most(words.seq_attr_dict, 5))

# %% [markdown]
# **What one should see.** Who is spoken of was said in the last message, where he lives in the
# first one of the user's. What the system and the assistant said makes no difference.

# %%
if toy:
    size = result.token_attr.abs()
    assert result.output_tokens[0] == "Dave"
    assert int(size[0].argmax()) == 3
    assert int(size[3].argmax()) == int(size[4].argmax()) == 1
    assert float(size[:, [0, 2]].max()) < 0.2 * float(min(size[0, 3], size[3, 1]))

# %% [markdown]
# A template function may return messages too. So every fact is a feature of a chat:


# %%
def told(*facts):
    content = " ".join([*filter(None, facts), "Where does Dave live?"])
    return [{"role": "user", "content": content}]


facts = ["Ann lives in Cedar Hill.", "Dave lives in Palm Coast.", "Ben lives in Silver Lake."]
result = shapley.attribute(TextTemplateInput(told, facts), target="Dave lives in Palm Coast.")
print(most(result.seq_attr_dict))
if toy:
    assert int(result.seq_attr.argmax()) == 1
    assert float(result.seq_attr[1]) > 3 * float(result.seq_attr[[0, 2]].abs().max())

# %% [markdown]
# ## Which example taught the answer?
#
# No text that the model was trained on knows what *dax* means, or rather: each says something else.
# It can only be learned from the examples in the prompt, and these are the features now. An absent
# example is left out.


# %%
lexicon = {"zup": "blue", "dax": "red", "wug": "green", "fep": "white"}
examples = [f"{word} means {colour}." for word, colour in lexicon.items()]


def lesson(word):
    """A function that writes the examples that are there, and asks for one word."""
    return lambda *given: " ".join([*filter(None, given), f"{word} means"])


result = shapley.attribute(
    TextTemplateInput(lesson("dax"), examples),
    gen_args={"max_new_tokens": 1, "do_sample": False},
)
print(result.output_tokens, most(result.seq_attr_dict))

scores = torch.stack(
    [
        shapley.attribute(TextTemplateInput(lesson(word), examples), target=f" {colour}").seq_attr
        for word, colour in lexicon.items()
    ]
)

_, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
high = float(scores.abs().max())
image = axis.imshow(scores.numpy(), cmap="RdBu", vmin=-high, vmax=high)
axis.set_xticks(range(4), examples, rotation=20, ha="right", rotation_mode="anchor")
axis.set_yticks(range(4), [f"{word} means … {colour}" for word, colour in lexicon.items()])
axis.set_title("Which example taught which answer", loc="left")
plt.colorbar(image, ax=axis, label="Shapley value")
plt.show()

# %% [markdown]
# **What one should see.** Every answer comes from the one example that has the word. Without
# examples the model guesses one colour of six, so about $\log 6 = 1.8$ is there to be explained.

# %%
if toy:
    assert result.output_tokens == ["red"]
    for i, row in enumerate(scores):
        assert int(row.abs().argmax()) == i
        rest = torch.cat([row[:i], row[i + 1 :]])
        assert float(row[i]) > 1.3 * float(rest.abs().max())
    print(f"explained on average: {float(scores.sum(1).mean()):.2f}, log 6 = {math.log(6):.2f}")
    assert 0.8 < float(scores.sum(1).mean()) < 4

# %% [markdown]
# ## Why this and not that?
#
# What is explained is a choice, `attr_target`. Log-probabilities are the default; their sum over
# tokens is the answer's. Probabilities are on a scale that everybody knows, but a loss from 99 to
# 90 percent and one from 10 to 1 percent then look much the same. And both mix two questions: how
# does the model know that a town comes next, and how does it know which? `Contrast(other)` asks
# the second one only: it explains $\log p(\text{answer}) - \log p(\text{other})$.

# %%
found = {
    name: LLMAttribution(FeatureAblation(model), tokenizer, attr_target=what).attribute(
        prompt, target=answer
    )
    for name, what in {
        "log_prob": "log_prob",
        "prob": "prob",
        "Cedar Hill": Contrast(" Cedar Hill"),
    }.items()
}
for name, each in found.items():
    print(f"{name:>10}: {most(each.seq_attr_dict, 6)}")

# %% [markdown]
# **What one should see.** Why Palm Coast, *and not Cedar Hill*: above all because it is Dave who
# was asked about. And some words now speak against: as *Cedar Hill* stands in the prompt, taking
# *Hill* away leaves less for it.

# %%
if toy:
    plain, chance, contrast = (each.seq_attr_dict for each in found.values())
    asked = [scores["Dave"] + scores["Dave (2)"] for scores in (plain, contrast)]
    assert asked[1] > 1.3 * asked[0]
    assert max(map(abs, chance.values())) <= 1
    assert contrast["Hill"] < -0.4
    assert abs(plain["Hill"]) < 0.2

# %% [markdown]
# ## Gradients
#
# `LLMGradientAttribution` does the same with methods that look inside, at the embeddings: one score
# for each token, in one run or a few instead of one per feature. Integrated gradients follow the
# way from a prompt of blanks. `LRP`, with its rules for attention (AttnLRP), hands down the value
# that is explained, operation by operation; as $\log p$ of a sure answer is almost nothing, there
# would be nothing to hand down, so both explain the contrast.

# %%
embedding = model.model.embed_tokens
why = Contrast(" Cedar Hill")
integrated = LLMGradientAttribution(
    LayerIntegratedGradients(model, embedding), tokenizer, attr_target=why
)
relevance = LLMGradientAttribution(LRP(model, at=embedding), tokenizer, attr_target=why)

compared = {
    "ablation": found["Cedar Hill"],
    "integrated gradients": integrated.attribute(prompt, target=answer),
    "AttnLRP": relevance.attribute(prompt, target=answer),
}
for name, each in compared.items():
    print(f"{name:>20}: {most(each.seq_attr_dict, 5)}")

figure, axes = plt.subplots(3, 1, figsize=(10, 6), layout="constrained", sharex=True)
for axis, (name, each) in zip(axes, compared.items(), strict=True):
    values = each.seq_attr.numpy()
    axis.bar(range(len(values)), values, color=["#2b6c99" if v > 0 else "#c0564b" for v in values])
    axis.axhline(0, color="black", linewidth=0.6)
    axis.set_title(name, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
axes[-1].set_xticks(range(len(values)), prompt.values, rotation=60, ha="right")
figure.suptitle("Why “Palm Coast” and not “Cedar Hill”?", x=0.01, ha="left")
plt.show()

# %% [markdown]
# **What one should see.** All agree on *Palm*. Its way to the answer is a copy, which gradients and
# relevance follow back to where it was copied from. The name decides *where the model looks*: take
# it away, and the answer changes, as ablation shows. But little of it flows into the answer, so
# the other two say less about it. These are answers to different questions.

# %%
if toy:
    for name, each in compared.items():
        ranks = each.seq_attr.argsort(descending=True).tolist()
        place = [each.input_tokens[i] for i in ranks].index("Palm")
        assert place < (1 if name == "AttnLRP" else 3)
    names_share = {
        name: (abs(each.seq_attr_dict["Dave"]) + abs(each.seq_attr_dict["Dave (2)"]))
        / each.seq_attr_dict["Palm"]
        for name, each in compared.items()
    }
    print({name: f"{share:.2f}" for name, share in names_share.items()})
    assert names_share["ablation"] > names_share["integrated gradients"]
    assert names_share["ablation"] > 1.3 * names_share["AttnLRP"]

# %% [markdown]
# Gradients need a prompt whose length stays, which a template's is not. `as_tokens` makes one of
# it: the text is encoded once, and a value that is absent has its tokens blanked.

# %%
towns = TextTemplateInput(
    "Dave lives in {}. Ann lives in {}. Ben lives in {}. Dave lives in",
    ["Palm Coast", "Cedar Hill", "Silver Lake"],
).as_tokens(tokenizer, baselines=blank)
result = integrated.attribute(towns, target=answer)
result.plot_seq_attr(show=True)
print(most(result.seq_attr_dict))
if toy:
    ours, theirs, third = result.seq_attr.tolist()
    assert ours > 1.5 * max(abs(theirs), abs(third))

# %% [markdown]
# ## A long prompt
#
# Ablation runs the model once per feature, sampling much more often. For a long prompt, begin with
# sentences, and let `refine` cut those that matter into words: the others stay whole. `covered`
# says how much of the scores' size was in what was cut. Near 1, nothing was missed that ablation
# could see; if it is low, many sentences matter a little, and it is better to look at all.

# %%
report = (
    "The sun shines in High Springs. Ann lives in Cedar Hill. Many people like Long Creek. "
    "Dave lives in Palm Coast. Tea is good. Ben lives in Silver Lake. It rains in High Springs. "
    "Where does Dave live?"
)
target = " Dave lives in Palm Coast"
by_sentence = TextTokenInput(report, tokenizer, baselines=blank, groups="sentences")
coarse = ablation.attribute(by_sentence, target=target)
for sentence, score in coarse.seq_attr_dict.items():
    print(f"{score:+6.2f}  {sentence}")

fine = ablation.attribute(by_sentence, target=target, refine=["words"])
print(f"{len(fine.input_tokens)} features, {fine.evaluations} prompts, covered {fine.covered:.2f}")
print(most(fine.seq_attr_dict))
fine.plot_seq_attr(show=True)

# %% [markdown]
# **What one should see.** The question and one sentence in seven matter; other towns and the
# weather do not. Within them it is the same four words once more.

# %%
if toy:
    ranks = coarse.seq_attr.abs().argsort(descending=True).tolist()
    assert set(ranks[:2]) == {3, 7}
    assert float(coarse.seq_attr[3]) > 2 * float(coarse.seq_attr[ranks[2:]].abs().max())
    assert fine.covered > 0.6
    assert "Dave lives in Palm Coast." not in fine.input_tokens
    assert "Tea is good." in fine.input_tokens
    share = sum(fine.seq_attr_dict[name] for name in four) / fine.seq_attr.abs().sum()
    print(f"share of the four words: {share:.2f}")
    assert share > 0.7

# %% [markdown]
# ## Keeping what was found
#
# `save` writes a page that colours the prompt, for the whole answer or for one of its tokens; it
# needs a browser and nothing else. `to_json` writes everything but the prompt object, and
# `to_dataframe` makes a table with one row for every feature and token.

# %%
fine.save("palm_coast.html")

kept = LLMAttributionResult.from_json(fine.to_json())
assert kept.input_tokens == fine.input_tokens
assert torch.equal(kept.token_attr, fine.token_attr)

frame = fine.to_dataframe()
print(frame[frame.token != ""].nlargest(4, "score").to_string(index=False))
plt.close("all")
