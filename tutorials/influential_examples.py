# %% [markdown]
# # Influential and mislabelled examples: which training pictures made this prediction?
#
# A model is what its training data made of it. We train a small net on pictures of digits, keep
# some checkpoints on the way, and ask which training pictures helped and which hindered its
# answers. Forty labels are wrong on purpose: the pictures that weigh most on themselves are those.

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

from captum.influence import (
    EKFACInfluence,
    SimilarityInfluence,
    TracInCP,
    TracInCPFast,
    TracInCPFastRandProj,
)

torch.manual_seed(0)
digits = load_digits()
order = torch.randperm(len(digits.target))
pictures = torch.tensor(digits.images, dtype=torch.float32)[order].unsqueeze(1) / 16
labels = torch.tensor(digits.target)[order]

train_x, test_x = pictures[:1000], pictures[1000:1200]
train_y, test_y = labels[:1000].clone(), labels[1000:1200]
wrong = torch.randperm(1000)[:40]
train_y[wrong] = (train_y[wrong] + torch.randint(1, 10, (40,))) % 10
train = TensorDataset(train_x, train_y)

# %% [markdown]
# ## Training, with checkpoints
#
# A checkpoint is a state dict with the learning rate that it was made with; in memory here, a file
# for a larger model. The methods load them into the model and put it back as it was.


# %%
def net():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.GroupNorm(4, 16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


model = net()
rate = 0.05
optimiser = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
checkpoints = []
for epoch in range(12):
    for part in torch.randperm(1000).split(50):
        optimiser.zero_grad()
        F.cross_entropy(model(train_x[part]), train_y[part]).backward()
        optimiser.step()
    if epoch in (1, 3, 6):
        state = {name: value.clone() for name, value in model.state_dict().items()}
        checkpoints.append({"model_state_dict": state, "learning_rate": rate})

with torch.no_grad():
    accuracy = (model(test_x).argmax(1) == test_y).float().mean()
print(f"right on pictures that it has not seen: {accuracy:.1%}")
assert accuracy > 0.9

# %% [markdown]
# ## Wrong labels weigh on themselves
#
# TracIn adds up, over the checkpoints, what a step on one example does to the loss of another,
#
# $$\sum_c \eta_c\, \nabla\ell(\theta_c, z) \cdot \nabla\ell(\theta_c, z').$$
#
# Of an example with itself it is large where the others speak against it. `self_influence` gives
# that number for all training pictures; the gradients of each of them come from one pass of a
# batch.

# %%
loss = nn.CrossEntropyLoss(reduction="none")
tracin = TracInCP(model, train, checkpoints, loss_fn=loss, batch_size=250)
own = tracin.self_influence()
ranked = own.argsort(descending=True)
is_wrong = torch.zeros(1000, dtype=torch.bool)
is_wrong[wrong] = True
found = is_wrong[ranked].cumsum(0)
print(f"of the 40 with the largest scores, {int(found[39])} are wrong; of 80, {int(found[79])}")
assert found[39] >= 28
assert found[79] >= 34

figure, axes = plt.subplots(2, 8, figsize=(10, 3))
for axis, i in zip(axes.flat, ranked[:16].tolist(), strict=True):
    axis.imshow(train_x[i, 0], cmap="gray_r")
    axis.set_title(f"label {int(train_y[i])}", color="red" if is_wrong[i] else "black", fontsize=9)
    axis.set_axis_off()
figure.suptitle("Largest self-influence; red labels were changed")
plt.show()

# %% [markdown]
# Looking through the first tenth of the ranking finds nearly all of them; in any order, one would
# find a tenth.

# %%
share = found.float() / 40
figure, axis = plt.subplots(figsize=(5, 3.5))
axis.plot(torch.arange(1, 1001) / 1000, share, label="by self-influence")
axis.plot([0, 1], [0, 1], "k:", label="in any order")
axis.set_xlabel("share of the training data that was looked at")
axis.set_ylabel("share of wrong labels found")
axis.legend(frameon=False)
figure.tight_layout()
plt.show()
assert share[99] > 0.85

# %% [markdown]
# ## Who helped, and who hindered?
#
# For some test pictures, the training pictures with the largest scores are **proponents**: steps on
# them made the loss smaller. Those with the least are **opponents**. With `k`, only the k of each
# are kept while the training data passes, so memory does not grow with it.

# %%
some = torch.stack([(test_y == digit).nonzero()[0, 0] for digit in (3, 5, 8)])
query = (test_x[some], test_y[some])
helped = tracin.influence(query, k=5)
hindered = tracin.influence(query, k=5, proponents=False)

figure, axes = plt.subplots(3, 11, figsize=(11, 3.4))
for row, test in enumerate(some.tolist()):
    indices = [*helped.indices[row].tolist(), *hindered.indices[row].tolist()]
    axes[row, 0].imshow(test_x[test, 0], cmap="gray_r")
    axes[row, 0].set_title(f"test: {int(test_y[test])}", fontsize=9)
    for axis, i in zip(axes[row, 1:], indices, strict=True):
        axis.imshow(train_x[i, 0], cmap="gray_r")
        axis.set_title(int(train_y[i]), fontsize=9, color="red" if is_wrong[i] else "black")
for axis in axes.flat:
    axis.set_axis_off()
figure.suptitle("Test pictures, five proponents, five opponents", fontsize=11)
plt.show()


def of_the_same_label(method):
    """The share of the five largest scores, and of the five least, over all test pictures."""
    both = [method.influence((test_x, test_y), k=5, proponents=p).indices for p in (True, False)]
    return [float((train_y[each] == test_y.unsqueeze(1)).float().mean()) for each in both]


same, other = of_the_same_label(tracin)
print(f"of the same label, over all test pictures: proponents {same:.0%}, opponents {other:.0%}")
assert same > 0.8
assert other < 0.2

# %% [markdown]
# ## Quicker: the last layer alone
#
# `TracInCPFast` takes the gradients of the last linear layer, for which a forward pass is all it
# needs. `TracInCPFastRandProj` stores a short vector of every training picture once, and answers
# questions from those.

# %%
fast = TracInCPFast(model, model[-1], train, checkpoints, loss_fn=loss, batch_size=250)
quick = is_wrong[fast.self_influence().argsort(descending=True)[:40]].sum()
stored = TracInCPFastRandProj(
    model, model[-1], train, checkpoints, loss_fn=loss, batch_size=250, projection_dim=640
)
all_scores = fast.influence((test_x, test_y))
projected = stored.influence((test_x, test_y), k=None)
alike = torch.corrcoef(torch.stack([all_scores.flatten(), projected.flatten()]))[0, 1]
print(
    f"by the last layer, {int(quick)} of the first 40 are wrong; projected scores: r = {alike:.3f}"
)
assert quick >= 22
assert alike > 0.8

# %% [markdown]
# ## Curvature: influence functions
#
# What would change if an example were left out also depends on how sharply the loss curves.
# `EKFACInfluence` approximates that by the Fisher information of the last checkpoint, from two
# passes over the data.

# %%
curved = EKFACInfluence(model, train, checkpoints[-1], loss_fn=loss, batch_size=250, draws=4)
by_curvature = is_wrong[curved.self_influence().argsort(descending=True)[:40]].sum()
same, other = of_the_same_label(curved)
print(
    f"EK-FAC: {int(by_curvature)} of the first 40 are wrong; "
    f"of the same label: proponents {same:.0%}, opponents {other:.0%}"
)
assert by_curvature >= 20
assert same > 0.5
assert other < 0.2

# %% [markdown]
# ## What just looks alike
#
# The pictures that look most alike to a layer are another question: nothing is said of what
# training on them did. A wrong label does not show here.

# %%
alike = SimilarityInfluence(model, "6", TensorDataset(train_x), "", batch_size=250)
nearest, cosines = alike.influence(test_x, top_k=5)["6"]
true = labels[:1000]
agreeing = (true[nearest] == test_y.unsqueeze(1)).float().mean()
print(f"of the same digit, whatever its label says: {agreeing:.0%}")
assert agreeing > 0.8
