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
from captum.attr.dataset import attribute_dataset
from captum.attr.dataset_estimate import Estimate, estimate_dataset
from captum.attr.dataset_ray import attribute_ray_dataset
from captum.attr.dataset_store import Attributions
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
from captum.attr.feature_ablation import (
    FeatureAblation,
    LayerFeatureAblation,
    NeuronFeatureAblation,
)
from captum.attr.feature_permutation import FeaturePermutation, LayerFeaturePermutation
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
from captum.attr.interactions import ShapleyInteractions
from captum.attr.kernel_shap import KernelShap
from captum.attr.layer_activation import LayerActivation
from captum.attr.lime import Lime
from captum.attr.lime_base import LimeBase
from captum.attr.llm.attribution import LLMAttribution
from captum.attr.llm.chat import ChatInput
from captum.attr.llm.gradients import LLMGradientAttribution
from captum.attr.llm.image_mask import ImageMaskInput
from captum.attr.llm.interpretable import InterpretableInput
from captum.attr.llm.provider import RemoteLLMProvider, VLLMProvider
from captum.attr.llm.remote import RemoteLLMAttribution
from captum.attr.llm.result import LLMAttributionResult
from captum.attr.llm.scores import Contrast
from captum.attr.llm.text_template import TextTemplateInput
from captum.attr.llm.text_tokens import TextTokenInput
from captum.attr.lrp import LRP, LayerLRP
from captum.attr.noise_tunnel import NoiseTunnel, NoiseTunnelType
from captum.attr.occlusion import Occlusion
from captum.attr.owen import OwenValues
from captum.attr.product_baselines import ProductBaselines
from captum.attr.rise import RISE
from captum.attr.saliency import NeuronGradient, Saliency
from captum.attr.shapley import ShapleyValues, ShapleyValueSampling
from captum.attr.similarity import get_exp_kernel_similarity_function
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
    "RISE",
    "Attribution",
    "Attributions",
    "ChatInput",
    "ClassSummarizer",
    "CommonStats",
    "Contrast",
    "Count",
    "DataLoaderAttribution",
    "Deconvolution",
    "DeepLift",
    "DeepLiftShap",
    "Estimate",
    "FeatureAblation",
    "FeaturePermutation",
    "GradientAttribution",
    "GradientShap",
    "GuidedBackprop",
    "GuidedGradCam",
    "ImageMaskInput",
    "InputXGradient",
    "Inputs",
    "IntegratedGradients",
    "InternalAttribution",
    "InternalInfluence",
    "InterpretableEmbeddingBase",
    "InterpretableInput",
    "KernelShap",
    "LLMAttribution",
    "LLMAttributionResult",
    "LLMGradientAttribution",
    "Layer",
    "LayerActivation",
    "LayerAttribution",
    "LayerCam",
    "LayerConductance",
    "LayerDeepLift",
    "LayerDeepLiftShap",
    "LayerFeatureAblation",
    "LayerFeaturePermutation",
    "LayerGradCam",
    "LayerGradCamPlusPlus",
    "LayerGradientShap",
    "LayerGradientXActivation",
    "LayerHiResCam",
    "LayerIntegratedGradients",
    "LayerLRP",
    "LayerScoreCam",
    "Lime",
    "LimeBase",
    "Max",
    "Mean",
    "Min",
    "Neuron",
    "NeuronAttribution",
    "NeuronConductance",
    "NeuronDeconvolution",
    "NeuronDeepLift",
    "NeuronDeepLiftShap",
    "NeuronFeatureAblation",
    "NeuronGradient",
    "NeuronGradientShap",
    "NeuronGuidedBackprop",
    "NeuronIntegratedGradients",
    "NoiseTunnel",
    "NoiseTunnelType",
    "Occlusion",
    "Output",
    "OwenValues",
    "PerturbationAttribution",
    "ProductBaselines",
    "RemoteLLMAttribution",
    "RemoteLLMProvider",
    "Report",
    "Saliency",
    "ShapleyInteractions",
    "ShapleyValueSampling",
    "ShapleyValues",
    "StatValue",
    "StdDev",
    "Sum",
    "Summarizer",
    "SummarizerSingleTensor",
    "Targets",
    "TextTemplateInput",
    "TextTokenInput",
    "TokenReferenceBase",
    "VLLMProvider",
    "Var",
    "attribute_dataset",
    "attribute_ray_dataset",
    "configure_interpretable_embedding_layer",
    "elementwise",
    "estimate_dataset",
    "get_exp_kernel_similarity_function",
    "lrp_rules",
    "remove_interpretable_embedding_layer",
    "visible",
    "visualization",
]
