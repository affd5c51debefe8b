# %% [markdown]
# # Attribution on several processes
#
# Attributions of different examples have nothing to do with each other, so as many processes as
# there are can make them. This tutorial goes from a wrapped model to a data set shared by the
# processes of `torchrun`, one of which is killed, to influential examples. It runs on two processes
# of a CPU; on GPUs and several machines the script is the same.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum.attr import Attributions, IntegratedGradients, Mean, Summarizer, attribute_dataset
from captum.influence import TracInCP

torch.manual_seed(0)
digits = load_digits()
pictures = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
labels = torch.tensor(digits.target)
model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10))
optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(8):
    for part in torch.randperm(len(labels)).split(64):
        optimiser.zero_grad()
        F.cross_entropy(model(pictures[part]), labels[part]).backward()
        optimiser.step()
model.eval()

# %% [markdown]
# ## One process, several GPUs: `DataParallel`
#
# A wrapped model is a model. `DataParallel` splits each batch over the GPUs that there are (here:
# none), and attribution is the plain model's. More GPUs than one serve best with large batches:
# Integrated Gradients makes batches of `n_steps` times the examples by itself, up to
# `internal_batch_size`.

# %%
plain = IntegratedGradients(model).attribute(pictures[:64], target=labels[:64])
parallel = IntegratedGradients(nn.DataParallel(model)).attribute(pictures[:64], target=labels[:64])
print(f"largest difference: {float((plain - parallel).abs().max()):.1e}")
assert torch.allclose(plain, parallel, atol=1e-6)

# %% [markdown]
# ## `DistributedDataParallel`
#
# A model that was trained under it is explained as it is. No gradients are sent, so a pass waits
# for nobody: each process may explain what it likes, one of them three pictures, the other five.

# %%
folder = Path(tempfile.mkdtemp())
torch.save(model, folder / "model.pt")
torch.save((pictures, labels), folder / "digits.pt")


def torchrun(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As at a terminal: torchrun --standalone --nproc-per-node 2 script arguments."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", script, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


(folder / "wrapped.py").write_text("""
import os
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from captum.attr import IntegratedGradients

dist.init_process_group("gloo")
model = DistributedDataParallel(torch.load("model.pt", weights_only=False))
pictures, labels = torch.load("digits.pt")
own = [slice(0, 3), slice(3, 8)][dist.get_rank()]
scores = IntegratedGradients(model).attribute(pictures[own], target=labels[own])
torch.save(scores, f"scores-{dist.get_rank()}.pt")
dist.barrier()
os._exit(0)  # threads beneath this wrapper may outlive the interpreter, and end it with an error
""")
ended = torchrun("wrapped.py")
assert ended.returncode == 0, ended.stderr
both = torch.cat([torch.load(folder / f"scores-{rank}.pt") for rank in (0, 1)])
print(f"largest difference: {float((plain[:8] - both).abs().max()):.1e}")
assert torch.allclose(plain[:8], both, atol=1e-6)

# %% [markdown]
# ## A data set on several processes
#
# This is the whole script of a process. `torchrun` starts some of them; each finds the others with
# `init_process_group`, and `attribute_dataset` takes its share: no sampler, no gathering, no
# arithmetic with ranks. The model needs no wrapper.

# %%
(folder / "explain.py").write_text("""
import os, signal, sys
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset
from captum.attr import IntegratedGradients, Mean, Summarizer, attribute_dataset

on_gpu = torch.cuda.is_available()
if on_gpu:
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
dist.init_process_group("nccl" if on_gpu else "gloo")
model = torch.load("model.pt", weights_only=False)
model = model.cuda() if on_gpu else model

class Digits(Dataset):
    pictures, labels = torch.load("digits.pt")
    unlucky = int(sys.argv[1]) if sys.argv[1:] else None  # who reads this picture dies of it

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, place):
        if place == self.unlucky:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.pictures[place], self.labels[place]

statistics = Summarizer([Mean()])
found = attribute_dataset(
    IntegratedGradients(model),
    DataLoader(Digits(), batch_size=64),
    out="scores",
    target="labels",
    block=256,
    summarizer=statistics,
)
if dist.get_rank() == 0:
    print(len(found), "examples explained by", dist.get_world_size(), "processes")
    torch.save(statistics.summary, "statistics.pt")
dist.destroy_process_group()
""")

# %% [markdown]
# ### One process dies
#
# First a bad day: whoever reads picture 1400 is killed on the spot, and `torchrun` ends the others.

# %%
ended = torchrun("explain.py", "1400")
written = {path.name: path.stat().st_mtime_ns for path in folder.glob("scores/*.safetensors")}
print("ended with", ended.returncode, "after", len(written), "of 8 files")
assert ended.returncode != 0
assert 0 < len(written) < 8

# %% [markdown]
# Then the same line again. What is there stays; what is missing is made.

# %%
ended = torchrun("explain.py")
print(ended.stdout.strip())
assert ended.returncode == 0, ended.stderr
kept = [path for path in folder.glob("scores/*.safetensors") if path.name in written]
assert all(path.stat().st_mtime_ns == written[path.name] for path in kept)

# %% [markdown]
# ### As one process does it
#
# Scores and statistics are those of one process and a plain model.

# %%
alone = Summarizer([Mean()])
loader = DataLoader(TensorDataset(pictures, labels), batch_size=64)
one = attribute_dataset(
    IntegratedGradients(model), loader, folder / "alone", "labels", summarizer=alone
)
shared = Attributions(folder / "scores")
difference = float((one.scores() - shared.scores()).abs().max())
print(f"{len(shared)} examples, largest difference {difference:.1e}")
torch.testing.assert_close(shared.scores(), one.scores(), rtol=1e-4, atol=1e-6)
mean = torch.load(folder / "statistics.pt")["mean"]
torch.testing.assert_close(mean, alone.summary["mean"], rtol=1e-4, atol=1e-6)

# %%
figure, axes = plt.subplots(1, 6, figsize=(9, 1.8))
largest = float(mean.abs().max())
axes[0].imshow(mean[0], cmap="RdBu", vmin=-largest, vmax=largest)
axes[0].set_title("mean", fontsize=10)
for axis, place in zip(axes[1:], (0, 400, 800, 1200, 1600), strict=True):
    scores = shared[place][0]
    largest = float(scores.abs().max())
    axis.imshow(scores, cmap="RdBu", vmin=-largest, vmax=largest)
    axis.set_title(f"picture {place}: {int(labels[place])}", fontsize=10)
for axis in axes:
    axis.set_axis_off()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Influence, the same way
#
# Training data is the large thing of an influence method, so it is what the processes share. Every
# process has the whole answer at the end. (TCAV does the same with the examples of concepts.)

# %%
torch.save(model.state_dict(), folder / "checkpoint.pt")
(folder / "influence.py").write_text("""
import torch
import torch.distributed as dist
from torch.utils.data import TensorDataset
from captum.influence import TracInCP

dist.init_process_group("gloo")
pictures, labels = torch.load("digits.pt")
tracin = TracInCP(
    torch.load("model.pt", weights_only=False),
    TensorDataset(pictures[:1500], labels[:1500]),
    ["checkpoint.pt"],
    loss_fn=torch.nn.CrossEntropyLoss(reduction="sum"),
    batch_size=100,
)
found = tracin.influence((pictures[1500:1505], labels[1500:1505]), k=3)
if dist.get_rank() == 0:
    torch.save(tuple(found), "influence.pt")
dist.destroy_process_group()
""")
ended = torchrun("influence.py")
assert ended.returncode == 0, ended.stderr
examples, scores = torch.load(folder / "influence.pt")

tracin = TracInCP(
    model,
    TensorDataset(pictures[:1500], labels[:1500]),
    [folder / "checkpoint.pt"],
    loss_fn=nn.CrossEntropyLoss(reduction="sum"),
    batch_size=100,
)
expected = tracin.influence((pictures[1500:1505], labels[1500:1505]), k=3)
for place, best in enumerate(examples, start=1500):
    print(f"picture {place}, a {labels[place]}: most helped by {labels[best].tolist()}")
assert torch.equal(examples, expected.indices)
torch.testing.assert_close(scores, expected.influence_scores, rtol=1e-4, atol=1e-6)

# %% [markdown]
# ## Larger still
#
# - A model that does not fit one GPU: `fully_shard` (FSDP2) and `device_map` models give the plain
#   model's scores; [which work is shared then](../datasets.md#models-that-are-spread).
# - Several machines: `torchrun --nnodes …`, and a folder that all of them see.
# - Ray instead of `torchrun`: `attribute_ray_dataset`.
# - [What a thousand GPUs would do](../datasets.md#what-it-costs), from measurements.
# - [A study of a whole data set](dataset_study.md): what statistics and class maps show.
