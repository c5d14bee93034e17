"""Attacks on the chain from sensor to command: wrong sources, other sessions' and other robots' outputs."""

from __future__ import annotations

import dataclasses

from attacker import HOUR_NS, MS, Attacker

from attack_cases.case import Accused, Who, attack
from og_ros.audit.records import Record

# A record of another run beside this one's messages: its own inputs are not there, or others with the same stamp are.
STRANGE = ("decision_unlinked", "input_altered", "input_not_recorded", "session_joined_late")


@attack(Who.STAGE, "input_attestation_wrong", ["decision_unlinked"])
def link_to_an_older_output(attacker: Attacker) -> Accused:
    """The planner names an older attestation as the source of what it read."""
    place = attacker.attestation("planning")
    older = attacker.read(attacker.attestation("perception", -5)).digest
    line, scan = attacker.statement(place).inputs
    return [attacker.lie(place, inputs=(dataclasses.replace(line, attestation=older), scan))]


@attack(Who.STAGE, "input_attestation_wrong", ["decision_unlinked"])
def link_to_another_stage(attacker: Attacker) -> Accused:
    """The planner names the controller's attestation as the source of what it read."""
    place = attacker.attestation("planning")
    other = attacker.read(attacker.attestation("control", -10)).digest
    line, scan = attacker.statement(place).inputs
    return [attacker.lie(place, inputs=(dataclasses.replace(line, attestation=other), scan))]


@attack(Who.STAGE, "input_attestation_wrong", [*STRANGE, "clock_disagrees", "output_not_recorded"])
def link_to_another_session(attacker: Attacker) -> Accused:
    """The planner names an attestation of an earlier session, which is published again for the purpose."""
    old = [r for r in attacker.other_run(-HOUR_NS) if r.topic == "/perception/line/attestation"][40]
    place = attacker.attestation("planning")
    at = attacker.records[place].received_ns - 60 * MS
    record = attacker.insert(dataclasses.replace(old, received_ns=at))
    source = attacker.read(attacker.records.index(record)).digest
    place = attacker.attestation("planning")
    line, scan = attacker.statement(place).inputs
    return [attacker.lie(place, inputs=(dataclasses.replace(line, attestation=source), scan))]


@attack(Who.STAGE, "robot_mixed", STRANGE)
def input_of_another_robot(attacker: Attacker) -> Accused:
    """The controller acts on a plan that the other robot's planner made and attested."""
    record = _plan_of_the_other_robot(attacker)
    place = attacker.attestation("control", 4)
    odometry, reference = attacker.statement(place).inputs
    given = attacker.statement(attacker.records.index(record)).outputs[0]
    foreign = dataclasses.replace(
        reference,
        digest=given.digest,
        size=given.size,
        stamp_ns=given.stamp_ns,
        attestation=attacker.read(attacker.records.index(record)).digest,
    )
    attacker.lie(place, inputs=(odometry, foreign))
    return "demo2"


@attack(
    Who.INSIDER,
    "robot_mixed",
    STRANGE,
)
def commands_of_another_robot(attacker: Attacker) -> Accused:
    """The other robot's commands with their valid attestations are played into this robot's recording."""
    at = attacker.records[attacker.attestation("control", -10)].received_ns
    robot = _other_robot(attacker)
    records = []
    for number in range(3):
        place = robot.attestation("control", number)
        command = robot.records[robot.output_of(place)]
        attacker.insert(dataclasses.replace(command, received_ns=at + number * 25 * MS))
        record = dataclasses.replace(robot.records[place], received_ns=at + number * 25 * MS + MS)
        records.append(attacker.insert(record))
    return records


@attack(
    Who.INSIDER,
    "sessions_overlap",
    [*STRANGE, "loss_exceeds_policy", "recording_edge"],
)
def stage_runs_twice(attacker: Attacker) -> Accused:
    """A second copy of the controller, with its key, runs at the same time in a session of its own."""
    first = attacker.records[attacker.attestations("control")[0]]
    other = next(r for r in attacker.runs.again.records if r.topic == first.topic)
    again = attacker.other_run(first.received_ns - other.received_ns)
    attacker.records += [r for r in again if r.topic.startswith("/wheel_command")]
    return "control"


def _other_robot(attacker: Attacker) -> Attacker:
    """Return a way into the other robot's recording."""
    robot = Attacker(attacker.runs, attacker.directory)
    robot.records = list(attacker.runs.other.records)
    return robot


def _plan_of_the_other_robot(attacker: Attacker) -> Record:
    """Play one plan of the other robot and its attestation into the recording; returns the attestation."""
    place = attacker.attestation("control")
    at = attacker.records[place].received_ns
    stamp = attacker.statement(place).start_ns
    robot = _other_robot(attacker)
    index = min(robot.attestations("planning"), key=lambda i: abs(robot.statement(i).start_ns - stamp))
    plan = dataclasses.replace(robot.records[robot.output_of(index)], received_ns=at - 20 * MS)
    record = dataclasses.replace(robot.records[index], received_ns=at - 19 * MS)
    attacker.insert(plan)
    return attacker.insert(record)
