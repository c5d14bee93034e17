"""Side files: what was committed to can be revealed later, whatever crash or full disk came between."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.attest import digest
from og_ros.attest.commitment import commitment_of, salt_of
from og_ros.attest.content_key import ContentKeys, KeyRing
from og_ros.attest.side_file import MAGIC, Damage, SideRecord, read_side_file, record_frame, seal_frame
from og_ros.errors import DisclosureError
from og_ros.nodes.side_file_writer import SideFileWriter

PRIVATE = ec.generate_private_key(ec.SECP256R1())
SECRET = b"s" * 32


def record(number: int, size: int = 40) -> SideRecord:
    payload = b"\0\1\0\0" + number.to_bytes(8, "little") + bytes(size)
    salt = salt_of(SECRET, digest(payload))
    return SideRecord(
        bytes([number % 256]) * 32, "output", 0, "/command", "geometry_msgs/msg/Twist", number, number, "sha256", salt,
        commitment_of(salt, digest(payload)), payload,
    )  # fmt: skip


class Faults(list[str]):
    def report(self, kind: str, error: Exception | str) -> None:
        self.append(f"{kind}: {error}")


def writer(directory: Path, faults: Faults, limit: int = 10**7) -> SideFileWriter:
    return SideFileWriter(directory, "control", os.urandom(16), [PRIVATE.public_key()], limit, faults.report)


def read(directory: Path) -> list[SideRecord | Damage]:
    files = sorted(directory.glob("*.side"), key=lambda path: path.stat().st_mtime_ns)
    return [item for path in files for item in read_side_file(path, KeyRing(PRIVATE))]


def test_round_trip_and_repeated_messages_cost_little(tmp_path: Path) -> None:
    faults = Faults()
    files = writer(tmp_path, faults)
    wanted = [record(n % 5, 20_000) for n in range(60)]
    wanted = [replace(r, attestation=bytes([n]) * 32) for n, r in enumerate(wanted)]
    for item in wanted:
        files.write(item)
    files.close()
    files.close()
    assert read(tmp_path) == wanted
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert 5 * 20_000 < path.stat().st_size < 7 * 20_000, "the same payload is stored once"
    content = path.read_bytes()
    assert b"/command" not in content
    assert b"Twist" not in content
    stranger = KeyRing(ec.generate_private_key(ec.SECP256R1()))
    assert all(isinstance(item, Damage) for item in read_side_file(path, stranger))
    assert (files.written, files.dropped, faults) == (60, 0, [])


def test_every_cut_leaves_what_was_whole(tmp_path: Path) -> None:
    keys = ContentKeys([PRIVATE.public_key()])
    key, seal = keys.renew()
    frames = [record_frame(key, record(n)) for n in range(4)]
    whole = MAGIC + seal_frame(seal) + b"".join(frames)
    path = tmp_path / "x.side"
    counts = []
    for size in range(0, len(whole) + 1, 3):
        path.write_bytes(whole[:size])
        found = list(read_side_file(path, KeyRing(PRIVATE)))
        records = [item for item in found if isinstance(item, SideRecord)]
        assert records == [record(n) for n in range(len(records))]
        assert len(found) - len(records) <= 1
        counts.append(len(records))
    assert counts == sorted(counts)
    assert {*counts} >= {0, 1, 2, 3}


def test_every_flipped_bit_shows(tmp_path: Path) -> None:
    key, seal = ContentKeys([PRIVATE.public_key()]).renew()
    whole = MAGIC + seal_frame(seal) + record_frame(key, record(0)) + record_frame(key, record(1))
    path = tmp_path / "x.side"
    for at in range(len(MAGIC), len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        found = list(read_side_file(path, KeyRing(PRIVATE)))
        assert any(isinstance(item, Damage) for item in found), at
        assert all(item in (record(0), record(1)) for item in found if isinstance(item, SideRecord))


def test_a_record_that_was_taken_out_shows(tmp_path: Path) -> None:
    key, seal = ContentKeys([PRIVATE.public_key()]).renew()
    frames = [record_frame(key, record(n)) for n in range(3)]
    (tmp_path / "x.side").write_bytes(MAGIC + seal_frame(seal) + frames[0] + frames[2])
    first, damage, last = read(tmp_path)
    assert (first, last) == (record(0), record(2))
    assert isinstance(damage, Damage)
    assert "from 1 to 2" in damage.reason


def test_size_is_bounded_over_sessions_and_the_newest_is_kept(tmp_path: Path) -> None:
    faults = Faults()
    (tmp_path / "other.aa.000000.side").write_bytes(bytes(10**6))
    for session in range(4):
        files = writer(tmp_path, faults, limit=400_000)
        for number in range(40):
            files.write(record(1000 * session + number, 5000))
        files.close()
    mine = list(tmp_path.glob("control.*.side"))
    total = sum(path.stat().st_size for path in mine)
    assert 250_000 < total < 400_000 + 10_000
    assert any("was removed to stay under the limit" in fault for fault in faults)
    (tmp_path / "other.aa.000000.side").unlink()  # another stage's files are not touched
    kept = {item.made for item in read(tmp_path) if isinstance(item, SideRecord)}
    assert kept >= {*range(3000, 3040)}
    assert 0 not in kept


def test_a_full_disk_stops_nothing_and_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults()
    files = writer(tmp_path, faults)
    write, full, calls = os.write, [False], [0]

    def limited(descriptor: int, data: bytes | memoryview) -> int:
        calls[0] += full[0]
        if full[0] and calls[0] % 2 == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, bytes(data[:10]) if full[0] else data)  # a disk takes what fits, then nothing

    monkeypatch.setattr("og_ros.nodes.side_file_writer.os.write", limited)
    files.write(record(1))
    while files.written < 1:
        time.sleep(0.005)
    full[0] = True
    files.write(record(2))
    while files.dropped < 1:
        time.sleep(0.005)
    full[0] = False
    files.write(record(3))
    files.close()
    assert any("No space left" in fault for fault in faults)
    found = read(tmp_path)
    assert [item for item in found if isinstance(item, SideRecord)] == [record(1), record(3)]
    assert [item.reason for item in found if isinstance(item, Damage)] == [
        "the counter goes from 1 to 2: records are missing or moved"
    ]


def test_what_is_no_side_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no side file, and longer than the first line of one")
    for path in (tmp_path / "x", tmp_path / "none", tmp_path):
        with pytest.raises(DisclosureError):
            list(read_side_file(path, KeyRing(PRIVATE)))
    (tmp_path / "file").write_text("")
    with pytest.raises(DisclosureError, match="cannot make"):
        writer(tmp_path / "file" / "side", Faults())


KEY, SEAL = ContentKeys([PRIVATE.public_key()]).renew()
SAMPLE = MAGIC + seal_frame(SEAL) + record_frame(KEY, record(0)) + record_frame(KEY, record(1))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_the_reader_lets_no_other_error_out(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    damaged = bytearray(SAMPLE)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    path = tmp_path_factory.getbasetemp() / "fuzzed.side"
    path.write_bytes(damaged)
    try:
        for item in read_side_file(path, KeyRing(PRIVATE)):
            assert isinstance(item, Damage) or item in (record(0), record(1))
    except DisclosureError:
        pass
