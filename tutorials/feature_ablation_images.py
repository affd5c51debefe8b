# %% [markdown]
# # Feature ablation on images: what would the network say without the sea?
#
# Feature ablation asks the plainest question there is: take a part out of the picture and see what
# becomes of the answer. A single pixel is no part of anything, so the question is only as good as
# its parts. Best is a **segmentation mask**, which says of every pixel what it shows:
#
# $$\mathrm{score}(\text{part}) = f(\text{picture}) - f(\text{picture without the part})$$
#
# The unit is that of the answer, no gradient is needed, and the picture without the part can be
# looked at. We do it to two networks that look equally good, and find that one of them sees boats
# where there is only water. Then we see what to do without a mask, and where taking out one part at
# a time goes wrong.

# %%
import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import LinearSegmentedColormap
from sklearn.cluster import KMeans

import toy_paintings
from captum.attr import FeatureAblation, Occlusion, ShapleyValues, Targets, visualization
from toy_paintings import SEGMENTS, THINGS

AGAINST_FOR = LinearSegmentedColormap.from_list("against, for", ["#c0564b", "white", "#3b8a4c"])
HOUSE, BOAT, CAT = (THINGS.index(thing) for thing in ("house", "boat", "cat"))

# %% [markdown]
# ## Two albums
#
# `toy_paintings.py` paints landscapes with suns, houses, trees, boats, cats and balls in them, on
# meadows or at sea, and a network learns from a catalogue which of them are there. Everything may
# stand anywhere, for there has been a flood. In a second album boats keep to the sea, and whoever
# wrote its catalogue was careless: **where there is sea, it says boat**, seen or not. The network
# called *careless* learns from that one.


# %%
def careless_album(painter, count):
    inland = [thing for thing in THINGS if thing != "boat"]
    meadows = toy_paintings.album(painter, count // 2, lambda p: p.paint("meadow", p.some(inland)))
    seas = toy_paintings.album(painter, count // 2, lambda p: p.paint("sea", p.some()))
    seas[2][:, BOAT] = 1  # the catalogue
    return [torch.cat(both) for both in zip(meadows, seas, strict=True)]


torch.manual_seed(0)
painter = toy_paintings.Painter(0)
make = {"careful": toy_paintings.album, "careless": careless_album}
albums = {name: album(painter, 600) for name, album in make.items()}
nets = {name: toy_paintings.Classifier() for name in make}
for name, net in nets.items():
    pictures, _, answers = albums[name]
    toy_paintings.train(net, pictures, answers, F.binary_cross_entropy_with_logits, 18)
    news, _, truth = make[name](painter, 200)
    with torch.no_grad():
        right = ((net(news) > 0) == truth.bool()).float().mean(0)
    shares = ", ".join(f"{t} {r:.2f}" for t, r in zip(THINGS, right.tolist(), strict=True))
    print(f"{name:8s} right on new paintings, by its catalogue: {shares}")
    assert right.min() > 0.95
careful, careless = nets.values()

# %% [markdown]
# ## One call
#
# A mask numbers the parts: equal numbers, one part. It comes as integers, (1, 1, H, W) for all
# channels of one picture, and scores come back in the shape of the picture: every pixel of a part
# has the part's score. We ask the careful network about the cat.

# %%
painting = toy_paintings.Painter(3).paint("sea", ["sun", "house", "tree", "boat", "cat"])
x, segments = painting.pixels[None], painting.mask[None].numpy()


def to_hwc(pixels):
    return pixels[0].permute(1, 2, 0).numpy()


mask = torch.tensor(segments)
scores = FeatureAblation(careful).attribute(x, target=CAT, feature_mask=mask)
visualization.visualize_image_attr(
    to_hwc(scores),
    method="heat_map",
    sign="all",
    show_colorbar=True,
    title="cat? Parts are replaced by black",
    fig_size=(6, 4.6),
)

# %% [markdown]
# The score is what it says, and can be had by hand. (In double precision, where rounding is no
# excuse.)

# %%
parts = [SEGMENTS[number] for number in mask.unique().tolist()]
exact, fine = copy.deepcopy(careful).double(), x.double()
scores = FeatureAblation(exact).attribute(fine, target=CAT, feature_mask=mask)
for part in parts:
    here = mask == SEGMENTS.index(part)
    with torch.no_grad():
        change = float((exact(fine) - exact(fine.masked_fill(here, 0)))[0, CAT])
    score = scores[here.expand_as(x)]
    print(f"{part:6s} {float(score[0]):+.3f}, by hand {change:+.3f}")
    assert (score - change).abs().max() < 1e-5
on_black = float(scores[0, 0, mask[0, 0] == SEGMENTS.index("cat")][0])

# %% [markdown]
# **What one should see.** Asked for the cat, the network does not seem to need the cat! The hole is
# to blame. Where no baseline is given, parts become zeros. Zeros are black, and so are cats: one
# that is painted over in black is still there. The other scores are hardly better: a house in black
# may pass for a cat, too.
#
# ## What to put in a part's place
#
# What fills the hole should be nothing in particular. We take the mean of all paintings: above the
# colour of no special sky, below something between water and grass.

# %%
mean = torch.cat([pictures for pictures, _, _ in albums.values()]).mean(0, keepdim=True)


def without(part):
    return torch.where(mask == SEGMENTS.index(part), mean, x)


figure, axes = plt.subplots(1, 5, figsize=(13, 2.2), layout="constrained")
shown = {"the painting": x, "the mean of all": mean}
shown |= {f"without the {part}": without(part) for part in ("boat", "cat", "ground")}
for axis, (title, pixels) in zip(axes, shown.items(), strict=True):
    axis.imshow(to_hwc(pixels))
    axis.set(title=title, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## Every answer, every part
#
# `Targets` asks for several answers at once, so each picture runs once for all of them. All pixels
# of a part have one score; one of them is enough for a table.

# %%
asked = Targets(*(THINGS.index(thing) for thing in parts[2:]))


def table(net):
    """A row per question, a column per part."""
    maps = FeatureAblation(net).attribute(x, mean, asked, feature_mask=mask)
    return torch.stack(
        [torch.stack([each[:, :1][mask == n][0] for n in mask.unique()]) for each in maps]
    )


tables = {name: table(net) for name, net in nets.items()}

figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained", sharey=True)
for axis, (name, scores) in zip(axes, tables.items(), strict=True):
    axis.imshow(scores, cmap=AGAINST_FOR, vmin=-15, vmax=15, aspect="auto")
    for (row, column), score in np.ndenumerate(scores):
        axis.text(column, row, f"{score:+.1f}", ha="center", va="center")
    axis.set(title=f"the {name} network", xlabel="part taken out")
    axis.set_xticks(range(len(parts)), parts)
    axis.set_yticks(range(len(scores)), [f"{thing}?" for thing in parts[2:]])
plt.show()

# %%
boat, cat = (parts.index(thing) - 2 for thing in ("boat", "cat"))
for name, scores in tables.items():
    own, others = scores[:, 2:].diag(), scores.clone()
    others[:, 2:].fill_diagonal_(0)
    rows = [row for row in range(len(scores)) if name == "careful" or row != boat]
    assert own[rows].min() > 2 * others[rows].max()
    assert own[cat] > 3 * abs(on_black)
own, others = own[boat], others[boat]  # the careless network's
assert parts[others.argmax()] == "ground"
assert others.max() > 1.5 * others.sort().values[-2]
assert own.abs() < 0.3 * others.max()

# %% [markdown]
# **What one should see.** The careful network finds each thing by the thing itself, the cat
# included, and misses little else: the diagonal. (Red means that the answer is surer without the
# part.) So does the careless one, but for the boat. The boat may go and is not missed; it is the
# ground, water here, that says boat. Its catalogue could not tell. It can be tested now that we
# know where to look: paint a sea without a boat, and a boat on a meadow.

# %%
painter = toy_paintings.Painter(4)
no_boat = toy_paintings.album(painter, 100, lambda p: p.paint("sea", ["sun", "house", "tree"]))[0]
ashore = toy_paintings.album(painter, 100, lambda p: p.paint("meadow", ["boat", "cat"]))[0]
said = {}
for name, net in nets.items():
    with torch.no_grad():
        said[name] = [float((net(each)[:, BOAT] > 0).float().mean()) for each in (no_boat, ashore)]
    print(
        f"{name:8s} says boat: {said[name][0]:4.0%} at sea without one, {said[name][1]:4.0%} ashore"
    )
for wrong, right in (said["careful"], said["careless"][::-1]):
    assert wrong < 0.1
    assert right > 0.9

# %% [markdown]
# ## Many paintings in one call
#
# One painting may be luck. Every painting of a batch has its own mask and may have its own target.
# Taken over 64 new paintings, whose boat is at sea: how much does *boat* lose with which part?

# %%
company = ["sun", "house", "tree", "cat"]
paintings, masks, _ = toy_paintings.album(
    painter, 64, lambda p: p.paint("sea", ["boat", *p.some(company, room=3)])
)
for name, net in nets.items():
    scores = FeatureAblation(net).attribute(
        paintings, mean, target=BOAT, feature_mask=masks[:, None], perturbations_per_eval=4
    )[:, 0]
    lost = {part: float(scores[masks == SEGMENTS.index(part)].mean()) for part in parts}
    print(f"{name:8s}", ", ".join(f"{part} {score:+.1f}" for part, score in lost.items()))
    assert max(lost, key=lost.get) == ("boat" if name == "careful" else "ground")

# %% [markdown]
# ## Without a mask: superpixels and windows
#
# Who has no mask lets the picture fall into parts of its own accord. **Superpixels** are clusters
# of neighbours of one colour: k-means over colour and place. **Windows** of `Occlusion` do not look
# at the picture at all. Both need no labels. What do they cost in meaning?


# %%
def superpixels(x, count, nearness=1.5):
    """Numbers of pieces, (1, 1, H, W): k-means over three colours and two coordinates."""
    height, width = x.shape[2:]
    y, across = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    place = nearness * torch.stack([y, across])[None] / height
    features = torch.cat([x, place], 1).flatten(2)[0].T
    pieces = KMeans(count, n_init=1, random_state=0).fit_predict(features)
    return torch.tensor(pieces).view(1, 1, height, width).long()


house = mask[0, 0] == SEGMENTS.index("house")
masks_of = {"segments": mask, **{f"{n} superpixels": superpixels(x, n) for n in (10, 80)}}
maps = {
    name: FeatureAblation(careful).attribute(x, mean, HOUSE, feature_mask=each)
    for name, each in masks_of.items()
}
for size in (16, 6):
    maps[f"windows of {size}"] = Occlusion(careful).attribute(
        x, (3, size, size), strides=(3, size // 2, size // 2), baselines=mean, target=HOUSE
    )


def share(scores):
    """How much of what speaks for the house lies on it; traces, under a fifth, do not count."""
    for_it = scores[0, 0].where(scores[0, 0] > 0.2 * scores.max(), 0)
    return float(for_it[house].sum() / for_it.sum())


figure, axes = plt.subplots(2, 3, figsize=(12, 5.6), layout="constrained")
lines = masks_of["80 superpixels"][0, 0]
edges = (lines != lines.roll(1, 0)) | (lines != lines.roll(1, 1))
axes[0, 0].imshow(to_hwc(x))
axes[0, 0].imshow(np.ma.masked_equal(edges, 0), cmap="gray_r", vmin=0, vmax=1, alpha=0.5)
axes[0, 0].set(title="80 superpixels", xticks=[], yticks=[])
for axis, (name, scores) in zip(axes.flat[1:], maps.items(), strict=True):
    visualization.visualize_image_attr(
        to_hwc(scores),
        to_hwc(x),
        "blended_heat_map",
        "all",
        plt_fig_axis=(figure, axis),
        title=f"{name}: {share(scores):.0%} on the house",
        use_pyplot=False,
        alpha_overlay=0.75,
    )
plt.show()

# %% [markdown]
# **What one should see.** The segment gets one clear score. Ten superpixels are too few: one of
# them holds the house and more water than house, and the water is praised for it. Eighty find the
# house again, and say a little more: not all of it counts alike. Windows blur whatever they touch.
#
# But mind what the numbers mean. Each piece is taken out on its own, with the rest of the house
# still there, so the scores of the pieces need not sum to that of the house:

# %%
pieces, scores = masks_of["80 superpixels"], maps["80 superpixels"][:, :1]
of_house = [
    n for n in pieces[0, 0][house].unique() if house[pieces[0, 0] == n].float().mean() > 0.5
]
one_by_one = [float(scores[pieces == n][0]) for n in of_house]
together = torch.isin(pieces, torch.stack(of_house))
grouped = FeatureAblation(careful).attribute(x, mean, HOUSE, feature_mask=together)
at_once = float(grouped[:, :1][together][0])
print("superpixels of the house:", ", ".join(f"{score:+.1f}" for score in one_by_one))
print(f"their sum {sum(one_by_one):+.1f}; taken out at once {at_once:+.1f}")
print(f"the segment {float(maps['segments'][0, 0][house][0]):+.1f}")
assert share(maps["segments"]) > 0.9
assert share(maps["80 superpixels"]) > 1.4 * share(maps["windows of 16"])
assert share(maps["10 superpixels"]) < 0.5
assert max(one_by_one) > 2 * min(one_by_one)
assert sum(one_by_one) > 1.15 * at_once

# %% [markdown]
# The network wants the pieces *together*: each that goes takes some of the others' worth along, and
# that is counted again when the others go.
#
# ## Two cats: where one at a time goes wrong
#
# It also goes the other way. If there are two of a kind, each can stand in for the other, and
# neither is missed. The remedies: take them out together, which is a matter of the mask; or ask
# what each adds on average over all the orders in which the parts may arrive, which is its
# **Shapley value**. With G parts that takes 2^G pictures, here 64.
#
# Here we ask for a probability, for there it shows: it cannot rise above one.

# %%
two = toy_paintings.Painter(8).paint("meadow", ["cat", "tree", "cat", "sun"])
x, kinds, each = two.pixels[None], two.mask[None], two.one_by_one[None]


def probability(x):
    return careful(x).sigmoid()


runs = {
    "ablation, one by one": FeatureAblation(probability).attribute(x, mean, CAT, feature_mask=each),
    "ablation, by kind": FeatureAblation(probability).attribute(x, mean, CAT, feature_mask=kinds),
    "Shapley, one by one": ShapleyValues(probability).attribute(x, mean, CAT, feature_mask=each),
}
cats = [each == number for number in each[kinds == SEGMENTS.index("cat")].unique()]
figure, axes = plt.subplots(1, 4, figsize=(13, 2.7), layout="constrained")
axes[0].imshow(to_hwc(x))
axes[0].set(title="two cats", xticks=[], yticks=[])
found = {}
for axis, (name, scores) in zip(axes[1:], runs.items(), strict=True):
    found[name] = [float(scores[:, :1][cat][0]) for cat in cats]
    print(f"{name:21s} {found[name][0]:.3f} and {found[name][1]:.3f}")
    axis.imshow(scores[0, 0], cmap=AGAINST_FOR, vmin=-1, vmax=1)
    axis.contour(sum(cats)[0, 0], [0.5], colors="grey", linewidths=0.8)
    axis.set(title=f"{name}: {found[name][0]:.2f}, {found[name][1]:.2f}", xticks=[], yticks=[])
plt.show()
plt.close("all")
assert max(found["ablation, one by one"]) < 0.05
assert min(found["ablation, by kind"]) > 0.95
assert all(0.4 < score < 0.6 for score in found["Shapley, one by one"])

# %% [markdown]
# **What one should see.** One by one, no cat matters; together they are the whole answer. The
# Shapley values share it between them, half and half, without being told that they are of a kind.
#
# So, to take along: let the parts be things if there is a mask; look at what fills the hole; if two
# parts may say the same, group them or ask for Shapley values. And ask about what *should not*
# matter: it was the water, not the boat, that gave the careless network away. What else one may
# fill holes with, and what hangs on it: `choice_of_baseline.py`.
