"""The front end on a page of this computer, for whoever holds the token."""

from __future__ import annotations

import ipaddress
import json
import secrets
import socket
import threading
from hmac import compare_digest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from captum.insights.page import live
from captum.insights.session import Session

_LOOPBACK, _EVERYWHERE = "127.0.0.1", "0.0.0.0"
_PATIENCE = 0.05  # seconds until `stop()` is noticed
_LONGEST = 1 << 20  # bytes of a message
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Page:
    """A running page: open `url`. It stops with `stop()`, or at the end of a `with`.

    Args:
        session: who answers.
        port: a port; a free one by default.
        bind_all: let other computers come in, who need the token, too.
        log: write requests to the terminal.
    """

    def __init__(
        self, session: Session, port: int | None = None, bind_all: bool = False, log: bool = False
    ) -> None:
        self.token = secrets.token_urlsafe(24)
        host = _EVERYWHERE if bind_all else _LOOPBACK
        self._server = _Server((host, port or 0), session, self.token, bind_all, log)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_PATIENCE,), daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """The address. The token stands behind a #, which no browser sends anywhere."""
        host = _reachable() if self._server.bind_all else _LOOPBACK
        return f"http://{host}:{self.port}/#{self.token}"

    def wait(self) -> None:
        """Stay until it is stopped, or the keyboard interrupts."""
        try:
            self._thread.join()
        except KeyboardInterrupt:
            self.stop()

    def stop(self) -> None:
        """End it and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Page:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<captum insights at {self.url}>"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a calculation under way does not hold up the end

    def __init__(
        self, address: tuple[str, int], session: Session, token: str, bind_all: bool, log: bool
    ) -> None:
        self.session, self.token, self.bind_all, self.log = session, token, bind_all, log
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who goes away in the middle is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    """GET / is the page, which holds no secret; POST /ask carries messages, a line for each."""

    server: _Server
    server_version, sys_version = "captum", ""
    timeout = 60  # seconds to wait for a request that has begun

    def do_GET(self) -> None:
        if not self._known_host():
            self._refuse(403, "this page has another address")
        elif self.path.partition("?")[0] != "/":
            self._refuse(404, "there is but one page, /")
        else:
            page, policy = live()
            body = page.encode()
            self._begin(200, "text/html; charset=utf-8", len(body), policy)
            self.wfile.write(body)

    def do_POST(self) -> None:
        refusal = self._refusal()
        if refusal is not None:
            self._refuse(*refusal)
            return
        try:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        except ValueError:
            self._refuse(400, "no JSON")
            return
        self._begin(200, "application/x-ndjson")
        try:
            self.server.session.ask(message, self._reply)
        except OSError:
            self.close_connection = True  # who asked has left, and the calculation with them

    def _refusal(self) -> tuple[int, str] | None:
        """Why a message is not read."""
        headers = self.headers
        host, origin = headers.get("Host", ""), headers.get("Origin")
        same_site = headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")
        if not self._known_host() or origin not in (None, f"http://{host}") or not same_site:
            return 403, "messages come from the page itself"
        given = headers.get("X-Captum-Token", "")
        if not compare_digest(given.encode(), self.server.token.encode()):
            return 403, "open the address that was printed: it ends in the token"
        if headers.get_content_type() != "application/json":
            return 415, "messages are application/json"
        if self.path != "/ask":
            return 404, "messages go to /ask"
        length = headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            return 411, "how long is it?"
        return (413, "too long") if int(length) > _LONGEST else None

    def _known_host(self) -> bool:
        """Another site can have its own name point here; a number, or our name, it cannot fake."""
        host, _, port = self.headers.get("Host", "").rpartition(":")
        if port != str(self.server.server_address[1]):
            return False
        if host in (_LOOPBACK, "localhost"):
            return True
        return self.server.bind_all and (_is_number(host) or host == socket.gethostname())

    def _reply(self, said: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(said, allow_nan=False).encode() + b"\n")
        self.wfile.flush()

    def _refuse(self, status: int, why: str) -> None:
        body = why.encode()
        self._begin(status, "text/plain; charset=utf-8", len(body))
        self.wfile.write(body)

    def _begin(
        self, status: int, kind: str, length: int | None = None, policy: str = "default-src 'none'"
    ) -> None:
        self.send_response(status)
        own = {"Content-Type": kind, "Content-Security-Policy": policy}
        for name, value in (_HEADERS | own).items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        if self.server.log:
            super().log_message(format, *args)


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _reachable() -> str:
    """An address of this computer that others may reach; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return _LOOPBACK
