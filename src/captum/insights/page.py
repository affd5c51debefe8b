"""The front end as one HTML document that asks nobody but, where there is one, its own server."""

from __future__ import annotations

import json
import secrets
from functools import cache
from importlib.resources import files
from typing import Any

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>captum insights</title>
<style nonce="{nonce}">
html {{ color-scheme: light dark; }}
body {{ margin: 0; }}
{css}
</style>
</head>
<body>
<div id="insights"></div>
<script type="application/json" id="recorded">{recorded}</script>
<script type="module" nonce="{nonce}">
{script}
{start}
</script>
</body>
</html>
"""
_ELEMENT = 'document.getElementById("insights")'
_LIVE = f'mount({_ELEMENT}, connect("ask"));'
_RECORDED = (
    f'mount({_ELEMENT}, recorded(JSON.parse(document.getElementById("recorded").textContent)));'
)


@cache
def static(name: str) -> str:
    """A file of the front end, as the wheel carries it."""
    return files("captum.insights").joinpath("static").joinpath(name).read_text(encoding="utf-8")


def live() -> tuple[str, str]:
    """The page of a server, and the policy it is to be sent with."""
    return _page("null", _LIVE, "connect-src 'self'")


def recorded(data: Any) -> str:
    """A page that holds all it can show.

    >>> "</script><b>" in recorded("</script><b>")
    False
    """
    return _page(_embedded(data), _RECORDED)[0]


def _page(data: str, start: str, *more: str) -> tuple[str, str]:
    nonce = secrets.token_urlsafe(16)
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src 'nonce-{nonce}'",
            f"style-src 'nonce-{nonce}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            *more,
        ]
    )
    text = _PAGE.format(
        policy=policy,
        nonce=nonce,
        css=static("insights.css"),
        script=static("insights.js"),
        recorded=data,
        start=start,
    )
    return text, policy


def _embedded(data: Any) -> str:
    """JSON that can stand in a page: nothing in it ends the script or begins a comment."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
