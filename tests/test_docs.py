"""The documentation names everything there is, and its own tools do what they say."""

import doctest
import importlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from captum import (
    attr,
    benchmark,
    concept,
    influence,
    insights,
    linear,
    metrics,
    module,
    robust,
)
from captum.attr import lrp_rules, visualization
from captum.insights import features

DOCS = Path(__file__).parents[1] / "docs"
GOOD = """\
# %% [markdown]
# # A title

# %%
import helper
import matplotlib.pyplot as plt
from captum.attr import visualization as viz

print("before", helper.WORD)
plt.plot([1, 2])
plt.show()
print("after")

# %%
row = viz.VisualizationDataRecord([0.5], 0.9, 1, 1, "pos", 0.5, ["good"], 0.0)
viz.visualize_text([row])
"""


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    yield importlib.import_module("tutorials")
    sys.modules.pop("tutorials")


def named(page: str) -> set[str]:
    return set(re.findall(r"^\.\. (?:auto\w+|py:data):: (\w+)", (DOCS / page).read_text(), re.M))


def test_the_api_page_has_every_public_name() -> None:
    modules = {name for name, value in vars(attr).items() if isinstance(value, ModuleType)}
    public = {name for name in vars(attr) if not name.startswith("_")} - modules
    families = (influence, concept, robust, metrics, module, benchmark, insights, features)
    others = (visualization, lrp_rules, linear, *families)
    assert named("api.md") == public.union(*(module.__all__ for module in others))


@pytest.mark.parametrize("name", ["tutorials", "plain_docstrings"])
def test_examples_of_the_tools(name: str, tools: ModuleType) -> None:
    tried = doctest.testmod(importlib.import_module(name))
    assert tried.attempted
    assert not tried.failed


def test_a_tutorial_becomes_a_page_once(tools: ModuleType, tmp_path: Path) -> None:
    script, helper, page = (tmp_path / name for name in ("first.py", "helper.py", "first.md"))
    script.write_text(GOOD)
    helper.write_text("WORD = 'all'\n")
    assert tools.scripts(tmp_path) == [script]
    digest = tools.digest_of(script, [helper])
    assert tools.refresh(script, page, digest) == ""
    parts = ["# A title", "import helper", "before all", "![", "\nafter", "row = viz", ">good<"]
    text = page.read_text()
    assert sorted(parts, key=text.index) == parts
    assert text.count(">good<") == 1
    assert (tmp_path / "first-1.png").stat().st_size > 1000
    os.utime(page, (0, 0))
    assert tools.refresh(script, page, digest) == ""
    assert page.stat().st_mtime == 0
    helper.write_text("WORD = 'any'\n")
    assert tools.digest_of(script, [helper]) != digest


def test_a_tutorial_that_fails_leaves_no_page(tools: ModuleType, tmp_path: Path) -> None:
    script, page = tmp_path / "bad.py", tmp_path / "bad.md"
    script.write_text("# %%\nx = 1\n\n# %%\nassert x == 2\n")
    page.write_text("% an older one\n")
    error = tools.refresh(script, page, "new")
    assert 'bad.py", line 5' in error
    assert "AssertionError" in error
    assert not page.exists()


def test_the_table_of_metrics_is_the_code_s() -> None:
    """Ranges and directions, as `METRICS` has them."""
    found = re.findall(
        r"^\| `(\w+)` \| (\S+) to (\S+) \| (higher|lower) \|", (DOCS / "trust.md").read_text(), re.M
    )
    ends = {"∞": float("inf"), "-∞": float("-inf")}
    table = {
        name: (ends.get(low, low), ends.get(high, high), better)
        for name, low, high, better in found
    }
    truth = {name: (m.low, m.high, m.better) for name, m in metrics.METRICS.items()}
    assert {n: (float(a), float(b), c) for n, (a, b, c) in table.items()} == truth
