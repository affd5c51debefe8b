"""Settings in words: what changes is seen, and nothing that differs between processes is."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from captum._engine.model import modules_behind
from captum._engine.store import digest, digest_of_model
from captum._engine.words import Words
from captum.attr import FeatureAblation, IntegratedGradients, Lime, Occlusion
from captum.linear import Lasso, SkLearnRidge


@dataclass
class Kernel:
    width: float


class Own(FeatureAblation):
    """Hands on what comes, and learns on the way."""

    def __init__(self, *args, factor, **kwargs):
        super().__init__(*args, **kwargs)
        self.factor, self.calls = factor, 0


class Holding:
    def __init__(self, value):
        self.held = [self, value]


def model(x):
    return x.sum(1)


GLOBAL_NET = nn.Linear(2, 2)
GLOBAL = len


def uses_global(x):
    return GLOBAL_NET(x)


# Made anew each time: two of one kind hold the same.
DIFFERENT = {
    "numbers": lambda i: (1, i),
    "empty": lambda i: [(), []][i],
    "kinds": lambda i: [1, "1"][i],
    "tensors": lambda i: {"baselines": torch.zeros(3) + i},
    "arrays": lambda i: np.zeros(3) + i,
    "functions": lambda i: (torch.relu, torch.tanh)[i],
    "methods": lambda i: (torch.Tensor.abs, torch.Tensor.neg)[i],
    "closures": lambda i: lambda x: x * i,
    "code": lambda i: ((lambda x: x[0]), (lambda x: x[0] * 2))[i],
    "constants": lambda i: ((lambda x: x + 1), (lambda x: x + 2))[i],
    "defaults": lambda i: lambda x, i=i: x,
    "partial": lambda i: partial(torch.sum, dim=i),
    "dataclass": lambda i: Kernel(0.5 + i),
    "loss": lambda i: nn.CrossEntropyLoss(reduction=("sum", "mean")[i]),
    "module": lambda i: nn.Dropout(0.1 + i / 2),
    "closed form": lambda i: Lasso(0.1 + i),
    "scikit-learn": lambda i: SkLearnRidge(alpha=0.1 + i),
    "method": lambda i: IntegratedGradients(model, bool(i)),
    "methods of others": lambda i: Own(model, factor=i),
    "function inside": lambda i: Lime(model, similarity_func=Kernel(1.0 + i)),
    "sets": lambda i: {"a", "b", "c", str(i)},
    "holds itself": Holding,
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_words_change_with_what_they_say_and_with_nothing_else(kind):
    make = DIFFERENT[kind]
    one, again, other = (Words({}).of(make(i)) for i in (0, 0, 1))
    assert one == again
    assert one != other
    assert " at 0x" not in one


def test_what_a_method_learns_on_the_way_is_left_out():
    method = IntegratedGradients(model)
    before = Words({}).of(method)
    method.attribute(torch.ones(2, 3), n_steps=7)
    own = Own(model, factor=1)
    assert before == Words({}).of(method)
    known = Words({}).of(own)
    own.calls += 1
    assert known == Words({}).of(own)
    lime, x = Lime(nn.Linear(3, 1), Lasso(0.1)), torch.ones(1, 3)
    known = Words({}).of(lime)
    lime.attribute(x, target=0, n_samples=20)
    assert known == Words({}).of(lime)


def test_names_stand_for_what_they_name():
    net = nn.Sequential(nn.Linear(2, 2))
    assert Words({id(net[0]): "0"}).of([net[0], None]) == "[0, None]"
    assert "Occlusion" in Words({}).of(Occlusion(net))


def test_the_modules_that_a_function_runs_are_seen():
    net, other = nn.Linear(2, 2), nn.Linear(2, 2)

    class Holder:
        def run(self, x):
            return net(x)

    assert modules_behind(net) == [net]
    assert modules_behind(lambda x: net(x) + 1) == [net]
    assert modules_behind(partial(lambda model, x: model(x), net)) == [net]
    assert modules_behind(net.forward) == [net]
    assert modules_behind(GLOBAL) == []
    assert modules_behind(uses_global) == [GLOBAL_NET]

    def inner(x):
        return other(net(x))

    assert set(modules_behind(lambda x: inner(x) + 1)) == {net, other}
    assert modules_behind(Holder().run) == []


def test_a_digest_sees_all_of_a_nest():
    x = torch.ones(2)
    nests = [
        (x, 1), (x, 2), [x, 1], (x, "1"), {"a": x}, {"b": x}, (x, x), ((x,), x), (x, None),
        np.zeros(3000), np.arange(3000.0), np.float32(0), np.float32(2), "a", b"a",
    ]  # fmt: skip
    same = {digest((x, 1)), digest([x, 1])}
    assert len({digest(nest) for nest in nests}) == len(nests) - 2 + len(same)
    changed = np.zeros(3000)
    changed[1500] = 1
    assert digest(changed) != digest(np.zeros(3000))
    assert digest(torch.arange(6)[::2]) == digest(torch.tensor([0, 2, 4])), "however it lies"
    assert digest(object()) == digest(object()), "addresses are nothing"


def test_a_model_is_its_modules_as_well_as_its_numbers():
    torch.manual_seed(0)
    linear, conv = nn.Linear(2, 2), nn.Conv2d(1, 1, 3)
    nets = [
        nn.Sequential(linear, nn.ReLU()),
        nn.Sequential(linear, nn.Tanh()),
        nn.Sequential(linear, nn.LeakyReLU(0.1)),
        nn.Sequential(linear, nn.LeakyReLU(0.2)),
        conv,
    ]
    strided = nn.Conv2d(1, 1, 3, stride=2)
    strided.load_state_dict(conv.state_dict())
    scaled = nn.Sequential(linear, nn.ReLU())
    scaled.factor = 2.0
    assert len({digest_of_model(net) for net in [*nets, strided, scaled]}) == 7
    assert digest_of_model(nets[0]) == digest_of_model(torch.compile(nets[0], backend="eager"))
    assert digest_of_model(nets[0]) == digest_of_model(nn.DataParallel(nets[0]))
