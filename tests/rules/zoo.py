"""All models on which backward rules must be complete, in one table."""

from __future__ import annotations

from collections.abc import Callable

from rules.entry import Entry
from rules.zoo_activations import ACTIVATIONS
from rules.zoo_attention import ATTENTION
from rules.zoo_calls import CALLS
from rules.zoo_nets import NETS
from rules.zoo_norms import NORMS
from rules.zoo_pools import POOLS
from rules.zoo_products import PRODUCTS
from rules.zoo_recurrent import RECURRENT
from rules.zoo_shapes import SHAPES

ZOO: list[Entry] = [
    *ACTIVATIONS,
    *POOLS,
    *NORMS,
    *PRODUCTS,
    *ATTENTION,
    *RECURRENT,
    *SHAPES,
    *NETS,
    *CALLS,
]


def keeping(law: Callable[[Entry], bool]) -> list[Entry]:
    return [entry for entry in ZOO if law(entry)]
