"""Numbers are those of direct calls, and nothing of the user's is touched."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum import attr
from captum.insights import Batch
from captum.insights.answers import Question
from captum.insights.features import BaseFeature, FeatureOutput, ImageFeature, TextFeature
from captum.insights.fields import FieldsError
from captum.insights.methods import TABLE, Offer

from .models import both, cnn, general, ids, images, multimodal, pictures

Unchanged = Callable[..., AbstractContextManager[Any]]


class Raw(BaseFeature):
    """Shows the scores as they are."""

    def visualization_type(self) -> str:
        return "image"

    def visualize(self, attribution: Tensor, data: Tensor, contribution_frac: float) -> Any:
        return FeatureOutput(self.name, data.tolist(), attribution, "image", contribution_frac)


def patches() -> Tensor:
    cells = torch.arange(8) // 4
    return (cells[:, None] * 2 + cells)[None, None]


DIRECT: dict[str, tuple[dict[str, Any], Callable[[nn.Module, Tensor], Tensor]]] = {
    "IntegratedGradients": ({"n_steps": 7, "method": "riemann_left"},
        lambda m, x: attr.IntegratedGradients(m).attribute(
            x, target=1, n_steps=7, method="riemann_left")),
    "Saliency": ({"abs": False}, lambda m, x: attr.Saliency(m).attribute(x, 1, abs=False)),
    "InputXGradient": ({}, lambda m, x: attr.InputXGradient(m).attribute(x, 1)),
    "DeepLift": ({}, lambda m, x: attr.DeepLift(m).attribute(x, target=1)),
    "DeepLiftShap": ({}, lambda m, x: attr.DeepLiftShap(m).attribute(x, x * 0, target=1)),
    "GradientShap": ({"n_samples": 6, "stdevs": 0.2}, lambda m, x: attr.GradientShap(m).attribute(
        x, x * 0, n_samples=6, stdevs=0.2, target=1)),
    "LRP": ({}, lambda m, x: attr.LRP(m).attribute(x, 1)),
    "GuidedBackprop": ({}, lambda m, x: attr.GuidedBackprop(m).attribute(x, 1)),
    "Deconvolution": ({}, lambda m, x: attr.Deconvolution(m).attribute(x, 1)),
    "FeatureAblation": ({"patch": 4}, lambda m, x: attr.FeatureAblation(m).attribute(
        x, target=1, feature_mask=patches())),
    "Occlusion": ({"window": 3, "strides": 2}, lambda m, x: attr.Occlusion(m).attribute(
        x, (1, 3, 3), (1, 2, 2), target=1)),
    "ShapleyValueSampling": ({"n_samples": 3, "patch": 2},
        lambda m, x: attr.ShapleyValueSampling(m).attribute(
            x, target=1, n_samples=3, feature_mask=torch.arange(16).view(4, 4)
            .repeat_interleave(2, 0).repeat_interleave(2, 1)[None, None])),
    "KernelShap": ({"patch": 4, "n_samples": 12}, lambda m, x: attr.KernelShap(m).attribute(
        x, target=1, n_samples=12, feature_mask=patches())),
    "Lime": ({"patch": 4, "n_samples": 12}, lambda m, x: attr.Lime(m).attribute(
        x, target=1, n_samples=12, feature_mask=patches())),
    "RISE": ({"n_samples": 20, "grid": 3, "p": 0.4}, lambda m, x: attr.RISE(m).attribute(
        x, target=1, n_samples=20, grid=3, p=0.4)),
    "LayerGradCam": ({"layer": "0"}, lambda m, x: attr.LayerAttribution.interpolate(
        attr.LayerGradCam(m, m[0]).attribute(x, 1), (8, 8), "bilinear")),
    "GuidedGradCam": ({"layer": "0"}, lambda m, x: attr.GuidedGradCam(m, m[0]).attribute(x, 1)),
}  # fmt: skip


def test_every_method_on_offer_is_compared() -> None:
    assert set(DIRECT) == {method.name for method in TABLE}


@pytest.mark.parametrize("name", DIRECT)
def test_scores_are_those_of_a_direct_call(name: str, unchanged: Unchanged) -> None:
    model, data = cnn(), pictures()
    fields, direct = DIRECT[name]
    raw = Raw("Photo", None, lambda x: 2 * x - 1, None)
    visualizer = images([model], features=raw, dataset=[Batch(data, None)])
    with unchanged(model, data):
        [[output]] = visualizer.visualize(method=(name, fields | {}), examples=[3])
        answer = visualizer._calculation.answer(Question(3, 0, name, fields, target=1))
    torch.manual_seed(0)
    wanted = direct(model, 2 * data[3:4] - 1)
    assert torch.allclose(answer.features[0].modified, wanted, atol=1e-6)
    assert output.active_index == output.predicted[0].index  # there is no label


def test_a_noise_tunnel_stands_around_gradients() -> None:
    model = cnn()
    visualizer = images([model], features=Raw("Photo", None, None, None))
    noise = {"nt_type": "smoothgrad", "nt_samples": 3, "nt_stdevs": 0.5}
    [[output]] = visualizer.visualize(method=("Saliency", noise), examples=1)
    torch.manual_seed(0)
    wanted = attr.NoiseTunnel(attr.Saliency(model)).attribute(
        pictures()[:1], nt_type="smoothgrad", nt_samples=3, stdevs=0.5, target=0
    )
    assert torch.allclose(output.feature_outputs[0].modified, wanted)


def test_several_inputs_and_further_arguments() -> None:
    model = both()
    outputs = multimodal(models=model).visualize(examples=6)
    scale = torch.linspace(1, 2, 6)
    for i, [output] in enumerate(outputs):
        x = (pictures()[i : i + 1], ids()[i : i + 1])
        photo, words = attr.IntegratedGradients(model).attribute(
            x, target=i % 3, additional_forward_args=scale[i : i + 1]
        )
        found = output.feature_outputs
        assert found[1].modified == pytest.approx(words[0].tolist(), abs=1e-6)
        share = float(photo.abs().sum() / (photo.abs().sum() + words.abs().sum()))
        assert found[0].contribution == pytest.approx(share, abs=1e-6)
        assert sum(feature.contribution for feature in found) == pytest.approx(1)


def test_ids_and_their_embeddings_have_the_same_share() -> None:
    model = both()

    def embed(row: Tensor) -> Tensor:
        return model.embedding(row)

    embedded = TextFeature("Words", lambda x: embed(torch.zeros(4, dtype=torch.long)), embed, None)
    features = [ImageFeature("Photo", None, None), embedded]
    one = multimodal(models=model).visualize(examples=3)
    other = multimodal(models=model, features=features).visualize(examples=3)
    for [a], [b] in zip(one, other, strict=True):
        for left, right in zip(a.feature_outputs, b.feature_outputs, strict=True):
            assert left.contribution == pytest.approx(right.contribution, abs=1e-5)


@pytest.mark.parametrize("patch", [1, 3, 4, 8])
def test_a_patch_counts_once(patch: int) -> None:
    """Shapley values of patches and tokens sum to the change of the output."""
    visualizer = multimodal()
    model, know = visualizer.models[0], visualizer._calculation
    fields = {"patch": patch, "n_samples": 2}
    answer = know.answer(Question(0, 0, "ShapleyValueSampling", fields))
    x, words, scale = pictures()[:1], ids()[:1], torch.ones(1)
    with torch.no_grad():
        change = model(x, words, scale) - model(x * 0, words * 0, scale)
    assert answer.total == pytest.approx(float(change[0, 0]), abs=1e-5)


def test_several_baselines_are_averaged() -> None:
    model = cnn()
    levels = [torch.zeros_like, torch.ones_like]
    visualizer = images([model], features=Raw("Photo", levels, None, None))
    x = pictures()[:1]
    for name, wanted in {
        "IntegratedGradients": attr.IntegratedGradients(model).attribute(
            x, [x * 0, x * 0 + 1], target=0
        ),
        "DeepLiftShap": attr.DeepLiftShap(model).attribute(
            x, torch.cat([x * 0, x * 0 + 1]), target=0
        ),
    }.items():
        [[output]] = visualizer.visualize(method=name, examples=1)
        assert torch.allclose(output.feature_outputs[0].modified, wanted, atol=1e-6)


def test_a_question_is_answered_once() -> None:
    passes: list[int] = []
    model = cnn()
    visualizer = images(lambda x: (passes.append(len(x)), model(x))[1])
    first = visualizer.visualize()
    count = len(passes)
    assert visualizer.visualize() == first
    assert len(passes) == count
    visualizer.visualize(method=("IntegratedGradients", {"n_steps": 51}))
    assert len(passes) > count


def test_a_model_that_changed_is_asked_again() -> None:
    model = cnn()
    visualizer = images([model])
    first = visualizer.visualize()
    with torch.no_grad():
        model[3].bias.add_(torch.tensor([0.0, 0.0, 9.0]))
    assert visualizer.visualize()[0][0].predicted != first[0][0].predicted
    with torch.no_grad():
        model[0].weight.mul_(-1)
    assert visualizer.visualize()[0][0].feature_outputs != first[0][0].feature_outputs


def test_transforms_may_write_into_what_they_get(unchanged: Unchanged) -> None:
    data = pictures()
    photo = ImageFeature("Photo", lambda x: x.zero_(), lambda x: x.mul_(2).sub_(1))
    with unchanged(data):
        found = images([cnn()], features=photo, dataset=[Batch(data, None)]).visualize()
    assert found[0][0].predicted == images([cnn()]).visualize()[0][0].predicted


def test_an_endless_data_set_is_read_as_far_as_it_is_looked_at() -> None:
    read = []

    def endless() -> Iterator[Batch]:
        for i in itertools.count():
            read.append(i)
            yield Batch(pictures(2), torch.tensor([0, 1]))

    visualizer = images([cnn()], dataset=endless())
    assert len(visualizer.visualize(examples=[5])) == 1
    assert read == [0, 1, 2]


def test_a_generator_that_runs_dry_ends_the_data() -> None:
    loader = iter([pictures(2), pictures(1)])

    def tutorial() -> Iterator[Batch]:
        while True:
            yield Batch(next(loader), None)

    assert len(images([cnn()], dataset=tutorial()).visualize(examples=10)) == 3


def test_the_data_set_s_own_errors_are_not_its_end() -> None:
    def broken() -> Iterator[Batch]:
        raise RuntimeError("no disk")
        yield

    with pytest.raises(RuntimeError, match="no disk"):
        images([cnn()], dataset=broken()).visualize()


@pytest.mark.parametrize(("use", "wanted"), [(True, [0, 1]), (False, None)])
def test_the_label_is_explained_or_the_answer(use: bool, wanted: list[int] | None) -> None:
    outputs = images([cnn()], use_label_for_attr=use).visualize(examples=2)
    answers = [output.predicted[0].index for [output] in outputs]
    assert [output.active_index for [output] in outputs] == (wanted or answers)


def test_one_number_is_the_chance_of_the_second_class() -> None:
    rows = torch.tensor([[-2.0, 0.0], [3.0, 1.0]])
    model = nn.Linear(2, 1, bias=False)
    model.weight.data.fill_(1.0)
    visualizer = general(model.eval(), rows, ["no", "yes"], torch.tensor([0, 0]))
    visualizer._calculation.score_func = torch.sigmoid
    [no], [yes] = visualizer.visualize(method="InputXGradient")
    assert (no.predicted[0].label, yes.predicted[0].label) == ("no", "yes")
    assert yes.feature_outputs[0].modified == [3.0, 1.0]
    assert yes.active_index is None
    right = [visualizer._calculation.predictions(i)[0].right for i in (0, 1)]
    assert right == [True, False]


def test_a_regression_has_numbers_for_answers() -> None:
    visualizer = general(lambda x: x.sum(1), torch.tensor([[1.0, 1.5]]), [], torch.tensor([2.7]))
    [[output]] = visualizer.visualize()
    assert (output.predicted[0].label, output.actual.label) == ("2.5", "2.7")


def test_warnings_of_the_library_become_notes() -> None:
    know = general(nn.Linear(2, 2).eval(), torch.ones(1, 2), ["a", "b"])._calculation
    notes = know.answer(Question(0, method="GuidedBackprop")).notes
    assert "no ReLU ran" in notes[0]


def test_progress_is_told_and_may_stop_it(unchanged: Unchanged) -> None:
    model = cnn()
    know = images([model])._calculation
    question = Question(0, method="IntegratedGradients", fields={"n_steps": 3})

    def leave(rows: int) -> None:
        raise OSError("gone")

    class Now:
        monotonic = staticmethod(itertools.count().__next__)

    with pytest.MonkeyPatch.context() as patch, unchanged(model):
        patch.setattr("captum._engine.passes.time", Now)
        with pytest.raises(OSError, match="gone"):
            know.answer(question, leave)
        told: list[int] = []
        know.answer(question, told.append)
    assert told == sorted(told)
    assert told[-1] >= 3


@pytest.mark.parametrize(
    ("question", "kind", "message"),
    [
        (Question(99), IndexError, "example 99"),
        (Question(-1), IndexError, "example -1"),
        (Question(0, 7), IndexError, "a model below 2"),
        (Question(0, method="Magic"), ValueError, "'Magic'"),
        (Question(0, fields={"n_steps": 0}), FieldsError, "a whole number from 1"),
        (Question(0, fields={"steps": 3}), FieldsError, "steps: no such parameter"),
        (Question(0, target=17), Exception, "17"),
        (Question(0, target=True), IndexError, "True"),
    ],
)
def test_questions_that_have_no_answer(
    question: Question, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        images()._calculation.answer(question)


def test_methods_for_pictures_are_not_offered_for_numbers() -> None:
    offer = Offer.to([cnn()], ["general"], [torch.zeros(1, 3)])
    assert not {"RISE", "LayerGradCam", "GuidedGradCam"} & set(offer.methods)
    assert [field.name for field in offer["Occlusion"].fields] == []


def test_layers_are_those_of_the_models() -> None:
    dense = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    know = images([dense, cnn()])._calculation
    described = {each["name"]: each for each in know.offered().described()}
    assert described["LayerGradCam"]["models"] == [1]
    assert know.answer(Question(0, 1, "LayerGradCam")).features
    with pytest.raises(ValueError, match="a model with a convolution '0'"):
        know.answer(Question(0, 0, "LayerGradCam"))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (Batch((pictures(2), ids(2)), None), "batches of 1 inputs, one per feature"),
        (Batch(pictures(2), [0]), "a label for each of 2 rows"),
        (Batch([[1, 2]], None), "inputs as tensors"),
        (Batch(pictures(2), ["cat", "dog"]), "labels as class indices"),
        ("words", "a data set of batches"),
    ],
)
def test_batches_that_do_not_fit(batch: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        images([cnn()], dataset=[batch]).visualize()


@pytest.mark.parametrize("given", [{"models": []}, {"models": 3}, {"features": "Photo"}])
def test_what_is_no_model_and_no_feature(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="works: AttributionVisualizer"):
        images(**given)


def test_maps_for_an_answer_have_no_class() -> None:
    with pytest.raises(ValueError, match="one row of scores per example"):
        images([lambda x: x[:, 0]], score_func=None).visualize()
    with pytest.raises(ValueError, match="one row of scores per example"):
        images([lambda x: x], score_func=None).visualize()
