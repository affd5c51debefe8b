"""The front end as a notebook widget: JupyterLab, VS Code and Colab."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from captum._engine.errors import extra, wrong
from captum.attr.visualization.text import notebook
from captum.insights.page import static
from captum.insights.session import Session


def widget(session: Session) -> Any:
    """An anywidget whose custom messages are those of the session."""
    base = extra("anywidget", "insights").AnyWidget
    body = {"_esm": static("insights.js"), "_css": static("insights.css")}
    made = type(base)("Insights", (base,), body)()
    made.on_msg(lambda sender, message, buffers: session.ask(message, sender.send))
    return made


def show(session: Session) -> None:
    """The widget in this notebook's cell.

    Raises:
        ImportError: anywidget is not installed.
        RuntimeError: there is no notebook.
    """
    if notebook() is None:
        works = 'visualizer.serve(), or visualizer.save("page.html")'
        raise wrong(RuntimeError, "a notebook to show it in", "Python without one", works)
    import_module("IPython.display").display(widget(session))
