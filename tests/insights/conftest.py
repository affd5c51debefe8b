"""Tests in a browser need one; who has none says so, and sees what was left out."""

from __future__ import annotations

import os

import pytest

_NAME = "test_browser.py"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("CAPTUM_NO_BROWSER") != "1":
        return
    mine = [
        item for item in items if item.path.name == _NAME and item.path.parent.name == "insights"
    ]
    items[:] = [item for item in items if item not in mine]
    config.hook.pytest_deselected(items=mine)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if os.environ.get("CAPTUM_NO_BROWSER") == "1":
        terminalreporter.write_line(f"CAPTUM_NO_BROWSER=1: tests/insights/{_NAME} was left out")
