"""`captum insights`: a page to look around on."""

from __future__ import annotations

import argparse
import json
import webbrowser

from captum.cli.explain import visualizer
from captum.cli.loading import inputs_of, model_of


def look(given: argparse.Namespace) -> str:
    """Serve the page until the keyboard interrupts."""
    model, inputs = model_of(given.model), inputs_of(given.inputs, given.size)
    page = visualizer(model, inputs, given.classes, given.baseline).serve(port=given.port)
    if given.json:
        print(json.dumps({"url": page.url}), flush=True)
    if not given.no_browser:
        webbrowser.open(page.url)
    page.wait()
    return ""
