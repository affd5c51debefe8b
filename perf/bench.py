"""What each method costs over the bare model passes it cannot do without.

    make bench                      # the whole table, written to perf/results
    python perf/bench.py --only ig  # some rows, printed

Every row runs a method and, in turn with it, the raw PyTorch passes that the method needs at the
best of several batch sizes. The ratio is what captum adds; 1.0 is the floor unless part of the
model can be skipped. Only ratios are comparable between machines.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum.attr import (
    LRP,
    DeepLift,
    DeepLiftShap,
    FeatureAblation,
    FeaturePermutation,
    GradientShap,
    GuidedBackprop,
    GuidedGradCam,
    InputXGradient,
    IntegratedGradients,
    InternalInfluence,
    KernelShap,
    LayerConductance,
    LayerDeepLift,
    LayerFeatureAblation,
    LayerGradCam,
    LayerIntegratedGradients,
    Lime,
    NeuronConductance,
    NeuronGradient,
    NoiseTunnel,
    Occlusion,
    Saliency,
    ShapleyValues,
    ShapleyValueSampling,
)
from captum.attr.lrp_rules import epsilon_plus
from models import cnn, encoder, images, labels, mlp, rows, states, text, token_ids

RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True)
class Row:
    """A method's run, and the passes it needs: how many, through what, with or without backward."""

    run: Callable[[], object]
    model: nn.Module
    inputs: Tensor
    passes: int
    backward: bool = True


@dataclass(frozen=True)
class Result:
    name: str
    passes: int
    ratio: float  # method over bare passes, median of the rounds
    low: float
    high: float


def table() -> dict[str, Callable[[], Row]]:
    """The rows, each built when it is run."""
    picture, table_net, words = cnn(), mlp(), text()
    many, few, one = images(64), images(8), rows(200)
    tab = rows(20_000)
    ids = token_ids(4, 32)
    squares = torch.arange(64) // 8
    blocks = (8 * squares.view(-1, 1) + squares).view(1, 1, 64, 64)
    octets = torch.arange(32).view(1, 32) // 4
    maps = torch.arange(picture[:5](few).shape[1]).view(1, -1, 1, 1)

    def row(method, model, inputs, passes, backward=True, **options):
        return lambda: Row(
            lambda: method.attribute(inputs, **options), model, inputs, passes, backward
        )

    def calls():
        method = Saliency(table_net)
        return Row(
            lambda: [method.attribute(one[i : i + 1], target=0) for i in range(200)],
            table_net,
            one[:1],
            200,
        )

    return {
        "saliency, images": row(Saliency(picture), picture, many, 64, target=labels(64)),
        "saliency, 20,000 rows": row(Saliency(table_net), table_net, tab, 20_000, target=1),
        "saliency, 200 calls of one row": calls,
        "input x gradient, images": row(InputXGradient(picture), picture, many, 64, target=1),
        "ig, images": row(IntegratedGradients(picture), picture, few, 400, target=1),
        "ig, 500 rows": row(IntegratedGradients(table_net), table_net, tab[:500], 25_000, target=1),
        "noise tunnel, images": row(
            NoiseTunnel(Saliency(picture)), picture, few, 160, target=1, nt_samples=20
        ),
        "gradient shap, images": row(
            GradientShap(picture), picture, few, 160, target=1, baselines=images(5), n_samples=20
        ),
        "layer ig, text": lambda: Row(
            lambda: LayerIntegratedGradients(words, words[0]).attribute(ids, target=1),
            words[1:],
            words[0](ids).detach(),
            200,
        ),
        "ig of token ids, text": lambda: Row(
            lambda: IntegratedGradients(words).attribute(ids, target=1),
            words[1:],
            words[0](ids).detach(),
            200,
        ),
        "layer conductance, images": row(
            LayerConductance(picture, picture[4]), picture, few, 248, target=1, n_steps=30
        ),
        "internal influence, images": row(
            InternalInfluence(picture, picture[4]), picture, few, 240, target=1, n_steps=30
        ),
        "grad-cam, images": row(LayerGradCam(picture, picture[4]), picture, many, 64, target=1),
        "neuron gradient, 20,000 rows": row(
            NeuronGradient(table_net, table_net[2]), table_net, tab, 20_000, neuron_selector=7
        ),
        "neuron conductance, images": row(
            NeuronConductance(picture, picture[4]),
            picture,
            few,
            240,
            neuron_selector=(4, 2, 2),
            target=1,
            n_steps=30,
        ),
        "deep lift, images": row(DeepLift(picture), picture, many, 64, target=1),
        "deep lift, a baseline each": row(
            DeepLift(picture), picture, many, 64, target=1, baselines=images(64).flip(0)
        ),
        "deep lift shap, images": row(
            DeepLiftShap(picture), picture, few, 128, target=1, baselines=images(16)
        ),
        "layer deep lift, images": row(
            LayerDeepLift(picture, picture[4]), picture, many, 64, target=1
        ),
        "guided backprop, images": row(GuidedBackprop(picture), picture, many, 64, target=1),
        "guided grad-cam, images": row(
            GuidedGradCam(picture, picture[4]), picture, many, 64, target=1
        ),
        "lrp, images": row(LRP(picture), picture, many, 64, target=1),
        "lrp z-plus, images": row(LRP(picture, rules=epsilon_plus()), picture, many, 64, target=1),
        "deep lift, encoder": lambda: _encoded(DeepLift, baselines=states(8, seed=9)),
        "lrp, encoder": lambda: _encoded(LRP),
        "feature ablation, 1,000 rows": row(
            FeatureAblation(table_net), table_net, tab[:1000], 33_000, backward=False, target=1
        ),
        "feature permutation, 1,000 rows": row(
            FeaturePermutation(table_net), table_net, tab[:1000], 33_000, backward=False, target=1
        ),
        "feature ablation, images": row(
            FeatureAblation(picture),
            picture,
            few,
            8 * 65,
            backward=False,
            target=1,
            feature_mask=blocks,
        ),
        "occlusion, images": row(
            Occlusion(picture),
            picture,
            few,
            8 * 50,
            backward=False,
            target=1,
            sliding_window_shapes=(3, 16, 16),
            strides=(3, 8, 8),
        ),
        "layer ablation, images": row(
            LayerFeatureAblation(picture, picture[4]),
            picture,
            few,
            8 * 33,
            backward=False,
            target=1,
            layer_mask=maps,
        ),
        "shapley values, 100 rows": row(
            ShapleyValues(table_net),
            table_net,
            tab[:100],
            100 * 2**8,
            backward=False,
            target=1,
            feature_mask=octets,
        ),
        "shapley sampling, 16 rows": row(
            ShapleyValueSampling(table_net),
            table_net,
            tab[:16],
            16 * (25 * 31 + 2),
            backward=False,
            target=1,
        ),
        "kernel shap, 16 rows": row(
            KernelShap(table_net),
            table_net,
            tab[:16],
            16 * 202,
            backward=False,
            target=1,
            n_samples=200,
        ),
        "lime, 16 rows": row(
            Lime(table_net), table_net, tab[:16], 16 * 201, backward=False, target=1, n_samples=200
        ),
    }


def _encoded(kind: Callable[..., Any], **options: Tensor) -> Row:
    """Six transformer layers of width 512: one pass forward and back is the measure."""
    model, x = encoder(), states(8)
    return Row(lambda: kind(model).attribute(x, target=1, **options), model, x, 8)


def bare(row: Row) -> Callable[[], None]:
    """The passes the method needs, in the batch size that runs them fastest."""

    def of(size: int, count: int) -> float:
        x = row.inputs[torch.arange(size) % len(row.inputs)]
        begun = time.process_time()
        for _ in range(max(1, round(count / size))):
            if row.backward:
                leaf = x.detach().requires_grad_()
                torch.autograd.grad(row.model(leaf).flatten(1)[:, 0].sum(), leaf)
            else:
                with torch.inference_mode():
                    row.model(x)
        return time.process_time() - begun

    sizes = [size for size in (1, 4, 16, 64, 256, 1024, 4096) if size <= row.passes]
    if len(row.inputs) == 1:
        sizes = [1]
    trial = {
        size: of(size, max(size, row.passes // 10)) / max(size, row.passes // 10) for size in sizes
    }
    best = min(trial, key=trial.__getitem__)
    return lambda: of(best, row.passes) and None


def measure(name: str, row: Row, rounds: int) -> Result:
    """Method and bare passes in turn, so that a change of the machine's speed hits both."""
    floor = bare(row)
    row.run()
    ratios = []
    for _ in range(rounds):
        times = []
        for function in (row.run, floor):
            begun = time.process_time()
            function()
            times.append(time.process_time() - begun)
        ratios.append(times[0] / times[1])
    return Result(name, row.passes, statistics.median(ratios), min(ratios), max(ratios))


def environment() -> dict[str, str | int]:
    """What the numbers were measured on."""
    info = Path("/proc/cpuinfo")
    names = [
        line.split(":")[1].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.system(),
        "processor": names[0] if names else platform.processor(),
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", default="", help="rows whose name contains this; nothing is written"
    )
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    print(f"{'':<34}{'passes':>8}{'over bare':>11}{'low':>7}{'high':>7}")
    for name, build in table().items():
        if options.only in name:
            result = measure(name, build(), options.rounds)
            results.append(result)
            print(
                f"{name:<34}{result.passes:>8}{result.ratio:>11.2f}"
                f"{result.low:>7.2f}{result.high:>7.2f}"
            )
    if not options.only:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / "attribution-cpu.json"
        found = {"environment": environment(), "rows": [asdict(r) for r in results]}
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(f"written to {path}")


if __name__ == "__main__":
    main()
