"""Formulas as MathML, which browsers draw by themselves: pages need no script and no network."""

import re
from html import escape
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging

# Sizes of brackets that the converter does not know; browsers stretch brackets by themselves.
_SIZES = re.compile(r"\\[bB]ig+m?(?![a-zA-Z])")


def mathml(node: nodes.math | nodes.math_block, as_block: bool) -> str:
    """The formula's MathML; a warning, and its source, where it cannot be read."""
    try:
        formula: str = tex2mathml(_SIZES.sub("", node.astext()), as_block=as_block)
        return formula
    except MathError as error:
        logging.getLogger(__name__).warning("formula: %s", error, location=node)
        return f"<code>{escape(node.astext())}</code>"


def visit_inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(mathml(node, as_block=False))
    raise nodes.SkipNode


def visit_block(writer: Any, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="math">{mathml(node, as_block=True)}</div>')
    raise nodes.SkipNode


def depart(writer: Any, node: nodes.Node) -> None:
    raise ExtensionError("a formula is written whole when it is visited")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (visit_inline, depart), (visit_block, depart))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
