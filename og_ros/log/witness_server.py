"""The HTTP face of a cosigning witness: POST …/add-checkpoint, and GET …/checkpoint/HASH for who audits a log.

Small and bounded: few connections, short requests, no request that takes longer than REQUEST_S. It needs no TLS to be
sound, since all that it takes and gives is signed; put it behind a reverse proxy where privacy asks for it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

from og_ros.bounded_server import BoundedServer
from og_ros.errors import ConfigError, LogError
from og_ros.log.witness import TEXT, Answer, Witness
from og_ros.log.witness_protocol import ADD_CHECKPOINT, MAX_REQUEST

MAX_CONNECTIONS: Final = 32
REQUEST_S: Final = 15.0
CHECKPOINT: Final = "/checkpoint/"


class WitnessServer:
    """Serves one witness, in threads of its own, from the constructor until `close`."""

    def __init__(
        self,
        witness: Witness,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        prefix: str = "",
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Bind and serve; `prefix` is the path of the submission prefix. Raises ConfigError."""
        if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
            raise ConfigError(f"the prefix {prefix!r} must begin with a slash, and not end in one")
        try:
            self._server = _Server((host, port), _handler(witness, prefix, tell))
        except (OSError, OverflowError, UnicodeError) as error:
            raise ConfigError(f"cannot serve on {host} port {port}: {error}") from error
        name = f"[{host}]" if ":" in host else host
        self.url: Final = f"http://{name}:{self._server.server_address[1]}{prefix}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="witness", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more requests, and wait for those under way."""
        self._server.shutdown()
        self._thread.join(REQUEST_S)
        self._server.server_close()


def _handler(witness: Witness, prefix: str, tell: Callable[[str], None]) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One connection, kept alive as the specification asks."""

        server: _Server
        server_version = "og_ros"
        sys_version = ""
        protocol_version = "HTTP/1.1"
        timeout = REQUEST_S

        def do_POST(self) -> None:
            if self.path != prefix + ADD_CHECKPOINT:
                self._refuse(HTTPStatus.NOT_FOUND, "there is nothing here")
                return
            body = self._body()
            if body is None:
                return
            try:
                answer = witness.add_checkpoint(body)
            except LogError as error:
                tell(str(error))
                answer = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"the witness cannot keep its state\n")
            self._answer(answer)

        def do_GET(self) -> None:
            found = None
            if self.path.startswith(prefix + CHECKPOINT):
                found = witness.latest(self.path.removeprefix(prefix + CHECKPOINT))
            if found is None:
                self._refuse(HTTPStatus.NOT_FOUND, "there is nothing here")
            else:
                self._answer(Answer(HTTPStatus.OK, found.encode()))

        def _body(self) -> bytes | None:
            """Read the body; None after a refusal."""
            length = self.headers.get("Content-Length", "")
            if self.headers.get("Transfer-Encoding") or not (length.isascii() and length.isdigit()):
                self._refuse(HTTPStatus.LENGTH_REQUIRED, "a Content-Length is needed")
                return None
            if len(length) > 9 or int(length) > MAX_REQUEST:
                self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_REQUEST} bytes are taken")
                return None
            body = self.rfile.read(int(length))
            if len(body) != int(length):
                self.close_connection = True
                return None
            return body

        def _refuse(self, status: HTTPStatus, problem: str) -> None:
            self.close_connection = True  # there may be a body that was not read
            self._answer(Answer(status, f"{problem}\n".encode(), TEXT))

        def _answer(self, answer: Answer) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("X-Content-Type-Options", "nosniff")
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer.body)
            self.server.renew(self.connection)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing of ordinary requests."""

    return Handler


class _Server(BoundedServer):
    """A request that drags on is cut off."""

    def __init__(self, address: tuple[str, int], handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        self._began: dict[socket.socket, float] = {}
        super().__init__(address, handler, MAX_CONNECTIONS, backlog=MAX_CONNECTIONS)

    def renew(self, connection: socket.socket) -> None:
        """A request was answered: the time of the next one begins."""
        self._began[connection] = time.monotonic()

    def service_actions(self) -> None:
        """Cut off who sends a byte now and then, which no timeout of a single read notices."""
        now = time.monotonic()
        for connection, began in list(self._began.items()):
            if now - began > REQUEST_S:
                self._began.pop(connection, None)
                with contextlib.suppress(OSError):  # its thread closes it, and would not wake from a close
                    connection.shutdown(socket.SHUT_RDWR)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """See BoundedServer; the time of the first request begins."""
        self.renew(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._began.pop(request, None)
