"""The HTTP server of every service here: so many connections at a time, and a client that misbehaves is no event."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class BoundedServer(ThreadingHTTPServer):
    """A thread for each connection, `connections` at a time; one more is closed unanswered. IPv4, or IPv6 by address.

    `backlog` connections wait to be taken. `timeout_s` is for each read and write of a socket, from before the
    handshake of TLS on, which may stall too; None leaves it to the handler. With `finish`, `server_close` waits until
    each request has its answer.
    """

    allow_reuse_address = True

    def __init__(
        self,
        address: tuple[str, int],
        handler: Callable[..., BaseHTTPRequestHandler],
        connections: int,
        *,
        backlog: int,
        timeout_s: float | None = None,
        finish: bool = False,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.request_queue_size = backlog
        self.daemon_threads, self.block_on_close = not finish, finish
        self._free, self._timeout_s = threading.Semaphore(connections), timeout_s
        super().__init__(address, handler)

    def use_tls(self, certificate: Path, key: Path) -> None:
        """Speak TLS from now on; with files that cannot be used it closes, and raises OSError.

        The handshake is made by the connection's own thread: a client that stalls in it holds up nobody else.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(certificate, key)
        except OSError:
            self.server_close()
            raise
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread, if one is free."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection, on its thread."""
        try:
            if self._timeout_s is not None:
                request.settimeout(self._timeout_s)
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, stalls or talks nonsense is no event."""
