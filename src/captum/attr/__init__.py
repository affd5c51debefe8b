"""Attribution methods: which inputs, layers and neurons made this prediction."""

from captum._engine.explained import Neuron, Output
from captum._engine.site import Inputs, Layer
from captum._engine.target import Targets
from captum.attr import visualization
from captum.attr.base import (
    Attribution,
    GradientAttribution,
    InternalAttribution,
    LayerAttribution,
    NeuronAttribution,
    PerturbationAttribution,
)
from captum.attr.conductance import InternalInfluence, LayerConductance, NeuronConductance
from captum.attr.dataloader import DataLoaderAttribution
from captum.attr.embeddings import (
    InterpretableEmbeddingBase,
    TokenReferenceBase,
    configure_interpretable_embedding_layer,
    remove_interpretable_embedding_layer,
)
from captum.attr.feature_ablation import FeatureAblation
from captum.attr.grad_cam import (
    LayerCam,
    LayerGradCam,
    LayerGradCamPlusPlus,
    LayerHiResCam,
    LayerScoreCam,
)
from captum.attr.gradient_shap import GradientShap, LayerGradientShap, NeuronGradientShap
from captum.attr.input_x_gradient import InputXGradient, LayerGradientXActivation
from captum.attr.integrated_gradients import (
    IntegratedGradients,
    LayerIntegratedGradients,
    NeuronIntegratedGradients,
)
from captum.attr.layer_activation import LayerActivation
from captum.attr.noise_tunnel import NoiseTunnel, NoiseTunnelType
from captum.attr.saliency import NeuronGradient, Saliency
from captum.attr.summary import (
    MSE,
    ClassSummarizer,
    CommonStats,
    Count,
    Max,
    Mean,
    Min,
    StatValue,
    StdDev,
    Sum,
    Summarizer,
    SummarizerSingleTensor,
    Var,
)

__all__ = [
    "MSE",
    "Attribution",
    "ClassSummarizer",
    "CommonStats",
    "Count",
    "DataLoaderAttribution",
    "FeatureAblation",
    "GradientAttribution",
    "GradientShap",
    "InputXGradient",
    "Inputs",
    "IntegratedGradients",
    "InternalAttribution",
    "InternalInfluence",
    "InterpretableEmbeddingBase",
    "Layer",
    "LayerActivation",
    "LayerAttribution",
    "LayerCam",
    "LayerConductance",
    "LayerGradCam",
    "LayerGradCamPlusPlus",
    "LayerGradientShap",
    "LayerGradientXActivation",
    "LayerHiResCam",
    "LayerIntegratedGradients",
    "LayerScoreCam",
    "Max",
    "Mean",
    "Min",
    "Neuron",
    "NeuronAttribution",
    "NeuronConductance",
    "NeuronGradient",
    "NeuronGradientShap",
    "NeuronIntegratedGradients",
    "NoiseTunnel",
    "NoiseTunnelType",
    "Output",
    "PerturbationAttribution",
    "Saliency",
    "StatValue",
    "StdDev",
    "Sum",
    "Summarizer",
    "SummarizerSingleTensor",
    "Targets",
    "TokenReferenceBase",
    "Var",
    "configure_interpretable_embedding_layer",
    "remove_interpretable_embedding_layer",
    "visualization",
]
