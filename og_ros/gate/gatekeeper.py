"""The gatekeeper: decides about every command, latches when one must not pass, and opens again only when asked to."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from og_ros.attest import digest
from og_ros.attest.statement import NO_DIGEST
from og_ros.audit.appraiser import Appraised
from og_ros.audit.findings import Finding
from og_ros.audit.judge import chain_latency
from og_ros.audit.policy import Policy
from og_ros.errors import AttestationError
from og_ros.gate.chain import Evidence, Link
from og_ros.gate.settings import GateSettings, at_run_time
from og_ros.gate.verdict import Check, Command, Reason, State, Verdict
from og_ros.registry import Registry

_FORGOTTEN: Final = 2**62


@dataclass(frozen=True, slots=True)
class Reset:
    """Whether a reset was granted, and why not."""

    granted: bool
    message: str


class Gatekeeper:
    """Decides about commands. Not thread-safe: one thread feeds it and asks it.

    Feed it with `take_attestation`, `take_message` and `take_command`; each of them, and `decide`, returns the verdicts
    that are due. Times are monotonic ns and never go back; only signing times are held against `wall_clock`.
    A gatekeeper begins closed: nothing passes, and a refusal does not latch, until one command's chain has verified.
    """

    def __init__(
        self,
        settings: GateSettings,
        registry: Registry,
        policy: Policy | None = None,
        checks: Sequence[Check] = (),
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Raises PolicyError for a policy that no command could meet before it is executed."""
        self.settings = settings
        self.state = State.CLOSED
        self.counts: Counter[str] = Counter()
        self.last_verified: Command | None = None
        """The last command that was passed: what `hold` and `decelerate` begin with."""
        self.latched_ns = 0
        self.latched_for: tuple[Reason, ...] = ()
        policy, self.not_checked = at_run_time(policy or Policy())
        self._evidence = Evidence(settings, registry, policy)
        self._checks = tuple(checks)
        self._wall_clock = wall_clock
        self._waiting: deque[Command] = deque()
        self._conditions: dict[str, Reason] = {}
        self._accepted_ns = self._refused_ns = -_FORGOTTEN

    @property
    def enforcing(self) -> bool:
        """Whether what is not accepted does not pass."""
        return self.settings.mode == "enforce"

    @property
    def passes_all(self) -> bool:
        """Whether everything passes, accepted or not: in mode monitor, unless an emergency stop latched the gate."""
        return not self.enforcing and self.state is not State.LATCHED

    @property
    def findings(self) -> Counter[str]:
        """How often each kind of finding was made about attestations."""
        return self._evidence.counts

    @property
    def size(self) -> int:
        """How many records and commands are held in memory."""
        return self._evidence.size + len(self._waiting)

    def algorithm_of(self, topic: str) -> str:
        """Return the digest algorithm that verified attestations use for a topic."""
        return self._evidence.algorithm_of(topic)

    def take_attestation(self, topic: str, payload: bytes, now_ns: int) -> list[Verdict]:
        """Take an attestation, serialised, from whatever topic it came on."""
        self._evidence.take_attestation(topic, payload, now_ns, self._wall_clock())
        return self.decide(now_ns)

    def take_evidence(self, found: Appraised | Finding, now_ns: int) -> list[Verdict]:
        """Take evidence of a key that was appraised elsewhere: on the way of a command there is no time for it."""
        self._evidence.take_evidence(found)
        return self.decide(now_ns)

    def take_message(self, topic: str, message_digest: bytes, now_ns: int) -> list[Verdict]:
        """Take the digest (of `algorithm_of(topic)`) of a sensor message."""
        self._evidence.take_message(topic, message_digest, now_ns)
        return self.decide(now_ns)

    def take_command(self, command: Command, now_ns: int) -> list[Verdict]:
        """Take a command; too many at once are refused as overload."""
        try:
            command.digest = digest(command.payload, self.algorithm_of(command.topic))
        except AttestationError as error:
            return [self._refuse(command, [Reason("attestation_missing", str(error))], None, now_ns)]
        if len(self._waiting) >= self.settings.max_waiting:
            return [self.overload(command, now_ns)]
        self._waiting.append(command)
        return self.decide(now_ns)

    def overload(self, command: Command | None, now_ns: int) -> Verdict:
        """Refuse a command (None: other data was dropped) because the gate cannot keep up."""
        what = (
            "more commands wait than the gate is set to hold" if command else "records arrive faster than they are read"
        )
        return self._refuse(command, [Reason("gate_overloaded", what)], None, now_ns)

    def decide(self, now_ns: int) -> list[Verdict]:
        """Return the verdicts that are due at a time; call it at `next_ns` at the latest.

        With further checks, no verdict follows one that forwards: a check may depend on what was passed last. So carry
        them out, and call again until there is none.
        """
        verdicts: list[Verdict] = []
        waiting = self._waiting
        index = 0
        while index < len(waiting):
            command = waiting[index]
            verdict = self._judge(command, now_ns)
            if verdict is None:
                index += 1
                continue
            del waiting[index]
            if verdict.accepted and index:
                # Nothing older may pass after it.
                for _ in range(index):
                    verdicts.append(self._supersede(waiting.popleft(), now_ns))
                index = 0
                if self.enforcing and verdict.forward and self.state is not State.OPEN:
                    verdict = self._withhold(verdict)
            verdicts.append(verdict)
            if verdict.forward and self._checks:
                break
        stalled = self._stalled(now_ns)
        return [*verdicts, stalled] if stalled is not None else verdicts

    def next_ns(self, now_ns: int) -> int:
        """Return when `decide` must be called, at the latest, if nothing arrives before."""
        due = [command.arrived_ns + self.settings.deadline_ns for command in list(self._waiting)[:1]]
        if self.state is State.OPEN and self.settings.stall_ns:
            due.append(self._accepted_ns + self.settings.stall_ns)
        return min(due, default=now_ns + 10**9)

    def set_condition(self, reason: Reason, now_ns: int, always: bool = False) -> Verdict | None:
        """Note that something stands against any command, such as another publisher on the output: latches.

        Returns a verdict when that is new. It must be cleared before a reset is granted. `always`: also a gate that is
        closed or in mode monitor latches, and each other message gives a verdict.
        """
        known = self._conditions.get(reason.kind)
        self._conditions[reason.kind] = reason
        if always and self.state is not State.LATCHED:
            self.state, self.latched_ns, self.latched_for = State.LATCHED, now_ns, (reason,)
        if known is not None and (known == reason or not always):
            return None
        return self._refuse(None, [reason], None, now_ns)

    def clear_condition(self, kind: str) -> None:
        """Note that something no longer stands against commands."""
        self._conditions.pop(kind, None)

    def reset(self, now_ns: int) -> Reset:
        """Open a latched gate again, unless its cause persists."""
        if self.state is not State.LATCHED:
            return Reset(True, "the gate is not latched")
        if self._conditions:
            return Reset(False, "; ".join(reason.message for reason in self._conditions.values()))
        if not self.enforcing:  # what else is wrong stops nothing in this mode
            self.state, self.latched_for, self.last_verified = State.CLOSED, (), None
            return Reset(True, "the gate passes everything again")
        healthy = self.settings.healthy_ns
        if now_ns - self._refused_ns < healthy:
            return Reset(False, f"something was refused less than {healthy / 1e9:g} s ago")
        limit = self.settings.stall_ns
        if limit and (self._accepted_ns <= self.latched_ns or now_ns - self._accepted_ns > limit):
            return Reset(False, "no command verifies: stages, sensors or their attestations are missing")
        self.state, self.latched_for = State.OPEN, ()
        # A command from before the stop must not be what a later hold repeats.
        self.last_verified, self._accepted_ns = None, now_ns
        return Reset(True, "the gate is open")

    def _judge(self, command: Command, now_ns: int) -> Verdict | None:
        late = now_ns - command.arrived_ns >= self.settings.deadline_ns
        link = self._evidence.partner(command)
        if link is None:
            return self._refuse(command, self._evidence.explain(command), None, now_ns) if late else None
        self._evidence.resolve(link)
        if not link.resolved and not link.reasons:
            if not late:
                return None
            return self._refuse(command, [Reason(link.missing_kind, link.missing)], link, now_ns)
        reasons = list(link.reasons) or self._objections(command, link, now_ns)
        if reasons:
            return self._refuse(command, reasons, link, now_ns)
        return self._accept(command, link, now_ns)

    def _objections(self, command: Command, link: Link, now_ns: int) -> list[Reason]:
        """Return what speaks against a command whose chain is whole and valid."""
        found = []
        stages = self.settings.stages
        if not link.inference.linked:
            found.append(Reason("decision_unlinked", "its chain does not begin with sensor messages"))
        missing = [stage for stage in stages if stage not in link.stages]
        if missing:
            found.append(Reason("stage_missing", f"its chain has no stage {', '.join(missing)}"))
        if stages and link.statement.stage != stages[-1]:
            message = f"stage {link.statement.stage} attested it; commands come from stage {stages[-1]}"
            found.append(Reason("command_wrong_stage", message))
        age, limit = self._evidence.age_ns(link, now_ns), self.settings.max_command_age_ns
        if age > limit:
            found.append(
                Reason("command_stale", f"it is {min(age, 10**15) / 1e6:.1f} ms old; {limit / 1e6:g} ms are allowed")
            )
        found += self._evidence.decision(link, chain_latency(link.inference)[0])
        if not found:
            for check in self._checks:
                try:
                    reason = check(command.topic, command.type, command.payload, now_ns)
                except Exception as error:  # whatever it was: a rule that cannot be applied is not met
                    reason = Reason("gate_check_failed", f"a check could not be made: {type(error).__name__}: {error}")
                if reason is not None:
                    found.append(reason)
        return found

    def _accept(self, command: Command, link: Link, now_ns: int) -> Verdict:
        link.spent = True
        self._accepted_ns = now_ns
        reasons: tuple[Reason, ...] = tuple(self._conditions.values())
        if self.state is State.CLOSED and not reasons:
            self.state = State.OPEN
        forward = self.state is State.OPEN
        if self.state is State.LATCHED:
            kinds = ", ".join(dict.fromkeys(reason.kind for reason in self.latched_for))
            reasons = (Reason("gate_latched", f"the gate latched ({kinds}) and was not reset"),)
        if forward:
            self.last_verified = command
        self.counts["accepted"] += 1
        return self._verdict(command, link, now_ns, True, forward or self.passes_all, reasons)

    def _refuse(self, command: Command | None, reasons: list[Reason], link: Link | None, now_ns: int) -> Verdict:
        self._refused_ns = now_ns
        if link is not None:
            link.spent = True
        for reason in reasons:
            self.counts[reason.kind] += 1
        if command is not None:
            self.counts["refused"] += 1
        if self.state is State.OPEN:
            if self.enforcing:
                self.state, self.latched_ns, self.latched_for = State.LATCHED, now_ns, tuple(reasons)
            elif reasons[0].kind == "chain_stalled":
                self.state = State.CLOSED
        forward = command is not None and self.passes_all
        return self._verdict(command, link, now_ns, False, forward, tuple(reasons))

    def _supersede(self, command: Command, now_ns: int) -> Verdict:
        reasons = self._evidence.explain(command)
        if reasons[0].kind in ("attestation_missing", "output_altered"):
            reasons = [Reason("command_superseded", "a later command verified first; this one has no attestation yet")]
        return self._refuse(command, reasons, self._evidence.partner(command), now_ns)

    def _withhold(self, verdict: Verdict) -> Verdict:
        """Return the verdict of a command that verified in the moment in which the gate latched for an older one."""
        reason = Reason("gate_latched", "an older command without proof was before it")
        self.last_verified = None
        return Verdict(
            verdict.mode, self.state, True, False, (reason,), verdict.notes, verdict.command, verdict.attestation,
            verdict.stages, verdict.latency_ns, verdict.chain_ns,
        )  # fmt: skip

    def _stalled(self, now_ns: int) -> Verdict | None:
        limit = self.settings.stall_ns
        if self.state is not State.OPEN or not limit or now_ns - self._accepted_ns <= limit:
            return None
        return self._refuse(
            None, [Reason("chain_stalled", f"no command verified for {limit / 1e6:g} ms")], None, now_ns
        )

    def _verdict(
        self,
        command: Command | None,
        link: Link | None,
        now_ns: int,
        accepted: bool,
        forward: bool,
        reasons: tuple[Reason, ...],
    ) -> Verdict:
        return Verdict(
            self.settings.mode,
            self.state,
            accepted,
            forward,
            reasons,
            tuple(link.notes) if link is not None else (),
            command,
            link.inference.attestation.digest if link is not None else NO_DIGEST,
            link.stages if link is not None else (),
            now_ns - command.arrived_ns if command is not None else 0,
            chain_latency(link.inference)[0] if link is not None and link.resolved else None,
        )
