"""The HTTP server of a settlement endpoint: docs/reference/settlement_http.md over a log, and a till where one asks."""

from __future__ import annotations

import hmac
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from og_ros.bounded_server import BoundedServer
from og_ros.errors import BackendUnreachable, ConfigError, OgError
from og_ros.settlement import log_receipt
from og_ros.settlement.endpoint import PAGE, Conflict, EndpointLog, Entered, Malformed, Submission, Unknown
from og_ros.settlement.log_receipt import MAX_NOTE

if TYPE_CHECKING:
    from og_ros.settlement.till import Till

MAX_CONNECTIONS: Final = 64
TIMEOUT_S: Final = 10.0
_NAME: Final = "[0-9a-f]{64}"
_CHECKPOINT: Final = re.compile(f"/v1/checkpoints/({_NAME})", re.ASCII)
_LOG: Final = re.compile(f"/v1/logs/({_NAME})/checkpoints", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, JSON, further headers."""

    status: int
    tree: Mapping[str, Any]
    headers: Mapping[str, str] | None = None


class Desk:
    """Answers requests; any thread may call. `per_minute`: new checkpoints that one log may hand in (0: no limit)."""

    def __init__(self, log: EndpointLog, *, token: str = "", till: Till | None = None, per_minute: int = 0) -> None:
        self._log, self._token, self._till, self._per_minute = log, token, till, per_minute
        self._mutex = threading.Lock()
        self._busy: set[bytes] = set()
        self._handed_in: dict[bytes, list[float]] = {}

    def allows(self, authorization: str) -> bool:
        """Say whether a request's header Authorization has the token, where there is one."""
        return not self._token or hmac.compare_digest(authorization.encode(), f"Bearer {self._token}".encode())

    def post(self, body: bytes, payment: str) -> Reply:
        """Take a checkpoint."""
        try:
            new = self._log.read(body)
            if self._log.check(new):
                return self._told(new.id)
        except Malformed as error:
            return _refusal(400, error)
        except Unknown as error:
            return _refusal(403, error)
        except Conflict as error:
            return _refusal(409, error)
        with self._mutex:
            if new.log in self._busy:  # else one of two could be paid, and then be a rewind
                return Reply(429, {"error": "a checkpoint of this log is being taken now"}, {"Retry-After": "1"})
            if (pause := self._pause(new.log)) > 0:
                return Reply(429, {"error": "too many checkpoints of this log"}, {"Retry-After": f"{pause}"})
            self._busy.add(new.log)
        try:
            return self._enter(new, payment)
        finally:
            with self._mutex:
                self._busy.discard(new.log)

    def get(self, target: str) -> Reply:
        """Say how far a checkpoint came, or which ones of a log there are."""
        try:
            parts = urlsplit(target)
        except ValueError:
            return Reply(404, {"error": "there is nothing here"})
        if found := _CHECKPOINT.fullmatch(parts.path):
            return self._told(bytes.fromhex(found[1]), 200)
        if found := _LOG.fullmatch(parts.path):
            above = parse_qs(parts.query).get("above", ["0"])[0]
            if not (above.isascii() and above.isdigit() and len(above) < 19):
                return Reply(400, {"error": "above is no size"})
            rows = self._log.above(bytes.fromhex(found[1]), int(above))
            listed = [{"id": r.id.hex(), "size": r.size, "root": r.root.hex()} for r in rows[:PAGE]]
            return Reply(200, {"checkpoints": listed, "more": len(rows) > PAGE})
        return Reply(404, {"error": "there is nothing here"})

    def _enter(self, new: Submission, payment: str) -> Reply:
        headers = {}
        if self._till is not None:
            from og_ros.settlement.till import Unpaid

            try:
                headers["PAYMENT-RESPONSE"] = self._till.take(self._log, new.id, payment)
            except Unpaid as error:
                return Reply(402, {"error": str(error)}, {"PAYMENT-REQUIRED": self._till.ask(str(error))})
        try:
            self._log.enter(new)
        except Conflict as error:  # two checkpoints of one log at once
            return _refusal(409, error)
        if self._per_minute:
            with self._mutex:
                self._handed_in.setdefault(new.log, []).append(time.monotonic())
        told = self._told(new.id)
        return Reply(told.status, told.tree, headers)

    def _told(self, name: bytes, status: int = 202) -> Reply:
        entered = self._log.find(name)
        if entered is None:
            return Reply(404, {"error": "no such checkpoint is here"})
        return Reply(status, _tree(entered))

    def _pause(self, log: bytes) -> int:
        """Seconds until a log may hand in another checkpoint; what is older than a minute is forgotten."""
        if not self._per_minute:
            return 0
        now = time.monotonic()
        recent = [moment for moment in self._handed_in.get(log, []) if moment > now - 60]
        self._handed_in[log] = recent
        return int(recent[0] + 60 - now) + 1 if len(recent) >= self._per_minute else 0


def _tree(entered: Entered) -> dict[str, Any]:
    if entered.receipt is None:
        return {"id": entered.id.hex(), "status": "submitted"}
    return {"id": entered.id.hex(), "status": "final", "receipt": log_receipt.plain(entered.receipt)}


def _refusal(status: int, error: Exception) -> Reply:
    return Reply(status, {"error": str(error)})


class EndpointServer:
    """Serves a desk, in threads of its own, from the constructor until `close`; raises ConfigError."""

    def __init__(
        self, desk: Desk, *, host: str = "127.0.0.1", port: int = 0, tls: tuple[Path, Path] | None = None
    ) -> None:
        try:
            self._server = BoundedServer(
                (host, port), _handler(desk), MAX_CONNECTIONS, backlog=64, timeout_s=TIMEOUT_S, finish=True
            )
        except (OSError, OverflowError, UnicodeError) as error:
            raise ConfigError(f"cannot serve on {host} port {port}: {error}") from error
        if tls is not None:
            try:
                self._server.use_tls(*tls)
            except OSError as error:
                raise ConfigError(f"cannot use the certificate {tls[0]} with the key {tls[1]}: {error}") from error
        name = f"[{host}]" if ":" in host else host
        self.url: Final = f"{'https' if tls else 'http'}://{name}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="endpoint", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more requests."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(TIMEOUT_S)


def _handler(desk: Desk) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One connection: one request, one answer."""

        server_version = "og_ros"
        sys_version = ""
        protocol_version = "HTTP/1.1"
        timeout = TIMEOUT_S

        def do_POST(self) -> None:
            if self._refused():
                return
            length = self.headers.get("Content-Length", "")
            if self.headers.get("Transfer-Encoding") or not (length.isascii() and length.isdigit()):
                self._answer(Reply(411, {"error": "Content-Length is missing"}))
            elif self.path != "/v1/checkpoints":
                self._answer(Reply(404, {"error": "there is nothing here"}))
            elif len(length) > 9 or int(length) > MAX_NOTE:
                self._answer(Reply(413, {"error": f"a checkpoint has at most {MAX_NOTE} bytes"}))
            else:
                body = self.rfile.read(int(length))
                payment = self.headers.get("PAYMENT-SIGNATURE", "")
                self._try(
                    lambda: desk.post(body, payment) if len(body) == int(length) else Reply(400, {"error": "cut off"})
                )

        def do_GET(self) -> None:
            if not self._refused():
                self._try(lambda: desk.get(self.path))

        def _refused(self) -> bool:
            self.close_connection = True
            if desk.allows(self.headers.get("Authorization", "")):
                return False
            self._answer(Reply(401, {"error": "a token is needed"}, {"WWW-Authenticate": "Bearer"}))
            return True

        def _try(self, ask: Callable[[], Reply]) -> None:
            try:
                reply = ask()
            except BackendUnreachable as error:
                reply = Reply(503, {"error": str(error)}, {"Retry-After": "1"})
            except OgError as error:  # a disk, say: for the operator, not for the client
                print(f"og-ros: {error}", file=sys.stderr, flush=True)
                reply = Reply(500, {"error": "this endpoint cannot keep it now"})
            self._answer(reply)

        def _answer(self, reply: Reply) -> None:
            body = json.dumps(reply.tree).encode()
            self.send_response(reply.status)
            known = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
            for name, value in {**known, "Cache-Control": "no-store", **(reply.headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: what is taken is in the log."""

    return Handler
