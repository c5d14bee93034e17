"""Lies that only re-execution finds: a stage signs, truly and in good order, what its model did not say."""

from __future__ import annotations

import dataclasses

from attacker import Attacker

from attack_cases.case import Accused, Who, attack
from attack_cases.data import attestation_of, flip
from og_ros.attest import digest


@attack(Who.STAGE, "reexecution_differs")
def output_altered_before_signing(attacker: Attacker) -> Accused:
    """A stage changes its model's command, publishes it and attests what it published."""
    command = attacker.message("/wheel_command")
    place = attestation_of(attacker, command)
    payload = flip(attacker.records[command].payload, -2)
    attacker.replace(command, payload=payload)
    output = dataclasses.replace(attacker.statement(place).outputs[0], digest=digest(payload))
    reexecute(attacker, "all")
    return [attacker.lie(place, outputs=(output,))]


@attack(Who.STAGE, "reexecution_differs")
def old_command_signed_anew(attacker: Attacker) -> Accused:
    """For half a second a stage publishes and attests an old command in place of what its model says."""
    commands = attacker.messages("/wheel_command")
    chosen = commands[len(commands) // 2 :][:20]
    places = [attestation_of(attacker, command) for command in chosen]
    old = bytes(attacker.records[commands[20]].payload)
    for command in chosen:
        attacker.replace(command, payload=old)
    reexecute(attacker, "all")
    return attacker.rewrite(places, lambda s: {"outputs": (dataclasses.replace(s.outputs[0], digest=digest(old)),)})


@attack(Who.AUTHORITY, "reexecution_below_policy")
def too_few_run_again(attacker: Attacker) -> Accused:
    """An auditor who is to vouch for half of the run takes a look at one inference."""
    attacker.policy["reexecution"] = {"minimum_share": 0.5}
    reexecute(attacker, "1")
    return "demands"


def reexecute(attacker: Attacker, sample: str) -> None:
    """Have the audit run models again, with a beacon that is the same each time."""
    pipeline = attacker.runs.robot.directory / "pipeline.yaml"
    attacker.options += ["--reexecute", sample, "--pipeline", str(pipeline), "--beacon", "0x" + "5a" * 32]
