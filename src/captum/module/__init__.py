"""Modules to train with: gates that learn which inputs a model needs."""

from captum.module.binary_concrete import BinaryConcreteStochasticGates
from captum.module.gates import StochasticGatesBase
from captum.module.gaussian import GaussianStochasticGates

__all__ = [
    "BinaryConcreteStochasticGates",
    "GaussianStochasticGates",
    "StochasticGatesBase",
]
