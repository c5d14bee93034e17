"""A robot of real processes for fault tests: a stage with a journal, auditors with a log, and who feeds the stage."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wire_messages as wire
from ros_peer import Peer, Process, node, running, until
from tiny_onnx import adder

from og_ros.attest import Algorithm, Attestation, SoftwareSigner, cose, keys
from og_ros.errors import LogError
from og_ros.log import Ledger
from og_ros.log.journal import Journal
from og_ros.log.merkle import verify_consistency
from og_ros.nodes.topics import attestation_qos
from og_ros.registry import RegistryWriter

ARRAY = "std_msgs/msg/Float32MultiArray"
TOPIC = "/y/attestation"
LONG = pytest.mark.skipif(not os.environ.get("OG_ROS_LONG_FAULTS"), reason="long: set OG_ROS_LONG_FAULTS=1")
Checkpoints = list[tuple[int, bytes]]


class Rig:
    """Files of a robot with one stage, `adding`, in a directory; its journal and log may lie elsewhere."""

    def __init__(self, directory: Path, journal: Path | None = None, ledger: Path | None = None) -> None:
        self.directory = directory
        self.journal = journal or directory / "journal"
        self.ledger = ledger or directory / "ledger"
        (directory / "add.onnx").write_bytes(adder([1.0, 1.0]))
        self.key = keys.generate()
        keys.save_private(self.key, directory / "adding.pem")
        self.log_key = keys.generate(Algorithm.EDDSA)
        keys.save_private(self.log_key, directory / "log.pem")
        with RegistryWriter.create(
            directory / "registry", SoftwareSigner(keys.generate()), "fleet", now_ns=10**9
        ) as writer:
            model = sha256((directory / "add.onnx").read_bytes()).digest()
            writer.certify_model("add", "1", model, stages=("adding",), not_before_ns=10**9)
            public = SoftwareSigner(self.key).public_key
            writer.certify_key(public, robot="r", stage="adding", vendor="test", not_before_ns=10**9)
            writer.certify_key(self.log_key.public_key(), role="log", origin="rig/log", not_before_ns=10**9)
        self.pipeline = directory / "pipeline.yaml"
        self.pipeline.write_text(
            f"robot: r\nstages:\n  adding:\n    model: {{path: add.onnx, name: add, version: '1'}}\n"
            f"    key: adding.pem\n    journal: {self.journal}\n"
            f"    inputs: {{x: {{topic: /x, type: {ARRAY}, qos: {{depth: 1000}}}}}}\n"
            f"    outputs: {{y: {{topic: /y, type: {ARRAY}, qos: {{depth: 1000}}}}}}\n"
        )
        self.bodies: Checkpoints = []

    def stage(self) -> Any:
        return running(*node("og_ros.nodes.stage", "adding", pipeline=self.pipeline))

    def auditor(self, name: str = "auditor", ledger: Path | None = None, **parameters: object) -> Any:
        return running(*self.auditor_arguments(name, ledger, **parameters))

    def auditor_arguments(self, name: str = "auditor", ledger: Path | None = None, **parameters: object) -> list[str]:
        return node(
            "og_ros.nodes.auditor", name, registry=self.directory / "registry", ledger=ledger or self.ledger,
            log_key=self.directory / "log.pem", log_origin="rig/log", topics="['/x']", attestations=f"['{TOPIC}']",
            checkpoint_period=0.3, status_period=0.1, **parameters,
        )  # fmt: skip

    def signed(self) -> set[bytes]:
        """Every attestation that the journal has: what the stage signed, as long as the journal is whole."""
        journal = Journal(self.journal, "adding", bytes(16))
        found: set[bytes] = set()
        for kept in journal.sessions():
            assert kept.oldest == 0
            first = 0
            while batch := journal.read(kept.session, first, kept.newest):
                found.update(data for _, data in batch)
                first = batch[-1][0] + 1
            assert first == kept.newest + 1
        journal.close()
        return found

    def logged(self, ledger: Path | None = None) -> list[bytes]:
        """The leaves of the log, which is checked whole."""
        directory = ledger or self.ledger
        if not (directory / "log.db").exists():
            return []
        with Ledger.open(directory) as log:
            log.verify()
            return [leaf.data for leaf in log.leaves()]

    def in_log(self, ledger: Path | None = None) -> set[bytes]:
        """The leaves of a log that is being written."""
        directory = ledger or self.ledger
        if not (directory / "log.db").exists():
            return set()
        try:
            with Ledger.open(directory) as log:
                return {leaf.data for leaf in log.leaves()}
        except LogError:
            return set()  # its creation is under way, or its writer has just left

    def check_growth(self, before: list[bytes], checkpoints: Checkpoints) -> tuple[list[bytes], Checkpoints]:
        """Check that the log extends what it was: its leaves, and every checkpoint, by consistency proof."""
        after = self.logged()
        assert after[: len(before)] == before, "an accepted leaf was lost"
        assert len(set(after)) == len(after), "a leaf is there twice"
        if not after:
            return after, checkpoints
        with Ledger.open(self.ledger) as log:
            size, root = log.size, log.root()
            for old_size, old_root in checkpoints:
                verify_consistency(old_size, size, log.consistency_proof(old_size), old_root, root)
            return after, [(c.size, c.root) for c in log.checkpoints() if c.size]


@contextmanager
def feeding(peer: Peer, rate: float) -> Iterator[Any]:
    """Feed the stage with a different message at a rate, in Hz, in a thread; yields its `rate`, `sent`, `stopped`."""

    class Feed:
        def __init__(self) -> None:
            self.rate, self.sent, self.stopped = rate, 0, False

    feed = Feed()
    publisher = peer.publisher("/x", ARRAY, 1000)

    def work() -> None:
        at = time.monotonic()
        while not feed.stopped:
            publisher.publish(wire.serialize(wire.floats(np.array([feed.sent, 2.0]))))
            feed.sent += 1
            at = max(at + 1 / feed.rate, time.monotonic() - 0.2)
            time.sleep(max(0.0, at - time.monotonic()))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield feed
    finally:
        feed.stopped = True
        thread.join()


class Findings:
    """Hears what auditors find."""

    def __init__(self, peer: Peer, auditor: str = "auditor") -> None:
        self.found: list[Any] = []
        from og_ros.msg import ChainStatus, Finding

        self.statuses: list[Any] = []
        peer.node.create_subscription(Finding, f"/{auditor}/finding", self.found.append, 1000)
        peer.node.create_subscription(ChainStatus, f"/{auditor}/status", self.statuses.append, 100)
        peer.executor.wake()

    def kinds(self) -> set[str]:
        return {finding.kind for finding in self.found}

    def violations(self) -> list[str]:
        return [f"{f.kind}: {f.message}" for f in self.found if f.severity == 2]


def decoded(leaves: set[bytes] | list[bytes]) -> list[Attestation]:
    return [cose.decode(leaf) for leaf in leaves]


def hear(peer: Peer) -> list[bytes]:
    """Hear the stage's attestations beside the auditors."""
    return peer.hear(TOPIC, "og_ros/msg/Attestation", attestation_qos())


__all__ = [
    "ARRAY",
    "LONG",
    "TOPIC",
    "Findings",
    "Peer",
    "Process",
    "Rig",
    "decoded",
    "feeding",
    "hear",
    "running",
    "until",
]
