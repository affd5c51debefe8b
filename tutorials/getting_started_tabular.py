# %% [markdown]
# # Getting started: why does this model call a tumour malignant?
#
# A small network reads twelve measurements of a breast tumour and answers *benign* or
# *malignant*. We ask it three questions, from the outside to the inside:
#
# | question | method | scores |
# |---|---|---|
# | Which measurements made the answer? | `IntegratedGradients` | one per input |
# | Which hidden units carried it? | `LayerConductance` | one per unit |
# | What does one unit listen to? | `NeuronConductance` | one per input, for that unit |
#
# All scores are in the unit of the output, here a probability, so they can be added and checked.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

from captum.attr import (
    GradientShap,
    IntegratedGradients,
    LayerConductance,
    Neuron,
    NeuronConductance,
    Targets,
)

torch.manual_seed(0)
BLUE, RED, GREY = "#2b6c99", "#c0564b", "#9aa3ab"

# %% [markdown]
# ## Data and model
#
# The first twelve columns of scikit-learn's breast-cancer data, standardised with the training
# rows: 0 is the average tumour, 1 one standard deviation above it. That makes zeros a meaningful
# baseline below: "compared with the average tumour".

# %%
data = load_breast_cancer()
names = [str(name).removeprefix("mean ") for name in data.feature_names[:12]]
order = np.random.default_rng(0).permutation(len(data.target))
train, test = order[:400], order[400:]
columns = data.data[:, :12]
columns = (columns - columns[train].mean(0)) / columns[train].std(0)
x_train, x_test = (torch.tensor(columns[rows], dtype=torch.float32) for rows in (train, test))
y_train, y_test = (torch.tensor(1 - data.target[rows]) for rows in (train, test))  # 1: malignant


class TumourNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear1 = nn.Linear(12, 12)
        self.sigmoid1 = nn.Sigmoid()
        self.linear2 = nn.Linear(12, 8)
        self.sigmoid2 = nn.Sigmoid()
        self.linear3 = nn.Linear(8, 2)
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x):
        hidden = self.sigmoid1(self.linear1(x))
        return self.softmax(self.linear3(self.sigmoid2(self.linear2(hidden))))


net = TumourNet()
optimizer = torch.optim.Adam(net.parameters(), lr=0.02, weight_decay=3e-3)
for _epoch in range(30):
    for rows in torch.randperm(len(x_train)).split(32):
        loss = nn.functional.nll_loss(net(x_train[rows]).log(), y_train[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def accuracy(x):
    return (net(x).argmax(1) == y_test).float().mean().item()


print(f"test accuracy {accuracy(x_test):.3f}")
assert accuracy(x_test) > 0.9

# %% [markdown]
# ## Which measurements made the answer?
#
# Integrated gradients walks from the baseline $x_0$ to the tumour $x$ and adds up what each
# measurement contributed on the way:
#
# $$\mathrm{IG}_i = (x_i - x_{0,i}) \int_0^1 \partial_i f(x_0 + \alpha (x - x_0))\, d\alpha
#   \qquad \sum_i \mathrm{IG}_i = f(x) - f(x_0)$$
#
# The second equation is the check: `delta` says by how much it is missed.

# %%
ig = IntegratedGradients(net)
x_test.requires_grad_()
attr, delta = ig.attribute(x_test, target=1, return_convergence_delta=True)
attr = attr.detach().numpy()

with torch.no_grad():
    change = (net(x_test) - net(torch.zeros(1, 12)))[:, 1].numpy()
print(f"largest |delta|: {delta.abs().max():.1e}")
assert attr.shape == (len(x_test), 12)
assert delta.abs().max() < 0.02
assert np.allclose(attr.sum(1), change, atol=0.02)

# %% [markdown]
# The mean *magnitude* says how much a measurement matters, the plot against its value says how.
# The mean with its sign would not do for the first: a measurement that argues for malignant in
# half of the tumours and against it in the other half would come out as zero.

# %%
matters = np.abs(attr).mean(0)
ranking = matters.argsort()[::-1]
top = ranking[0]
for i in ranking[:5]:
    print(f"{names[i]:18s} {matters[i]:.3f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.barh([names[i] for i in ranking[::-1]], matters[ranking[::-1]], color=BLUE)
left.set(title="What matters", xlabel="mean |integrated gradients|")
dots = x_test.detach().numpy()[:, top]
colours = np.where(y_test.numpy() == 1, RED, BLUE)
right.axhline(0, color=GREY, linewidth=0.8)
right.scatter(dots, attr[:, top], c=colours, s=16, alpha=0.8, linewidths=0)
right.set(title=f"How: {names[top]}", xlabel="value, in standard deviations")
right.set(ylabel="contribution to P(malignant)")
for label, colour in (("benign", BLUE), ("malignant", RED)):
    right.scatter([], [], c=colour, s=16, label=label)
right.legend(frameon=False, title="diagnosis")
for axis in (left, right):
    axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# One should see a rising cloud through the origin: above the average tumour the measurement argues
# for malignant, below it against. How strongly depends on the other measurements too; the model is
# not linear.
#
# And one should not take the ranking on trust. Hide the three measurements that matter most, by
# putting the average in their place, and the model must lose more than without the last three.

# %%
assert (np.sign(dots) == np.sign(attr[:, top])).mean() > 0.95


def hidden(which):
    x = x_test.detach().clone()
    x[:, which.copy()] = 0
    return accuracy(x)


print(f"all twelve           {accuracy(x_test):.3f}")
print(f"without the last 3   {hidden(ranking[-3:]):.3f}")
print(f"without the first 3  {hidden(ranking[:3]):.3f}")
assert hidden(ranking[:3]) < hidden(ranking[-3:]) - 0.02

# %% [markdown]
# ## Which hidden units carried it?
#
# Layer conductance follows the same walk and watches the units $y$ of a layer:
#
# $$\mathrm{Cond}_j = \sum_s \frac{\partial f}{\partial y_j}(x_s)\,
#   \bigl(y_j(x_{s+1}) - y_j(x_s)\bigr)$$
#
# Everything passes through the layer, so the units share the same change of the output. The sum
# over steps is a difference, not an integral: it misses by about 1 / `n_steps`, and the delta says
# how much.

# %%
cond = LayerConductance(net, net.sigmoid1)
cond_vals = cond.attribute(x_test, target=1)
cond_vals = cond_vals.detach().numpy()
strength = np.abs(cond_vals).mean(0)
strong, weak = int(strength.argmax()), int(strength.argmin())

for n_steps in (50, 400):
    _, delta = cond.attribute(x_test, target=1, n_steps=n_steps, return_convergence_delta=True)
    print(f"{n_steps:3d} steps: largest |delta| {delta.abs().max():.3f}")
assert cond_vals.shape == (len(x_test), 12)
assert delta.abs().max() < 0.02

figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
bars = axis.bar(range(12), strength, color=GREY)
bars[strong].set_color(RED)
bars[weak].set_color(BLUE)
axis.set(title="What the hidden units carry", xlabel="unit of sigmoid1", xticks=range(12))
axis.set(ylabel="mean |conductance|")
axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## What does one unit listen to?
#
# Neuron conductance splits a unit's share over the inputs. Summed over the inputs it is the unit's
# layer conductance (computed here by another quadrature, so equal only nearly); summed over all
# units it is integrated gradients again.

# %%
neuron_cond = NeuronConductance(net, net.sigmoid1)
neuron_cond_strong = neuron_cond.attribute(x_test, neuron_selector=strong, target=1)
neuron_cond_weak = neuron_cond.attribute(x_test, neuron_selector=weak, target=1)

for unit, scores in ((strong, neuron_cond_strong), (weak, neuron_cond_weak)):
    agree = np.corrcoef(scores.sum(1).detach(), cond_vals[:, unit])[0, 1]
    print(f"unit {unit:2d}: correlation with its layer conductance {agree:.4f}")
    assert agree > 0.99
total = sum(neuron_cond.attribute(x_test, neuron_selector=j, target=1) for j in range(12))
assert np.allclose(total.detach(), attr, atol=0.02)

figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, sharex=True, layout="constrained")
for axis, unit, scores, colour in zip(
    axes, (strong, weak), (neuron_cond_strong, neuron_cond_weak), (RED, BLUE), strict=True
):
    axis.barh(names[::-1], scores.detach().abs().mean(0).numpy()[::-1], color=colour)
    axis.set(title=f"Unit {unit}", xlabel="mean |conductance|")
    axis.locator_params(axis="x", nbins=5)
    axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## Going further
#
# **Steps that choose themselves.** `n_steps="auto"` doubles the steps until every delta is below
# `tol`, and leaves their number in `steps_taken`.

# %%
attr_auto, delta = ig.attribute(
    x_test, target=1, n_steps="auto", tol=1e-4, return_convergence_delta=True
)
print(f"{ig.steps_taken} steps, largest |delta| {delta.abs().max():.1e}")
assert delta.abs().max() <= 1e-4

# %% [markdown]
# **Several answers at once.** `Targets` asks for both classes and shares the forward passes. The
# probabilities sum to one, so what argues for one class argues against the other.

# %%
benign, malignant = ig.attribute(x_test, target=Targets(0, 1))
assert torch.allclose(benign, -malignant, atol=1e-5)

# %% [markdown]
# **Where and what are free.** Every method takes `at=` (where the scores land) and `of=` (what is
# explained). Integrated gradients *of* a unit asks what switches it on, whatever the output makes
# of that; *at* the layer it shares the output between the units.

# %%
x = x_test.detach()
switch = IntegratedGradients(net, of=Neuron(net.sigmoid1, strong)).attribute(x)
shares = IntegratedGradients(net, at=net.sigmoid1).attribute(x, target=1)
with torch.no_grad():
    unit = net.sigmoid1(net.linear1(x)) - net.sigmoid1(net.linear1(torch.zeros(1, 12)))
assert torch.allclose(switch.sum(1), unit[:, strong], atol=1e-4)
assert np.allclose(shares.sum(1), change, atol=1e-3)

# %% [markdown]
# **Another comparison.** The average tumour is one baseline among many. Gradient SHAP draws its
# baselines from the training rows, and with `return_std` says how sure it is of every score. One
# should see much the same picture, on another zero.

# %%
shap, error = GradientShap(net).attribute(x, x_train, n_samples=200, target=1, return_std=True)
print("                     shap    ± error   IG")
for i in ranking[:4]:
    row = (shap[0, i], error[0, i], attr[0, i])
    print(f"{names[i]:18s} {row[0]:+.3f}   {row[1]:.3f}   {row[2]:+.3f}")
agree = np.corrcoef(shap.abs().mean(0), matters)[0, 1]
print(f"correlation of what matters: {agree:.3f}")
assert agree > 0.8
assert (error < 0.1).all()
plt.close("all")
