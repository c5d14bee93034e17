"""The live page's HTTP server: read-only, few and bounded connections, and only for the names that it was given.

It answers GET of /, /events (Server-Sent Events) and /registry.json. A request whose Host header names another host is
refused, so that a web page elsewhere cannot read the robot through the visitor's browser (DNS rebinding).
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

from og_ros.bounded_server import BoundedServer
from og_ros.errors import ConfigError
from og_ros.watch.broadcast import Broadcast
from og_ros.watch.page import live_page

MAX_CONNECTIONS: Final = 48
TIMEOUT_S: Final = 10.0
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def host_of(header: str) -> str:
    """Return the host of a Host header without its port, in lower case."""
    host = header.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


class LiveServer:
    """Serves one broadcast, in threads of its own, from the constructor until `close`."""

    def __init__(
        self,
        broadcast: Broadcast,
        registry: Mapping[str, bytes],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        names: Iterable[str] = (),
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        """Bind and serve.

        `registry` holds the files of a registry by path, for the browsers to verify with; `names` are further hosts
        that may be asked for; `tls` is a certificate chain and its key in PEM. Raises ConfigError when the address
        cannot be bound or the certificate not be read.
        """
        page, policy = live_page()
        self._stopping = threading.Event()
        files = {path: base64.b64encode(data).decode("ascii") for path, data in registry.items()}
        self._answers: Final = {
            "/": ("text/html; charset=utf-8", page, {"Content-Security-Policy": policy}),
            "/registry.json": ("application/json", json.dumps(files).encode(), {}),
        }
        self.names: Final = {*_LOOPBACK, host_of(f"[{host}]" if ":" in host else host), *map(host_of, names)}
        try:
            self._server = BoundedServer(
                (host, port), self._handler(broadcast), MAX_CONNECTIONS, backlog=16, timeout_s=TIMEOUT_S
            )
        except (OSError, OverflowError, UnicodeError) as error:
            raise ConfigError(f"cannot serve on {host} port {port}: {error}") from error
        if tls is not None:
            try:
                self._server.use_tls(*tls)
            except OSError as error:
                raise ConfigError(f"cannot use the certificate {tls[0]} with the key {tls[1]}: {error}") from error
        name = f"[{host}]" if ":" in host else host
        self.url: Final = f"{'https' if tls else 'http'}://{name}:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more requests and end the streams."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(TIMEOUT_S)

    def _handler(self, broadcast: Broadcast) -> Callable[..., BaseHTTPRequestHandler]:
        answers, names, stopping = self._answers, self.names, self._stopping

        class Handler(BaseHTTPRequestHandler):
            """One connection: one request, one answer."""

            server_version = "og_ros"
            sys_version = ""
            protocol_version = "HTTP/1.1"
            timeout = TIMEOUT_S

            def do_GET(self) -> None:
                self.close_connection = True
                if host_of(self.headers.get("Host", "")) not in names or len(self.headers.get_all("Host", [])) != 1:
                    self._answer(HTTPStatus.MISDIRECTED_REQUEST, "text/plain", b"this host is not served here\n")
                    return
                path = self.path.partition("?")[0]
                if path == "/events":
                    self._stream()
                elif path in answers:
                    kind, body, headers = answers[path]
                    self._answer(HTTPStatus.OK, kind, body, headers)
                else:
                    self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"there is nothing here\n")

            do_HEAD = do_GET

            def _answer(
                self, status: HTTPStatus, kind: str, body: bytes, headers: Mapping[str, str] | None = None
            ) -> None:
                self.send_response(status)
                known = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"}
                for name, value in {**known, **_HEADERS, **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def _stream(self) -> None:
                # A page of another origin may open a stream with the right Host, though it could not read it.
                site = self.headers.get("Sec-Fetch-Site", "same-origin")
                if site not in ("same-origin", "none") or self.command != "GET":
                    self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"only this page may listen\n")
                    return
                with broadcast.listening() as listener:
                    if listener is None:
                        self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", b"too many listeners\n")
                        return
                    self.send_response(HTTPStatus.OK)
                    for name, value in {"Content-Type": "text/event-stream", "Connection": "close", **_HEADERS}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    while not stopping.is_set():
                        self.wfile.write(listener.next(0.5 if stopping.is_set() else 2.0))
                        self.wfile.flush()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing: who looks at a robot is nobody's business."""

        return Handler
