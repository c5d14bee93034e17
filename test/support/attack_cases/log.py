"""Attacks on the log: leaves left out, added or changed, a log rewound, forked, or signed by another key."""

from __future__ import annotations

import dataclasses

from attacker import HOUR_NS, Attacker
from hybrid_logs import edit_notes, pair, stripped

from attack_cases.case import UNREAD, Accused, Who, attack
from og_ros.attest import Algorithm, cose, keys
from og_ros.log import Ledger
from og_ros.log.log_keys import KeyChange, LogSigner, sign_change

CHECKPOINTS = "/auditor/checkpoint"
# A log that was made anew is not the one whose checkpoints were recorded.
OTHER_LOG = ("log_forked", "log_rewound")


@attack(Who.LOG, "missing_from_log", OTHER_LOG)
def leaf_left_out(attacker: Attacker) -> Accused:
    """The log leaves out one attestation and keeps the ones around it."""
    place = attacker.attestation("control")
    hidden = attacker.read(place).cose
    attacker.write_ledger([leaf for leaf in attacker.leaves() if leaf != hidden])
    return [attacker.records[place]]


@attack(Who.STAGE, "missing_from_log", ["session_forked"])
def other_record_logged(attacker: Attacker) -> Accused:
    """A stage logs another record than it publishes under the same sequence number."""
    attacker.cut(lambda r: r.topic != CHECKPOINTS)  # the log's own, which it would have signed over the other record
    place = attacker.attestation("control")
    old = attacker.read(place)
    other = cose.sign(dataclasses.replace(old.statement, duration_ns=7), attacker.keys["control"])
    attacker.write_ledger([other.cose if leaf == old.cose else leaf for leaf in attacker.leaves()])
    return [attacker.records[place]]


@attack(
    Who.STAGE,
    "session_forked",
)
def both_records_logged(attacker: Attacker) -> Accused:
    """A stage signs two records with one sequence number; both are in the log, one in the recording."""
    old = attacker.read(attacker.attestation("control"))
    other = cose.sign(dataclasses.replace(old.statement, duration_ns=7), attacker.keys["control"])
    attacker.write_ledger([*attacker.leaves(), other.cose])
    return "control"


@attack(Who.LOG, "signature_invalid", [*UNREAD, *OTHER_LOG, "only_in_log"])
def forged_leaf_fills_a_gap(attacker: Attacker) -> Accused:
    """A lost attestation is replaced in the log by one with another content, whose signature cannot be right."""
    place = attacker.attestation("control")
    old = attacker.read(place)
    attacker.drop(place)
    forged = cose.seal(dataclasses.replace(old.statement, duration_ns=7), old.signature)
    attacker.write_ledger([forged.cose if leaf == old.cose else leaf for leaf in attacker.leaves()])
    return "control"


@attack(Who.LOG, "only_in_log")
def leaf_only_in_the_log(attacker: Attacker) -> Accused:
    """An attestation is in the log and was never recorded: lost on the way, or never published."""
    place = attacker.attestation("control")
    attacker.drop(place)
    attacker.take_ledger()
    return "control"


@attack(Who.LOG, "log_invalid")
def leaf_that_is_no_record(attacker: Attacker) -> Accused:
    """The log holds a leaf that is no COSE_Sign1 object."""
    attacker.write_ledger([*attacker.leaves(), b"\xd2\x84not cbor"])
    return "is no attestation"


@attack(Who.LOG, "log_invalid")
def leaf_with_trailing_bytes(attacker: Attacker) -> Accused:
    """A leaf has a byte after its end, so that one statement has two leaf hashes."""
    attacker.write_ledger([*attacker.leaves(), attacker.leaves()[50] + b"\0"])
    return "is no attestation"


@attack(Who.LOG, "log_invalid")
def leaf_in_another_cbor_form(attacker: Attacker) -> Accused:
    """A leaf holds the same statement in CBOR of indefinite length: valid CBOR, and not the one form."""
    leaf = attacker.leaves()[50]
    assert leaf[:2] == b"\xd2\x84"
    attacker.write_ledger([*attacker.leaves(), b"\xd2\x9f" + leaf[2:] + b"\xff"])
    return "is no attestation"


@attack(Who.LOG, "log_invalid")
def leaf_with_unsigned_header(attacker: Attacker) -> Accused:
    """A leaf has an entry in its unprotected header, which no signature covers."""
    leaf = attacker.leaves()[50]
    place = leaf.index(b"\xa0")
    attacker.write_ledger([*attacker.leaves(), leaf[:place] + b"\xa1\x18\x63\x01" + leaf[place + 1 :]])
    return "is no attestation"


@attack(Who.LOG, "log_key_unregistered", ["below_policy"])
def log_under_another_key(attacker: Attacker) -> Accused:
    """The log is signed with a key that nobody certified."""
    attacker.policy["stages"]["control"] = {"settlement": "logged"}
    attacker.write_ledger(attacker.leaves(), keys.generate(Algorithm.EDDSA))
    return "not registered"


@attack(Who.LOG, "log_key_unregistered")
def log_of_another_robot(attacker: Attacker) -> Accused:
    """The log is signed with the other robot's log key, under this robot's origin."""
    attacker.write_ledger(attacker.leaves(), attacker.runs.other.log_key)
    return "og-ros/demo2"


@attack(Who.LOG, "log_key_unregistered")
def log_under_another_name(attacker: Attacker) -> Accused:
    """The log calls itself otherwise than its key's certificate does."""
    attacker.write_ledger(attacker.leaves(), origin="og-ros/dem\u043e")
    return "og-ros/demo"


@attack(Who.LOG, "log_invalid")
def leaf_rewritten(attacker: Attacker) -> Accused:
    """One byte of a leaf is changed in the log's database."""
    leaf = bytearray(attacker.leaves()[50])
    leaf[200] ^= 1
    attacker.edit_ledger(f"UPDATE leaves SET data = x'{leaf.hex()}' WHERE id = 50")
    return "leaf 50"


@attack(Who.LOG, "log_invalid")
def leaves_cut_off(attacker: Attacker) -> Accused:
    """The log's newest leaves are deleted; its checkpoints say that there were more."""
    last = len(attacker.leaves()) - 5
    attacker.edit_ledger(f"DELETE FROM leaves WHERE id >= {last}")
    return "leaves are lost"


@attack(Who.LOG, "log_invalid")
def two_checkpoints_of_one_size(attacker: Attacker) -> Accused:
    """The log holds a second, validly signed checkpoint of the same size with another root."""
    size = len(attacker.leaves())
    fork = attacker.directory / "fork"
    with Ledger.create(fork, "og-ros/demo", attacker.runs.robot.log_key) as ledger:
        ledger.append([b"another leaf", *attacker.leaves()[1:]])
        note = ledger.checkpoint()
        root = ledger.root()
    attacker.edit_ledger(
        "INSERT INTO checkpoints SELECT max(id) + 1, "
        f"{size}, x'{root.hex()}', max(signed_ns), '{note}' FROM checkpoints"
    )
    return "root of the checkpoint"


@attack(Who.LOG, "log_invalid")
def tile_replaced(attacker: Attacker) -> Accused:
    """A published tile differs from the log's own leaves: other readers see other leaves."""
    tile = next(p for p in sorted((attacker.take_ledger() / "tile" / "entries").rglob("*")) if p.is_file())
    data = bytearray(tile.read_bytes())
    data[200] ^= 1
    tile.write_bytes(data)
    return "does not match the leaves"


@attack(Who.LOG, "log_invalid")
def checkpoint_file_of_a_fork(attacker: Attacker) -> Accused:
    """The published checkpoint file is one that the log's database never signed, with the same key."""
    fork = attacker.directory / "fork"
    with Ledger.create(fork, "og-ros/demo", attacker.runs.robot.log_key) as ledger:
        ledger.append([b"another leaf", *attacker.leaves()[1:]])
        note = ledger.checkpoint()
    (attacker.take_ledger() / "checkpoint").write_text(note)
    return "never signed"


@attack(
    Who.LOG,
    "log_forked",
)
def split_view(attacker: Attacker) -> Accused:
    """The auditor is shown a log of the same size with another history than the robot published."""
    leaves = attacker.leaves()
    attacker.write_ledger([leaves[1], leaves[0], *leaves[2:]])
    return "og-ros/demo"


@attack(
    Who.LOG,
    "log_rewound",
    besides=["not_logged_yet"],
)
def rewound_log(attacker: Attacker) -> Accused:
    """The auditor is shown an older state of the log, signed anew, than the robot published."""
    attacker.write_ledger(attacker.leaves()[:-60])
    return "og-ros/demo"


def hybrid(attacker: Attacker, leaves: list[bytes]) -> None:
    """Certify a pair of log keys, and give the auditor a log that its old key hands over to the pair."""
    attacker.cut(lambda r: r.topic != CHECKPOINTS)  # of the log as it was, with other leaves
    after = pair(2)
    certify_pair(attacker, after)
    attacker.ledger = attacker.directory / "ledger"
    old = attacker.runs.robot.log_key
    with Ledger.create(attacker.ledger, "og-ros/demo", old) as ledger:
        ledger.append(leaves[:10])
        ledger.change_keys(after.classical, after.post_quantum)
        ledger.append(leaves[10:])
        ledger.checkpoint()


def certify_pair(attacker: Attacker, signer: LogSigner) -> None:
    assert signer.post_quantum is not None
    since = min(record.received_ns for record in attacker.records) - HOUR_NS
    with attacker.registry_writer() as writer:
        writer.certify_key(
            signer.classical.public_key(),
            role="log",
            origin="og-ros/demo",
            post_quantum=signer.post_quantum.public_key(),
            not_before_ns=since,
        )


@attack(Who.RECORDER, "log_signature_stripped")
def second_signature_stripped(attacker: Attacker) -> Accused:
    """The ML-DSA-65 signatures are taken off a log's checkpoints, whose Ed25519 ones hold."""
    hybrid(attacker, attacker.leaves())
    assert attacker.ledger is not None
    edit_notes(attacker.ledger, stripped)
    return "not signed by the ML-DSA-65 key"


@attack(Who.INSIDER, "log_key_change_invalid")
def log_key_changed_in_silence(attacker: Attacker) -> Accused:
    """A log is signed with another certified key than before, and no leaf of it says that its key changed."""
    attacker.cut(lambda r: r.topic != CHECKPOINTS)
    after = pair(2)
    certify_pair(attacker, after)
    edit_notes(attacker.write_ledger(attacker.leaves()), lambda note: after.sign(note.text, "og-ros/demo"))
    return "records no change to that key"


@attack(Who.OUTSIDER, "log_key_change_invalid")
def log_key_change_forged(attacker: Attacker) -> Accused:
    """A leaf gives the log a certified pair of keys, and not the key before but the new one has signed it twice."""
    attacker.cut(lambda r: r.topic != CHECKPOINTS)
    after = pair(2)
    certify_pair(attacker, after)
    leaves = attacker.leaves()
    change = KeyChange("og-ros/demo", len(leaves), 0, after.keys("og-ros/demo"))
    attacker.write_ledger([*leaves, sign_change(change, after, after)])
    return "not signed by the key before"


@attack(Who.THIEF, "log_key_change_invalid", ["log_key_unregistered"])
def log_key_changed_by_a_thief(attacker: Attacker) -> Accused:
    """Who stole the log's key hands the log over to keys of his own after it was revoked."""
    stolen = keys.key_id(attacker.runs.robot.log_key.public_key())
    since = min(record.received_ns for record in attacker.records)
    with attacker.registry_writer() as writer:
        writer.revoke_key(stolen, "stolen", at_ns=since)
    hybrid(attacker, attacker.leaves())
    return "on the word of key"


@attack(Who.OUTSIDER, "below_policy")
def hybrid_log_replaced_by_a_classical_one(attacker: Attacker) -> Accused:
    """The policy demands hybrid checkpoints, and the log has the Ed25519 signature alone."""
    attacker.policy["checkpoint"] = "hybrid"
    attacker.take_ledger()
    return "signed classical"
