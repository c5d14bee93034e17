"""Recordings as `ros2 bag record` leaves them: split, compressed in each way, of Jazzy and of Humble."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from bag_writer import typestore
from filled import payload
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores
from scenario import Run, honest_run

from og_ros.audit.recording.bag import open_bag
from og_ros.audit.records import Record
from og_ros.audit.run import audit_bag
from og_ros.errors import BagError
from og_ros.registry import Registry

FOREVER = QosTime(9223372036, 854775807)  # as rmw's "infinite" is written
RELIABLE = Qos(
    QosHistory.UNKNOWN, 0, QosReliability.RELIABLE, QosDurability.VOLATILE, FOREVER, FOREVER, QosLiveliness.AUTOMATIC,
    FOREVER, False,
)  # fmt: skip
RANGE = "sensor_msgs/msg/Range"


@pytest.fixture(scope="module")
def run() -> Run:
    return honest_run(12)


@pytest.fixture(scope="module")
def registry(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    path = tmp_path_factory.mktemp("registry") / "registry"
    run.write_registry(path)
    return Registry.open(path)


def record(
    folder: Path,
    parts: Sequence[Iterable[Record]],
    *,
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
    distribution: Stores = Stores.ROS2_JAZZY,
) -> Path:
    """Write one file a part, NAME_0 and so on, and the metadata that rosbag2 writes over all of them."""
    folder.mkdir()
    whole: dict[str, object] = {}
    files: list[dict[str, object]] = []
    names: list[str] = []
    counts: dict[str, int] = {}
    for number, part in enumerate(parts):
        piece = folder.parent / f"{folder.name}_piece_{number}"
        writer = Writer(piece, version=8, storage_plugin=storage)
        if compression is not CompressionMode.NONE:
            writer.set_compression(compression, CompressionFormat.ZSTD)
        with writer:
            connections = {}
            for entry in part:
                if entry.topic not in connections:
                    connections[entry.topic] = writer.add_connection(
                        entry.topic, entry.type, typestore=typestore(distribution), offered_qos_profiles=[RELIABLE]
                    )
                writer.write(connections[entry.topic], entry.received_ns, entry.payload)
        information = yaml.safe_load((piece / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
        (old,) = information["relative_file_paths"]
        names.append(old.replace(f"{piece.name}", f"{folder.name}_{number}"))
        shutil.move(piece / old, folder / names[-1])
        # rosbag2 names a compressed file without its ending here.
        files.append(
            {
                "path": names[-1].removesuffix(".zstd"),
                "starting_time": information["starting_time"],
                "duration": information["duration"],
                "message_count": information["message_count"],
            }
        )
        for topic in information["topics_with_message_count"]:
            name = topic["topic_metadata"]["name"]
            counts[name] = counts.get(name, 0) + topic["message_count"]
        whole = whole or information
        known = {topic["topic_metadata"]["name"] for topic in whole["topics_with_message_count"]}
        whole["topics_with_message_count"] += [
            topic for topic in information["topics_with_message_count"] if topic["topic_metadata"]["name"] not in known
        ]
    for topic in whole["topics_with_message_count"]:
        topic["message_count"] = counts[topic["topic_metadata"]["name"]]
    begins = min(f["starting_time"]["nanoseconds_since_epoch"] for f in files)
    ends = max(f["starting_time"]["nanoseconds_since_epoch"] + f["duration"]["nanoseconds"] for f in files)
    whole |= {
        "relative_file_paths": names,
        "files": files,
        "message_count": sum(counts.values()),
        "starting_time": {"nanoseconds_since_epoch": begins},
        "duration": {"nanoseconds": ends - begins},
    }
    (folder / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": whole}, sort_keys=False))
    return folder


def split(records: Sequence[Record], count: int) -> list[Sequence[Record]]:
    ends = [len(records) * n // count for n in range(count + 1)]
    return [records[begin:end] for begin, end in pairwise(ends)]


def figures(report: object) -> tuple[object, ...]:
    told = report.as_json()  # type: ignore[attr-defined]
    counts = (told[name] for name in ("messages", "attestations", "decisions", "linked"))
    return told["holds"], told["findings"], *counts


@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        (StoragePlugin.MCAP, CompressionMode.NONE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),  # --storage-preset-profile zstd_fast
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),  # --compression-mode message --compression-format zstd
        (StoragePlugin.MCAP, CompressionMode.FILE),
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
    ],
)
def test_a_split_recording_is_one_recording(
    run: Run, registry: Registry, tmp_path: Path, storage: StoragePlugin, compression: CompressionMode
) -> None:
    whole = audit_bag(run.write_bag(tmp_path / "whole"), registry)
    parts = record(tmp_path / "parts", split(run.records, 3), storage=storage, compression=compression)
    assert len([path for path in parts.iterdir() if path.name != "metadata.yaml"]) == 3
    report = audit_bag(parts, registry)
    assert figures(report) == figures(whole)
    assert report.as_json()["holds"] is True


def test_a_lost_part_is_missed(run: Run, registry: Registry, tmp_path: Path) -> None:
    bag = record(tmp_path / "parts", split(run.records, 3), compression=CompressionMode.STORAGE)
    (bag / "parts_1.mcap").unlink()
    with pytest.raises(BagError, match=r"parts_1\.mcap is missing"):
        audit_bag(bag, registry)


def as_humble(bag: Path) -> None:
    """Turn a recording into one of Humble: metadata version 5, no type hashes, no definitions in the database."""
    path = bag / "metadata.yaml"
    metadata = yaml.safe_load(path.read_text())
    information = metadata["rosbag2_bagfile_information"]
    information["version"] = 5
    for name in ("custom_data", "ros_distro"):
        information.pop(name, None)
    for topic in information["topics_with_message_count"]:
        topic["topic_metadata"].pop("type_description_hash", None)
        profiles = topic["topic_metadata"]["offered_qos_profiles"]
        if not isinstance(profiles, str):  # numbers in a string, before version 9
            topic["topic_metadata"]["offered_qos_profiles"] = yaml.safe_dump(profiles)
    path.write_text(yaml.safe_dump(metadata, sort_keys=False))
    for file in bag.glob("*.db3"):
        database = sqlite3.connect(file)
        database.execute("DROP TABLE message_definitions")
        database.execute("ALTER TABLE topics DROP COLUMN type_description_hash")
        database.execute("UPDATE schema SET schema_version = 3")
        database.commit()
        database.close()


def test_a_recording_of_humble_is_audited(run: Run, registry: Registry, tmp_path: Path) -> None:
    """Its types have no hash, and may have another definition than Jazzy's; the digests are of the bytes."""
    older, newer = (payload(RANGE, store) for store in (Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY))
    assert len(older) < len(newer)  # Jazzy's Range has a variance
    ranges = [replace(r, topic="/range", type=RANGE, payload=older) for r in run.records if r.topic == "/scan"]
    records = sorted([*run.records, *ranges], key=lambda r: r.received_ns)
    bag = record(
        tmp_path / "humble", split(records, 2), storage=StoragePlugin.SQLITE3, distribution=Stores.ROS2_HUMBLE
    )
    as_humble(bag)
    with open_bag(bag) as opened:
        assert [bytes(r.payload) for r in opened.records(["/range"])] == [older] * len(ranges)
        assert opened.topics["/range"].stamped is True
    report = audit_bag(bag, registry)
    whole = audit_bag(run.write_bag(tmp_path / "whole"), registry)
    told, expected = figures(report), figures(whole)
    assert told[:2] == expected[:2]
    assert told[3:] == expected[3:]
    assert told[0] is True
