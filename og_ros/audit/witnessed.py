"""Holds a log against its cosigned and stamped checkpoints: which leaves a quorum of witnesses has, and since when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from og_ros.audit.findings import Finding
from og_ros.errors import LogError
from og_ros.log import Checkpoint, Ledger, SignedNote, parse_note
from og_ros.log.cosignature import Cosignature, WitnessKey, verify_cosignature
from og_ros.log.cosigned import CosignedCheckpoints, read_note
from og_ros.log.quorum import NONE, WitnessPolicy, any_of
from og_ros.log.timestamps import Timestamps, verify_stamp
from og_ros.registry import KeyCertificate, Registry, Status

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_NAMED: Final = 10  # so many uncertified cosigners are named


@dataclass(frozen=True)
class PublicEvidence:
    """What an auditor has beside the ledger: cosigned checkpoints from elsewhere (name and note), roots of stamps."""

    cosigned: Sequence[tuple[str, str]] = ()
    roots: Sequence[Certificate] = ()


@dataclass
class Witnessed:
    """What was found: leaves under a quorum's cosignatures, findings, what was not checked, and it in words."""

    covered: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    summary: str = ""
    stamps: str = ""


def open_public_evidence(cosigned: Sequence[Path], roots: Sequence[Path]) -> PublicEvidence:
    """Read the files that an auditor names; raises LogError for what is no signed note, ConfigError for no roots."""
    from og_ros.log.timestamps import load_roots

    notes = []
    for file in cosigned:
        text = read_note(file)
        try:
            parse_note(text)
        except LogError as error:
            raise LogError(f"{file}: {error}") from error
        notes.append((file.name, text))
    return PublicEvidence(notes, [certificate for file in roots for certificate in load_roots(file)])


def check(
    evidence: PublicEvidence,
    ledger: Ledger,
    registry: Registry | None,
    policy: WitnessPolicy | None,
    least: int,
    checkpointed: int,
) -> Witnessed:
    """Check every cosignature and stamp that is beside a verified log, or that the auditor has from elsewhere.

    Under a `policy` its witnesses and its quorum count; without one `least` witnesses that the registry certifies (0:
    one, and nobody asks for it). Raises LogError when files cannot be read; what does not hold is a finding.
    """
    trust = _Trust(registry, policy, max(least, 1))
    asked = policy is not None or least > 0
    found = Witnessed()
    checker = _Checker(ledger, trust, found)
    newest = ledger.latest_checkpoint()
    own = [("its newest checkpoint", newest.note)] if newest is not None else []
    beside = [(file.name, note) for file, note in CosignedCheckpoints(ledger.directory).notes()]
    for name, note in (*own, *beside):
        checker.take(name, note, given=False)
    for name, note in evidence.cosigned:
        checker.take(name, note, given=True)
    checker.conclude(asked, checkpointed)
    _stamps(evidence.roots, ledger, found)
    return found


class _Trust:
    """Whose cosignatures count: a policy's witnesses, or those that the registry certifies at the time."""

    def __init__(self, registry: Registry | None, policy: WitnessPolicy | None, least: int) -> None:
        self.certificates: dict[WitnessKey, KeyCertificate] = {}
        if policy is None and registry is not None:
            for certificate in registry.keys.values():
                key = certificate.public_key
                if certificate.role == "witness" and isinstance(key, Ed25519PublicKey):
                    self.certificates[WitnessKey.of(certificate.origin, key)] = certificate
        keys = policy.keys if policy is not None else list(self.certificates)
        self.by_policy = policy is not None
        self.has_names = policy is not None or registry is not None
        self.policy = policy if policy is not None else any_of(keys, least)
        self.known = {(key.name, key.key_id): key for key in keys}

    def problem(self, found: Cosignature) -> str:
        """Why a cosignature that verified counts for nothing all the same; empty where it counts."""
        certificate = self.certificates.get(found.witness)
        if certificate is None:
            return ""
        status = certificate.status(found.time_s * 10**9)
        return "" if status is Status.VALID else f"its key was {status.value} when it cosigned"


class _Checker:
    """Takes one note after another."""

    def __init__(self, ledger: Ledger, trust: _Trust, found: Witnessed) -> None:
        self._ledger, self._trust, self._found = ledger, trust, found
        self._size = ledger.size
        self._heads: dict[tuple[WitnessKey, int], bytes] = {}
        self._counted: set[str] = set()
        self._unknown: dict[str, None] = {}
        self._told: set[tuple[str, str]] = set()
        self._cosigned = 0

    def take(self, name: str, note: str, given: bool) -> None:
        """Check a note; `given` by the auditor, it may be of another log, which is then said."""
        try:
            signed = parse_note(note)
            head = _head(self._ledger, note)
        except LogError as error:
            if given:
                self._found.notes.append(f"witnesses: {name} is no checkpoint of this log: {error}")
            else:
                self._tell("cosignature_invalid", f"{name}: {error}")
            return
        agrees = self._agrees(name, head)
        cosigners = set()
        for found in self._verified(name, signed, head):
            problem = self._trust.problem(found)
            if problem:
                self._tell("witness_not_certified", f"{name}: witness {found.witness.name}: {problem}")
            else:
                cosigners.add(found.witness)
        self._cosigned += bool(cosigners)
        if agrees and cosigners and self._trust.policy.is_met(cosigners):
            self._found.covered = max(self._found.covered, head.size)
        if agrees:
            self._counted |= {key.name for key in cosigners}

    def conclude(self, asked: bool, checkpointed: int) -> None:
        """Say what the whole comes to."""
        found, trust = self._found, self._trust
        if self._unknown and not trust.has_names:
            found.notes.append("witnesses: no registry and no witness policy was given, so nobody's cosignature counts")
        elif self._unknown and not trust.by_policy:
            names = ", ".join(list(self._unknown)[:_NAMED])
            self._tell("witness_not_certified", f"cosigned by {names}, whom the registry does not certify as witnesses")
        elif self._unknown:
            found.notes.append(f"witnesses: {len(self._unknown)} cosigners that the policy does not name")
        if not trust.policy.knows_log(self._ledger.key):
            found.covered = 0
            self._tell("witness_quorum_not_met", f"the witness policy does not name the log's key {self._ledger.vkey}")
        elif asked and trust.policy.quorum != NONE and found.covered == 0:
            who = trust.policy.describe() if trust.by_policy else f"{trust.policy.groups['all'].least} certified ones"
            self._tell("witness_quorum_not_met", f"no checkpoint has the cosignatures of {who}")
        elif 0 < found.covered < checkpointed:
            behind = checkpointed - found.covered
            self._tell("witness_behind", f"{behind} of {checkpointed} leaves came after the newest cosigned checkpoint")
        if self._cosigned:
            names = ", ".join(sorted(self._counted))
            found.summary = f"{found.covered} leaves under a quorum of witnesses ({names})"
        else:
            found.notes.append("witnesses: no checkpoint has a cosignature that counts, so the log may show two faces")

    def _agrees(self, name: str, head: Checkpoint) -> bool:
        """Whether the log has the leaves that its key signed for; a finding where it has others."""
        if head.size > self._size:
            problem = f"has {self._size} leaves, and its key signed a checkpoint of {head.size}"
            self._tell("log_rewound", f"{problem}: {name}")
            return False
        if self._ledger.root(head.size) != head.root:
            self._tell(
                "log_forked", f"its first {head.size} leaves are not those of a checkpoint that it signed: {name}"
            )
            return False
        return True

    def _verified(self, name: str, signed: SignedNote, head: Checkpoint) -> Iterator[Cosignature]:
        for line in signed.signatures:
            key = self._trust.known.get((line.name, line.key_id))
            if key is None:
                if line.name != self._ledger.origin:
                    self._unknown[line.name] = None
                continue
            try:
                found = verify_cosignature(signed.text, line, key)
            except LogError as error:
                self._tell("cosignature_invalid", f"{name}: {error}")
                continue
            before = self._heads.setdefault((key, head.size), head.root)
            if before != head.root:
                self._tell("witness_forked", f"witness {key.name} cosigned two roots at {head.size} leaves")
            yield found

    def _tell(self, kind: str, text: str) -> None:
        if (kind, text) not in self._told:
            self._told.add((kind, text))
            self._found.findings.append(Finding(kind, f"log {self._ledger.origin}: {text}"))


def _head(ledger: Ledger, note: str | bytes) -> Checkpoint:
    """Read a checkpoint that the log's key signed; raises LogError where it did not."""
    return ledger.keys().open_classically(note)


def _stamps(roots: Sequence[Certificate], ledger: Ledger, found: Witnessed) -> None:
    """Check the time stamps that are beside a log, against the roots of authorities whom the auditor believes."""
    kept = list(Timestamps(ledger.directory).all())
    if kept and not roots:
        found.notes.append(f"time stamps: {len(kept)} were not verified, since no roots were given (--tsa-root)")
        return
    if roots and not kept:
        found.notes.append("time stamps: the log has none")
    size = ledger.size
    good: list[tuple[int, int, str]] = []
    for file, note, response in kept:
        try:
            time_ns, authority = verify_stamp(note, response, roots)
            head = _head(ledger, note)
        except LogError as error:
            found.findings.append(Finding("timestamp_invalid", f"log {ledger.origin}: {file.name}: {error}"))
            continue
        if head.size > size or ledger.root(head.size) != head.root:
            kind = "log_rewound" if head.size > size else "log_forked"
            text = (
                f"it has not the {head.size} leaves of a checkpoint that was stamped at {_time(time_ns)}: {file.name}"
            )
            found.findings.append(Finding(kind, f"log {ledger.origin}: {text}"))
            continue
        good.append((head.size, time_ns, authority))
    if good:
        first, last = good[0], good[-1]
        told = f"the first {last[0]} leaves existed no later than {_time(last[1])}"
        if first != last:
            told = f"the first {first[0]} leaves existed no later than {_time(first[1])}, {told}"
        found.stamps = f"{told}, by {last[2]}"


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
