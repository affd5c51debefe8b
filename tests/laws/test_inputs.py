"""How the inputs come and what the model returns changes the shape of the results, no number."""

from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum._engine.nest import scored
from laws import nets
from laws.compare import assert_same_scores, each
from laws.methods import METHODS, Method, keeping, name_of

# It masks one image by its own activation.
_SEVERAL_INPUTS = keeping(lambda m: m.name != "LayerScoreCam")


def seeded(method: Method, *args: Any, **more: Any) -> Any:
    nets.reseed()
    return method.scores(*args, **more)


class Wrapped(nn.Module):
    """The net behind another signature."""

    def __init__(self, net: nets.Net) -> None:
        super().__init__()
        self.net = net


class ByPosition(Wrapped):
    def forward(self, a: Tensor, extra: Any = None, b: Tensor | None = None) -> Tensor:
        assert extra is None
        out: Tensor = self.net(torch.cat([a, b], 1))
        return out


class ByKeyword(Wrapped):
    def forward(self, *, left: Tensor, right: Tensor, unused: Any = None) -> Tensor:
        out: Tensor = self.net(torch.cat([left, right], 1))
        return out


class OneDict(Wrapped):
    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        out: Tensor = self.net(torch.cat([batch["left"], batch["right"]], 1))
        return out


@dataclass(frozen=True)
class Way:
    """A way for two halves of the channels into a model."""

    model: type[Wrapped]
    pack: Callable[[Any, Any], Any]
    kind: type


_WAYS = {
    "tuple with None": Way(ByPosition, lambda a, b: (a, None, b), tuple),
    "list": Way(ByPosition, lambda a, b: [a, None, b], tuple),
    "keywords": Way(ByKeyword, lambda a, b: {"left": a, "right": b}, dict),
    "keywords with None": Way(
        ByKeyword, lambda a, b: {"left": a, "unused": None, "right": b}, dict
    ),
    "one dict": Way(OneDict, lambda a, b: {"left": a, "right": b}, dict),
}


def packed(options: Mapping[str, Any], way: Way) -> dict[str, Any]:
    """A baseline for each half."""
    given = options.get("baselines")
    if isinstance(given, list):
        return {"baselines": [_pair(way, each) for each in given]}
    return {"baselines": _pair(way, given)} if isinstance(given, float) else {}


def _pair(way: Way, level: float) -> Any:
    both = way.pack(level, level)
    return tuple(both) if isinstance(both, list) else both


@pytest.mark.parametrize("method", _SEVERAL_INPUTS, ids=name_of)
@each("name", _WAYS)
def test_inputs_in_parts(method: Method, name: str) -> None:
    net, x, way = method.net(), nets.images(), _WAYS[name]
    parts = way.pack(x[:, :1].clone(), x[:, 1:].clone())
    found = seeded(method, way.model(net), parts, places=net, **packed(method.options, way))
    if method.lands == "inputs":
        assert type(found) is way.kind
        wanted = way.pack(1, 2)
        filled = found if isinstance(found, dict) else dict(enumerate(found))
        places = wanted if isinstance(wanted, dict) else dict(enumerate(wanted))
        assert filled.keys() == places.keys()
        assert [filled[k] is None for k in places] == [v is None for v in places.values()]
        found = torch.cat(scored(found), 1)
    if not method.noise:  # which is drawn input by input
        assert_same_scores(found, seeded(method, net, x), 1e-8)


class Scaled(Wrapped):
    """Takes along what is not explained: by position or keyword, per example or not."""

    def forward(self, x: Tensor, scale: Any = 1.0, shift: Any = 0.0, *, word: str = "") -> Any:
        assert isinstance(word, str)
        return self.net(x) * scale + shift


_EXTRAS: dict[str, dict[str, Any]] = {
    "a number": {"additional_forward_args": 2.0},
    "a tuple": {"additional_forward_args": (2.0, 1.0)},
    "a row per example": {"additional_forward_args": torch.full((3, 1), 2.0).double()},
    "no row per example": {"additional_forward_args": (torch.tensor(2.0), torch.ones(1, 3))},
    "None and a word": {
        "additional_forward_args": (2.0,),
        "forward_kwargs": {"word": "yes", "shift": torch.ones(3, 1)},
    },
    "keywords": {"forward_kwargs": {"scale": torch.full((3, 1), 2.0).double()}},
}
_SHIFTS = dict.fromkeys(["a tuple", "no row per example", "None and a word"], 1.0)


@pytest.mark.parametrize("method", METHODS, ids=name_of)
@each("name", _EXTRAS)
def test_what_rides_along(method: Method, name: str) -> None:
    net, x = method.net(), nets.images()
    model = Scaled(net)
    found = seeded(method, model, x, places=net, **_EXTRAS[name])
    bound = Scaled(net)

    def doubled(value: Tensor) -> Any:
        return bound(value, 2.0, 0.0 if method.centred else _SHIFTS.get(name, 0.0))

    assert_same_scores(found, seeded(method, doubled, x, places=net), max(1e-8, method.rounds))


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_rows_that_ride_along_stay_with_their_example(method: Method) -> None:
    """In passes of every size: the scales of the examples differ."""
    net, x = method.net(), nets.images()
    scale = torch.tensor([[1.0], [2.0], [3.0]]).double()
    small = {size: 2 for size in method.sizes(net) if size != "nt_samples_batch_size"}
    found = seeded(method, Scaled(net), x, places=net, additional_forward_args=scale, **small)
    wanted = seeded(method, Scaled(net), x, places=net, forward_kwargs={"scale": scale})
    assert_same_scores(found, wanted, 1e-12)
    if not method.draws:
        last = seeded(method, Scaled(net), x[2:], places=net, additional_forward_args=3.0)
        for whole, row in zip(scored(found), scored(last), strict=True):
            torch.testing.assert_close(whole[2:], row, atol=1e-8, rtol=1e-8)


class ModelOutput(dict):  # type: ignore[type-arg]
    """As Hugging Face's: a dict with attributes."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


Pair = namedtuple("Pair", ["scores", "rest"])


class Returning(Wrapped):
    def __init__(self, net: nets.Net, form: Callable[[Tensor], Any]) -> None:
        super().__init__(net)
        self.form = form

    def forward(self, x: Tensor) -> Any:
        return self.form(self.net(x))


_OUTPUTS: dict[str, Callable[[Tensor], Any]] = {
    "tuple": lambda out: (out, out * 0),
    "list": lambda out: [out, "word"],
    "named tuple": lambda out: Pair(out, None),
    "dict": lambda out: {"scores": out, "rest": out * 0},
    "dict with logits": lambda out: {"loss": out.sum(), "logits": out},
    "model output": lambda out: ModelOutput(loss=out.sum(), logits=out, hidden=(out,)),
    "nested": lambda out: ({"a": (out,)}, None),
}


@pytest.mark.parametrize("method", METHODS, ids=name_of)
@each("form", _OUTPUTS)
def test_outputs_of_every_form(method: Method, form: str) -> None:
    net, x = method.net(), nets.images()
    found = seeded(method, Returning(net, _OUTPUTS[form]), x, places=net)
    assert_same_scores(found, seeded(method, net, x), 1e-12)


@pytest.mark.parametrize("method", keeping(lambda m: m.asks == "target"), ids=name_of)
def test_a_function_reads_the_output_as_it_is(method: Method) -> None:
    net, x = method.net(), nets.images()
    model = Returning(net, lambda out: {"a": out * 0, "b": {"deep": out}})
    found = seeded(method, model, x, lambda out: out["b"]["deep"][:, 2], places=net)
    assert_same_scores(found, seeded(method, net, x, 2), 1e-12)


@pytest.mark.parametrize("method", keeping(lambda m: m.asks == "target"), ids=name_of)
@each("form", ["vector", "column"])
def test_one_output_needs_no_target(method: Method, form: str) -> None:
    net, x = method.net(), nets.images()
    columns = slice(1, 2) if form == "column" else 1
    model = Returning(net, lambda out: out[:, columns])
    nets.reseed()
    found = method.on(model, places=net).attribute(x, **method.given(x))
    assert_same_scores(found, seeded(method, net, x, 1), 1e-12)
