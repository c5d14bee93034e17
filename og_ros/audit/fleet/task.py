"""One recording's audit as a task: what it needs, how its state is told from another, and the audit itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from og_ros import __version__
from og_ros.audit.fleet.recordings import METADATA
from og_ros.audit.fleet.sightings import Sightings
from og_ros.audit.policy import Policy, parse_policy
from og_ros.audit.run import audit_bag
from og_ros.audit.settled import open_evidence
from og_ros.audit.trust import open_registry
from og_ros.errors import OgError
from og_ros.registry.entry import INDEX_PATH

FORMAT: Final = 1
_MAX_SMALL: Final = 16 * 2**20


@dataclass(frozen=True)
class Task:
    """A recording with everything that its audit takes; a worker gets it by value, and reads the paths itself.

    `policy` is the policy file's bytes (None: the default policy), `policy_files` are those that it names, `root` the
    fingerprint that the registry's root must have. `size` is that of the recording in bytes. `settlement` are receipts
    of the ledger's settlement, `chain`, `final_blocks` and `finality` say who vouches for their blocks, as
    open_evidence takes them.
    """

    recording: Path
    size: int
    registry: Path | None = None
    ledger: Path | None = None
    policy: bytes | None = None
    policy_files: Mapping[str, bytes] = field(default_factory=dict)
    root: str | None = None
    settlement: Path | None = None
    chain: str | None = None
    final_blocks: frozenset[bytes] = frozenset()
    finality: int | None = None

    def read_policy(self) -> Policy:
        """Return the policy; raises PolicyError."""
        policy = Policy() if self.policy is None else parse_policy(self.policy, files=self.policy_files.__getitem__)
        return replace(policy, registry_root=self.root) if self.root else policy


@dataclass(frozen=True)
class Outcome:
    """What became of a task: plain data for JSON, and the rows of the recording's attestations.

    `data` has "error" (empty when the recording was audited), and then "report", "sessions" and "findings_by_stage".
    """

    data: dict[str, Any]
    rows: bytes = b""

    @property
    def error(self) -> str:
        """Why the recording could not be audited; empty when it was."""
        return str(self.data["error"])


def failed(task: Task, error: str) -> Outcome:
    """Return the outcome of a task that could not be done."""
    return Outcome({"format": FORMAT, "og_ros": __version__, "recording": str(task.recording), "error": error})


def audit_recording(task: Task) -> Outcome:
    """Audit one recording. Raises nothing: whatever is wrong with the recording is in the outcome."""
    sightings = Sightings()
    try:
        policy = task.read_policy()
        registry = open_registry(task.registry, policy) if task.registry is not None else None
        settlement = None
        if task.settlement is not None:
            settlement = open_evidence(task.settlement, task.chain, task.final_blocks, task.finality)
        report = audit_bag(
            task.recording, registry, task.ledger, policy, observers=[sightings], settlement=settlement
        )
        data = {
            "format": FORMAT,
            "og_ros": __version__,
            "recording": str(task.recording),
            "error": "",
            "report": report.as_json(),
            "sessions": sightings.sessions(),
            "findings_by_stage": sightings.findings_by_stage(),
        }
        return Outcome(data, sightings.rows())
    except OgError as error:
        return failed(task, " ".join(str(error).split()))
    except Exception as error:  # a fault in one audit, of whatever kind, must not stop the others
        return failed(task, f"the audit failed: {type(error).__name__}: {error}"[:2000])


def identity(task: Task) -> str:
    """Return a digest of all that decides a task's outcome, so that a changed recording is audited again.

    That is: og_ros's version, path, size and time of change of each file, the bytes of metadata.yaml, the registry's
    index, the pinned root, the policy, the ledger's files, and the receipts with who vouches for them. A file that was
    changed in place with its size and time restored is not told from the one before.
    """
    parts: list[Any] = [FORMAT, __version__, str(task.recording), task.root]
    parts.append([*_files(task.recording), _sha256(task.recording / METADATA)])
    parts.append(None if task.registry is None else _sha256(task.registry / INDEX_PATH))
    parts.append(None if task.policy is None else hashlib.sha256(task.policy).hexdigest())
    parts += [f"{name}={hashlib.sha256(data).hexdigest()}" for name, data in sorted(task.policy_files.items())]
    parts.append(None if task.ledger is None else [*_files(task.ledger)])
    if task.settlement is not None:
        blocks = sorted(block.hex() for block in task.final_blocks)
        parts.append([*_states(task.settlement), task.chain, blocks, task.finality])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _files(directory: Path) -> Iterator[tuple[str, int, int]]:
    try:
        for file in sorted(directory.iterdir()):
            status = file.lstat()
            yield file.name, status.st_size, status.st_mtime_ns
    except OSError:
        yield "unreadable", 0, 0


def _states(file: Path) -> list[int]:
    try:
        status = file.stat()
        return [status.st_size, status.st_mtime_ns]
    except OSError:
        return []


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.sha256(stream.read(_MAX_SMALL)).hexdigest()
    except OSError:
        return ""
