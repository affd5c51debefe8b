# %% [markdown]
# # A recommender: which feature made the click?
#
# Recommenders mix *dense* features (numbers) with *sparse* ones (ids: what was watched, where, on
# which device). A DLRM embeds the ids, runs the dense features through a small network, and lets
# everything meet in dot products. Three questions:
#
# * which features made the prediction: integrated gradients over dense features and embeddings,
# * which *interaction* did: conductance of the layer after the dot products,
# * which single **id** did: integrated gradients on the integers themselves.
#
# The data are made here, so the answer is known: a user clicks if she is *young* **and** watched a
# *cartoon*. One row in twenty is flipped by accident. Everything else is noise, and an explanation
# that credits it would be wrong.

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn

from captum.attr import IntegratedGradients, LayerConductance, LayerIntegratedGradients

torch.manual_seed(0)
BLUE, RED, GREY = "#2b6c99", "#c0564b", "#9aa3ab"

# %% [markdown]
# ## Data
#
# Four dense features, and four bags of ids: three watched genres, and one country, device and
# weekday. Id 0 of every table means "nothing", and its embedding is zero. A fifth of the bags is
# empty: a baseline should be an input the model has met, and ours will be the user of whom nothing
# is known.

# %%
DENSE = ["youth", "income", "tenure", "activity"]
SPARSE = {"genre": (10, 3), "country": (20, 1), "device": (5, 1), "weekday": (8, 1)}
GENRES = ["-", "cartoon", "crime", "drama", "comedy", "news", "quiz", "sport", "nature", "music"]
CARTOON = GENRES.index("cartoon")


def sample(rows):
    dense = torch.randn(rows, len(DENSE))
    bags = []
    for size, length in SPARSE.values():  # ids of one bag are different
        ids = 1 + torch.rand(rows, size - 1).argsort(1)[:, :length]
        bags.append(ids * (torch.rand(rows, 1) > 0.2))
    watched = (bags[0] == CARTOON).any(1)
    accident = torch.rand(rows) < 0.05
    return dense, bags, ((dense[:, 0] > 0.3) & watched ^ accident).float()


dense_train, bags_train, y_train = sample(6000)
dense_test, bags_test, y_test = sample(1000)
print(f"{y_train.mean():.0%} of the training rows are clicks")

# %% [markdown]
# ## Model
#
# `bot_l` brings the dense features to the size of an embedding. Five vectors then meet in ten dot
# products, which `top_l` reads beside the dense vector.


# %%
class DLRM(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.emb_l = nn.ModuleList(
            nn.EmbeddingBag(size, width, mode="sum", padding_idx=0) for size, _ in SPARSE.values()
        )
        self.bot_l = nn.Sequential(
            nn.Linear(len(DENSE), 16), nn.ReLU(), nn.Linear(16, width), nn.ReLU()
        )
        self.top_l = nn.Sequential(nn.Linear(width + 10, 16), nn.ReLU(), nn.Linear(16, 1))
        self.register_buffer("pairs", torch.triu_indices(5, 5, 1))

    def apply_emb(self, bags):
        return [emb(ids) for emb, ids in zip(self.emb_l, bags, strict=True)]

    def interact(self, dense, embeddings):
        below = self.bot_l(dense)
        vectors = torch.stack([below, *embeddings], 1)
        dots = (vectors @ vectors.transpose(1, 2))[:, self.pairs[0], self.pairs[1]]
        return self.top_l(torch.cat([below, dots], 1)).sigmoid()

    def forward(self, dense, genre, country, device, weekday):
        return self.interact(dense, self.apply_emb([genre, country, device, weekday]))


dlrm = DLRM()
optimizer = torch.optim.Adam(dlrm.parameters(), lr=0.01, weight_decay=1e-4)
for _epoch in range(8):
    for rows in torch.randperm(len(y_train)).split(128):
        click = dlrm(dense_train[rows], *(bag[rows] for bag in bags_train))[:, 0]
        loss = nn.functional.binary_cross_entropy(click, y_train[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
with torch.no_grad():
    click = dlrm(dense_test, *bags_test)[:, 0]
accuracy = ((click > 0.5) == y_test.bool()).float().mean()
print(f"test accuracy {accuracy:.3f}")
assert accuracy > 0.9

# %% [markdown]
# ## Which features made the click?
#
# We explain confident clicks. The ids are embedded first, and a plain function goes on from there;
# its inputs, dense features and four embeddings, are explained together. Their scores sum to
# $f(x) - f(0)$: the click's probability, less that of a user of whom nothing is known.

# %%
sure = click > 0.8
dense, bags = dense_test[sure], [bag[sure] for bag in bags_test]
with torch.no_grad():
    embeddings = dlrm.apply_emb(bags)


def sequential_forward(*inputs):
    return dlrm.interact(inputs[0], inputs[1:])


inputs = (dense, *embeddings)
ig = IntegratedGradients(sequential_forward)
attributions, delta = ig.attribute(inputs, n_steps=10, return_convergence_delta=True)
print(f"10 steps: largest |delta| {delta.abs().max():.3f}")
options = {"n_steps": "auto", "tol": 0.01}  # as many steps as it takes
attributions, delta = ig.attribute(inputs, return_convergence_delta=True, **options)
print(f"{ig.steps_taken} steps: largest |delta| {delta.abs().max():.3f}")

# An embedding's score is the sum over its entries.
names = [*DENSE, *SPARSE]
per_feature = torch.cat([attributions[0], *(a.sum(1, keepdim=True) for a in attributions[1:])], 1)
with torch.no_grad():
    change = (sequential_forward(*inputs) - sequential_forward(*(0 * x for x in inputs)))[:, 0]
assert torch.allclose(per_feature.sum(1), change, atol=0.011)

# %%
average = per_feature.mean(0)
for name, score in zip(names, average.tolist(), strict=True):
    print(f"{name:10s} {score:+.3f}")

figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
planted = [name in ("youth", "genre") for name in names]
axis.barh(names, average.tolist(), color=[RED if each else GREY for each in planted])
axis.axvline(0, color=GREY, linewidth=0.8)
axis.invert_yaxis()
axis.set(title="What made the click (planted features in red)")
axis.set(xlabel="mean contribution to P(click)")
axis.spines[["top", "right"]].set_visible(False)
plt.show()

winners = per_feature.topk(2).indices.sort().values
share = (winners == torch.tensor([0, 4])).all(1).float().mean()
print(f"youth and genre are the top two in {share:.0%} of {len(dense)} clicks")
assert share > 0.9

# %% [markdown]
# ## Which interaction?
#
# The input of `top_l` holds the eight dense entries and the ten dot products. Its conductance says
# through which of them the click came. "Young *and* cartoon" is a product, so one should see
# dense × genre.

# %%
top = LayerConductance(sequential_forward, dlrm.top_l)
meeting = top.attribute(inputs=inputs, n_steps=10, attribute_to_layer_input=True)
hidden = LayerConductance(sequential_forward, dlrm.top_l[1]).attribute(inputs=inputs, n_steps=10)
assert meeting.shape == (len(dense), 18)
assert hidden.shape == (len(dense), 16)

groups = ["dense", *SPARSE]
pairs = [f"{groups[i]} × {groups[j]}" for i, j in dlrm.pairs.T.tolist()]
_, delta = top.attribute(
    inputs, n_steps=200, attribute_to_layer_input=True, return_convergence_delta=True
)
print(f"largest |delta| with 200 steps: {delta.abs().max():.3f}")
assert delta.abs().max() < 0.05

passing = torch.cat([meeting[:, :8].sum(1, keepdim=True), meeting[:, 8:]], 1).mean(0)
labels = ["dense alone", *pairs]
strongest = labels[int(passing.argmax())]
print(f"strongest: {strongest}, {passing.max() / passing.sum():.0%} of the click")
assert strongest == "dense × genre"
assert passing.max() > 2 * passing.topk(2).values[1]

figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
colours = [RED if label == "dense × genre" else GREY for label in labels]
axis.barh(labels, passing.tolist(), color=colours)
axis.axvline(0, color=GREY, linewidth=0.8)
axis.invert_yaxis()
axis.set(title="Where the click came through", xlabel="mean conductance")
axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## Going further: the ids themselves
#
# No need to take the model apart. An integer input is attributed through its embedding lookup:
# **one score per id**, here each of the three genres of a bag. A dict goes in by keyword, and the
# scores come back under its keys. The baseline is id 0, "nothing", the zero embedding from before;
# so each bag's scores must sum to what its embedding got, and they do.

# %%
call = {"dense": dense, **dict(zip(SPARSE, bags, strict=True))}
ids = IntegratedGradients(dlrm)
scores = ids.attribute(call, **options)
assert list(scores) == list(call)
assert scores["genre"].shape == (len(dense), 3)
for k, name in enumerate(SPARSE):
    assert torch.allclose(scores[name].sum(1), attributions[1 + k].sum(1), atol=1e-4)
# The layer route says the same, per entry of the pooled bag; there everything else stays in place.
layer = LayerIntegratedGradients(dlrm, dlrm.emb_l[0]).attribute(tuple(call.values()))
assert layer.shape == (len(dense), 8)

is_cartoon = call["genre"] == CARTOON
found = (scores["genre"].argmax(1) == is_cartoon.int().argmax(1)).float().mean()
print(f"the cartoon is the top genre in {found:.0%} of the clicks")
assert found > 0.95

# %% [markdown]
# Averaged over the users who watched it, a genre gets one number. One should see that the cartoon
# makes the clicks, and hardly anything else does.

# %%
means = torch.stack([scores["genre"][call["genre"] == g].mean() for g in range(1, len(GENRES))])
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
colours = [RED if g == "cartoon" else GREY for g in GENRES[1:]]
left.barh(GENRES[1:], means.tolist(), color=colours)
left.set(title="Every genre, over all clicks", xlabel="mean contribution to P(click)")
row = 0
texts = [GENRES[g] for g in call["genre"][row].tolist()] + DENSE
values = torch.cat([scores["genre"][row], scores["dense"][row]])
right.barh(texts, values.tolist(), color=[BLUE if v >= 0 else RED for v in values])
right.set(title="One user: genres watched, dense features", xlabel="contribution to P(click)")
for axis in (left, right):
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.invert_yaxis()
    axis.spines[["top", "right"]].set_visible(False)
plt.show()
assert means.argmax() == CARTOON - 1
assert means[CARTOON - 1] > 2 * means[CARTOON:].abs().max()

# %%
plt.close("all")
