"""Disclosure files: single records that a robot's owner reveals, each checked against its commitment.

A file is UTF-8 text, one JSON object a line. The first is {"format": "og_ros disclosure v1"}. Each other line has the
fields of a side record (og_ros.attest.side_file.SideRecord): digests, salt and commitment in hex, the payload in
base64.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from og_ros.attest.commitment import commitment_of
from og_ros.attest.digest import covered_size, digest
from og_ros.attest.side_file import SideRecord
from og_ros.attest.statement import TEXT_BOUNDS, DataReference, Disclosure, Statement
from og_ros.audit.findings import Finding
from og_ros.errors import AttestationError, DisclosureError, RegistryError
from og_ros.registry import strict_json

FORMAT: Final = "og_ros disclosure v1"
MAX_LINE: Final = 2**28
_KINDS: Final[dict[str, type]] = {
    "attestation": str, "side": str, "index": int, "topic": str, "type": str, "stamp_ns": int, "made_ns": int,
    "digest_algorithm": str, "salt": str, "commitment": str, "payload": str,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Disclosed:
    """A revealed message; its digest and salt give the commitment, which was checked.

    `attestation`, `side` ("input" or "output") and `index` say where it was committed to, by the revealer's word.
    """

    topic: str
    type: str
    digest: bytes
    algorithm: str
    commitment: bytes
    payload: bytes
    attestation: bytes
    side: str
    index: int

    @property
    def size(self) -> int:
        """Bytes that the digest covers."""
        return covered_size(self.payload)


class Disclosures:
    """The records of disclosure files. `findings` says what is wrong with them, so far."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._by_commitment: dict[bytes, Disclosed] = {}
        self._by_message: dict[tuple[str, bytes], bytes] = {}
        self._used: set[bytes] = set()
        self._accused: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._by_commitment)

    def add(self, disclosed: Disclosed) -> None:
        """Take a record; a second one for the same commitment changes nothing."""
        self._by_commitment.setdefault(disclosed.commitment, disclosed)
        self._by_message.setdefault((disclosed.topic, disclosed.digest), disclosed.commitment)

    def reveal(self, reference: DataReference) -> Disclosed | None:
        """Return what a committed reference hides; None when it was not revealed, or is in clear or absent.

        A record that names another topic, type, algorithm or size than the signed reference is a finding, and None.
        """
        if reference.disclosure != Disclosure.COMMITTED:
            return None
        found = self._by_commitment.get(reference.digest)
        if found is None:
            return None
        said = (reference.topic, reference.type, reference.digest_algorithm, reference.size)
        if said != (found.topic, found.type, found.algorithm, found.size):
            if found.commitment not in self._accused:
                self._accused.add(found.commitment)
                text = f"{found.topic}: a record was revealed as another topic, type or size than was committed to"
                self.findings.append(Finding("disclosure_invalid", text, topic=reference.topic))
            return None
        self._used.add(found.commitment)
        return found

    def fields_of(self, statement: Statement) -> frozenset[tuple[str, int]]:
        """Return which committed fields of a statement are revealed, as ("inputs" or "outputs", index)."""
        return frozenset(
            (side, index)
            for side, references in (("inputs", statement.inputs), ("outputs", statement.outputs))
            for index, reference in enumerate(references)
            if self.reveal(reference) is not None
        )

    def commitment(self, topic: str, digest: bytes) -> bytes | None:
        """Return the commitment to a message that was recorded in clear, by its digest; None: nobody revealed it."""
        return self._by_message.get((topic, digest))

    def unused(self) -> int:
        """Return how many records no reference has asked for: they belong to another recording, or to none."""
        return len(self._by_commitment) - len(self._used)


def load_disclosures(*paths: Path) -> Disclosures:
    """Read disclosure files and check each record: digest and salt must give the commitment.

    A record that does not hold is a finding `disclosure_invalid`. Raises DisclosureError for what is no such file.
    """
    found = Disclosures()
    for path in paths:
        for number, line in _lines(path):
            try:
                found.add(_disclosed(line))
            except (AttestationError, RegistryError) as error:
                found.findings.append(Finding("disclosure_invalid", f"{path}, line {number}: {error}"))
    return found


def write_disclosures(path: Path, records: Iterable[SideRecord]) -> int:
    """Write records to a new disclosure file, which appears once it is complete; returns how many there were.

    Raises DisclosureError when it exists, when there is no record, or when it cannot be written.
    """
    if path.exists():
        raise DisclosureError(f"{path} exists already; choose another file")
    partial = path.with_name(f".{path.name}.partial")
    count = 0
    try:
        with open(partial, "wb") as file:
            file.write(strict_json.dumps({"format": FORMAT}) + b"\n")
            for record in records:
                file.write(strict_json.dumps(_tree(record)) + b"\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        if not count:
            raise DisclosureError("no record was chosen: nothing is disclosed")
        partial.rename(path)
    except OSError as error:
        raise DisclosureError(f"cannot write {path}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a disclosure file after its first, with their numbers."""
    try:
        with open(path, "rb") as file:
            first = _json(file.readline(MAX_LINE), f"{path}, line 1")
            if not isinstance(first, dict) or first.get("format") != FORMAT:
                raise DisclosureError(f"{path} is no disclosure file of this version ({FORMAT})")
            number = 1
            while line := file.readline(MAX_LINE):
                number += 1
                if not line.endswith(b"\n"):
                    raise DisclosureError(f"{path}, line {number}: the file ends within it, or it is too long")
                yield number, line
    except OSError as error:
        raise DisclosureError(f"cannot read the disclosures {path}: {error.strerror}") from error


def _json(data: bytes, what: str) -> Any:
    try:
        return strict_json.loads(data, what, MAX_LINE)
    except RegistryError as error:
        raise DisclosureError(f"{what}: no disclosure file of og_ros: {error}") from error


def _disclosed(line: bytes) -> Disclosed:
    tree = strict_json.fields(strict_json.loads(line, "the record", MAX_LINE), "the record", _KINDS)
    for name in ("topic", "type"):
        if not 0 < len(tree[name]) <= TEXT_BOUNDS[name]:
            raise AttestationError(f"the record's {name} is empty or too long")
    if tree["side"] not in ("input", "output"):
        raise AttestationError("the record's side is neither input nor output")
    try:
        salt, commitment, attestation = (bytes.fromhex(tree[name]) for name in ("salt", "commitment", "attestation"))
        payload = base64.b64decode(tree["payload"], validate=True)
    except (ValueError, binascii.Error) as error:
        raise AttestationError(f"the record has a field that is not hex or base64: {error}") from error
    found = digest(payload, tree["digest_algorithm"])
    if commitment_of(salt, found) != commitment:
        raise AttestationError(f"{tree['topic'][:80]!a}: message and salt do not give the commitment")
    return Disclosed(
        tree["topic"], tree["type"], found, tree["digest_algorithm"], commitment, payload, attestation, tree["side"],
        tree["index"],
    )  # fmt: skip


def _tree(record: SideRecord) -> dict[str, Any]:
    return {
        "attestation": record.attestation.hex(),
        "side": record.side,
        "index": record.index,
        "topic": record.topic,
        "type": record.type,
        "stamp_ns": record.stamp,
        "made_ns": record.made,
        "digest_algorithm": record.algorithm,
        "salt": record.salt.hex(),
        "commitment": record.commitment.hex(),
        "payload": base64.b64encode(record.payload).decode("ascii"),
    }
