"""Writes a pack: audits the recording, gathers everything that the audit read, and puts it into one file."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from og_ros.attest import keys
from og_ros.attest.signer import Signer
from og_ros.audit.pack import attestations, description, layout
from og_ros.audit.pack.archive_writer import Source, write_archive
from og_ros.audit.pack.manifest import sign_manifest
from og_ros.audit.pack.readme import readme
from og_ros.audit.pack.reduced import write_reduced
from og_ros.audit.policy import Policy, parse_policy
from og_ros.audit.recording import bag_files, bag_metadata
from og_ros.audit.recording.recording_files import digest_files
from og_ros.audit.reports.report import Report
from og_ros.audit.reports.summary import sign_summary
from og_ros.audit.run import audit_bag
from og_ros.audit.settled import SettlementEvidence, open_evidence
from og_ros.audit.trust import open_registry
from og_ros.errors import PackError, PolicyError
from og_ros.evidence.policy_file import files_beside
from og_ros.log.export import export_ledger
from og_ros.log.store import Ledger
from og_ros.registry import Registry
from og_ros.registry.entry import INDEX_PATH, MAX_ENTRY
from og_ros.settlement.receipt import MAX_FILE

_MAX_FILE: Final = 64 * 2**20
_ATTEMPTS: Final = 5

ProgressCallback = Callable[[int, int], None]


@dataclass(frozen=True)
class PackOptions:
    """What goes into a pack beside the recording and the registry.

    `policy` is a policy file, `root` the fingerprint that the registry's root must have, `signer` the auditor's key,
    `settlement` receipts of the log's settlement, which the report inside takes without asking a node; `enclosed`
    files to add as they are, such as an HTML report. `with_data` False leaves everything but the
    attestations out of the recording. `jobs` is the number of processes that audit.
    """

    ledger: Path | None = None
    policy: Path | None = None
    root: str | None = None
    signer: Signer | None = None
    settlement: Path | None = None
    enclosed: Sequence[Path] = ()
    with_data: bool = True
    jobs: int = 1


@dataclass(frozen=True)
class Written:
    """A pack that was written: its path and size, its number of files, and the report inside as plain data."""

    path: Path
    size: int
    files: int
    report: Mapping[str, Any]


def write_pack(
    recording: Path,
    registry: Path,
    target: Path,
    options: PackOptions | None = None,
    progress: ProgressCallback | None = None,
) -> Written:
    """Write an evidence pack of a recording.

    The report inside is of what is inside: of the copied registry and log, and, without data, of the attestations
    alone. The file appears under its name when it is whole. With SOURCE_DATE_EPOCH set, the same inputs give the same
    bytes. Raises PackError when it cannot be written or the recording changes meanwhile, and what the audit raises.
    """
    options = options or PackOptions()
    if target.exists():
        raise PackError(f"{target} exists already; a pack is never overwritten")
    created_ns = description.now_ns()
    recording = recording.absolute()
    found = bag_files.find(recording)
    layout.check_path(f"{layout.RECORDING}/{found.directory.name}")
    before = _states(found)
    try:
        temporary = tempfile.TemporaryDirectory(prefix=".og-ros-pack-", dir=target.absolute().parent)
    except OSError as error:
        raise PackError(f"cannot write below {target.absolute().parent}: {error.strerror}") from error
    with temporary as made:
        pack = _Pack(Path(made).resolve(), recording, found.directory, options)
        pack.add_registry(registry)
        pack.add_ledger()
        pack.add_settlement()
        pack.add_policy()
        pack.add_recording(found)
        pack.audit(progress)
        pack.add_signed(created_ns)
        whole = pack.directory / "whole.ogpack"
        signer = options.signer
        digests = write_archive(whole, pack.files, None if signer is None else lambda data: sign_manifest(data, signer))
        if _states(found) != before:
            raise PackError(f"{recording} changed while it was packed; pack it when its recorder has stopped")
        try:
            whole.rename(target)
        except OSError as error:
            raise PackError(f"cannot write {target}: {error.strerror}") from error
    return Written(target, target.stat().st_size, len(digests) + 1 + (signer is not None), pack.report)


class _Pack:
    """Gathers the files of one pack, by path; what has to be made lies in a temporary directory."""

    def __init__(self, directory: Path, recording: Path, home: Path, options: PackOptions) -> None:
        self.directory = directory
        self._home = home
        self.files: dict[str, Source] = {}
        self.report: dict[str, Any] = {}
        self._recording = recording
        self._packed = recording
        self._name = home.name
        self._options = options
        self._policy = Policy()
        self._settlement: SettlementEvidence | None = None
        self._counts = attestations.Exported(0, 0, 0)

    @property
    def _log(self) -> Path | None:
        return self.directory / layout.LOG if self._options.ledger is not None else None

    def add_registry(self, source: Path) -> None:
        """Copy a registry: its index, and what that lists, read as one state."""
        for _ in range(_ATTEMPTS):
            registry = Registry.open(source)
            if registry.snapshot is not None:
                raise PackError(f"{source} is a snapshot of a chain: a pack holds a registry's directory")
            copied = {path: _read(source / path, 2 * MAX_ENTRY) for path in registry.files}
            copied[INDEX_PATH] = _read(source / INDEX_PATH, _MAX_FILE)
            for path, data in copied.items():
                file = self.directory / layout.REGISTRY / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
            if Registry.open(self.directory / layout.REGISTRY).index_digest == registry.index_digest:
                break
        else:
            raise PackError(f"{source} changes faster than it can be copied; try again")
        self._add_tree(layout.REGISTRY)

    def add_ledger(self) -> None:
        """Copy the ledger, and write down the key that it says it has."""
        if self._options.ledger is None or self._log is None:
            return
        export_ledger(self._options.ledger, self._log)
        with Ledger.open(self._log) as ledger:
            self.files[layout.VKEY] = f"{ledger.vkey}\n".encode()
        self._add_tree(layout.LOG)

    def add_settlement(self) -> None:
        """Add the receipts of the log's settlement as they are."""
        if self._options.settlement is None:
            return
        if self._log is None:
            raise PackError("receipts are of a log's checkpoints: give the ledger too")
        self._settlement = open_evidence(self._options.settlement, None, (), None)
        self.files[layout.SETTLEMENT] = _read(self._options.settlement, MAX_FILE)

    def add_policy(self) -> None:
        """Add the policy file as it is, and the files that it names, which must lie beside or below it."""
        if self._options.policy is not None:
            data = _read_policy(self._options.policy)
            files = files_beside(self._options.policy.absolute().parent)
            self._policy = parse_policy(data, str(self._options.policy), files)
            self.files[layout.POLICY] = data
            for name, named in self._policy.files.items():
                layout.check_path(name)
                self.files[f"{layout.POLICY_FILES}/{name}"] = named
        if self._options.root:
            self._policy = replace(self._policy, registry_root=self._options.root)

    def add_recording(self, found: bag_files.BagFiles) -> None:
        """Add the recording's own files, or a copy with the attestations alone; then the attestations one by one."""
        if self._options.with_data:
            for file in _own_files(found):
                self.files[f"{layout.RECORDING}/{self._name}/{file.name}"] = file
        else:
            self._packed = self.directory / layout.RECORDING / self._name
            self._packed.parent.mkdir()
            write_reduced(self._recording, self._packed)
            self._add_tree(layout.RECORDING)
        self._counts = attestations.export(self._packed, self._log, self.directory)
        self._add_tree("attestations")

    def audit(self, progress: ProgressCallback | None) -> None:
        """Audit what is packed, and, where data was left out, the complete recording as well."""
        report = self._audit(self._packed, progress)
        self.report = portable(report.as_json(), self._home.parent, self.directory / layout.RECORDING, self.directory)
        self.files[layout.REPORT] = description.encode(self.report)
        if not self._options.with_data:
            complete = self._audit(self._recording, progress).as_json()
            self.files[layout.COMPLETE_REPORT] = description.encode(
                portable(complete, self._home.parent, self.directory)
            )

    def add_signed(self, created_ns: int) -> None:
        """Add the description, README.txt, the signer's key and summary, and what is enclosed."""
        signer = self._options.signer
        tree = description.describe(
            created_ns=created_ns,
            recording=self._name,
            reduced=not self._options.with_data,
            root=self._options.root,
            signer=None if signer is None else signer.key_id.hex(),
            contents=vars(self._counts),
            report=self.report,
        )
        self.files[layout.DESCRIPTION] = description.encode(tree)
        self.files[layout.README] = readme(tree).encode()
        for file in self._options.enclosed:
            path = f"{layout.ENCLOSED}/{file.name}"
            if path in self.files:
                raise PackError(f"two enclosed files have the name {file.name!a}")
            self.files[path] = _read(file, 2**30)
        if signer is None:
            return
        self.files[layout.SIGNER] = keys.public_pem(signer.public_key).encode()
        if (self._packed / bag_metadata.NAME).is_file():
            digests = digest_files(self._packed)
            self.files[layout.SUMMARY] = sign_summary(self.report, digests, signer, verified_at_ns=created_ns)

    def _audit(self, recording: Path, progress: ProgressCallback | None) -> Report:
        registry = open_registry(self.directory / layout.REGISTRY, self._policy)
        return audit_bag(
            recording, registry, self._log, self._policy, progress, jobs=self._options.jobs, settlement=self._settlement
        )

    def _add_tree(self, folder: str) -> None:
        for file in sorted((self.directory / folder).rglob("*")):
            if file.is_file():
                self.files[file.relative_to(self.directory).as_posix()] = file


def portable(report: dict[str, Any], *directories: Path) -> dict[str, Any]:
    """Return a report whose sentences name files without these directories: it must not depend on where they lie.

    The directories are absolute paths, with a name.
    """
    prefixes = sorted((f"{directory}/" for directory in directories if directory.name), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, prefixes)) or "(?!)")

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub("", value)
        if isinstance(value, dict):
            return {name: clean(item) for name, item in value.items()}
        return [clean(item) for item in value] if isinstance(value, (list, tuple)) else value

    cleaned: dict[str, Any] = clean(report)
    return cleaned


def _own_files(found: bag_files.BagFiles) -> list[Path]:
    """Return the files of a recording: its metadata, its storage files, and their write-ahead logs."""
    metadata = found.directory / bag_metadata.NAME
    logs = [file.with_name(f"{file.name}-wal") for file in found.files]
    files = [*found.files, *(log for log in logs if log.exists()), *([metadata] if metadata.exists() else [])]
    for file in files:
        if file.is_symlink():
            raise PackError(f"{file} is a link; copy the file there to pack it")
    return files


def _states(found: bag_files.BagFiles) -> list[tuple[str, int, int]]:
    states = []
    for file in _own_files(found):
        status = file.stat()
        states.append((file.name, status.st_size, status.st_mtime_ns))
    return states


def _read(file: Path, limit: int) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise PackError(f"cannot read {file}: {error.strerror}") from error
    if len(data) > limit:
        raise PackError(f"{file} is larger than {limit} bytes")
    return data


def _read_policy(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise PolicyError(f"cannot read the policy {file}: {error.strerror}") from error
