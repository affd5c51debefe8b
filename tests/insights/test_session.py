"""Messages in, messages out: what may be asked, and what is said to nonsense."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import torch
from torch import nn

from captum.insights import Batch
from captum.insights.fields import Field
from captum.insights.session import Session

from .models import EVIL, asked, cnn, general, images, multimodal, pictures


def session(**more: Any) -> Session:
    return Session(images(**more)._calculation)


def seen(answer: dict[str, Any]) -> list[int]:
    return [example["id"] for example in answer["ok"]["examples"]]


def test_start_says_what_there_is_to_choose_from() -> None:
    ok = asked(session(), kind="start")["ok"]
    assert ok["models"] == ["Sequential 1", "Sequential 2"]
    assert ok["classes"] == ["cat", "dog", EVIL]
    assert ok["features"] == [{"name": "Photo", "type": "image"}]
    assert ok["method"] == ok["methods"][0]["name"] == "IntegratedGradients"
    assert ok["labelled"]
    assert ok["notes"] == []
    steps = ok["methods"][0]["fields"][0]
    assert (steps["name"], steps["default"], steps["kind"]) == ("n_steps", 50, "int")


def test_every_method_s_defaults_are_good() -> None:
    for talk in (session(), Session(multimodal()._calculation)):
        for method in asked(talk, kind="start")["ok"]["methods"]:
            fields = {field["name"]: field["default"] for field in method["fields"]}
            assert asked(talk, kind="check", method=method["name"], fields=fields)["ok"] == fields
            assert "ok" in asked(talk, kind="attribute", example=0, model=0, method=method["name"])


def test_a_model_in_training_mode_is_pointed_out() -> None:
    notes = asked(session(models=[cnn().train()]), kind="start")["ok"]["notes"]
    assert "Sequential is in training mode" in notes[0]


def test_what_is_said_is_json() -> None:
    talk = session(models=[nn.Sequential(nn.Flatten(), Nan())])
    found = asked(talk, kind="examples", count=1)
    scores = found["ok"]["examples"][0]["models"][0]["scores"]
    assert [score["score"] for score in scores] == [None, None]
    json.dumps(found, allow_nan=False)


class Nan(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :2] * torch.nan


def test_pages_follow_one_another() -> None:
    talk = session()
    first = asked(talk, kind="examples", count=4)
    assert seen(first) == [0, 1, 2, 3]
    second = asked(talk, kind="examples", count=4, start=first["ok"]["next"])
    assert seen(second) == [4, 5]
    assert second["ok"]["next"] is None


@pytest.mark.parametrize("by", ["label", "prediction", "either"])
@pytest.mark.parametrize("answers", ["all", "right", "wrong", "disagree"])
@pytest.mark.parametrize("classes", [[], [1], [0, 2]])
@pytest.mark.parametrize("model", [0, 1])
def test_filters_let_through_what_they_say(
    by: str, answers: str, classes: list[int], model: int
) -> None:
    asked_for = {"by": by, "answers": answers, "classes": classes, "model": model}
    found = seen(asked(session(), kind="examples", count=10, filter=asked_for))
    x = 2 * pictures() - 1
    with torch.no_grad():
        said = torch.stack([cnn(0)(x).argmax(1), cnn(1)(x).argmax(1)])
    wanted = []
    for i, label in enumerate([0, 1, 2, 0, 1, 2]):
        best = int(said[model, i])
        of = {"label": [label], "prediction": [best], "either": [label, best]}[by]
        fits = {"all": True, "right": best == label, "wrong": best != label,
                "disagree": said[0, i] != said[1, i]}[answers]  # fmt: skip
        if fits and (not classes or set(of) & set(classes)):
            wanted.append(i)
    assert found == wanted


def test_a_filter_that_nothing_passes_ends_in_an_endless_data_set() -> None:
    def endless() -> Any:
        while True:
            yield Batch(pictures(6), [0] * 6)

    talk = session(models=[nn.Sequential(nn.Flatten(), nn.Linear(64, 3))], dataset=endless())
    said: list[dict[str, Any]] = []
    none = {"classes": [9]}
    talk.ask({"id": 1, "kind": "examples", "filter": none, "count": 1}, said.append)
    assert said[-1]["ok"] == {"examples": [], "next": 1000}
    assert {"looked": 20} in [each.get("progress") for each in said]


@pytest.mark.parametrize(
    ("method", "fields", "where", "problem"),
    [
        ("IntegratedGradients", {"n_steps": 0}, "n_steps", "from 1 to 10000, not 0"),
        ("IntegratedGradients", {"n_steps": 2.5}, "n_steps", "a whole number"),
        ("IntegratedGradients", {"n_steps": None}, "n_steps", "not nothing"),
        ("IntegratedGradients", {"n_steps": True}, "n_steps", "a whole number"),
        ("IntegratedGradients", {"n_steps": "9"}, "n_steps", "a whole number"),
        ("IntegratedGradients", {"method": "simpson"}, "method", "one of gausslegendre"),
        ("IntegratedGradients", {"method": ["x"]}, "method", "one of gausslegendre"),
        ("Saliency", {"abs": "yes"}, "abs", "true or false"),
        ("Saliency", {"nt_stdevs": -1}, "nt_stdevs", "a number from 0"),
        ("Occlusion", {"window": 2, "strides": 3}, "strides", "at most the window, 2"),
        ("Occlusion", {"windows": 2}, "windows", "no such parameter"),
    ],
)
def test_bad_parameters_come_back_by_name(
    method: str, fields: dict[str, Any], where: str, problem: str
) -> None:
    talk = session()
    for kind in ("check", "attribute"):
        error = asked(talk, kind=kind, method=method, fields=fields, example=0)["error"]
        assert list(error["fields"]) == [where]
        assert problem in error["fields"][where]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None, False])
def test_what_is_no_number(value: Any) -> None:
    assert Field("stdevs", 0.5, "").problem(value)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ({"kind": "dance"}, "a message of kind start, examples"),
        ({}, "a message of kind"),
        ({"kind": "attribute", "method": "Saliency"}, "example to be a number"),
        ({"kind": "attribute", "method": "Saliency", "example": "0"}, "example to be a number"),
        ({"kind": "attribute", "method": "Saliency", "example": 77}, "example 77"),
        ({"kind": "attribute", "method": "Saliency", "example": 0, "model": 5}, "a model below 2"),
        ({"kind": "attribute", "method": "__init__", "example": 0}, "a method that fits"),
        ({"kind": "attribute", "method": ["x"], "example": 0}, "a method that fits"),
        (
            {"kind": "attribute", "method": "Saliency", "example": 0, "fields": [1]},
            "fields by name",
        ),
        ({"kind": "attribute", "method": "Saliency", "example": 0, "target": "0"}, "of a class"),
        ({"kind": "attribute", "method": "Saliency", "example": 0, "target": 55}, "55"),
        ({"kind": "examples", "count": -1}, "count to be a number"),
        ({"kind": "examples", "filter": {"answers": "good"}}, "answers all, right"),
        ({"kind": "examples", "filter": {"model": 9}}, "a model below 2"),
        ({"kind": "examples", "filter": {"classes": [[1]]}}, "unhashable"),
    ],
)
def test_nonsense_gets_an_answer(message: dict[str, Any], problem: str) -> None:
    assert problem in asked(session(), **message)["error"]["message"]


@pytest.mark.parametrize("message", [None, 3, "start", [1]])
def test_what_is_no_message_gets_an_answer(message: Any) -> None:
    said: list[dict[str, Any]] = []
    session().ask(message, said.append)
    assert said[0]["id"] is None
    assert "a message of kind" in said[0]["error"]["message"]


def test_errors_tell_where_they_came_from_only_in_debug() -> None:
    def broken(x: torch.Tensor) -> torch.Tensor:
        raise ValueError("my own mistake")

    for debug in (False, True):
        talk = Session(images(broken)._calculation, debug)
        error = asked(talk, kind="examples")["error"]
        assert error["message"] == "my own mistake"
        assert ("detail" in error) is debug
    assert "in broken" in error["detail"]


def test_one_calculation_at_a_time() -> None:
    at_once = [0, 0]
    model = cnn()

    def watched(x: torch.Tensor) -> torch.Tensor:
        at_once[0] += 1
        at_once[1] = max(at_once)
        found: torch.Tensor = model(x)
        at_once[0] -= 1
        return found

    talk = session(models=[watched])
    threads = [
        threading.Thread(target=asked, args=(talk,), kwargs={
            "kind": "attribute", "example": i, "method": "IntegratedGradients"})
        for i in range(4)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert at_once[1] == 1


def test_numbers_without_labels_have_no_filter_by_right() -> None:
    talk = Session(general(nn.Linear(2, 2).eval(), torch.ones(2, 2), ["a", "b"])._calculation)
    assert asked(talk, kind="start")["ok"]["labelled"] is False
    for answers in ("right", "wrong"):
        assert seen(asked(talk, kind="examples", filter={"answers": answers})) == []
