"""Attacks on a session's chain: replayed, reordered, forked, withheld, with gaps that shall excuse something."""

from __future__ import annotations

import dataclasses
import os

from attacker import HOUR_NS, MS, Attacker

from attack_cases.case import Accused, Who, attack
from attack_cases.links import STRANGE


@attack(Who.OUTSIDER, "attestation_replayed")
def replayed_attestation(attacker: Attacker) -> Accused:
    """An attestation is published a second time, 300 ms later."""
    return [attacker.repeat(attacker.attestation("control"), 300)]


@attack(Who.OUTSIDER, "attestation_replayed", ["output_replayed"])
def replayed_command_with_its_attestation(attacker: Attacker) -> Accused:
    """A command is published again 300 ms later together with its valid attestation."""
    place = attacker.attestation("control")
    command = attacker.output_of(place)
    copies = [attacker.records[place], attacker.records[command]]
    late = [dataclasses.replace(r, received_ns=r.received_ns + 300 * MS) for r in copies]
    for record in late:
        attacker.insert(record)
    return late[:1]


@attack(Who.OUTSIDER, "attestation_reordered")
def reordered_attestations(attacker: Attacker) -> Accused:
    """Two attestations of a session change places."""
    first, second = attacker.attestation("control"), attacker.attestation("control", 1)
    a, b = attacker.records[first], attacker.records[second]
    late = attacker.replace(second, payload=a.payload)
    attacker.replace(first, payload=b.payload)
    return [late]


@attack(Who.STAGE, "session_forked", ["output_not_recorded"])
def forked_session(attacker: Attacker) -> Accused:
    """A stage signs two different records with one sequence number, to show one to each reader."""
    place = attacker.attestation("control")
    record = attacker.repeat(place, 0.1)
    return [attacker.sign(attacker.records.index(record), duration_ns=7)]


@attack(Who.STAGE, "session_forked", ["chain_broken"])
def duplicated_sequence(attacker: Attacker) -> Accused:
    """A stage counts one number twice: two commands in a row share it, and all that follow are one too low."""
    places = attacker.attestations("control")
    later = places[len(places) // 2 + 1 :]
    first = attacker.statement(later[0])
    twin = attacker.statement(places[len(places) // 2])
    attacker.rewrite(
        later,
        lambda s: (
            {"sequence": s.sequence - 1, "previous": twin.previous} if s == first else {"sequence": s.sequence - 1}
        ),
    )
    return [attacker.records[later[0]]]


@attack(Who.STAGE, "chain_broken")
def wrong_previous(attacker: Attacker) -> Accused:
    """A record names a predecessor that does not exist, to hide what came before it."""
    place = attacker.attestation("control")
    return [attacker.lie(place, previous=os.urandom(32))]


@attack(Who.STAGE, "chain_broken")
def rewritten_past(attacker: Attacker) -> Accused:
    """A stage replaces one old record by another valid one; the next still names the old one."""
    place = attacker.attestation("planning")
    attacker.sign(place, duration_ns=3)
    return [attacker.records[attacker.attestation("planning", 1)]]


@attack(Who.STAGE, "output_not_attested")
def withheld_attestation(attacker: Attacker) -> Accused:
    """A stage publishes a command that it never attests; its sequence has no gap."""
    place = attacker.message("/wheel_command")
    return [attacker.repeat(place, 8, payload=_other(attacker, place))]


@attack(Who.STAGE, "output_not_attested", ["recording_edge"])
def stops_attesting(attacker: Attacker) -> Accused:
    """From the middle of the run on, a stage publishes commands and no attestations."""
    start = attacker.records[attacker.attestation("control")].received_ns
    attacker.cut(lambda r: not (r.topic == "/wheel_command/attestation" and r.received_ns > start))
    return attacker.judged("/wheel_command", after=attacker.output_of(attacker.attestations("control")[-1]))


@attack(Who.RECORDER, "no_attestations", ["decision_missing", "stage_missing"])
def stripped_attestations(attacker: Attacker) -> Accused:
    """All attestations are taken out of the recording."""
    attacker.cut(lambda r: not r.topic.endswith("/attestation"))
    return None


@attack(Who.RECORDER, "stage_missing")
def stripped_stage(attacker: Attacker) -> Accused:
    """All attestations of the perception stage are taken out of the recording."""
    attacker.cut(lambda r: r.topic != "/perception/line/attestation")
    return "perception"


@attack(Who.RECORDER, "loss_exceeds_policy", ["attestation_lost"])
def dropped_attestations(attacker: Attacker) -> Accused:
    """Thirty attestations in a row are taken out of the recording, more than the policy takes for a bad network."""
    attacker.drop(*[attacker.attestation("control", n) for n in range(-15, 15)])
    return "/wheel_command"


@attack(Who.STAGE, "loss_exceeds_policy", ["attestation_lost"])
def sequence_jump(attacker: Attacker) -> Accused:
    """A stage jumps ahead by 2^60 numbers, so that a gap may excuse all that it does not attest."""
    places = attacker.attestations("control")
    half = places[len(places) // 2 :]
    attacker.rewrite(half, lambda s: {"sequence": s.sequence + 2**60})
    return "control"


@attack(
    Who.OUTSIDER,
    "output_not_attested",
    ["decision_unlinked", "output_not_recorded", "signature_invalid"],
)
def forged_jump_excuses_nothing(attacker: Attacker) -> Accused:
    """A forged record with a huge sequence number comes along with a command that nobody attested."""
    place = attacker.attestation("control")
    forged = attacker.repeat(place, 4)
    attacker.forge(attacker.records.index(forged), sequence=2**60)
    command = attacker.message("/wheel_command")
    return [attacker.repeat(command, 8, payload=_other(attacker, command))]


@attack(Who.OUTSIDER, "clock_disagrees", STRANGE)
def replay_of_an_earlier_session(attacker: Attacker) -> Accused:
    """Three commands of an hour ago, with their valid attestations, are published again."""
    past = attacker.other_run(-HOUR_NS)
    commands = [r for r in past if r.topic == "/wheel_command"][70:73]
    records = [r for r in past if r.topic == "/wheel_command/attestation"][70:73]
    at = attacker.records[attacker.message("/wheel_command")].received_ns
    for number, command in enumerate(commands):
        attacker.insert(dataclasses.replace(command, received_ns=at + number * 25 * MS + 5 * MS))
    return [
        attacker.insert(dataclasses.replace(record, received_ns=at + number * 25 * MS + 6 * MS))
        for number, record in enumerate(records)
    ]


def _other(attacker: Attacker, place: int) -> bytes:
    """Return a command like the one at a place, with another speed for the left wheel."""
    payload = bytearray(attacker.records[place].payload)
    payload[-5] ^= 0x3F
    return bytes(payload)
