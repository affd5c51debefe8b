"""What models run in: threads, compilers, checkpoints, wrappers; rules see through or refuse it."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from captum import attr
from captum._engine import batching
from laws import nets
from laws.compare import assert_same_scores, each
from laws.methods import METHODS, Method, keeping, name_of
from laws.unchanged import unchanged

# Methods that change the way back; to the others all this is PyTorch's own affair.
_RULED = keeping(
    lambda m: "NoiseTunnel" not in m.name and (m.rectified or "strict" in m.accepts(nets.smooth()))
)
ruled = pytest.mark.parametrize("method", _RULED, ids=name_of)
ON_INPUTS = [m for m in _RULED if m.lands == "inputs" and m.asks == "target"]
on_inputs = pytest.mark.parametrize("method", ON_INPUTS, ids=name_of)


def seeded(method: Method, *args: Any, **more: Any) -> Any:
    nets.reseed()
    return method.scores(*args, **more)


@ruled
def test_threads_share_a_model(method: Method) -> None:
    """Each has scores of its own, whatever the others do with the same modules."""
    net, points = method.net(), [nets.images(2, seed=seed) for seed in range(4)]
    wanted = [method.on(net).attribute(x, **_asking(method, x)) for x in points]
    barrier = threading.Barrier(len(points))

    def run(x: Tensor) -> Any:
        barrier.wait()
        return method.on(net).attribute(x, **_asking(method, x))

    with unchanged(net, points, rng=False), ThreadPoolExecutor(len(points)) as pool:
        found = list(pool.map(run, points))
    for ours, theirs in zip(found, wanted, strict=True):
        assert_same_scores(ours, theirs, 1e-12)


def _asking(method: Method, x: Tensor) -> dict[str, Any]:
    given = method.given(x)
    if method.asks in ("target", "neuron_selector"):
        given = {method.asks: method.question, **given}
    return given


def test_methods_of_different_rules_share_a_model() -> None:
    """At the same time; one of them explains a neuron, one has a rule for a module."""
    net, x = nets.kinked(), nets.images()
    makers: list[Callable[[], Any]] = [
        lambda: attr.DeepLift(net).attribute(x, target=1),
        lambda: attr.LRP(net).attribute(x, target=1),
        lambda: attr.GuidedBackprop(net).attribute(x, target=1),
        lambda: attr.Saliency(net).attribute(x, target=1),
        lambda: attr.LayerDeepLift(net, net.layer).attribute(x, target=1),
        lambda: attr.NeuronDeepLift(net, net.neuron).attribute(x, 1),
    ]
    wanted = [make() for make in makers]
    with unchanged(net, x), ThreadPoolExecutor(len(makers)) as pool:
        jobs = [[pool.submit(make) for make in makers] for _ in range(5)]
        for row in jobs:
            for job, theirs in zip(row, wanted, strict=True):
                assert_same_scores(job.result(), theirs, 1e-12)


class Checkpointed(nn.Module):
    """The same net, of which the middle is computed again in the backward pass."""

    def __init__(self, net: nets.Net, reentrant: bool) -> None:
        super().__init__()
        self.net, self.reentrant = net, reentrant

    def _middle(self, joined: Tensor) -> Tensor:
        out: Tensor = self.net.act(self.net.layer(joined))
        return out

    def forward(self, x: Tensor) -> Tensor:
        net = self.net
        joined = net.act(net.left(x)) + net.act(net.right(x))
        middle = checkpoint(self._middle, joined, use_reentrant=self.reentrant)
        out: Tensor = net.head(net.act(net.neuron(middle.flatten(1))))
        return out


@ruled
def test_checkpoints_change_nothing(method: Method) -> None:
    net, x = method.net(), nets.images()
    found = method.scores(Checkpointed(net, reentrant=False), x, places=net)
    assert_same_scores(found, method.scores(net, x), 1e-12)


@on_inputs
def test_reentrant_checkpoints_are_refused(method: Method) -> None:
    net, x = method.net(), nets.images()
    with pytest.raises(ValueError, match="use_reentrant=False"):
        method.scores(Checkpointed(net, reentrant=True), x, places=net)


@ruled
def test_data_parallel_without_devices_is_the_model(method: Method) -> None:
    net, x = method.net(), nets.images()
    found = method.scores(nn.DataParallel(net), x, places=net)
    assert_same_scores(found, method.scores(net, x), 1e-12)


# One of each rule and place: compiling takes its time.
_ONE_EACH = (
    *("DeepLift", "DeepLiftShap", "LayerDeepLift", "NeuronDeepLift", "LRP", "LayerLRP"),
    *("GuidedBackprop", "NeuronDeconvolution", "GuidedGradCam"),
)
_COMPILED = [m for m in _RULED if m.name in _ONE_EACH]


@pytest.mark.parametrize("method", _COMPILED, ids=name_of)
@each("warm", [False, True])
def test_compiled_models_run_as_they_were_written(method: Method, warm: bool) -> None:
    """Also where they have run compiled before, and do so again afterwards."""
    net, x = method.net(), nets.images()
    wanted = method.scores(net, x)
    runs: list[int] = []

    def backend(graph: Any, _inputs: Any) -> Any:
        def run(*args: Any) -> Any:
            runs.append(1)
            return graph.forward(*args)

        return run

    compiled = torch.compile(net, backend=backend)
    if warm:
        compiled(x)
        assert runs
    runs.clear()
    assert_same_scores(method.scores(compiled, x, places=net), wanted, 1e-12)
    assert not runs
    compiled(x)
    assert runs
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@on_inputs
@each("how", [torch.jit.script, torch.jit.trace])
def test_scripted_models_are_refused(method: Method, how: Callable[..., Any]) -> None:
    x = nets.images()
    model = nn.Sequential(nn.Flatten(), nn.Linear(32, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    given = (model,) if how is torch.jit.script else (model, x)
    scripted = how(*given)
    with unchanged(x), pytest.raises(TypeError, match="TorchScript"):
        attribute_plain(method, scripted, x)
    # Inside of another model too.
    with pytest.raises(TypeError, match="TorchScript"):
        attribute_plain(method, nn.Sequential(nn.Identity(), scripted), x)


def attribute_plain(method: Method, model: Any, x: Tensor) -> Any:
    kind = method.on(method.net())
    if isinstance(kind, attr.InternalAttribution):
        made: Any = type(kind)(model, list(model.modules())[-1])  # type: ignore[call-arg]
    else:
        made = type(kind)(model)
    return made.attribute(x, **{"target": 1, **method.given(x)})


class _Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * x.exp()


@pytest.mark.parametrize("method", [m for m in ON_INPUTS if not m.rectified], ids=name_of)
def test_a_function_of_the_users_own_is_refused_by_name(method: Method) -> None:
    net, x = nets.Net(act=_Own.apply), nets.images()
    with pytest.raises(ValueError, match=r"(?s)autograd.Function _Own.*rules="):
        method.scores(net, x)


@pytest.mark.parametrize("method", METHODS, ids=name_of)
@each("keeps_results", [False, True])
def test_no_tensor_outlives_the_call(method: Method, keeps_results: bool) -> None:
    """Beside the scores: no cycle holds a graph until the collector comes, or for good.

    An operation that keeps its own result for the way back is the head of a cycle. The first pass
    is a small one, which is measured.
    """
    net, x = method.net(), nets.images()
    if keeps_results:
        net.act = torch.tanh if net.act is F.softplus else net.act
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "_FIRST_ROWS", 1)
        method.scores(net, x)  # caches that are filled once
        assert not left_by(lambda: method.on(net).attribute(x, **_asking(method, x)))


@pytest.mark.parametrize("kind", [attr.DeepLift, attr.LRP])
def test_no_tensor_outlives_a_report(kind: type[Any]) -> None:
    net, x = nets.kinked(), nets.images()
    explain = lambda: kind(net).attribute(x, target=1, return_report=True)  # noqa: E731
    explain()
    assert not left_by(explain)


def left_by(run: Callable[[], Any]) -> list[Tensor]:
    """The tensors that are there after a call, when its results are gone."""
    gc.disable()
    gc.freeze()  # what was there before is not looked at
    try:
        run()
        return [thing for thing in gc.get_objects() if isinstance(thing, Tensor)]
    finally:
        gc.unfreeze()
        gc.enable()
