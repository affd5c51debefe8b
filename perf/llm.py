"""Language models beside another implementation of captum: time, tokens, and the same numbers.

    python perf/llm.py --beside PYTHON              # an interpreter with the published package
    python perf/llm.py --beside PYTHON --only fa    # some rows
    python perf/llm.py                              # ours alone

Both run the same rows in turn, one thread each, in processes that stay; CPU seconds are compared,
and the tokens that went through the model are counted where it is called. Results go to
perf/results.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

import captum
from captum import attr

RESULTS = Path(__file__).with_name("results") / "llm-cpu.json"
SYSTEM = 448  # tokens that every prompt of a row begins with, and that are no features


def rows() -> dict[str, Callable[[], Call]]:
    """Row -> what makes a call that gives scores."""
    sizes = {(n, t): f"{n},{t}" for n in (32, 128, 512) for t in (8, 32)}
    found: dict[str, Callable[[], Call]] = {}
    for (n, t), name in sizes.items():
        found[f"fa {name}"] = lambda n=n, t=t: ablation(n, t)
        found[f"svs {name}"] = lambda n=n, t=t: sampling(n, t)
    for name, t in (("fa system prompt 512,8", 8),):
        found[name] = lambda t=t: ablation(512, t, SYSTEM)
    for n, t in ((32, 8), (32, 32), (128, 8), (128, 32)):
        found[f"ig sequence {n},{t}"] = lambda n=n, t=t: paths(n, t, per_token=False)
        found[f"ig tokens {n},{t}"] = lambda n=n, t=t: paths(n, t, per_token=True)
    return found


@dataclass
class Call:
    """A run, and the model whose tokens are counted."""

    model: nn.Module
    run: Callable[[], Any]


class Numbers:
    """A tokenizer whose text is the ids themselves, so that nothing but the model takes time."""

    def encode(self, text: str, add_special_tokens: bool = True, return_tensors: Any = None) -> Any:
        ids = [int(word) for word in text.split()]
        return torch.tensor([ids]) if return_tensors == "pt" else ids

    def __call__(self, text: str, **_: Any) -> dict[str, Any]:
        words = text.split()
        ends = [sum(len(w) + 1 for w in words[: i + 1]) - 1 for i in range(len(words))]
        spans = [(end - len(word), end) for word, end in zip(words, ends, strict=True)]
        return {"input_ids": self.encode(text), "offset_mapping": spans}

    def decode(self, ids: Any, **_: Any) -> str:
        return " ".join(str(int(i)) for i in (ids if hasattr(ids, "__iter__") else [ids]))

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        return [str(int(i)) for i in ids]

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        return int(tokens) if isinstance(tokens, str) else [int(t) for t in tokens]


def model() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=8,
        max_position_embeddings=1024,
    )
    return LlamaForCausalLM(config).eval()


def prompt(n: int, t: int, fixed: int = 0) -> tuple[Any, str]:
    """A prompt of n random tokens, the first of them no features, and a target of t."""
    generator = torch.Generator().manual_seed(n + t)
    ids = torch.randperm(4095, generator=generator)[: n + t] + 1
    text, target = (" ".join(map(str, part.tolist())) for part in ids.split([n, t]))
    skip = ids[:fixed].tolist() or None
    return attr.TextTokenInput(text, Numbers(), skip_tokens=skip), target


def groups(n: int, size: int = 8) -> dict[str, Any]:
    """Long prompts are cut into segments, 64 of them."""
    return {} if n < 512 else {"feature_mask": (torch.arange(n) // size)[None]}


def ablation(n: int, t: int, fixed: int = 0) -> Call:
    net = model()
    explain = attr.LLMAttribution(attr.FeatureAblation(net), Numbers())
    inp, target = prompt(n, t, fixed)
    options = {} if fixed else groups(n)
    return Call(net, lambda: explain.attribute(inp, target=target, **options))


def sampling(n: int, t: int) -> Call:
    net = model()
    explain = attr.LLMAttribution(attr.ShapleyValueSampling(net), Numbers())
    inp, target = prompt(n, t)
    options = {"n_samples": {32: 5, 128: 1, 512: 2}[n], **groups(n)}
    return Call(net, lambda: explain.attribute(inp, target=target, **options))


def paths(n: int, t: int, per_token: bool) -> Call:
    net = model()
    method = attr.LayerIntegratedGradients(net, net.model.embed_tokens)
    explain = attr.LLMGradientAttribution(method, Numbers())
    inp, target = prompt(n, t)
    # The published package has one way only.
    options = {} if per_token or is_published() else {"per_token": False}
    return Call(net, lambda: explain.attribute(inp, target=target, n_steps=20, **options))


def is_published() -> bool:
    return captum.__version__.startswith("0.")


def worker() -> None:
    """Run rows that are asked for on standard input; answer with a line of JSON each."""
    torch.set_num_threads(1)
    made: dict[str, Call] = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in made:
            made[name] = rows()[name]()
        call = made[name]
        tokens = 0

        def count(_: Any, args: Any, kwargs: Any) -> None:
            nonlocal tokens
            tokens += next(x for x in (*args, kwargs.get("input_ids")) if x is not None).numel()

        # The inner model: some call the outer one's forward themselves, past its hooks.
        hook = call.model.model.register_forward_pre_hook(count, with_kwargs=True)
        torch.manual_seed(0)
        start = time.process_time()
        result = call.run()
        seconds = time.process_time() - start
        hook.remove()
        scores = result.seq_attr.flatten().tolist()
        print(json.dumps({"seconds": seconds, "tokens": tokens, "scores": scores}), flush=True)


class Worker:
    def __init__(self, python: str, alone: bool = False) -> None:
        # A path to one package would hide the other's.
        path = {"PYTHONPATH": ""} if alone else {}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **path}
        command = [python, __file__, "--worker"]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def run(self, row: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(row + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the worker of {row!r} died")
        found: dict[str, Any] = json.loads(line)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--beside", help="an interpreter with another captum")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker()
        return
    ours = Worker(sys.executable)
    theirs = Worker(given.beside, alone=True) if given.beside else None
    print(f"{'row':26}{'times':>8}{'tokens':>8}{'ours':>9}{'theirs':>10}{'apart':>10}")
    table = []
    for name in [row for row in rows() if given.only in row]:
        both = [(ours.run(name), theirs.run(name) if theirs else None) for _ in range(given.rounds)]
        line = summary(name, both)
        table.append(line)
        print(
            f"{name:26}{line['times'] or 0:8.1f}{line['fewer_tokens'] or 0:8.1f}"
            f"{line['tokens']:9}{line['their_tokens'] or 0:10}{line['apart'] or 0:10.1e}",
            flush=True,
        )
    if not given.only and theirs:
        about = {"machine": platform.machine(), "python": platform.python_version()}
        RESULTS.write_text(json.dumps({"about": about, "rows": table}, indent=1) + "\n")


def summary(name: str, both: list[tuple[dict[str, Any], dict[str, Any] | None]]) -> dict[str, Any]:
    """How many times as fast, and with how many times fewer tokens; the largest difference."""
    ours, theirs = both[-1]
    line: dict[str, Any] = {"row": name, "tokens": ours["tokens"]}
    line |= dict.fromkeys(("times", "fewer_tokens", "their_tokens", "apart"))
    if theirs is not None:
        pairs = [(a["seconds"], b["seconds"]) for a, b in both if b is not None]
        differences = zip(ours["scores"], theirs["scores"], strict=True)
        line["times"] = round(statistics.median(b / a for a, b in pairs), 2)
        line["their_tokens"] = theirs["tokens"]
        line["fewer_tokens"] = round(theirs["tokens"] / ours["tokens"], 2)
        line["apart"] = max(abs(a - b) for a, b in differences)
    return line


if __name__ == "__main__":
    main()
