"""Which explanation to trust: methods by metrics, on models whose right answer is known."""

from captum.benchmark.contestants import CONTESTANTS
from captum.benchmark.results import Results, Row
from captum.benchmark.run import JUDGES, run
from captum.benchmark.tasks import TASKS, Task
from captum.benchmark.training import INFLUENCES, run_influence

__all__ = [
    "CONTESTANTS",
    "INFLUENCES",
    "JUDGES",
    "TASKS",
    "Results",
    "Row",
    "Task",
    "run",
    "run_influence",
]
