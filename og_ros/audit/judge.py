"""The judge: holds inferences, decisions and runs against a policy, the same for audit, live auditor and gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from og_ros.attest import Clock, DataReference, ModelReference, Runtime, Statement
from og_ros.audit.axes import below
from og_ros.audit.findings import Finding
from og_ros.audit.policy import EVERY, Policy, StageDemands
from og_ros.audit.records import Inference
from og_ros.registry import Registry
from og_ros.registry.rules import model_certificate

# A sensor stamp and an attestation that are a day apart come from different clocks (simulated and wall time).
_SAME_CLOCK_NS: Final = 86_400 * 10**9
# So many stages are remembered; who signs more under new names only makes the judge look each of them up again.
_MAX_PLANS: Final = 1024

_TooLow = tuple[tuple[str, frozenset[str], str], ...]


@dataclass(frozen=True, slots=True)
class SessionTotal:
    """How many attestations of one session were read and are missing; `topic` is where they arrived."""

    stage: str
    topic: str
    lost: int
    read: int


@dataclass(frozen=True)
class RunTotals:
    """What only the end of a run tells.

    `stages` and `outputs` are the stages that attested something and the topics that they wrote. `topics` maps a topic
    to its records that lack their counterpart and all of them, `reexecuted` a stage to its inferences that were run
    again and all of them. `sources` are those of the stages that run nothing: data begins there.
    """

    stages: Collection[str]
    outputs: Collection[str]
    topics: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    sessions: Collection[SessionTotal] = ()
    reexecuted: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    sources: Collection[str] = ()


@dataclass(slots=True)
class _Plan:
    """What to check of a stage, and what was said of the identity (model, runtime, key) that it had last."""

    too_low: _TooLow
    demands: StageDemands
    has_identity: bool
    has_time: bool
    last: tuple[ModelReference, Runtime, bytes] | None = None
    problems: tuple[tuple[str, str], ...] = ()


class Judge:
    """Applies one policy; keeps no inference, so that a run of any length costs it nothing.

    `unchecked` counts what a demand was made of and could not be checked, by what it is; `not_checked` tells it.
    """

    def __init__(self, policy: Policy, registry: Registry | None) -> None:
        """Judge by a policy; without a registry no vendor and no certifier is known, so a demand on them is not met."""
        self.policy = policy
        self.unchecked: Counter[str] = Counter()
        self._registry = registry
        self._plans: dict[tuple[str, bool], _Plan | None] = {}
        self._decision = _too_low(policy.decision_levels)

    def trust(self) -> Iterator[Finding]:
        """Yield what is wrong with the registry itself: a policy may pin its root, a chain's snapshot may not hold."""
        root, registry = self.policy.registry_root, self._registry
        if registry is not None and root is not None and not registry.pinned:
            yield Finding("root_not_trusted", f"the registry's root is {registry.fingerprint}, not {root}")
        if registry is not None:
            yield from (Finding(kind, sentence) for kind, sentence in registry.remarks)

    def inference(self, inference: Inference, levels: Mapping[str, str]) -> Iterable[Finding]:
        """Return what an inference with these levels lacks; judge it once its inputs are joined, for their ages.

        A source runs no model, so what is demanded of every stage is not demanded of it, unless it is named.
        """
        statement = inference.attestation.statement
        kind = (statement.stage, statement.is_source)
        try:
            plan = self._plans[kind]
        except KeyError:
            plan = self._plan(*kind)
        return () if plan is None else self._judge(inference, levels, plan)

    def decision(
        self, inference: Inference, chain_levels: Mapping[str, str], latency_ns: int | None
    ) -> Iterable[Finding]:
        """Return what a command lacks: levels over its whole chain, and the time that it took (`chain_latency`)."""
        found = []
        for axis, low, least in self._decision:
            if chain_levels[axis] in low:
                message = f"{axis} is {chain_levels[axis]} over the chain of a command; the policy demands {least}"
                found.append(inference.finding("below_policy", f"stage {inference.stage}: {message}"))
        limit = self.policy.max_chain_latency_ns
        if limit is not None and latency_ns is not None and latency_ns > limit:
            message = f"{_ms(latency_ns)} from sensor to command; {_ms(limit)} are allowed"
            found.append(inference.finding("latency_exceeds_policy", f"stage {inference.stage}: {message}"))
        return found

    def run(self, totals: RunTotals) -> Iterator[Finding]:
        """Yield what a run as a whole lacks."""
        policy = self.policy
        for stage in policy.required_stages:
            if stage not in totals.stages:
                yield Finding("stage_missing", f"stage {stage} is required and attested nothing", stage=stage)
        for topic in policy.decisions:
            if topic not in totals.outputs:
                message = f"no stage attested a command on {topic}, which the policy names"
                yield Finding("decision_missing", message, topic=topic)
        for topic, (missing, expected) in sorted(totals.topics.items()):
            allowed = policy.allowed_loss(topic)
            if missing / max(expected, 1) > allowed:
                message = (
                    f"{missing} of {expected} records on {topic} lack their counterpart; {allowed:.1%} are allowed"
                )
                yield Finding("loss_exceeds_policy", message, topic=topic)
        for session in totals.sessions:
            everything = session.lost + session.read
            if session.lost / max(everything, 1) > policy.max_loss:
                message = f"{session.lost} of {everything} attestations of a session are missing"
                yield Finding(
                    "loss_exceeds_policy",
                    f"stage {session.stage}: {message}; {policy.max_loss:.1%} are allowed",
                    topic=session.topic,
                    stage=session.stage,
                )
        yield from self._reexecution(totals)

    def not_checked(self) -> list[str]:
        """Return what the policy demands and could not be checked, for the report."""
        return [f"{what} ({count} inferences)" for what, count in sorted(self.unchecked.items())]

    def _reexecution(self, totals: RunTotals) -> Iterator[Finding]:
        least = self.policy.min_reexecuted
        if not least:
            return
        for stage in sorted(set(totals.stages) - set(totals.sources)):
            done, all_of_them = totals.reexecuted.get(stage, (0, 0))
            if not done or done / all_of_them < least:
                number = f"{done} of {all_of_them} inferences were run again" if done else "no inference was run again"
                message = f"stage {stage}: {number}; the policy demands {least:.1%} (og-ros audit --reexecute)"
                yield Finding("reexecution_below_policy", message, stage=stage)

    def _plan(self, stage: str, is_source: bool) -> _Plan | None:
        demands = self.policy.source(stage) if is_source else self.policy.stage(stage)
        identity = (demands.models, demands.keys, demands.vendors, demands.certifiers, demands.runtimes)
        has_time = bool(demands.max_input_age_ns) or demands.max_signing_delay_ns is not None
        plan = None
        if demands.levels or any(identity) or has_time:
            plan = _Plan(_too_low(demands.levels), demands, any(identity), has_time)
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        self._plans[stage, is_source] = plan
        return plan

    def _judge(self, inference: Inference, levels: Mapping[str, str], plan: _Plan) -> Iterator[Finding]:
        statement = inference.attestation.statement
        stage = statement.stage
        for axis, low, least in plan.too_low:
            if levels[axis] in low:
                message = f"{axis} is {levels[axis]}; the policy demands {least}"
                yield inference.finding("below_policy", f"stage {stage}: {message}")
        if plan.has_identity:
            identity = (statement.model, statement.runtime, statement.key_id)
            if identity != plan.last:
                plan.problems = tuple(self._identity(statement, plan.demands))
                plan.last = identity
            for kind, message in plan.problems:
                yield inference.finding(kind, f"stage {stage}: {message}")
        if plan.has_time:
            for kind, message in self._times(inference, statement, plan.demands):
                yield inference.finding(kind, f"stage {stage}: {message}")

    def _identity(self, statement: Statement, demands: StageDemands) -> Iterator[tuple[str, str]]:
        """Yield what the policy does not allow of a model, runtime and key."""
        model, runtime, key_id = statement.model, statement.runtime, statement.key_id.hex()
        names = {model.name, f"{model.name}@{model.version}", f"sha256:{model.digest.hex()}"}
        if demands.models and names.isdisjoint(demands.models):
            text = f"model {model.name}@{model.version} ({model.digest.hex()[:16]})"
            yield "model_not_allowed", f"{text} is not one that the policy allows: {', '.join(demands.models)}"
        if demands.keys and key_id not in demands.keys:
            yield "key_not_allowed", f"key {key_id[:16]} is not one that the policy allows"
        if demands.vendors:
            key = self._registry.key(statement.key_id) if self._registry is not None else None
            vendor = key.vendor if key is not None else ""
            if vendor not in demands.vendors:
                text = f"key {key_id[:16]} is of {f'vendor {vendor}' if vendor else 'no known vendor'}"
                yield "vendor_not_allowed", f"{text}; the policy allows {', '.join(demands.vendors)}"
        if demands.certifiers:
            certificate = model_certificate(self._registry, model) if self._registry is not None else None
            certifier = certificate.certifier if certificate is not None else ""
            if certifier not in demands.certifiers:
                text = f"model {model.name}@{model.version} was certified by {certifier or 'nobody that is known'}"
                yield "certifier_not_allowed", f"{text}; the policy allows {', '.join(demands.certifiers)}"
        if demands.runtimes and not any(rule.allows(runtime) for rule in demands.runtimes):
            text = (
                " ".join(filter(None, (runtime.name, runtime.version, runtime.provider))) or "a runtime without a name"
            )
            allowed = "; ".join(map(str, demands.runtimes))
            yield "runtime_not_allowed", f"ran in {text}; the policy allows {allowed}"

    def _times(self, inference: Inference, statement: Statement, demands: StageDemands) -> Iterator[tuple[str, str]]:
        """Yield which inputs were too old, and whether the signature came too late."""
        if demands.max_input_age_ns:
            general = demands.max_input_age_ns.get(EVERY)
            for index, reference in enumerate(statement.inputs):
                limit = demands.max_input_age_ns.get(reference.topic, general)
                if limit is not None:
                    yield from self._age(inference, reference, index, limit)
        limit = demands.max_signing_delay_ns
        if limit is None:
            return
        if statement.clock is not Clock.SYSTEM:
            self.unchecked["the time from inference to signature: the inference has simulated time"] += 1
            return
        delay_ns = statement.signed_at_ns - statement.start_ns - statement.duration_ns
        if delay_ns > limit:
            yield "signed_late", f"signed {_ms(delay_ns)} after the inference ended; {_ms(limit)} are allowed"

    def _age(
        self, inference: Inference, reference: DataReference, index: int, limit_ns: int
    ) -> Iterator[tuple[str, str]]:
        made_ns = _made_at(inference, reference, index)
        topic = reference.topic
        if made_ns is None:
            yield "input_age_unknown", f"its input on {topic} has no stamp, and no attestation says when it was made"
            return
        age_ns = inference.attestation.statement.start_ns - made_ns
        if age_ns > limit_ns:
            message = f"its input on {topic} was {_ms(age_ns)} old; {_ms(limit_ns)} are allowed"
        elif age_ns < -self.policy.max_clock_skew_ns:
            message = f"its input on {topic} has a stamp {_ms(-age_ns)} after the inference began"
        else:
            return
        apart = " (a day or more: another clock, or a replay)" if abs(age_ns) >= _SAME_CLOCK_NS else ""
        yield "input_stale", message + apart


def chain_latency(inference: Inference) -> tuple[int | None, bool]:
    """Return the time in ns from the oldest sensor stamp behind a command to its end, and whether clocks differ.

    None where the command is not linked, its sensors have no stamps, or their stamps are of another clock.
    """
    if not inference.linked or inference.origin_ns is None:
        return None, False
    statement = inference.attestation.statement
    latency_ns = statement.start_ns + statement.duration_ns - inference.origin_ns
    if abs(latency_ns) > _SAME_CLOCK_NS:
        return None, True
    return latency_ns, False


def _made_at(inference: Inference, reference: DataReference, index: int) -> int | None:
    """Return when an input was made: its stamp, or else the end of the inference that made it; None if neither."""
    if reference.stamp_ns:
        return reference.stamp_ns
    source = inference.sources[index] if index < len(inference.sources) else None
    if source is None:
        return None
    made = source.attestation.statement
    if made.clock is not inference.attestation.statement.clock:
        return None
    return made.start_ns + made.duration_ns


def _too_low(levels: Mapping[str, str]) -> _TooLow:
    """Return for each axis with a minimum the levels below it, and the minimum."""
    found = ((axis, below(axis, least), least) for axis, least in levels.items())
    return tuple(item for item in found if item[1])


def _ms(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.4g} ms" if nanoseconds < 10**9 else f"{nanoseconds / 1e9:.3f} s"
