"""Models that are wrapped for several processes: attribution is the plain model's."""

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from captum import attr
from gloo import together

# Whose way back the wrapper has taken, and who therefore say so.
REFUSED = {"DDP": (), "FSDP2": ("LRP",)}


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.GELU(), nn.Linear(8, 3)
    ).eval()


def pictures():
    torch.manual_seed(1)
    return torch.randn(5, 1, 6, 6)


METHODS = {
    "saliency": lambda model, plain: attr.Saliency(model),
    "integrated gradients": lambda model, plain: attr.IntegratedGradients(model),
    "DeepLIFT": lambda model, plain: attr.DeepLift(model),
    "LRP": lambda model, plain: attr.LRP(model),
    "guided": lambda model, plain: attr.GuidedBackprop(model),
    "ablation": lambda model, plain: attr.FeatureAblation(model),
    "layer gradients": lambda model, plain: attr.LayerGradientXActivation(model, plain[0]),
    "layer paths": lambda model, plain: attr.LayerIntegratedGradients(model, plain[0]),
    "conductance": lambda model, plain: attr.LayerConductance(model, plain[0]),
    "Grad-CAM": lambda model, plain: attr.LayerGradCam(model, plain[0]),
}


def scores(model, plain, but=()):
    return {
        name: make(model, plain).attribute(pictures(), target=1)
        for name, make in METHODS.items()
        if name not in but
    }


def _wrapped(rank, size, folder, kind):
    plain = net()
    if kind == "DDP":
        model = DistributedDataParallel(plain)
    else:
        from torch.distributed.fsdp import fully_shard

        model = fully_shard(plain)
    try:
        torch.save(scores(model, plain, but=REFUSED[kind]), folder / f"{rank}.pt")
        for name in REFUSED[kind]:
            METHODS[name](model, plain).attribute(pictures(), target=1)
    except Exception as error:
        (folder / f"{rank}.txt").write_text(str(error))


@pytest.mark.parametrize("kind", ["DDP", "FSDP2"])
def test_on_two_processes(tmp_path, kind):
    together(2, _wrapped, tmp_path, kind)
    told = [path.read_text() for path in tmp_path.glob("*.txt")]
    assert len(told) == 2 * len(REFUSED[kind]), told
    assert all("fully_shard has wrapped" in each and "plain model" in each for each in told)
    plain = net()
    truth = scores(plain, plain, but=REFUSED[kind])
    for rank in range(2):
        made = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, values in truth.items():
            assert torch.allclose(made[name], values, atol=1e-5), name
