"""One file that holds all it shows, asks nobody, and takes no text for markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from captum.insights.fields import FieldsError
from captum.insights.page import static
from captum.insights.session import Session

from .models import EVIL, asked, images, multimodal


class Elements(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script":
            self.scripts[-1] += data


def recorded(page: str) -> Any:
    return json.loads(Elements(page).scripts[0])


def test_it_is_one_file_that_asks_for_nothing(tmp_path: Path) -> None:
    path = images().save(tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    assert path == tmp_path / "page.html"
    assert not re.search(r"https?://", text)
    assert not re.search(r"@import|url\(", text)
    tags = Elements(text).found
    for tag, attributes in tags:
        assert "src" not in attributes, tag
        assert attributes.get("href", "data:,") == "data:,"
    policy = next(a["content"] for t, a in tags if a.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy


def test_names_and_tokens_stay_text(tmp_path: Path) -> None:
    text = multimodal(classes=["x", EVIL, "z"]).save(tmp_path / "page.html").read_text()
    tags = [tag for tag, _ in Elements(text).found]
    assert tags.count("script") == 2
    assert "img" not in tags
    assert EVIL not in text
    data = recorded(text)
    assert data["start"]["classes"][1] == EVIL
    assert EVIL in json.dumps([example["features"] for example in data["examples"]])


def test_it_holds_every_method_model_and_example(tmp_path: Path) -> None:
    methods = ["Saliency", ("Saliency", {"abs": False}), ("IntegratedGradients", {"n_steps": 3})]
    text = images().save(tmp_path / "page.html", methods, examples=[1, 4]).read_text()  # type: ignore[arg-type]
    data = recorded(text)
    assert [example["id"] for example in data["examples"]] == [1, 4]
    assert [column["method"] for column in data["columns"]] == [
        "Saliency",
        "Saliency",
        "IntegratedGradients",
    ]
    assert len(data["answers"]) == 2 * 2 * 3
    assert {method["name"] for method in data["start"]["methods"]} == {
        "Saliency",
        "IntegratedGradients",
    }
    for answer in data["answers"]:
        assert answer["answer"]["features"][0]["modified"].startswith("data:image/png")


def test_a_page_that_was_looked_at_can_be_exported() -> None:
    talk = Session(images()._calculation)
    start = asked(talk, kind="start")["ok"]
    fields = {field["name"]: field["default"] for field in start["methods"][0]["fields"]}
    question = {"example": 2, "model": 1, "method": "IntegratedGradients", "fields": fields}
    said: list[dict[str, Any]] = []
    message = {"id": 1, "kind": "export", "examples": [2], "questions": [question | {"target": 0}]}
    talk.ask(message, said.append)
    assert said[0]["progress"] == {"done": 0, "total": 1}
    data = recorded(said[-1]["ok"]["html"])
    assert data["answers"][0]["answer"]["target"] == 0


def test_mistakes_are_seen_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    with pytest.raises(FieldsError, match="n_steps"):
        images().save(path, [("IntegratedGradients", {"n_steps": 0})])
    with pytest.raises(ValueError, match="a method that fits"):
        images().save(path, ["IntegratedGradient"])
    assert not path.exists()


def test_the_front_end_makes_no_markup_of_text() -> None:
    script = static("insights.js")
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
    ):
        assert way not in script
    assert not re.search(r"https?://|import\s*[({]|from\s+['\"]", script)
