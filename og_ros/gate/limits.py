"""Opens what limits a gate beside the chains of its commands: envelopes and emergency stop, with their memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from og_ros.gate import envelope_format, envelope_memory, stop_state
from og_ros.gate.delegation import Chain, Owner, open_chain
from og_ros.gate.envelope_check import EnvelopeCheck
from og_ros.gate.stop_state import StopRules, StopState

ENVELOPES_FILE: Final = "envelopes.json"
STOP_FILE: Final = "emergency_stop.json"


@dataclass(frozen=True)
class Limits:
    """The two further checks of a gate. `envelope` refuses commands out of bounds, `stop` all of them while stopped.

    Hand each message of `envelope.inputs` to `envelope.observe`, what went to the motors to `envelope.forwarded`, each
    message of og_ros.gate.estop.TOPIC to `take_stop`.
    """

    chain: Chain
    envelope: EnvelopeCheck
    stop: StopState
    directory: Path

    def take_stop(self, payload: bytes) -> stop_state.Outcome:
        """Take an emergency stop or release and save what it changed.

        Raises StopError for one that is not valid, EnvelopeError when the disk does not take it; a stop counts anyway,
        and a release too, which a restart then forgets.
        """
        outcome = self.stop.take(payload)
        if self.stop.changed:
            stop_state.save(self.directory / STOP_FILE, self.stop)
        return outcome


def open_limits(
    files: Sequence[Path], owner: Owner, robot: str, directory: Path, wall_ns: Callable[[], int] = time.time_ns
) -> Limits:
    """Read the chain of envelopes of a robot, the owner's first, and what the gate remembers in `directory`.

    Raises EnvelopeError when the chain does not hold, is not for the robot, goes back behind one that was in force, or
    when that cannot be remembered; OgError for other unusable files.
    """
    chain = open_chain([(str(file), envelope_format.read_file(file)) for file in files], owner)
    check = EnvelopeCheck(chain.envelopes, robot, wall_ns)
    memory = directory / ENVELOPES_FILE
    seen = envelope_memory.load(memory) or ()
    newly = envelope_memory.check_against(seen, chain, wall_ns())
    if newly != seen:
        envelope_memory.save(memory, newly)  # before it is in force: what was not remembered could be put back
    rules = StopRules(
        stop={key_id: holder.public_key for key_id, holder in chain.stop_authorities.items()},
        release={key_id: holder.public_key for key_id, holder in chain.release_authorities.items()},
        release_needs=chain.release_needs,
        revoked=owner.revoked,
    )
    return Limits(chain, check, StopState(robot, rules, stop_state.load(directory / STOP_FILE)), directory)
