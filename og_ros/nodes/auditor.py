"""The auditor node: joins and checks attestations live, logs them, and says how the decision chain stands."""

from __future__ import annotations

import math
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from og_ros.attest import ATTESTATION_TYPE
from og_ros.attest import Attestation as AttestationRecord
from og_ros.audit.appraiser import Appraised, Appraiser
from og_ros.audit.auditor import MAX_CLAIMED_STAGES, Auditor
from og_ros.audit.examine import message_of
from og_ros.audit.findings import Finding as FoundThing
from og_ros.audit.findings import Severity
from og_ros.audit.log_signatures import HYBRID
from og_ros.audit.observer import Observer
from og_ros.audit.policy import Policy, load_policy
from og_ros.audit.records import Inference, Message, Record
from og_ros.errors import ConfigError, LogError, OgError
from og_ros.log import Ledger
from og_ros.msg import Attestation, ChainStatus, Checkpoint, Finding
from og_ros.nodes.arrival_clock import ArrivalClock
from og_ros.nodes.auditor_messages import LiveStage, diagnostics, finding_message, median, stage_status, wall_time
from og_ros.nodes.catching_up import CatchingUp
from og_ros.nodes.evidence_desk import EvidenceDesk
from og_ros.nodes.faults import Faults
from og_ros.nodes.log_writer import LogWriter, open_log
from og_ros.nodes.parameters import declare, describe
from og_ros.nodes.process import run_node
from og_ros.nodes.topics import ATTESTATION_SUFFIX, attestation_qos, has_header, matching_qos, message_class
from og_ros.registry import Registry

# Records waiting for the worker: a digest or an attestation each, so a full queue stays under 10 MB. A full queue
# makes the callback wait, and DDS holds the senders back; nothing is dropped here.
QUEUE_SIZE: Final = 8192
BATCH: Final = 256
# A record waits so long for others before the worker takes them together: fewer switches between threads.
GATHER_S: Final = 0.01
RECENT_FINDINGS: Final = 16
_MORE: Final[dict[str, tuple[Any, str]]] = {
    "topics": ([""], "topics to watch from the start, e.g. the sensors'; others once they are named"),
    "attestations": ([""], "attestation topics to hear from the start; others once they appear, by `discover`"),
    "discover": (
        "namespace",
        "which attestation topics to hear once they appear: those in the auditor's namespace (all of them for an "
        "auditor without one), all, or none",
    ),
    "check_data": (True, "hash the messages that attestations name"),
    "catch_up": (True, "ask stages' journals for attestations that did not arrive"),
    "status_period": (0.5, "seconds between two ChainStatus"),
    "horizon": (2.0, "seconds that a record's counterpart may take to arrive"),
    "checkpoint_period": (2.0, "seconds between two checkpoints of the log"),
    "log_backlog_mb": (
        16.0,
        "MB of attestations that may wait while the log cannot be written; more come from the journals",
    ),
    "exit_verdict": (False, "end with exit code 1 after a violation, 2 when nothing came or could be logged"),
}
_VERDICTS: Final = {
    ChainStatus.HOLDS: "HOLDS",
    ChainStatus.DEGRADED: "DEGRADED",
    ChainStatus.VIOLATED: "VIOLATED",
    ChainStatus.NO_DATA: "NO DATA",
}
_BOUNDS: Final = {
    "status_period": (0.05, 60.0),
    "horizon": (0.1, 600.0),
    "checkpoint_period": (0.1, 3600.0),
    "log_backlog_mb": (0.001, 10_000.0),
}


class _Watch(Observer):
    """Tells the node what its audit does."""

    def __init__(self, node: AuditorNode) -> None:
        self.inference = node.take_inference
        self.decision = node.take_decision
        self.finding = node.take_finding


class AuditorNode(Node):
    """Subscribes to every attestation topic and to the topics that attestations name, and audits as they arrive.

    Callbacks only hash and queue; a worker thread verifies, joins and logs. Publishes ~/status (ChainStatus),
    ~/finding (Finding), ~/checkpoint (Checkpoint, transient local) and /diagnostics.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("auditor", **options)
        text = {
            "robot": "name of the robot, shown in ChainStatus",
            "registry": "directory of the registry; without it signatures and certificates are not checked",
            "registry_root": "sha256:... fingerprint that the registry's root must have",
            "policy": "policy file (YAML)",
            "ledger": "directory of the log; made when it is missing; empty: nothing is logged",
            "log_key": "PEM file of the log's Ed25519 key; required with `ledger`",
            "log_post_quantum_key": "PEM file of the log's ML-DSA-65 key; with it checkpoints are signed hybrid",
            "log_origin": "origin line of the log's checkpoints",
        }
        for name, description in text.items():
            declare(self, name, "", describe(description, read_only=True))
        for name, (default, description) in _MORE.items():
            declare(self, name, default, describe(description, _BOUNDS.get(name), read_only=True))
        self.exit_code, self.finished = 0, False
        self._robot = self._text("robot")
        discover = self._text("discover")
        if discover not in ("namespace", "all", "none"):
            raise ConfigError(f"parameter discover is {discover!r}; it must be namespace, all or none")
        self._discovers = discover != "none"
        self._within = "/" if discover == "all" else self.get_namespace().rstrip("/") + "/"
        registry = self._path("registry")
        policy_file = self._path("policy")
        self._policy = load_policy(policy_file) if policy_file else Policy()
        pinned = self._text("registry_root") or self._policy.registry_root
        self._registry = Registry.open(registry, pinned_root=pinned) if registry else None
        self._ledger_directory = self._path("ledger")
        if self._ledger_directory and not self._text("log_key"):
            raise ConfigError("parameter log_key is missing: a ledger needs the key that signs its checkpoints")
        if self._ledger_directory and self._policy.checkpoint == HYBRID and not self._text("log_post_quantum_key"):
            raise ConfigError("parameter log_post_quantum_key is missing: the policy demands hybrid checkpoints")
        horizon_ns = int(self._number("horizon") * 1e9)
        self._clock = ArrivalClock()
        self._fed_ns = self._clock.now_ns()
        self._auditor = Auditor(
            self._registry,
            self._policy,
            recorded=lambda topic: topic in self._data,
            live=True,
            catch_up=bool(self.get_parameter("catch_up").value),
            clock_offset=self._clock.offset_ns,
            horizon_ns=horizon_ns,
            observers=[_Watch(self)],
        )
        self._catching_up: CatchingUp | None = None
        if self.get_parameter("catch_up").value:
            log_all = self._ledger_directory is not None
            self._catching_up = CatchingUp(self, self._auditor, self._clock, log_all=log_all)
        self._attestations: dict[str, Any] = {}
        self._data: dict[str, Any] = {}
        self._unusable: set[str] = set()
        self._queue: queue.Queue[Message | Record | Appraised | FoundThing | None] = queue.Queue(QUEUE_SIZE)
        appraiser = Appraiser(self._policy.evidence, self._registry)
        self._desk = EvidenceDesk(self, appraiser, self._queue.put, Faults(self.get_logger()).report)
        self._lock = threading.Lock()
        self._stages: dict[str, LiveStage] = {}
        self._recent: deque[Finding] = deque(maxlen=RECENT_FINDINGS)
        self._latencies_ms: deque[float] = deque(maxlen=1000)
        self._unlinked_at = self._logged_at = -math.inf
        self._log: LogWriter | None = None
        self._last_status = time.monotonic()
        self._statuses = self.create_publisher(ChainStatus, "~/status", 10)
        self._findings = self.create_publisher(Finding, "~/finding", 100)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._checkpoints = self.create_publisher(Checkpoint, "~/checkpoint", latched)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        started: queue.Queue[BaseException | None] = queue.Queue()
        self._worker = threading.Thread(target=self._work, args=(started,), name="auditor", daemon=True)
        self._worker.start()
        failure = started.get()
        if failure is not None:
            raise failure
        # Steady: with simulated time the node must look around and speak before /clock runs, and while it stands.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        period = self._number("status_period")
        self._discovery = self.create_timer(0.25, self._discover, clock=steady)
        self._status_timer = self.create_timer(period, self._publish_status, clock=steady)
        if self._catching_up is not None:
            self.create_timer(0.05, self._catching_up.send, clock=steady)
        for topic in self._topics("attestations"):
            self._listen(topic)
        self._discover()
        self.get_logger().info(
            f"auditing with registry {self._registry.fingerprint if self._registry else 'none (signatures unchecked)'}"
        )

    def close(self) -> None:
        """Judge and log what arrived, sign a last checkpoint, and stop the worker."""
        self._discovery.cancel()
        self._status_timer.cancel()
        self._desk.close()
        if self._worker.is_alive():
            self._queue.put(None)
            self._worker.join(timeout=30.0)
        self._publish_status()
        self._conclude()

    def _conclude(self) -> None:
        """Say the verdict in one line, and by the exit code if that is wanted."""
        tally, findings, word = self._auditor.tally, self._auditor.findings, _VERDICTS[self._state()]
        self.get_logger().info(
            f"{word}: {tally.attestations} attestations, {tally.decisions} decisions, {tally.linked} traced back to "
            f"sensor data, {findings.violations} violations, {findings.warnings} warnings"
        )
        if self.get_parameter("exit_verdict").value and not self.exit_code:
            unlogged = self._log is not None and self._log.failed
            self.exit_code = {"VIOLATED": 1, "NO DATA": 2}.get(word, 2 if unlogged else 0)

    # Callbacks of the executor: hash, queue, nothing else.

    def _discover(self) -> None:
        for topic, types in self.get_topic_names_and_types():
            if self._discovers and ATTESTATION_TYPE in types and topic.startswith(self._within):
                self._listen(topic)
        with self._lock:  # what nobody signed does not say where to listen, nor whom to ask
            newest = [stage.newest.attestation.statement for stage in self._stages.values() if stage.total]
        if self._catching_up is not None:
            self._catching_up.discover(self._within, {statement.node for statement in newest})
        named = {reference.topic for s in newest for side in (s.inputs, s.outputs) for reference in side}
        named.update(self._topics("topics"))
        for topic in named - self._data.keys():
            self._watch(topic)

    def _topics(self, parameter: str) -> list[str]:
        return [self.resolve_topic_name(topic) for topic in self.get_parameter(parameter).value if topic]

    def _listen(self, topic: str) -> None:
        if topic not in self._attestations:
            self._attestations[topic] = self.create_subscription(
                Attestation, topic, lambda raw: self._take_attestation(topic, raw), attestation_qos(), raw=True
            )
            self._desk.listen(topic)
        if topic.endswith(ATTESTATION_SUFFIX):
            self._watch(topic[: -len(ATTESTATION_SUFFIX)])

    def _watch(self, topic: str) -> None:
        if topic in self._data or topic in self._unusable or not self.get_parameter("check_data").value:
            return
        types = dict(self.get_topic_names_and_types()).get(topic)
        if not types:
            return
        try:
            kind = message_class(types[0])
        except ConfigError as error:
            self._unusable.add(topic)
            self.get_logger().warning(f"messages on {topic} are not checked: {error}")
            return
        stamped = has_header(kind)
        self._data[topic] = self.create_subscription(
            kind,
            topic,
            lambda raw, t=topic, s=stamped: self._take_message(t, raw, s),
            matching_qos(self, topic),
            raw=True,
        )

    def _take_attestation(self, topic: str, raw: bytes) -> None:
        self._queue.put(Record(topic, ATTESTATION_TYPE, raw, self._clock.now_ns()))

    def _take_message(self, topic: str, raw: bytes, stamped: bool) -> None:
        record = Record(topic, "", raw, self._clock.now_ns())
        self._queue.put(message_of(record, self._auditor.joiner.algorithm_of(topic), stamped))

    # The worker: verify, join, log.

    def _work(self, started: queue.Queue[BaseException | None]) -> None:
        try:
            self._audit(started)
        except BaseException as error:  # out of memory, or a defect: an auditor that only looks alive would be worse
            self.exit_code, self.finished = 1, True
            what = "out of memory" if isinstance(error, MemoryError) else f"{type(error).__name__}: {error}"
            size = self._log.size if self._log is not None else 0
            self.get_logger().fatal(
                f"the audit stopped ({what}); the log has {size} attestations, a new start asks for the rest"
            )
            started.put(error)
            while self._queue.get() is not None:  # no callback may wait for a queue that nobody empties
                pass

    def _audit(self, started: queue.Queue[BaseException | None]) -> None:
        try:
            if self._ledger_directory:
                self._open_log(self._ledger_directory)
        except OgError as error:
            started.put(error)
            return
        started.put(None)
        checkpoint_at = time.monotonic()
        period = self._number("checkpoint_period")
        running = True
        while running:
            running = self._take_batch()
            # What waits in the queue has arrived too: nothing is judged without it, however slow the disk is.
            self._auditor.advance(self._clock.now_ns() if self._queue.empty() else self._fed_ns)
            if self._catching_up is not None:
                self._catching_up.work()
            if self._log is not None:
                self._log.append(last=not running)
                if time.monotonic() - checkpoint_at >= period or not running:
                    checkpoint_at = time.monotonic()
                    self._checkpoint(self._log.ledger)
        self._auditor.finish()
        if self._catching_up is not None:
            self._catching_up.finish()
        if self._log is not None:
            self._log.ledger.close()

    def _open_log(self, directory: Path) -> None:
        origin = self._text("log_origin") or f"og-ros/{self._robot or 'robot'}"
        ledger = open_log(directory, Path(self._text("log_key")), origin, self._path("log_post_quantum_key"))
        limit_bytes = round(self._number("log_backlog_mb") * 10**6)
        self._log = LogWriter(ledger, limit_bytes, self._defer, self.get_logger().error)
        if self._catching_up is not None:
            self._catching_up.resume(self._log)

    def _defer(self, attestation: AttestationRecord) -> None:
        """What finds no room while the log cannot be written is in its stage's journal."""
        if self._catching_up is not None:
            self._catching_up.defer(attestation)
        elif self._log is not None and not self._log.deferred:
            statement = attestation.statement
            self._auditor.report(
                FoundThing(
                    "attestation_lost",
                    f"stage {statement.stage}: from sequence {statement.sequence} on attestations found no room while "
                    "the log could not be written, and nobody asks for them: catch_up is off",
                    sequence=statement.sequence,
                    stage=statement.stage,
                )
            )

    def _take_batch(self) -> bool:
        """Feed what is queued, waiting a little for the first; returns False at the end."""
        try:
            item = self._queue.get(timeout=0.05)
            if item is not None and self._queue.qsize() < BATCH:
                time.sleep(GATHER_S)
            for _ in range(BATCH):
                if item is None:
                    return False
                self._feed(item)
                item = self._queue.get_nowait()
            if item is not None:
                self._feed(item)
            return item is not None
        except queue.Empty:
            return True

    def _feed(self, item: Message | Record | Appraised | FoundThing) -> None:
        if isinstance(item, (Appraised, FoundThing)):
            self._auditor.take_evidence(item)
            return
        self._fed_ns = item.received_ns
        if isinstance(item, Record):
            self._auditor.feed(item)
        else:
            self._auditor.take(item)

    def _checkpoint(self, ledger: Ledger) -> None:
        latest = ledger.latest_checkpoint()
        if ledger.size == 0 or (latest is not None and latest.size == ledger.size):
            return
        try:
            note = ledger.checkpoint()
        except LogError as error:
            self.get_logger().error(f"no checkpoint was signed: {error}")
            return
        root = np.frombuffer(ledger.root(), np.uint8)
        self._checkpoints.publish(
            Checkpoint(stamp=wall_time(), origin=ledger.origin, size=ledger.size, root=root, note=note)
        )

    def take_inference(self, inference: Inference) -> None:
        """Note an attestation that was checked."""
        if self._log is not None and inference.signed is not False:
            self._log.add(inference.attestation)
        with self._lock:
            stage = self._stages.get(inference.stage)
            if stage is None:
                if inference.signed is False and len(self._stages) >= MAX_CLAIMED_STAGES:
                    return
                stage = self._stages[inference.stage] = LiveStage(inference.topic, inference)
            if inference.signed is False:
                return
            stage.newest, stage.topic = inference, inference.topic
            stage.total += 1
            stage.period += 1
            stage.durations_ms.append(inference.attestation.statement.duration_ns / 1e6)

    def take_decision(self, inference: Inference) -> None:
        """Note a decision that was judged."""
        if not inference.linked:
            self._unlinked_at = time.monotonic()
        elif self._auditor.tally.latencies_ns:
            self._latencies_ms.append(self._auditor.tally.latencies_ns.pop() / 1e6)

    def take_finding(self, finding: FoundThing) -> None:
        """Publish a finding."""
        message = finding_message(finding)
        with self._lock:
            self._recent.appendleft(message)
            if finding.stage in self._stages:
                self._stages[finding.stage].violations += finding.severity is Severity.VIOLATION
        self._findings.publish(message)
        # rclpy's own throttle looks up the caller's source file each time, which takes longer than to verify.
        if finding.severity is Severity.VIOLATION and (now := time.monotonic()) - self._logged_at >= 1.0:
            self._logged_at = now
            self.get_logger().error(f"{finding.kind}: {finding.message}")

    # What it says.

    def _publish_status(self) -> None:
        now = time.monotonic()
        elapsed, self._last_status = max(now - self._last_status, 1e-3), now
        status = self._status(elapsed)
        self._statuses.publish(status)
        self._diagnostics.publish(diagnostics(status, self._log, self.get_namespace().strip("/")))

    def _status(self, elapsed: float) -> ChainStatus:
        auditor = self._auditor
        with self._lock:
            # Those that sign come first: made-up names take nobody's place in a message of 64.
            ordered = sorted(self._stages.items(), key=lambda item: (not item[1].total, item[0]))
            stages = [stage_status(name, stage, elapsed) for name, stage in ordered]
            recent = list(self._recent)
        return ChainStatus(
            stamp=wall_time(),
            state=self._state(),
            robot=self._robot,
            attestations=auditor.tally.attestations,
            decisions=auditor.tally.decisions,
            linked=auditor.tally.linked,
            violations=auditor.findings.violations,
            warnings=auditor.findings.warnings,
            chain_latency_ms=median(self._latencies_ms),
            log_size=self._log.size if self._log is not None else 0,
            log_root=np.frombuffer(self._log.root if self._log is not None else bytes(32), np.uint8),
            stages=stages[:64],
            recent=recent,
        )

    def _state(self) -> int:
        if self._auditor.findings.violations:
            return int(ChainStatus.VIOLATED)
        if self._auditor.tally.attestations == 0:
            return int(ChainStatus.NO_DATA)
        if time.monotonic() - self._unlinked_at < 5.0 or (self._log is not None and self._log.failed):
            return int(ChainStatus.DEGRADED)
        return int(ChainStatus.HOLDS)

    def _text(self, name: str) -> str:
        return str(self.get_parameter(name).value)

    def _path(self, name: str) -> Path | None:
        return Path(self._text(name)).expanduser() if self._text(name) else None

    def _number(self, name: str) -> float:
        return float(self.get_parameter(name).value)


def main(args: Sequence[str] | None = None) -> int:
    """Run the auditor node until it is told to stop."""
    return run_node(AuditorNode, args, linger_s=1.0, events=True)


if __name__ == "__main__":
    sys.exit(main())
