"""Enrolment over HTTP: the service, with few and bounded connections, and the robot's side of it.

POST /v1/challenge and POST /v1/activate, CBOR both ways (og_ros.evidence.tpm.enrolment_desk); a refusal is one line of
text with a status of 400 to 499. Without TLS a token can be read on the way; the record cannot be forged either way.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

import cbor2

from og_ros.bounded_server import BoundedServer
from og_ros.errors import EvidenceError
from og_ros.evidence.signed_document import fields, read_cbor
from og_ros.evidence.tpm import enrolment
from og_ros.evidence.tpm.device import Tpm
from og_ros.evidence.tpm.enrolment_desk import MAX_REQUEST, EnrolmentDesk, Refused
from og_ros.evidence.tpm.templates import KeyType

CONTENT_TYPE: Final = "application/cbor"
MAX_CONNECTIONS: Final = 16
TIMEOUT_S: Final = 10.0
_MAX_ANSWER: Final = 65_536
_CLIENT_TIMEOUT_S: Final = 30.0


class EnrolmentServer:
    """Serves a desk, in threads of its own, from the constructor until `close`."""

    def __init__(
        self, desk: EnrolmentDesk, *, host: str = "127.0.0.1", port: int = 0, tls: tuple[Path, Path] | None = None
    ) -> None:
        """Bind and serve; `tls` is a certificate chain and its key in PEM. Raises EvidenceError when it cannot."""
        try:
            self._server = BoundedServer((host, port), _handler(desk), MAX_CONNECTIONS, backlog=MAX_CONNECTIONS)
            if tls is not None:
                self._server.use_tls(*tls)
        except (OSError, OverflowError, UnicodeError) as error:
            raise EvidenceError(f"cannot serve on {host} port {port}: {error}") from error
        self.port: int = self._server.server_address[1]
        self.url: str = f"{'https' if tls else 'http'}://{host}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="enrolment", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Serve until interrupted."""
        self._thread.join()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(desk: EnrolmentDesk) -> type[BaseHTTPRequestHandler]:
    actions = {"/v1/challenge": desk.challenge, "/v1/activate": desk.activate}

    class Handler(BaseHTTPRequestHandler):
        timeout = TIMEOUT_S
        server_version = "og_ros"
        sys_version = ""

        def do_POST(self) -> None:
            try:
                self._answer(200, CONTENT_TYPE, self._act())
            except Refused as error:
                self._answer(error.status, "text/plain; charset=utf-8", f"{error}\n".encode())
            except EvidenceError as error:  # its own disk
                self.log_error("%s", error)
                self._answer(500, "text/plain; charset=utf-8", b"the service could not do that\n")

        def _act(self) -> bytes:
            action = actions.get(self.path)
            if action is None:
                raise Refused(404, "there is POST /v1/challenge and POST /v1/activate")
            length = self.headers.get("Content-Length", "")
            if not length.isascii() or not length.isdecimal() or int(length[:9]) > MAX_REQUEST:
                raise Refused(400, f"a request has a Content-Length of at most {MAX_REQUEST}")
            return action(self.rfile.read(int(length)))

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, *_: Any) -> None:
            """Leave the log to what goes wrong."""

    return Handler


def enrol(
    tpm: Tpm, url: str, robot: str, path: Path, *, token: str = "", kind: KeyType = "ecc", extra: tuple[bytes, ...] = ()
) -> enrolment.Enrolment:
    """Enrol a TPM's attestation key with a service, and keep the record in a file; returns what it says.

    `extra` are certificates above the endorsement certificate that the service may lack. Raises EvidenceError.
    """
    template, certificate = tpm.endorsement_certificate()
    key = tpm.attestation_key(kind)
    request: dict[str, object] = {"robot": robot, "token": token, "key": key, "certificates": [certificate, *extra]}
    kinds: dict[str, type] = {"id": bytes, "id_object": bytes, "secret": bytes}
    challenge = _post(f"{url.rstrip('/')}/v1/challenge", request, kinds)
    secret = tpm.activate(template, challenge["id_object"], challenge["secret"], kind)
    answer: dict[str, object] = {"id": challenge["id"], "secret": secret}
    given = _post(f"{url.rstrip('/')}/v1/activate", answer, {"record": bytes, "certificates": list})
    record, _ = enrolment.read(given["record"])
    enrolment.write_file(path, given["record"], given["certificates"])
    return record


def _post(url: str, tree: dict[str, object], kinds: dict[str, type]) -> dict[str, Any]:
    if not url.startswith(("http://", "https://")):
        raise EvidenceError(f"{url[:80]!a} is no http:// or https:// address of an enrolment service")
    body = cbor2.dumps(tree, canonical=True)
    request = urllib.request.Request(url, body, {"Content-Type": CONTENT_TYPE}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=_CLIENT_TIMEOUT_S) as answer:
            data = answer.read(_MAX_ANSWER)
    except urllib.error.HTTPError as error:
        said = error.read(500).decode(errors="replace").strip()
        raise EvidenceError(f"the enrolment service refused ({error.code}): {ascii(said)[1:-1]}") from error
    except (OSError, ValueError) as error:
        raise EvidenceError(f"cannot reach the enrolment service at {url}: {error}") from error
    return fields(read_cbor(data, "the service's answer"), "the service's answer", kinds)
