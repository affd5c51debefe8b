"""Robustness: how little breaks a prediction, or its explanation."""

from captum.robust.apgd import APGD
from captum.robust.base import Attack, Perturbation
from captum.robust.comparator import AttackComparator
from captum.robust.curve import RobustnessCurve, robustness_curve
from captum.robust.deep_fool import DeepFool
from captum.robust.explanation import ExplanationAttack
from captum.robust.fgsm import FGSM
from captum.robust.min_param import MinParamPerturbation
from captum.robust.pgd import PGD
from captum.robust.square import Square

__all__ = [
    "APGD",
    "FGSM",
    "PGD",
    "Attack",
    "AttackComparator",
    "DeepFool",
    "ExplanationAttack",
    "MinParamPerturbation",
    "Perturbation",
    "RobustnessCurve",
    "Square",
    "robustness_curve",
]
