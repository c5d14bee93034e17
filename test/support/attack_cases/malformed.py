"""Attacks on readers: records that are cut, oversized, mistyped, or hold hidden characters."""

from __future__ import annotations

import struct

from attacker import Attacker

from attack_cases.case import UNREAD, Accused, Who, attack


@attack(Who.OUTSIDER, "malformed_attestation", UNREAD)
def truncated_record(attacker: Attacker) -> Accused:
    """An attestation lacks its last 100 bytes."""
    place = attacker.attestation("control")
    return [attacker.replace(place, payload=attacker.records[place].payload[:-100])]


@attack(Who.OUTSIDER, "malformed_attestation", UNREAD)
def oversized_record(attacker: Attacker) -> Accused:
    """An attestation is followed by 100 kB."""
    place = attacker.attestation("control")
    return [attacker.replace(place, payload=bytes(attacker.records[place].payload) + bytes(100_000))]


@attack(Who.OUTSIDER, "malformed_attestation", UNREAD)
def trailing_bytes(attacker: Attacker) -> Accused:
    """An attestation has eight bytes after its end, where something unsigned could hide."""
    place = attacker.attestation("control")
    return [attacker.replace(place, payload=bytes(attacker.records[place].payload) + b"unsigned")]


@attack(Who.OUTSIDER, "malformed_attestation")
def empty_record(attacker: Attacker) -> Accused:
    """A message of no bytes arrives on an attestation topic."""
    return [attacker.repeat(attacker.attestation("control"), 3, payload=b"")]


@attack(Who.OUTSIDER, "malformed_attestation")
def random_record(attacker: Attacker) -> Accused:
    """A message of other bytes arrives on an attestation topic."""
    return [attacker.repeat(attacker.attestation("control"), 3, payload=b"\0\1\0\0" + bytes(range(256)))]


@attack(Who.OUTSIDER, "malformed_attestation")
def oversized_text(attacker: Attacker) -> Accused:
    """A record's first text says that it is four gigabytes long."""
    place = attacker.attestation("control")
    payload = bytearray(attacker.records[place].payload)
    payload[8:12] = b"\xff\xff\xff\xff"
    return [attacker.repeat(place, 3, payload=bytes(payload))]


@attack(Who.OUTSIDER, "malformed_attestation")
def too_many_references(attacker: Attacker) -> Accused:
    """A record says that it has 33 inputs, one more than is allowed."""
    place = attacker.attestation("perception")
    payload = bytes(attacker.records[place].payload)
    at = payload.index(b"/camera/image\0") - 8
    assert payload[at : at + 4] == struct.pack("<I", 1)
    return [attacker.repeat(place, 3, payload=payload[:at] + struct.pack("<I", 33) + payload[at + 4 :])]


@attack(Who.STAGE, "malformed_attestation", UNREAD)
def nul_in_a_name(attacker: Attacker) -> Accused:
    """A stage name goes on after a NUL, where C programs stop to read."""
    return [attacker.patch(attacker.attestation("planning"), b"planning\0", b"plan\0ing\0")]


@attack(Who.STAGE, "malformed_attestation", UNREAD)
def hidden_character_in_a_name(attacker: Attacker) -> Accused:
    """A stage name has a zero-width space, which nobody sees."""
    return [attacker.patch(attacker.attestation("planning"), b"planning\0", "plan\u200bg\0".encode())]


@attack(Who.STAGE, "malformed_attestation", UNREAD)
def reversed_text_in_a_name(attacker: Attacker) -> Accused:
    """A stage name has a character that makes a terminal show what follows from right to left."""
    return [attacker.patch(attacker.attestation("planning"), b"planning\0", "plan\u202eg\0".encode())]


@attack(Who.STAGE, "malformed_attestation", UNREAD)
def unknown_format_version(attacker: Attacker) -> Accused:
    """A record says that it has a format of the future, whose checks nobody knows."""
    place = attacker.attestation("planning")
    payload = bytearray(attacker.records[place].payload)
    payload[4:6] = struct.pack("<H", 2)
    return [attacker.replace(place, payload=bytes(payload))]


@attack(Who.OUTSIDER, "malformed_attestation")
def other_encoding(attacker: Attacker) -> Accused:
    """A record says that it is encoded as XML."""
    place = attacker.attestation("planning")
    payload = bytes(attacker.records[place].payload)
    return [attacker.repeat(place, 3, payload=b"\0\4" + payload[2:])]
