# %% [markdown]
# # A whole data set: what does the net look at, on the whole?
#
# One explanation is an anecdote. Here we explain every picture of a data set, keep the scores in
# files, and look at their statistics. The net has a secret: most pictures of a seven that it was
# trained on carry a faint mark in a corner, as one scanner may leave behind. No single picture
# proves that the net has learnt it; eighteen hundred do.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum.attr import (
    Attributions,
    ClassSummarizer,
    IntegratedGradients,
    Mean,
    StdDev,
    Summarizer,
    attribute_dataset,
    estimate_dataset,
)

torch.manual_seed(0)
digits = load_digits()
pictures = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
labels = torch.tensor(digits.target)
marked = pictures.clone()
by_that_scanner = (labels == 7) & (torch.rand(len(labels)) < 0.9)
marked[by_that_scanner, 0, 0, 7] = 0.6
print(f"{len(labels)} pictures, {int(by_that_scanner.sum())} of them marked")

# %% [markdown]
# ## The net

# %%
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 16, 3, padding=1),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(256, 10),
)
optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(15):
    for part in torch.randperm(len(labels)).split(64):
        optimiser.zero_grad()
        F.cross_entropy(model(marked[part]), labels[part]).backward()
        optimiser.step()
model.eval()
with torch.no_grad():
    guessed = model(marked).argmax(1)
print(f"right: {(guessed == labels).float().mean():.1%}")
assert (guessed == labels).float().mean() > 0.97

# %% [markdown]
# ## What will it take?
#
# `estimate_dataset` explains one batch and throws it away: how many rows will go through the model,
# and for how long (`estimate.total_seconds`). Here: a row a step, and one for the prediction.

# %%
method = IntegratedGradients(model)
loader = DataLoader(TensorDataset(marked, labels), batch_size=128)
wanted = {"target": "predictions", "n_steps": 24, "internal_batch_size": None}
estimate = estimate_dataset(method, loader, **wanted)
print(f"{estimate.examples} examples, {estimate.passes:.0f} rows through the model for each")
assert estimate.passes == 25

# %% [markdown]
# ## Every picture
#
# Scores go into files of a folder, each written in one step. The target is each picture's own
# prediction. With a summarizer, statistics of all scores are there at the end; they never need the
# data set in memory.

# %%
folder = Path(tempfile.mkdtemp()) / "scores"
statistics = Summarizer([Mean(), StdDev()])
found = attribute_dataset(method, loader, folder, summarizer=statistics, block=512, **wanted)
for path in sorted(folder.iterdir()):
    print(path.name)
print(len(found), "examples, scores of one:", tuple(found[0].shape))

# %% [markdown]
# A run that was stopped goes on where it was. We lose a file, and run the same line again: only
# what is missing is made.

# %%
lost = sorted(folder.glob("*.safetensors"))[1]
before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}
lost.unlink()
found = attribute_dataset(method, loader, folder, block=512, **wanted)
after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}
print("made again:", [name for name in after if after[name] != before[name]])
assert [name for name in after if after[name] != before[name]] == [lost.name]

# %% [markdown]
# ## On the whole, and class by class
#
# Reading back, a file at a time: `parts()` yields scores with their targets, and a
# `ClassSummarizer` keeps the classes apart.

# %%
classes = ClassSummarizer([Mean(), StdDev()])
for rows in Attributions(folder).parts():
    classes.update(rows["scores"].abs(), labels=rows["_target"])
maps = [classes.class_summaries[digit][0]["mean"][0] for digit in range(10)]

figure, axes = plt.subplots(2, 5, figsize=(9, 4))
largest = float(torch.stack(maps).max())
for digit, (axis, values) in enumerate(zip(axes.flat, maps, strict=True)):
    axis.imshow(values, cmap="Blues", vmin=0, vmax=largest)
    axis.set_title(f"called {digit}", fontsize=10)
    axis.set_axis_off()
figure.suptitle("Where predictions come from: mean of |score| over all pictures of a class")
figure.tight_layout()
plt.show()

# %% [markdown]
# Nine classes are strokes in the middle. The seven has a corner too, where no seven has ink: pale
# in the map, plain in a count. How much of the evidence is that one pixel?

# %%
shares = torch.stack([values[0, 7] / values.sum() for values in maps])
figure, axis = plt.subplots(figsize=(6, 3))
axis.bar(range(10), 100 * shares, color=["tab:red" if d == 7 else "tab:blue" for d in range(10)])
axis.set_xticks(range(10))
axis.set_xlabel("class that was predicted")
axis.set_ylabel("% of |score| in the corner")
figure.tight_layout()
plt.show()
assert int(shares.argmax()) == 7
assert shares[7] > 10 * shares[torch.arange(10) != 7].max()

# %% [markdown]
# ## A table
#
# Small scores fit a table; beyond a thousand columns it is refused, and `parts()` is the way.

# %%
table = found.to_dataframe()
corner = table.groupby("target")["scores[7]"].agg(["mean", "std"]).round(3)
print(corner)

# %% [markdown]
# ## Was it true?
#
# An explanation is a claim, and this one can be tried. Integrated Gradients says how much of a
# picture's logit comes from the mark. We wipe the mark off, and see how much of the logit goes.

# %%
tried = by_that_scanner & (found.targets() == 7)
said = found.scores()[tried, 0, 0, 7]
with torch.no_grad():
    lost_logit = (model(marked) - model(pictures))[tried, 7]
    still = (model(pictures[tried]).argmax(1) == 7).float().mean()
print(f"said of the mark: {said.mean():.2f}; lost without it: {lost_logit.mean():.2f}")
print(f"still called seven: {still:.1%}")
assert 0.9 < said.mean() / lost_logit.mean() < 1.7

# %% [markdown]
# The mark does much what the scores say; a little less, as they also give it a share of what mark
# and strokes only do together. And yet almost every seven stays a seven: its strokes are evidence
# enough. Attribution tells what a prediction is made of, not what it would fall without; for that
# question there are [attacks](robustness.md).

# %% [markdown]
# ## Going further
#
# - Statistics alone, without files: leave `out` away and hand over a summarizer.
# - On several GPUs or machines: the same script under `torchrun` ([the next
#   tutorial](distributed_attribution.md)), or as a job of Ray with `attribute_ray_dataset`.
# - [What files hold, and what a thousand processes would do](../datasets.md).
