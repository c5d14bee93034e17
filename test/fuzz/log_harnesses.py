"""Harnesses of what witnesses, time stamp authorities and SCITT tools exchange about a log; see harnesses.py."""

from __future__ import annotations

import contextlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.errors import OgError
from og_ros.log import note, timestamps
from og_ros.log.cosignature import WitnessKey, cosignatures
from og_ros.log.quorum import parse_witness_policy
from og_ros.log.receipt import verify_receipt
from og_ros.log.witness_protocol import parse_cosignatures, parse_request, parse_size

RECEIPT_KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
RECEIPT_LOG: Final = note.VerifierKey.of("example.com/log", RECEIPT_KEY)
WITNESS: Final = WitnessKey.of("witness.example/w1", RECEIPT_KEY)


def fuzz_add_checkpoint(data: bytes) -> None:
    """A request to a witness has one form; what it answers has two, which are tried too."""
    with contextlib.suppress(OgError):
        assert parse_size(data) >= 0
    with contextlib.suppress(OgError):
        parse_cosignatures("text\n", data)
    request = parse_request(data)
    assert request.format() == data
    cosignatures(note.parse_note(request.checkpoint), [WITNESS])


def fuzz_witness_key(data: bytes) -> None:
    """A witness's vkey has one form."""
    text = data.decode("utf-8", "replace")
    assert WitnessKey.parse(text).format() == text


def fuzz_witness_policy(data: bytes) -> None:
    """Nobody's cosignatures make a quorum only where none is asked for, and everybody's always do."""
    policy = parse_witness_policy(data)
    assert policy.is_met([]) is (policy.quorum == "none")
    assert policy.is_met(policy.keys)
    assert policy.describe()


def fuzz_receipt(data: bytes) -> None:
    """A receipt proves the one leaf that it was made for."""
    assert len(verify_receipt(b"leaf 3", data, RECEIPT_LOG)) == 32


def fuzz_time_stamp(data: bytes) -> None:
    """A time stamp is read, or refused; what it says is for its signature to decide."""
    answer = timestamps._decode(data)
    with contextlib.suppress(OgError):
        timestamps.verify_stamp(b"note", data, [])
    assert answer.tst_info.gen_time
