"""A client of the package that is type-checked with `mypy --strict`, and run by the suite."""

import torch
from torch import Tensor, nn

from captum.attr import (
    LRP,
    Attribution,
    Deconvolution,
    DeepLift,
    DeepLiftShap,
    GuidedBackprop,
    GuidedGradCam,
    IntegratedGradients,
    Layer,
    LayerActivation,
    LayerConductance,
    LayerDeepLift,
    LayerDeepLiftShap,
    LayerLRP,
    Neuron,
    NeuronDeconvolution,
    NeuronDeepLift,
    NeuronDeepLiftShap,
    NeuronGuidedBackprop,
    NoiseTunnel,
    Report,
    Saliency,
    Summarizer,
    Targets,
    elementwise,
    visible,
    visualization,
)
from captum.attr.lrp_rules import EpsilonRule, GammaRule, PropagationRule, epsilon_plus


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
    ]


if __name__ == "__main__":
    main()
