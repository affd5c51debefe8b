# %% [markdown]
# # Semantic segmentation: why does the network call this the sun?
#
# A segmentation network answers for every pixel, and an attribution method explains one number per
# picture. So there is a step to take before: **which number?** We ask for a class by adding up its
# scores over the pixels that were given to it, and every method is at hand. Here are two:
#
# | method | what it says |
# |---|---|
# | Grad-CAM | where, in a layer, the evidence for the class lies |
# | Feature ablation | what the class loses when a part of the picture is taken out |
#
# The paintings hold a trap. A sun and a ball are the same yellow disc; they differ in where they
# are. A network that tells them apart must look around them, and an explanation must say so.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from torch import nn

import toy_paintings
from captum.attr import (
    FeatureAblation,
    LayerActivation,
    LayerAttribution,
    LayerGradCam,
    Targets,
    visualization,
)
from toy_paintings import SEGMENTS

AGAINST_FOR = LinearSegmentedColormap.from_list("against, for", ["#c0564b", "white", "#3b8a4c"])
LEGEND = ListedColormap(
    ["#bcd9ee", "#a9c48f", "#f5c93b", "#c0564b", "#2f6b35", "#7a3f28", "#222222", "#e58a1f"]
)
SKY, SUN, CAT, BALL = (SEGMENTS.index(name) for name in ("sky", "sun", "cat", "ball"))

# %% [markdown]
# ## A small fully convolutional network
#
# Two steps down, then two convolutions with gaps, which see far without going further down; then
# the scores of the eight classes, and up again. Sky and ground count less in the loss, for they
# have most of the pixels. To save time, one pixel in four teaches.


# %%
def unit(before, width, size, stride=1, padding=1, gaps=1):
    conv = nn.Conv2d(before, width, size, stride, padding, gaps, bias=False)
    return conv, nn.BatchNorm2d(width), nn.ReLU()


class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            *unit(3, 16, 4, stride=2),
            *unit(16, 32, 4, stride=2),
            *unit(32, 32, 3, padding=2, gaps=2),
            *unit(32, 32, 3, padding=3, gaps=3),
        )
        self.scores = nn.Conv2d(32, len(SEGMENTS), 1)

    def forward(self, x):
        return F.interpolate(self.scores(self.features(2 * x - 1)), x.shape[2:], mode="bilinear")


weights = torch.tensor([0.3 if name in ("sky", "ground") else 1.0 for name in SEGMENTS])


def loss(scores, truth):
    return F.cross_entropy(scores[..., ::2, ::2], truth[..., ::2, ::2], weights)


torch.manual_seed(0)
painter = toy_paintings.Painter(0)
pictures, masks, _ = toy_paintings.album(painter, 500)
fcn = Segmenter()
toy_paintings.train(fcn, pictures, masks, loss, 12)

news, truth, _ = toy_paintings.album(painter, 100)
with torch.no_grad():
    guess = fcn(news).argmax(1)
overlap = {}
for number, name in enumerate(SEGMENTS):
    either = (guess == number) | (truth == number)
    overlap[name] = float(((guess == number) & (truth == number)).sum() / either.sum())
print("intersection over union:", ", ".join(f"{n} {o:.2f}" for n, o in overlap.items()))
assert min(overlap.values()) > 0.5
assert min(overlap["sun"], overlap["ball"]) > 0.75

# %% [markdown]
# ## One picture
#
# A sun, a ball, and other things. The network finds them all.

# %%
painting = toy_paintings.Painter(29).paint("meadow", ["sun", "ball", "house", "cat"])
x = painting.pixels[None]
with torch.no_grad():
    predicted = fcn(x).argmax(1, keepdim=True)  # (1, 1, H, W)
right = float((predicted[0] == painting.mask).float().mean())
numbers = painting.mask.unique()
classes = [SEGMENTS[number] for number in numbers.tolist()]
print(f"{right:.1%} of the pixels are right")
for number in numbers:
    found, there = predicted[0] == number, painting.mask == number
    assert (found & there).sum() > 0.6 * (found | there).sum()


def to_hwc(pixels):
    return pixels[0].permute(1, 2, 0).numpy()


figure, axes = plt.subplots(1, 3, figsize=(12, 2.9), layout="constrained")
axes[0].imshow(to_hwc(x))
for axis, segments in zip(axes[1:], (painting.mask, predicted[0]), strict=True):
    shown = axis.imshow(segments[0], cmap=LEGEND, vmin=-0.5, vmax=len(SEGMENTS) - 0.5)
for axis, title in zip(axes, ("the painting", "what is there", "what is found"), strict=True):
    axis.set(title=title, xticks=[], yticks=[])
figure.colorbar(shown, ax=axes[2], ticks=range(len(SEGMENTS))).ax.set_yticklabels(SEGMENTS)
plt.show()

# %% [markdown]
# ## From pixels to one number per class
#
# The output is (N, C, H, W). A function around the model adds up, for each class, the scores of
# those pixels that *the painting as it is* gave to the class, and returns (N, C), as a classifier
# does:
#
# $$f_c(x) = \sum_{p\,:\,\hat c(p) = c} s_{c,p}(x)$$
#
# Which pixels these are is decided once and stays. If it moved along when a part of the picture is
# taken out, a class could gain by spreading over pixels that nobody asked about.

# %%
ours = F.one_hot(predicted[:, 0], len(SEGMENTS)).permute(0, 3, 1, 2)  # (1, C, H, W)
sizes = ours.sum((2, 3))[0]  # pixels of each class


def per_class(x):
    """(N, C): the scores of a class, summed over its pixels."""
    return (fcn(x) * ours).sum((2, 3))


with torch.no_grad():
    sums = per_class(x)[0]
for number in numbers.tolist():
    total, size = float(sums[number]), int(sizes[number])
    print(f"{SEGMENTS[number]:7s}{total:8.0f} from {size:4d} pixels, {total / size:.1f} each")

# %% [markdown]
# ## Grad-CAM
#
# For the last layer in which there are still features and no classes yet. It lies within the
# model; that the function around it is ours does not matter.

# %%
layer = fcn.features[-1]
cam = LayerGradCam(per_class, layer).attribute(x, target=SUN)
visualization.visualize_image_attr(
    to_hwc(cam), sign="all", title="Grad-CAM of the sun, as it comes", fig_size=(5, 3.5)
)

# %% [markdown]
# A value of this layer stands for four pixels by four. Enlarged, the map can be laid over the
# painting:

# %%
large = LayerAttribution.interpolate(cam, x.shape[2:])
visualization.visualize_image_attr_multiple(
    to_hwc(large),
    original_image=to_hwc(x),
    signs=["all", "positive", "negative"],
    methods=["original_image", "blended_heat_map", "blended_heat_map"],
    titles=["the painting", "for the sun", "against it"],
    fig_size=(12, 3),
    alpha_overlay=0.7,
)

# %% [markdown]
# What is the map made of? Grad-CAM weighs every channel of the layer with its mean gradient and
# adds them up. `LayerActivation` has the channels. Here the weights are known, too: above the layer
# there is only a 1 x 1 convolution, and enlarging. So they are those of the convolution, times the
# number of the sun's pixels over that of the layer's.

# %%
channels = LayerActivation(per_class, layer).attribute(x)  # (1, channels, H / 4, W / 4)
shares = fcn.scores.weight[SUN].detach() * sizes[SUN] / channels[0, 0].numel()
by_hand = (shares * channels).sum(1, keepdim=True)
print(f"{channels.shape[1]} channels; by hand within {float((cam - by_hand).abs().max()):.0e}")
assert torch.allclose(cam, by_hand, rtol=1e-3, atol=1e-4 * float(cam.abs().max()))

# %% [markdown]
# So for the last layer, Grad-CAM is the map of the class's scores, but for a factor and a bias. Now
# all classes, only what speaks for them, and enlarged smoothly:

# %%
asked = Targets(*numbers.tolist())
cams = LayerGradCam(per_class, layer).attribute(x, asked, relu_attributions=True)
cams = [LayerAttribution.interpolate(cam, x.shape[2:], "bilinear") for cam in cams]

figure, axes = plt.subplots(2, 3, figsize=(12, 5.6), layout="constrained")
for axis, name, cam in zip(axes.flat, classes, cams, strict=True):
    here = predicted == SEGMENTS.index(name)
    share, chance = float(cam[here].sum() / cam.sum()), float(here.float().mean())
    visualization.visualize_image_attr(
        to_hwc(cam),
        to_hwc(x),
        "blended_heat_map",
        "positive",
        plt_fig_axis=(figure, axis),
        title=f"{name}: {share:.0%} on its pixels, by chance {chance:.0%}",
        use_pyplot=False,
        alpha_overlay=0.7,
    )
    assert share > 1.5 * chance
plt.show()

# %% [markdown]
# **What one should see.** Each class has far more evidence on its own pixels than chance would put
# there. A disc may find some in the other one, too, which looks the same. What Grad-CAM does not
# say: *what* around the disc made it a sun. By the time a feature of this layer argues for the sun,
# it has seen its surroundings already.
#
# ## Feature ablation
#
# Every segment that was found is a part: the prediction is the feature mask, and two pictures with
# a part taken out run at a time. As nothing is said about what fills the hole, it is zero: black.

# %%
on_black = FeatureAblation(per_class).attribute(
    x, feature_mask=predicted, perturbations_per_eval=2, target=SUN
)
visualization.visualize_image_attr(
    to_hwc(on_black), sign="all", title="What the sun loses", fig_size=(5, 3.5)
)
lost = {}
for name, number in zip(classes, numbers, strict=True):
    here = predicted == number
    with torch.no_grad():
        lost[name] = float((per_class(x) - per_class(x.masked_fill(here, 0)))[0, SUN])
    assert (on_black[:, :1][here] - lost[name]).abs().max() < 1e-3 * sums[SUN]
assert {"sun", "sky"} == set(sorted(lost, key=lost.get)[-2:])

# %% [markdown]
# Besides the sun itself, it is the sky that counts: the trap, found. Or is it the black hole that
# disturbs? For all classes, let holes have the mean colour of all paintings, which is nothing in
# particular. And we divide by a class's pixels: then a sun and a sky can be compared.

# %%
colour = pictures.mean((0, 2, 3)).view(1, 3, 1, 1)


def part_scores(maps):
    """A row per question, a column per part."""
    rows = [[float(each[0, 0][predicted[0, 0] == n][0]) for n in numbers] for each in maps]
    return torch.tensor(rows)


table = part_scores(FeatureAblation(per_class).attribute(x, colour, asked, feature_mask=predicted))
table = table / sizes[numbers, None]


def draw(axis, table, title):
    axis.imshow(table, cmap=AGAINST_FOR, vmin=-12, vmax=12, aspect="auto")
    for (row, column), score in np.ndenumerate(table):
        axis.text(column, row, f"{score:+.1f}", ha="center", va="center")
    axis.set_xticks(range(len(classes)), classes)
    axis.set(xlabel="part taken out", title=title)


figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
draw(axis, table, "What a class loses, per pixel")
axis.set_yticks(range(len(classes)), [f"{name}?" for name in classes])
plt.show()

# %%
sun, sky, ground = (classes.index(name) for name in ("sun", "sky", "ground"))
in_black = lost["sky"] / float(sizes[SUN])
print(
    f"a pixel of the sun loses by the sky: {in_black:.1f} in black, {table[sun, sky]:.1f} in grey"
)
assert table.argmax(1).tolist() == list(range(len(classes)))
assert in_black > 1.3 * table[sun, sky]

called_sky = {}
for title, filling in (("black", torch.zeros(())), ("grey", colour)):
    with torch.no_grad():
        names = fcn(torch.where(predicted == SKY, filling, x)).argmax(1, keepdim=True)
    names = names[predicted == SKY]
    called_sky[title], as_cat = (float((names == name).float().mean()) for name in (SKY, CAT))
    print(f"the sky in {title:5s} is called sky {called_sky[title]:.0%}, cat {as_cat:.0%}")
    assert title == "grey" or as_cat > 0.3
assert called_sky["black"] < 0.5
assert called_sky["grey"] > 0.7

# %% [markdown]
# **What one should see.** Each class lives on its own part: the diagonal. But now the sun seems to
# need the sky less. The printed lines tell why: a black sky is no sky any more, and much of it
# is called cat, for cats are black. A sky of the mean colour, a greenish grey, still passes for
# sky. The one hole says too much, the other too little.
#
# ## A better hole
#
# The filling is part of the question. To learn what the surroundings do, exchange them: the colour
# of the ground in the sky's place, and that of the sky in the ground's. And ask about the pixels of
# either disc for both answers.

# %%
up, down = (pictures.permute(1, 0, 2, 3)[:, masks == number].mean(1) for number in (0, 1))
exchanged = torch.where(predicted == 0, down.view(1, 3, 1, 1), up.view(1, 3, 1, 1))


def over(disc):
    """A forward function: the mean score of every class over the pixels of a disc."""
    here = predicted == disc
    return lambda x: (fcn(x) * here).sum((2, 3)) / here.sum()


figure, axes = plt.subplots(1, 2, figsize=(12, 2.3), layout="constrained")
discs = {}
for axis, disc in zip(axes, (SUN, BALL), strict=True):
    both = Targets(SUN, BALL)
    scores = FeatureAblation(over(disc)).attribute(x, exchanged, both, feature_mask=predicted)
    discs[SEGMENTS[disc]] = part_scores(scores)
    draw(axis, discs[SEGMENTS[disc]], f"The pixels of the {SEGMENTS[disc]}")
    axis.set_yticks([0, 1], ["sun?", "ball?"])
plt.show()
for name, around in (("sun", sky), ("ball", ground)):
    as_sun, as_ball = discs[name][:, around].tolist()
    print(f"the {name} without its surroundings: as sun {-as_sun:+.1f}, as ball {-as_ball:+.1f}")
assert discs["sun"][0, sky] > 1 > -1 > discs["sun"][1, sky]
assert discs["ball"][1, ground] > 1 > -1 > discs["ball"][0, ground]

# %% [markdown]
# Both show it: what makes the sun a sun argues against the ball, and the other way round. Held
# against a hundred new paintings: what are the discs called once their surroundings are exchanged?

# %%
plain = torch.where(truth == 0, down.view(3, 1, 1, 1), up.view(3, 1, 1, 1)).transpose(0, 1)
swapped = torch.where((truth < 2)[:, None], plain, news)
with torch.no_grad():
    renamed = fcn(swapped).argmax(1)


def called(guesses, disc):
    """What share of the pixels of all discs of a kind is called sun, and what share ball."""
    here = guesses[truth == disc]
    return [float((here == name).float().mean()) for name in (SUN, BALL)]


for title, guesses in (("as painted", guess), ("exchanged", renamed)):
    for disc in (SUN, BALL):
        as_sun, as_ball = called(guesses, disc)
        print(f"{title:10s} {SEGMENTS[disc]:4s} called sun {as_sun:4.0%}, ball {as_ball:4.0%}")
for disc, same, other in ((SUN, 0, 1), (BALL, 1, 0)):
    assert called(guess, disc)[same] > 0.8
    assert called(renamed, disc)[other] > 0.7

both_kinds = [(truth[i] == SUN).any() and (truth[i] == BALL).any() for i in range(len(truth))]
pick = both_kinds.index(True)
figure, axes = plt.subplots(1, 4, figsize=(13, 2.3), layout="constrained")
for axis, title, shown in zip(
    axes,
    ("a new painting", "what is found", "exchanged", "what is found"),
    (news[pick].permute(1, 2, 0), guess[pick], swapped[pick].permute(1, 2, 0), renamed[pick]),
    strict=True,
):
    axis.imshow(shown, cmap=LEGEND, vmin=-0.5, vmax=len(SEGMENTS) - 0.5)
    axis.set(title=title, xticks=[], yticks=[])
plt.show()
plt.close("all")

# %% [markdown]
# **To take along.** Sum a class over the pixels it was given, hold these pixels fixed, and a
# segmentation network is a classifier to every method. (A single pixel needs no function around the
# model: `target=(class, row, column)`.) Grad-CAM says where the evidence lies. Only taking parts
# out told *what else* had to be there, and it told it best where the hole was filled with what made
# the difference.
