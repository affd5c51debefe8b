"""A server on loopback that speaks OpenAI's API as vLLM does, and misbehaves when it is told to."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from torch import nn


class Server:
    """What it was asked, and what it is to do next: (name, argument) per request.

    "fail" answers with a status, "drop" closes the connection half-way, "sleep" waits,
    "say" sends a body of your own.
    """

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.requests: list[dict[str, Any]] = []
        self.mischief: list[tuple[str, Any]] = []
        self.keys: set[str] = set()
        self.most_at_once = self.now = 0
        self.lock = threading.Lock()
        self.url = ""

    def complete(self, asked: dict[str, Any]) -> dict[str, Any]:
        prompts = asked["prompt"]
        if isinstance(prompts, str):
            prompts = [self.tokenizer.encode(prompts)]
        elif isinstance(prompts[0], int):
            prompts = [prompts]
        choices = [self.choice(i, ids, asked) for i, ids in enumerate(prompts)]
        return {"id": "1", "object": "text_completion", "choices": choices[::-1]}  # in any order

    def choice(self, index: int, ids: list[int], asked: dict[str, Any]) -> dict[str, Any]:
        row = torch.tensor([ids])
        with torch.no_grad():
            logs = self.model(row).logits[0].float().log_softmax(-1)
            made = self.model.generate(row, max_new_tokens=asked["max_tokens"], do_sample=False)
        told: list[Any] = [None]
        for at, token in zip(logs, ids[1:], strict=False):
            best = int(at.argmax())  # vLLM tells of the likeliest, too
            told.append({str(i): {"logprob": float(at[i])} for i in (best, token)})
        text = self.tokenizer.decode(made[0, len(ids) :].tolist())
        found: dict[str, Any] = {"index": index, "text": text, "finish_reason": "length"}
        if "prompt_logprobs" in asked:
            found["prompt_logprobs"] = told
        return found


@contextmanager
def serving(model: nn.Module, tokenizer: Any) -> Iterator[Server]:
    state = Server(model, tokenizer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            self.answer(lambda: {"object": "list", "data": [{"id": "tiny"}, {"id": "other"}]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.requests.append(asked)
                state.now += 1
                state.most_at_once = max(state.most_at_once, state.now)
            try:
                self.answer(lambda: state.complete(asked))
            finally:
                with state.lock:
                    state.now -= 1

        def answer(self, make: Any) -> None:
            state.keys.add(self.headers["Authorization"])
            with state.lock:
                name, argument = state.mischief.pop(0) if state.mischief else ("", None)
            if name == "sleep":
                time.sleep(argument)
            if name == "fail":
                self.send(argument, b'{"error": {"message": "busy"}}')
                return
            body = argument if name == "say" else json.dumps(make()).encode()
            if name == "drop":
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            self.send(200, body)

        def send(self, status: int, body: bytes) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # who asked did not wait

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
