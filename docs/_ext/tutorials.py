"""Runs the percent-format scripts of `tutorials/` once and writes each as a page.

A script is cells: `# %% [markdown]` starts text, `# %%` code. Every script runs in a process of its
own, cell by cell in one namespace; what a cell prints, plots and shows follows it on the page. A
script that is unchanged, as are the helpers beside it, keeps the page it has. One that fails is a
warning, which the build with -W turns into a failure.
"""

import ast
import contextlib
import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARKER = re.compile(r"^# %%[ \t]*(\[markdown\])?.*\n?", re.MULTILINE)
FENCE = "`" * 8


def scripts(folder: Path) -> list[Path]:
    """The tutorials in a folder: its scripts that have cells; the others are their helpers."""
    return sorted(p for p in folder.glob("*.py") if MARKER.search(p.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Cell:
    """A piece of a script: its text, and the line it starts at, counted from 0."""

    text: str
    is_code: bool
    line: int


def cells(source: str) -> Iterator[Cell]:
    """The cells that have text; what stands before the first marker is code.

    >>> [cell.text for cell in cells("# %% [markdown]\\n# # Title\\n# text\\n# %%\\nx = 1\\n")]
    ['# Title\\ntext', 'x = 1']
    """
    markers = list(MARKER.finditer(source))
    starts = [0, *(m.end() for m in markers)]
    stops = [*(m.start() for m in markers), len(source)]
    is_code = [True, *(m[1] is None for m in markers)]
    for start, stop, code in zip(starts, stops, is_code, strict=True):
        body = source[start:stop]
        text = body if code else re.sub(r"^# ?", "", body, flags=re.MULTILINE)
        if text.strip():
            blank = len(text) - len(text.lstrip("\n"))
            yield Cell(text.strip("\n"), code, source.count("\n", 0, start) + blank)


class Page:
    """The page of one tutorial, as its cells run."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.blocks: list[str] = []
        self.pictures = 0
        self.shown: list[Any] = []  # the objects themselves: an id may come again
        self.printed = io.StringIO()

    def flush(self) -> None:
        """What was printed so far, as a block; then printing starts afresh."""
        text = self.printed.getvalue().rstrip()
        self.printed.seek(0)
        self.printed.truncate()
        if text:
            self.blocks.append(f"{FENCE}{{code-block}} none\n:class: output\n\n{text}\n{FENCE}")

    def show_html(self, result: Any) -> None:
        if any(result is earlier for earlier in self.shown):
            return
        self.flush()
        self.shown.append(result)
        html = result._repr_html_()
        self.blocks.append(f'{FENCE}{{raw}} html\n<div class="result">{html}</div>\n{FENCE}')

    def show_figures(self) -> None:
        """Stands in for `plt.show`: every open figure becomes a picture."""
        from matplotlib import pyplot as plt  # noqa: PLC0415 - only where a tutorial runs

        for number in plt.get_fignums():
            self.flush()
            self.pictures += 1
            file = f"{self.name}-{self.pictures}.png"
            plt.figure(number).savefig(self.folder / file, dpi=110, bbox_inches="tight")
            self.blocks.append(f"![figure {self.pictures} of this tutorial]({file})")
        plt.close("all")

    def run(self, cell: Cell, namespace: dict[str, Any]) -> None:
        """One cell; the value of its last expression is shown where it has an HTML form."""
        file = namespace["__file__"]
        tree = ast.parse("\n" * cell.line + cell.text, file)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        self.blocks.append(f"{FENCE}python\n{cell.text}\n{FENCE}")
        with contextlib.redirect_stdout(self.printed):
            exec(compile(tree, file, "exec"), namespace)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), file, "eval"), namespace)
                if hasattr(value, "_repr_html_"):
                    self.show_html(value)
            self.show_figures()
        self.flush()


def render(script: Path, page_file: Path, digest: str) -> None:
    """Run a tutorial in this process and write its page."""
    from matplotlib import pyplot as plt  # noqa: PLC0415

    from captum.attr.visualization import TextVisualization  # noqa: PLC0415

    page = Page(script.stem, page_file.parent)

    def show(*args: Any, **kwargs: Any) -> None:
        page.show_figures()

    def show_text(result: TextVisualization) -> None:
        page.show_html(result)

    plt.show = show
    TextVisualization._ipython_display_ = show_text  # it shows itself, as in a notebook
    source = script.read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "__main__", "__file__": str(script)}
    for cell in cells(source):
        if cell.is_code:
            page.run(cell, namespace)
        else:
            page.blocks.append(cell.text)
    end = f"---\n\nThis page is `tutorials/{script.name}`, run when the documentation was built."
    page_file.write_text("\n\n".join([f"% {digest}", *page.blocks, end]) + "\n", encoding="utf-8")


def refresh(script: Path, page_file: Path, digest: str) -> str:
    """Bring one page up to date, in a process of its own; the error's text where that fails."""
    if page_file.exists() and page_file.read_text(encoding="utf-8").startswith(f"% {digest}\n"):
        return ""
    for old in [page_file, *page_file.parent.glob(f"{script.stem}-*.png")]:
        old.unlink(missing_ok=True)
    settings = {
        "MPLBACKEND": "Agg",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",  # a tutorial per core already
        "PYTHONPATH": str(script.resolve().parent),
    }
    paths = [str(path.resolve()) for path in (Path(__file__), script, page_file)]
    with tempfile.TemporaryDirectory() as place:  # what a tutorial writes stays there
        done = subprocess.run(
            [sys.executable, *paths, digest],
            cwd=place,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
    return done.stderr if done.returncode else ""


def digest_of(script: Path, shared: list[Path]) -> str:
    """What a page depends on: the script, the helpers beside it, and this file."""
    return hashlib.sha256(b"".join(p.read_bytes() for p in [script, *shared])).hexdigest()[:16]


def build(app: Any) -> None:
    """Write the pages of all tutorials; forget those whose script is gone."""
    from sphinx.util import logging  # noqa: PLC0415 - the processes that run tutorials need none

    source, target = Path(app.srcdir).parent / "tutorials", Path(app.srcdir) / "tutorials"
    target.mkdir(exist_ok=True)
    found = scripts(source)
    for page in target.glob("*.md"):
        if page.stem not in {script.stem for script in found}:
            page.unlink()
    shared = [Path(__file__), *(p for p in sorted(source.glob("*.py")) if p not in found)]
    jobs = [(s, target / f"{s.stem}.md", digest_of(s, shared)) for s in found]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        errors = list(pool.map(lambda job: refresh(*job), jobs))
    for script, error in zip(found, errors, strict=True):
        if error:
            logging.getLogger(__name__).warning("the tutorial %s fails:\n%s", script.name, error)


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", build)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    render(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
