"""Concepts: which human ideas made this prediction."""

from captum.concept.cav import CAV
from captum.concept.classifier import Classifier, DefaultClassifier
from captum.concept.concept import Concept, ConceptInterpreter
from captum.concept.data import CustomIterableDataset, dataset_to_dataloader
from captum.concept.significance import ConceptTest
from captum.concept.tcav import TCAV

__all__ = [
    "CAV",
    "TCAV",
    "Classifier",
    "Concept",
    "ConceptInterpreter",
    "ConceptTest",
    "CustomIterableDataset",
    "DefaultClassifier",
    "dataset_to_dataloader",
]
