"""Arrows point one way, and `import captum` asks for nothing it does not need."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import captum

SOURCE = Path(captum.__file__).parent
ENGINE = sorted((SOURCE / "_engine").rglob("*.py"))
_HEAVY = (
    "matplotlib",
    "sklearn",
    "IPython",
    "transformers",
    "pandas",
    "PIL",
    "anywidget",
    "hypothesis",
)


def imported(text: str, package: str) -> Iterator[str]:
    """The full names of all modules that a file of `package` imports, at the top or inside."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            start = ".".join(base if node.level else [])
            module = ".".join(filter(None, [start, node.module]))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def reaches(names: Iterator[str], family: str) -> set[str]:
    return {name for name in names if name == family or name.startswith(family + ".")}


@pytest.mark.parametrize(
    "text",
    [
        "import captum.attr",
        "from captum import attr",
        "from captum.attr.base import Attribution",
        "from .. import attr",
        "from ..attr import base",
        "def f():\n    from captum.attr import Saliency",
    ],
)
def test_the_reader_of_imports_sees_every_form(text: str) -> None:
    assert reaches(imported(text, "captum._engine"), "captum.attr")


@pytest.mark.parametrize("file", ENGINE, ids=lambda file: file.name)
def test_the_engine_knows_no_method(file: Path) -> None:
    families = {
        found.name for found in SOURCE.iterdir() if found.is_dir() and found.name != "_engine"
    }
    assert "attr" in families
    names = list(imported(file.read_text(encoding="utf-8"), "captum._engine"))
    assert not {name for family in families for name in reaches(iter(names), f"captum.{family}")}


def test_linear_models_know_no_method() -> None:
    for file in (SOURCE / "linear").glob("*.py"):
        names = list(imported(file.read_text(encoding="utf-8"), "captum.linear"))
        assert not reaches(iter(names), "captum.attr"), file


def test_no_file_imports_the_published_package_paths() -> None:
    """Old deep paths are for users' code; ours says where things live."""
    for file in SOURCE.rglob("*.py"):
        package = ".".join(["captum", *file.relative_to(SOURCE).parts[:-1]])
        names = list(imported(file.read_text(encoding="utf-8"), package))
        for old in ("captum._utils", "captum.attr._core", "captum.attr._utils"):
            assert not reaches(iter(names), old), file


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_captum_is_light() -> None:
    loaded = run("import sys, captum, captum.attr; print(*sys.modules)").split()
    packages = {name.partition(".")[0] for name in loaded}
    assert "torch" in packages
    assert not packages & set(_HEAVY)


def test_import_captum_changes_no_global_state() -> None:
    out = run(
        "import random, numpy, torch, warnings\n"
        "def state():\n"
        "    return (torch.get_rng_state().tolist(), random.getstate(), torch.is_grad_enabled(),\n"
        "            numpy.random.get_state()[1].tolist(), torch.get_default_dtype(),\n"
        "            torch.get_num_threads(), list(warnings.filters))\n"
        "before = state()\n"
        "import captum\n"
        "print(before == state())"
    )
    assert out.strip() == "True"
