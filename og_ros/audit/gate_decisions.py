"""The decisions of a gate in a recording: made by rules and not by a model, so they are checked and not run again."""

from __future__ import annotations

from typing import Final

from og_ros.attest import Disclosure, Statement

GATE_STAGE: Final = "gate"
GATE_FORMAT: Final = "policy"
VERDICT: Final = "og_ros/msg/Verdict"


def is_gate_decision(statement: Statement) -> bool:
    """Return whether a statement is a gate's: of the stage gate, with a policy in the place of a model.

    A key is certified for a stage, so no other stage can pass for one by what it states.
    """
    return statement.stage == GATE_STAGE and statement.model.format == GATE_FORMAT


def passed_on_other(statement: Statement) -> str | None:
    """Return what is wrong with a gate's decision by its own rule: it passes on the very command that it names.

    Its other outputs are verdicts; what names a verdict, or nothing, as its input is the safe motion of a latched gate.
    """
    commands = [r for r in statement.inputs if r.type != VERDICT and r.disclosure is not Disclosure.ABSENT]
    passed = [reference for reference in statement.outputs if reference.type != VERDICT]
    for reference in passed if commands else ():
        if reference.digest not in {command.digest for command in commands}:
            return f"on {reference.topic} it passed on another message than the command that it names"
    return None
