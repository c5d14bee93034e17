"""Verifies a pack: opens it safely, checks files and signatures, audits its records again, and compares the reports."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from og_ros import __version__
from og_ros.attest import keys
from og_ros.audit.findings import Finding, Severity
from og_ros.audit.pack import attestations, description, layout, manifest
from og_ros.audit.pack.archive_reader import MAX_SIZE, open_archive
from og_ros.audit.pack.description import Description
from og_ros.audit.pack.readme import readme
from og_ros.audit.pack.write import portable
from og_ros.audit.policy import Policy, parse_policy
from og_ros.audit.recording.recording_files import digest_files
from og_ros.audit.reports.report import Report, Verdict
from og_ros.audit.reports.report_file import parse_report
from og_ros.audit.reports.summary import verify_summary
from og_ros.audit.run import audit_bag
from og_ros.audit.settled import SettlementEvidence, open_evidence
from og_ros.audit.trust import open_registry
from og_ros.errors import (
    ConfigError,
    KeyFileError,
    OgError,
    PackError,
    PolicyError,
    RegistryError,
    ReportError,
    SettlementError,
    SummaryRejected,
)
from og_ros.log import Ledger
from og_ros.registry import Registry, Status
from og_ros.registry.entry import INDEX_PATH
from og_ros.registry.files import FOLDERS

_MAX_TEXT: Final = 64 * 2**20
# The recording's name is that of its directory, which a packer may have had to change.
_NOT_COMPARED: Final = frozenset({"recording", "endurance"})

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Signer:
    """Who signed a pack: the key's id in hex, and who vouches for that key ("" for nobody)."""

    key_id: str
    vouched_by: str


@dataclass(frozen=True)
class PackReport:
    """The outcome of verifying a pack.

    `findings` are about the pack itself; `report` is the audit of its records that decides: under your own policy if
    you gave one, else under the packed one. It is None where the records could not be audited.
    """

    path: Path
    files: int
    description: Description
    signer: Signer | None
    findings: tuple[Finding, ...]
    report: Report | None
    packed_verdict: str
    confirmed: bool
    own_policy: bool
    not_checked: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """VIOLATED where pack or recording are, NOT_CHECKED where the records could not be audited, or do not tell."""
        if any(finding.severity is Severity.VIOLATION for finding in self.findings):
            return Verdict.VIOLATED
        return Verdict.NOT_CHECKED if self.report is None else self.report.verdict

    def as_json(self) -> dict[str, Any]:
        """Return the outcome as plain data for JSON."""
        return {
            "version": 1,
            "holds": self.verdict is Verdict.HOLDS,
            "verdict": self.verdict.value,
            "pack": self.path.name,
            "files": self.files,
            "created_at": self.description.whole["created_at"],
            "og_ros": self.description.og_ros,
            "data": self.description.data,
            "signer": None
            if self.signer is None
            else {"key": self.signer.key_id, "vouched_by": self.signer.vouched_by or None},
            "findings": [finding.as_json() for finding in self.findings],
            "packed_verdict": self.packed_verdict,
            "report_confirmed": self.confirmed,
            "own_policy": self.own_policy,
            "audit": None if self.report is None else self.report.as_json(),
            "not_checked": list(self.not_checked),
        }


def verify_pack(
    path: Path,
    *,
    root: str | None = None,
    policy: Policy | None = None,
    packer: keys.PublicKey | None = None,
    directory: Path | None = None,
    max_size: int = MAX_SIZE,
    jobs: int = 1,
    progress: Progress | None = None,
    chain: str | None = None,
    final_blocks: Collection[bytes] = (),
    finality: int | None = None,
) -> PackReport:
    """Verify a pack.

    `root` is the fingerprint that the registry's root must have, `policy` your own demands (then its audit decides, and
    a second one under the packed policy is compared with the report), `packer` the key that must have signed the pack.
    It is unpacked to `directory`, which must not exist, and stays there; by default to a temporary one. `jobs` is the
    number of processes that audit. `chain` is the URL of a node that you trust, `final_blocks` are hashes of blocks
    that you know to be final, `finality` a depth in blocks: with them packed receipts are held against the chain, and
    that audit decides.

    Raises PackError when it is not safe to open or no pack of a known version; what does not hold is in the findings.
    """
    with open_archive(path, max_size) as archive, _place(directory) as place:
        for name in (layout.MANIFEST, layout.DESCRIPTION, layout.REPORT):
            if name not in archive.sizes:
                raise PackError(f"{path} is no evidence pack: it has no {name}")
        found = archive.extract(place)
        vouching = (chain, final_blocks, finality) if chain is not None or final_blocks else None
        return _Verification(path, place, found, root, policy, packer, jobs, progress, vouching).run()


class _Verification:
    """One pack that is unpacked, under verification: each step adds what it finds."""

    def __init__(
        self,
        path: Path,
        place: Path,
        found: Mapping[str, bytes],
        root: str | None,
        policy: Policy | None,
        packer: keys.PublicKey | None,
        jobs: int,
        progress: Progress | None,
        vouching: tuple[str | None, Collection[bytes], int | None] | None,
    ) -> None:
        self._vouching = vouching
        self._path, self._place, self._found = path, place, found
        self._root, self._policy, self._packer = root, policy, packer
        self._policy_files: set[str] = set()
        self._jobs, self._progress = jobs, progress
        self._findings: list[Finding] = []
        self._not_checked: list[str] = []
        self._description = description.parse(self._read(layout.DESCRIPTION))
        self._recording = place / layout.RECORDING / self._description.recording
        self._log = place / layout.LOG if (place / layout.LOG).is_dir() else None

    def run(self) -> PackReport:
        """Run every step, and go on after a finding: what else holds is worth knowing."""
        listed = manifest.parse_manifest(self._read(layout.MANIFEST))
        for path, problem in manifest.differences(listed, self._found).items():
            self._find("pack_altered", f"{path} {problem}")
        packed = self._packed_report()
        registry = self._registry()
        signer = self._check_signer(registry)
        self._check_summary(registry, signer, packed)
        policy = self._packed_policy()
        settlement, vouched = self._receipts()
        repeated = self._audit(policy, settlement)
        self._check_records()
        self._check_readme()
        confirmed = (settlement is not None or not self._settled()) and self._compare(packed, repeated)
        deciding = repeated
        if self._policy is not None:
            policy = self._policy if self._root is None else replace(self._policy, registry_root=self._root)
        if self._policy is not None or vouched is not None:
            deciding = self._audit(policy, vouched or settlement)
        self._note_what_is_left()
        if deciding is not None:
            self._not_checked += deciding.not_checked
        return PackReport(
            path=self._path,
            files=len(self._found),
            description=self._description,
            signer=signer,
            findings=tuple(self._findings),
            report=deciding,
            packed_verdict=str(packed.get("verdict", "")),
            confirmed=confirmed,
            own_policy=self._policy is not None,
            not_checked=tuple(self._not_checked),
        )

    def _registry(self) -> Registry | None:
        """Open the packed registry, and hold it against the root that was given."""
        directory = self._place / layout.REGISTRY
        try:
            if self._root is None:
                return Registry.open(directory)
            try:
                return Registry.open(directory, pinned_root=self._root)
            except RegistryError:
                registry = Registry.open(directory)
                self._find("root_not_trusted", f"the registry's root is {registry.fingerprint}, not {self._root}")
                return registry
        except RegistryError as error:
            self._not_checked.append(
                f"signatures, keys and models: the packed registry does not hold: {self._say(error)}"
            )
            return None

    def _check_signer(self, registry: Registry | None) -> Signer | None:
        """Check the manifest's signature, and say who vouches for its key."""
        if layout.SIGNATURE not in self._found or layout.SIGNER not in self._found:
            if self._packer is not None:
                self._find("pack_signer_unexpected", "the pack is not signed, and a signer was asked for")
            elif self._description.signer is not None:
                self._find("pack_signature_invalid", "the signature that pack.json speaks of was removed")
            self._not_checked.append("who made the pack: it is not signed")
            return None
        try:
            key = keys.parse_public(self._read(layout.SIGNER), layout.SIGNER)
            key_id = keys.key_id(key)
            manifest.verify_manifest(self._read(layout.SIGNATURE), self._read(layout.MANIFEST), key)
        except (PackError, KeyFileError) as error:
            self._find("pack_signature_invalid", str(error))
            self._not_checked.append("who made the pack: its signature does not hold")
            return None
        if self._packer is not None:
            if keys.key_id(self._packer) != key_id:
                self._find(
                    "pack_signer_unexpected",
                    f"the pack is signed by {key_id.hex()[:16]}, not by {keys.key_id(self._packer).hex()[:16]}",
                )
                return Signer(key_id.hex(), "")
            return Signer(key_id.hex(), "you gave this key")
        certificate = registry.key(key_id) if registry is not None else None
        if certificate is not None and certificate.role == "auditor":
            status = certificate.status(self._description.created_ns)
            if status is Status.VALID:
                return Signer(key_id.hex(), "the packed registry, as an auditor's key")
            self._find(
                "pack_signer_unexpected", f"the signer's key {key_id.hex()[:16]} was {status.value} at that time"
            )
            return Signer(key_id.hex(), "")
        self._not_checked.append(
            f"whose key {key_id.hex()[:16]} is, which signed the pack: the registry has no auditor with it "
            "(give the key that you expect with --packer)"
        )
        return Signer(key_id.hex(), "")

    def _check_summary(self, registry: Registry | None, signer: Signer | None, packed: Mapping[str, Any]) -> None:
        """Check the signed summary against the packed report and recording."""
        if layout.SUMMARY not in self._found or signer is None:
            return
        try:
            key = keys.parse_public(self._read(layout.SIGNER), layout.SIGNER)
            summary = verify_summary(self._read(layout.SUMMARY), key, now_ns=time.time_ns())
            summary.check_report(packed)
            summary.check_recording(digest_files(self._recording))
        except SummaryRejected as error:
            self._find("pack_signature_invalid", f"{layout.SUMMARY}: {error}")
        except OgError as error:
            self._find("pack_signature_invalid", f"{layout.SUMMARY} cannot be checked: {self._say(error)}")

    def _packed_report(self) -> dict[str, Any]:
        """Read the packed report; what is no report confirms nothing."""
        try:
            return parse_report(self._read(layout.REPORT), layout.REPORT)
        except ReportError as error:
            self._find("pack_report_differs", self._say(error))
            return {}

    def _packed_policy(self) -> Policy | None:
        """Return the policy under which the packed report was made; None where it cannot be read."""
        policy = Policy()
        try:
            if layout.POLICY in self._found:
                policy = parse_policy(self._read(layout.POLICY), layout.POLICY, self._policy_file)
        except PolicyError as error:
            self._not_checked.append(f"the packed policy, and the report under it: {self._say(error)}")
            return None
        root = self._description.root
        return policy if root is None else replace(policy, registry_root=root)

    def _policy_file(self, name: str) -> bytes:
        """Read a file that the packed policy names: one that the manifest lists, and no other of this machine."""
        path = f"{layout.POLICY_FILES}/{name}"
        if path not in self._found:
            raise PolicyError("is not in the pack")
        self._policy_files.add(path)
        return self._read(path)

    def _settled(self) -> bool:
        return layout.SETTLEMENT in self._found

    def _receipts(self) -> tuple[SettlementEvidence | None, SettlementEvidence | None]:
        """Return the packed receipts as the packer's audit had them, and as those who vouch for blocks make them."""
        if not self._settled():
            if self._vouching is not None:
                raise ConfigError(f"{self._path} holds no receipts: leave out --chain and --final-block")
            return None, None
        file = self._place / layout.SETTLEMENT
        try:
            import og_ros.settlement.evm_chain  # noqa: F401 - which says what is missing

            packed = open_evidence(file, None, (), None)
            return packed, open_evidence(file, *self._vouching) if self._vouching is not None else None
        except SettlementError as error:
            self._find("settlement_forged", f"{layout.SETTLEMENT}: {self._say(error)}")
        except ConfigError as error:
            self._not_checked.append(f"the packed receipts, and the report that takes them: {self._say(error)}")
        return None, None

    def _audit(self, policy: Policy | None, settlement: SettlementEvidence | None) -> Report | None:
        if policy is None:
            return None
        try:
            registry = open_registry(self._place / layout.REGISTRY, policy)
        except RegistryError:
            registry = None  # said by _registry
        try:
            return audit_bag(
                self._recording, registry, self._log, policy, self._progress, jobs=self._jobs, settlement=settlement
            )
        except OgError as error:
            note = f"the recording: it could not be audited: {self._say(error)}"
            if note not in self._not_checked:
                self._not_checked.append(note)
            return None

    def _check_records(self) -> None:
        """Make the attestations, their index and their proofs again, and compare them byte by byte."""
        try:
            with tempfile.TemporaryDirectory(prefix="og-ros-pack-") as made:
                exported = attestations.export(self._recording, self._log, Path(made))
                others = list(attestations.same_files(Path(made), self._place))
            if self._log is not None:
                with Ledger.open(self._log) as ledger:
                    if self._found.get(layout.VKEY) != sha256(f"{ledger.vkey}\n".encode()).digest():
                        others.append(layout.VKEY)
        except OgError as error:
            self._not_checked.append(f"the attestations and proofs beside the recording: {self._say(error)}")
            return
        if self._description.whole.get("contents") != vars(exported):
            others.append(layout.DESCRIPTION)
        for name in others:
            self._find("pack_records_differ", f"{name} is not what the packed recording and log give")

    def _compare(self, packed: Mapping[str, Any], repeated: Report | None) -> bool:
        """Compare the packed report with the new one; return whether it says the same."""
        if not packed or repeated is None:
            return False
        ours = portable(repeated.as_json(), self._recording.parent, self._place)
        ours = json.loads(json.dumps(ours))
        same_version = self._description.og_ros == __version__
        # Another version may add fields; what both have must agree.
        names = (ours.keys() | packed.keys() if same_version else ours.keys() & packed.keys()) - _NOT_COMPARED
        different = sorted(name for name in names if ours.get(name) != packed.get(name))
        if not different:
            return True
        what = f"audited again, the records give another {', '.join(different)}"
        verdicts = f"; the report says {packed['verdict']}, the audit {ours['verdict']}"
        verdicts = verdicts if "verdict" in different else ""
        if same_version:
            self._find("pack_report_differs", what + verdicts)
        else:
            version = f"og_ros {self._description.og_ros[:20]} made it, this is {__version__}"
            self._find("pack_report_outdated", f"{what}{verdicts} ({version})")
        return False

    def _note_what_is_left(self) -> None:
        if self._description.data == description.REDUCED:
            self._not_checked.append(
                "the messages themselves: the pack has the attestations alone, and "
                f"{layout.COMPLETE_REPORT} is the packer's word"
            )
        unread = sorted(path for path in self._found if not self._is_read(path))
        if unread:
            self._not_checked.append(f"files that no check reads: {', '.join(unread)[:1000]}")
        enclosed = sorted(
            path for path in self._found if path.startswith((f"{layout.ENCLOSED}/", f"{layout.RECEIPTS}/"))
        )
        if enclosed:
            self._not_checked.append(f"what was enclosed as it is: {', '.join(enclosed)}")

    def _check_readme(self) -> None:
        """Hold README.txt against the one that this version writes: a forger's could send a reader elsewhere."""
        if self._description.og_ros != __version__ or layout.README not in self._found:
            return
        try:
            expected = readme(self._description.whole)
        except (KeyError, TypeError, AttributeError):  # pack.json lacks what only README.txt needs
            expected = ""
        if sha256(expected.encode()).digest() != self._found[layout.README]:
            self._find("pack_records_differ", f"{layout.README} is not the one that og_ros writes for this pack")

    def _is_read(self, path: str) -> bool:
        """Return whether a file of the pack belongs to what the steps above read, or is listed as enclosed."""
        folder, _, rest = path.partition("/")
        if folder == layout.RECORDING:
            return rest.startswith(f"{self._description.recording}/")
        if folder == layout.LOG:
            return rest in ("log.db", "checkpoint", "vkey.txt") or rest.startswith("tile/")
        if folder == layout.POLICY_FILES:
            return path in self._policy_files
        # What lies in a registry's own folders and is not in its index, opening it refuses.
        return folder != layout.REGISTRY or rest.split("/")[0] in (*FOLDERS, INDEX_PATH)

    def _find(self, kind: str, message: str) -> None:
        self._findings.append(Finding(kind, message))

    def _say(self, error: Exception) -> str:
        """Return an error's sentence without the directory that the pack happens to lie in."""
        return " ".join(str(error).replace(f"{self._place}/", "").split())

    def _read(self, path: str) -> bytes:
        with (self._place / path).open("rb") as stream:
            data = stream.read(_MAX_TEXT + 1)
        if len(data) > _MAX_TEXT:
            raise PackError(f"{self._path}: {path} is larger than {_MAX_TEXT} bytes")
        return data


@contextmanager
def _place(directory: Path | None) -> Iterator[Path]:
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="og-ros-pack-") as temporary:
            yield Path(temporary).resolve()
        return
    try:
        directory.mkdir(parents=True)
    except OSError as error:
        raise PackError(
            f"cannot unpack to {directory}: {error.strerror}; name a directory that does not exist"
        ) from error
    yield directory.resolve()
