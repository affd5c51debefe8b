"""The page is there for who holds its token, on this computer, and for nobody else."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from captum.insights.server import Page
from captum.insights.session import Session

from .models import cnn, images

START = b'{"id": 1, "kind": "start"}'


@pytest.fixture
def page() -> Iterator[Page]:
    with images().serve() as found:
        yield found


def request(
    page: Page, method: str = "POST", path: str = "/ask", body: bytes | None = START, **more: Any
) -> tuple[int, str, dict[str, str]]:
    """A request as the page itself makes it, but for `more` of its headers; None leaves one out."""
    own = f"127.0.0.1:{page.port}"
    headers = {
        "Host": own,
        "Origin": f"http://{own}",
        "Content-Type": "application/json",
        "X-Captum-Token": page.token,
    } | {name.replace("_", "-"): value for name, value in more.items()}
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True)
        for name, value in headers.items():
            if value is not None:
                connection.putheader(name, value)
        if "Content-Length" not in headers:
            connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.getheaders())
    finally:
        connection.close()


def test_who_holds_the_token_is_answered(page: Page) -> None:
    status, text, headers = request(page)
    assert status == 200
    assert json.loads(text)["ok"]["models"] == ["Sequential 1", "Sequential 2"]
    assert not [name for name in headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("token", [None, "", "x", "é"])
def test_no_token_no_answer(page: Page, token: str | None) -> None:
    status, text, _ = request(page, X_Captum_Token=token)
    assert status == 403
    assert "Sequential" not in text
    assert page.token not in text


@pytest.mark.parametrize(
    "more",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:{port}"},
        {"Host": "127.0.0.1"},
        {"Host": None},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://localhost:{port}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_foreign_pages_are_refused_even_with_the_token(page: Page, more: dict[str, Any]) -> None:
    filled = {name: value and value.format(port=page.port) for name, value in more.items()}
    assert request(page, **filled)[0] == 403
    if "Host" in filled:
        assert request(page, "GET", "/", body=None, **filled)[0] == 403


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}"])
def test_its_own_names_are_let_in(page: Page, host: str) -> None:
    own = host.format(port=page.port)
    assert request(page, Host=own, Origin=f"http://{own}")[0] == 200
    assert request(page, Host=own, Origin=None)[0] == 200


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": None}, 415),
        ({"path": "/other"}, 404),
        ({"body": b"{"}, 400),
        ({"body": b"\xff"}, 400),
        ({"Content_Length": "x"}, 411),
        ({"Content_Length": "-1"}, 411),
        ({"Content_Length": str(1 << 30)}, 413),
    ],
)
def test_malformed_requests_are_refused(page: Page, more: dict[str, Any], status: int) -> None:
    assert request(page, **more)[0] == status


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD"])
def test_there_are_no_other_methods(page: Page, method: str) -> None:
    assert request(page, method, "/")[0] == 501


def test_the_page_holds_no_secret_and_a_strict_policy(page: Page) -> None:
    status, text, headers = request(page, "GET", "/", body=None, X_Captum_Token=None)
    assert status == 200
    assert page.token not in text
    assert "Sequential" not in text
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["X-Frame-Options"] == "DENY"
    again = request(page, "GET", "/?x=1", body=None)[2]["Content-Security-Policy"]
    assert again != policy  # every page has a nonce of its own
    assert request(page, "GET", "/../setup.py", body=None)[0] == 404


def test_it_listens_on_loopback_alone(page: Page) -> None:
    assert page._server.server_address[0] == "127.0.0.1"
    assert page.url == f"http://127.0.0.1:{page.port}/#{page.token}"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", page.port), timeout=2).close()


def test_bind_all_lets_others_in_who_still_need_the_token() -> None:
    with images().serve(bind_all=True) as page:
        assert page._server.server_address[0] == "0.0.0.0"
        socket.create_connection(("127.0.0.2", page.port), timeout=2).close()
        other = f"192.0.2.7:{page.port}"
        assert request(page, Host=other, Origin=f"http://{other}")[0] == 200
        assert request(page, Host=other, Origin=f"http://{other}", X_Captum_Token="x")[0] == 403
        named = f"evil.example:{page.port}"
        assert request(page, Host=named, Origin=f"http://{named}")[0] == 403


def test_stop_frees_the_port(capsys: pytest.CaptureFixture[str]) -> None:
    page = images().serve()
    assert page.url in capsys.readouterr().out
    assert page.url in repr(page)
    page.stop()
    with pytest.raises(ConnectionRefusedError):
        request(page)
    with images().serve(port=page.port) as again:
        assert again.port == page.port
        assert again.token != page.token
        assert request(again)[0] == 200


def test_blocking_stays_until_the_keyboard_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def interrupt(thread: Any, timeout: float | None = None) -> None:
        monkeypatch.undo()
        seen.append(thread.is_alive())
        raise KeyboardInterrupt

    monkeypatch.setattr("threading.Thread.join", interrupt)
    page = images().serve(blocking=True)
    assert seen == [True]
    assert not page._thread.is_alive()


def test_progress_comes_before_the_answer() -> None:
    model = cnn()

    def slow(x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.12)
        found: torch.Tensor = model(x)
        return found

    ask = {"id": 3, "kind": "attribute", "example": 0, "method": "FeatureAblation"}
    with images(slow).serve() as page:
        body = json.dumps(ask | {"fields": {"patch": 2}}).encode()
        lines = [json.loads(line) for line in request(page, body=body)[1].splitlines()]
    assert all(line["id"] == 3 for line in lines)
    assert [*lines[0]] == ["id", "progress"]
    assert lines[-1]["ok"]["features"]


def test_who_leaves_ends_the_calculation() -> None:
    passes = []
    model = cnn()

    def slow(x: torch.Tensor) -> torch.Tensor:
        passes.append(len(x))
        time.sleep(0.02)
        found: torch.Tensor = model(x)
        return found

    fields = {"n_samples": 100_000, "patch": 1}
    ask = {"kind": "attribute", "example": 0, "method": "ShapleyValueSampling", "fields": fields}
    session = Session(images(slow)._calculation)
    with Page(session) as page:
        body = json.dumps(ask).encode()
        raw = socket.create_connection(("127.0.0.1", page.port))
        head = (
            f"POST /ask HTTP/1.0\r\nHost: 127.0.0.1:{page.port}\r\nX-Captum-Token: {page.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        raw.sendall(head.encode() + body)
        while b"progress" not in raw.recv(1 << 16):
            pass
        raw.close()
        assert session._alone.acquire(timeout=10)  # free again: nobody calculates any more
        session._alone.release()
    count = len(passes)
    time.sleep(0.1)
    assert len(passes) == count
