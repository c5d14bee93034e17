"""A settlement endpoint for a test: its log, desk and server, and backends that speak to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.log import VerifierKey
from og_ros.settlement.endpoint import EndpointLog
from og_ros.settlement.endpoint_server import Desk, EndpointServer
from og_ros.settlement.http_backend import HttpBackend
from og_ros.settlement.http_client import HttpClient

ORIGIN = "settle.example/log"
ENDPOINT_KEY = Ed25519PrivateKey.from_private_bytes(b"e" * 32)
VKEY = VerifierKey.of(ORIGIN, ENDPOINT_KEY)


class Place:
    """A running endpoint; `stop` and `start` restart its process's parts over the same state."""

    def __init__(self, folder: Path, logs: Mapping[str, VerifierKey], **options: Any) -> None:
        self.folder, self.logs, self.options = folder, logs, options
        self.port = 0
        self.start()

    def start(self) -> None:
        self.log = EndpointLog(self.folder, ORIGIN, ENDPOINT_KEY, self.logs)
        self.desk = Desk(self.log, **self.options)
        self.server = EndpointServer(self.desk, port=self.port)
        self.port = int(self.server.url.rsplit(":", 1)[1])

    def stop(self) -> None:
        self.server.close()
        self.log.close()

    def backend(self, payer: Any = None, token: str = "") -> HttpBackend:
        return HttpBackend("http", HttpClient(self.server.url, token=token), VKEY, payer, poll_s=1e-6)


@contextmanager
def endpoint(folder: Path, logs: Mapping[str, VerifierKey], **options: Any) -> Iterator[Place]:
    place = Place(folder, logs, **options)
    try:
        yield place
    finally:
        place.stop()
