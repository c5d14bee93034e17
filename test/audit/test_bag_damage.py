"""Recordings that were cut off or not closed: what is left can be audited, and what is missing is a finding."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest
import raw_bags
from raw_bags import Message
from rosbags.rosbag2 import StoragePlugin
from scenario import Run, honest_run

from og_ros.audit.recording.bag import open_bag
from og_ros.audit.run import audit_bag
from og_ros.errors import BagError

MESSAGES = [Message("/a" if n % 3 else "/b", 10 * n, b"\0\1\0\0" + bytes([n]) * n) for n in range(40)]


def read(path: Path) -> tuple[list[tuple[str, int, bytes]], set[str]]:
    with open_bag(path) as bag:
        return [(r.topic, r.received_ns, bytes(r.payload)) for r in bag.records()], {f.kind for f in bag.findings}


@pytest.fixture(scope="module")
def run() -> Run:
    return honest_run(6)


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize(
    "options",
    [{"per_chunk": 3}, {"per_chunk": 0}, {"compression": "zstd"}, {"compression": "lz4"}, {"summary": False}],
    ids=str,
)
def test_a_file_cut_at_any_byte(options: dict[str, object], described: bool, tmp_path: Path) -> None:
    """Whole chunks before the cut are read, in order, and nothing else; the cut is told, or there is no header."""
    data = raw_bags.mcap(MESSAGES, **options)  # type: ignore[arg-type]
    if described:
        raw_bags.metadata(tmp_path, "mcap", ["bag.mcap"], MESSAGES)
    whole = [(m.topic, m.time, m.payload) for m in MESSAGES]
    longest = 0
    places = sorted({*range(0, len(data), 31), *range(60), *range(len(data) - 60, len(data), 5)})
    for cut in places:
        (tmp_path / "bag.mcap").write_bytes(data[:cut])
        if cut < 33:  # magic and header
            with pytest.raises(BagError, match=r"bag\.mcap"):
                read(tmp_path)
            continue
        found, kinds = read(tmp_path)
        assert "recording_incomplete" in kinds
        assert found == whole[: len(found)]
        assert len(found) >= longest
        longest = len(found)
    assert longest == len(whole)
    (tmp_path / "bag.mcap").write_bytes(data)
    assert read(tmp_path) == (whole, set() if described else {"metadata_missing"})


def test_the_end_of_a_file_that_lost_power(tmp_path: Path) -> None:
    """Blocks at the end of the file may be zero: within a chunk, or behind the last one."""
    data = raw_bags.mcap(MESSAGES, per_chunk=4, compression="zstd")
    last = data.rindex(b"\x06", 0, data.rindex(b"\x0f\x04"))
    for cut in (last + 60, last + 100):
        (tmp_path / "bag.mcap").write_bytes(data[:cut] + bytes(4096))
        found, kinds = read(tmp_path)
        assert kinds == {"metadata_missing", "recording_incomplete"}
        assert 30 <= len(found) < len(MESSAGES)


def test_a_whole_file_with_a_broken_length_is_damaged_and_not_cut(tmp_path: Path) -> None:
    """The end of the file is there, so a record that runs past it was changed: nothing is left out silently."""
    data = bytearray(raw_bags.mcap(MESSAGES))
    at = data.index(b"\x06")
    data[at + 1 : at + 9] = (2**63).to_bytes(8, "little")
    (tmp_path / "bag.mcap").write_bytes(data)
    with pytest.raises(BagError, match=r"bag\.mcap is damaged near byte \d+: a record runs past its end"):
        read(tmp_path)


def test_an_index_that_leaves_out_a_topic(tmp_path: Path) -> None:
    """The summary is not believed: what it hides is in the chunks."""
    hidden = [Message("/hidden", 5), *MESSAGES]
    data = raw_bags.mcap(hidden)
    start = data.index(b"\x0f\x04\0\0\0\0\0\0\0\0\0\0\0") + 13
    shown = [m for m in hidden if m.topic != "/hidden"]
    honest = raw_bags.mcap(shown)
    index = honest[honest.index(b"\x0f\x04\0\0\0\0\0\0\0\0\0\0\0") + 13 :]
    (tmp_path / "bag.mcap").write_bytes(data[:start] + index[:-28] + start.to_bytes(8, "little") + index[-20:])
    with pytest.raises(BagError, match="contradicts itself"):
        read(tmp_path)


def test_a_write_ahead_log_is_read_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "bag.db3"
    raw_bags.sqlite(path, MESSAGES[:20])
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA wal_autocheckpoint = 0")
    for m in MESSAGES[20:]:
        topic = ["/b", "/a"].index(m.topic) + 1
        writer.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", (topic, m.time, m.payload))
    writer.commit()
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    for name in ("bag.db3", "bag.db3-wal"):
        shutil.copy(tmp_path / name, evidence / name)
    writer.close()
    before = raw_bags.snapshot(evidence)
    found, kinds = read(evidence)
    assert found == [(m.topic, m.time, m.payload) for m in MESSAGES]
    assert kinds == {"metadata_missing", "recording_not_closed"}
    assert raw_bags.snapshot(evidence) == before
    # Without its log, the file is whole and older: the metadata tell.
    (evidence / "bag.db3-wal").unlink()
    raw_bags.metadata(evidence, "sqlite3", ["bag.db3"], MESSAGES)
    assert len(read(evidence)[0]) == 20


def test_a_rollback_journal_is_not_played_back(tmp_path: Path) -> None:
    """Such a journal names files that SQLite would delete."""
    raw_bags.sqlite(tmp_path / "bag.db3", MESSAGES)
    (tmp_path / "bag.db3-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    with pytest.raises(BagError, match="was not closed"):
        read(tmp_path)


@pytest.mark.parametrize("seed", range(30))
def test_a_torn_page(seed: int, run: Run, tmp_path: Path) -> None:
    """A page of zeros, of another page, or of noise: an error that names the file, or all messages are still there."""
    rng = random.Random(seed)
    run.write_bag(tmp_path / "bag", StoragePlugin.SQLITE3)
    path = tmp_path / "bag" / "bag.db3"
    pages = bytearray(path.read_bytes())
    at = rng.randrange(0, len(pages), 4096)
    other = rng.randrange(0, len(pages), 4096)
    pages[at : at + 4096] = [bytes(4096), bytes(pages[other : other + 4096]), rng.randbytes(4096)][seed % 3]
    path.write_bytes(pages)
    before = raw_bags.snapshot(tmp_path / "bag")
    try:
        found, _ = read(tmp_path / "bag")
    except BagError as error:
        if str(path) not in str(error):
            raise
    else:
        if len(found) < len(run.records):
            assert "recording_incomplete" in audit_bag(tmp_path / "bag").as_json()["finding_counts"]
    assert raw_bags.snapshot(tmp_path / "bag") == before


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_metadata_can_be_missing(storage: StoragePlugin, run: Run, tmp_path: Path) -> None:
    run.write_bag(tmp_path / "bag", storage)
    with open_bag(tmp_path / "bag") as bag:
        said = bag.topics
    (tmp_path / "bag" / "metadata.yaml").unlink()
    found, kinds = read(tmp_path / "bag")
    assert kinds == {"metadata_missing"}
    assert sorted(f[1] for f in found) == sorted(r.received_ns for r in run.records)
    with open_bag(tmp_path / "bag") as bag:
        assert bag.topics == said
    with open_bag(next((tmp_path / "bag").iterdir())) as bag:
        assert bag.topics == said


def test_metadata_that_lie(tmp_path: Path) -> None:
    """What they say of times is not used; other topics, other types, more messages and more files are findings."""
    (tmp_path / "bag.mcap").write_bytes(raw_bags.mcap(MESSAGES))
    (tmp_path / "other.mcap").write_bytes(raw_bags.mcap(MESSAGES))
    told = [*(m for m in MESSAGES if m.topic == "/a"), Message("/c", 1)]
    raw_bags.metadata(
        tmp_path, "mcap", ["bag.mcap"], told, types={"/a": "std_msgs/msg/Header"},
        duration={"nanoseconds": "soon"}, starting_time=None, message_count=-5,
    )  # fmt: skip
    with open_bag(tmp_path) as bag:
        assert (bag.start_ns, bag.end_ns) == (0, 390)
        assert bag.topics["/a"].type == "std_msgs/msg/String"
        assert (bag.topics["/b"].count, bag.topics["/c"].count) == (14, 1)
        assert len(list(bag.records())) == 40
        texts = " | ".join(f"{f.kind} {f.message}" for f in bag.findings)
    for expected in (
        "metadata_disagrees " + str(tmp_path / "other.mcap") + " is not in metadata.yaml",
        "/a is std_msgs/msg/String; metadata.yaml says 'std_msgs/msg/Header'",
        "leaves out the recorded topic /b",
        "recording_incomplete " + str(tmp_path) + ": metadata.yaml says 1 messages on '/c'",
    ):
        assert expected in texts


def test_a_topic_of_two_types(tmp_path: Path) -> None:
    """A second type does not hide attestations that were recorded under the same name."""
    types = ["std_msgs/msg/String", "og_ros/msg/Attestation"]
    for number, kind in enumerate(types):
        path = tmp_path / f"bag_{number}.mcap"
        path.write_bytes(raw_bags.mcap([Message("/a", number)], types={"/a": kind}))
    with open_bag(tmp_path) as bag:
        assert bag.topics["/a"].type == "og_ros/msg/Attestation"
        assert [r.type for r in bag.records(["/a"])] == types
        assert "metadata_disagrees" in {f.kind for f in bag.findings}
