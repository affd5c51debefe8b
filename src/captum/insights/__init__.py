"""Look at a model's answers and at their reasons: in a notebook, on a local page, in one file."""

from captum.insights.examples import Batch
from captum.insights.visualizer import AttributionVisualizer

__all__ = ["AttributionVisualizer", "Batch"]
