"""An honest three-stage run made with real signers, written as a rosbag2, and handles for an attacker to change it."""

from __future__ import annotations

import dataclasses
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from og_ros.attest import (
    ATTESTATION_TYPE,
    Algorithm,
    Attestation,
    Clock,
    DataReference,
    ModelReference,
    Runtime,
    Session,
    SoftwareSigner,
    cose,
    digest,
    encode_attestation,
    keys,
)
from og_ros.attest.digest import covered_size
from og_ros.audit.records import Record
from og_ros.log import Ledger
from og_ros.registry import RegistryWriter

MESSAGES = Path(__file__).resolve().parents[2] / "msg"
MS = 1_000_000
STAGES = {
    # stage: inputs, output
    "perception": (("/camera/image",), "/perception/line"),
    "planning": (("/perception/line", "/scan"), "/planning/reference"),
    "control": (("/planning/reference", "/odom"), "/wheel_command"),
}
TYPES = {
    "/camera/image": "sensor_msgs/msg/Image",
    "/scan": "sensor_msgs/msg/LaserScan",
    "/odom": "nav_msgs/msg/Odometry",
    "/perception/line": "std_msgs/msg/Float32MultiArray",
    "/planning/reference": "geometry_msgs/msg/TwistStamped",
    "/wheel_command": "std_msgs/msg/Float32MultiArray",
}
STAMPED = {"/camera/image", "/scan", "/odom", "/planning/reference"}
MODELS = {stage: digest(b"\0\1\0\0" + stage.encode()) for stage in STAGES}


def payload(topic: str, stamp_ns: int, value: int) -> bytes:
    """Return CDR-shaped bytes of a message that is unique to its value; the stamp leads where the type has a header."""
    head = struct.pack("<iI", stamp_ns // 10**9, stamp_ns % 10**9) if topic in STAMPED else b""
    return b"\0\1\0\0" + head + struct.pack("<q", value) + topic.encode() + bytes(-len(topic) % 4)


@dataclass
class Run:
    """Records in order of arrival, and what an attacker or an auditor needs beside them."""

    robot: str = "demo"
    records: list[Record] = field(default_factory=list)
    authority: SoftwareSigner = field(default_factory=lambda: SoftwareSigner(keys.generate()))
    signers: dict[str, SoftwareSigner] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    log_key: keys.PrivateKey = field(default_factory=lambda: keys.generate(Algorithm.EDDSA))

    def attestations(self) -> list[tuple[int, Attestation]]:
        """Return each attestation with its place in the records."""
        from og_ros.attest import decode_attestation

        return [(i, decode_attestation(r.payload)) for i, r in enumerate(self.records) if r.type == ATTESTATION_TYPE]

    def of_stage(self, stage: str) -> list[tuple[int, Attestation]]:
        """Return the attestations of one stage with their places."""
        return [(i, a) for i, a in self.attestations() if a.statement.stage == stage]

    def resign(self, index: int, **changes: object) -> None:
        """Replace an attestation by one with changed fields, signed anew with its stage's own key."""
        from og_ros.attest import decode_attestation

        record = self.records[index]
        statement = dataclasses.replace(decode_attestation(record.payload).statement, **changes)
        attestation = cose.sign(statement, self.signers[statement.stage])
        self.records[index] = dataclasses.replace(record, payload=encode_attestation(attestation))

    def forge(self, index: int, **changes: object) -> None:
        """Replace an attestation by one with changed fields and the old signature."""
        from og_ros.attest import decode_attestation

        record = self.records[index]
        old = decode_attestation(record.payload)
        attestation = cose.seal(dataclasses.replace(old.statement, **changes), old.signature)
        self.records[index] = dataclasses.replace(record, payload=encode_attestation(attestation))

    def write_registry(
        self, directory: Path, certify: Callable[[RegistryWriter, Run], None] | None = None
    ) -> None:
        """Write a registry that certifies the run's models and keys (or what `certify` does instead)."""
        with RegistryWriter.create(directory, self.authority, "test-fleet", now_ns=10**9) as writer:
            (certify or certify_all)(writer, self)

    def write_ledger(self, directory: Path, leave_out: frozenset[int] = frozenset()) -> None:
        """Write a ledger with the run's attestations but the given ones (by order), and a checkpoint."""
        with Ledger.create(directory, "test/log", self.log_key) as ledger:
            ledger.append([a.cose for n, (_, a) in enumerate(self.attestations()) if n not in leave_out])
            ledger.checkpoint()

    def write_bag(
        self, directory: Path, storage: StoragePlugin = StoragePlugin.MCAP, records: Iterable[Record] | None = None
    ) -> Path:
        """Write the records, or others, as a rosbag2 recording."""
        store = get_typestore(Stores.ROS2_JAZZY)
        for file in sorted(MESSAGES.glob("*.msg")):
            types = get_types_from_msg(file.read_text(), f"og_ros/msg/{file.stem}")
            store.register({name: value for name, value in types.items() if name not in store.fielddefs})
        with Writer(directory, version=8, storage_plugin=storage) as writer:
            connections = {}
            for record in self.records if records is None else records:
                if record.topic not in connections:
                    connections[record.topic] = writer.add_connection(record.topic, record.type, typestore=store)
                writer.write(connections[record.topic], record.received_ns, record.payload)
        return directory


def certify_all(writer: RegistryWriter, run: Run) -> None:
    """Certify every model and key of a run, as an honest owner does."""
    for stage, model in MODELS.items():
        writer.certify_model(f"{stage}_model", "1.0.0", model, stages=(stage,), not_before_ns=10**9)
        writer.certify_key(
            run.signers[stage].public_key, robot=run.robot, stage=stage, vendor="test", not_before_ns=10**9
        )
    writer.certify_key(run.log_key.public_key(), role="log", origin="test/log", not_before_ns=10**9)


def honest_run(
    ticks: int = 40,
    robot: str = "demo",
    skip: frozenset[tuple[str, int]] = frozenset(),
    age_s: float = 0.0,
    signers: dict[str, SoftwareSigner] | None = None,
    show: Callable[[DataReference], DataReference] = lambda reference: reference,
) -> Run:
    """Make an honest run of `ticks` decisions at 20 Hz that ended `age_s` ago.

    `skip` drops records as a lossy network would (topic, tick); `signers` are those of another run, else new ones.
    """
    run = Run(robot)
    salt = int.from_bytes(os.urandom(4), "big") << 20
    now = time.time_ns() - int(age_s * 1e9) - ticks * 50 * MS
    for stage in STAGES:
        new = SoftwareSigner(keys.generate(Algorithm.EDDSA if stage == "control" else Algorithm.ES256))
        run.signers[stage] = signers[stage] if signers else new
        run.sessions[stage] = Session(
            robot=robot,
            stage=stage,
            node=f"/{stage}",
            model=ModelReference(f"{stage}_model", "1.0.0", MODELS[stage]),
            runtime=Runtime("onnxruntime", "1.31.1", "CPUExecutionProvider", "threads=1", "x86_64", bytes(31) + b"\1"),
            signer=run.signers[stage],
        )
        run.sessions[stage].began_ns = 0
    run.records.extend(honest_ticks(run, ticks, now, salt, skip, show=show))
    return run


def honest_ticks(
    run: Run,
    ticks: int,
    now: int,
    salt: int,
    skip: frozenset[tuple[str, int]] = frozenset(),
    image: bytes = b"",
    show: Callable[[DataReference], DataReference] = lambda reference: reference,
) -> Iterator[Record]:
    """Yield the records of a run's decisions, which begin at the wall time `now` (ns).

    `salt` makes the messages of one run unlike those of another, `image` is added to each camera message, and `show`
    says how a statement shows each of its references.
    """
    for tick in range(ticks):
        stamp, wall = tick * 50 * MS, now + tick * 50 * MS
        newest: dict[str, DataReference] = {}
        records: list[Record] = []

        def put(topic: str, data: bytes, at: int, kind: str, tick: int = tick, to: list[Record] = records) -> None:
            if (topic, tick) not in skip:
                to.append(Record(topic, kind, data, at))

        for offset, topic in enumerate(("/camera/image", "/scan", "/odom")):
            data = payload(topic, stamp, salt + tick) + (image if topic == "/camera/image" else b"")
            newest[topic] = DataReference(topic, TYPES[topic], digest(data), covered_size(data), stamp)
            put(topic, data, wall + offset * MS, TYPES[topic])
        for order, (stage, (inputs, output)) in enumerate(STAGES.items(), 1):
            begin = stamp + order * 5 * MS
            data = payload(output, begin, salt + tick)
            newest[output] = DataReference(
                output, TYPES[output], digest(data), covered_size(data), begin if output in STAMPED else 0
            )
            put(output, data, wall + order * 10 * MS, TYPES[output])
            attestation = run.sessions[stage].attest(
                [show(newest[topic]) for topic in inputs],
                [show(newest[output])],
                start_ns=begin,
                clock=Clock.SIM,
                start_monotonic_ns=begin,
                duration_ns=2 * MS,
            )
            statement = dataclasses.replace(attestation.statement, signed_at_ns=wall + order * 10 * MS + MS)
            attestation = cose.sign(statement, run.signers[stage])
            run.sessions[stage]._previous = attestation.digest
            at = wall + order * 10 * MS + 2 * MS
            put(f"{output}/attestation", encode_attestation(attestation), at, ATTESTATION_TYPE)
        yield from records
