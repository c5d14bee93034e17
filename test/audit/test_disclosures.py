"""Disclosure files: what is revealed is checked against its commitment before anyone believes it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.attest import DataReference, digest
from og_ros.attest.commitment import commitment_of, conceal, salt_of
from og_ros.attest.digest import covered_size
from og_ros.attest.side_file import SideRecord
from og_ros.attest.statement import Disclosure
from og_ros.audit.disclosures import load_disclosures, write_disclosures
from og_ros.audit.findings import KINDS
from og_ros.errors import DisclosureError

SECRET = b"s" * 32
TOPIC, KIND = "/command", "geometry_msgs/msg/Twist"


def payload(number: int) -> bytes:
    return b"\0\1\0\0" + number.to_bytes(7, "little")


def record(number: int, topic: str = TOPIC) -> SideRecord:
    found = digest(payload(number))
    salt = salt_of(SECRET, found)
    return SideRecord(
        b"a" * 32, "output", 0, topic, KIND, 5, 6, "sha256", salt, commitment_of(salt, found), payload(number)
    )


def reference(number: int, disclosure: Disclosure = Disclosure.COMMITTED, **changes: Any) -> DataReference:
    clear = DataReference(TOPIC, KIND, digest(payload(number)), covered_size(payload(number)), 5)
    fields = {name: getattr(clear, name) for name in DataReference.__slots__} | changes
    return conceal(DataReference(**fields), disclosure, SECRET)


def test_what_was_revealed_is_found_by_reference_and_by_message(tmp_path: Path) -> None:
    path = tmp_path / "d"
    assert write_disclosures(path, [record(n) for n in range(3)]) == 3
    found = load_disclosures(path)
    assert (len(found), found.findings, found.unused()) == (3, [], 3)
    for number in range(3):
        shown = found.reveal(reference(number))
        assert shown is not None
        assert (shown.payload, shown.digest) == (payload(number), digest(payload(number)))
        assert found.commitment(TOPIC, digest(payload(number))) == shown.commitment
    assert found.unused() == 0
    assert found.reveal(reference(9)) is None
    assert found.reveal(reference(1, Disclosure.CLEAR)) is None
    assert found.reveal(reference(1, Disclosure.ABSENT)) is None
    assert found.commitment(TOPIC, digest(payload(9))) is None
    assert found.commitment("/other", digest(payload(1))) is None
    with pytest.raises(DisclosureError, match="exists already"):
        write_disclosures(path, [record(1)])


@pytest.mark.parametrize("changes", [{"topic": "/other"}, {"type": "std_msgs/msg/Bool"}, {"size": 16}], ids=str)
def test_a_record_passed_off_as_another_is_a_finding(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_disclosures(tmp_path / "d", [record(1)])
    found = load_disclosures(tmp_path / "d")
    for _ in range(3):
        assert found.reveal(reference(1, **changes)) is None
    (finding,) = found.findings
    assert finding.kind == "disclosure_invalid"
    assert KINDS[finding.kind].severity.name == "VIOLATION"


def changed(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda tree: {name: value for name, value in {**tree, **fields}.items() if value is not None}


LIES = {
    "payload": changed(payload=base64.b64encode(payload(2)).decode()),
    "salt": changed(salt="00" * 32),
    "commitment": changed(commitment="00" * 32),
    "short salt": changed(salt="00"),
    "algorithm": changed(digest_algorithm="md5"),
    "no hex": changed(salt="zz"),
    "no base64": changed(payload="*"),
    "empty payload": changed(payload=""),
    "side": changed(side="both"),
    "missing": changed(salt=None),
    "unknown": changed(more=1),
    "number": changed(topic=7),
    "topic": changed(topic=""),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_false_record_is_a_finding_and_the_others_count(tmp_path: Path, lie: str) -> None:
    path = tmp_path / "d"
    write_disclosures(path, [record(n) for n in range(3)])
    lines = path.read_text().splitlines()
    lines[2] = json.dumps(LIES[lie](json.loads(lines[2])))
    path.write_text("\n".join(lines) + "\n")
    found = load_disclosures(path)
    assert [finding.kind for finding in found.findings] == ["disclosure_invalid"]
    assert "line 3" in found.findings[0].message
    assert len(found) == 2
    assert found.reveal(reference(1)) is None
    assert found.reveal(reference(2)) is not None


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "d"
    write_disclosures(tmp_path / "good", [record(1)])
    good = (tmp_path / "good").read_bytes()
    for content in (b"", b"{}\n", b"[]\n", b'{"format": "og_ros disclosure v2"}\n', good[:-1], b"\xff\n", b"[" * 10**5):
        path.write_bytes(content)
        with pytest.raises(DisclosureError):
            load_disclosures(path)
    for name in ("none", "."):
        with pytest.raises(DisclosureError):
            load_disclosures(tmp_path / name)
    with pytest.raises(DisclosureError, match="nothing is disclosed"):
        write_disclosures(tmp_path / "empty", [])
    assert {p.name for p in tmp_path.iterdir()} == {"d", "good"}


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_the_reader_lets_no_other_error_out(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    base = tmp_path_factory.getbasetemp()
    if not (base / "fuzz-good").exists():
        write_disclosures(base / "fuzz-good", [record(1), record(2)])
    damaged = bytearray((base / "fuzz-good").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    (base / "fuzzed").write_bytes(damaged)
    try:
        found = load_disclosures(base / "fuzzed")
    except DisclosureError:
        return
    for number in (1, 2):
        shown = found.reveal(reference(number))
        assert shown is None or shown.payload == payload(number)
