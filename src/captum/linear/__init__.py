"""Interpretable linear models: what surrogate methods fit, and what users bring of their own."""

from captum.linear.closed_form import Lasso, LinearRegression, Ridge
from captum.linear.model import LinearModel, Model
from captum.linear.scikit import (
    SkLearnLasso,
    SkLearnLinearModel,
    SkLearnLinearRegression,
    SkLearnLogisticRegression,
    SkLearnRidge,
    SkLearnSGDClassifier,
)
from captum.linear.sgd import SGDLasso, SGDLinearModel, SGDLinearRegression, SGDRidge

__all__ = [
    "Lasso",
    "LinearModel",
    "LinearRegression",
    "Model",
    "Ridge",
    "SGDLasso",
    "SGDLinearModel",
    "SGDLinearRegression",
    "SGDRidge",
    "SkLearnLasso",
    "SkLearnLinearModel",
    "SkLearnLinearRegression",
    "SkLearnLogisticRegression",
    "SkLearnRidge",
    "SkLearnSGDClassifier",
]
