"""A client of the package that is type-checked with `mypy --strict`, and run by the suite."""

import torch
from torch import Tensor, nn

from captum.attr import (
    LRP,
    RISE,
    Attribution,
    Deconvolution,
    DeepLift,
    DeepLiftShap,
    FeatureAblation,
    FeaturePermutation,
    GuidedBackprop,
    GuidedGradCam,
    IntegratedGradients,
    KernelShap,
    Layer,
    LayerActivation,
    LayerConductance,
    LayerDeepLift,
    LayerDeepLiftShap,
    LayerFeatureAblation,
    LayerFeaturePermutation,
    LayerLRP,
    Lime,
    LimeBase,
    Neuron,
    NeuronDeconvolution,
    NeuronDeepLift,
    NeuronDeepLiftShap,
    NeuronFeatureAblation,
    NeuronGuidedBackprop,
    NoiseTunnel,
    Occlusion,
    OwenValues,
    ProductBaselines,
    Report,
    Saliency,
    ShapleyInteractions,
    ShapleyValues,
    ShapleyValueSampling,
    Summarizer,
    Targets,
    elementwise,
    get_exp_kernel_similarity_function,
    visible,
    visualization,
)
from captum.attr.lrp_rules import EpsilonRule, GammaRule, PropagationRule, epsilon_plus
from captum.linear import Lasso, LinearRegression, Ridge


def scores(method: Attribution, inputs: Tensor) -> Tensor:
    found: Tensor = method.attribute(inputs, target=1)
    return found


class Half(PropagationRule):
    """A rule of the client's own."""

    def _manipulate_weights(
        self, module: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor
    ) -> None:
        weight = module.weight
        assert isinstance(weight, Tensor)
        weight.data = weight.data / 2


def by_rules(model: nn.Sequential, x: Tensor) -> list[Tensor]:
    """Methods that change the backward pass."""
    report: Report
    scores, delta, report = DeepLift(model).attribute(
        x, x * 0, target=1, return_convergence_delta=True, return_report=True
    )
    assert report.served
    assert "relu" in str(report)
    ends = torch.zeros(3, 3)
    own = DeepLift(lambda v: visible(torch.exp, "own")(v).sum(1), rules={"own": elementwise})
    rules: list[tuple[type[nn.Module] | str, PropagationRule]] = [
        (nn.Linear, GammaRule(0.1)),
        ("*", EpsilonRule()),
    ]
    return [
        scores,
        delta,
        own.attribute(x),
        DeepLiftShap(model).attribute(x, ends, target=0, strict=True),
        LayerDeepLift(model, model[1]).attribute(x, target=0, internal_batch_size=1),
        LayerDeepLiftShap(model, model[1]).attribute(x, ends, target=0),
        NeuronDeepLift(model, model[0]).attribute(x, 2),
        NeuronDeepLiftShap(model, model[0]).attribute(x, 2, ends),
        GuidedBackprop(model, at=Layer(model[0])).attribute(x, 1),
        Deconvolution(model, of=Neuron(model[2], 0)).attribute(x),
        NeuronGuidedBackprop(model, model[2]).attribute(x, 1),
        NeuronDeconvolution(model, model[2]).attribute(x, 1),
        LRP(model, rules=rules).attribute(x, 1, verbose=False),
        LRP(model, rules=epsilon_plus()).attribute(x, 1),
        LRP(model, rules=[(0, Half())]).attribute(x, 1),
        LayerLRP(model, model[0]).attribute(x, 1),
        scores_of_image(),
    ]


def scores_of_image() -> Tensor:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found: Tensor = GuidedGradCam(net, net[0]).attribute(torch.rand(1, 3, 8, 8), target=1)
    return found


def by_perturbing(model: nn.Sequential, x: Tensor) -> list[Tensor]:
    """Methods that change the inputs."""
    mask = torch.tensor([[0, 1, 1]])
    rows = torch.rand(5, 3)
    scores, errors = ShapleyValueSampling(model).attribute(
        x, target=1, n_samples=4, return_std=True, tol=0.1, generator=torch.Generator()
    )
    near = get_exp_kernel_similarity_function("euclidean", kernel_width=2.0)

    def similarity(original: Tensor, perturbed: Tensor, sample: Tensor, **kwargs: object) -> float:
        return near(original, perturbed)

    base = LimeBase(
        model,
        Ridge(alpha=0.5),
        similarity,
        lambda original, **kwargs: torch.bernoulli(torch.full((1, 3), 0.5)),
        perturb_interpretable_space=True,
        from_interp_rep_transform=lambda sample, original, **kwargs: sample * original,
        to_interp_rep_transform=None,
    )
    drawn = ProductBaselines([[0.0, 1.0], [0.5]]).sample()
    assert len(drawn) == 2
    return [
        scores,
        errors,
        FeatureAblation(model).attribute(x, 0.5, target=1, feature_mask=mask),
        FeaturePermutation(model).attribute(x, target=1, perturbations_per_eval=2),
        Occlusion(model).attribute(x, (2,), strides=1, target=1),
        ShapleyValues(model, at=Layer(model[1])).attribute(x, rows, target=0),
        KernelShap(model).attribute(x, rows, target=0, n_samples=6),
        OwenValues(model).attribute(x, [[0, 1], 2], target=0),
        ShapleyInteractions(model, of=Neuron(model[0], 1)).attribute(x),
        Lime(model, Lasso(alpha=0.1), near).attribute(x, target=0),
        Lime(model, LinearRegression()).attribute(x, target=0, return_input_shape=False),
        base.attribute(x[:1], target=1, n_samples=9, perturbations_per_eval="auto"),
        RISE(model).attribute(x, target=1, n_samples=4, grid=2),
        LayerFeatureAblation(model, model[0]).attribute(x, layer_baselines=0.1, target=0),
        LayerFeaturePermutation(model, model[0]).attribute(x, target=0),
        NeuronFeatureAblation(model, model[0]).attribute(x, neuron_selector=2),
    ]


def main() -> list[Tensor]:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    x = torch.rand(2, 3)
    attributions, delta = IntegratedGradients(model).attribute(
        x, target=0, n_steps="auto", internal_batch_size=16, return_convergence_delta=True
    )
    both: list[Tensor] = Saliency(model, at=Layer(model[1])).attribute(x, target=Targets(0, 1))
    neuron = Saliency(model, of=Neuron(model[0], 2)).attribute(x)
    summary = Summarizer([])
    summary.update(attributions)
    record = visualization.VisualizationDataRecord([0.5], 0.9, "a", "a", "a", 1.0, ["word"], 0.0)
    assert "word" in visualization.visualize_text([record]).data
    return [
        attributions,
        delta,
        neuron,
        *both,
        LayerActivation(model, model[0]).attribute(x),
        LayerConductance(model, model[0]).attribute(x, target=0),
        scores(NoiseTunnel(Saliency(model)), x),
        *by_rules(model, x),
        *by_perturbing(model, x),
    ]


if __name__ == "__main__":
    main()
