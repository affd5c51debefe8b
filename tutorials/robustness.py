# %% [markdown]
# # How little breaks it, and can the explanation be trusted?
#
# A classifier of pictures answers rightly, and a picture that looks just the same makes it answer
# wrongly. We measure how little that takes, look at what explanations say before and after, attack
# an explanation itself, and ask which explanation of this model is worth believing.

# %%
from collections import namedtuple

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from captum import metrics
from captum.attr import FeatureAblation, GuidedBackprop, IntegratedGradients, Saliency
from captum.attr import visualization as viz
from captum.robust import (
    APGD,
    FGSM,
    PGD,
    AttackComparator,
    DeepFool,
    ExplanationAttack,
    MinParamPerturbation,
    Square,
    robustness_curve,
)

torch.manual_seed(0)

# %% [markdown]
# ## A classifier
#
# scikit-learn's digits, twice as large, with values from -1 to 1, and a small convolutional net. It
# is trained once plainly, and once on pictures that an attack has already worked on.

# %%
digits = load_digits()
pictures = torch.tensor(digits.images).float()[:, None] / 8 - 1
pictures = F.interpolate(pictures, scale_factor=2, mode="bilinear")
labels = torch.tensor(digits.target)
train, test = slice(0, 1400), slice(1400, 1600)
x, y = pictures[test], labels[test]


def net():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def trained(hardened):
    torch.manual_seed(0)
    model = net()
    attack = FGSM(model, nn.CrossEntropyLoss(), lower_bound=-1, upper_bound=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(8):
        for rows in torch.randperm(1400).split(50):
            batch = pictures[train][rows]
            if hardened:
                batch = attack.perturb(batch, epsilon=0.2, target=labels[train][rows])
            optimizer.zero_grad()
            F.cross_entropy(model(batch), labels[train][rows]).backward()
            optimizer.step()
    return model.eval()


plain, hard = trained(hardened=False), trained(hardened=True)
for name, model in (("plain", plain), ("hardened", hard)):
    with torch.no_grad():
        print(f"{name}: {(model(x).argmax(1) == y).float().mean():.0%} of new digits are right")

# %% [markdown]
# ## Attacks
#
# FGSM takes one step up the loss; PGD several, never far from the picture. Here PGD is `targeted`:
# each digit is to become an eight.

# %%
fgsm = FGSM(plain, nn.CrossEntropyLoss(), lower_bound=-1, upper_bound=1)
one_step = fgsm.perturb(x, epsilon=0.16, target=y)
pgd = PGD(plain, nn.CrossEntropyLoss(reduction="none"), lower_bound=-1, upper_bound=1)
eights = pgd.perturb(
    inputs=x, radius=0.3, step_size=0.05, step_num=20, target=torch.tensor([8]), targeted=True
)
assert (one_step - x).abs().max() <= 0.16 + 1e-6
assert (eights - x).abs().max() <= 0.3 + 1e-6
with torch.no_grad():
    fooled = (plain(one_step).argmax(1) != y).float().mean()
    became = (plain(eights).argmax(1) == 8).float().mean()
print(f"one step of 0.16 fools it on {fooled:.0%}; {became:.0%} have become eights")
assert became > 0.8

rows = [0, 1, 2, 3]
figure, axes = plt.subplots(2, 4, figsize=(6, 3.2))
for column, i in enumerate(rows):
    for row, batch in enumerate((x, eights)):
        with torch.no_grad():
            says = int(plain(batch[i : i + 1]).argmax(1))
        axes[row, column].imshow(batch[i, 0], cmap="gray", vmin=-1, vmax=1)
        axes[row, column].set_title(f"called {says}", fontsize=9)
        axes[row, column].set_axis_off()
plt.show()

# %% [markdown]
# ## At every radius
#
# `robustness_curve` runs an attack at many radii together and tells how many answers survive each.
# APGD chooses its own steps; Square asks for no gradient at all, so gradients that are hidden
# rather than harmless cannot mislead it.

# %%
radii = [0.02, 0.05, 0.1, 0.15, 0.2, 0.3]
axis = None
for name, model in (("plain", plain), ("hardened", hard)):
    attack = APGD(model, lower_bound=-1, upper_bound=1)
    curve = robustness_curve(attack, x[:80], y[:80], radii, step_num=15)
    axis = curve.plot(axis, label=f"{name}, APGD")
    survive = curve.accuracy
    if name == "plain":
        weak = survive
square = Square(plain, lower_bound=-1, upper_bound=1)
guessed = robustness_curve(square, x[:80], y[:80], radii, query_num=60)
guessed.plot(axis, label="plain, Square")
plt.show()
print("right answers at 0.2:", f"plain {weak[4]:.0%}, hardened {survive[4]:.0%}")
assert survive[4] > weak[4] + 0.15
assert (guessed.accuracy >= weak - 0.05).all()

# %% [markdown]
# ## How little is enough?
#
# DeepFool goes the shortest way over the nearest border. `MinParamPerturbation` searches the least
# value of any parameter of any change: here how many columns of a picture must go, and how much it
# has to be blurred.

# %%
fooling = DeepFool(plain, lower_bound=-1, upper_bound=1).perturb(x[:80], target=y[:80])
far = {name: (DeepFool(model).perturb(x[:80], target=y[:80]) - x[:80]).flatten(1).norm(dim=1)
       for name, model in (("plain", plain), ("hardened", hard))}  # fmt: skip
print("way to the border:", {name: round(float(way.median()), 2) for name, way in far.items()})
assert far["hardened"].median() > far["plain"].median()


def without_columns(picture, columns):
    gone = picture.clone()
    gone[..., :columns] = -1
    return gone


search = MinParamPerturbation(
    plain, without_columns, arg_name="columns", arg_min=0, arg_max=16, arg_step=1, mode="linear"
)
changed, columns = search.evaluate(x[:1], target=int(y[0]), perturbations_per_eval=10)
_, each = search.evaluate_each(x[:80], target=y[:80])
print(f"the first digit is lost with {columns} columns; half of them with {each.nanmedian():.0f}")
assert columns is not None
assert float(each[0]) == columns

# %% [markdown]
# ## Several changes beside one another
#
# `AttackComparator` runs changes of any kind, the random ones several times, and keeps the best,
# the worst and the mean of any metric.

# %%
Answers = namedtuple("Answers", "accuracy certainty")


def answers(output, target):
    chances = output.softmax(1)
    return Answers((output.argmax(1) == target).float(), chances.gather(1, target[:, None])[:, 0])


def shifted(picture):
    return torch.roll(picture, int(torch.randint(-2, 3, ())), dims=-1)


compare = AttackComparator(forward_func=plain, metric=answers)
compare.add_attack(shifted, "shift", num_attempts=8)
compare.add_attack(lambda picture: F.avg_pool2d(picture, 3, 1, 1), "blur")
compare.add_attack(
    fgsm, "FGSM", attack_kwargs={"epsilon": 0.16}, additional_attack_arg_names=["target"]
)
for part in range(0, 200, 50):
    compare.evaluate(x[part : part + 50], target=y[part : part + 50], perturbations_per_eval=4)
for name, found in compare.summary().items():
    print(f"{name:20} accuracy {float(found['mean'].accuracy):.2f}")
summary = compare.summary()
assert summary["FGSM"]["mean"].accuracy <= summary["Original"]["mean"].accuracy
worst, best = (summary[f"shift {word} Attempt"]["mean"].accuracy for word in ("Min", "Max"))
assert worst <= best

# %% [markdown]
# ## Explanations, before and after
#
# Sixteen blocks of a digit are taken away in turn: which of them are for the answer that it gets?
# What looks the same to us is read by other strokes than before.

# %%
blocks = (torch.arange(16)[:, None] // 4 * 4 + torch.arange(16) // 4)[None, None]
method = FeatureAblation(plain)
chosen = int(((plain(eights).argmax(1) == 8) & (y != 8)).nonzero()[1])
before = method.attribute(x[chosen][None], -1, target=int(y[chosen]), feature_mask=blocks)
after = method.attribute(eights[chosen][None], -1, target=8, feature_mask=blocks)
figure, axes = plt.subplots(1, 2, figsize=(5, 2.6))
for axis, scores, batch in ((axes[0], before, x), (axes[1], after, eights)):
    viz.visualize_image_attr(
        scores[0].permute(1, 2, 0).numpy(),
        batch[chosen].permute(1, 2, 0).numpy() / 2 + 0.5,
        method="blended_heat_map",
        sign="all",
        plt_fig_axis=(figure, axis),
        use_pyplot=False,
    )
plt.show()
alike = float(F.cosine_similarity(before.flatten(), after.flatten(), dim=0))
print(f"the maps for {int(y[chosen])} and for 8 are alike to {alike:.2f}")
assert alike < 0.9

# %% [markdown]
# ## An attack on the explanation
#
# Explanations break more easily than answers. `ExplanationAttack` looks for the picture with the
# most different scores whose answer, and even its certainty, stay.

# %%
few, own = x[:20], plain(x[:20]).argmax(1)
for explain in (Saliency(plain), IntegratedGradients(plain)):
    attack = ExplanationAttack(explain, lower_bound=-1, upper_bound=1)
    moved = attack.perturb(few, radius=0.15, target=own, tolerance=1.0)
    maps = [explain.attribute(batch, target=own).flatten(1) for batch in (few, moved)]
    alike = F.cosine_similarity(*maps)
    print(f"{explain.get_name():22} still alike to {float(alike.mean()):.2f}")
    assert torch.equal(plain(moved).argmax(1), own)
    assert alike.mean() < 0.96

# %% [markdown]
# ## Which explanation to believe
#
# Every metric knows its range and which way is better (`captum.metrics.METRICS`). Chance is the
# yardstick: what does not beat random scores explains nothing.

# %%
contenders = {
    "chance": torch.randn_like(few),
    "saliency": Saliency(plain).attribute(few, target=own),
    "guided": GuidedBackprop(plain).attribute(few, target=own),
    "integrated gradients": IntegratedGradients(plain).attribute(few, -1, target=own),
    "ablation": FeatureAblation(plain).attribute(few, -1, target=own),
}
asked = {"baselines": -1, "target": own}
names = ("deletion", "insertion", "faithfulness_correlation", "sparseness")
print(f"{'':22}" + "".join(f"{name:>26}" for name in names))
table = {}
for contender, scores in contenders.items():
    for name in names:
        measure = metrics.METRICS[name]
        given = (scores,) if measure.asks == "shape" else (plain, few, scores)
        options = {} if measure.asks == "shape" else asked
        table[contender, name] = float(measure.function(*given, **options).mean())
    print(f"{contender:22}" + "".join(f"{table[contender, name]:26.2f}" for name in names))
for name in names[:3]:
    good, bad = table["integrated gradients", name], table["chance", name]
    assert (good > bad) == (metrics.METRICS[name].better == "higher")

figure, axis = plt.subplots(figsize=(5, 3.5))
for contender, scores in contenders.items():
    metrics.deletion(plain, few, scores, return_curve=True, **asked).plot(axis, label=contender)
axis.set_title("the answer, as pixels go")
plt.show()

# %% [markdown]
# ## Does the explanation look at the model at all?
#
# Layers are randomised from the output on. An explanation of what was learnt has to change.

# %%
generator = torch.Generator().manual_seed(0)
for explain in (IntegratedGradients(plain), GuidedBackprop(plain)):
    found = metrics.parameter_randomisation(
        explain.attribute, plain, few, target=own, generator=generator
    )
    steps = ", ".join(f"{float(value):.2f}" for value in found.similarity.mean(1))
    print(f"{explain.get_name():22} similarity after each layer: {steps}")
    assert found.similarity[-1].mean() < 0.7
