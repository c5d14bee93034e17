"""Who may sign for a log: its keys, and each change of them, held against the registry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from og_ros.attest import ml_dsa
from og_ros.attest.keys import key_id
from og_ros.audit.findings import Finding
from og_ros.errors import KeyChangeError, LogError, SignatureMissing
from og_ros.log import Ledger, VerifierKey
from og_ros.log.log_keys import Epoch, KeyHistory
from og_ros.log.post_quantum import PostQuantumKey
from og_ros.registry import KeyCertificate, Registry, Status
from og_ros.registry.timestamp import show_time

CLASSICAL: Final = "classical"
HYBRID: Final = "hybrid"
CHECKPOINTS: Final = (CLASSICAL, HYBRID)
"""How checkpoints are signed, from less to more."""


@dataclass(frozen=True)
class LogSignatures:
    """What signs a log: its history of keys with what the registry binds to them, and what speaks against it."""

    history: KeyHistory | None
    findings: tuple[Finding, ...]

    @property
    def certified(self) -> bool:
        """Whether nothing speaks against any key that the log had."""
        return self.history is not None and not self.findings

    @property
    def kind(self) -> str:
        """How the log's newest checkpoints are signed, one of CHECKPOINTS; it covers all leaves before it."""
        return HYBRID if self.history is not None and self.history.newest.post_quantum is not None else CLASSICAL


def bound_keys(origin: str, registry: Registry | None) -> dict[VerifierKey, PostQuantumKey]:
    """Return the ML-DSA-65 keys that a registry binds to the Ed25519 keys of a log."""
    bound = {}
    for certificate in registry.keys.values() if registry is not None else ():
        if certificate.role == "log" and certificate.origin == origin and certificate.post_quantum_pem:
            public = certificate.public_key
            assert isinstance(public, Ed25519PublicKey)  # a certificate of role log was read as one
            bound[VerifierKey.of(origin, public)] = _second(certificate, origin)
    return bound


def log_signatures(ledger: Ledger, registry: Registry | None) -> LogSignatures:
    """Hold a log's keys against a registry; without one nobody stands for them, and only their changes are read.

    Raises LogError when the log cannot be read.
    """
    try:
        history = ledger.keys(bound_keys(ledger.origin, registry))
    except KeyChangeError as error:
        return LogSignatures(None, (finding_of(ledger.origin, error),))
    if registry is None:
        return LogSignatures(history, ())
    return LogSignatures(history, tuple(_problems(ledger, history, registry)))


def finding_of(origin: str, error: LogError) -> Finding:
    """Return the finding for what is wrong with a log."""
    kind = "log_invalid"
    if isinstance(error, KeyChangeError):
        kind = "log_key_change_invalid"
    elif isinstance(error, SignatureMissing):
        kind = "log_signature_stripped"
    return Finding(kind, f"log {origin}: {error}")


def _problems(ledger: Ledger, history: KeyHistory, registry: Registry) -> Iterator[Finding]:
    certificates = [_certificate(epoch.keys.classical, registry) for epoch in history.epochs]
    last_ns = _last_signed(ledger, history)
    for number, (epoch, certificate) in enumerate(zip(history.epochs, certificates, strict=True)):
        problem = _key_problem(epoch, certificate, ledger.origin, last_ns.get(epoch.first_size))
        if problem:
            yield Finding("log_key_unregistered", f"log {ledger.origin}: {problem}")
        before = certificates[number - 1]
        if epoch.change is None or before is None:
            continue
        status = before.status(epoch.change.changed_ns)
        if status is Status.NOT_YET_VALID:  # a leaf states whole seconds, a certificate's time is finer
            status = before.status(epoch.change.changed_ns + 10**9 - 1)
        if status is not Status.VALID:
            who = f"key {before.key_id.hex()[:16]}, which was {status.value} at {show_time(epoch.change.changed_ns)}"
            text = f"leaf {epoch.change.index} gives it another key on the word of {who}"
            yield Finding("log_key_change_invalid", f"log {ledger.origin}: {text}")


def _last_signed(ledger: Ledger, history: KeyHistory) -> dict[int, int]:
    """Return when the last checkpoint of each epoch was signed, by the epoch's first size; the log's word."""
    found: dict[int, int] = {}
    first = [epoch.first_size for epoch in history.epochs]
    for stored in ledger.checkpoints():
        found[max(size for size in first if size <= stored.size)] = stored.signed_ns
    return found


def _certificate(key: VerifierKey, registry: Registry) -> KeyCertificate | None:
    return registry.key(key_id(Ed25519PublicKey.from_public_bytes(key.public_key)))


def _key_problem(epoch: Epoch, certificate: KeyCertificate | None, origin: str, last_ns: int | None) -> str:
    """Return why a registry does not stand for the keys of an epoch; empty when it does."""
    if certificate is None or certificate.role != "log":
        identity = key_id(Ed25519PublicKey.from_public_bytes(epoch.keys.classical.public_key))
        return f"its key {identity.hex()[:16]} is not registered"
    if certificate.origin != origin:
        return f"its key is registered for the log {certificate.origin}"
    own = epoch.change.keys.post_quantum if epoch.change is not None else None
    if own is not None and not (certificate.post_quantum_pem and _second(certificate, origin) == own):
        return f"its ML-DSA-65 key {own.key_id.hex()} is not the one that is registered beside its key"
    if last_ns is not None and certificate.status(last_ns) is not Status.VALID:
        return f"its key was {certificate.status(last_ns).value} at the last checkpoint"
    return ""


def _second(certificate: KeyCertificate, origin: str) -> PostQuantumKey:
    return PostQuantumKey.of(origin, ml_dsa.parse_public(certificate.post_quantum_pem, "a certified key"))
