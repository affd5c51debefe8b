"""Metrics: how far an explanation can be trusted."""

from captum.metrics.agreement import faithfulness_correlation, monotonicity, sensitivity_n
from captum.metrics.curves import (
    RemovalCurve,
    comprehensiveness,
    deletion,
    insertion,
    pixel_flipping,
    sufficiency,
)
from captum.metrics.infidelity import infidelity, infidelity_perturb_func_decorator
from captum.metrics.measure import METRICS, Measure
from captum.metrics.place import pointing_game, relevance_mass, relevance_rank
from captum.metrics.randomisation import Randomised, parameter_randomisation
from captum.metrics.sensitivity import sensitivity_max
from captum.metrics.shape import complexity, sparseness
from captum.metrics.stability import (
    local_lipschitz,
    relative_input_stability,
    relative_output_stability,
)

__all__ = [
    "METRICS",
    "Measure",
    "Randomised",
    "RemovalCurve",
    "complexity",
    "comprehensiveness",
    "deletion",
    "faithfulness_correlation",
    "infidelity",
    "infidelity_perturb_func_decorator",
    "insertion",
    "local_lipschitz",
    "monotonicity",
    "parameter_randomisation",
    "pixel_flipping",
    "pointing_game",
    "relative_input_stability",
    "relative_output_stability",
    "relevance_mass",
    "relevance_rank",
    "sensitivity_max",
    "sensitivity_n",
    "sparseness",
    "sufficiency",
]
