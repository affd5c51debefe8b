"""What comes before a layer runs once, where that is safe; results never tell the difference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from captum._engine import prefix
from captum.attr import FeatureAblation, LayerFeatureAblation, LayerIntegratedGradients


class Net(nn.Module):
    """A body of whatever kind, a layer to attribute to, and a head."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.body = nn.Linear(4, 6)
        self.layer = nn.Linear(6, 5)
        self.head = nn.Linear(5, 3)
        for p in self.parameters():
            p.data = torch.rand(p.shape, generator=generator, dtype=torch.float64) - 0.4

    def before(self, x: Tensor) -> Tensor:
        return self.body(x).relu()

    def after(self, y: Tensor, x: Tensor, h: Tensor) -> Tensor:
        return self.head(y)

    def forward(self, x: Tensor) -> Tensor:
        h = self.before(x)
        y = self.layer(h)
        return self.after(y.tanh(), x, h)


class Around(Net):
    """What the layer gets is used again behind it."""

    def after(self, y, x, h):
        return self.head(y) * h[:, :3] + x[:, :3]


class InPlace(Net):
    def before(self, x):
        h = self.body(x)
        h += 1
        h[:, 0] = 0.5
        return torch.relu_(h)

    def after(self, y, x, h):
        return self.head(y) + h[:, :3]


class Several(Net):
    """Functions with several results, and a number that is asked for."""

    def before(self, x):
        h = self.body(x)
        values, places = h.max(1, keepdim=True)
        left, right = h.chunk(2, 1)
        assert places.shape == (x.size(0), 1)
        self.kept = right
        return torch.cat([left * values, right], 1) / float(h.shape[1])

    def after(self, y, x, h):
        return self.head(y) + self.kept


class Flattened(Net):
    """Rows and steps in one dimension, and a mask that has no rows."""

    def before(self, x):
        h = self.body(x.repeat_interleave(3, 0))
        self.mask = torch.ones(6, 6, dtype=h.dtype).tril()
        self.flat = h
        return (h @ self.mask).view(len(x), 3, 6).mean(1)

    def after(self, y, x, h):
        return self.head(y) + self.flat.view(len(y), 3, 6)[:, :, 0] + self.mask[0, 0]


class Recurrent(Net):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lstm = nn.LSTM(1, 6, batch_first=True).double()

    def before(self, x):
        out, (h, c) = self.lstm(x[:, :, None])
        self.state = h
        return out[:, -1] + c[0]

    def after(self, y, x, h):
        return self.head(y) + self.state[0, :, :3]


class NoGrad(Net):
    """Switches a mode on its way."""

    def before(self, x):
        with torch.no_grad():
            return super().before(x)


class AsksAll(Net):
    """Goes a way that depends on all examples together, as for a mask that hides nothing."""

    def before(self, x):
        h = super().before(x)
        return h.exp() if bool((x[:, 0] > -0.2).all()) else h


SAFE = [Net, Around, InPlace, Several, Flattened, Recurrent, NoGrad, AsksAll]


class Noisy(Net):
    def before(self, x):
        return nn.functional.dropout(super().before(x), 0.5)


class Written(Around):
    """Overwrites behind the layer what was made before it."""

    def after(self, y, x, h):
        return self.head(y) * h.mul_(2)[:, :3]


class StepsFirst(Net):
    """Rows are not what changes slowest."""

    def before(self, x):
        self.steps = self.body(x).t().reshape(-1)
        return super().before(x)

    def after(self, y, x, h):
        return self.head(y) + self.steps.view(6, -1)[:3].t()


class OverRows(Net):
    """A number that is of all rows."""

    def before(self, x):
        self.scale = x.abs().sum()
        return super().before(x)

    def after(self, y, x, h):
        return self.head(y) * (1 + 0 * self.scale)


class Asks(Net):
    """Goes a way that depends on the rows' values."""

    def before(self, x):
        h = super().before(x)
        return h + 0.0 * x.sum().item()


class Picky(Net):
    """Takes two rows or more of examples, and no others."""

    def before(self, x):
        if len(x) < 3:
            raise RuntimeError("too few rows")
        return super().before(x)


class Counts(Net):
    """Is another model after some passes."""

    passes = 0

    def before(self, x):
        self.passes += 1
        h = super().before(x)
        return h if self.passes < 6 else h.exp().log()


UNSAFE = [Noisy, Written, StepsFirst, OverRows, Asks, Picky, Counts]


class Rows(TorchDispatchMode):
    """Counts the rows that a product with the body's weight really works on."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.addmm.default and result.shape[1] == 6:
            self.count += len(result)
        return result


def ablated(net: nn.Module, x: Tensor, **options) -> Tensor:
    torch.manual_seed(1)
    return LayerFeatureAblation(net, net.layer).attribute(x, target=1, **options)


@pytest.fixture
def as_ever(monkeypatch):
    def run(function):
        with monkeypatch.context() as patch:
            patch.setattr(prefix, "_PAYS", 1 << 60)
            return function()

    return run


@pytest.mark.parametrize("kind", SAFE)
@pytest.mark.parametrize("rows", [1, 2, 3, 7])
@pytest.mark.parametrize("per_pass", [1, 2, "auto"])
def test_nothing_changes(kind, rows, per_pass, as_ever):
    x = torch.rand(rows, 4, dtype=torch.float64) - 0.3
    options = {"perturbations_per_eval": per_pass}
    assert torch.allclose(
        ablated(kind(), x, **options), as_ever(lambda: ablated(kind(), x, **options)), atol=1e-12
    )


@pytest.mark.parametrize("kind", [k for k in SAFE if k not in (Flattened, Recurrent)])
def test_what_comes_before_runs_once(kind):
    net, x = kind(), torch.rand(40, 4, dtype=torch.float64)
    with Rows() as rows:
        ablated(net, x, perturbations_per_eval=1)
    assert rows.count <= 40 + 40 + 2  # the layer's values, the record, and its second one


@pytest.mark.parametrize("kind", UNSAFE)
def test_what_cannot_be_known_is_run(kind, as_ever):
    x = torch.rand(3, 4, dtype=torch.float64) - 0.3
    options = {"perturbations_per_eval": 4}

    def run():
        return ablated(kind(), x, layer_mask=torch.arange(5)[None], **options)

    assert torch.allclose(run(), as_ever(run), atol=1e-12)


def test_more_rows_than_a_pass_takes(as_ever):
    x = torch.rand(3000, 4, dtype=torch.float64)

    def run():
        with Rows() as rows:
            return ablated(Around(), x), rows.count

    (scores, rows), (others, as_many) = run(), as_ever(run)
    assert torch.allclose(scores, others, atol=1e-12)
    assert rows <= 3000 + 3000 + 1024 + 2 < as_many / 2  # and the pass that sizes are learnt in


@pytest.mark.parametrize("kind", SAFE)
def test_gradients_at_a_layer(kind, as_ever):
    x = torch.rand(3, 4, dtype=torch.float64)

    def run():
        net = kind()
        method = LayerIntegratedGradients(net, net.layer)
        return method.attribute(x, target=1, internal_batch_size=12, n_steps=40)

    assert torch.allclose(run(), as_ever(run), atol=1e-12)


def test_side_of_the_input(as_ever):
    x = torch.rand(5, 4, dtype=torch.float64)

    def run():
        return ablated(Around(), x, attribute_to_layer_input=True, perturbations_per_eval=2)

    assert torch.allclose(run(), as_ever(run), atol=1e-12)


def test_error_of_the_model_reaches_the_user():
    class Fails(Net):
        passes = 0

        def after(self, y, x, h):
            self.passes += 1
            if self.passes > 4:
                raise KeyError("the model's own")
            return super().after(y, x, h)

    with pytest.raises(KeyError, match="the model's own"):
        ablated(Fails(), torch.rand(8, 4, dtype=torch.float64), perturbations_per_eval=1)


def test_what_a_model_keeps_is_never_empty():
    net = Several()
    ablated(net, torch.rand(20, 4, dtype=torch.float64), perturbations_per_eval=1)
    assert not net.kept.isnan().any()


def test_every_way_with_autocast(as_ever):
    net = Around().float()
    x = torch.rand(20, 4)

    def run():
        with torch.autocast("cpu", torch.bfloat16):
            return ablated(net, x, perturbations_per_eval=1)

    assert torch.equal(run(), as_ever(run))


def test_several_layers(as_ever):
    x = torch.rand(9, 4, dtype=torch.float64)

    def run():
        net = Around()
        method = FeatureAblation(net, at=[net.layer, net.head])
        return method.attribute(x, target=1, perturbations_per_eval=1)

    assert all(map(torch.allclose, run(), as_ever(run)))
