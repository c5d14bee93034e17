"""The gate node: passes a command on only when its decision chain verified, and stops the robot when one did not."""

from __future__ import annotations

import gc
import hashlib
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any, Final

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.impl.implementation_singleton import rclpy_implementation as rclpy_native
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

import og_ros
from og_ros.attest import ATTESTATION_TYPE, Disclosure, ModelReference, Runtime, Session, SoftwareSigner, digest
from og_ros.attest.statement import Clock as AttestedClock
from og_ros.audit.policy import Policy, load_policy
from og_ros.errors import AttestationError, ConfigError, OgError
from og_ros.gate.gatekeeper import Gatekeeper
from og_ros.gate.settings import GateSettings
from og_ros.gate.verdict import Check, Command, Reason, State, Verdict
from og_ros.msg import Attestation
from og_ros.msg import Verdict as VerdictMessage
from og_ros.nodes.attestation_publisher import HASH_BESIDE_BYTES, AttestationPublisher, Message
from og_ros.nodes.attestation_publisher import Inference as Attested
from og_ros.nodes.faults import Faults
from og_ros.nodes.gate_messages import Figures, diagnostics, verdict_payload
from og_ros.nodes.gate_parameters import TEXTS, GateParameters
from og_ros.nodes.process import run_node
from og_ros.nodes.safe_motion import SafeMotion
from og_ros.nodes.topics import ATTESTATION_SUFFIX, attestation_qos, matching_qos, message_class, wait_until_heard
from og_ros.registry import Registry
from og_ros.stages.certified import require_certified

STAGE: Final = "gate"
# Decisions that may wait for their signature; then the gate waits, its own queue fills, and that is overload.
SIGNING_QUEUE: Final = 4096
DISCOVERY_S: Final = 0.1
DIAGNOSTICS_S: Final = 1.0
RESET_TIMEOUT_S: Final = 2.0
# Python lets a thread run for so long before another gets its turn; its default, 5 ms, is a control period.
SWITCH_INTERVAL_S: Final = 0.0005


class _Kind(IntEnum):
    """What is in the queue to the worker."""

    COMMAND, ATTESTATION, MESSAGE, CONDITION, CLEAR, RESET, STOP = range(7)


@dataclass
class _Work:
    """What exists between configure and cleanup."""

    settings: GateSettings
    registry: Registry
    policy: Policy
    signer: SoftwareSigner
    attestations: AttestationPublisher
    motion: SafeMotion
    type: str
    kind: Any
    output: Any
    hand_over: Any
    verdicts: Any
    attestation_publisher: Any
    subscriptions: dict[str, Any] = field(default_factory=dict)
    keeper: Gatekeeper | None = None
    worker: threading.Thread | None = None


class GateNode(LifecycleNode):
    """A lifecycle node between the stage that makes commands and the driver that obeys them.

    Callbacks only queue; a worker thread owns the gatekeeper, forwards, and publishes ~/verdict (Verdict). Every
    decision is attested by the gate's own key on ~/verdict/attestation: its input is the command, its outputs are what
    it passed on and the verdict. ~/reset (std_srvs/Trigger) opens a latched gate.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("gate", **options)
        self._given = GateParameters(self)
        self.faults = Faults(self.get_logger())
        self._work: _Work | None = None
        self._active = False
        self._failure: OgError | None = None
        self._queue: queue.Queue[tuple[_Kind, Any, Any]] = queue.Queue(1)
        self._dropped = 0
        self._hashing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hash")
        self._hashes_waiting = 0
        self._counts: Counter[str] = Counter()
        self._latencies_ns: list[int] = []
        self._bypassed = False
        self._last_verdict: Message | None = None

    # ---- further rules -----------------------------------------------------------------------------------------------

    def checks(self) -> Sequence[Check]:
        """Return the further rules that a verified command must pass; made anew at each activation."""
        return ()

    def set_condition(self, reason: Reason) -> None:
        """Latch because of something beside the commands, and stay so until `clear_condition`; from any thread."""
        self._queue.put((_Kind.CONDITION, reason, None))

    def clear_condition(self, kind: str) -> None:
        """Say that a condition is over; the gate stays latched until it is reset. From any thread."""
        self._queue.put((_Kind.CLEAR, kind, None))

    # ---- lifecycle ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Configure and activate, if `autostart` says so; raises the OgError that stands in the way."""
        if not self._given.switch("autostart"):
            return
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != TransitionCallbackReturn.SUCCESS:
                raise self._failure or ConfigError("the gate could not be started; its log says why")

    def close(self) -> None:
        """Pass nothing any more, and publish every attestation that is due."""
        self._stop_worker()
        self._release()
        self._hashing.shutdown()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read registry, policy and key; make publishers and subscriptions."""
        try:
            self._configure()
        except OgError as error:
            self._failure = error
            self.get_logger().error(str(error))
            self._release()
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin closed: what arrived before is forgotten."""
        try:
            self._activate()
        except OgError as error:
            self._failure = error
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the robot, and pass nothing."""
        self._stop_worker()
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End the session."""
        self._stop_worker()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    on_shutdown = on_cleanup
    on_error = on_cleanup

    def _configure(self) -> None:
        settings = self._given.settings()
        robot = settings.robot
        for name in ("registry", "key", "output", "type", "robot"):
            if not self._given.text(name):
                raise ConfigError(f"{name} is missing: {TEXTS[name]}")
        output, hand_over = self.resolve_topic_name(self._given.text("output")), self._given.text("hand_over")
        if output == settings.command:
            raise ConfigError(f"output is {output}, which is the input too: commands would pass beside the gate")
        if (settings.behaviour.kind == "hand_over") != bool(hand_over):
            raise ConfigError("safe_behaviour hand_over and the topic hand_over go together")
        if self._given.text("bypass") not in ("latch", "report", "ignore"):
            raise ConfigError(f"bypass is {self._given.text('bypass')!a}; it must be latch, report or ignore")
        policy_file = self._given.text("policy")
        policy = load_policy(Path(policy_file)) if policy_file else Policy()
        pinned = self._given.text("registry_root") or policy.registry_root
        registry = Registry.open(Path(self._given.text("registry")), pinned_root=pinned)
        Gatekeeper(settings, registry, policy)  # what is wrong with the policy must show now
        signer = SoftwareSigner.load(Path(self._given.text("key")))
        kind = message_class(self._given.text("type"))
        motion = SafeMotion(settings.behaviour, kind)
        own_digest = bytes.fromhex(policy.digest) if policy.digest else hashlib.sha256().digest()
        session = Session(
            robot=robot,
            stage=STAGE,
            node=self.get_fully_qualified_name(),
            model=ModelReference(STAGE, policy.revision or "1", own_digest, format="policy"),
            runtime=Runtime("og_ros", og_ros.__version__, options=settings.mode, processing_digest=settings.digest),
            signer=signer,
        )
        verdicts = self.create_publisher(VerdictMessage, "~/verdict", 100)
        publisher = self.create_publisher(Attestation, verdicts.topic_name + ATTESTATION_SUFFIX, attestation_qos())
        self._queue = queue.Queue(self._given.count("queue"))
        self._work = _Work(
            settings,
            registry,
            policy,
            signer,
            AttestationPublisher(session, publisher.publish, self.faults.report, SIGNING_QUEUE),
            motion,
            self._given.text("type"),
            kind,
            self.create_publisher(kind, output, 10),
            self.create_publisher(kind, hand_over, 10) if hand_over else None,
            verdicts,
            publisher,
        )
        # Steady: with simulated time the gate must look around before /clock runs, and while it stands.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._steady_timers = [
            self.create_timer(DISCOVERY_S, self._look_around, clock=steady),
            self.create_timer(DIAGNOSTICS_S, self._tell, clock=steady),
        ]
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._service = self.create_service(Trigger, "~/reset", self._on_reset)
        for topic in self._given.list("attestations"):
            self._listen(self.resolve_topic_name(topic))
        self._look_around()

    def _activate(self) -> None:
        work = self._work
        assert work is not None
        if self._given.switch("require_certified"):
            session = work.attestations.session
            require_certified(
                work.registry,
                robot=session.robot,
                stage=STAGE,
                model=session.model,
                runtime=session.runtime,
                key_id=work.signer.key_id,
                now_ns=time.time_ns(),
            )
        work.keeper = Gatekeeper(work.settings, work.registry, work.policy, self.checks())
        for text in work.keeper.not_checked:
            self.get_logger().warning(f"the policy's {text} is for an audit to check: no command has it when it passes")
        work.motion.stop()
        self._queue = queue.Queue(self._given.count("queue"))
        self._dropped, self._bypassed = 0, False
        gc.collect()
        gc.freeze()  # what exists by now stays; the collector need not walk it while commands pass
        work.worker = threading.Thread(target=self._run, args=(work, work.keeper), name="gate", daemon=True)
        self._active = True
        work.worker.start()
        self.get_logger().info(
            f"{work.settings.mode}: {work.settings.command} → {work.output.topic_name}, sensors "
            f"{', '.join(work.settings.sensors)}, safe behaviour {work.settings.behaviour.kind}; closed so far"
        )

    def _stop_worker(self) -> None:
        self._active = False
        work = self._work
        if work is None or work.worker is None:
            return
        self._queue.put((_Kind.STOP, None, None))
        work.worker.join(10.0)
        work.worker = None

    def _release(self) -> None:
        work, self._work = self._work, None
        if work is None:
            return
        for timer in self._steady_timers:
            self.destroy_timer(timer)
        for subscription in work.subscriptions.values():
            self.destroy_subscription(subscription)
        self.destroy_service(self._service)
        work.attestations.close()
        publishers = [p for p in (work.output, work.hand_over, work.verdicts, work.attestation_publisher) if p]
        wait_until_heard(publishers)
        for publisher in (*publishers, self._diagnostics):
            self.destroy_publisher(publisher)

    # ---- callbacks of the executor: queue, nothing else --------------------------------------------------------------

    def _look_around(self) -> None:
        """Subscribe to what has a publisher by now, and look who else publishes on the output."""
        work = self._work
        if work is None:
            return
        types = dict(self.get_topic_names_and_types())
        if not self._given.list("attestations"):
            for topic, kinds in types.items():
                if ATTESTATION_TYPE in kinds and topic != work.attestation_publisher.topic_name:
                    self._listen(topic)
        for text in self._given.list("sensors"):
            name, _, kind = text.partition(":")
            topic = self.resolve_topic_name(name)
            if topic not in work.subscriptions and types.get(topic) and self.count_publishers(topic):
                self._hear(topic, kind or types[topic][0], partial(self._on_message, topic))
        command = work.settings.command
        if command not in work.subscriptions and self.count_publishers(command):
            self._hear(command, work.type, self._on_command, depth=10)
        self._look_for_others(work)

    def _look_for_others(self, work: _Work) -> None:
        if self._given.text("bypass") == "ignore" or not self._active:
            return
        publishers = self.get_publishers_info_by_topic(work.output.topic_name)
        # Names can be taken by anyone; numbers cannot: one publisher there is this node's own.
        others = len(publishers) > 1
        if others == self._bypassed:
            return
        self._bypassed = others
        if not others:
            self.clear_condition("gate_bypassed")
            return
        own = self.get_fully_qualified_name()
        names = [f"{p.node_namespace.rstrip('/')}/{p.node_name}" for p in publishers]
        if own in names:
            names.remove(own)
        reason = Reason("gate_bypassed", f"{', '.join(names)} publishes on {work.output.topic_name} beside the gate")
        if self._given.text("bypass") == "latch":
            self.set_condition(reason)
        else:
            self.faults.report("gate_bypassed", reason.message)

    def _hear(self, topic: str, kind: str, callback: Any, depth: int = 100) -> None:
        assert self._work is not None
        qos = matching_qos(self, topic, depth)
        try:
            found = self.create_subscription(message_class(kind), topic, callback, qos, raw=True)
        except ConfigError as error:
            self.faults.report(f"topic {topic}", error)
            return
        self._work.subscriptions[topic] = found

    def _listen(self, topic: str) -> None:
        assert self._work is not None
        if topic not in self._work.subscriptions:
            callback = partial(self._on_attestation, topic)
            self._work.subscriptions[topic] = self.create_subscription(
                Attestation, topic, callback, attestation_qos(), raw=True
            )

    def _on_command(self, payload: bytes) -> None:
        work = self._work
        if work is None or not self._active:
            return
        command = Command(work.settings.command, work.type, payload, time.monotonic_ns())
        if work.settings.mode == "monitor":
            work.output.publish(payload)
        self._enqueue(_Kind.COMMAND, command)

    def _on_attestation(self, topic: str, payload: bytes) -> None:
        if self._active:
            self._enqueue(_Kind.ATTESTATION, topic, payload)

    def _on_message(self, topic: str, payload: bytes) -> None:
        work = self._work
        if work is None or work.keeper is None or not self._active:
            return
        algorithm = work.keeper.algorithm_of(topic)
        if len(payload) < HASH_BESIDE_BYTES:
            self._hash(topic, payload, algorithm)
        elif self._hashes_waiting < self._given.count("queue"):
            self._hashes_waiting += 1
            self._hashing.submit(self._hash_beside, topic, payload, algorithm)
        else:
            self._dropped += 1

    def _hash_beside(self, topic: str, payload: bytes, algorithm: str) -> None:
        self._hashes_waiting -= 1
        self._hash(topic, payload, algorithm)

    def _hash(self, topic: str, payload: bytes, algorithm: str) -> None:
        try:
            self._enqueue(_Kind.MESSAGE, topic, digest(payload, algorithm))
        except AttestationError as error:
            self.faults.report(f"message on {topic}", error)

    def _enqueue(self, kind: _Kind, one: Any, other: Any = None) -> None:
        try:
            self._queue.put_nowait((kind, one, other))
        except queue.Full:
            self._dropped += 1

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        answer: Future[tuple[bool, str]] = Future()
        if not self._active:
            response.success, response.message = False, "the gate is not active"
            return response
        try:
            self._queue.put((_Kind.RESET, answer, None), timeout=RESET_TIMEOUT_S)
            response.success, response.message = answer.result(RESET_TIMEOUT_S)
        except (queue.Full, FutureTimeout):
            response.success, response.message = False, "the gate is overloaded"
        self.get_logger().info(f"reset: {response.message}")
        return response

    # ---- the worker --------------------------------------------------------------------------------------------------

    def _run(self, work: _Work, keeper: Gatekeeper) -> None:
        waiting = self._queue
        while True:
            now = time.monotonic_ns()
            due = keeper.next_ns(now)
            motion_due = work.motion.due_ns()
            if motion_due is not None:
                due = min(due, motion_due)
            try:
                item = waiting.get(timeout=min(max(due - now, 100_000), 50_000_000) / 1e9)
                if item[0] is _Kind.STOP:
                    break
                verdicts = self._handle(keeper, item)
            except queue.Empty:
                verdicts = keeper.decide(time.monotonic_ns())
            except Exception as error:  # whatever it was: the gate must go on, and the command did not pass
                self.faults.report("deciding", error)
                reason = Reason("gate_check_failed", f"the gate failed: {type(error).__name__}: {error}")
                failed = keeper.set_condition(reason, time.monotonic_ns())
                keeper.clear_condition(reason.kind)
                verdicts = [failed] if failed is not None else []
            if self._dropped:
                self._dropped = 0
                verdicts = [*verdicts, keeper.overload(None, time.monotonic_ns())]
            for verdict in verdicts:
                self._carry_out(work, keeper, verdict)
            self._move(work)
        if keeper.state is not State.CLOSED and keeper.enforcing and work.hand_over is None:
            self._publish_motion(work, work.motion.neutral(self._stamp()), time.monotonic_ns())

    def _handle(self, keeper: Gatekeeper, item: tuple[_Kind, Any, Any]) -> list[Verdict]:
        kind, one, other = item
        now = time.monotonic_ns()
        if kind is _Kind.COMMAND:
            return keeper.take_command(one, now)
        if kind is _Kind.ATTESTATION:
            return keeper.take_attestation(one, other, now)
        if kind is _Kind.MESSAGE:
            return keeper.take_message(one, other, now)
        if kind is _Kind.CONDITION:
            verdict = keeper.set_condition(one, now)
            return [verdict] if verdict is not None else []
        if kind is _Kind.CLEAR:
            keeper.clear_condition(one)
        elif kind is _Kind.RESET:
            done = keeper.reset(now)
            if done.granted and self._work is not None:
                self._work.motion.stop()
            one.set_result((done.granted, done.message))
        return []

    def _carry_out(self, work: _Work, keeper: Gatekeeper, verdict: Verdict) -> None:
        """Forward first, then tell, then have it signed."""
        forwarded: list[Message] = []
        command = verdict.command
        if verdict.forward and command is not None:
            if keeper.enforcing and not self._publish_safely(work, command.payload):
                return
            forwarded.append(Message(work.output.topic_name, command.type, command.payload))
        elif keeper.enforcing and verdict.state is State.LATCHED and not work.motion.on:
            last = keeper.last_verified
            work.motion.start(last.payload if last is not None else None, time.monotonic_ns())
            self._move(work)
        decided_ns = time.monotonic_ns()
        began_ns = command.arrived_ns if command is not None else decided_ns
        self._latencies_ns.append(decided_ns - began_ns)
        del self._latencies_ns[:-1000]
        self._counts["accepted" if verdict.accepted else "refused"] += 1
        self._counts["forwarded"] += verdict.forward
        payload = verdict_payload(verdict, keeper)
        work.verdicts.publish(payload)
        said = Message(work.verdicts.topic_name, "og_ros/msg/Verdict", payload)
        self._last_verdict = said
        if command is not None:
            read = Message(command.topic, command.type, command.payload)
        else:  # no command: an input that is not there, and says so
            read = Message(work.settings.command, work.type, b"\0\1\0\0", disclosure=Disclosure.ABSENT)
        self._attest(work, read, [*forwarded, said], began_ns, decided_ns)
        if not verdict.accepted:
            for reason in verdict.reasons:
                self.faults.report(reason.kind, reason.message)

    def _move(self, work: _Work) -> None:
        """Publish what the safe behaviour has due."""
        now = time.monotonic_ns()
        payload = work.motion.next(now, self._stamp())
        if payload is not None:
            self._publish_motion(work, payload, now)

    def _publish_motion(self, work: _Work, payload: bytes, began_ns: int) -> None:
        publisher = work.hand_over or work.output
        if self._publish_safely(work, payload, publisher):
            said = Message(publisher.topic_name, work.type, payload)
            self._attest(work, self._last_verdict_of(work), [said], began_ns, time.monotonic_ns())

    def _last_verdict_of(self, work: _Work) -> Message:
        """Return what a safe motion rests on: the verdict before it, or nothing that there is."""
        if self._last_verdict is not None:
            return self._last_verdict
        return Message(work.verdicts.topic_name, "og_ros/msg/Verdict", b"\0\1\0\0", disclosure=Disclosure.ABSENT)

    def _publish_safely(self, work: _Work, payload: bytes, publisher: Any = None) -> bool:
        try:
            (publisher or work.output).publish(payload)
        except rclpy_native.RCLError as error:
            self.faults.report("publishing", error)
            return False
        return True

    def _attest(self, work: _Work, read: Message, said: list[Message], began_ns: int, done_ns: int) -> None:
        clock = self.get_clock()
        start = max(0, clock.now().nanoseconds - (time.monotonic_ns() - began_ns))
        kind = AttestedClock.SIM if clock.ros_time_is_active else AttestedClock.SYSTEM
        work.attestations.submit(Attested((read,), tuple(said), start, kind, began_ns, max(0, done_ns - began_ns)))

    # ---- what it says ------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        work = self._work
        if work is None or work.keeper is None:
            return
        figures = Figures(self._counts, self._latencies_ns, self._queue.qsize(), self._active, self._bypassed)
        name = f"{self.get_fully_qualified_name()}: gate"
        self._diagnostics.publish(diagnostics(name, work.keeper, work.output.topic_name, figures))

    def _stamp(self) -> Any:
        return self.get_clock().now().to_msg()


def run_gate(kind: type[GateNode], args: Sequence[str] | None = None) -> int:
    """Run a gate node of some class as a process, started if `autostart` says so."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)

    def make() -> GateNode:
        node = kind()
        try:
            node.start()
        except OgError:
            node.destroy_node()
            raise
        return node

    return run_node(make, args)


def main(args: Sequence[str] | None = None) -> int:
    """Run the gate as a process."""
    return run_gate(GateNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
