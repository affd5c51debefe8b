"""Models that are wrapped for several processes: attribution is the plain model's."""

import pytest
import torch
from accelerate import dispatch_model
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import TensorDataset

from captum import attr
from captum.attr import Mean, Summarizer
from captum.concept import TCAV, Concept
from captum.influence import TracInCP
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


def whole(model, folder):
    """What shares work among processes, of a model that may take all of them for a pass."""
    data, statistics = pictures().split(2), Summarizer([Mean()])  # three blocks, of 2, 2 and 1
    method = attr.Saliency(model)
    stored = attr.attribute_dataset(method, data, folder / "s", target=1, block=2)
    attr.attribute_dataset(method, data, target="predictions", block=2, summarizer=statistics)
    some = [Concept(i, f"c{i}", pictures().add(i).split(2)) for i in range(3)]
    (layers,) = (
        TCAV(model, "module.3" if hasattr(model, "module") else "3")
        .interpret(pictures(), [some], target=0)
        .values()
    )
    return {
        "stored": stored.scores(),
        "mean": statistics.summary["mean"],
        "concepts": next(iter(layers.values()))["sign_count"],
    }


def _wrapped(rank, size, folder, kind):
    plain = net()
    if kind == "DDP":
        plain.register_buffer(
            "kept", torch.zeros(1), persistent=False
        )  # which passes of the wrapper would send
        model = DistributedDataParallel(plain)
    else:
        from torch.distributed.fsdp import fully_shard

        model = fully_shard(plain)
    try:
        torch.save(scores(model, plain, but=REFUSED[kind]), folder / f"{rank}.pt")
        torch.save(whole(model, folder), folder / f"whole-{rank}.pt")
        data = TensorDataset(pictures(), torch.arange(5) % 3)
        if kind == "FSDP2":
            with pytest.raises(ValueError, match="parameters are here"):
                TracInCP(model, data, [plain.state_dict()])
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
    torch.manual_seed(3)
    alone = whole(plain, tmp_path / "plain")
    for rank in range(2):
        made = torch.load(tmp_path / f"whole-{rank}.pt", weights_only=True)
        for name, values in alone.items():
            assert torch.allclose(made[name], values, atol=1e-5), name
    # Under a wrapper or not, it is the same model: its files go on.
    again = attr.attribute_dataset(
        attr.Saliency(plain), pictures().split(2), tmp_path / "s", target=1, block=2
    )
    assert torch.equal(again.scores(), made["stored"])


def _in_layers(rank, size, folder):
    """Sharded layer by layer; and after a pass alone, when the outermost parameters are whole."""
    from torch.distributed.fsdp import fully_shard

    model, root = net(), fully_shard(net())
    for layer in (model[0], model[3]):
        fully_shard(layer)
    fully_shard(model)
    rules = {"LRP", "DeepLIFT"}
    torch.save(scores(model, model, but=rules), folder / f"{rank}.pt")
    for name in sorted(rules):
        with pytest.raises(ValueError, match=r"(?s)fully_shard has wrapped.*the plain model"):
            METHODS[name](model, model).attribute(pictures(), target=1)
    conductance = attr.NeuronConductance(model, model[0])
    with pytest.raises(ValueError, match="the plain model"):
        conductance.attribute(pictures(), (0, 0, 0), target=1)
    root(pictures())
    assert not any(hasattr(p, "full_tensor") for p in root.parameters())
    data = pictures().split(2)  # three blocks: one process has one more
    method = attr.Saliency(root)
    stored = attr.attribute_dataset(method, data, folder / "root", target=1, block=2)
    torch.save(stored.scores(), folder / f"root-{rank}.pt")
    with pytest.raises(ValueError, match="parameters are here"):
        TracInCP(root, TensorDataset(*pictures().split(1)), [{}])


def _in_functions(rank, size, folder):
    """A function that runs a wrapper; and one wrapper around another."""
    plain = net()
    plain.register_buffer("kept", torch.zeros(1), persistent=False)
    model = DistributedDataParallel(plain)
    method = attr.Saliency(lambda x: model(x) * 2)
    attr.attribute_dataset(method, pictures().split(2), folder / "f", target=1, block=2)
    compiled = torch.compile(model, backend="eager")
    if rank == 0:  # alone: nobody is waited for
        for made in (attr.Saliency, attr.IntegratedGradients, attr.FeatureAblation):
            made(compiled).attribute(pictures(), target=1)


def test_sharded_layer_by_layer(tmp_path):
    together(2, _in_layers, tmp_path)
    plain = net()
    for rank in range(2):
        made = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, values in scores(plain, plain, but={"LRP", "DeepLIFT"}).items():
            assert torch.allclose(made[name], values, atol=1e-5), name
        root = torch.load(tmp_path / f"root-{rank}.pt", weights_only=True)
        assert torch.allclose(root, attr.Saliency(plain).attribute(pictures(), 1), atol=1e-5)


def test_wrappers_in_functions_and_in_each_other(tmp_path):
    together(2, _in_functions, tmp_path)
    truth = 2 * attr.Saliency(net()).attribute(pictures(), target=1)
    assert torch.allclose(attr.Attributions(tmp_path / "f").scores(), truth, atol=1e-5)


@pytest.mark.parametrize("away", ["0", "3", "5", "035"])
def test_parameters_that_are_fetched_when_needed(tmp_path, away):
    """A device map of accelerate, with layers on the disk."""
    places = {name: "disk" if name in away else "cpu" for name in "012345"}
    model = dispatch_model(net(), device_map=places, main_device="cpu", offload_dir=tmp_path / "w")
    assert any(p.is_meta for p in model.parameters())
    plain = net()
    found = scores(model, model)
    for name, values in scores(plain, plain).items():
        assert torch.allclose(found[name], values, atol=1e-5), name
    torch.manual_seed(3)
    alone = whole(plain, tmp_path)
    torch.manual_seed(3)
    for name, values in whole(model, tmp_path).items():
        assert torch.allclose(values, alone[name], atol=1e-5), name
    data = TensorDataset(pictures(), torch.arange(5) % 3)
    with pytest.raises(ValueError, match="parameters are here"):
        TracInCP(model, data, [plain.state_dict()], loss_fn=nn.CrossEntropyLoss(reduction="none"))
