"""Influence: which training examples made this prediction."""

from captum.influence.base import DataInfluence, KMostInfluentialResults
from captum.influence.conjugate_gradients import ConjugateGradientInfluence
from captum.influence.ekfac import EKFACInfluence
from captum.influence.evaluation import linear_datamodelling_score
from captum.influence.functions import (
    ArnoldiInfluenceFunction,
    InfluenceFunctionBase,
    IntermediateQuantitiesInfluenceFunction,
    NaiveInfluenceFunction,
)
from captum.influence.neighbors import (
    AnnoyNearestNeighbors,
    ExactNearestNeighbors,
    NearestNeighbors,
)
from captum.influence.projected import TracInCPRandProj
from captum.influence.similarity import (
    SimilarityInfluence,
    cosine_similarity,
    euclidean_distance,
)
from captum.influence.tracin import TracInCP, TracInCPBase
from captum.influence.tracin_fast import TracInCPFast, TracInCPFastRandProj
from captum.influence.trak import TRAK

__all__ = [
    "TRAK",
    "AnnoyNearestNeighbors",
    "ArnoldiInfluenceFunction",
    "ConjugateGradientInfluence",
    "DataInfluence",
    "EKFACInfluence",
    "ExactNearestNeighbors",
    "InfluenceFunctionBase",
    "IntermediateQuantitiesInfluenceFunction",
    "KMostInfluentialResults",
    "NaiveInfluenceFunction",
    "NearestNeighbors",
    "SimilarityInfluence",
    "TracInCP",
    "TracInCPBase",
    "TracInCPFast",
    "TracInCPFastRandProj",
    "TracInCPRandProj",
    "cosine_similarity",
    "euclidean_distance",
    "linear_datamodelling_score",
]
