"""The gate at work: feeds the gatekeeper, forwards commands, publishes verdicts, and stops the robot."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Final

from rclpy.clock import Clock
from rclpy.impl.implementation_singleton import rclpy_implementation as rclpy_native

from og_ros.attest import Disclosure
from og_ros.attest.statement import Clock as AttestedClock
from og_ros.errors import EnvelopeError, StopError
from og_ros.gate.gatekeeper import Gatekeeper
from og_ros.gate.limits import Limits
from og_ros.gate.message_fields import FieldError
from og_ros.gate.verdict import Command, Reason, State, Verdict
from og_ros.nodes.attestation_publisher import AttestationPublisher, Message
from og_ros.nodes.attestation_publisher import Inference as Attested
from og_ros.nodes.gate_inbox import Inbox, Kind, Record
from og_ros.nodes.gate_messages import verdict_payload
from og_ros.nodes.safe_motion import SafeMotion

_KEPT_LATENCIES: Final = 1000
# The worker looks so often at least, and need not be woken for what is due by less before it looks anyway.
_LOOK_NS: Final = 50_000_000
_SLACK_NS: Final = 500_000


@dataclass(frozen=True)
class Outlets:
    """Where the gate publishes: message type, output, hand-over topic if there is one, verdicts, and who signs."""

    type: str
    output: Any
    hand_over: Any
    verdicts: Any
    attestations: AttestationPublisher


class GateWorker:
    """Works from `start` to `stop`, one record at a time, in the order of their arrival.

    A record is worked off at once, on the thread that brings it, if nothing waits and nobody else is at work: a command
    goes on without waiting for another thread to wake up. Else it waits in the inbox for the worker thread, which also
    does what is due at a time: deadlines, and the safe motion.
    """

    def __init__(
        self,
        keeper: Gatekeeper,
        inbox: Inbox,
        outlets: Outlets,
        motion: SafeMotion,
        clock: Clock,
        report: Callable[[str, Exception | str], None],
        limits: Limits | None = None,
    ) -> None:
        self.keeper = keeper
        self.counts: Counter[str] = Counter()
        self.latencies_ns: list[int] = []
        self._inbox, self._outlets, self._motion = inbox, outlets, motion
        self._clock, self._report, self._limits = clock, report, limits
        self._first: list[Verdict] = []
        self._last_verdict: Message | None = None
        self._last_began_ns = 0
        self._turn = threading.Lock()
        self._stopped = False
        self._wake_ns = 0
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)

    def start(self, latched_for: Reason | None = None) -> None:
        """Begin: latched, if the robot was stopped before, or for a reason that is over but asks for a reset."""
        self._first = self.look_at_stop()
        if latched_for is not None:
            verdict = self.keeper.set_condition(latched_for, time.monotonic_ns(), always=True)
            self.keeper.clear_condition(latched_for.kind)
            self._first += [verdict] if verdict is not None else []
        self._thread.start()

    def stop(self) -> None:
        """Leave: once anything has passed, with the neutral message as the last one."""
        self._inbox.insist(Kind.STOP)
        self._thread.join(10.0)

    def offer(self, kind: Kind, one: Any, other: Any = None) -> None:
        """Work a record off now, or leave it in the inbox; from any thread."""
        record = (kind, one, other)
        if len(self._inbox) or not self._turn.acquire(blocking=False):
            self._inbox.put(record)
            return
        try:
            if self._stopped:
                return
            if len(self._inbox):  # another thread left one in between
                self._inbox.put(record)
                return
            self._try(record)
            if self._due_ns() < self._wake_ns - _SLACK_NS:
                self._inbox.nudge()
        finally:
            self._turn.release()

    def _run(self) -> None:
        while not self._stopped:
            self._inbox.wait(max(self._wake_ns - time.monotonic_ns(), 100_000) / 1e9)
            with self._turn:
                record = self._inbox.take()
                if record is None:
                    self._try(None)
                while record is not None and not self._stopped:
                    if record[0] is Kind.STOP:
                        self._stopped = True
                    else:
                        self._try(record)
                    record = self._inbox.take()
                self._wake_ns = self._due_ns()
        moved = self.keeper.state is not State.CLOSED and not self.keeper.passes_all
        if moved and self._outlets.hand_over is None:
            self._publish_motion(self._motion.neutral(self._clock.now().to_msg()), time.monotonic_ns())

    def _due_ns(self) -> int:
        """Return when the worker must look, if nothing arrives before."""
        now = time.monotonic_ns()
        motion_ns = self._motion.due_ns()
        return min(self.keeper.next_ns(now), now + _LOOK_NS, *([motion_ns] if motion_ns is not None else []))

    def _try(self, record: Record | None) -> None:
        """Work a record off (None: only what is due), and all that follows from it."""
        try:
            verdicts, self._first = self._first, []
            verdicts += self._handle(record) if record is not None else self.keeper.decide(time.monotonic_ns())
            if self._inbox.take_dropped():
                verdicts = [*verdicts, self.keeper.overload(None, time.monotonic_ns())]
            while verdicts:
                for verdict in verdicts:
                    self._carry_out(verdict)
                verdicts = self.keeper.decide(time.monotonic_ns())
            self._move()
        except Exception as error:  # whatever it was: the gate must go on, and latched
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Latch for an error of the gate's own."""
        self._report("the gate failed", error)
        reason = Reason("gate_check_failed", f"the gate failed: {type(error).__name__}: {error}")
        verdict = self.keeper.set_condition(reason, time.monotonic_ns())
        self.keeper.clear_condition(reason.kind)  # it is over; what it did to the state is not
        try:
            if verdict is not None:
                self._carry_out(verdict)
        except Exception as again:
            self._report("the gate failed", again)

    def _handle(self, record: Record) -> list[Verdict]:
        kind, one, other = record
        now = time.monotonic_ns()
        if kind is Kind.COMMAND:
            return self.keeper.take_command(one, now)
        if kind is Kind.ATTESTATION:
            return self.keeper.take_attestation(one, other, now)
        if kind is Kind.MESSAGE:
            return self.keeper.take_message(one, other, now)
        if kind is Kind.EVIDENCE:
            return self.keeper.take_evidence(one, now)
        if kind is Kind.CONDITION:
            verdict = self.keeper.set_condition(one, now)
            return [verdict] if verdict is not None else []
        if kind is Kind.CLEAR:
            self.keeper.clear_condition(one)
        elif kind is Kind.RESET:
            self._reset(one, now)
        elif kind is Kind.EMERGENCY:
            return self._take_stop(one)
        elif kind is Kind.INPUT and self._limits is not None:
            self._limits.envelope.observe(one, self._limits.envelope.inputs[one], other, now)
        return []

    def _take_stop(self, payload: bytes) -> list[Verdict]:
        if self._limits is None:
            return []
        try:
            self._limits.take_stop(payload)
        except StopError as error:
            self._report("stop_invalid", error)
        except EnvelopeError as error:  # the disk: what was asked for counts all the same
            self._report("emergency_stop", error)
        return self.look_at_stop()

    def look_at_stop(self) -> list[Verdict]:
        """Latch while the robot is stopped, in whatever mode and state; for the worker's thread, and before `start`."""
        if self._limits is None:
            return []
        now = time.monotonic_ns()
        reason = self._limits.stop("", "", b"", now)
        if reason is None:
            self.keeper.clear_condition("emergency_stop")
            return []
        verdict = self.keeper.set_condition(reason, now, always=True)
        return [verdict] if verdict is not None else []

    def _reset(self, answer: Future[tuple[bool, str]], now_ns: int) -> None:
        done = self.keeper.reset(now_ns)
        if done.granted:
            self._motion.stop()
        answer.set_result((done.granted, done.message))

    def _carry_out(self, verdict: Verdict) -> None:
        """Forward or stop first, then tell, then have it signed."""
        keeper, outlets, command = self.keeper, self._outlets, verdict.command
        said: list[Message] = []
        if not keeper.enforcing and command is not None:
            verdict = replace(verdict, forward=command.passed)  # the callback has published it, or not
        if verdict.forward and command is not None:
            if command.passed or self._publish(outlets.output, command.payload):
                said.append(Message(outlets.output.topic_name, command.type, command.payload))
                self._note(command.payload, command.arrived_ns if command.passed else time.monotonic_ns())
        elif verdict.state is State.LATCHED and (self._holds(verdict) or not self._motion.on):
            last = None if self._holds(verdict) else keeper.last_verified
            self._motion.start(last.payload if last is not None else None, time.monotonic_ns())
            self._move()
        done_ns = time.monotonic_ns()
        began_ns = command.arrived_ns if command is not None else done_ns
        if command is not None:
            self.latencies_ns.append(done_ns - began_ns)
            del self.latencies_ns[:-_KEPT_LATENCIES]
        self.counts["accepted" if verdict.accepted else "refused"] += 1
        self.counts["forwarded"] += verdict.forward
        payload = verdict_payload(verdict, keeper)
        if self._publish(outlets.verdicts, payload):
            self._last_verdict = Message(outlets.verdicts.topic_name, "og_ros/msg/Verdict", payload)
            said.append(self._last_verdict)
        self._attest(self._read(command), said, began_ns, done_ns)
        if not verdict.accepted:
            for reason in verdict.reasons:
                self._report(reason.kind, reason.message)

    def _holds(self, verdict: Verdict) -> bool:
        """Say whether the last command would be repeated after an emergency stop, which must not be."""
        return "emergency_stop" in verdict.kinds and self.keeper.settings.behaviour.kind == "hold"

    def _move(self) -> None:
        """Publish what the safe behaviour has due."""
        now = time.monotonic_ns()
        payload = self._motion.next(now, self._clock.now().to_msg())
        if payload is not None:
            self._publish_motion(payload, now)

    def _publish_motion(self, payload: bytes, began_ns: int) -> None:
        publisher = self._outlets.hand_over or self._outlets.output
        if self._publish(publisher, payload):
            self._note(payload, time.monotonic_ns())
            said = Message(publisher.topic_name, self._outlets.type, payload)
            self._attest(self._last_verdict or self._read(None), [said], began_ns, time.monotonic_ns())

    def _note(self, payload: bytes, now_ns: int) -> None:
        """Tell the envelope what went to the motors: how fast a command may change depends on it."""
        if self._limits is not None:
            try:
                self._limits.envelope.forwarded(self.keeper.settings.command, payload, now_ns)
            except FieldError as error:  # in mode monitor anything passes
                self._report("envelope_exceeded", error)

    def _read(self, command: Command | None) -> Message:
        """Return what a decision was about, as an input; without a command, one that says that it is not there."""
        if command is not None:
            return Message(command.topic, command.type, command.payload)
        topic = self.keeper.settings.command
        return Message(topic, self._outlets.type, b"\0\1\0\0", disclosure=Disclosure.ABSENT)

    def _publish(self, publisher: Any, payload: bytes) -> bool:
        try:
            publisher.publish(payload)
        except rclpy_native.RCLError as error:
            self._report("publishing", error)
            return False
        return True

    def _attest(self, read: Message, said: list[Message], began_ns: int, done_ns: int) -> None:
        if said:
            # A session's starts never go back. A command that waited was decided upon after what was done meanwhile.
            began_ns = self._last_began_ns = max(began_ns, self._last_began_ns)
            start_ns = max(0, self._clock.now().nanoseconds - (time.monotonic_ns() - began_ns))
            kind = AttestedClock.SIM if self._clock.ros_time_is_active else AttestedClock.SYSTEM
            duration_ns = max(0, done_ns - began_ns)
            self._outlets.attestations.submit(Attested((read,), tuple(said), start_ns, kind, began_ns, duration_ns))
