"""Attribution methods: which inputs, layers and neurons made this prediction."""

from captum._engine.explained import Neuron, Output
from captum._engine.rules.report import Report
from captum._engine.rules.secants import elementwise
from captum._engine.rules.surroundings import visible
from captum._engine.site import Inputs, Layer
from captum._engine.target import Targets
from captum.attr import lrp_rules, visualization
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
from captum.attr.deep_lift import (
    DeepLift,
    DeepLiftShap,
    LayerDeepLift,
    LayerDeepLiftShap,
    NeuronDeepLift,
    NeuronDeepLiftShap,
)
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
from captum.attr.guided import (
    Deconvolution,
    GuidedBackprop,
    GuidedGradCam,
    NeuronDeconvolution,
    NeuronGuidedBackprop,
)
from captum.attr.input_x_gradient import InputXGradient, LayerGradientXActivation
from captum.attr.integrated_gradients import (
    IntegratedGradients,
    LayerIntegratedGradients,
    NeuronIntegratedGradients,
)
from captum.attr.layer_activation import LayerActivation
from captum.attr.lrp import LRP, LayerLRP
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
    "LRP",
    "MSE",
    "Attribution",
    "ClassSummarizer",
    "CommonStats",
    "Count",
    "DataLoaderAttribution",
    "Deconvolution",
    "DeepLift",
    "DeepLiftShap",
    "FeatureAblation",
    "GradientAttribution",
    "GradientShap",
    "GuidedBackprop",
    "GuidedGradCam",
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
    "LayerDeepLift",
    "LayerDeepLiftShap",
    "LayerGradCam",
    "LayerGradCamPlusPlus",
    "LayerGradientShap",
    "LayerGradientXActivation",
    "LayerHiResCam",
    "LayerIntegratedGradients",
    "LayerLRP",
    "LayerScoreCam",
    "Max",
    "Mean",
    "Min",
    "Neuron",
    "NeuronAttribution",
    "NeuronConductance",
    "NeuronDeconvolution",
    "NeuronDeepLift",
    "NeuronDeepLiftShap",
    "NeuronGradient",
    "NeuronGradientShap",
    "NeuronGuidedBackprop",
    "NeuronIntegratedGradients",
    "NoiseTunnel",
    "NoiseTunnelType",
    "Output",
    "PerturbationAttribution",
    "Report",
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
    "elementwise",
    "lrp_rules",
    "remove_interpretable_embedding_layer",
    "visible",
    "visualization",
]
