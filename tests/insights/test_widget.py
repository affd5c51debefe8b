"""The notebook's widget carries the same messages."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import anywidget
import pytest

from captum.insights import widget as widgets
from captum.insights.page import static

from .models import images


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a notebook was given to display."""
    found: list[Any] = []
    display = ModuleType("IPython.display")
    display.display = found.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(widgets, "notebook", lambda: SimpleNamespace(execution_count=1))
    return found


@pytest.fixture
def widget(shown: list[Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    images().render()
    [made] = shown
    made.said = []
    monkeypatch.setattr(type(made), "send", lambda self, said, buffers=None: self.said.append(said))
    return made


def test_it_carries_the_front_end(widget: Any) -> None:
    assert isinstance(widget, anywidget.AnyWidget)
    assert widget._esm == static("insights.js")
    assert widget._css == static("insights.css")
    assert "export default { render }" in widget._esm


def test_a_message_is_answered(widget: Any) -> None:
    widget._handle_custom_msg({"id": "a-1", "kind": "start"}, [])
    widget._handle_custom_msg({"id": "a-2", "kind": "examples", "count": 1}, [])
    assert [said["id"] for said in widget.said] == ["a-1", "a-2"]
    assert widget.said[0]["ok"]["models"]
    assert len(widget.said[1]["ok"]["examples"]) == 1


def test_an_error_tells_where_it_came_from(widget: Any) -> None:
    widget._handle_custom_msg({"id": "b", "kind": "dance"}, [])
    assert "Traceback" in widget.said[0]["error"]["detail"]


def test_without_anywidget_the_extra_is_named(
    shown: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(ImportError, match=r"captum\[insights\]"):
        images().render()


def test_without_a_notebook_there_are_other_ways() -> None:
    with pytest.raises(RuntimeError, match=r"works: visualizer.serve\(\)"):
        images().render()
