"""Attacks on signatures: forged, swapped, malleable, of another algorithm or another context."""

from __future__ import annotations

import dataclasses
import os

from attacker import Attacker

from attack_cases.case import UNREAD, Accused, Who, attack
from og_ros.attest import Algorithm, SoftwareSigner, cose, encode_attestation, keys
from og_ros.attest.signer import P256_ORDER


@attack(Who.OUTSIDER, "signature_invalid", UNREAD)
def forged_duration(attacker: Attacker) -> Accused:
    """One field of a signed record is changed: the command seems to have been computed in a nanosecond."""
    return [attacker.forge(attacker.attestation("control"), duration_ns=1)]


@attack(Who.OUTSIDER, "signature_invalid", [*UNREAD, "output_altered", "output_not_recorded"])
def forged_output_digest(attacker: Attacker) -> Accused:
    """The record is made to name other output bytes than were signed."""
    place = attacker.attestation("control")
    output = dataclasses.replace(attacker.statement(place).outputs[0], digest=os.urandom(32))
    return [attacker.forge(place, outputs=(output,))]


@attack(Who.OUTSIDER, "signature_invalid", UNREAD)
def signature_of_another_record(attacker: Attacker) -> Accused:
    """A record carries the valid signature of its predecessor."""
    place = attacker.attestation("planning")
    return [attacker.with_signature(place, attacker.read(attacker.attestation("planning", -1)).signature)]


@attack(Who.OUTSIDER, "signature_invalid", UNREAD)
def zero_signature(attacker: Attacker) -> Accused:
    """The signature is all zero bytes, which careless verifiers of ECDSA accept for any message (CVE-2022-21449)."""
    return [attacker.with_signature(attacker.attestation("planning"), bytes(64))]


@attack(Who.OUTSIDER, "signature_invalid", UNREAD)
def zero_r_signature(attacker: Attacker) -> Accused:
    """Of the signature's two numbers, the first is zero."""
    place = attacker.attestation("planning")
    return [attacker.with_signature(place, bytes(32) + attacker.read(place).signature[32:])]


@attack(Who.OUTSIDER, "signature_invalid", UNREAD)
def signature_beyond_the_order(attacker: Attacker) -> Accused:
    """The signature's first number is one too large by the order of the curve, so the same point in other bytes."""
    place = attacker.attestation("planning")
    signature = attacker.read(place).signature
    r = (int.from_bytes(signature[:32], "big") + P256_ORDER) % 2**256
    return [attacker.with_signature(place, r.to_bytes(32, "big") + signature[32:])]


@attack(Who.OUTSIDER, "signature_invalid", UNREAD)
def high_s_signature(attacker: Attacker) -> Accused:
    """The signature is turned into its valid twin in ECDSA, so that one statement has two records."""
    place = attacker.attestation("planning")
    signature = attacker.read(place).signature
    s = P256_ORDER - int.from_bytes(signature[32:], "big")
    return [attacker.with_signature(place, signature[:32] + s.to_bytes(32, "big"))]


@attack(Who.OUTSIDER, "signature_invalid", UNREAD)
def algorithm_confusion(attacker: Attacker) -> Accused:
    """A record of a P-256 key says that it is signed with EdDSA."""
    return [attacker.forge(attacker.attestation("planning"), algorithm=Algorithm.EDDSA)]


@attack(Who.OUTSIDER, "signature_invalid", UNREAD)
def ed25519_signature_for_a_p256_key(attacker: Attacker) -> Accused:
    """A record names a stage's P-256 key and EdDSA, and is signed with the outsider's Ed25519 key."""
    place = attacker.attestation("planning")
    own = SoftwareSigner(keys.generate(Algorithm.EDDSA))
    statement = dataclasses.replace(attacker.statement(place), algorithm=Algorithm.EDDSA)
    message = cose.seal(statement, bytes(64)).signed_bytes
    forged = cose.seal(statement, own.sign(message))
    return [attacker.replace(place, payload=encode_attestation(forged))]


@attack(Who.OUTSIDER, "signature_invalid", UNREAD)
def signature_over_another_context(attacker: Attacker) -> Accused:
    """The stage's key did sign this statement, but in another context than COSE's: a signature made for other ends."""
    place = attacker.attestation("planning")
    statement = attacker.statement(place)
    body = attacker.read(place).signed_bytes
    # The Sig_structure begins with its context string; the same bytes under another one are another statement.
    other = body.replace(b"Signature1", b"Signature9", 1)
    assert other != body
    return [attacker.with_signature(place, attacker.keys[statement.stage].sign(other))]
