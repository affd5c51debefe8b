"""How the documentation is built: `make docs`."""

import sys
from pathlib import Path

import captum

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "captum"
author = "the captum developers"
release = captum.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_parser",
    "mathml",
    "plain_docstrings",
    "tutorials",
]
exclude_patterns = ["_build", "_ext"]

myst_enable_extensions = ["deflist", "dollarmath", "colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the glossary says what the shared parameters take
napoleon_numpy_docstring = False
default_role = "code"  # docstrings put code between single backticks
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "captum"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["captum.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
