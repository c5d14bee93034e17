"""The rules of an enrolment service: a maker's certificate, a challenge that only that TPM can answer, a signed record.

1. A robot shows its endorsement certificate and the public area of its attestation key. The desk knows the robot, finds
   the certificate's chain, and checks what the key is; it answers with a credential (MakeCredential).
2. Only the TPM with that endorsement key, and only while it holds a key of that very name, gives the secret in the
   credential. The robot sends it back, and gets the record.

Requests and answers are deterministic CBOR. A robot that was enrolled with one TPM is not enrolled with another, until
its record is removed from the desk's directory.
"""

from __future__ import annotations

import hmac
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, Final

import cbor2

from og_ros.attest.signer import Signer
from og_ros.errors import EvidenceError
from og_ros.evidence.signed_document import fields, read_cbor
from og_ros.evidence.tpm import ek_certificate, enrolment
from og_ros.evidence.tpm.credential import SECRET_SIZE, make_credential
from og_ros.evidence.tpm.ek_certificate import Endorsement
from og_ros.evidence.tpm.enrolment import Enrolment
from og_ros.evidence.tpm.public_area import attribute_problem, parse_public

MAX_REQUEST: Final = 32_768
MAX_PENDING: Final = 256
ANSWER_S: Final = 120.0
"""A real TPM makes its endorsement key anew for the answer, which takes RSA up to a minute."""

_ID_SIZE: Final = 16
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


class Refused(EvidenceError):
    """A request that the desk refuses; `status` is that of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Admission:
    """How a robot is known before it is enrolled: SHA-256 of its endorsement certificate, of a token, or of both."""

    certificate: bytes = b""
    token: bytes = b""

    def __post_init__(self) -> None:
        if not self.certificate and not self.token:
            raise EvidenceError("a robot is admitted by its endorsement certificate or by a token: give one of them")


@dataclass(frozen=True)
class DeskRules:
    """Whom a desk enrols.

    Attributes:
        robots: how each robot is known.
        roots: of TPM makers, DER, by name; `test_roots` names those that are worth no more than `warning`.
        intermediates: certificates between endorsement keys and roots, DER.
        validity_s: how long a record counts.
    """

    robots: Mapping[str, Admission]
    roots: Mapping[str, bytes]
    test_roots: frozenset[str] = frozenset()
    intermediates: Sequence[bytes] = ()
    validity_s: float = 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class _Pending:
    robot: str
    key_name: bytes
    chain: tuple[bytes, ...]
    endorsement: Endorsement
    secret: bytes
    until: float


@dataclass
class EnrolmentDesk:
    """Answers challenges and activations; for any number of threads. `records` is a directory."""

    signer: Signer
    rules: DeskRules
    records: Path
    now_ns: Callable[[], int] = time.time_ns
    _pending: dict[bytes, _Pending] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def challenge(self, request: bytes) -> bytes:
        """Answer the first request with a credential; raises Refused."""
        kinds: dict[str, type] = {"robot": str, "token": str, "key": bytes, "certificates": list}
        tree = _read(request, kinds)
        robot, chain = tree["robot"], tree["certificates"]
        if not 1 <= len(chain) <= ek_certificate.MAX_CHAIN or any(type(item) is not bytes for item in chain):
            raise Refused(400, "the certificates are no list of DER certificates")
        self._admit(robot, tree["token"], chain[0])
        try:
            key = parse_public(tree["key"])
            if problem := attribute_problem(key)[1]:
                raise EvidenceError(problem)
            complete = _completed(chain, self.rules.intermediates)
            found = ek_certificate.check_endorsement(complete, self.rules.roots, self.now_ns())
            endorsement_key = ek_certificate.endorsement_key(chain[0])
        except EvidenceError as error:
            raise Refused(403, str(error)) from error
        self._refuse_another_tpm(robot, chain[0])
        secret, number = os.urandom(SECRET_SIZE), os.urandom(_ID_SIZE)
        id_object, encrypted = make_credential(endorsement_key, key.name, secret)
        pending = _Pending(robot, key.name, tuple(complete), found, secret, time.monotonic() + ANSWER_S)
        with self._lock:
            now = time.monotonic()
            self._pending = {one: waiting for one, waiting in self._pending.items() if waiting.until > now}
            if len(self._pending) >= MAX_PENDING:
                raise Refused(429, "too many enrolments are under way; try again later")
            self._pending[number] = pending
        return cbor2.dumps({"id": number, "id_object": id_object, "secret": encrypted}, canonical=True)

    def activate(self, request: bytes) -> bytes:
        """Answer the second request with the record and the chain of certificates; raises Refused."""
        tree = _read(request, {"id": bytes, "secret": bytes})
        with self._lock:
            pending = self._pending.pop(tree["id"], None)  # one try for each credential
        if pending is None or pending.until < time.monotonic():
            raise Refused(404, "no such enrolment is under way, or it took too long; begin anew")
        if not hmac.compare_digest(pending.secret, tree["secret"]):
            raise Refused(403, "the TPM did not open the credential: it does not have both keys")
        now_ns = self.now_ns()
        root = pending.endorsement.root
        end_ns = min(now_ns + int(self.rules.validity_s * 1e9), pending.endorsement.end_ns)
        made = Enrolment(
            robot=pending.robot,
            key_name=pending.key_name,
            certificate=ek_certificate.fingerprint(pending.chain[0]),
            root=ek_certificate.fingerprint(self.rules.roots[root]),
            test=root in self.rules.test_roots or pending.endorsement.simulated,
            enrolled_at_ns=now_ns,
            not_after_ns=end_ns,
        )
        record = enrolment.sign(made, self.signer)
        with self._lock:  # two TPMs that enrol for one robot at the same time
            self._refuse_another_tpm(pending.robot, pending.chain[0])
            enrolment.write_file(self.records / pending.robot, record, pending.chain)
        return cbor2.dumps({"record": record, "certificates": list(pending.chain)}, canonical=True)

    def _admit(self, robot: str, token: str, certificate: bytes) -> None:
        """Refuse a robot that is not known by what it shows; nothing is parsed before."""
        known = self.rules.robots.get(robot)
        by_certificate = known is not None and known.certificate in (b"", sha256(certificate).digest())
        by_token = known is not None and (
            not known.token or hmac.compare_digest(known.token, sha256(token.encode()).digest())
        )
        if not by_certificate or not by_token or not _NAME.fullmatch(robot):
            raise Refused(403, "no robot of this name, token and endorsement certificate is to be enrolled")

    def _refuse_another_tpm(self, robot: str, certificate: bytes) -> None:
        path = self.records / robot
        if path.exists() and enrolment.read_file(path)[1][:1] != (certificate,):
            raise Refused(409, f"{robot} is enrolled with another TPM; remove its record first, if it was replaced")


def _read(request: bytes, kinds: dict[str, type]) -> dict[str, Any]:
    try:
        if len(request) > MAX_REQUEST:
            raise EvidenceError(f"the request is {len(request)} bytes long; {MAX_REQUEST} are allowed")
        return fields(read_cbor(request, "the request"), "the request", kinds)
    except EvidenceError as error:
        raise Refused(400, str(error)) from error


def _completed(chain: Sequence[bytes], intermediates: Sequence[bytes]) -> list[bytes]:
    """Return a chain with the intermediates that lead on from it, as far as they do."""
    found = list(chain)
    while len(found) < ek_certificate.MAX_CHAIN:
        higher = [one for one in intermediates if one not in found and ek_certificate.issued(found[-1], one)]
        if not higher:
            break
        found.append(higher[0])
    return found
