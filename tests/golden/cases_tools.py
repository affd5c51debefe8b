"""What is built around the methods: noise, samples, data sets, embeddings, statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from .cases import Attr, Case
from .models import Bag, Rows, Tabular, Text, Two, filled, ids, tabular, two, wave

CASES: dict[str, Case] = {}
x = tabular()
f32 = x.float()  # the published package draws its noise in float32, whatever the input


def tunnel(attr: Attr, method: str, inputs: object = f32, **options: object) -> object:
    """The seed is torch's: both packages draw the same noise."""
    torch.manual_seed(5)
    return attr.NoiseTunnel(getattr(attr, method)(filled(Tabular()).float())).attribute(
        inputs, **options
    )


def halves() -> tuple[Tensor, Tensor]:
    left, right = two()
    return left.float(), right.float()


def tunnel_two(attr: Attr, **options: object) -> object:
    torch.manual_seed(6)
    return attr.NoiseTunnel(attr.IntegratedGradients(filled(Two()).float())).attribute(
        halves(), n_steps=4, **options
    )


def tunnel_rows(attr: Attr, **options: object) -> object:
    torch.manual_seed(7)
    return attr.NoiseTunnel(attr.InputXGradient(filled(Rows()).float())).attribute(
        f32,
        target=[2, 0, 1],
        additional_forward_args=(wave(3, 5).float(), 2),
        nt_samples=5,
        stdevs=0.4,
        **options,
    )


def tunnel_layer(attr: Attr) -> object:
    model = filled(Two()).float()
    torch.manual_seed(8)
    return attr.NoiseTunnel(attr.LayerGradientXActivation(model, model.join)).attribute(
        halves(), nt_samples=3, stdevs=(0.1, 0.2), target=1
    )


for kind in ("smoothgrad", "smoothgrad_sq", "vargrad"):
    for count in (1, 3):
        CASES[f"noise tunnel/{kind}, {count} examples"] = lambda attr, k=kind, n=count: tunnel(
            attr, "Saliency", f32[:n], nt_type=k, nt_samples=6, stdevs=0.3, target=1
        )
    CASES[f"noise tunnel/{kind}, two inputs"] = lambda attr, k=kind: tunnel_two(
        attr, nt_type=k, nt_samples=4, stdevs=(0.2, 0.05), target=0
    )
    CASES[f"noise tunnel/{kind}, rows"] = lambda attr, k=kind: tunnel_rows(attr, nt_type=k)
CASES |= {
    "noise tunnel/deltas": lambda attr: tunnel_two(
        attr, nt_samples=3, stdevs=0.2, target=[0, 1, 0], return_convergence_delta=True
    ),
    "noise tunnel/layer": tunnel_layer,
    "noise tunnel/per-example baselines": lambda attr: tunnel(
        attr,
        "IntegratedGradients",
        nt_samples=4,
        baselines=wave(3, 4, start=3.0).float(),
        n_steps=5,
        target=0,
        return_convergence_delta=True,
    ),
}


def linear(v: Tensor, w: Tensor | None = None) -> Tensor:
    """What any draw of α scores alike."""
    total = 3 * v[:, 0] - 2 * v[:, 1] + v[:, 3]
    return total if w is None else total + w.flatten(1).sum(1)


def half_linear(attr: Attr, method: str, selector: object, **options: object) -> object:
    """A layer whose value is linear in the inputs, and so is the neuron."""
    model = filled(Tabular())
    made = getattr(attr, method)(model, model.first)
    return made.attribute(x, selector, wave(1, 4, start=2.0), **options)


def above(attr: Attr, **options: object) -> object:
    """A layer above which the model is linear: any point of the way has its gradient."""
    model = filled(Tabular())
    return attr.LayerGradientShap(model, model.last).attribute(
        x, wave(1, 4, start=2.0), target=2, **options
    )


CASES |= {
    "gradient shap/one baseline": lambda attr: attr.GradientShap(linear).attribute(
        x, wave(1, 4), return_convergence_delta=True
    ),
    "gradient shap/two inputs": lambda attr: attr.GradientShap(linear).attribute(
        (x, two()[1]), (wave(1, 4), wave(1, 2, 2)), n_samples=3, return_convergence_delta=True
    ),
    "gradient shap/sensitivities": lambda attr: attr.GradientShap(
        linear, multiply_by_inputs=False
    ).attribute(x, wave(5, 4), n_samples=3, stdevs=0.3),
    "gradient shap/layer": lambda attr: above(attr, return_convergence_delta=True),
    "gradient shap/layer, input side": lambda attr: above(attr, attribute_to_layer_input=True),
    "gradient shap/neuron": lambda attr: half_linear(attr, "NeuronGradientShap", 2),
    "gradient shap/neuron, slice": lambda attr: half_linear(
        attr, "NeuronGradientShap", (slice(0, 3),), n_samples=2
    ),
}


# Where draws matter the packages use different generators: only expectations can agree.
SAMPLED: dict[str, Callable[..., Any]] = {
    "sampled/inputs": lambda attr, **more: attr.GradientShap(filled(Tabular())).attribute(
        x, wave(6, 4, start=2.0), n_samples=3000, stdevs=0.1, target=1, **more
    ),
    "sampled/layer": lambda attr, **more: shapped(attr, "LayerGradientShap", **more, target=1),
    "sampled/layer, input side": lambda attr, **more: shapped(
        attr, "LayerGradientShap", **more, target=1, attribute_to_layer_input=True
    ),
    "sampled/neuron": lambda attr, **more: shapped(
        attr, "NeuronGradientShap", **more, neuron_selector=3
    ),
}


def shapped(attr: Attr, method: str, **options: object) -> object:
    model = filled(Tabular())
    return getattr(attr, method)(model, model.act).attribute(
        x, baselines=wave(6, 4, start=2.0), n_samples=3000, stdevs=0.1, **options
    )


def loader(*tensors: Tensor) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(*tensors), batch_size=2)


def data_set(attr: Attr, *tensors: Tensor, **options: object) -> object:
    model = filled(Tabular()) if len(tensors) == 1 else filled(Two())
    method = attr.DataLoaderAttribution(attr.FeatureAblation(model))
    return method.attribute(loader(*tensors), **options)


def total(done: Tensor | None, output: Tensor, batch: object) -> Tensor:
    return output.sum(0) if done is None else done + output.sum(0)


def error(done: Tensor | None, output: Tensor, batch: tuple[Tensor, ...]) -> Tensor:
    """The squared error against the labels, which are the last element of a batch."""
    more = ((output[:, 0] - batch[-1]) ** 2).sum().view(1)
    return more if done is None else done + more


def stacked(done: Tensor | None, output: Tensor, batch: object) -> Tensor:
    return output if done is None else torch.cat([done, output])


many = wave(5, 4, start=0.6)
left, right, labels = wave(5, 3), wave(5, 2, 2, start=1.0), wave(5, start=2.0)
CASES |= {
    "data set/sums": lambda attr: data_set(attr, many, reduce=total),
    "data set/metric": lambda attr: data_set(
        attr, many, reduce=stacked, to_metric=lambda out: (out**2).mean(0)
    ),
    "data set/concatenated": lambda attr: data_set(attr, many, to_metric=lambda out: out.amax(0)),
    "data set/mask": lambda attr: data_set(
        attr,
        many,
        reduce=total,
        baselines=0.5,
        feature_mask=torch.tensor([[0, 1, 0, 2]]),
        perturbations_per_pass=2,
    ),
    "data set/per feature": lambda attr: data_set(
        attr,
        many,
        reduce=total,
        feature_mask=torch.tensor([[0, 1, 0, 2]]),
        return_input_shape=False,
    ),
    "data set/roles": lambda attr: data_set(
        attr, left, right, labels, reduce=error, input_roles=(0, 1, 2)
    ),
    "data set/two scored": lambda attr: data_set(
        attr,
        left,
        right,
        labels,
        reduce=error,
        input_roles=(0, 0, 2),
        baselines=(0.1, wave(1, 2, 2)),
        feature_mask=(torch.tensor([[0, 1, 1]]), torch.tensor([[[2, 2], [1, 3]]])),
        perturbations_per_pass=3,
    ),
}


def statistics(attr: Attr) -> object:
    summarizer = attr.Summarizer(
        [attr.Count(), attr.MSE(), attr.Sum(), attr.Var(order=0), *attr.CommonStats()]
    )
    for row in many:
        summarizer.update(row)
    return summarizer.summary


def statistics_of_two(attr: Attr) -> object:
    summarizer = attr.Summarizer([attr.Mean(), attr.StdDev(order=0)])
    for pair in zip(left, right, strict=True):
        summarizer.update(pair)
    return summarizer.summary


def statistics_by_class(attr: Attr) -> object:
    summarizer = attr.ClassSummarizer(attr.CommonStats())
    summarizer.update(many, [0, 1, 0, 1, 1])
    summarizer.update(many * 2, [1, 1, 1, 0, 0])
    by_class = summarizer.class_summaries
    return summarizer.summary, by_class[0], by_class[1]


def reference(attr: Attr) -> object:
    return attr.TokenReferenceBase(3).generate_reference(4, "cpu")


def embedded(attr: Attr) -> object:
    """The published tutorials' way through a BERT: the embedding layer made transparent."""
    model = filled(Text())
    layer = attr.configure_interpretable_embedding_layer(model, "embeddings.words")
    words = layer.indices_to_embeddings(ids()).detach()
    pad = layer.indices_to_embeddings(torch.zeros_like(ids())).detach()
    found = attr.IntegratedGradients(model).attribute(
        words, pad, target=1, n_steps=6, additional_forward_args=torch.arange(5).expand(2, 5)
    )
    attr.remove_interpretable_embedding_layer(model, layer)
    return found, model(ids())


def token_by_token(attr: Attr) -> object:
    """A reference text of padding, and scores per token."""
    model = filled(Bag())
    pad = attr.TokenReferenceBase(2).generate_reference(5, "cpu").unsqueeze(0)
    found = attr.LayerIntegratedGradients(model, model.embedding).attribute(
        ids()[:1], pad, target=0, n_steps=7, return_convergence_delta=True
    )
    return found[0].sum(-1), found[1]


CASES |= {
    "statistics/one": statistics,
    "statistics/two": statistics_of_two,
    "statistics/classes": statistics_by_class,
    "tokens/reference": reference,
    "tokens/embedded": embedded,
    "tokens/one by one": token_by_token,
}
