"""The layout of a pack, version 1: which file lies where, which names are allowed, and which formats are used."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from og_ros.attest.statement import HIDDEN_CHARACTERS
from og_ros.errors import PackError

FORMAT: Final = "og-ros-evidence-pack"
VERSION: Final = 1

README: Final = "README.txt"
DESCRIPTION: Final = "pack.json"
MANIFEST: Final = "SHA256SUMS"
SIGNATURE: Final = "SHA256SUMS.dsse.json"
SIGNER: Final = "signer.pub"
SUMMARY: Final = "summary.dsse.json"
POLICY: Final = "policy.yaml"
POLICY_FILES: Final = "policy"
REPORT: Final = "report.json"
COMPLETE_REPORT: Final = "report-of-the-complete-recording.json"
RECORDING: Final = "recording"
REGISTRY: Final = "registry"
LOG: Final = "log"
ATTESTATIONS: Final = "attestations/attestations.cbor"
INDEX: Final = "attestations/index.jsonl"
PROOFS: Final = "attestations/proofs.jsonl"
VKEY: Final = "log/vkey.txt"
ENCLOSED: Final = "enclosed"
RECEIPTS: Final = "receipts"
SETTLEMENT: Final = "receipts/settlement.json"

_FILES: Final = frozenset(
    {
        README, DESCRIPTION, MANIFEST, SIGNATURE, SIGNER, SUMMARY, POLICY, REPORT, COMPLETE_REPORT, ATTESTATIONS,
        INDEX, PROOFS,
    }
)  # fmt: skip
_FOLDERS: Final = (RECORDING, REGISTRY, LOG, POLICY_FILES, ENCLOSED, RECEIPTS)
# Neither is in the manifest: the one is the manifest, the other is made of it.
UNLISTED: Final = frozenset({MANIFEST, SIGNATURE})

FORMATS: Final = {
    "pack": "ZIP (PKWARE APPNOTE 6.3, stored or deflate, no encryption)",
    SIGNATURE: "DSSE 1 (secure-systems-lab/dsse), payload: the bytes of SHA256SUMS",
    SUMMARY: "DSSE 1, in-toto Statement v1, SLSA Verification Summary v1",
    MANIFEST: "GNU coreutils sha256sum",
    ATTESTATIONS: "CBOR sequence (RFC 8742) of COSE_Sign1 (RFC 9052); payload: deterministic CBOR (RFC 8949)",
    INDEX: "JSON Lines",
    PROOFS: "JSON Lines with C2SP tlog-proof v1",
    LOG: "C2SP tlog-tiles, tlog-checkpoint and signed-note (RFC 6962 tree, SHA-256); log.db is SQLite 3",
    REGISTRY: "DSSE 1 with JSON payloads",
    RECORDING: "rosbag2 (MCAP or SQLite 3), messages in CDR (OMG DDS-XTypes 1.3)",
    SETTLEMENT: "JSON, og_ros settlement receipts version 1: RLP headers and Merkle-Patricia proofs of Ethereum",
    POLICY: "YAML, og_ros policy version 1",
    REPORT: "JSON, og_ros audit report version 1",
}

MAX_PATH: Final = 1000
_MAX_PART: Final = 255
_REFUSED: Final = re.compile(r"[\\:]")


def check_path(path: str) -> None:
    """Raise PackError unless a path is safe below any directory on any system, and has one spelling only."""
    parts = path.split("/")
    if (
        not path
        or len(path.encode("utf-8", "surrogatepass")) > MAX_PATH
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise PackError(f"the entry {path[:120]!a} is no plain relative path")
    if _REFUSED.search(path) or HIDDEN_CHARACTERS.search(path) or not _is_utf8(path):
        raise PackError(f"the entry {path[:120]!a} has a character that is not allowed in a pack")
    if any(len(part.encode()) > _MAX_PART or part.endswith((" ", ".")) for part in parts):
        raise PackError(f"the entry {path[:120]!a} has a part that is too long, or ends in a space or full stop")
    if unicodedata.normalize("NFC", path) != path:
        raise PackError(f"the entry {path[:120]!a} is not in Unicode's normal form C")


def check_paths(paths: Iterable[str]) -> None:
    """Raise PackError unless every path is allowed and known, and no two could be taken for one another."""
    seen: dict[str, str] = {}
    folders: set[str] = set()
    for path in paths:
        check_path(path)
        if path not in _FILES and path.partition("/")[0] not in _FOLDERS:
            raise PackError(f"the entry {path[:120]!a} is not known in a pack of version {VERSION}")
        same = _folded(path)
        if same in seen:
            raise PackError(
                f"the entries {seen[same][:120]!a} and {path[:120]!a} have one name, but for case or spelling"
            )
        seen[same] = path
        parts = same.split("/")
        folders.update("/".join(parts[:n]) for n in range(1, len(parts)))
    both = sorted(folders & seen.keys())
    if both:
        raise PackError(f"the entry {seen[both[0]][:120]!a} is a file and a directory")


def _folded(path: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
