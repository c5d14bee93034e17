"""Attacks on time: back-dated, future-dated, backwards, and causes that come after their effects."""

from __future__ import annotations

from attacker import HOUR_NS, MS, Attacker

from attack_cases.case import Accused, Who, attack
from attack_cases.data import readers_of


@attack(Who.STAGE, "clock_disagrees")
def back_dated(attacker: Attacker) -> Accused:
    """A stage signs a command with the time of an hour ago, when its model was still certified."""
    place = attacker.attestation("control")
    return [attacker.lie(place, signed_at_ns=attacker.statement(place).signed_at_ns - HOUR_NS)]


@attack(Who.STAGE, "clock_disagrees")
def future_dated(attacker: Attacker) -> Accused:
    """A stage signs a command with a time to come, for use then."""
    place = attacker.attestation("control")
    return [attacker.lie(place, signed_at_ns=attacker.statement(place).signed_at_ns + HOUR_NS)]


@attack(Who.STAGE, "clock_disagrees")
def wrong_clock(attacker: Attacker) -> Accused:
    """A stage's wall clock is an hour slow for the whole run."""
    places = attacker.attestations("planning")
    return attacker.rewrite(places, lambda s: {"signed_at_ns": s.signed_at_ns - HOUR_NS})


@attack(Who.RECORDER, "clock_disagrees")
def recording_dated_back(attacker: Attacker) -> Accused:
    """All times of arrival are set back by an hour, so that the run seems to have been before an accident."""
    for place in range(len(attacker.records)):
        attacker.replace(place, received_ns=attacker.records[place].received_ns - HOUR_NS)
    return [r for r in attacker.records if r.topic.endswith("/attestation")]


@attack(Who.STAGE, "clock_went_back")
def monotonic_clock_back(attacker: Attacker) -> Accused:
    """A stage's monotonic clock starts again within a session: the process was replaced by another."""
    return [attacker.lie(attacker.attestation("control"), start_monotonic_ns=0)]


@attack(Who.STAGE, "cause_after_effect", ["decision_unlinked"])
def input_from_the_future(attacker: Attacker) -> Accused:
    """The planner says that it began ten seconds before the perception whose output it read."""
    source = attacker.attestation("perception")
    late = attacker.statement(source).start_ns + 10 * 10**9
    readers = [attacker.records.index(r) for r in readers_of(attacker, attacker.output_of(source))]
    attacker.lie(source, start_ns=late)
    return [attacker.records[i] for i in readers]


@attack(Who.STAGE, "latency_exceeds_policy", ["clock_disagrees"])
def endless_inference(attacker: Attacker) -> Accused:
    """A command's inference is said to have taken an hour, and the policy allows half a second."""
    attacker.policy["max_chain_latency_ms"] = 500
    return [attacker.lie(attacker.attestation("control"), duration_ns=HOUR_NS)]


@attack(Who.STAGE, "latency_exceeds_policy")
def stale_input(attacker: Attacker) -> Accused:
    """A stage acts on a plan of a second ago, which the policy forbids."""
    attacker.policy["max_chain_latency_ms"] = 500
    place = attacker.attestation("control")
    old = attacker.statement(attacker.attestation("control", -60)).inputs
    return [attacker.lie(place, inputs=old)]


@attack(
    Who.STAGE,
    "clock_disagrees",
)
def impossible_duration(attacker: Attacker) -> Accused:
    """A duration of 2^63 ns, which read as a signed number would be negative."""
    return [attacker.lie(attacker.attestation("perception"), duration_ns=2**63)]


@attack(Who.OUTSIDER, "clock_disagrees")
def delayed_attestation(attacker: Attacker) -> Accused:
    """An attestation is held back on the network for longer than the policy's clocks may differ."""
    attacker.policy["max_clock_skew_s"] = 1
    place = attacker.attestations("control")[-1]
    record = attacker.records[place]
    attacker.drop(place)
    return [attacker.insert(type(record)(record.topic, record.type, record.payload, record.received_ns + 1500 * MS))]
