"""Attacks on witnessing: a log with two faces, a rewound one, cosignatures that are forged, moved or nobody's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from attacker import Attacker
from witnesses import witness_key, witness_name, witness_secret

from attack_cases.case import Accused, Who, attack
from og_ros.log import Ledger, NoteSignature, parse_note
from og_ros.log.cosignature import cosign
from og_ros.log.cosigned import CosignedCheckpoints
from og_ros.registry import RegistryWriter

CHECKPOINTS = "/auditor/checkpoint"


def cosigned(attacker: Attacker, ledger: Path, numbers: Sequence[int] = (1, 2)) -> Path:
    """Have witnesses cosign a log's newest checkpoint, as they would over HTTP; the file with it."""
    with Ledger.open(ledger) as opened:
        newest = opened.latest_checkpoint()
    assert newest is not None
    now = int(time.time())
    text = parse_note(newest.note).text
    lines = [cosign(text, witness_name(n), witness_secret(n), now) for n in numbers]
    kept = CosignedCheckpoints(ledger)
    kept.add(newest.size, newest.note, lines)
    return kept.folder / f"{newest.size}.checkpoint"


def certify(attacker: Attacker, numbers: Sequence[int] = (1, 2)) -> None:
    """The fleet's authority certifies witnesses, and the policy asks for both."""
    with attacker.registry_writer() as writer:
        _certify(writer, numbers)
    attacker.policy["witnesses"] = {"quorum": 2}


def _certify(writer: RegistryWriter, numbers: Sequence[int]) -> None:
    for number in numbers:
        key = witness_secret(number).public_key()
        writer.certify_key(key, role="witness", origin=witness_name(number), not_before_ns=10**18)


def other_face(attacker: Attacker, leaves: Sequence[bytes]) -> Path:
    """Another log under the same name and key, as only its operator can make one."""
    directory = attacker.directory / "other face"
    with Ledger.create(directory, "og-ros/demo", attacker.runs.robot.log_key) as ledger:
        ledger.append(list(leaves))
        ledger.checkpoint()
    return directory


@attack(Who.LOG, "log_forked", ["witness_quorum_not_met"])
def two_faced_log(attacker: Attacker) -> Accused:
    """Witnesses were shown one history and the auditor another, without recorded checkpoints; he asked a witness."""
    attacker.cut(lambda r: r.topic != CHECKPOINTS)
    certify(attacker)
    leaves = attacker.leaves()
    shown = cosigned(attacker, other_face(attacker, [leaves[1], leaves[0], *leaves[2:]]))
    attacker.options += ["--cosigned", str(shown)]
    attacker.take_ledger()
    return "its first"


@attack(Who.LOG, "log_rewound", ["not_logged_yet", "witness_quorum_not_met"])
def log_rewound_behind_its_witnesses(attacker: Attacker) -> Accused:
    """The log is put back to an earlier state and signed anew; a witness has the later one."""
    attacker.cut(lambda r: r.topic != CHECKPOINTS)
    certify(attacker)
    attacker.options += ["--cosigned", str(cosigned(attacker, other_face(attacker, attacker.leaves())))]
    attacker.write_ledger(attacker.leaves()[:-60])
    return "its key signed a checkpoint of"


@attack(Who.LOG, "witness_quorum_not_met", ["witness_not_certified"])
def cosigned_by_friends(attacker: Attacker) -> Accused:
    """The log's operator runs the witnesses himself, with keys that nobody certified."""
    certify(attacker)
    cosigned(attacker, attacker.take_ledger(), (3, 4))
    return "no checkpoint has the cosignatures"


@attack(Who.LOG, "witness_not_certified")
def one_friend_among_the_witnesses(attacker: Attacker) -> Accused:
    """Beside two certified witnesses an unknown one cosigned, which counts for nothing; the others' word stands."""
    certify(attacker)
    attacker.policy["stages"]["control"] = {"settlement": "witnessed"}
    cosigned(attacker, attacker.take_ledger(), (1, 2, 3))
    return "witness.example/w3"


@attack(Who.LOG, "cosignature_invalid")
def cosignature_made_up(attacker: Attacker) -> Accused:
    """A third line says that it is of a certified witness, and is not."""
    certify(attacker, (1, 2, 3))
    file = cosigned(attacker, attacker.take_ledger())
    forged = NoteSignature(witness_name(3), witness_key(3).key_id, int(time.time()).to_bytes(8, "big") + bytes(64))
    file.write_text(file.read_text() + forged.format())
    return "witness.example/w3"


@attack(Who.INSIDER, "witness_forked", ["log_forked"])
def witness_in_league_with_the_log(attacker: Attacker) -> Accused:
    """A certified witness cosigned both faces of a log; somebody kept the other one."""
    attacker.cut(lambda r: r.topic != CHECKPOINTS)
    certify(attacker)
    leaves = attacker.leaves()
    other = cosigned(attacker, other_face(attacker, [leaves[1], leaves[0], *leaves[2:]]), (1,))
    attacker.options += ["--cosigned", str(other)]
    cosigned(attacker, attacker.write_ledger(leaves))
    return "witness.example/w1"


@attack(Who.LOG, "below_policy", ["witness_behind"])
def newest_leaves_kept_from_the_witnesses(attacker: Attacker) -> Accused:
    """The log stopped asking its witnesses before the end, and the policy wants every command witnessed."""
    certify(attacker)
    attacker.policy["stages"]["control"] = {"settlement": "witnessed"}
    leaves = attacker.leaves()
    early = cosigned(attacker, other_face(attacker, leaves[:-60]))
    ledger = attacker.take_ledger()
    (ledger / "cosigned").mkdir()
    (ledger / "cosigned" / early.name).write_text(early.read_text())
    return "settlement is logged"
