# %% [markdown]
# # A transformer explained in one pass: AttnLRP and DeepLIFT beside integrated gradients
#
# A BERT reads short reviews and says how good they are. Of its reviews we know what decides:
# whatever stands before *but* is taken back by what stands behind it. Three answers to "which words
# made the verdict?", and what they cost:
#
# | method | score of a word | model passes | sums to |
# |---|---|---|---|
# | `IntegratedGradients` | gradients, averaged | one per step | $f(x) - f(x_0)$, nearly |
# | `DeepLift` | slopes from $x_0$ to $x$ | one, $x_0$ beside $x$ | $f(x) - f(x_0)$, exactly |
# | `LRP` | the logit, handed down | one | $f(x)$, but for what is kept |
#
# The rules for attention, layer norm and GELU are in place, for any model and without a patch: it
# is operations that have rules, not modules. And an explanation can report how it came about.

# %%
import os
import random
import time
from collections import Counter

import matplotlib.pyplot as plt
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import toy_reviews
from captum.attr import (
    LRP,
    DeepLift,
    InputXGradient,
    IntegratedGradients,
    LayerDeepLift,
    elementwise,
    lrp_rules,
    visible,
    visualization,
)

BLUE, RED, GREY = "#2b6c99", "#c0564b", "#9aa3ab"

# %% [markdown]
# ## A model and its reviews
#
# `toy_reviews.py` makes reviews and trains a BERT of three layers on them, in some ten seconds. It
# is a `BertForSequenceClassification` like those of the hub, only small; how to take one of those
# instead stands at the end.

# %%
model = toy_reviews.load()
chance = random.Random(1)
reviews = [toy_reviews.review(chance) for _ in range(300)]
truth = torch.tensor([1 if review.good else -1 for review in reviews])
batch = toy_reviews.encode(reviews)
ids, mask = batch["input_ids"], {"attention_mask": batch["attention_mask"]}
reference = toy_reviews.blank(ids)  # [MASK] for every word

with torch.no_grad():
    logits = model(ids, **mask).logits[:, 0]
    nothing = model(reference, **mask).logits[:, 0]
change = logits - nothing
right = float((logits.sign() == truth).float().mean())
print(f"right on 300 new reviews: {right:.2f}")
print(f"logit of a good one {float(logits[truth > 0].mean()):+.1f}, ", end="")
print(
    f"of a bad one {float(logits[truth < 0].mean()):+.1f}, of nothing {float(nothing.mean()):+.1f}"
)
assert right > 0.95

# %% [markdown]
# ## Three methods, side by side
#
# Ids go in as they are: they are followed to their embeddings, and every word gets one score.

# %%
methods = {
    "input × gradient": lambda: InputXGradient(model).attribute(ids, forward_kwargs=mask),
    "integrated gradients": lambda: IntegratedGradients(model).attribute(
        ids, reference, n_steps=20, forward_kwargs=mask
    ),
    "DeepLIFT": lambda: DeepLift(model).attribute(ids, reference, forward_kwargs=mask),
    "AttnLRP": lambda: LRP(model).attribute(ids, forward_kwargs=mask),
}
scores = {}
for name, method in methods.items():
    begin = time.perf_counter()
    scores[name] = method().detach()
    took = time.perf_counter() - begin
    print(f"{name:21s} {1000 * took / len(ids):6.2f} ms a review")

shown = next(  # a good one, after two words of blame
    i
    for i, r in enumerate(reviews)
    if len(r.taken_back) == 2 and {r.tokens[place] for place in r.taken_back} < {*toy_reviews.BAD}
    if r.good and len(r.counting) == 1
)
tokens, verdict = reviews[shown].tokens, "good" if reviews[shown].good else "bad"
visualization.visualize_text(
    [
        visualization.VisualizationDataRecord(
            each[shown] / each[shown].abs().max(),
            torch.sigmoid(logits[shown]),
            "good" if logits[shown] > 0 else "bad",
            verdict,
            name,
            each[shown].sum(),
            tokens,
            0.0,
        )
        for name, each in scores.items()
    ]
)

# %% [markdown]
# **What one should see.** The word that counts is alone in its colour, green for praise and red for
# blame, and the words before *but* are pale, or of the other colour: they are read, and taken back.
# Look at the sums, too: input × gradient finds next to nothing. The verdict is clear, so that a
# small change of any word changes nothing, and its gradients are small. The others are not taken
# in.
#
# All reviews at once: the mean score of a word in favour of the verdict, by its part in the truth.


# %%
def roles(review):
    """Which tokens count, were taken back, and are neither."""
    neither = set(range(len(review.tokens))) - {*review.counting, *review.taken_back}
    return {"counts": review.counting, "taken back": review.taken_back, "neither": neither}


def mean(each, role):
    """Over the reviews that have a *but*."""
    found = [
        float(truth[i] * each[i, place])
        for i, review in enumerate(reviews)
        if review.but is not None
        for place in roles(review)[role]
    ]
    return sum(found) / len(found)


names = ["counts", "taken back", "neither"]
means = {name: [mean(each, role) for role in names] for name, each in scores.items()}
print(f"{'':21s}" + "".join(f"{role:>12s}" for role in names) + f"{'largest right':>16s}")
for name, each in scores.items():
    best = (truth[:, None] * each).argmax(1).tolist()
    hits = sum(place in r.counting for place, r in zip(best, reviews, strict=True)) / len(reviews)
    print(f"{name:21s}" + "".join(f"{m:+12.2f}" for m in means[name]) + f"{hits:16.0%}")
    if name != "input × gradient":
        assert hits > 0.75
        assert means[name][0] > 5 * max(map(abs, means[name][1:]))

figure, axis = plt.subplots(figsize=(8, 3.4), layout="constrained")
for k, (role, colour) in enumerate(zip(names, (BLUE, RED, GREY), strict=True)):
    values = [means[name][k] for name in scores]
    axis.bar(
        [i + 0.26 * (k - 1) for i in range(len(scores))], values, 0.26, color=colour, label=role
    )
axis.axhline(0, color=GREY, linewidth=0.8)
axis.set_xticks(range(len(scores)), scores)
axis.set(title="Mean score of a word, in favour of the verdict", ylabel="logit")
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## Do they add up?
#
# Integrated gradients come as near to $f(x) - f(x_0)$ as their steps let them. DeepLIFT has no
# steps: each operation's slope is exact, for two values that meet in a product as for a softmax.

# %%
few = ids[:60]
given = {"forward_kwargs": {"attention_mask": batch["attention_mask"][:60]}}
for n_steps in (2, 4, 8, 16):
    _, delta = IntegratedGradients(model).attribute(
        few, reference[:60], n_steps=n_steps, return_convergence_delta=True, **given
    )
    print(
        f"integrated gradients, {n_steps:2d} steps: largest |delta| {float(delta.abs().max()):.1e}"
    )

exact, report = DeepLift(model).attribute(few, reference[:60], return_report=True, **given)
print(f"DeepLIFT, one pass:             largest |delta| {float(report.error.abs().max()):.1e}")
assert report.error.abs().max() < 1e-4
assert torch.allclose(exact.sum(1), change[:60], atol=1e-4)

# %% [markdown]
# The report says more: which rule served each operation, and where. `fallbacks` would name those
# that had no rule and went by their gradient, which a warning does, too; `strict=True` makes it an
# error. All of this model in one table, and its first attention layer as the report prints it:

# %%
rules = Counter()
for served in report.served:
    rules[served.operation, served.rule] += served.times
for (operation, rule), times in rules.items():
    print(f"{operation:29s}{rule:16s}{times:3d} times")
print()
print("\n".join(line for line in str(report).splitlines() if "layer.0.attention" in line))
assert not report.fallbacks
assert not report.stopped

# %% [markdown]
# ## What LRP keeps, and where
#
# LRP has no reference to put the rest on: relevance that flows into a bias or a position embedding
# stays there. And AttnLRP takes the softmax at its first-order expansion, which does not conserve:
# attention absorbs some, or adds. CP-LRP (`cp_lrp`) holds attention weights constant, and
# conserves. In all good reviews together:

# %%
praise = {"attention_mask": batch["attention_mask"][truth > 0]}
whole, kept = float(logits[truth > 0].sum()), {}
for name, rules in (("AttnLRP", ()), ("CP-LRP", lrp_rules.cp_lrp())):
    found, report = LRP(model, rules=rules).attribute(
        ids[truth > 0], forward_kwargs=praise, return_report=True
    )
    kept[name] = {"scores": float(found.sum()), **report.absorbed}
    assert abs(sum(kept[name].values()) - whole) < 1e-4 * whole

print(f"{'share of the logits':30s}" + "".join(f"{name:>9s}" for name in kept))
for place in kept["AttnLRP"]:
    shares = [each[place] / whole for each in kept.values()]
    if max(map(abs, shares)) > 1e-4:
        print(f"{place:30s}" + "".join(f"{share:9.1%}" for share in shares))
attention = "scaled_dot_product_attention"
assert abs(kept["CP-LRP"].get(attention, 0)) < 1e-4 * whole

# %% [markdown]
# Conserving is not everything: what a head *looks at* is decided in the softmax, and CP-LRP does
# not see it. Which of the two to take depends on the question; the report says what each leaves
# out.
#
# ## From layer to layer
#
# The verdict is read from the last layer at `[CLS]`. How does it get there? `LayerDeepLift` scores
# all layers in one pass, and each layer's scores sum to the same change.

# %%
layers = [model.bert.embeddings, *model.bert.encoder.layer]
length = len(tokens)
by_layer, deltas = LayerDeepLift(model, layers).attribute(
    ids[shown : shown + 1, :length],
    reference[shown : shown + 1, :length],
    return_convergence_delta=True,
)
flow = torch.stack([values.detach().sum(-1)[0] for values in by_layer])

figure, axis = plt.subplots(figsize=(10, 2.9), layout="constrained")
high = float(flow.abs().max())
image = axis.imshow(flow, cmap="RdBu", vmin=-high, vmax=high, aspect="auto")
axis.set_yticks(range(len(flow)), ["embeddings", *(f"layer {i + 1}" for i in range(len(flow) - 1))])
axis.set_xticks(range(length), tokens, rotation=60, ha="right", rotation_mode="anchor")
axis.set_title(f"Where “{verdict}” is, from the embeddings up", loc="left")
figure.colorbar(image, ax=axis, pad=0.01, label="score (logit)")
plt.show()

# %% [markdown]
# **What one should see.** At the bottom all of it is at the word that counts, at the top all of it
# at `[CLS]`, and in between one sees in which layer it moves.

# %%
totals = flow.sum(1)
print("sums of the layers:", [f"{total:+.3f}" for total in totals.tolist()])
assert max(float(delta.abs().max()) for delta in deltas) < 1e-4
assert torch.allclose(totals, change[shown].expand_as(totals), atol=1e-3)
assert int(flow[0].abs().argmax()) in reviews[shown].counting
assert flow[-1, 0].abs() > 0.99 * flow[-1].abs().sum()

# %% [markdown]
# ## An operation of your own
#
# A custom `autograd.Function` is a closed box: its forward cannot be seen, and its backward is not
# an ordinary gradient. So it is refused by name, and not taken for something it may not be.


# %%
class HandmadeGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * (1 + torch.erf(x / 2**0.5)) / 2

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        density = torch.exp(-x * x / 2) / (2 * torch.pi) ** 0.5
        return gradient * ((1 + torch.erf(x / 2**0.5)) / 2 + x * density)


class Activation(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


for layer in model.bert.encoder.layer:
    layer.intermediate.intermediate_act_fn = Activation(HandmadeGelu.apply)
assert torch.allclose(model(ids, **mask).logits[:, 0], logits, atol=1e-4)
try:
    DeepLift(model).attribute(few, reference[:60], **given)
except ValueError as error:
    print(error)
else:
    raise AssertionError("it should have been refused")

# %% [markdown]
# It needs a rule. Here it stands in a module, so the module's type is enough; that it acts entry by
# entry is all there is to say, and the scores are what they were with torch's own GELU.

# %%
own = DeepLift(model, rules={Activation: elementwise}).attribute(few, reference[:60], **given)
assert torch.allclose(own, exact, atol=1e-4)

# %% [markdown]
# A function without a module gets a name through `visible`, and its rule by that name. LRP has
# rules of its own; for an activation it is the identity, which leaves relevance in its place.

# %%
gelu = visible(HandmadeGelu.apply, "handmade_gelu")
for layer in model.bert.encoder.layer:
    layer.intermediate.intermediate_act_fn = Activation(gelu)
own, report = DeepLift(model, rules={"handmade_gelu": elementwise}).attribute(
    few, reference[:60], return_report=True, **given
)
print(
    *(f"{s.operation}: {s.rule}, {s.module}" for s in report.served if "gelu" in s.operation),
    sep="\n",
)
assert torch.allclose(own, exact, atol=1e-4)

by_lrp = LRP(model, rules=[("handmade_gelu", lrp_rules.IdentityRule())]).attribute(few, **given)
assert torch.allclose(by_lrp, scores["AttnLRP"][:60], atol=1e-4)

# %% [markdown]
# `elementwise` is one rule of the table; a rule is any function of an operation that returns its
# result with the history it should have. The documentation of `captum.attr.visible` says more.
#
# ## A model off the shelf
#
# Nothing above asks who made the model. With `CAPTUM_TUTORIAL_SST2` set to the name or the folder
# of a checkpoint, say `textattack/bert-base-uncased-SST-2`, the same three methods explain that
# one.

# %%
CHECKPOINT = os.environ.get("CAPTUM_TUTORIAL_SST2", "")
if CHECKPOINT:
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    large = AutoModelForSequenceClassification.from_pretrained(CHECKPOINT).eval()
    sentence = "the plot is weak , but the music is superb ."
    text = tokenizer(sentence, return_tensors="pt", return_special_tokens_mask=True)
    special = text["special_tokens_mask"].bool()
    words = tokenizer.convert_ids_to_tokens(text["input_ids"][0])
    empty = text["input_ids"].masked_fill(~special, tokenizer.mask_token_id)
    masked = {"target": 1, "forward_kwargs": {"attention_mask": text["attention_mask"]}}
    lifted, report = DeepLift(large).attribute(
        text["input_ids"], empty, return_report=True, **masked
    )
    handed = LRP(large).attribute(text["input_ids"], **masked)
    print(f"DeepLIFT: largest |delta| {float(report.error.abs().max()):.1e}")
    for word, first, second in zip(words, lifted[0], handed[0], strict=True):
        print(f"{word:12s} {float(first):+.3f} {float(second):+.3f}")
plt.close("all")
