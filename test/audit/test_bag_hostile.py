"""Recordings made to break their reader: each is refused in one line, in bounded time and memory."""

from __future__ import annotations

import os
import resource
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
import raw_bags
import yaml
from backports import zstd
from hostile_bags import HEADER, HOSTILE_DIRECTORY, HOSTILE_MCAP, HOSTILE_SQLITE, MESSAGES, described, ended
from raw_bags import Message, channel, chunk, record, text

from og_ros.audit.recording import decompression
from og_ros.audit.recording.bag import open_bag
from og_ros.errors import BagError


@pytest.mark.parametrize("name", HOSTILE_MCAP)
def test_hostile_mcap(name: str, tmp_path: Path) -> None:
    data, message = HOSTILE_MCAP[name]
    path = tmp_path / "bag.mcap"
    path.write_bytes(data)
    with pytest.raises(BagError) as caught, open_bag(tmp_path) as bag:
        list(bag.records())
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", HOSTILE_SQLITE)
def test_hostile_sqlite(name: str, tmp_path: Path) -> None:
    make, message = HOSTILE_SQLITE[name]
    path = tmp_path / "bag.db3"
    make(path)
    before = raw_bags.snapshot(tmp_path)
    began = time.monotonic()
    with pytest.raises(BagError) as caught, open_bag(tmp_path) as bag:
        list(bag.records())
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert time.monotonic() - began < 5
    assert raw_bags.snapshot(tmp_path) == before


def test_an_index_of_something_else_is_not_used(tmp_path: Path) -> None:
    """Partial, by expression, descending or by another column: reading by it would leave messages out."""
    path = tmp_path / "bag.db3"
    raw_bags.sqlite(path, MESSAGES, index=False)
    database = sqlite3.connect(path)
    database.execute("CREATE INDEX a ON messages(timestamp) WHERE timestamp < 3")
    database.execute("CREATE INDEX b ON messages(-timestamp)")
    database.execute("CREATE INDEX c ON messages(topic_id)")
    database.execute("CREATE INDEX d ON messages(timestamp DESC)")
    database.execute("CREATE INDEX e ON messages(timestamp, topic_id)")
    database.commit()
    database.close()
    with open_bag(path) as bag:
        assert [r.received_ns for r in bag.records()] == list(range(12))


@pytest.mark.parametrize("index", [False, True])
def test_a_b_tree_that_never_ends(index: bool, tmp_path: Path) -> None:
    """Six inner pages, each of whose entries lead to the next: 400^6 rows in a small file."""
    path = tmp_path / "bag.db3"
    raw_bags.sqlite(path, [Message("/a", n, bytes(40)) for n in range(30_000)], index=index)
    database = sqlite3.connect(path)
    ((root,),) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages'").fetchall()
    database.close()
    pages = bytearray(path.read_bytes())

    def place(number: int) -> int:
        return 4096 * (number - 1)

    inner = bytes(pages[place(root) : place(root) + 4096])
    entries = [struct.unpack_from(">H", inner, 12 + 2 * n)[0] for n in range(struct.unpack_from(">H", inner, 3)[0])]
    assert inner[0] == 5
    assert len(entries) > 100
    children = [struct.unpack_from(">I", inner, entry)[0] for entry in entries]
    chain = [root, *children[:5], children[5]]
    for page, child in pairwise(chain):
        pages[place(page) : place(page) + 4096] = inner
        for at in (8, *entries):
            struct.pack_into(">I", pages, place(page) + at, child)
    path.write_bytes(pages)
    began = time.monotonic()
    with (
        pytest.raises(BagError, match=r"bag\.db3 is damaged: its pages lead on without end"),
        open_bag(tmp_path) as bag,
    ):
        list(bag.records(["/a"]))
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("name", HOSTILE_DIRECTORY)
def test_hostile_directory(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, message = HOSTILE_DIRECTORY[name]
    monkeypatch.setattr(decompression, "FREE_EXPANSION", 2_000_000 if name == "messages that are bombs" else 100_000)
    directory = tmp_path / "bag"
    directory.mkdir()
    make(directory)
    with pytest.raises(BagError) as caught, open_bag(directory) as bag:
        list(bag.records())
    assert message in str(caught.value)
    assert "bag" in str(caught.value)


def test_what_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n" + bytes(99))
    os.mkfifo(tmp_path / "pipe.mcap")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "letter.txt").write_text("Dear auditor")
    raw_bags.metadata(tmp_path, "mcap", ["bag.mcap"], MESSAGES)
    (tmp_path / "stranger.mcap").write_bytes(raw_bags.mcap(MESSAGES))
    for name, message in (
        ("old.bag", "is a ROS 1 bag"),
        ("pipe.mcap", "is no recording"),
        ("loop", "cannot read|is no recording"),
        ("letter.txt", "is no recording"),
        ("nothing", "there is no recording"),
        ("stranger.mcap", "is no file of the recording beside it"),
        ("a\0b", "cannot read|there is no recording"),
    ):
        with pytest.raises(BagError, match=message), open_bag(tmp_path / name):
            pass
    with pytest.raises(BagError, match="no recording"), open_bag(Path("/dev/zero")):
        pass


@pytest.mark.parametrize("victim", ["bag.mcap", "metadata.yaml", "."])
def test_what_may_not_be_read(victim: str, tmp_path: Path) -> None:
    """In a child that is nobody, where the tests run as root, who may read everything."""
    directory = tmp_path / "bag"
    directory.mkdir()
    described()(directory)
    for parent in (directory, *directory.parents):
        if not parent.stat().st_mode & 1:
            parent.chmod(0o755)
        if parent.name.startswith("pytest-of"):
            break
    (directory / victim).chmod(0)
    child = os.fork()
    if child == 0:
        code = 9
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            with open_bag(directory):
                code = 8
        except BagError as error:
            code = 0 if "ermission denied" in str(error) else 7
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    (directory / victim).chmod(0o700)


def test_memory_is_bounded(tmp_path: Path) -> None:
    """A kilobyte that says it is a gigabyte takes no gigabyte; the limit is the kernel's."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bag.mcap").write_bytes(ended(HEADER + chunk(bytes(2**30), 0, 0, "zstd", size=2**20)))
    (tmp_path / "b").mkdir()
    packed = zstd.compress(bytes(2**30))
    (tmp_path / "b" / "bag.mcap").write_bytes(raw_bags.mcap([Message("/a", 1, packed)]))
    raw_bags.metadata(tmp_path / "b", "mcap", ["bag.mcap"], MESSAGES, compression="message")
    program = """
import resource, sys
from pathlib import Path
from og_ros.audit.recording.bag import open_bag
from og_ros.errors import BagError
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
for name in "ab":
    try:
        with open_bag(Path(sys.argv[2], name)) as bag:
            list(bag.records())
    except BagError as error:
        print(error)
"""
    limit = str(700 * 2**20)
    shown = subprocess.run([sys.executable, "-c", program, limit, str(tmp_path)], capture_output=True, text=True)
    assert shown.stderr == ""
    assert shown.stdout.count("larger than the") == 2
    assert shown.stdout.count("\n") == 2


def test_nothing_hangs_on_a_pipe_that_appears(tmp_path: Path) -> None:
    """The check is made without opening what could wait for ever."""
    os.mkfifo(tmp_path / "bag.db3")
    done = threading.Event()

    def look() -> None:
        with pytest.raises(BagError), open_bag(tmp_path):
            pass
        done.set()

    threading.Thread(target=look, daemon=True).start()
    assert done.wait(5)


def test_open_files_are_not_used_up(tmp_path: Path) -> None:
    """A recording of many files needs no more handles than one."""
    for number in range(300):
        (tmp_path / f"bag_{number}.mcap").write_bytes(raw_bags.mcap([Message("/a", 5)]))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(200, hard), hard))
    try:
        with open_bag(tmp_path) as bag:
            assert len(list(bag.records())) == 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("version", range(1, 10))
def test_every_version_of_the_metadata(version: int, tmp_path: Path) -> None:
    """As Dashing to Kilted wrote them; old ones put the directory in front, new ones write profiles as a list."""
    (tmp_path / "bag_0.db3").parent.mkdir(exist_ok=True)
    raw_bags.sqlite(tmp_path / "bag_0.db3", MESSAGES)
    profiles: object = raw_bags.PROFILES if version < 9 else [{"durability": "transient_local", "history": "keep_last"}]
    kind = {"name": "/a", "type": "std_msgs/msg/String", "serialization_format": "cdr"}
    if version >= 4:
        kind["offered_qos_profiles"] = profiles
    raw_bags.metadata(
        tmp_path, "sqlite3", ["bag/bag_0.db3" if version < 4 else "bag_0.db3"], MESSAGES, version=version,
        topics_with_message_count=[{"topic_metadata": kind, "message_count": 12}],
        **({"compression_mode": None, "compression_format": None} if version < 3 else {}),
    )  # fmt: skip
    with open_bag(tmp_path) as bag:
        assert len(list(bag.records())) == 12
        assert bag.findings == []
        assert bag.topics["/a"].latched is (version >= 4)


def test_definitions_tell_a_header_and_do_not_redefine_ros(tmp_path: Path) -> None:
    messages = [Message(f"/{n}", n) for n in range(8)]
    definitions = [
        ("our_msgs/msg/Own", "# a comment\n\nint32 LIMIT=5\nstd_msgs/Header header\nint32 x\n", "ros2msg", True),
        ("our_msgs/msg/Own2", "int32 x\nstd_msgs/Header header\n", "ros2msg", False),
        ("our_msgs/msg/Own3", "", "ros2msg", False),
        ("sensor_msgs/msg/Image", "int32 x\n", "ros2msg", True),
        ("our_msgs/msg/Own4", "module a { struct Own4 {\n // first\n @verbatim (language=\"comment\", text=\"a (b)\")\n"
         " std_msgs::msg::Header header; }; };", "ros2idl", True),
        ("our_msgs/msg/Own5", "struct Own5 { int32 x; };", "ros2idl", False),
        ("our_msgs/msg/Own6", "=====\nMSG: std_msgs/Header\nHeader header\n", "ros2msg", False),
        ("our_msgs/msg/Own7", "(" * 100_000, "ros2idl", False),
    ]  # fmt: skip
    data = HEADER
    for n, (kind, definition, language, _) in enumerate(definitions):
        head = struct.pack("<H", n + 1) + text(kind) + text(language) + text(definition)
        data += record(3, head) + channel(n + 1, messages[n].topic, n + 1) + raw_bags.message(n + 1, n, b"\0\1\0\0")
    (tmp_path / "bag.mcap").write_bytes(ended(data))
    with open_bag(tmp_path) as bag:
        assert [bag.topics[f"/{n}"].stamped for n in range(8)] == [stamped for *_, stamped in definitions]


def test_metadata_of_rosbag2_are_read_as_yaml_reads_them(tmp_path: Path) -> None:
    """The strict reading agrees with the usual one on real text."""
    described()(tmp_path)
    tree = yaml.safe_load((tmp_path / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    with open_bag(tmp_path) as bag:
        assert bag.count == tree["message_count"]


@pytest.mark.parametrize("name", ["a%41b", "a?mode=rwc", "a#b", "a b\n", "ü", "a\udcff"])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_any_directory_name(name: str, storage: str, tmp_path: Path) -> None:
    """The name of a SQLite file is a part of a URI, and not of its query."""
    directory = tmp_path / name
    directory.mkdir()
    if storage == "mcap":
        (directory / "bag.mcap").write_bytes(raw_bags.mcap(MESSAGES))
    else:
        raw_bags.sqlite(directory / "bag.db3", MESSAGES)
    with open_bag(directory) as bag:
        assert len(list(bag.records())) == len(MESSAGES)
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]
