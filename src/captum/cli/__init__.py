"""The command line: `captum explain`, `methods`, `insights`, `benchmark`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module

_ABOUT = """\
  captum explain net:load digits.npz --method DeepLift --target 3 --out report.html
  captum explain model.pt2 photo.png --size 224 224 --method IntegratedGradients --set n_steps=100
  captum methods
  captum insights net:load digits.npz
  captum benchmark --out results
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 where it worked, 1 where it did not, with one line that says why."""
    given = _parser().parse_args(argv)
    try:
        module, _, name = given.run.partition(":")
        text = getattr(import_module(module), name)(given)
    except Exception as error:
        if given.traceback:
            raise
        _refuse(error, given.json)
        return 1
    except KeyboardInterrupt:
        return 130
    try:
        if text:
            print(text, flush=True)
    except BrokenPipeError:  # who reads has seen enough; nothing is written at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _refuse(error: Exception, as_json: bool) -> None:
    """One line, and what to do."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = "; ".join(lines) or type(error).__name__
    if as_json:
        print(json.dumps({"error": line, "kind": type(error).__name__}))
    print(f"captum: {line}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="captum",
        description="Ask a PyTorch model why.",
        epilog=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _explain(commands.add_parser("explain", help="scores of a method, for inputs in a file"))
    _methods(commands.add_parser("methods", help="what there is, what it needs, what it costs"))
    _insights(commands.add_parser("insights", help="look around, on a page of this computer"))
    _benchmark(commands.add_parser("benchmark", help="which method to trust"))
    return parser


def _common(parser: argparse.ArgumentParser, run: str) -> None:
    """What every command takes; what runs it is imported when it is asked for."""
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--traceback", action="store_true", help="errors with where they came from")


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="package.module:callable, a .pt2 archive, or TorchScript")
    parser.add_argument("inputs", help=".npz, .npy, .safetensors, .csv, or a picture")
    parser.add_argument("--classes", metavar="FILE", help="a line for each output")
    parser.add_argument("--baseline", type=float, default=0.0, help="what absent features are")
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="of a picture")


def _explain(parser: argparse.ArgumentParser) -> None:
    _data(parser)
    parser.add_argument("--method", default="IntegratedGradients", help="see: captum methods")
    parser.add_argument("--target", type=int, help="which output; the largest by default")
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help="its parameters")
    parser.add_argument("--out", metavar="FILE", help=".html, .npz, .safetensors or .json")
    _common(parser, "captum.cli.explain:explain")


def _methods(parser: argparse.ArgumentParser) -> None:
    _common(parser, "captum.cli.costs:methods")


def _insights(parser: argparse.ArgumentParser) -> None:
    _data(parser)
    parser.add_argument("--port", type=int, help="a free one by default")
    parser.add_argument("--no-browser", action="store_true", help="print the address alone")
    _common(parser, "captum.cli.look:look")


def _benchmark(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=5, help="models of each task")
    parser.add_argument("--methods", nargs="*", help="all by default")
    parser.add_argument("--tasks", nargs="*", help="all by default")
    parser.add_argument("--out", metavar="FOLDER", help="for benchmark.json and benchmark.png")
    _common(parser, "captum.benchmark.command:benchmark")
