"""Asks one witness for a cosignature over HTTP (c2sp.org/tlog-witness), and believes nothing that it did not check."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

from og_ros.errors import ConfigError, LogError
from og_ros.log.cosignature import WitnessKey, verify_cosignature
from og_ros.log.note import NoteSignature, parse_note
from og_ros.log.witness_protocol import (
    ADD_CHECKPOINT,
    MAX_ANSWER,
    SIZE_TYPE,
    AddCheckpoint,
    parse_cosignatures,
    parse_size,
)


class WitnessUnreachable(LogError):
    """A witness that does not answer, does not know the log, or makes no sense: to be tried again later."""


class WitnessRefused(LogError):
    """A witness that has seen another history of this log, and will not cosign."""


class WitnessAhead(WitnessRefused):
    """A witness that cosigned another size than the proof began at; `size` is that."""

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


@dataclass(frozen=True)
class Endpoint:
    """A witness to ask: its key, the submission prefix (an http or https URL), how long one exchange may take."""

    key: WitnessKey
    url: str
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        split_url(self.url)

    @property
    def name(self) -> str:
        """The witness's name."""
        return self.key.name

    def cosign(self, request: AddCheckpoint) -> NoteSignature:
        """Return the witness's cosignature on the request's checkpoint, verified.

        Raises WitnessAhead with the size that the proof must begin at, WitnessRefused, or WitnessUnreachable.
        """
        status, kind, body = post(self.url, ADD_CHECKPOINT, request.format(), TEXT_TYPE, self.timeout_s, MAX_ANSWER)
        if status == 409:
            if kind != SIZE_TYPE:
                raise WitnessRefused(f"witness {self.name}: refuses: {_said(body)}")
            try:
                size = parse_size(body)
            except LogError as error:
                raise WitnessUnreachable(f"witness {self.name}: {error}") from error
            raise WitnessAhead(f"witness {self.name}: cosigned {size} leaves last", size)
        if status == 422:
            told = "cosigned leaves that this checkpoint does not extend: the log was forked"
            raise WitnessRefused(f"witness {self.name}: {told} (status 422: {_said(body)})")
        if status != 200:
            why = {403: "does not know the log's key", 404: "does not know the log"}.get(status, "does not cosign")
            raise WitnessUnreachable(f"witness {self.name}: {why} (status {status}: {_said(body)})")
        text = parse_note(request.checkpoint).text
        try:
            lines = [line for line in parse_cosignatures(text, body) if self.key.signed(line)]
            for line in lines:
                verify_cosignature(text, line, self.key)
        except LogError as error:
            raise WitnessUnreachable(f"witness {self.name}: its answer does not hold: {error}") from error
        if not lines:
            raise WitnessUnreachable(f"witness {self.name}: its answer has no cosignature of {self.key.format()}")
        return lines[0]


TEXT_TYPE = "text/plain; charset=utf-8"


def split_url(url: str) -> tuple[bool, str, int | None, str]:
    """Whether an URL is https, its host, port and path without a slash at the end. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{url[:100]!a} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username:
        raise ConfigError(f"{url[:100]!a} is no URL like https://witness.example/w1")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"{url[:100]!a} is no URL: it has a space or a character that is not ASCII")
    return parts.scheme == "https", host, port, parts.path.rstrip("/")


def post(url: str, path: str, body: bytes, kind: str, timeout_s: float, limit: int) -> tuple[int, str, bytes]:
    """POST a body; status, content type and at most `limit` bytes of the answer. Follows no redirect.

    Raises WitnessUnreachable when there is no answer within the time, or a longer one.
    """
    secure, host, port, prefix = split_url(url)
    connection: http.client.HTTPConnection
    if secure:
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    cut_off: threading.Timer | None = None
    try:
        connection.connect()
        # The timeout is of each single read: who sends a byte now and then would hold us for hours.
        cut_off = threading.Timer(timeout_s, _shut, (connection.sock,))
        cut_off.daemon = True
        cut_off.start()
        connection.request("POST", (prefix + path) or "/", body, {"Content-Type": kind, "User-Agent": "og_ros"})
        response = connection.getresponse()
        data = response.read(limit + 1)
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        status = response.status
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WitnessUnreachable(f"{url}: does not answer: {str(error) or type(error).__name__}") from error
    finally:
        if cut_off is not None:
            cut_off.cancel()
        connection.close()
    if len(data) > limit:
        raise WitnessUnreachable(f"{url}: its answer is longer than {limit} bytes")
    return status, content_type, data


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _said(body: bytes) -> str:
    return ascii(body[:200].decode("utf-8", "replace").strip())
