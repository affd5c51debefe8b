# %% [markdown]
# # Feature selection: which inputs does a model need?
#
# Attribution asks of a trained model which inputs made an answer. *Stochastic gates* ask while it
# is trained, of all answers at once: which inputs can it do without? Each input is multiplied by a
# gate between 0 and 1, drawn anew for every example, and an open gate has a price. What is not
# worth its price is shut at the end.

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn

from captum.linear import Lasso
from captum.module import BinaryConcreteStochasticGates, GaussianStochasticGates

torch.manual_seed(0)
BLUE, GREY = "#2b6c99", "#9aa3ab"

# %% [markdown]
# ## Thirty features, five of which matter
#
# One of them by a straight line, two by curves, and two only as a product: neither tells anything
# alone.

# %%
FEATURES, PLANTED = 30, [3, 8, 12, 20, 27]


def examples(count):
    x = torch.randn(count, FEATURES)
    y = 0.7 * x[:, 27] + torch.sin(2 * x[:, 12]) + x[:, 20].abs() + x[:, 3] * x[:, 8]
    y = y + 0.1 * torch.randn(count)
    return x, (y - y.mean()) / y.std()


train, test = examples(2000), examples(2000)

# %% [markdown]
# ## A net, with gates and without
#
# The gates come first. They return the gated inputs and the price of the open gates, which is added
# to the loss. They learn faster than the net, as the log α of a gate has a long way to go, but not
# much: a gate that shuts before the net has found out what it is for hardly opens again.


# %%
def fit(gates=None, steps=1000):
    """A net that reads gated features, trained; its squared error on examples it has not seen."""
    net = nn.Sequential(
        nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
    )
    groups = [{"params": net.parameters(), "lr": 3e-3}]
    if gates is not None:
        groups.append({"params": gates.parameters(), "lr": 1e-2})
    optimizer = torch.optim.Adam(groups)
    x, y = train
    for _ in range(steps):
        rows = torch.randint(len(x), (256,))
        gated, price = (x[rows], 0.0) if gates is None else gates(x[rows])
        loss = (net(gated)[:, 0] - y[rows]).square().mean() + price
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, y = test
    with torch.no_grad():
        gated = x if gates is None else gates.eval()(x)[0]
        return float((net(gated)[:, 0] - y).square().mean())


kinds = {
    "binary concrete": BinaryConcreteStochasticGates(FEATURES, reg_weight=0.005),
    "Gaussian": GaussianStochasticGates(FEATURES, reg_weight=0.005),
}
errors = {"no gates": fit()} | {name: fit(gates) for name, gates in kinds.items()}
for name, error in errors.items():
    print(f"{name:16} {error:.3f} of the variance is not explained")
assert errors["binary concrete"] < errors["no gates"] / 5
assert errors["Gaussian"] < errors["no gates"] / 5

# %% [markdown]
# ## What is kept
#
# The chance of each gate to be open, after training. Both kinds have decided: the planted five, and
# no other. That is why the error fell: the other 25 were nothing but noise to fit.

# %%
figure, axes = plt.subplots(2, 1, figsize=(8, 4), sharex=True, layout="constrained")
for ax, (name, gates) in zip(axes, kinds.items(), strict=True):
    chances = gates.get_gate_active_probs()
    kept = (chances > 0.5).nonzero().flatten().tolist()
    print(f"{name:16} keeps {kept}")
    assert kept == PLANTED
    assert bool(((chances < 0.1) | (chances > 0.9)).all())
    colors = [BLUE if i in PLANTED else GREY for i in range(FEATURES)]
    ax.bar(range(FEATURES), chances, color=colors)
    ax.set(title=name, ylabel="chance to be open", ylim=(0, 1.05))
axes[-1].set(xlabel="feature (blue: planted)", xticks=range(0, FEATURES, 3))
plt.show()

# %% [markdown]
# An L1 penalty on a linear model selects too, but among straight lines: it does not see the feature
# whose size matters, nor the two that matter together.

# %%
linear = Lasso(alpha=0.1)
linear.fit([train])
weights = linear.representation().flatten()
print("LASSO keeps", weights.nonzero().flatten().tolist())
assert weights.nonzero().flatten().tolist() == [12, 27]

# %% [markdown]
# ## A gate for several inputs
#
# With a `mask`, inputs share a gate: the pixels of a patch, the columns of a category, the readings
# of a sensor. Here are noisy pictures of 16 × 16 pixels, a gate for each of 16 patches, and the
# question whether one patch is brighter than another.

# %%
rows = torch.arange(16) // 4
mask = 4 * rows[:, None] + rows  # (16, 16): the same for all pictures
first, second = 5, 10

pictures = torch.randn(1000, 16, 16)
brighter = pictures[:, mask == first].mean(1) > pictures[:, mask == second].mean(1)
gates = GaussianStochasticGates(16, mask, reg_weight=0.02)
net = nn.Sequential(nn.Flatten(), nn.Linear(256, 1))
optimizer = torch.optim.Adam([*net.parameters(), *gates.parameters()], lr=1e-2)
for _ in range(500):
    gated, price = gates(pictures)
    loss = nn.functional.binary_cross_entropy_with_logits(net(gated)[:, 0], brighter.float())
    optimizer.zero_grad()
    (loss + price).backward()
    optimizer.step()

chances = gates.get_gate_active_probs()
figure, axes = plt.subplots(1, 2, figsize=(6, 3), layout="constrained")
axes[0].imshow(pictures[0], cmap="gray")
axes[0].set_title("a picture")
axes[1].imshow(chances[mask], cmap="Blues", vmin=0, vmax=1)
axes[1].set_title("which patches are kept")
for ax in axes:
    ax.set(xticks=[], yticks=[])
plt.show()
print("patches kept:", (chances > 0.5).nonzero().flatten().tolist())
assert (chances > 0.5).nonzero().flatten().tolist() == [first, second]

# %% [markdown]
# How dear should a gate be? Too cheap, and useless ones stay ajar; too dear, and what matters is
# shut, first of all the features that matter only together. There is room between: above, all
# prices from 0.003 to 0.01 select the same five. In practice, raise the price until the error on
# other examples rises.
