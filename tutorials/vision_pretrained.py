# %% [markdown]
# # Vision with pretrained models: where is the dahlia?
#
# A ResNet looks at a photograph with a pagoda and a dahlia in it, and answers for each whether it
# is there. We ask it *where*, once per answer, and since the two stand in known places, every map
# can be held against the truth. Four families of methods, from general to special:
#
# | family | score of a pixel | sums to |
# |---|---|---|
# | `IntegratedGradients`, `NoiseTunnel`, `GradientShap` | gradients, averaged | $f(x) - f(x_0)$ |
# | `DeepLift`, `DeepLiftShap` | exact slopes from $x_0$ to $x$ | $f(x) - f(x_0)$, exactly |
# | `LRP` | the answer, handed down layer by layer | $f(x)$, but for biases |
# | `GuidedBackprop`, `GuidedGradCam` | what was switched on and argued for it | nothing |
#
# Residual connections, batch norm, in-place ReLUs that are called twice: none of it needs a word.

# %%
import time

import matplotlib.pyplot as plt
import torch

import toy_photos
from captum.attr import (
    LRP,
    DeepLift,
    DeepLiftShap,
    GradientShap,
    GuidedBackprop,
    GuidedGradCam,
    InputXGradient,
    IntegratedGradients,
    LayerAttribution,
    LayerGradCam,
    LayerLRP,
    Neuron,
    NoiseTunnel,
    Targets,
    lrp_rules,
    visualization,
)

BLUE, RED, GREY = "#2b6c99", "#c0564b", "#9aa3ab"

# %% [markdown]
# ## The network and the photograph
#
# `toy_photos.py` trains a small ResNet in some ten seconds on scenes that it makes from
# scikit-learn's two sample photographs. With `CAPTUM_TUTORIAL_RESNET=resnet18` in the environment
# it takes torchvision's, with pretrained weights, and asks it for a daisy and a stupa. Everything
# below stays as it is.

# %%
net, photo = toy_photos.load()
x, things = photo.pixels, list(photo.targets)
both = Targets(*photo.targets.values())  # two questions; what they share runs once

with torch.no_grad():
    logits = net(x)[0]
for thing in things:
    print(f"{thing}: logit {float(logits[photo.targets[thing]]):.1f}")
if not toy_photos.PRETRAINED:
    scenes, answers = toy_photos.Scenes(seed=1).batch(200)
    with torch.no_grad():
        right = ((net(scenes) > 0) == answers.bool()).float().mean(0)
    print("right on new scenes:", [f"{share:.2f}" for share in right.tolist()])
    assert right.min() > 0.85
    assert logits.min() > 1


# %%
def overlays(maps, sign="all", size=(13, 4.5)):
    """A row per question, a column per method: name -> scores for each of the two."""
    figure, axes = plt.subplots(2, len(maps) + 1, figsize=size, layout="constrained")
    for row, thing in enumerate(things):
        picture = {"plt_fig_axis": (figure, axes[row, 0]), "title": f"where is the {thing}?"}
        options = {"use_pyplot": False, "alpha_overlay": 0.8}
        image = photo.picture.numpy()
        visualization.visualize_image_attr(None, image, "original_image", **picture, **options)
        for axis, (name, scores) in zip(axes[row, 1:], maps.items(), strict=True):
            visualization.visualize_image_attr(
                scores[row][0],
                image,
                "blended_heat_map",
                sign,
                plt_fig_axis=(figure, axis),
                title="" if row else name,
                **options,
            )
    plt.show()


# %% [markdown]
# ## Compared with what?
#
# Three of the four families explain a *difference*, so the picture they start from is part of the
# question. Grey, the zeros of a normalised picture, is at hand, but no network was ever shown it.
# Pictures of the same kind without the things are the better zero: "why a dahlia, and not just lake
# and leaves?"

# %%
grey = torch.zeros_like(x)
with torch.no_grad():
    for name, start in (("grey", grey), ("empty scenes", photo.empty)):
        means = net(start).mean(0)[list(photo.targets.values())]
        print(f"{name:13s}", *(f"{t} {m:+.1f}" for t, m in zip(things, means, strict=True)))

figure, axes = plt.subplots(1, 5, figsize=(13, 2), layout="constrained")
for axis, start in zip(axes, (grey[0], *photo.empty), strict=False):
    axis.imshow((start * toy_photos.STD + toy_photos.MEAN)[0].permute(1, 2, 0).clamp(0, 1))
    axis.set_axis_off()
axes[0].set_title("grey")
axes[1].set_title("empty scenes", loc="left")
plt.show()

# %% [markdown]
# ## Differences: integrated gradients, gradient SHAP, DeepLIFT
#
# A list of baselines is averaged over. `DeepLiftShap` takes the same pictures as a batch. Both
# answers come from one call, and each must sum to its own $f(x) - \mathrm{E}\, f(x_0)$.

# %%
starts = [start[None] for start in photo.empty]
ig, lift = IntegratedGradients(net), DeepLiftShap(net)
runs = {
    "integrated gradients": lambda: ig.attribute(x, starts, both, n_steps=30),
    "NoiseTunnel of it": lambda: NoiseTunnel(ig).attribute(
        x, baselines=starts[:2], target=both, nt_samples=8, stdevs=0.2, n_steps=12
    ),
    "gradient SHAP": lambda: GradientShap(net).attribute(
        x, photo.empty, target=both, n_samples=100, stdevs=0.1
    ),
    "DeepLIFT SHAP": lambda: lift.attribute(x, photo.empty, both),
}
torch.manual_seed(0)
maps, sums = {}, {}
with torch.no_grad():
    change = (net(x) - net(photo.empty)).mean(0)[list(photo.targets.values())]
for name, run in runs.items():
    begin = time.perf_counter()
    maps[name] = [scores.detach() for scores in run()]
    took = time.perf_counter() - begin
    sums[name] = torch.stack([scores.sum() for scores in maps[name]])
    missed = ", ".join(f"{gap:+.1e}" for gap in (sums[name] - change).tolist())
    print(f"{name:21s} {took:5.2f} s, misses the change by {missed}")
overlays(maps)

# %% [markdown]
# **What one should see.** For the dahlia green petals, for the pagoda green roofs and beams.
# Methods that go by gradients also mark the dahlia a little when asked for the pagoda, in green and
# red that cancel: half-way between an empty scene and this one, the fading bloom puzzles the
# network. The noise tunnel is smoother, and gives up the sum for it. DeepLIFT SHAP takes neither
# steps nor samples: it is the cheapest, and its sum is exact to the last digit. How it comes about,
# it can say itself:

# %%
_, report = DeepLift(net).attribute(
    x, photo.empty[:1], photo.targets["dahlia"], return_report=True, strict=True
)
print("\n".join([*str(report).splitlines()[:6], "...", str(report).splitlines()[-1]]))
exact = (sums["DeepLIFT SHAP"] - change).abs().max()
assert exact < 1e-3
assert report.error.abs().max() < 1e-3
assert not report.fallbacks

# %% [markdown]
# ## Layer-wise relevance propagation
#
# LRP needs no baseline: it hands the logit down, and in every layer splits what arrives over what
# came in. *How* is a choice per layer, and the sets of choices that proved themselves on such
# networks have names:
#
# | rules | first layer | convolutions | linear layers |
# |---|---|---|---|
# | none given | LRP-0 | LRP-0 | LRP-0 |
# | `epsilon_plus_flat` | flat: in equal parts | z⁺: only what excites | ε |
# | `epsilon_gamma_box` | z-box: pixels have bounds | γ: what excites counts more | ε |
#
# The box is the range of a pixel: black and white, as the network gets them.

# %%
black, white = ((colour - toy_photos.MEAN) / toy_photos.STD for colour in (0, 1))
composites = {
    "LRP-0": (),
    "epsilon_plus_flat": lrp_rules.epsilon_plus_flat(),
    "epsilon_gamma_box": lrp_rules.epsilon_gamma_box(black, white),
}
relevance = {
    name: [scores.detach() for scores in LRP(net, rules=rules).attribute(x, both)]
    for name, rules in composites.items()
}
assert torch.allclose(
    relevance["LRP-0"][0], InputXGradient(net).attribute(x, photo.targets["dahlia"]), atol=1e-4
)
maps |= relevance
overlays(relevance, size=(11, 4.7))

# %% [markdown]
# **What one should see.** LRP-0 is the gradient times the input, grain and all. The other two are
# calm, and say at a glance where the thing is; red is what speaks against it. The flat rule shows
# its grid: one square of it is what one value of the first layer sees.
#
# Relevance is conserved but for what stays in biases. Batch norm is folded into the convolutions,
# and its shifts are theirs. The report says how much stayed where, and nothing else is missing.

# %%
scores, report = LRP(net, rules=composites["epsilon_gamma_box"]).attribute(
    x, photo.targets["dahlia"], return_report=True
)
kept = {name: share for name, share in report.absorbed.items() if abs(share) > 1e-4}
print(f"logit                 {float(logits[photo.targets['dahlia']]):+.3f}")
print(f"scores                {float(scores.sum()):+.3f}")
for name, share in kept.items():
    print(f"stayed in {name:11s} {share:+.3f}")
accounted = float(scores.sum()) + sum(report.absorbed.values())
assert abs(accounted - float(logits[photo.targets["dahlia"]])) < 1e-2
assert set(kept) <= {"linear", "conv2d"}

# %% [markdown]
# A set of rules is a list of pairs, *where* and *which*, and the first that fits counts. So one's
# own wishes go in front: here a stronger γ in the first stage. `net.layer1[0].conv1.rule = ...`
# does it for a single module.

# %%
own = [(net.layer1, lrp_rules.GammaRule(1.0, signed=True)), *composites["epsilon_gamma_box"]]
stronger = LRP(net, rules=own).attribute(x, photo.targets["dahlia"]).detach()
likeness = torch.corrcoef(torch.stack([stronger.flatten(), scores.detach().flatten()]))[0, 1]
print(f"correlation with epsilon_gamma_box: {float(likeness):.3f}")
if not toy_photos.PRETRAINED:
    assert likeness > 0.8
    assert not torch.allclose(stronger, scores, rtol=0.01)

# %% [markdown]
# ## Guided backpropagation and guided Grad-CAM
#
# Guided backpropagation lets only those gradients through a ReLU that are positive, where it was
# switched on. That gives sharp pictures of what is *there*, and less of what was asked. Grad-CAM is
# blurred but of the class, and the product of the two is sharp where the class is.

# %%
stage = net.layer3 if not toy_photos.PRETRAINED else net.layer4
cams = [
    LayerAttribution.interpolate(cam.detach(), x.shape[2:], "bilinear")
    for cam in LayerGradCam(net, stage).attribute(x, both, relu_attributions=True)
]
guided = GuidedBackprop(net).attribute(x, both)
product = GuidedGradCam(net, stage).attribute(x, both, interpolate_mode="bilinear")
sharp = {"guided backprop": [*guided], "Grad-CAM": cams, "guided Grad-CAM": [*product]}
sharp = {name: [scores.detach().abs() for scores in each] for name, each in sharp.items()}
maps |= sharp
overlays(sharp, "absolute_value", size=(11, 4.7))

# %% [markdown]
# ## Held against the truth
#
# For each method: how much of all that speaks *for* a thing lies on the thing, and how much on the
# other one? Chance is what the thing covers of the picture.


# %%
def share(scores, thing):
    for_it = scores.sum(1)[0].clamp(min=0)
    return float(for_it[photo.where[thing]].sum() / for_it.sum())


dahlia, pagoda = things
print(f"{'':22s}{'asked for the dahlia':>24s}{'asked for the pagoda':>24s}")
print(f"{'lies on':22s}" + 2 * f"{'dahlia':>12s}{'pagoda':>12s}")
table = {"chance": [torch.ones(1, 1, *x.shape[2:])] * 2, **maps}
found = {name: [share(s, t) for s in each for t in things] for name, each in table.items()}
for name, shares in found.items():
    print(f"{name:22s}" + "".join(f"{each:12.2f}" for each in shares))

figure, axis = plt.subplots(figsize=(9, 4), layout="constrained")
places = torch.arange(len(found))
axis.bar(places - 0.2, [each[0] for each in found.values()], 0.4, color=RED, label="dahlia")
axis.bar(places + 0.2, [each[3] for each in found.values()], 0.4, color=BLUE, label="pagoda")
axis.axvline(0.5, color=GREY, linewidth=0.8)
axis.set_xticks(places, found, rotation=30, ha="right")
axis.set(ylim=(0, 1), ylabel="share of positive score")
axis.set_title("What lies on the thing asked for", loc="left")
axis.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
if not toy_photos.PRETRAINED:
    # Guided backpropagation was not really asked, and Grad-CAM is blurred beyond a thing's edges.
    on_dahlia, dahlia_astray, pagoda_astray, on_pagoda = zip(
        *(found[name] for name in maps if name not in {"guided backprop", "Grad-CAM"}), strict=True
    )
    assert min(on_dahlia) > 3 * found["chance"][0]
    assert min(on_pagoda) > 1.5 * found["chance"][3]
    assert found["Grad-CAM"][0] > 2 * found["chance"][0]
    assert found["Grad-CAM"][3] > 5 * found["Grad-CAM"][2]
    for here, astray in ((on_dahlia, dahlia_astray), (on_pagoda, pagoda_astray)):
        assert sum(here) > 2 * sum(astray)
        assert all(one > other for one, other in zip(here, astray, strict=True))
    assert found["epsilon_gamma_box"][0] > found["LRP-0"][0]
    assert found["guided Grad-CAM"][0] > found["guided backprop"][0]
    assert found["epsilon_gamma_box"][0] > 0.6

# %% [markdown]
# **What one should see.** Every method finds the thing it was asked for, far above chance. The LRP
# composites and guided Grad-CAM are the most certain of where. Guided backpropagation on its own is
# the least: asked for the dahlia, it draws the pagoda too, because it is there.
#
# ## Going further: what does one channel look for?
#
# `LayerLRP` says through which channels of a stage an answer's relevance came. (Above the stage
# there is no first layer, so the rules are those without one for it.) Take for each thing, among
# the channels that do not speak for the other, the one that carries most. Since every method takes
# `of=`, LRP then explains that channel instead of an answer.

# %%
through = LayerLRP(net, stage, rules=lrp_rules.epsilon_plus()).attribute(x, both)
carried = torch.stack([scores.sum((0, 2, 3)) / scores.sum() for scores in through]).detach()
typical = torch.where(carried.flip(0) <= 0, carried, 0).argmax(1).tolist()

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for axis, thing, channel, shares in zip(axes, things, typical, carried.T[typical], strict=True):
    of_both = ", ".join(f"{part:.0%} of the {t}" for t, part in zip(things, shares, strict=True))
    print(f"channel {channel} carries {of_both}")
    unit = Neuron(stage, lambda value, c=channel: value[:, c].sum((1, 2)))
    scores = LRP(net, of=unit, rules=composites["epsilon_gamma_box"]).attribute(x).detach()
    visualization.visualize_image_attr(
        scores[0],
        photo.picture.numpy(),
        "blended_heat_map",
        "all",
        plt_fig_axis=(figure, axis),
        title=f"Channel {channel}: {share(scores, thing):.0%} on the {thing}",
        use_pyplot=False,
        alpha_overlay=0.8,
    )
    if not toy_photos.PRETRAINED:
        assert share(scores, thing) > 0.6
plt.show()
plt.close("all")
