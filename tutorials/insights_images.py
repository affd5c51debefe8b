# %% [markdown]
# # Insights: look at a model's answers and reasons
#
# Numbers say how often a network is right. To see *how* it reads its inputs one wants to look: at
# its mistakes, at what speaks for the right answer and for the wrong one, at what another method or
# another network says about the same picture. `captum.insights` shows that in a notebook, on a
# local page or in one HTML file, and hands out the same as data. This tutorial does the last two.

# %%
import base64
import io

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum.attr import IntegratedGradients
from captum.insights import AttributionVisualizer, Batch
from captum.insights.features import ImageFeature

_ = torch.manual_seed(0)

# %% [markdown]
# ## Two networks
#
# Handwritten digits of 8 × 8 pixels, enlarged; a convolutional network, and one that looks at every
# pixel for itself.

# %%
data = load_digits()
images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
images = F.interpolate(images, 16, mode="bilinear").clamp(0, 1)
labels = torch.tensor(data.target)
order = torch.randperm(len(labels))
train, test = order[:1000], order[1000:]


def normalize(image):
    return image * 2 - 1


def fit(net):
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3)
    for _ in range(6):
        for rows in train[torch.randperm(len(train))].split(64):
            loss = F.cross_entropy(net(normalize(images[rows])), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


cnn = fit(
    nn.Sequential(
        *(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(24 * 16, 10)),
    )
)
dense = fit(nn.Sequential(nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 10)))

# %% [markdown]
# ## What the visualizer is told
#
# A data set is anything that yields a `Batch`; it is read as far as somebody looks. An
# `ImageFeature` says how the picture becomes the network's input, and what it is compared with:
# here a black one. `score_func` turns outputs into what people read.


# %%
def baseline_func(image):
    return torch.full_like(image, -1)  # black, as the networks see it


def formatted_data_iter():
    loader = DataLoader(TensorDataset(images[test], labels[test]), batch_size=8)
    for pictures, right in loader:
        yield Batch(inputs=pictures, labels=right)


visualizer = AttributionVisualizer(
    models=[cnn, dense],
    score_func=lambda o: F.softmax(o, 1),
    classes=[str(digit) for digit in range(10)],
    features=[
        ImageFeature(
            "Digit",
            baseline_transforms=[baseline_func],
            input_transforms=[normalize],
        )
    ],
    dataset=formatted_data_iter(),
)

# %% [markdown]
# In a notebook, `visualizer.render()` now shows the front end, and `visualizer.serve()` opens it on
# a page of this computer. There one chooses methods and their parameters, compares them and the
# networks side by side, clicks a class to see what speaks for it, and filters: wrong answers,
# answers that differ.
#
# ## The same as data
#
# `visualize()` returns what is shown: for each example, one output per network. Nothing is added
# to what the method says: the scores are those of a direct call.

# %%
outputs = visualizer.visualize(method=("IntegratedGradients", {"n_steps": 30}), examples=60)
for output, _ in outputs[:4]:
    best = output.predicted[0]
    print(f"label {output.actual.label}, answer {best.label} ({best.score:.1%})")

image = normalize(images[test[:1]])
direct = IntegratedGradients(cnn).attribute(
    image, baselines=-1, target=int(labels[test[0]]), n_steps=30
)
[feature] = outputs[0][0].feature_outputs
print(feature.name, feature.type, f"{feature.contribution:.0%}", feature.modified[:30], "…")
assert feature.contribution == 1
assert feature.modified == visualizer.features[0].visualize(direct, images[test[:1]], 1.0).modified

# %% [markdown]
# Where do the two disagree? These examples are worth a look.

# %%
differ = [
    number
    for number, (one, other) in enumerate(outputs)
    if one.predicted[0].index != other.predicted[0].index
]
for number in differ:
    one, other = (output.predicted[0].label for output in outputs[number])
    print(f"example {number + 1}: label {outputs[number][0].actual.label}, {one} or {other}?")
assert differ

# %% [markdown]
# ## One file for others
#
# `save()` writes the whole front end with its answers into one HTML file. It needs no Python, no
# server and no network, so it can be sent by mail or kept beside a paper.

# %%
path = visualizer.save(
    "digits.html",
    methods=["IntegratedGradients", ("Occlusion", {"window": 4, "strides": 2})],
    examples=differ[:4],
)
size = path.stat().st_size
print(f"{path}: {size / 1024:.0f} kB")
assert size < 500_000
assert "http://" not in path.read_text()

# %% [markdown]
# **What one should see.** Opened, the file shows each picture beside four maps, two methods for
# each network: red speaks for the label, blue against it. To draw some of the same here, the heat
# maps come as pictures inside of text:


# %%
def pixels(uri):
    return plt.imread(io.BytesIO(base64.b64decode(uri.partition(",")[2])), format="png")


figure, axes = plt.subplots(2, 3, figsize=(8, 5.4), layout="constrained")
for row, number in zip(axes, differ[:2], strict=False):
    row[0].imshow(pixels(outputs[number][0].feature_outputs[0].base))
    row[0].set_title(f"label {outputs[number][0].actual.label}")
    for axis, output, name in zip(
        row[1:], outputs[number], ("convolutional", "dense"), strict=True
    ):
        axis.imshow(pixels(output.feature_outputs[0].modified))
        axis.set_title(f"{name}: {output.predicted[0].label}")
for axis in axes.flat:
    axis.set_axis_off()
plt.show()
plt.close("all")
