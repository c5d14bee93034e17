"""The order of a recording: slices of time give together exactly the whole, however it is stored."""

from __future__ import annotations

import shutil
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
import raw_bags
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_bags import Message
from rosbags.rosbag2 import Reader

from og_ros.audit.recording import bag_files, decompression, time_order
from og_ros.audit.recording.bag import Bag, open_bag
from og_ros.errors import BagError

TOPICS = ("/a", "/b", "/c")
# Few times, so that many messages share one; out of order, as after a step of the clock.
MESSAGES = st.lists(st.tuples(st.sampled_from(TOPICS), st.integers(0, 12)), max_size=30)
LAYOUTS = ["chunks", "zstd", "lz4", "no chunks", "no summary", "sqlite", "sqlite without index", "file", "message"]


def write(directory: Path, layout: str, parts: list[list[Message]], described: bool) -> None:
    storage = "sqlite3" if layout.startswith("sqlite") or layout == "file" else "mcap"
    names = []
    for number, part in enumerate(parts):
        name = f"bag_{number}.{'db3' if storage == 'sqlite3' else 'mcap'}"
        path = directory / name
        if storage == "sqlite3":
            raw_bags.sqlite(path, part, index=layout != "sqlite without index")
        else:
            stored = [Message(m.topic, m.time, zstd.compress(m.payload)) for m in part] if layout == "message" else part
            compression = layout if layout in ("zstd", "lz4") else ""
            options = {"per_chunk": 0 if layout == "no chunks" else 3, "summary": layout != "no summary"}
            path.write_bytes(raw_bags.mcap(stored, compression=compression, **options))
        if layout == "file":
            path.with_name(name + ".zstd").write_bytes(zstd.compress(path.read_bytes()))
            path.unlink()
            name += ".zstd"
        names.append(name)
    if described:
        compression = layout if layout in ("file", "message") else ""
        whole = [m for part in parts for m in part]
        raw_bags.metadata(directory, storage, names, whole, compression=compression)


def shown(bag: Bag, *args: object) -> list[tuple[str, int, bytes]]:
    return [(r.topic, r.received_ns, bytes(r.payload)) for r in bag.records(*args)]


@settings(max_examples=60, deadline=None)
@given(
    layout=st.sampled_from(LAYOUTS),
    parts=st.lists(MESSAGES, min_size=1, max_size=3),
    cuts=st.lists(st.integers(-1, 14), max_size=5),
    topics=st.sets(st.sampled_from(TOPICS)),
    described=st.booleans(),
)
def test_slices_give_the_whole(
    layout: str,
    parts: list[list[tuple[str, int]]],
    cuts: list[int],
    topics: set[str],
    described: bool,
) -> None:
    number = iter(range(1000))
    made = [[Message(t, at, b"\0\1\0\0%d" % next(number)) for t, at in part] for part in parts]
    # By time; where it is the same, by file, and then by place in the file.
    expected = sorted(((m.topic, m.time, m.payload) for part in made for m in part), key=lambda m: m[1])
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write(directory, layout, made, described)
        before = raw_bags.snapshot(directory)
        with open_bag(directory) as bag:
            assert shown(bag) == expected
            assert bag.count == len(expected)
            assert (bag.start_ns, bag.end_ns) == ((expected[0][1], expected[-1][1]) if expected else (0, 0))
            bounds = [None, *sorted(cuts), None]
            slices = [shown(bag, topics, start, stop) for start, stop in pairwise(bounds)]
            assert [m for part in slices for m in part] == [m for m in expected if m[0] in topics]
            with open_bag(directory, bag.unpacked) as again:
                assert shown(again) == expected
            said = {finding.kind for finding in bag.findings}
            assert said == (set() if described else {"metadata_missing"})
        assert raw_bags.snapshot(directory) == before


@pytest.mark.parametrize("layout", ["chunks", "zstd", "lz4", "sqlite", "file", "message"])
def test_the_same_messages_as_rosbags_reads(layout: str, tmp_path: Path) -> None:
    parts = [[Message(TOPICS[n % 3], 1000 * part + n, b"\0\1\0\0%d" % n) for n in range(50)] for part in range(3)]
    write(tmp_path, layout, parts, described=True)
    with Reader(tmp_path) as reader, open_bag(tmp_path) as bag:
        assert shown(bag) == [(c.topic, t, bytes(data)) for c, t, data in reader.messages()]


@pytest.mark.parametrize("layout", ["chunks", "lz4", "sqlite", "message"])
def test_cuts_give_slices_of_the_size_that_was_asked_for(layout: str, tmp_path: Path) -> None:
    """However uneven in time: a burst, a quiet hour, and a message from a wrong clock."""
    times = [*range(0, 2000, 2), *range(10**12, 10**12 + 1000), 2**61]
    parts = [[Message(TOPICS[n % 3], time, b"\0\1\0\0" + bytes(60)) for n, time in enumerate(times[begin::2])]
             for begin in (0, 1)]  # fmt: skip
    write(tmp_path, layout, parts, described=True)
    with open_bag(tmp_path) as bag:
        cuts = bag.cuts([0.25, *[1.0] * 9])
        assert len(cuts) == 9
        assert cuts == sorted(set(cuts))
        sizes = [len(shown(bag, None, *bounds)) for bounds in pairwise([None, *cuts, None])]
        assert sum(sizes) == len(times)
        assert 20 <= sizes[0] <= 120
        assert all(100 <= size <= 330 for size in sizes[1:])
        assert bag.cuts([1.0]) == []
        assert len(bag.cuts([1.0] * 5000)) < 5000


def test_a_compressed_file_is_decompressed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "file", [[Message("/a", n) for n in range(9)]], described=True)
    calls = []
    unpack = decompression.file
    monkeypatch.setattr(decompression, "file", lambda *paths: (calls.append(paths), unpack(*paths)))
    with open_bag(tmp_path) as bag:
        for start in range(9):
            with open_bag(tmp_path, bag.unpacked) as part:
                assert len(shown(part, None, start, start + 1)) == 1
        kept = bag.unpacked
    assert len(calls) == 1
    assert not kept.exists()


def test_only_what_overlaps_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every chunk overlaps the next, as with a little jitter; that is no reason to hold all of them."""
    payload = b"\0\1\0\0" + bytes(10_000)
    messages = [Message("/a", time, payload) for n in range(100) for time in (10 * n, 10 * n + 15)]
    (tmp_path / "bag.mcap").write_bytes(raw_bags.mcap(messages, per_chunk=2))
    monkeypatch.setattr(time_order, "MAX_LOADED", 100_000)
    with open_bag(tmp_path) as bag:
        assert [m[1] for m in shown(bag)] == sorted(m.time for m in messages)
    wide = [Message("/a", time, payload) for n in range(20) for time in (n, 1000 + n)]
    (tmp_path / "bag.mcap").write_bytes(raw_bags.mcap(wide, per_chunk=2))
    with open_bag(tmp_path) as bag, pytest.raises(BagError, match="side by side in time"):
        shown(bag)


def test_splits_are_read_by_their_number(tmp_path: Path) -> None:
    for number in (10, 9, 2):
        (tmp_path / f"bag_{number}.mcap").write_bytes(raw_bags.mcap([Message("/a", 5, b"\0\1\0\0%d" % number)]))
    found = bag_files.find(tmp_path)
    assert [path.name for path in found.files] == ["bag_2.mcap", "bag_9.mcap", "bag_10.mcap"]
    shutil.copy(tmp_path / "bag_2.mcap", tmp_path / "bag_11.mcap")
    assert bag_files.find(tmp_path).files[-1].name == "bag_11.mcap"


@pytest.mark.parametrize("name", ["gazebo_walker", "ros2_selfdriving_test_bag", "spot_raw"])
def test_recordings_of_others_as_rosbags_reads_them(name: str) -> None:
    path = Path(__file__).resolve().parents[3] / "shared" / "data" / "bags" / name
    if not path.is_dir():
        pytest.skip("the third-party recordings (../shared/data) are not here")
    with Reader(path) as reader, open_bag(path) as bag:
        assert shown(bag) == [(c.topic, t, bytes(data)) for c, t, data in reader.messages()]
        assert bag.findings == []
        assert (bag.count, bag.start_ns, bag.end_ns + 1) == (reader.message_count, reader.start_time, reader.end_time)
