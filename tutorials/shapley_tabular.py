# %% [markdown]
# # Tabular Shapley values with error bars, beside KernelSHAP
#
# Features of a table work together, so what one of them adds depends on which others are known
# already. The Shapley value averages over that, and is the one split of the answer that meets a few
# plain rules of fairness. It is also expensive: every set of features is asked for. Hence all the
# ways around it.
#
# | class | what it gives | model rows per example |
# |---|---|---|
# | `ShapleyValues` | the values themselves | $2^G$ for $G$ features |
# | `ShapleyValueSampling` | an estimate, **with its standard error** | $G - 1$ per order drawn |
# | `KernelShap` | an estimate by regression; exact from $2^G - 2$ samples on | one per sample |
# | `OwenValues` | the values if groups stay together | about $G^2$ for a balanced tree |
# | `ShapleyInteractions` | what two features do together | $2^G$ |
#
# None of them needs a gradient, so the model here is made of trees. We check all five where the
# answer is known, and ask which one to trust with how few rows.

# %%
from itertools import permutations

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform
from scipy.stats import norm
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor

from captum.attr import (
    KernelShap,
    OwenValues,
    ShapleyInteractions,
    ShapleyValues,
    ShapleyValueSampling,
)

BLUE, RED, GREY, GOLD = "#2b6c99", "#c0564b", "#9aa3ab", "#d9a441"


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Counted:
    """A model that counts the rows it is asked for."""

    def __init__(self, model):
        self.model, self.rows = model, 0

    def __call__(self, x):
        self.rows += len(x)
        return self.model(x)


# %% [markdown]
# ## What a Shapley value is
#
# Three planes share a runway. They need 1, 2 and 3 km of it, and it must be as long as the neediest
# of them needs: $f(x) = \max_i x_i$. Let them arrive one after the other, and let each pay for the
# stretch it adds. That depends on the order, so take the mean over all orders:
#
# $$\varphi_i = \frac{1}{G!} \sum_{\text{orders}}
#   f(\text{those before } i \text{, and } i) - f(\text{those before } i)$$
#
# Who is not there yet is at the **baseline**: here zero, no plane. The values sum to
# $f(x) - f(x_0)$, the whole runway.


# %%
def runway(x):
    return x.amax(1)


planes = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
orders = list(permutations(range(3)))
paid = torch.zeros(len(orders), 3, dtype=torch.float64)
for row, order in enumerate(orders):
    built = 0.0
    for plane in order:
        paid[row, plane] = max(built, planes[plane]) - built
        built += paid[row, plane]

values = ShapleyValues(runway).attribute(planes[None])[0]
assert torch.allclose(values, paid.mean(0))

figure, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
bars = [([p + 1 for p in order], [paid[row, p] for p in order]) for row, order in enumerate(orders)]
bars.append(([1, 2, 3], values.tolist()))
for row, (who, how_much) in enumerate(bars):
    for plane, length, left in zip(who, how_much, np.cumsum([0, *how_much[:-1]]), strict=True):
        colour = (BLUE, GOLD, RED)[plane - 1]
        axis.barh(row + 0.3 * (row == 6), length, left=left, color=colour, edgecolor="white")
for plane, colour in enumerate((BLUE, GOLD, RED)):
    axis.barh(0, 0, color=colour, label=f"plane that needs {plane + 1} km")
axis.set_yticks([0, 1, 2, 3, 4, 5, 6.3], [*(" → ".join(map(str, b[0])) for b in bars[:6]), "mean"])
axis.invert_yaxis()
axis.set(title="Who pays for which stretch, order by order", xlabel="km of runway")
axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# **What one should see.** Whoever comes first pays dearly. In the mean the planes share the first
# kilometre by three, the second by two, and the third is the large one's own. That is the closed
# form for any number of planes, and a known answer for everything below.


# %%
def fair(lengths):
    """Each stretch is shared by those who need it."""
    ordered, which = lengths.sort()
    stretches = ordered.diff(prepend=ordered.new_zeros(1))
    sharing = torch.arange(len(lengths), 0, -1)
    return torch.empty_like(lengths).index_copy_(0, which, (stretches / sharing).cumsum(0))


assert torch.allclose(values, fair(planes))
crowd = 10 * torch.rand(12, generator=seeded(0), dtype=torch.float64)
counted = Counted(runway)
assert torch.allclose(ShapleyValues(counted).attribute(crowd[None])[0], fair(crowd))
print(f"12 planes: exact from {counted.rows} rows")
assert counted.rows == 2**12

# %% [markdown]
# ## Ten features: exact is cheap
#
# Ten measurements of a patient predict how far a diabetes has progressed a year later, on a scale
# from 25 to 346. Boosted trees learn it, and any function from tensor to tensor will do as a model.
# Ten features have 1,024 coalitions: there is no reason to estimate anything.

# %%
names = ["age", "sex", "bmi", "pressure", "tc", "ldl", "hdl", "tc/hdl", "ltg", "glucose"]
data = load_diabetes(scaled=False)
shuffled = np.random.default_rng(0).permutation(len(data.target))
train, test = shuffled[:342], shuffled[342:]


def boosted(depth, count, rate):
    trees = GradientBoostingRegressor(
        max_depth=depth, n_estimators=count, learning_rate=rate, subsample=0.5, random_state=0
    )
    return trees.fit(data.data[train], data.target[train])


trees = boosted(depth=3, count=100, rate=0.05)


def model(x):
    return torch.from_numpy(trees.predict(x.numpy()))


x_train, x_test = torch.from_numpy(data.data[train]), torch.from_numpy(data.data[test])
skill = trees.score(data.data[test], data.target[test])
print(f"R² on the test rows {skill:.2f}")
assert skill > 0.25

average = x_train.mean(0, keepdim=True)
exact = ShapleyValues(model).attribute(x_test, average)
assert torch.allclose(exact.sum(1), model(x_test) - model(average))

# %% [markdown]
# A **waterfall** is the natural picture: it starts at the average patient, and each measurement
# moves the prediction to where it ends.

# %%
who = int((model(x_test) - model(average)).argmax())
steps = exact[who].numpy()
ranking = np.abs(steps).argsort()[::-1]
start, end = model(average).item(), model(x_test[who : who + 1]).item()
lefts = start + np.cumsum([0, *steps[ranking][:-1]])

figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
colours = [RED if each > 0 else BLUE for each in steps[ranking]]
axis.barh(range(10), steps[ranking], left=lefts, color=colours)
for row, (left, step) in enumerate(zip(lefts, steps[ranking], strict=True)):
    axis.text(max(left, left + step) + 1, row, f"{step:+.1f}", va="center", fontsize=9)
for place, label in ((start, "average patient"), (end, "this patient")):
    axis.axvline(place, color=GREY, linewidth=0.8)
    axis.text(place, -0.7, f"{label}: {place:.0f}", ha="center", va="bottom", color="#555b60")
axis.set_yticks(range(10), [f"{names[i]} = {x_test[who, i]:.4g}" for i in ranking])
axis.invert_yaxis()
axis.set(xlabel="predicted progression", xlim=(start - 10, max(end, lefts.max()) + 25))
axis.spines[["top", "right"]].set_visible(False)
plt.show()
assert np.isclose(start + steps.sum(), end)

# %% [markdown]
# ## Sampling, and how far it can be trusted
#
# With thirty features there would be a thousand million coalitions. `ShapleyValueSampling` draws
# some orders instead of all. They come in pairs, one the reverse of the other: whom a feature does
# not meet in the one it meets in the other. So where features work together in twos only, errors
# cancel, and a single pair of orders is exact for any number of features.

# %%
weights = torch.randn(30, 30, generator=seeded(0), dtype=torch.float64).triu(1)
thirty = torch.randn(1, 30, generator=seeded(1), dtype=torch.float64)
scores = ShapleyValueSampling(lambda x: ((x @ weights) * x).sum(1)).attribute(thirty, n_samples=2)
assert torch.allclose(scores, thirty * (thirty @ (weights + weights.T)) / 2)

# %% [markdown]
# Three and more together leave an error. But where there is a mean there is a **standard error** of
# it, and `return_std=True` hands it out.
#
# An error bar is a promise: about 95 % of the true values lie within two of them. Here we know the
# true values, so we can hold it to that. We let twenty patients be explained 120 times, by other
# orders each time, and take every error in units of the error bar that came with it. (Where a
# measurement acts alone all orders agree, and there is nothing to be wrong about. Those do not
# count.)

# %%
patients, truth = x_test[:20], exact[:20]
runs = [
    ShapleyValueSampling(model).attribute(
        patients, average, n_samples=40, return_std=True, generator=seeded(seed)
    )
    for seed in range(120)
]
errors = torch.stack([mean - truth for mean, _ in runs])
promised = torch.stack([error for _, error in runs])
alone = ((errors.abs() < 1e-6) & (promised < 1e-6)).all(0)
errors, promised = errors[:, ~alone], promised[:, ~alone]
within = {k: (errors.abs() <= k * promised).double().mean().item() for k in (1, 2, 3)}
print(f"{errors.numel():,} values with error bars, of 40 orders each")
for k, share in within.items():
    print(f"within {k} standard errors: {share:.1%} (normal: {norm.cdf(k) - norm.cdf(-k):.1%})")
assert 0.60 < within[1] < 0.76
assert 0.90 < within[2] < 0.98

crowd = crowd.sort().values
mean, error = ShapleyValueSampling(runway).attribute(
    crowd[None], n_samples=40, return_std=True, generator=seeded(0)
)

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.errorbar(crowd, mean[0], 2 * error[0], fmt="o", color=BLUE, capsize=3, label="40 orders")
left.plot(crowd, fair(crowd), "x-", color=RED, linewidth=0.8, label="closed form")
left.set(title="Twelve planes", xlabel="km the plane needs", ylabel="share ± 2 standard errors")
left.legend(frameon=False, loc="upper left")
grid = np.linspace(-4, 4, 81)
deviations = (errors / promised)[promised > 1e-6]
right.hist(deviations, bins=grid[::5], density=True, color="#b9d3e2", edgecolor="white")
right.plot(grid, norm.pdf(grid), color=RED, label="normal distribution")
right.axvspan(-2, 2, color=GOLD, alpha=0.12, label=f"within two: {within[2]:.1%}")
right.set(
    title="Twenty patients, 120 runs", xlabel="(estimate - exact) / standard error", yticks=[]
)
right.set(ylim=(0, 0.55))
right.legend(frameon=False, loc="upper left")
for axis in (left, right):
    axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# **What one should see.** On the left most bars reach the red line. On the right the errors follow
# the bell curve, with a little more in the tails: an error bar from twenty pairs is an
# estimate itself, and of what happens once in a hundred orders twenty pairs may know nothing.
#
# ### Let it stop by itself
#
# How many orders are enough? Rather say how exact it must be. With `tol=` the run ends once every
# standard error is below `tol` times the largest score, and `n_samples` is but the most it may
# take. We give it thirty planes, more than `ShapleyValues` accepts, but with a known answer.

# %%
fleet = torch.arange(1.0, 31.0, dtype=torch.float64)
known = fair(fleet)
used = []
for tol in (0.1, 0.05, 0.025):
    counted = Counted(runway)
    mean, error = ShapleyValueSampling(counted).attribute(
        fleet[None], n_samples=100_000, tol=tol, return_std=True, generator=seeded(0)
    )
    used.append(counted.rows)
    largest = mean.max()
    print(
        f"tol {tol:5.3f}: {counted.rows:6,} rows, largest standard error "
        f"{error.max() / largest:.3f}, largest error {(mean - known).abs().max() / largest:.3f}"
    )
    assert error.max() <= tol * largest
    assert ((mean - known).abs() < 5 * error + 1e-9).all()
assert used[2] > 4 * used[0]

# %% [markdown]
# Half the error costs four times the rows, as ever with means of random numbers.
#
# ## Kernel SHAP beside it
#
# `KernelShap` gets at the same values from another side. It asks for coalitions of all sizes and
# fits a *sum* of one number per feature to them, weighted so that with all coalitions the fit is
# the Shapley value. What is better, for the same number of model rows? Ten seeds on each of two
# models: the trees, and the runway for thirty planes. We count what is really asked for: coalitions
# that come up twice run once.


# %%
def study(model, x, baselines, truth, counts, seeds=10):
    """Rows per example and root mean square error, of every seed: (counts, seeds)."""
    found = {}
    for name, method in (("sampling", ShapleyValueSampling), ("Kernel SHAP", KernelShap)):
        runs = []
        for orders in counts:
            samples = orders if name == "sampling" else orders * (x.shape[1] - 1)
            for seed in range(seeds):
                counted = Counted(model)
                scores = method(counted).attribute(
                    x, baselines, n_samples=samples, generator=seeded(seed)
                )
                error = (scores - truth).square().mean().sqrt().item()
                runs.append((counted.rows / len(x), error))
        found[name] = np.array(runs).reshape(len(counts), seeds, 2).transpose(2, 0, 1)
    return found


studies = {
    "the trees, 10 features": study(model, patients, average, truth, (2, 4, 6, 8, 16, 32, 64, 112)),
    "the runway, 30 planes": study(runway, fleet[None], None, known, (2, 4, 6, 8, 16, 32, 64, 128)),
}

figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
for axis, (title, found) in zip(axes, studies.items(), strict=True):
    for (name, (rows, errors)), colour in zip(found.items(), (BLUE, RED), strict=True):
        axis.plot(rows, errors, ".", color=colour, alpha=0.35, markersize=5)
        middle = np.sqrt(np.square(errors).mean(1))
        axis.plot(rows.mean(1), middle, color=colour, linewidth=2, label=name)
    rows, errors = found["sampling"]
    guide = np.array([rows[0].mean(), rows[-1].mean()])
    axis.plot(
        guide,
        1.8 * np.sqrt(np.square(errors[0]).mean() * guide[0] / guide),
        ":",
        color="#555b60",
        label=r"slope of 1 / $\sqrt{\mathrm{rows}}$",
    )
    axis.set(xscale="log", yscale="log", title=title, xlabel="model rows per example")
    axis.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("root mean square error")
axes[0].legend(frameon=False)
plt.show()


# %%
def typical(found, name):
    return np.sqrt(np.square(found[name][1]).mean(1))


on_trees, on_runway = studies.values()
rows = on_runway["sampling"][0].mean(1)
slope = np.polyfit(np.log(rows), np.log(typical(on_runway, "sampling")), 1)[0]
print(f"error of sampling falls as rows to the power {slope:.2f}")
assert -0.65 < slope < -0.4
# Where features mostly add up, a sum fits: Kernel SHAP is ahead from about ten rows per feature on.
assert (typical(on_trees, "Kernel SHAP") < 0.85 * typical(on_trees, "sampling"))[4:].all()
# Where only the largest counts, it is behind for a long time.
assert (typical(on_runway, "Kernel SHAP") > 1.15 * typical(on_runway, "sampling"))[3:6].all()
# And with barely as many rows as unknowns a fit is a guess.
for found in studies.values():
    assert typical(found, "Kernel SHAP")[0] > 1.5 * typical(found, "sampling")[0]
# With all the coalitions, both are exact.
for method in (KernelShap(model), ShapleyValueSampling(model)):
    assert torch.allclose(method.attribute(patients, average, n_samples=2**10 - 2), truth)

# %% [markdown]
# **What one should see.** No winner. The trees are nearly a sum of what single measurements do, so
# a sum fits well and Kernel SHAP is ahead, more so the more rows it gets: it asks for no coalition
# twice, and runs out of them. The runway is far from a sum. There, plain sampling is ahead for any
# budget one would want to pay.
#
# Two things speak for sampling in any case: it says how large its error is, and it is of use from
# the first rows on. See the left ends of the red lines: two rows per feature, a pair of coalitions
# for each unknown, determine the fit only just. (Bends of the model would then be blown up to any
# size; `KernelShap` steadies the fit there, but a guess it remains.) **Give Kernel SHAP ten rows
# per feature or more.**
#
# ## Compared with whom?
#
# So far absent measurements were those of the average patient. Who is that? Someone of sex 1.47,
# where 1 and 2 are all there is. The trees ask "sex below 1.5?", so to them the average patient is
# simply of sex 1, and nobody of sex 1 can be told that it matters.
#
# A **background** of real patients is another choice: every coalition runs once with each of them,
# and the mean is taken. With `KernelShap` this is what is known as marginal SHAP. Give it as a list
# of rows, which is always averaged over.

# %%
background = x_train[:20]
against_many = KernelShap(model).attribute(patients, list(background), n_samples=2**10)
assert torch.allclose(against_many.sum(1), model(patients) - model(background).mean())

SEX = names.index("sex")
first = patients[:, SEX] == 1
print(
    f"largest |score| of sex 1, against the average {truth[first, SEX].abs().max():.1e}, "
    f"against a background {against_many[first, SEX].abs().max():.1f}"
)
assert truth[first, SEX].abs().max() < 1e-9
assert against_many[first, SEX].abs().max() > 0.5

# %% [markdown]
# That the mean over a background is taken correctly can be seen where the answer is known. For a
# product of two features it is
# $\varphi_1 = \tfrac12 \, E_b[(x_1 - b_1)(x_2 + b_2)]$, and a plain weight gives
# $w\,(x - E[b])$.


# %%
def product(x):
    return 3 * x[:, 0] + x[:, 1] * x[:, 2]


point = torch.tensor([[2.0, 1.0, -1.0]], dtype=torch.float64)
others = torch.randn(50, 3, generator=seeded(0), dtype=torch.float64)
gap, middle = point - others, point + others
expected = torch.stack([3 * gap[:, 0], gap[:, 1] * middle[:, 2] / 2, gap[:, 2] * middle[:, 1] / 2])
for method in (KernelShap(product), ShapleyValues(product), ShapleyValueSampling(product)):
    assert torch.allclose(method.attribute(point, list(others))[0], expected.mean(1))

# %% [markdown]
# ## Features that go together
#
# Measure the same thing twice, and it counts twice. Of three numbers that are all 1, let the first
# two be copies of each other and the answer their maximum: the copies together get two thirds of
# it. **Owen values** keep the copies together: groups share first, then the members of each group.

# %%
ones = torch.ones(1, 3, dtype=torch.float64)
apart = ShapleyValues(runway).attribute(ones)[0]
joined = OwenValues(runway).attribute(ones, hierarchy=[[0, 1], 2])[0]
print("apart ", ", ".join(f"{each:.2f}" for each in apart))
print("joined", ", ".join(f"{each:.2f}" for each in joined))
assert torch.allclose(apart, torch.tensor([1, 1, 1], dtype=torch.float64) / 3)
assert torch.allclose(joined, torch.tensor([1, 1, 2], dtype=torch.float64) / 4)

# %% [markdown]
# In the patients' table six columns are from one blood sample, and one of them is computed from two
# others. Which belong together? Let correlations tell: `linkage` of SciPy joins the closest two
# columns, then the next, and its matrix goes in as the hierarchy as it is. Then in no order does
# anything come between total cholesterol and LDL. The tree is lopsided, so it costs more than $G^2$
# rows, but less than all coalitions.

# %%
distances = 1 - np.abs(np.corrcoef(data.data[train].T))
tree = linkage(squareform(distances, checks=False), "average")
counted = Counted(model)
owen = OwenValues(counted).attribute(patients, tree, average)
print(f"Owen values: {counted.rows / len(patients):.0f} rows per patient instead of 1024")
assert counted.rows < 512 * len(patients)
assert torch.allclose(owen.sum(1), truth.sum(1))

# %% [markdown]
# In a plain sum nobody depends on who else is there, and groups change nothing. The trees are
# nearly a sum. So we ask for something that is not: the **alarm**, 1 if the prediction is above 180
# and 0 if not. Any function of the model can be explained.


# %%
def alarm(x):
    return (model(x) > 180).double()


alarmed = x_test[alarm(x_test) > 0]
of_alarm = {
    "Shapley": ShapleyValues(alarm).attribute(alarmed, average),
    "Owen": OwenValues(alarm).attribute(alarmed, tree, average),
}


def moved(joined, apart):
    return ((joined - apart).abs().mean() / apart.abs().mean()).item()


moves = {"prediction": moved(owen, truth), "alarm": moved(of_alarm["Owen"], of_alarm["Shapley"])}
print("groups move the scores of", ", ".join(f"the {k} by {v:.0%}" for k, v in moves.items()))
assert moves["alarm"] > 0.15
assert moves["alarm"] > 3 * moves["prediction"]

case = (of_alarm["Owen"] - of_alarm["Shapley"]).abs().sum(1).argmax()
figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4.2), layout="constrained", width_ratios=(2, 3)
)
drawn = dendrogram(
    tree,
    orientation="left",
    labels=names,
    leaf_font_size=10,
    link_color_func=lambda _: BLUE,
    ax=left,
)
left.set(title="Who belongs to whom", xlabel="1 - |correlation|")
leaves = drawn["leaves"]
height = 10 * np.arange(10) + 5
for (label, scores), shift, colour in zip(of_alarm.items(), (1.8, -1.8), (GREY, BLUE), strict=True):
    right.barh(height + shift, scores[case][leaves], height=3.4, color=colour, label=label)
right.axvline(0, color=GREY, linewidth=0.8)
right.set(title="One alarm", xlabel="score", ylim=left.get_ylim(), yticks=[])
right.legend(frameon=False)
for axis in (left, right):
    axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# **What one should see.** The prediction's scores hardly move, the alarm's do, and relatives trade
# with each other. Neither is wrong: Shapley values ask what a *column* does, Owen values what a
# column does as a member of its family.
#
# What is exact is the theorem behind it. With one level of groups, the members of a group sum to
# what the group would get as a single feature, which a `feature_mask` makes of it.

# %%
groups = [[0], [1], [2], [3], [4, 5], [6, 7, 8], [9]]
number = torch.tensor([next(g for g, each in enumerate(groups) if i in each) for i in range(10)])
as_one = ShapleyValues(alarm).attribute(alarmed, average, feature_mask=number)
shared = OwenValues(alarm).attribute(alarmed, groups, average)
for members in groups:
    assert torch.allclose(shared[:, members].sum(1), as_one[:, members[0]])

# %% [markdown]
# ## What two features do together
#
# A Shapley value folds everything that a feature does with others into one number.
# `ShapleyInteractions` unfolds it to a matrix: off the diagonal what a pair does beyond the two
# alone, half on either side; on the diagonal the rest. Each row sums to the Shapley value.
#
# First where we know what should come out. In $2 x_0 + x_1 x_2 + x_3 x_4 x_5$ a pair has its
# product, so a half on either side; of three, each pair has a half, so a quarter on either side.


# %%
def recipe(x):
    return 2 * x[:, 0] + x[:, 1] * x[:, 2] + x[:, 3] * x[:, 4] * x[:, 5]


sixes = torch.ones(1, 6, dtype=torch.float64)
matrix = ShapleyInteractions(recipe).attribute(sixes)[0]
expected = torch.zeros(6, 6, dtype=torch.float64)
expected[0, 0] = 2
expected[1, 2] = expected[2, 1] = 1 / 2
for i in (3, 4, 5):
    for j in (3, 4, 5):
        expected[i, j] = 1 / 4 if i != j else 1 / 3 - 2 / 4
assert torch.allclose(matrix, expected)

# %% [markdown]
# Then the patients, and a second model as a control: trees of a single question each. A sum of such
# trees is a sum of functions of one measurement. It cannot have any interaction, whatever it
# learnt.

# %%
stumps = boosted(depth=1, count=200, rate=0.1)


def additive(x):
    return torch.from_numpy(stumps.predict(x.numpy()))


pairs = {}
for title, each in (("trees of depth 3", model), ("trees of depth 1", additive)):
    matrices = ShapleyInteractions(each).attribute(patients, average)
    assert torch.allclose(matrices.sum(2), ShapleyValues(each).attribute(patients, average))
    strength = matrices.abs().mean(0)
    pairs[title] = strength - strength.diag().diag()
deep, flat = pairs.values()

figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
for axis, (title, shown, labels, colours, limits) in zip(
    axes,
    (
        ("the recipe, all ones", matrix, [f"$x_{i}$" for i in range(6)], "RdBu_r", (-2, 2)),
        *((t, s, names, "Blues", (0, deep.max())) for t, s in pairs.items()),
    ),
    strict=True,
):
    image = axis.imshow(shown, cmap=colours, vmin=limits[0], vmax=limits[1])
    axis.set(title=title)
    axis.set_xticks(range(len(labels)), labels, rotation=90 if len(labels) > 6 else 0)
    axis.set_yticks(range(len(labels)), labels)
for (row, column), score in np.ndenumerate(matrix):
    if abs(score) > 1e-9:
        colour = "white" if score > 1 else "black"
        axes[0].text(column, row, f"{score:.2f}", ha="center", va="center", color=colour)
figure.colorbar(image, ax=axes[2], label="mean |interaction|", shrink=0.8)
plt.show()

row, column = divmod(int(deep.argmax()), 10)
print(f"strongest pair: {names[row]} and {names[column]}, {deep.max():.1f} on average")
assert deep.max() > 1
assert flat.max() < 1e-9

# %% [markdown]
# **What one should see.** In the middle the two strongest measurements work together; on the right
# nothing at all.
#
# ## What to take home
#
# | if | then |
# |---|---|
# | up to about 15 features, or groups | `ShapleyValues`: exact, nothing to argue about |
# | more, and the model is close to a sum | `KernelShap`, with ten rows per feature or more |
# | more, and you do not know | `ShapleyValueSampling(..., tol=0.05, return_std=True)` |
# | features are copies of one another | `OwenValues`, by what you know or by a linkage |
# | a score surprises | `ShapleyInteractions`: with whom? |
#
# And none of the error bars covers the largest uncertainty of all: what a feature is replaced by
# when it is absent. `choice_of_baseline.py` is about that.

# %%
plt.close("all")
