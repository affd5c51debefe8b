# %% [markdown]
# # Regression: what makes a house expensive?
#
# A network predicts one number, and several methods explain it side by side. Where they agree we
# may believe them; where they differ, they were asked different questions.
#
# The tutorial is written for the California housing data. Fetching it needs a network, so it is
# done only on request (`CAPTUM_TUTORIAL_FETCH=1`); otherwise scikit-learn's bundled diabetes data
# take its place. The task is the same, one number from eight or ten measurements, and so is every
# call below.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import fetch_california_housing, load_diabetes
from torch import nn

from captum.attr import (
    LRP,
    DeepLift,
    FeatureAblation,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    Layer,
    LayerConductance,
    NoiseTunnel,
)
from captum.attr.lrp_rules import GammaRule

torch.manual_seed(0)
BLUE, RED, GREY = "#2b6c99", "#c0564b", "#9aa3ab"
PALETTE = [BLUE, "#7fb2d0", "#4a9b8e", "#d9a441", RED, "#6d7f5f", "#8a6fa8"]

# %% [markdown]
# ## Data and model
#
# Inputs and target are standardised: zero is the average house (or patient), and a score of 0.5
# means "half a standard deviation of the price".

# %%
if os.environ.get("CAPTUM_TUTORIAL_FETCH") == "1":
    data, subject, names = fetch_california_housing(), "California house prices", None
else:
    data, subject = load_diabetes(), "diabetes progression (bundled, in place of house prices)"
    names = ["age", "sex", "bmi", "pressure", "tc", "ldl", "hdl", "tc/hdl", "ltg", "glucose"]
names = names or list(data.feature_names)
print(f"explaining {subject}: {data.data.shape[0]} rows, {len(names)} features")

order = np.random.default_rng(0).permutation(len(data.target))
cut = int(0.75 * len(order))
train, test = order[:cut], order[cut:][:200]


def standard(values):
    scaled = (values - values[train].mean(0)) / values[train].std(0)
    return torch.tensor(scaled, dtype=torch.float32)


features, prices = standard(data.data), standard(data.target[:, None])
X_train, X_test, y_train, y_test = features[train], features[test], prices[train], prices[test]


class PriceNet(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(size, 40)
        self.lin2 = nn.Linear(40, 20)
        self.lin3 = nn.Linear(20, 10)
        self.lin4 = nn.Linear(10, 1)
        self.relu = nn.ReLU()

    def forward(self, x):
        x = self.relu(self.lin2(self.relu(self.lin1(x))))
        return self.lin4(self.relu(self.lin3(x)))


model = PriceNet(len(names))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=3e-2)
for _epoch in range(30):
    for rows in torch.randperm(len(X_train)).split(64):
        loss = nn.functional.mse_loss(model(X_train[rows]), y_train[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
with torch.no_grad():
    explained = 1 - (model(X_test) - y_test).square().mean() / y_test.var()
    change = (model(X_test) - model(torch.zeros(1, len(names))))[:, 0]
print(f"R² on the test rows {explained:.2f}")
assert explained > 0.3

# %% [markdown]
# ## Several methods, side by side
#
# The model returns one number per row, so no `target` is needed. With $x_0$ the average row:
#
# | method | score of feature $i$ | sums to |
# |---|---|---|
# | integrated gradients | $(x_i - x_{0,i}) \int \partial_i f$ along the way | $f(x) - f(x_0)$ |
# | noise tunnel | the same, averaged over noisy copies of $x$ | about that |
# | DeepLIFT | $m_i\, (x_i - x_{0,i})$ with slopes $m$ from end to end | $f(x) - f(x_0)$ |
# | gradient SHAP | integrated gradients over baselines from the training rows | $f(x) - E f(b)$ |
# | feature ablation | $f(x) - f(x \text{ without } i)$ | no promise |
# | input × gradient | $x_i\, \partial_i f(x)$ | no promise |
# | LRP | the price, handed down layer by layer | $f(x)$, but for biases |
#
# A further method is one more line in `scores`.

# %%
ig = IntegratedGradients(model)
ig_nt = NoiseTunnel(ig)
gs = GradientShap(model)
dl = DeepLift(model)
fa = FeatureAblation(model)

scores = {
    "integrated gradients": ig.attribute(X_test, n_steps=50),
    "noise tunnel": ig_nt.attribute(X_test),
    "DeepLIFT": dl.attribute(X_test),
    "gradient SHAP": gs.attribute(X_test, X_train),
    "feature ablation": fa.attribute(X_test),
    "input × gradient": InputXGradient(model).attribute(X_test),
    "LRP": LRP(model, rules=[("*", GammaRule(signed=True))]).attribute(X_test),
}
assert all(each.shape == X_test.shape for each in scores.values())

# %%
importance = {name: each.abs().mean(0).numpy() for name, each in scores.items()}
ranking = importance["integrated gradients"].argsort()[::-1]
print(f"{'mean |score|':22s}" + "".join(f"{names[i]:>15s}" for i in ranking[:4]))
for name, values in importance.items():
    print(f"{name:22s}" + "".join(f"{values[i]:15.3f}" for i in ranking[:4]))

figure, axis = plt.subplots(figsize=(10, 4), layout="constrained")
places, width = np.arange(len(names)), 0.8 / len(importance)
for k, (name, values) in enumerate(importance.items()):
    axis.bar(places + (k + 0.5) * width - 0.4, values[ranking], width, label=name, color=PALETTE[k])
axis.set_xticks(places, [names[i] for i in ranking])
axis.set(title="Seven methods on the same model", ylabel="mean |score|")
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# One should see much the same order of features in all of them, and differences of height: ablation
# and the local gradient see one end of the way from the average row, the others all of it. LRP is
# an exception of another kind: it explains the price itself, not how it differs from the average,
# and part of the price stays in biases. (By its plain rule LRP is input × gradient on this network;
# here γ counts positive contributions for more.) What can be checked exactly: integrated gradients,
# DeepLIFT, ablation.

# %%
reference = importance["integrated gradients"]
for name, values in importance.items():
    agree = np.corrcoef(values, reference)[0, 1]
    print(f"{name:22s} correlation with integrated gradients {agree:.3f}")
    assert agree > 0.8
    assert set(ranking[:2]) <= set(values.argsort()[-4:])
assert torch.allclose(scores["integrated gradients"].sum(1), change, atol=0.02)
assert torch.allclose(scores["DeepLIFT"].sum(1), change, atol=1e-5)
assert torch.allclose(LRP(model).attribute(X_test), scores["input × gradient"], atol=1e-5)
without = X_test.clone()
without[:, ranking[0]] = 0
with torch.no_grad():
    drop = (model(X_test) - model(without))[:, 0]
assert torch.allclose(scores["feature ablation"][:, ranking[0]], drop, atol=1e-5)

# %% [markdown]
# ## One layer
#
# Layer conductance at the *input* of the last layer says what each of its ten units adds to the
# price. That layer is linear, so the truth is known in closed form: $w_j\,(y_j(x) - y_j(x_0))$.

# %%
lc = LayerConductance(model, model.lin4)
lc_attr_test = lc.attribute(X_test, n_steps=100, attribute_to_layer_input=True)

with torch.no_grad():
    below = nn.Sequential(model.lin1, model.relu, model.lin2, model.relu, model.lin3, model.relu)
    units = below(X_test) - below(torch.zeros(1, len(names)))
exact = units * model.lin4.weight.detach()
print(f"largest difference from the closed form {(lc_attr_test - exact).abs().max():.1e}")
assert lc_attr_test.shape == (len(X_test), 10)
assert torch.allclose(lc_attr_test, exact, atol=0.02)

# %%
weights = model.lin4.weight[0].detach().numpy()
strength = lc_attr_test.abs().mean(0).numpy()
colours = [BLUE if each >= 0 else RED for each in weights]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
left.bar(range(10), weights, color=colours)
left.set(title="Weights of the last layer", ylabel="weight")
right.bar(range(10), strength, color=colours)
right.set(title="What the units add or take away", ylabel="mean |conductance|")
for axis in (left, right):
    axis.set(xlabel="unit", xticks=range(10))
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# Weights alone mislead: a unit's share is its weight times how far it moves, and a unit that the
# data never switch on adds nothing, whatever its weight.
#
# ## Going further
#
# **Any method, at any layer.** With `at=` every method scores a layer, also those that have no
# class of their own for it. On a linear last layer all of them must agree with the closed form.

# %%
site = Layer(model.lin4, side="input")
for method in (each(model, at=site) for each in (IntegratedGradients, DeepLift, FeatureAblation)):
    shares = method.attribute(X_test)
    print(f"{method.get_name():22s} {(shares - exact).abs().max():.1e} from the closed form")
    assert torch.allclose(shares, exact, atol=1e-4)

# %% [markdown]
# **How sure is a sampled score?** Five draws, the default of gradient SHAP, are few. `return_std`
# gives the standard error of every score, and `tol` stops when it is small enough.
#
# The same can be had without chance: integrated gradients takes a *list* of baselines and averages
# over them. The two must agree within the errors that gradient SHAP itself states.

# %%
background = X_train[:16]
house = X_test[:1]
mean, error = gs.attribute(house, background, n_samples=5, return_std=True)
many, small = gs.attribute(house, background, n_samples=4000, return_std=True)
settled = ig.attribute(house, baselines=[row[None] for row in background], n_steps=200)
print(f"{'':16s}{'5 draws':>16s}{'4000 draws':>18s}{'16 baselines':>15s}")
for i in ranking[:4]:
    row = f"{mean[0, i]:+8.3f} ± {error[0, i]:.3f}{many[0, i]:+10.3f} ± {small[0, i]:.3f}"
    print(f"{names[i]:16s}{row}{settled[0, i]:+13.3f}")
assert small.max() < error.max() / 5
assert ((many - settled).abs() < 5 * small + 1e-3).all()

# %%
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
rows = np.arange(len(names))
bars = {"capsize": 3, "fmt": "o", "markersize": 4}
axis.axvline(0, color=GREY, linewidth=0.8)
for values, errors, label, colour, shift in (
    (mean, error, "5 draws", "#7fb2d0", -0.15),
    (many, small, "4000 draws", BLUE, 0.15),
):
    middle, spread = values[0].numpy()[ranking], 2 * errors[0].numpy()[ranking]
    axis.errorbar(middle, rows + shift, xerr=spread, color=colour, label=label, **bars)
axis.plot(settled[0].numpy()[ranking], rows, "x", color=RED, label="16 baselines, exact")
axis.set_yticks(rows, [names[i] for i in ranking])
axis.invert_yaxis()
axis.set(title="One row, with error bars", xlabel="gradient SHAP ± 2 standard errors")
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
plt.close("all")
