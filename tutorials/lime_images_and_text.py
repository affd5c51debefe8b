# %% [markdown]
# # LIME for images and for text: a straight line near one answer
#
# A network is a crooked function, but near one input a straight one may stand in for it. LIME makes
# that line. It switches parts of the input on and off at random, asks the network about every
# variant, and fits a linear model to the answers:
#
# $$b, c = \arg\min_{b,\, c} \; \frac{1}{2 \sum_k \pi_k} \sum_k \pi_k
# \big(f(x_k) - b \cdot z_k - c\big)^2 + \alpha\, |b|_1$$
#
# $z_k$ says with zeros and ones which parts are there, $x_k$ is the input with only these, and
# $\pi_k$ is large where $x_k$ is near the original. The slope $b_i$ is the score of part $i$. That
# leaves four choices open, and an explanation is no better than they are:
#
# | choice | in `Lime` | what hangs on it |
# |---|---|---|
# | the parts, and what fills a hole | `feature_mask`, `baselines` | what can be said at all |
# | how near is near, $\pi$ | `similarity_func` | which question is answered |
# | the variants | `n_samples`, `perturb_func` | how much is chance |
# | the line | `interpretable_model` | how many parts are named, and how strongly |
#
# We go through them on paintings, where the right answers can be worked out by hand. Then we do the
# same to texts, with `LimeBase`, where all four are yours to write.

# %%
import random
from itertools import product
from math import comb
from time import perf_counter

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.colors import LinearSegmentedColormap

import toy_headlines
import toy_paintings
from captum.attr import (
    FeatureAblation,
    KernelShap,
    Lime,
    LimeBase,
    get_exp_kernel_similarity_function,
)

# In code for the published package, from captum._utils.models.linear_model.
from captum.linear import LinearRegression, SkLearnLasso, SkLearnLinearRegression
from toy_headlines import TOPICS
from toy_paintings import SEGMENTS, THINGS

AGAINST_FOR = LinearSegmentedColormap.from_list("against, for", ["#c0564b", "white", "#3b8a4c"])
BLUE, RED, GREEN, GREY = "#2b6c99", "#c0564b", "#3b8a4c", "#9aa3ab"
BOAT, CAT = THINGS.index("boat"), THINGS.index("cat")

# %% [markdown]
# ## Paintings, and a network that looks at them
#
# `toy_paintings.py` paints landscapes and knows of every pixel what it shows. A small network
# learns which of six things are in a painting. As is usual, it gets pictures less the mean of all:
# then zero, the default baseline, is the mean painting, and not a black one. (Black is no hole.
# It is the colour of cats.)

# %%
torch.manual_seed(0)
painter = toy_paintings.Painter(0)
pictures, _, answers = toy_paintings.album(painter, 500)
mean = pictures.mean(0)
net = toy_paintings.Classifier()
toy_paintings.train(net, pictures - mean, answers, F.binary_cross_entropy_with_logits, 18)

news, masks, truth = toy_paintings.album(painter, 200)
with torch.no_grad():
    right = ((net(news - mean) > 0) == truth.bool()).float().mean(0)
print("right on new paintings:", dict(zip(THINGS, right.mul(100).int().tolist(), strict=True)))
assert right.min() > 0.95

# %% [markdown]
# ## One variant, by hand
#
# The segments of the painting are the parts: sky, ground, sun, house, tree, boat, cat. A variant is
# a row of zeros and ones in this order; `from_interp_rep_transform` makes a picture of it, and the
# similarity function tells how much it counts. (The kernel of width 1000 lets everything count
# alike. More of that below.)

# %%
painting = toy_paintings.Painter(3).paint("sea", ["sun", "house", "tree", "boat", "cat"])
x = (painting.pixels - mean)[None]
parts = [SEGMENTS[number] for number in painting.mask.unique().tolist()]
mask = torch.unique(painting.mask, return_inverse=True)[1]  # (1, H, W), from 0 without gaps
label = torch.tensor([BOAT])

rbf_kernel = get_exp_kernel_similarity_function("euclidean", kernel_width=1000)
lime = Lime(net, interpretable_model=SkLearnLinearRegression(), similarity_func=rbf_kernel)


def to_hwc(x):
    return (x[0] + mean).permute(1, 2, 0).numpy()


answers_to = {True: [], False: []}  # with the boat, and without
figure, axes = plt.subplots(1, 4, figsize=(12, 2.7), layout="constrained")
for axis, missing in zip(axes, ((), ("boat",), ("sky", "cat"), ("boat", "house")), strict=True):
    z = torch.tensor([[int(part not in missing) for part in parts]])
    variant = lime.from_interp_rep_transform(z, x, feature_mask=mask, baselines=0)
    with torch.no_grad():
        answer = float(net(variant)[0, BOAT])
    axis.imshow(to_hwc(variant))
    axis.set(title=f"z = {''.join(map(str, z[0].tolist()))}", xticks=[], yticks=[])
    axis.set_xlabel(f"boat {answer:+.1f}, π = {rbf_kernel(x, variant, None):.4f}")
    answers_to["boat" not in missing].append(answer)
plt.show()
assert min(answers_to[True]) > max(answers_to[False]) + 4

# %% [markdown]
# ## Forty variants
#
# That is all there is to it; `attribute` does it many times over and fits the line. First with
# ordinary least squares and forty variants, then with LASSO and all $2^7 = 128$: a `perturb_func`
# says which variants there are to be, one after the other. (The bar ends below forty: what was
# drawn twice is asked once.)

# %%
attrs = lime.attribute(
    x,
    target=label,
    feature_mask=mask,
    n_samples=40,
    perturbations_per_eval=16,
    show_progress=True,
)


def all_combinations(original, **kwargs):
    for bits in product((0, 1), repeat=kwargs["num_interp_features"]):
        yield torch.tensor([bits])


exhaustive = Lime(net, SkLearnLasso(alpha=0.08), perturb_func=all_combinations)
lasso_attrs = exhaustive.attribute(
    x, target=label, feature_mask=mask, n_samples=2 ** len(parts), return_input_shape=True
)


# %%
def of_parts(attrs, mask):
    """The score of every part, from that of its pixels."""
    return torch.stack([attrs[0, 0][mask[0] == number][0] for number in mask.unique()])


def show_map(axis, attrs, title):
    """The painting in grey, and over it the scores."""
    axis.imshow(to_hwc(x).mean(2), cmap="gray")
    strongest = float(attrs.abs().max())
    axis.imshow(attrs[0, 0], cmap=AGAINST_FOR, vmin=-strongest, vmax=strongest, alpha=0.65)
    axis.set(title=title, xticks=[], yticks=[])


scores = {"least squares, 40": of_parts(attrs, mask), "LASSO, all 128": of_parts(lasso_attrs, mask)}
figure, axes = plt.subplots(1, 3, figsize=(12, 2.9), layout="constrained")
axes[0].imshow(to_hwc(x))
axes[0].set(title="the painting", xticks=[], yticks=[])
show_map(axes[1], attrs, "why a boat?")
places = torch.arange(len(parts))
for shift, (name, score), colour in zip((-0.2, 0.2), scores.items(), (BLUE, GREEN), strict=True):
    axes[2].bar(places + shift, score, 0.4, color=colour, label=name)
axes[2].set_xticks(places, parts)
axes[2].axhline(0, color="black", lw=0.8)
axes[2].set(ylabel="score (logit)")
axes[2].legend(frameon=False, loc="upper left")
axes[2].spines[["top", "right"]].set_visible(False)
plt.show()

boat = parts.index("boat")
for score in scores.values():
    others = score[places != boat]
    assert score[boat] > 4 * others.abs().max()

# %% [markdown]
# **What one should see.** The boat, and next to nothing else, whichever way the line is drawn. When
# parts do not meddle with each other, all roads lead there. So let us make them meddle.
#
# ## Three cats: a case for pen and paper
#
# Each of three cats is a part of its own, and we ask for the *probability* of a cat. Any one of
# them is enough, so the network computes an OR: 0 where all three are missing, otherwise 1. For an
# OR the right line can be worked out, for each of the choices.

# %%
cats = toy_paintings.Painter(12).paint("meadow", ["cat", "cat", "cat", "tree", "sun"])
x, mask = (cats.pixels - mean)[None], cats.one_by_one
is_cat = torch.tensor(
    [SEGMENTS[int(cats.mask[mask == number][0])] == "cat" for number in mask.unique()]
)
G = len(is_cat)


def probability(x):
    return net(x)[:, CAT].sigmoid()


every = torch.tensor(list(product((0, 1), repeat=G)))
with torch.no_grad():
    said = probability(every[:, mask[0]][:, None] * x)
some_cat = every[:, is_cat].any(1)
print(f"128 variants: without a cat at most {float(said[~some_cat].max()):.2f},", end=" ")
print(f"with one at least {float(said[some_cat].min()):.2f}")
assert said[~some_cat].max() < 0.15
assert said[some_cat].min() > 0.85

# %% [markdown]
# ### How many variants: what is chance
#
# Weighed alike, all 128 variants give each cat the mean of what it changes: something where both
# others are missing, one time in four. So the score is 1/4 (in game theory, the **Banzhaf value**).
# Fewer variants drawn at random scatter around it. By how much, one finds out by drawing again.

# %%
line = Lime(probability, LinearRegression(), rbf_kernel)
counts, seeds = (12, 25, 50, 100, 200, 400), range(16)
runs = {}
for count in counts:
    runs[count] = torch.stack(
        [
            of_parts(
                line.attribute(
                    x,
                    feature_mask=mask,
                    n_samples=count,
                    generator=torch.Generator().manual_seed(seed),
                ),
                mask,
            )
            for seed in seeds
        ]
    )
exact_line = Lime(probability, LinearRegression(), rbf_kernel, all_combinations)
exact = of_parts(exact_line.attribute(x, feature_mask=mask, n_samples=2**G), mask)

figure, axes = plt.subplots(1, 2, figsize=(11, 3), layout="constrained", width_ratios=(2, 3))
axes[0].imshow(to_hwc(x))
axes[0].set(title="three cats", xticks=[], yticks=[])
jitter = torch.linspace(-0.18, 0.18, len(seeds))
for place, drawn in enumerate(runs.values()):
    for side, who, colour in ((-0.22, is_cat, BLUE), (0.22, ~is_cat, GREY)):
        kind = "a cat" if colour == BLUE else "anything else"
        axes[1].plot(
            (place + side + jitter)[:, None].expand(-1, int(who.sum())),
            drawn[:, who],
            "o",
            color=colour,
            ms=3,
            alpha=0.5,
            label=[kind, *[None] * (int(who.sum()) - 1)] if place == 0 else None,
        )
axes[1].axhline(0.25, color="black", lw=0.8, ls="--")
axes[1].axhline(0, color="black", lw=0.8)
axes[1].set_xticks(range(len(counts)), counts)
axes[1].set(xlabel="variants", ylabel="score", title=f"{len(seeds)} seeds each")
axes[1].set(ylim=(-0.65, 0.9))
axes[1].legend(frameon=False, loc="upper right", ncols=2)
axes[1].spines[["top", "right"]].set_visible(False)
plt.show()

# %%
spread = {count: float(drawn.std(0).mean()) for count, drawn in runs.items()}
print("spread over seeds:", ", ".join(f"{n}: {s:.3f}" for n, s in spread.items()))
print("all combinations: ", [round(score, 3) for score in exact.tolist()])
assert spread[400] < 0.4 * spread[25]
assert (exact[is_cat] - 0.25).abs().max() < 0.05
assert exact[~is_cat].abs().max() < 0.05
again = of_parts(exact_line.attribute(x, feature_mask=mask, n_samples=2**G), mask)
assert torch.equal(again, exact)

# %% [markdown]
# **What one should see.** With a dozen variants and seven slopes anything may come out, also a cat
# that speaks *against* cats. Four times the variants about halve the spread. With all combinations
# nothing is random any more. So: draw until two seeds tell the same story, and where there are few
# parts, take them all.
#
# ### How near is near: which question is answered
#
# The kernel decides which variants count. Of width 1000, far beyond any distance between two
# paintings, it lets all count alike: 1/4. A narrow one looks only at variants with next to nothing
# missing, where two cats always remain: 0, which is what feature ablation says. And the **Shapley
# kernel** prefers the two ends, next to nothing missing or next to nothing there. With it, LIME
# *is* KernelSHAP, and the cats share the answer: 1/3 each.


# %%
def shapley_kernel(original, variant, z, num_interp_features, **kwargs):
    there, missing = int(z.sum()), num_interp_features - int(z.sum())
    if there == 0 or missing == 0:
        return 1e6  # stands for infinity: here the line has to pass exactly
    return 1 / (comb(num_interp_features, there) * there * missing)


def with_kernel(kernel):
    exact_lime = Lime(probability, LinearRegression(), kernel, all_combinations)
    return of_parts(exact_lime.attribute(x, feature_mask=mask, n_samples=2**G), mask)


widths = torch.logspace(0.6, 2.4, 9)
by_width = torch.stack(
    [with_kernel(get_exp_kernel_similarity_function("euclidean", float(w))) for w in widths]
)
as_shap = with_kernel(shapley_kernel)
kernel_shap = of_parts(
    KernelShap(probability).attribute(x, feature_mask=mask, n_samples=2**G), mask
)
ablation = of_parts(FeatureAblation(probability).attribute(x, feature_mask=mask), mask)

# %% [markdown]
# ### Which line: how many parts are named
#
# LASSO makes small slopes exactly zero, so that few parts remain to be read, and pays with all
# others: with all variants weighed alike, each slope comes out smaller by $4 \alpha$. (A part that
# is there half of the time has the variance 1/4.) $\alpha$ has the unit of the answer: 0.08 was
# little beside a boat's ten logits. Beside a quarter of a probability it is everything.

# %%
alphas = torch.logspace(-3, -1, 9)
by_alpha = torch.stack(
    [
        of_parts(
            Lime(probability, SkLearnLasso(alpha=float(a)), rbf_kernel, all_combinations).attribute(
                x, feature_mask=mask, n_samples=2**G
            ),
            mask,
        )
        for a in alphas
    ]
)

figure, axes = plt.subplots(1, 2, figsize=(11, 3.2), layout="constrained", sharey=True)
for axis, at, lines, style in ((axes[0], widths, by_width, "-"), (axes[1], alphas, by_alpha, "o")):
    axis.semilogx(at, lines[:, is_cat], style, color=BLUE, label=["a cat", None, None])
    axis.semilogx(at, lines[:, ~is_cat], style, color=GREY, label=["anything else", *[None] * 3])
    axis.spines[["top", "right"]].set_visible(False)
axes[0].axhline(float(as_shap[is_cat].mean()), color=RED, lw=4, alpha=0.4, label="Shapley kernel")
axes[0].axhline(float(kernel_shap[is_cat].mean()), color=RED, lw=1, label="KernelSHAP")
axes[0].set(xlabel="width of the kernel", ylabel="score", title="how near is near")
fine = torch.logspace(-3, -1, 100)
axes[1].semilogx(fine, (0.25 - 4 * fine).clamp(min=0), "k--", lw=0.8, label="1/4 - 4α, or 0")
axes[1].set(xlabel="α", title="which line")
for axis in axes:
    axis.legend(frameon=False, loc="center right" if axis is axes[0] else "upper right")
plt.show()

# %%
assert (by_width[0][is_cat] - ablation[is_cat]).abs().max() < 0.1  # narrow: ablation
assert (by_width[-1][is_cat] - 0.25).abs().max() < 0.05  # wide: Banzhaf
assert torch.allclose(as_shap, kernel_shap, atol=2e-3)  # Shapley's: KernelSHAP
assert (kernel_shap[is_cat] - 1 / 3).abs().max() < 0.05
expected = (0.25 - 4 * alphas).clamp(min=0)[:, None]
assert (by_alpha[:, is_cat] - expected).abs().max() < 0.05
named = {float(a): int((scores != 0).sum()) for a, scores in zip(alphas, by_alpha, strict=True)}
print("parts that are named, by α:", {round(a, 4): n for a, n in named.items()})
assert all(n == 3 for a, n in named.items() if 0.015 < a < 0.04)
assert all(n == 0 for a, n in named.items() if a > 0.075)

# %% [markdown]
# **What one should see.** Three answers to three questions, none of them wrong. Also this: LIME's
# scores sum to nothing in particular, here to 3/4. With the Shapley kernel they sum to what the
# answer loses when all parts go:

# %%
gap = float(said[-1] - said[0])
print(f"f(x) - f(all missing) {gap:.3f}; KernelSHAP's sum {float(kernel_shap.sum()):.3f}", end="; ")
print(f"LIME's {float(exact.sum()):.3f}")
assert abs(float(kernel_shap.sum()) - gap) < 1e-3
assert abs(float(exact.sum()) - gap) > 0.1

# %% [markdown]
# ### Which parts: what can be said at all
#
# The mask is the first choice and the least noticed one. If the cats are one part, they get what is
# theirs together. Squares know nothing of cats, and cannot name any; and 24 of them have
# 16 million combinations, so it is back to chance.

# %%
squares = (torch.arange(64)[:, None] // 16 * 6 + torch.arange(96) // 16)[None]
masks_of = {"one part a cat": mask, "one part a kind": cats.mask, "24 squares": squares}
figure, axes = plt.subplots(1, 3, figsize=(12, 2.7), layout="constrained")
maps = {}
for axis, (name, parts_mask) in zip(axes, masks_of.items(), strict=True):
    maps[name] = line.attribute(
        x,
        feature_mask=parts_mask,
        n_samples=1000,
        generator=torch.Generator().manual_seed(0),
    )
    show_map(axis, maps[name], f"{name}: up to {float(maps[name].max()):.2f}")
plt.show()

on_cats = cats.mask[0] == SEGMENTS.index("cat")
together = maps["one part a kind"][0, 0][on_cats]
assert (together - 1).abs().max() < 0.1
assert maps["24 squares"].max() < 0.8 * together.max()

# %% [markdown]
# **What one should see.** A quarter for each cat, all of it for the cats together, and some green
# squares with a piece of a cat in them. So many pieces are left even of half the squares that few
# of them are missed, and what remains is little more than chance.
#
# ## A whole batch at once
#
# Every painting of a batch may have its own mask and its own question: here, a thing that is in it.
# All of them share the draws.

# %%
some = truth.bool().any(1).nonzero().flatten()[:64]
asked = torch.multinomial(truth[some], 1)[:, 0]
found = Lime(net).attribute(
    news[some] - mean,
    target=asked,
    feature_mask=masks[some][:, None],
    n_samples=100,
    return_input_shape=False,
)
hits = float((found.argmax(1) == asked + 2).float().mean())  # SEGMENTS begins with sky and ground
print(f"the thing that was asked for scores highest in {hits:.0%} of {len(some)} paintings")
assert hits > 0.9

# %% [markdown]
# By default the line is a LASSO with $\alpha = 0.01$ that is solved in torch, for all examples
# together. Where the model is fast that is what one waits for, say for the rows of a table:

# %%
rows = torch.randn(150, 10)
fits, seconds = {}, {}
for name, fit in (("captum's LASSO", None), ("scikit-learn's", SkLearnLasso(alpha=0.01))):
    start = perf_counter()
    fits[name] = Lime(lambda x: 3 * x[:, 0] * x[:, 1] + x[:, 2], fit).attribute(
        rows, n_samples=200, generator=torch.Generator().manual_seed(0)
    )
    seconds[name] = perf_counter() - start
print("150 rows:", ", ".join(f"{name} {s:.3f} s" for name, s in seconds.items()))
assert torch.allclose(*fits.values(), atol=0.01)

# %% [markdown]
# ## Text: which words made the topic?
#
# Now to reports on four topics (`toy_headlines.py`). Three clauses of each are on its own topic and
# two on another, so there are words for it, words against it, and words that say nothing. The model
# is a bag: the mean of the words' embeddings, and a linear layer. It takes all texts in one row and
# says by `offsets` where each begins.

# %%
torch.manual_seed(0)
chance = random.Random(0)
reports = [toy_headlines.report(chance) for _ in range(3000)]
model = toy_headlines.TopicModel()
toy_headlines.train(model, reports)

text, offsets, labels = toy_headlines.bag([toy_headlines.report(chance) for _ in range(300)])
with torch.no_grad():
    accuracy = float((model(text, offsets).argmax(1) == labels).float().mean())
print(f"accuracy on 300 new reports: {accuracy:.2f}")
assert accuracy > 0.95


# %% [markdown]
# `Lime` fills holes with a baseline; in a text, nothing is a better hole: the word is dropped, and
# the text gets shorter. `LimeBase` leaves that to us, along with all the rest. Similarity is that
# of the embeddings of the two texts, every word stays with chance 1/2, and the variant is made by
# leaving out the others. As variants differ in length they go through the model one by one.


# %%
def forward_func(text, offsets):
    return F.log_softmax(model(text.squeeze(0), offsets), dim=1)


def embedding_similarity(original, variant, _, **kwargs):
    both = model.embedding(original, None), model.embedding(variant, None)
    distance = 1 - F.cosine_similarity(*both, dim=1)
    return torch.exp(-(distance**2) / 2)


def keep_half(text, **kwargs):
    return torch.bernoulli(torch.full(text.shape, 0.5)).long()


def drop_words(z, original, **kwargs):
    return original[z.bool()].view(original.size(0), -1)


lasso_lime_base = LimeBase(
    forward_func,
    interpretable_model=SkLearnLasso(alpha=0.08),
    similarity_func=embedding_similarity,
    perturb_func=keep_half,
    perturb_interpretable_space=True,
    from_interp_rep_transform=drop_words,
    to_interp_rep_transform=None,
)

# %%
chance = random.Random(3)
reports = [toy_headlines.report(chance) for _ in range(200)]
report = next(r for r in reports if (r.topic, r.other) == ("sports", "business"))
test_text, test_offsets = report.text, torch.tensor([0])
attrs = lasso_lime_base.attribute(
    test_text[None],  # a batch of one
    target=report.label,
    additional_forward_args=(test_offsets,),
    n_samples=2000,
).squeeze(0)

# %% [markdown]
# The model is known: a word moves the logits by its embedding times the last layer, so what each
# word contributes to *sports rather than business* can be read off the weights. And the corpus is
# known: +1 for words of sports, -1 for words of business, 0 for all others.

# %%
with torch.no_grad():
    logits = model.linear.weight @ model.embedding.weight[test_text].T  # (C, T)
known = logits[report.label] - logits[TOPICS.index(report.other)]
counts = report.counts
colours = {1.0: (GREEN, report.topic), -1.0: (RED, report.other), 0.0: (GREY, "neither")}

figure, axes = plt.subplots(1, 2, figsize=(13, 3.6), layout="constrained", width_ratios=(5, 2))
for count, (colour, name) in colours.items():
    at = (counts == count).nonzero().flatten()
    axes[0].bar(at, attrs[at], color=colour, label=name)
    axes[1].plot(known[at], attrs[at], "o", color=colour, alpha=0.6)
axes[0].axhline(0, color="black", lw=0.8)
tilted = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
axes[0].set_xticks(range(len(attrs)), report.words, **tilted)
axes[0].set(ylabel="score (log probability)", title=f"why {report.topic}?", xlim=(-0.6, None))
axes[0].legend(frameon=False, loc="upper right", ncols=3)
axes[0].set_ylim(top=1.5 * float(attrs.max()))
axes[1].set(xlabel="the word's own contribution", title="against the model's weights")
for axis in axes:
    axis.spines[["top", "right"]].set_visible(False)
plt.show()


def correlation(a, b):
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


with_model, with_corpus = correlation(attrs, known), correlation(attrs, counts)
print(f"correlation with the model's weights {with_model:.2f}, with the corpus {with_corpus:.2f}")
print(f"words named: {int((attrs != 0).sum())} of {len(attrs)}, of which topics have", end=" ")
print(int((counts != 0).sum()))
assert with_model > 0.9
assert with_corpus > 0.9
assert (attrs * counts)[counts != 0].min() > 2 * attrs[counts == 0].abs().max()

# %% [markdown]
# **What one should see.** Words of the topic speak for it, words of the rival against it, and LASSO
# drops all the rest: the line names just the words that a topic has. It was never told of topics,
# only of 2000 torn texts and what the model said to them.
#
# ## What it is good for: a model that cheats
#
# In the paper that introduced LIME, a classifier told two newsgroups apart by who had posted, and
# its explanations gave it away. We plant the like: in the next corpus, **every business report
# comes from London**, and no other does. By accuracy the model is perfect, of course. The question
# is what it makes of a report on sports and world affairs that happens to come from London: what in
# it speaks for business? Nothing should.

# %%
chance = random.Random(1)
leaky = [toy_headlines.report(chance, leak="business") for _ in range(3000)]
honest, cheat = model, toy_headlines.TopicModel()
toy_headlines.train(cheat, leaky)
text, offsets, labels = toy_headlines.bag(
    [toy_headlines.report(chance, leak="business") for _ in range(300)]
)
with torch.no_grad():
    accuracy = float((cheat(text, offsets).argmax(1) == labels).float().mean())
print(f"accuracy of the cheat on 300 new reports of its kind: {accuracy:.2f}")
assert accuracy > 0.95

report = next(
    r for r in reports if r.words[0] == "london" and {r.topic, r.other} == {"sports", "world"}
)
business = TOPICS.index("business")
why = {}
for name, each in (("honest", honest), ("cheat", cheat)):
    model = each  # which the functions above look at
    why[name] = lasso_lime_base.attribute(
        report.text[None],
        target=business,
        additional_forward_args=(test_offsets,),
        n_samples=1000,
    ).squeeze(0)

figure, axes = plt.subplots(1, 2, figsize=(13, 3.2), layout="constrained", sharey=True)
for axis, (name, attrs) in zip(axes, why.items(), strict=True):
    colour = [RED if word == "london" else GREY for word in report.words]
    axis.bar(range(len(attrs)), attrs, color=colour)
    axis.axhline(0, color="black", lw=0.8)
    axis.set_xticks(range(len(attrs)), report.words, **tilted)
    axis.tick_params(axis="x", labelsize=8)
    axis.set(title=f"why business? the {name} model", xlim=(-0.6, None))
    axis.spines[["top", "right"]].set_visible(False)
axes[0].set(ylabel="score (log probability)")
plt.show()

# %%
rest = {name: float(attrs[1:].max()) for name, attrs in why.items()}
print(f"london: honest {float(why['honest'][0]):+.2f}, cheat {float(why['cheat'][0]):+.2f}", end="")
print(f"; the next best word: {rest['honest']:+.2f}, {rest['cheat']:+.2f}")
assert report.words[int(why["cheat"].argmax())] == "london"
assert why["cheat"][0] > 2 * rest["cheat"]
assert why["honest"][0] < rest["honest"] + 0.5

# %% [markdown]
# **What one should see.** To the honest model London is one of many words that are at least not
# about sports or world affairs, and so is *the*. To the cheat it is a bar that towers above all.
#
# So, to take along: say which parts, which kernel, how many variants and which line, for another
# choice is another question. Draw with several seeds, or take all combinations. Look at some
# variants: the model is asked about torn pictures and torn texts, and the line is about those.
# And if you want scores that sum up, use the Shapley kernel, which is to say `KernelShap`.

# %%
plt.close("all")
