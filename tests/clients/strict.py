"""A client of the package that is type-checked with `mypy --strict`, and run by the suite."""

import torch
from torch import Tensor, nn

from captum.attr import (
    Attribution,
    IntegratedGradients,
    Layer,
    LayerActivation,
    LayerConductance,
    Neuron,
    NoiseTunnel,
    Saliency,
    Summarizer,
    Targets,
    visualization,
)


def scores(method: Attribution, inputs: Tensor) -> Tensor:
    found: Tensor = method.attribute(inputs, target=1)
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
    ]


if __name__ == "__main__":
    main()
