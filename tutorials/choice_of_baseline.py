# %% [markdown]
# # How robust is an explanation to the choice of baseline?
#
# Almost every score is a difference: what the model says here, against what it would say if this
# were not there. But nothing can just "not be there": a pixel has some colour, a column some value.
# What takes its place is the **baseline**, and someone has to choose it. Often it is zero, because
# that is the default.
#
# We ask how much hangs on it. There are two models here whose right answer we know: one that finds
# black cats in paintings, and one that reads a small table. Each is explained by three methods,
# with six baselines.
#
# | baseline | says |
# |---|---|
# | zeros (black), ones (white) | nothing, we hope |
# | the mean of the training data | what is most usual |
# | the input itself, blurred | the same without details |
# | noise | anything, equally likely |
# | a list of training examples | what could have been there instead |

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import LinearSegmentedColormap
from torch import nn

import toy_paintings
from captum.attr import FeatureAblation, IntegratedGradients, ShapleyValues
from toy_paintings import SEGMENTS, THINGS

BLUE, RED, GREY, GOLD = "#2b6c99", "#c0564b", "#9aa3ab", "#d9a441"
AGAINST_FOR = LinearSegmentedColormap.from_list("against, for", [RED, "white", "#3b8a4c"])
CAT = THINGS.index("cat")
torch.manual_seed(0)

# %% [markdown]
# ## A network that finds black cats
#
# `toy_paintings.py` paints landscapes with a few things in them, and says of every pixel what it
# shows. Everything stands anywhere, with anything, so there is nothing that gives a cat away but
# the cat. **That is the right answer** to the question why the network says *cat*. And cats are
# black.

# %%
painter = toy_paintings.Painter(0)
pictures, _, answers = toy_paintings.album(painter, 400)
net = toy_paintings.Classifier()
toy_paintings.train(net, pictures, answers, F.binary_cross_entropy_with_logits, 18)
news, _, truth = toy_paintings.album(painter, 100)
with torch.no_grad():
    right = ((net(news) > 0) == truth.bool()).float().mean(0)
print(", ".join(f"{t} {r:.0%} right" for t, r in zip(THINGS, right.tolist(), strict=True)))
assert right[CAT] > 0.95

company = ["sun", "house", "tree", "cat"]
x, mask, _ = toy_paintings.album(painter, 8, lambda p: p.paint(p.meadow_or_sea(), company))
with torch.no_grad():
    assert (net(x)[:, CAT] > 0).all()
parts = [SEGMENTS[number] for number in mask.unique().tolist()]

# %% [markdown]
# ## Six ways to say nothing
#
# A baseline should say nothing, and the model is the one to ask. So before anything else: what does
# it see in the baselines themselves?

# %%
blurred = F.interpolate(F.avg_pool2d(x, 16), x.shape[2:], mode="bilinear")
baselines = {
    "black": torch.zeros(3, 1, 1),
    "white": torch.ones(3, 1, 1),
    "mean": pictures.mean(0),
    "blurred": blurred,
    "noise": torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(0)),
    "8 paintings": list(pictures[:8]),
}


def as_batch(baseline):
    """The baseline as pictures: one, or one for each painting or member of the list."""
    if isinstance(baseline, list):
        return torch.stack(baseline)
    return baseline.expand(x.shape) if baseline.ndim == 4 else baseline.expand(x.shape[1:])[None]


seen = {}
figure, axes = plt.subplots(2, 6, figsize=(13, 4), layout="constrained", sharey="row")
for (above, below), (name, baseline) in zip(axes.T, baselines.items(), strict=True):
    batch = as_batch(baseline)
    with torch.no_grad():
        said = seen[name] = net(batch).sigmoid().mean(0)
    above.imshow(batch[0].permute(1, 2, 0))
    above.set(title=name, xticks=[], yticks=[])
    below.bar(THINGS, said, color=[RED if thing == "cat" else BLUE for thing in THINGS])
    below.tick_params("x", rotation=90)
    below.spines[["top", "right"]].set_visible(False)
axes[0, 5].set_title("8 paintings: the first")
axes[1, 0].set(ylabel="what the network sees", ylim=(0, 1))
plt.show()
assert seen["black"][CAT] > seen["mean"][CAT] + 0.3

# %% [markdown]
# **What one should see.** Black, white and noise are no emptiness to this network. It has never
# seen anything like them, and says something all the same: black is what cats are made of, so in
# pure black it sees one. The mean and the blur say little. The paintings say, on average, what
# paintings say.
#
# ## A black cat on black
#
# Now the same question, *why cat?*, to three methods with each of the baselines. Feature ablation
# and Shapley values take out whole segments. Integrated gradients score every pixel, and we add
# them up by segment.


# %%
def by_segment(scores, summed):
    """(paintings, segments): what the pixels of a segment have, or what they sum to."""
    found = torch.zeros(len(x), len(parts))
    for row, (each, segments) in enumerate(zip(scores, mask, strict=True)):
        for column, number in enumerate(mask.unique()):
            there = each[:, segments == number]
            found[row, column] = there.sum() if summed else there[0, 0]
    return found


methods = {
    "feature ablation": lambda b: FeatureAblation(net).attribute(
        x, b, CAT, feature_mask=mask[:, None]
    ),
    "Shapley values": lambda b: ShapleyValues(net).attribute(x, b, CAT, feature_mask=mask[:, None]),
    "integrated gradients": lambda b: IntegratedGradients(net).attribute(x, b, CAT, n_steps=16),
}
maps, scores = {}, {}
for method, attribute in methods.items():
    for name, baseline in baselines.items():
        maps[method, name] = attribute(baseline)
        summed = method == "integrated gradients"
        scores[method, name] = by_segment(maps[method, name], summed)

figure, axes = plt.subplots(2, 6, figsize=(13, 3.4), layout="constrained")
for column, name in enumerate(baselines):
    for row, method in enumerate(("feature ablation", "integrated gradients")):
        shown = maps[method, name][0].sum(0) if row else maps[method, name][0, 0]
        limit = np.quantile(shown.abs(), 0.99)
        axes[row, column].imshow(shown, cmap=AGAINST_FOR, vmin=-limit, vmax=limit)
        axes[row, column].set(xticks=[], yticks=[])
    axes[0, column].set_title(name)
axes[0, 0].set_ylabel("ablation")
axes[1, 0].set_ylabel("int. gradients")
plt.show()

# %% [markdown]
# **What one should see.** Five columns tell the same story: the cat. (Each panel has its own
# scale.) And one, the default of every method, has no cat in it at all. A black cat with black in
# its place is still a black cat: nothing changes, so nothing is scored. Whatever colour is left
# goes to what surrounds it.
#
# This is no weakness of one method. Take the pixels that are pure black as a part of their own:
# three methods must give them nothing.

# %%
hidden = (x == 0).all(1, keepdim=True)
with_hidden = torch.where(hidden, len(SEGMENTS), mask[:, None])
print(f"{hidden.sum() / (mask == SEGMENTS.index('cat')).sum():.0%} of the cats' pixels are black")
of_cat = hidden.expand_as(x)
assert (maps["integrated gradients", "black"][of_cat] == 0).all()
for method in (FeatureAblation(net), ShapleyValues(net)):
    on_black, on_mean = (
        method.attribute(x[:2], baselines[name], CAT, feature_mask=with_hidden[:2])[of_cat[:2]]
        for name in ("black", "mean")
    )
    assert on_black.abs().max() < 1e-4  # nothing but rounding
    assert on_mean.min() > 3

# %% [markdown]
# ### Every grey there is
#
# Is it black alone? We let the baseline go from black to white, and average over eight paintings.

# %%
greys = np.linspace(0, 1, 9)
curve = torch.stack(
    [by_segment(methods["feature ablation"](float(grey)), summed=False).mean(0) for grey in greys]
)

figure, axis = plt.subplots(figsize=(8, 3.8), layout="constrained")
axis.axhline(0, color=GREY, linewidth=0.8)
colours = dict(zip(parts, ("#7fb2d0", "#6d7f5f", GOLD, "#8a6fa8", "#4a9b8e", RED), strict=True))
for column, part in enumerate(parts):
    wide = 2.5 if part == "cat" else 1.2
    axis.plot(greys, curve[:, column], color=colours[part], linewidth=wide, label=part)
axis.set(title="Why cat? Ablation with every grey", xlabel="black ← baseline → white")
axis.set(ylabel="score, mean of eight paintings")
axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
axis.spines[["top", "right"]].set_visible(False)
plt.show()

cat = parts.index("cat")
assert curve[0, cat].abs() < 0.2 * curve[4, cat]
assert (curve[3:7].argmax(1) == cat).all()

# %% [markdown]
# The cat's score is a curve, and a single baseline is one point of it. From a middle grey on it
# hardly matters which. **The trouble is not that a baseline is chosen, but that it may coincide
# with what is to be found.** Zeros do that to black things, white does it to paper, the mean to
# what is average, the blur to what is smooth.
#
# ## How far do the explanations agree?
#
# The usual number is a rank correlation: do two explanations put the segments in the same order?
# One for each pair of baselines, averaged over the paintings.


# %%
def agreement(one, other):
    """The rank correlation of each row with its counterpart, on average."""
    ranks = [each.argsort(1).argsort(1).double() for each in (one, other)]
    centred = [each - each.mean(1, keepdim=True) for each in ranks]
    return F.cosine_similarity(*centred, dim=1).mean().item()


table = {
    method: np.array(
        [[agreement(scores[method, a], scores[method, b]) for a in baselines] for b in baselines]
    )
    for method in methods
}

figure, axes = plt.subplots(1, 3, figsize=(13, 4.4), layout="constrained", sharey=True)
for axis, (method, values) in zip(axes, table.items(), strict=True):
    axis.imshow(values, cmap=AGAINST_FOR, vmin=-1, vmax=1)
    for (row, column), value in np.ndenumerate(values):
        axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=9)
    axis.set_xticks(range(6), baselines, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(6), baselines)
    axis.set_title(method)
plt.show()


# %%
def share_of_cat(values):
    """How much of all that speaks for a cat lies on it."""
    speaks_for = values.clamp(min=0).sum(0)
    return float(speaks_for[cat] / speaks_for.sum().clamp(min=1e-6))


print(f"{'share on the cat':24s}" + "".join(f"{name:>13s}" for name in baselines))
for method in methods:
    shares = {name: share_of_cat(scores[method, name]) for name in baselines}
    print(f"{method:24s}" + "".join(f"{share:13.0%}" for share in shares.values()))
    assert shares.pop("black") < 0.3
    assert min(shares.values()) > 0.6
    first = {name: (scores[method, name].argmax(1) == cat).float().mean() for name in baselines}
    assert first.pop("black") < 0.4
    assert min(first.values()) > 0.8

others = np.triu_indices(6, k=1)
between_baselines = float(np.mean([values[others].mean() for values in table.values()]))
names = list(methods)
between_methods = float(
    np.mean(
        [
            agreement(scores[one, name], scores[other, name])
            for name in baselines
            for one, other in zip(names, names[1:] + names[:1], strict=True)
        ]
    )
)
with_black = float(np.mean([values[0, 1:].mean() for values in table.values()]))
print(
    f"one method, two baselines {between_baselines:.2f}; one baseline, two methods "
    f"{between_methods:.2f}; black and any other {with_black:.2f}"
)
assert between_methods > between_baselines + 0.1
assert with_black < between_methods - 0.3

# %% [markdown]
# **What one should see.** Two methods with one baseline agree better than one method with two
# baselines. What is put in a part's place matters more than how the parts are gone through! But
# read the table with care: but for black, all agree on what comes first. They differ on the order
# of what hardly counts, and a rank correlation asks for that too.
#
# ## A table: the average hides what is average
#
# So use the mean? In a table the mean is the default of many, and it has a blind spot of its own.
# Here a plant grows with light, the more so the warmer it is, and wants its water neither scarce
# nor plenty. The phase of the moon does nothing:
#
# $$\mathrm{growth} = \mathrm{light} + \mathrm{light} \cdot \mathrm{warmth} - \mathrm{water}^2$$
#
# All columns are standardised: 0 is the average, and zeros and the mean are the same baseline. A
# network learns it from examples.

# %%
columns = ["light", "warmth", "water", "moon"]
WATER, MOON = columns.index("water"), columns.index("moon")


def growth(rows):
    light, warmth, water, _ = rows.T
    return light + light * warmth - water**2


plants, new_plants = torch.randn(4000, 4), torch.randn(500, 4)
table_net = nn.Sequential(
    *(nn.Linear(4, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1), nn.Flatten(0))
)
optimizer = torch.optim.AdamW(table_net.parameters(), lr=1e-2)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=40 * 32)
for _epoch in range(40):
    for rows in torch.randperm(4000).split(125):
        optimizer.zero_grad()
        F.mse_loss(table_net(plants[rows]), growth(plants[rows])).backward()
        optimizer.step()
        schedule.step()
with torch.no_grad():
    unexplained = (table_net(new_plants) - growth(new_plants)).square().mean()
    skill = 1 - unexplained / growth(new_plants).var()
print(f"R² on new plants {skill:.3f}")
assert skill > 0.97

# %% [markdown]
# Ten plants that get the average amount of water, which is the best there is. What is the water
# worth to them? Three answers:

# %%
watered = torch.randn(10, 4)
watered[:, WATER] = 0
mean_plant, background = torch.zeros(4), list(plants[:200])
shapley = ShapleyValues(table_net)
against_mean = shapley.attribute(watered, mean_plant)
singles = torch.stack([shapley.attribute(watered, plant) for plant in plants[200:230]])
against_many = shapley.attribute(watered, background)


def closed_form(rows, others):
    """Shapley values of the growth against a background, (N, 4)."""
    gap = rows.unsqueeze(1) - others
    light, warmth, water, moon = gap.unbind(2)
    total = rows.unsqueeze(1) + others
    by_light = light * (1 + total[..., 1] / 2)
    return torch.stack(
        [by_light, warmth * total[..., 0] / 2, -water * total[..., WATER], 0 * moon], 2
    ).mean(1)


known = closed_form(watered, plants[:200])

figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
axis.axvline(0, color=GREY, linewidth=0.8)
rows = np.arange(4)
for plant in singles[:, 0]:
    axis.plot(plant, rows + 0.18, ".", color=GREY, alpha=0.5)
axis.plot([], [], ".", color=GREY, label="against one other plant, 30 times")
axis.plot(against_many[0], rows, "o", color=BLUE, mfc="none", ms=9, label="against 200 plants")
axis.plot(known[0], rows, "x", color=RED, label="the right answer to that")
axis.plot(against_mean[0], rows - 0.18, "s", color=GOLD, label="against the mean plant")
axis.set_yticks(rows, columns)
axis.invert_yaxis()
axis.set(title="Why does this plant grow as it does?", xlabel="Shapley value")
axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
assert against_mean[:, WATER].abs().max() < 1e-5
assert (IntegratedGradients(table_net).attribute(watered, mean_plant)[:, WATER] == 0).all()
assert (against_many[:, WATER] > 0.5).all()
assert (against_many - known).abs().mean() < 0.15
assert against_many[:, MOON].abs().max() < 0.3
print(
    f"water, against the mean {against_mean[:, WATER].mean():.2f}, against 200 plants "
    f"{against_many[:, WATER].mean():.2f}, in truth {known[:, WATER].mean():.2f}"
)

# %% [markdown]
# **What one should see.** Against the mean plant the water is worth nothing, exactly, since there
# is no difference. Against any *other* plant it is worth something, and how much depends on which.
# The background takes the mean over all of those, and it hits the right answer: others do worse for
# too little or too much. Only in the moon's row does the choice make no difference, because it has
# none to make.
#
# ## A background averages the arbitrariness out
#
# One training example for a baseline is as arbitrary as black. But a mean over $K$ of them is a
# mean, and its scatter falls as $1 / \sqrt K$. Forty times we draw a background of $K$ plants,
# and see how far the scores move from draw to draw. Then we compare each draw with the next: how
# well do two people agree, who draw their backgrounds independently?

# %%
sizes = (1, 4, 16, 64)
explain = {
    "feature ablation": FeatureAblation(table_net).attribute,
    "Shapley values": shapley.attribute,
    "integrated gradients": lambda rows, b: IntegratedGradients(table_net).attribute(
        rows, b, n_steps=16
    ),
}
scatter, agreed = {}, {}
for method, attribute in explain.items():
    scatter[method], agreed[method] = [], []
    for size in sizes:
        draws = [list(plants[torch.randint(4000, (size,))]) for _ in range(40)]
        found = torch.stack([attribute(new_plants[:8], draw) for draw in draws])
        scatter[method].append(float(found.std(0).mean()))
        pairs = zip(found, found.roll(1, 0), strict=True)
        agreed[method].append(np.mean([agreement(one, other) for one, other in pairs]))

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for (method, values), colour in zip(scatter.items(), (GOLD, BLUE, RED), strict=True):
    left.loglog(sizes, values, "o-", color=colour, label=method)
    right.semilogx(sizes, agreed[method], "o-", color=colour)
guide = 1.6 * max(values[0] for values in scatter.values()) / np.sqrt(sizes)
left.loglog(sizes, guide, ":", color="#555b60", label=r"slope of $1 / \sqrt{K}$")
left.set(title="How far scores move from draw to draw", ylabel="standard deviation")
right.set(title="How well two draws agree", ylabel="rank correlation", ylim=(0, 1.02))
for axis in (left, right):
    axis.set(xlabel="plants in the background, K")
    axis.set_xticks(sizes, sizes)
    axis.minorticks_off()
    axis.spines[["top", "right"]].set_visible(False)
left.legend(frameon=False)
plt.show()

for method in explain:
    slope = np.polyfit(np.log(sizes), np.log(scatter[method]), 1)[0]
    print(
        f"{method:22s} scatter falls as K to the power {slope:.2f}, "
        f"agreement {agreed[method][0]:.2f} → {agreed[method][-1]:.2f}"
    )
    assert -0.7 < slope < -0.3
    assert scatter[method][-1] < 0.25 * scatter[method][0]
    assert agreed[method][-1] > agreed[method][0] + 0.15

# %% [markdown]
# What is left is not arbitrary any more: it is the question *compared with the plants there are*.
# That is a choice too, but one that can be named and defended, and others will come to the same
# scores. Nothing is lost on the way: with a background, completeness reads
# $\sum_i \varphi_i = f(x) - E_b f(b)$.

# %%
with torch.no_grad():
    change = table_net(watered) - table_net(torch.stack(background)).mean()
assert torch.allclose(against_many.sum(1), change, atol=1e-4)
for method in (FeatureAblation(table_net), IntegratedGradients(table_net)):
    one_by_one = torch.stack([method.attribute(watered, plant) for plant in plants[:5]]).mean(0)
    assert torch.allclose(method.attribute(watered, list(plants[:5])), one_by_one, atol=1e-5)

# %% [markdown]
# ### How to hand over several
#
# | `baselines=` | means |
# |---|---|
# | a number, `(*F)` or `(1, *F)` | one, for all examples |
# | `(N, *F)` | one for each of the $N$ examples |
# | a **list** of any of these | the mean over its members, in every method used here |
# | rows `(K, *F)` | the same in perturbation methods; `GradientShap` draws from them |
#
# The last line has a trap: but for `GradientShap`, ten rows for ten examples are one each. With a
# list there is none.

# %%
ten, eleven = plants[:10], plants[:11]
each_its_own = torch.cat(
    [shapley.attribute(x[None], plant) for x, plant in zip(watered, ten, strict=True)]
)
assert torch.allclose(shapley.attribute(watered, ten), each_its_own, atol=1e-5)
assert not torch.allclose(shapley.attribute(watered, list(ten)), each_its_own, atol=0.1)
assert torch.allclose(
    shapley.attribute(watered, eleven), shapley.attribute(watered, list(eleven)), atol=1e-5
)

# %% [markdown]
# ## A recipe
#
# 1. **Say what you compare with** before you choose: nothing, the average, what is usual here? The
#    baseline is half of the question.
# 2. **Ask the model about the baseline.** If it has an opinion on it, so has your explanation.
# 3. **Look for what coincides.** Where $x$ equals the baseline the score is zero, however much the
#    model cares. Black things on zeros; average values on the mean; smooth things on a blur.
# 4. **Take a second baseline that differs from the first everywhere.** What comes first with both,
#    believe. What does not, investigate.
# 5. **In doubt, a list of training examples**, some tens of them: the cost is a factor, the
#    arbitrariness goes with its square root, and two disjoint halves tell how much is left.

# %%
plt.close("all")
