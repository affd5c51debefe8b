"""No method can be forgotten: the table has a row for each one there is."""

import inspect
from collections.abc import Callable

import pytest

from captum import attr
from captum._engine.nest import scored
from laws import nets
from laws.methods import METHODS, keeping, name_of

_BASES = {
    attr.Attribution,
    attr.GradientAttribution,
    attr.InternalAttribution,
    attr.LayerAttribution,
    attr.NeuronAttribution,
    attr.PerturbationAttribution,
}
# One explains a data set, not a batch: its laws are in test_dataloader. The other returns whatever
# the user's model does, of one example: see tests/attr/test_lime. Those of language models explain
# prompts: see tests/llm.
_ELSEWHERE = {
    *(attr.DataLoaderAttribution, attr.LimeBase),
    *(attr.LLMAttribution, attr.LLMGradientAttribution, attr.RemoteLLMAttribution),
}


def public_methods() -> set[type]:
    return {
        kind
        for kind in vars(attr).values()
        if inspect.isclass(kind) and issubclass(kind, attr.Attribution)
    } - _BASES


def test_every_public_method_has_a_row() -> None:
    net = nets.smooth()
    made = {type(method.on(net)) for method in METHODS}
    assert public_methods() - made == _ELSEWHERE


def test_every_method_on_inputs_is_tried_at_a_layer_and_of_a_neuron() -> None:
    placed = {type(m.on(nets.smooth())) for m in METHODS if " at " in m.name}
    asked = {type(m.on(nets.smooth())) for m in METHODS if m.asks == "of"}
    takes_both = {
        kind
        for kind in public_methods()
        if {"at", "of"} <= set(inspect.signature(kind.__init__).parameters)
        and not issubclass(kind, attr.InternalAttribution)
    }
    assert takes_both
    assert takes_both <= placed & asked


def test_names_are_distinct() -> None:
    names = [name_of(m) for m in METHODS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("make", [nets.smooth, nets.kinked, nets.linear])
def test_the_laws_are_tried_on_scores_that_are_not_zero(make: Callable[[], nets.Net]) -> None:
    """A law about zeros holds for anything."""
    for method in keeping(lambda m: m.suits(make())):
        found = scored(method.scores(make(), nets.images()))
        largest = max(float(s.abs().max()) for s in found)
        # The gradients of a linear model have no variance.
        constant = make is nets.linear and "vargrad" in method.name
        assert largest > (-1 if constant else 1e-6), method.name
