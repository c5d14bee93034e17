"""The gate node: passes a command on only when its decision chain verified, and stops the robot when one did not."""

from __future__ import annotations

import gc
import queue
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from threading import Semaphore
from typing import Any, Final

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

from og_ros.attest import ATTESTATION_TYPE, digest
from og_ros.audit.appraiser import Appraised
from og_ros.audit.findings import Finding
from og_ros.audit.gate_decisions import GATE_STAGE
from og_ros.errors import AttestationError, ConfigError, OgError
from og_ros.gate import estop
from og_ros.gate.gatekeeper import Gatekeeper
from og_ros.gate.verdict import Check, Command, Reason
from og_ros.msg import Attestation, EmergencyStop
from og_ros.nodes.attestation_publisher import HASH_BESIDE_BYTES
from og_ros.nodes.faults import Faults
from og_ros.nodes.gate_inbox import Inbox, Kind
from og_ros.nodes.gate_messages import Figures, diagnostics
from og_ros.nodes.gate_parameters import GateParameters
from og_ros.nodes.gate_setup import GateWork, read_limits, set_up
from og_ros.nodes.gate_worker import GateWorker
from og_ros.nodes.process import run_node, started_anew
from og_ros.nodes.stop_sender import stop_qos
from og_ros.nodes.topics import attestation_qos, matching_qos, message_class, usable_names, wait_until_heard
from og_ros.stages.certified import require_certified

# Names of subscriptions beside those that are named as their topics.
STOPS: Final = "emergency stops"
LIMITS: Final = "for the envelope:"
DISCOVERY_S: Final = 0.1
DIAGNOSTICS_S: Final = 1.0
RESET_TIMEOUT_S: Final = 2.0
# Python lets a thread run for so long before another gets its turn; its default, 5 ms, is a control period.
SWITCH_INTERVAL_S: Final = 0.0005


class GateNode(LifecycleNode):
    """A lifecycle node between the stage that makes commands and the driver that obeys them.

    Callbacks hand on to a GateWorker, which owns the gatekeeper, forwards, and publishes ~/verdict (Verdict). Every
    decision is attested by the gate's own key on ~/verdict/attestation: its input is the command, its outputs are what
    it passed on and the verdict. ~/reset (std_srvs/Trigger) opens a latched gate.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("gate", **options)
        self._given = GateParameters(self)
        self.faults = Faults(self.get_logger())
        self._work: GateWork | None = None
        self._active = False
        self._failure: OgError | None = None
        self._inbox = Inbox(1)
        self._hashing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hash")
        self._hash_places = Semaphore(1)
        self._bypassed = False

    # ---- further rules -----------------------------------------------------------------------------------------------

    def checks(self) -> Sequence[Check]:
        """Return the further rules that a verified command must pass; made anew at each activation."""
        limits = self._work.limits if self._work is not None else None
        return (limits.envelope, limits.stop) if limits is not None else ()

    def set_condition(self, reason: Reason) -> None:
        """Latch because of something beside the commands, and stay so until `clear_condition`; from any thread."""
        self._inbox.insist(Kind.CONDITION, reason)

    def clear_condition(self, kind: str) -> None:
        """Say that a condition is over; the gate stays latched until it is reset. From any thread."""
        self._inbox.insist(Kind.CLEAR, kind)

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
            with usable_names():
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
        self._work = set_up(self, self._given, self.faults, self._take_evidence)
        self._hash_places = Semaphore(self._given.count("queue"))
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
            session = work.outlets.attestations.session
            require_certified(
                work.registry,
                robot=session.robot,
                stage=GATE_STAGE,
                model=session.model,
                runtime=session.runtime,
                key_id=work.signer.key_id,
                now_ns=time.time_ns(),
            )
        work.limits = read_limits(work, self._given)
        keeper = Gatekeeper(work.settings, work.registry, work.policy, self.checks())
        for text in keeper.not_checked:
            self.get_logger().warning(f"the policy's {text} is for an audit to check: no command has it when it passes")
        work.motion.stop()
        self._inbox, self._bypassed = Inbox(self._given.count("queue")), False
        work.worker = GateWorker(
            keeper, self._inbox, work.outlets, work.motion, self.get_clock(), self.faults.report, work.limits
        )
        if work.limits is not None and STOPS not in work.subscriptions:
            stops = self.create_subscription(EmergencyStop, estop.TOPIC, self._on_stop, stop_qos(), raw=True)
            work.subscriptions[STOPS] = stops
        gc.collect()
        gc.freeze()  # what exists by now stays; the collector need not walk it while commands pass
        # A gate that started itself anew was open or latched before: somebody has to look.
        anew = started_anew()
        work.worker.start(
            Reason(anew, "the gate stood still, heard nothing any more, and started anew") if anew else None
        )
        for found in work.desk.found:  # what was published before this activation does not come again
            work.worker.offer(Kind.EVIDENCE, found)
        self._active = True
        self.get_logger().info(
            f"{work.settings.mode}: {work.settings.command} → {work.outlets.output.topic_name}, sensors "
            f"{', '.join(work.settings.sensors)}, safe behaviour {work.settings.behaviour.kind}; closed so far"
        )

    def _stop_worker(self) -> None:
        self._active = False
        work = self._work
        if work is None or work.worker is None:
            return
        work.worker.stop()
        work.worker = None

    def _release(self) -> None:
        work, self._work = self._work, None
        if work is None:
            return
        outlets = work.outlets
        for timer in self._steady_timers:
            self.destroy_timer(timer)
        for subscription in work.subscriptions.values():
            self.destroy_subscription(subscription)
        self.destroy_service(self._service)
        work.desk.close()
        work.outlets.attestations.close()
        publishers = [p for p in (outlets.output, outlets.hand_over, outlets.verdicts, work.attestation_publisher) if p]
        wait_until_heard(publishers)
        for publisher in (*publishers, self._diagnostics):
            self.destroy_publisher(publisher)

    # ---- callbacks of the executor -----------------------------------------------------------------------------------

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
        for topic, kind in work.limits.envelope.inputs.items() if work.limits is not None else ():
            name = f"{LIMITS} {topic}"  # beside the subscription of the same topic as a sensor
            if name not in work.subscriptions and self.count_publishers(topic):
                self._hear(topic, kind, partial(self._on_input, topic), depth=10, name=name)
        command = work.settings.command
        if command not in work.subscriptions and self.count_publishers(command):
            self._hear(command, work.outlets.type, self._on_command, depth=10)
        self._look_for_others(work)

    def _look_for_others(self, work: GateWork) -> None:
        if self._given.text("bypass") == "ignore" or not self._active:
            return
        publishers = self.get_publishers_info_by_topic(work.outlets.output.topic_name)
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
        reason = Reason(
            "gate_bypassed", f"{', '.join(names)} publishes on {work.outlets.output.topic_name} beside the gate"
        )
        if self._given.text("bypass") == "latch":
            self.set_condition(reason)
        else:
            self.faults.report("gate_bypassed", reason.message)

    def _hear(self, topic: str, kind: str, callback: Any, depth: int = 100, name: str = "") -> None:
        assert self._work is not None
        qos = matching_qos(self, topic, depth)
        try:
            found = self.create_subscription(message_class(kind), topic, callback, qos, raw=True)
        except ConfigError as error:
            self.faults.report(f"topic {topic}", error)
            return
        self._work.subscriptions[name or topic] = found

    def _listen(self, topic: str) -> None:
        assert self._work is not None
        if topic not in self._work.subscriptions:
            callback = partial(self._on_attestation, topic)
            self._work.subscriptions[topic] = self.create_subscription(
                Attestation, topic, callback, attestation_qos(), raw=True
            )
            self._work.desk.listen(topic)

    def _on_command(self, payload: bytes) -> None:
        work = self._work
        if work is None or work.worker is None or not self._active:
            return
        command = Command(work.settings.command, work.outlets.type, payload, time.monotonic_ns())
        if work.worker.keeper.passes_all:
            work.outlets.output.publish(payload)
            command.passed = True
        work.worker.offer(Kind.COMMAND, command)

    def _offer(self, kind: Kind, one: Any, other: Any = None) -> None:
        work = self._work
        if self._active and work is not None and work.worker is not None:
            work.worker.offer(kind, one, other)

    def _on_attestation(self, topic: str, payload: bytes) -> None:
        self._offer(Kind.ATTESTATION, topic, payload)

    def _take_evidence(self, found: Appraised | Finding) -> None:
        work = self._work
        if work is not None and work.worker is not None:
            work.worker.offer(Kind.EVIDENCE, found)

    def _on_input(self, topic: str, payload: bytes) -> None:
        self._offer(Kind.INPUT, topic, payload)

    def _on_stop(self, payload: bytes) -> None:
        if self._active:  # not at once: it is written to the disk
            self._inbox.put((Kind.EMERGENCY, payload, None))

    def _on_message(self, topic: str, payload: bytes) -> None:
        work = self._work
        if work is None or work.worker is None or not self._active:
            return
        algorithm = work.worker.keeper.algorithm_of(topic)
        if len(payload) < HASH_BESIDE_BYTES:
            self._hash(topic, payload, algorithm)
        elif self._hash_places.acquire(blocking=False):
            self._hashing.submit(self._hash_beside, topic, payload, algorithm)
        else:
            self._inbox.drop()

    def _hash_beside(self, topic: str, payload: bytes, algorithm: str) -> None:
        self._hash_places.release()
        self._hash(topic, payload, algorithm)

    def _hash(self, topic: str, payload: bytes, algorithm: str) -> None:
        try:
            self._offer(Kind.MESSAGE, topic, digest(payload, algorithm))
        except AttestationError as error:
            self.faults.report(f"message on {topic}", error)

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        answer: Future[tuple[bool, str]] = Future()
        if not self._active:
            response.success, response.message = False, "the gate is not active"
            return response
        try:
            self._inbox.insist(Kind.RESET, answer, RESET_TIMEOUT_S)
            response.success, response.message = answer.result(RESET_TIMEOUT_S)
        except (queue.Full, FutureTimeout):
            response.success, response.message = False, "the gate is overloaded"
        self.get_logger().info(f"reset: {response.message}")
        return response

    # ---- what it says ------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        work = self._work
        if work is None or work.worker is None:
            return
        worker = work.worker
        figures = Figures(worker.counts, worker.latencies_ns, len(self._inbox), self._active, self._bypassed)
        name = f"{self.get_fully_qualified_name()}: gate"
        self._diagnostics.publish(diagnostics(name, worker.keeper, work.outlets.output.topic_name, figures))


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

    return run_node(make, args, events=True)


def main(args: Sequence[str] | None = None) -> int:
    """Run the gate as a process."""
    return run_gate(GateNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
