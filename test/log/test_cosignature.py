"""C2SP cosignatures: what is signed, what verifies, and what does not."""

from __future__ import annotations

import dataclasses
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from witnesses import witness_key, witness_name, witness_secret

from og_ros.errors import LogError
from og_ros.log import Checkpoint, SignedNote, VerifierKey, parse_note, sign_checkpoint
from og_ros.log.cosignature import WitnessKey, cosign, cosignatures, verify_cosignature

LOG = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
HEAD = Checkpoint("example.com/behind-the-sofa", 20852163, bytes(range(32)), ("an extension",))
NOTE = parse_note(sign_checkpoint(HEAD, LOG))
TIME = 1679315147
LINE = cosign(NOTE.text, witness_name(1), witness_secret(1), TIME)
KEY = witness_key(1)


def test_the_signed_bytes_are_those_of_the_specification() -> None:
    message = b"cosignature/v1\ntime 1679315147\n" + HEAD.text().encode()
    assert LINE.signature[:8] == struct.pack(">Q", TIME)
    witness_secret(1).public_key().verify(LINE.signature[8:], message)
    assert LINE.format() == parse_note(NOTE.format() + LINE.format()).signatures[1].format()


def test_an_example_of_the_specification_can_be_read() -> None:
    line = (
        "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5"
        "nNo0xUe+mbIUBkBIfZ+qnA==\n"
    )
    (found,) = parse_note(f"example.com/behind-the-sofa\n1\n{'A' * 43}=\n\n{line}").signatures
    assert struct.unpack(">Q", found.signature[:8]) == (TIME,)
    assert len(found.signature) == 72


def test_a_key_has_one_text() -> None:
    assert WitnessKey.parse(KEY.format()) == KEY
    with pytest.raises(LogError, match="0x04"):
        WitnessKey.parse(VerifierKey.of("w", LOG).format())
    for wrong in ("", "w", "w+00000000+", KEY.format()[:-4], KEY.format().replace("w1+", "w2+"), "a b+00000000+BAAA"):
        with pytest.raises(LogError):
            WitnessKey.parse(wrong)


def test_it_verifies_and_nothing_beside_it_does() -> None:
    assert verify_cosignature(NOTE.text, LINE, KEY).time_s == TIME
    later = dataclasses.replace(LINE, signature=struct.pack(">Q", TIME + 1) + LINE.signature[8:])
    never = dataclasses.replace(LINE, signature=struct.pack(">Q", 0) + LINE.signature[8:])
    far = dataclasses.replace(LINE, signature=struct.pack(">Q", 1 << 63) + LINE.signature[8:])
    short = dataclasses.replace(LINE, signature=LINE.signature[:-1])
    plain = dataclasses.replace(LINE, signature=LINE.signature[:8] + witness_secret(1).sign(NOTE.text.encode()))
    for forged in (later, never, far, short, plain):
        with pytest.raises(LogError):
            verify_cosignature(NOTE.text, forged, KEY)
    with pytest.raises(LogError, match="is wrong"):
        verify_cosignature(NOTE.text.replace("20852163", "20852162"), LINE, KEY)
    with pytest.raises(LogError, match="is of"):
        verify_cosignature(NOTE.text, LINE, witness_key(2))
    with pytest.raises(LogError):
        verify_cosignature(NOTE.text, LINE, WitnessKey(KEY.name, bytes(31) + b"\x02"))


def test_of_a_note_the_known_ones_count_and_wrong_ones_are_told() -> None:
    other = cosign(NOTE.text, witness_name(2), witness_secret(2), TIME)
    later = cosign(NOTE.text, witness_name(1), witness_secret(1), TIME + 60)
    forged = dataclasses.replace(other, signature=bytes(72))
    note = SignedNote(NOTE.text, (*NOTE.signatures, later, LINE, other, forged))
    good, bad = cosignatures(note, [KEY, witness_key(2), witness_key(3)])
    assert {(found.witness, found.time_s) for found in good} == {(KEY, TIME), (witness_key(2), TIME)}
    assert len(bad) == 1
    assert "w2" in bad[0]
    assert cosignatures(note, []) == ([], [])


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 71), st.integers(1, 255))
def test_no_changed_byte_verifies(place: int, change: int) -> None:
    data = bytearray(LINE.signature)
    data[place] ^= change
    with pytest.raises(LogError):
        verify_cosignature(NOTE.text, dataclasses.replace(LINE, signature=bytes(data)), KEY)
