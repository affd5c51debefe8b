"""The code in the README and the docs runs, and prints what stands below it."""

import contextlib
import io
import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.M | re.S)


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language and the text of every fenced block, also of those within a list."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [(language, textwrap.dedent(text)) for _, language, text in found]


WITH_CODE = [page for page in PAGES if any(language == "python" for language, _ in blocks(page))]


def test_the_pages_that_promise_code_have_it() -> None:
    assert {"README", "backward_rules", "custom", "glossary"} <= {page.stem for page in WITH_CODE}


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_code_prints_what_stands_below_it(page: Path) -> None:
    """All blocks of a page in one namespace; a text block after one that prints is its output."""
    namespace: dict[str, object] = {"__name__": page.stem}
    printed = ""
    for language, text in blocks(page):
        if language == "text" and printed:
            assert text == printed
            printed = ""
        elif language == "python":
            assert not printed, "no text block shows this output"
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(text, namespace)
            printed = out.getvalue()
    assert not printed, "no text block shows this output"
