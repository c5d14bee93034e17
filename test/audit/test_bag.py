"""Reading recordings: sqlite3, MCAP, compressed; a damaged one ends in one clear error, whatever is broken."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from scenario import honest_run

from og_ros.audit.recording.bag import open_bag
from og_ros.audit.run import audit_bag
from og_ros.errors import OgError
from og_ros.registry import Registry


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bags")
    run = honest_run(6)
    run.write_registry(directory / "registry")
    run.write_bag(directory / "mcap")
    run.write_bag(directory / "sqlite", StoragePlugin.SQLITE3)
    return directory


@pytest.mark.parametrize("storage", ["mcap", "sqlite"])
def test_records_come_in_order_with_their_types(bags: Path, storage: str) -> None:
    with open_bag(bags / storage) as bag:
        records = list(bag.records())
        assert len(records) == bag.count == 54
        assert [r.received_ns for r in records] == sorted(r.received_ns for r in records)
        assert bag.topics["/camera/image"].stamped is True
        assert bag.topics["/wheel_command"].stamped is False
        assert (records[0].received_ns, records[-1].received_ns) == (bag.start_ns, bag.end_ns)
        assert [r.topic for r in bag.records(["/scan"])] == ["/scan"] * 6


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE, CompressionMode.STORAGE])
def test_zstd_recordings_are_read(bags: Path, mode: CompressionMode, tmp_path: Path) -> None:
    storage = StoragePlugin.MCAP if mode is CompressionMode.STORAGE else StoragePlugin.SQLITE3
    with open_bag(bags / "mcap") as bag, Reader(bags / "mcap") as reader:
        writer = Writer(tmp_path / "zstd", version=8, storage_plugin=storage)
        writer.set_compression(mode, CompressionFormat.ZSTD)
        with writer:
            connections = {
                c.topic: writer.add_connection(
                    c.topic, c.msgtype, msgdef=c.msgdef.data, rihs01=c.digest, serialization_format="cdr"
                )
                for c in reader.connections
            }
            for record in bag.records():
                writer.write(connections[record.topic], record.received_ns, record.payload)
    report = audit_bag(tmp_path / "zstd", Registry.open(bags / "registry"))
    assert report.as_json()["holds"] is True


@pytest.mark.parametrize("storage", ["mcap", "sqlite"])
@pytest.mark.parametrize("seed", range(25))
def test_damage_is_an_error_or_a_finding_and_never_a_pass(bags: Path, storage: str, seed: int, tmp_path: Path) -> None:
    """Random bytes overwritten, cut off or doubled; what cannot be read is an OgError, and nothing else escapes."""
    rng = random.Random(seed)
    shutil.copytree(bags / storage, tmp_path / "bag")
    victim = rng.choice(sorted((tmp_path / "bag").iterdir()))
    data = bytearray(victim.read_bytes())
    at = rng.randrange(len(data))
    kind = rng.choice(["overwrite", "cut", "insert"])
    if kind == "overwrite":
        for _ in range(rng.randrange(1, 40)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == "cut":
        del data[at:]
    else:
        data[at:at] = rng.randbytes(rng.randrange(1, 50))
    victim.write_bytes(data)
    try:
        report = audit_bag(tmp_path / "bag", Registry.open(bags / "registry"))
    except OgError:
        return
    if report.as_json()["holds"]:
        # The damage hit nothing that any record rests on: all of it is still there.
        assert report.auditor.tally.linked == 6
