"""A measured launch: manifests, models and fresh session keys go into PCR 14, and then a cap; quotes show it later.

What a launch leaves in its directory (on a tmpfs, such as /run/og_ros): `launch` with the event log, and for each stage
STAGE.pem (its private key, mode 0600) and STAGE.manifest.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Protocol

import cbor2

from og_ros.attest import keys
from og_ros.errors import EvidenceError
from og_ros.evidence import manifest as manifests
from og_ros.evidence.drift import drift
from og_ros.evidence.manifest import Manifest
from og_ros.evidence.signed_document import fields, read_cbor
from og_ros.evidence.tpm import event_log
from og_ros.evidence.tpm.event_log import CAP, KEY, MANIFEST, MODEL, PCR, START, Event
from og_ros.evidence.tpm.quote import FIRST_RESETTABLE
from og_ros.evidence.tpm.templates import KeyType

FILE: Final = "launch"
BOOT_PCRS: Final = (0, 1, 2, 3, 4, 5, 6, 7, 9)
_MAX_FILE: Final = 262_144
_KINDS: Final[dict[str, type]] = {
    "version": int, "tcti": str, "pcrs": list, "key_type": str, "enrolment": str, "log_start": bytes, "log": list,
}  # fmt: skip


class Pcrs(Protocol):
    """What a launch needs of a TPM; og_ros.evidence.tpm.device.Tpm has it."""

    def read_pcrs(self, pcrs: Iterable[int]) -> dict[int, bytes]: ...
    def extend(self, pcr: int, digest: bytes) -> None: ...


@dataclass(frozen=True)
class LaunchSettings:
    """How quotes of a launch are made.

    Attributes:
        tcti: how to reach the TPM.
        pcrs: those of the boot, quoted beside PCR 14.
        key_type: of the attestation key, ecc or rsa.
        enrolment: file of the enrolment of the attestation key; none: the relying party names the key itself.
    """

    tcti: str
    pcrs: tuple[int, ...] = BOOT_PCRS
    key_type: KeyType = "ecc"
    enrolment: Path | None = None

    def __post_init__(self) -> None:
        for pcr in self.pcrs:
            if not 0 <= pcr < FIRST_RESETTABLE or pcr == PCR:
                raise EvidenceError(f"PCR {pcr} is none of the boot's: give numbers below 16, without {PCR}")


@dataclass(frozen=True)
class Launch:
    """A launch: its settings, what PCR 14 held before it, and its log."""

    settings: LaunchSettings
    log_start: bytes
    log: tuple[Event, ...]

    def manifest_of(self, stage: str) -> bytes:
        """Return the digest of the manifest of a stage; raises EvidenceError for one that was not launched."""
        for event in self.log:
            if (event.kind, event.stage) == (MANIFEST, stage):
                return event.value
        raise EvidenceError(f"the measured launch did not start the stage {stage!a}")


def measure(tpm: Pcrs, launched: Sequence[Manifest], key_of: Callable[[str], bytes]) -> tuple[bytes, tuple[Event, ...]]:
    """Extend PCR 14 by a launch; returns what it held before, and the log.

    `key_of` gives the public key (SPKI, DER) of a stage; it is called when manifests and models are measured and no key
    is: the moment at which sealed keys open. Whatever fails from then on, PCR 14 is capped.
    """
    start = tpm.read_pcrs([PCR])[PCR]
    robot = launched[0].robot
    log: list[Event] = []

    def extend(event: Event) -> None:
        tpm.extend(PCR, event.digest)
        log.append(event)

    try:
        for event in golden_events(launched):
            extend(event)
        spkis = [(manifest.stage, key_of(manifest.stage)) for manifest in launched]
        for stage, spki in spkis:
            extend(Event(KEY, robot, stage, sha256(spki).digest()))
    finally:
        extend(event_log.cap(robot))
    return start, tuple(log)


def golden_events(launched: Sequence[Manifest]) -> list[Event]:
    """Return what is measured before any key: for each stage its manifest and its model."""
    events = []
    for one in launched:
        events.append(Event(MANIFEST, one.robot, one.stage, one.digest))
        if one.model:
            events.append(Event(MODEL, one.robot, one.stage, one.model))
    return events


def launch(
    tpm: Pcrs,
    directory: Path,
    launched: Sequence[Manifest],
    settings: LaunchSettings,
    *,
    log_start: bytes = START,
    key_for: Callable[[str], keys.PrivateKey] | None = None,
) -> tuple[Launch, bool]:
    """Launch stages of one robot, or take up the launch of this directory; returns it, and whether it is new.

    A launch can be taken up (a service was restarted) while PCR 14 is as it left it and no manifest has changed; else
    the machine must be restarted, as the message of the EvidenceError says. `log_start` is what PCR 14 must hold before
    a new launch; `key_for` gives a stage's key, by default a fresh one.
    """
    if len({one.robot for one in launched}) != 1 or len({one.stage for one in launched}) != len(launched):
        raise EvidenceError("a launch is of one or more stages of one robot, each once")
    now = tpm.read_pcrs([PCR])[PCR]
    if now != log_start:
        return _take_up(directory, now, launched), False
    _clear(directory)

    def key_of(stage: str) -> bytes:
        key = key_for(stage) if key_for else keys.generate()
        keys.save_private(key, directory / f"{stage}.pem")
        return keys.spki(key.public_key())

    for one in launched:
        _write(directory / f"{one.stage}.manifest", manifests.encode(one))
    start, log = measure(tpm, launched, key_of)
    found = Launch(settings, start, log)
    _write(directory / FILE, _encode(found))
    return found, True


def read_launch(directory: Path) -> Launch:
    """Read what a launch left; raises EvidenceError."""
    path = directory / FILE
    what = f"the measured launch {path}"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"cannot read {what}: {error.strerror}; start with og-ros launch-measured") from error
    if len(data) > _MAX_FILE:
        raise EvidenceError(f"{what} is {len(data)} bytes long; {_MAX_FILE} are allowed")
    tree = fields(read_cbor(data, what), what, _KINDS)
    if tree["version"] != 1 or tree["key_type"] not in ("ecc", "rsa") or any(type(n) is not int for n in tree["pcrs"]):
        raise EvidenceError(f"{what} is of a version that this og_ros does not read, or malformed")
    settings = LaunchSettings(
        tcti=tree["tcti"],
        pcrs=tuple(tree["pcrs"]),
        key_type=tree["key_type"],
        enrolment=Path(tree["enrolment"]) if tree["enrolment"] else None,
    )
    if len(tree["log_start"]) != len(START):
        raise EvidenceError(f"{what} has a log_start of another size")
    return Launch(settings, tree["log_start"], event_log.from_tree(tree["log"]))


def read_manifest(directory: Path, stage: str) -> bytes:
    """Return the bytes of the manifest that a launch left for a stage; raises EvidenceError."""
    path = directory / f"{stage}.manifest"
    try:
        return path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"cannot read the manifest {path}: {error.strerror}") from error


def give_to(directory: Path, user: str) -> None:
    """Give what a new launch left to the user that the stages run as; raises EvidenceError.

    Only of a new one: later the directory is that user's, who could have put links there for root to follow.
    """
    try:
        owner = pwd.getpwnam(user)
        for path in (*directory.iterdir(), directory):
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    except (OSError, KeyError) as error:
        raise EvidenceError(f"cannot give {directory} to the user {user}: {error}") from error


def _take_up(directory: Path, now: bytes, launched: Sequence[Manifest]) -> Launch:
    if not (directory / FILE).is_file():
        raise EvidenceError(
            f"PCR {PCR} is {now.hex()}: something was measured since the start, and {directory} has no launch; "
            "restart the machine, or give --log-start if its boot loader measures into it"
        )
    found = read_launch(directory)
    if event_log.replay(found.log, found.log_start) != now:
        raise EvidenceError(f"PCR {PCR} is not what the launch in {directory} left: restart the machine")
    if CAP not in [event.kind for event in found.log]:
        raise EvidenceError(f"the launch in {directory} did not end: restart the machine")
    stages = {event.stage for event in found.log if event.kind == MANIFEST}
    if stages != {one.stage for one in launched}:
        names = ", ".join(sorted(stages))
        raise EvidenceError(f"the launch in {directory} was of the stages {names}: restart the machine")
    for one in launched:
        expected = manifests.decode(read_manifest(directory, one.stage))
        differences = drift(expected, one)
        if differences or found.manifest_of(one.stage) != one.digest:
            first = differences[0].message if differences else "its manifest was altered"
            raise EvidenceError(f"stage {one.stage} is not as it was launched: {first}; restart the machine")
    return found


def _clear(directory: Path) -> None:
    """Remove what a launch before the last restart of the machine left, and make the directory private."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in directory.iterdir():
            if path.name == FILE or path.suffix in (".pem", ".manifest"):
                path.unlink()
    except OSError as error:
        raise EvidenceError(f"cannot prepare {directory}: {error.strerror}") from error


def _encode(found: Launch) -> bytes:
    settings = found.settings
    tree: Mapping[str, Any] = {
        "version": 1,
        "tcti": settings.tcti,
        "pcrs": list(settings.pcrs),
        "key_type": settings.key_type,
        "enrolment": str(settings.enrolment.absolute()) if settings.enrolment else "",
        "log_start": found.log_start,
        "log": event_log.to_tree(found.log),
    }
    return cbor2.dumps(tree, canonical=True)


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f"{path.name}.new")
    try:
        partial.write_bytes(data)
        partial.chmod(0o600)
        partial.replace(path)
    except OSError as error:
        raise EvidenceError(f"cannot write {path}: {error.strerror}") from error
