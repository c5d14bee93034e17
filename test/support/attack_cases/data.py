"""Attacks on messages: altered, injected, replayed, withheld, hidden behind another digest or another type."""

from __future__ import annotations

import dataclasses
import math
import struct

from attacker import MS, Attacker

from attack_cases.case import Accused, Who, attack
from og_ros.attest import DataReference, Disclosure


def flip(payload: bytes | memoryview, at: int) -> bytes:
    """Return a payload with one bit changed."""
    data = bytearray(payload)
    data[at] ^= 1
    return bytes(data)


@attack(Who.RECORDER, "output_altered")
def altered_command(attacker: Attacker) -> Accused:
    """One bit of a recorded wheel command, which has no time stamp, is changed."""
    command = attacker.message("/wheel_command")
    place = attestation_of(attacker, command)
    attacker.replace(command, payload=flip(attacker.records[command].payload, -3))
    return [attacker.records[place]]


@attack(Who.RECORDER, "output_altered", ["recording_edge"])
def altered_last_command(attacker: Attacker) -> Accused:
    """One bit of the last recorded command is changed: the moment that an accident's recording is read for."""
    last = max(i for i in attacker.messages("/wheel_command") if i < attacker.attestations("control")[-1])
    place = attestation_of(attacker, last)
    attacker.replace(last, payload=flip(attacker.records[last].payload, -3))
    return [attacker.records[place]]


@attack(Who.RECORDER, "output_altered", ["attestation_lost"])
def altered_command_beside_a_loss(attacker: Attacker) -> Accused:
    """A command is changed, and the attestation of one shortly before is dropped, to pass for it."""
    command = attacker.message("/wheel_command")
    dropped = attestation_of(attacker, attacker.message("/wheel_command", -5))
    place = attestation_of(attacker, command)
    attacker.replace(command, payload=flip(attacker.records[command].payload, -3))
    record = attacker.records[place]
    attacker.drop(dropped)
    return [record]


@attack(Who.RECORDER, "output_altered", ["input_altered", "input_not_recorded"])
def altered_plan(attacker: Attacker) -> Accused:
    """One bit of a recorded plan, which has a time stamp, is changed."""
    plan = attacker.message("/planning/reference")
    place = attestation_of(attacker, plan)
    attacker.replace(plan, payload=flip(attacker.records[plan].payload, -3))
    return [attacker.records[place]]


@attack(Who.RECORDER, "input_altered", ["decision_unlinked"])
def altered_image(attacker: Attacker) -> Accused:
    """One pixel of a recorded camera image is changed."""
    image = attacker.message("/camera/image")
    readers = readers_of(attacker, image)
    attacker.replace(image, payload=flip(attacker.records[image].payload, -1000))
    return readers


@attack(Who.RECORDER, "input_altered", ["decision_unlinked"])
def altered_odometry(attacker: Attacker) -> Accused:
    """The robot's speed in a recorded odometry message is changed."""
    odometry = attacker.message("/odom")
    readers = readers_of(attacker, odometry)
    attacker.replace(odometry, payload=flip(attacker.records[odometry].payload, -300))
    return readers


@attack(Who.RECORDER, "loss_exceeds_policy", ["decision_unlinked", "input_not_recorded"])
def swapped_image_with_other_stamp(attacker: Attacker) -> Accused:
    """A camera image is replaced by another with another time stamp, which looks like one that was never read."""
    attacker.policy["max_loss"] = 0.0
    image = attacker.message("/camera/image")
    payload = bytearray(attacker.records[image].payload)
    payload[8:12] = struct.pack("<I", struct.unpack("<I", payload[8:12])[0] + 1)
    attacker.replace(image, payload=bytes(payload))
    return "/camera/image"


@attack(Who.RECORDER, "output_altered", ["input_altered", "input_not_recorded", "decision_unlinked"])
def altered_header_stamp(attacker: Attacker) -> Accused:
    """The header stamp of a recorded plan is moved by some nanoseconds."""
    plan = attacker.message("/planning/reference")
    place = attestation_of(attacker, plan)
    payload = bytearray(attacker.records[plan].payload)
    payload[8:12] = struct.pack("<I", struct.unpack("<I", payload[8:12])[0] + 7)
    attacker.replace(plan, payload=bytes(payload))
    return [attacker.records[place]]


@attack(Who.OUTSIDER, "output_not_attested")
def second_publisher(attacker: Attacker) -> Accused:
    """Another node publishes a command of its own on the controller's topic."""
    command = attacker.message("/wheel_command")
    return [attacker.repeat(command, 8, payload=flip(attacker.records[command].payload, -3))]


@attack(Who.OUTSIDER, "output_not_attested")
def second_publisher_with_stamps(attacker: Attacker) -> Accused:
    """Another node publishes a plan of its own between two of the planner's."""
    plan = attacker.message("/planning/reference")
    payload = bytearray(attacker.records[plan].payload)
    payload[8:12] = struct.pack("<I", struct.unpack("<I", payload[8:12])[0] + 7)
    return [attacker.repeat(plan, 25, payload=bytes(payload))]


@attack(Who.OUTSIDER, "output_not_attested", ["metadata_disagrees", "type_differs"])
def second_publisher_with_another_type(attacker: Attacker) -> Accused:
    """Another node publishes on the controller's topic under another message type."""
    command = attacker.message("/wheel_command")
    payload = flip(attacker.records[command].payload, -3)
    return [attacker.repeat(command, 8, payload=payload, type="std_msgs/msg/Int32MultiArray")]


@attack(Who.OUTSIDER, "output_not_attested")
def command_of_nan(attacker: Attacker) -> Accused:
    """Another node publishes a command whose speeds are not numbers."""
    command = attacker.message("/wheel_command")
    payload = bytes(attacker.records[command].payload)
    return [attacker.repeat(command, 8, payload=payload[:-8] + struct.pack("<2f", math.nan, math.nan))]


@attack(Who.OUTSIDER, "output_not_attested")
def malformed_command(attacker: Attacker) -> Accused:
    """Another node publishes three bytes as a command: less than the header that every message has."""
    return [attacker.repeat(attacker.message("/wheel_command"), 8, payload=b"\0\1\0")]


@attack(Who.OUTSIDER, "output_replayed")
def replayed_command(attacker: Attacker) -> Accused:
    """A command is published again byte for byte half a second later, without its attestation."""
    return [attacker.repeat(attacker.message("/wheel_command"), 510)]


@attack(Who.OUTSIDER, "output_replayed")
def replayed_plan(attacker: Attacker) -> Accused:
    """A plan is published again byte for byte a quarter of a second later."""
    return [attacker.repeat(attacker.message("/planning/reference"), 260)]


@attack(Who.STAGE, "output_not_recorded")
def attested_but_never_published(attacker: Attacker) -> Accused:
    """A stage attests a command that it never published."""
    command = attacker.message("/wheel_command")
    place = attestation_of(attacker, command)
    record = attacker.records[place]
    attacker.drop(command)
    return [record]


@attack(Who.STAGE, "below_policy", ["digest_not_checked"])
def hidden_output(attacker: Attacker) -> Accused:
    """A stage does not say what it commanded, and the policy wants it in clear."""
    attacker.policy["stages"]["control"] = {"disclosure": "clear"}
    place = attacker.attestation("control")
    output = dataclasses.replace(attacker.statement(place).outputs[0], digest=bytes(32), disclosure=Disclosure.ABSENT)
    return [attacker.lie(place, outputs=(output,))]


@attack(Who.STAGE, "digest_not_checked")
def digest_of_unknown_algorithm(attacker: Attacker) -> Accused:
    """A stage names a digest that nobody can compute, to take a command out of the audit."""
    place = attacker.attestation("control")
    output = dataclasses.replace(attacker.statement(place).outputs[0], digest_algorithm="md5")
    return [attacker.lie(place, outputs=(output,))]


@attack(Who.STAGE, "digest_not_checked")
def digest_under_another_label(attacker: Attacker) -> Accused:
    """A stage calls its SHA-256 digest a BLAKE3 digest."""
    place = attacker.attestation("control")
    output = dataclasses.replace(attacker.statement(place).outputs[0], digest_algorithm="blake3")
    return [attacker.lie(place, outputs=(output,))]


@attack(Who.STAGE, "output_altered")
def digest_label_for_the_whole_topic(attacker: Attacker) -> Accused:
    """A stage calls all its SHA-256 digests BLAKE3 digests, so that no message is the one that it attested."""
    return attacker.rewrite(
        attacker.attestations("control"),
        lambda s: {"outputs": tuple(dataclasses.replace(o, digest_algorithm="blake3") for o in s.outputs)},
    )


@attack(Who.STAGE, "output_not_attested", ["recording_edge"])
def topic_with_trailing_slash(attacker: Attacker) -> Accused:
    """From the middle of the run on, a stage attests commands on "/wheel_command/", a topic that nobody reads."""
    places = attacker.attestations("control")
    half = places[len(places) // 2 :]
    last = attacker.output_of(places[len(places) // 2 - 1])
    renamed(attacker, half, "/wheel_command/")
    return attacker.judged("/wheel_command", after=last)


@attack(Who.STAGE, "output_not_attested", ["recording_edge"])
def topic_in_other_case(attacker: Attacker) -> Accused:
    """From the middle of the run on, a stage attests commands on "/Wheel_command"."""
    places = attacker.attestations("control")
    half = places[len(places) // 2 :]
    last = attacker.output_of(places[len(places) // 2 - 1])
    renamed(attacker, half, "/Wheel_command")
    return attacker.judged("/wheel_command", after=last)


@attack(Who.STAGE, "decision_missing")
def decision_topic_never_attested(attacker: Attacker) -> Accused:
    """A stage attests all its commands on "/wheel_command/", so that no attestation speaks of "/wheel_command"."""
    renamed(attacker, attacker.attestations("control"), "/wheel_command/")
    return "/wheel_command"


@attack(
    Who.RECORDER,
    "type_differs",
)
def topic_under_another_type(attacker: Attacker) -> Accused:
    """The commands' bytes are relabelled as another message type, so that they read as other numbers."""
    for place in attacker.messages("/wheel_command"):
        attacker.replace(place, type="std_msgs/msg/Int32MultiArray")
    return "/wheel_command"


@attack(
    Who.OUTSIDER,
    "output_not_attested",
    ["attestation_lost"],
)
def loss_excuses_injection(attacker: Attacker) -> Accused:
    """A command and its attestation are lost; a second later another node publishes a command without attestation."""
    command = attacker.message("/wheel_command", -20)
    attacker.drop(command, attestation_of(attacker, command))
    later = attacker.message("/wheel_command", 20)
    return [attacker.repeat(later, 8, payload=flip(attacker.records[later].payload, -3))]


@attack(
    Who.STAGE,
    "output_not_attested",
    ["digest_not_checked"],
)
def hidden_outputs_excuse_injection(attacker: Attacker) -> Accused:
    """One record claims 31 hidden outputs; a second later come commands without attestation."""
    place = attacker.attestation("control", -40)
    output = attacker.statement(place).outputs[0]
    hidden = DataReference(output.topic, output.type, bytes(32), output.size, disclosure=Disclosure.ABSENT)
    attacker.lie(place, outputs=(output, *[hidden] * 31))
    later = attacker.message("/wheel_command", 20)
    return [attacker.repeat(later, 8, payload=flip(attacker.records[later].payload, -3))]


@attack(
    Who.OUTSIDER,
    "output_altered",
    ["decision_unlinked", "digest_not_checked", "signature_invalid"],
)
def forged_record_blinds_topic(attacker: Attacker) -> Accused:
    """A forged record names another digest algorithm for the commands' topic before the first real one; then a command
    is altered."""
    first = attacker.attestations("control")[0]
    output = dataclasses.replace(attacker.statement(first).outputs[0], digest_algorithm="blake3")
    forged = attacker.repeat(first, -1)
    attacker.forge(attacker.records.index(forged), outputs=(output,))
    command = attacker.message("/wheel_command")
    place = attestation_of(attacker, command)
    attacker.replace(command, payload=flip(attacker.records[command].payload, -3))
    return [attacker.records[place]]


def attestation_of(attacker: Attacker, message: int) -> int:
    """Return the place of the attestation of the message at a place."""
    from og_ros.attest import digest

    record = attacker.records[message]
    wanted = digest(record.payload)
    near = [
        i
        for i, r in enumerate(attacker.records)
        if r.topic == f"{record.topic}/attestation" and abs(r.received_ns - record.received_ns) < 500 * MS
    ]
    return next(i for i in near if attacker.statement(i).outputs[0].digest == wanted)


def readers_of(attacker: Attacker, message: int) -> list:  # type: ignore[type-arg]
    """Return the attestations that name the message at a place as an input."""
    from og_ros.attest import ATTESTATION_TYPE, digest

    wanted = digest(attacker.records[message].payload)
    found = [
        r
        for i, r in enumerate(attacker.records)
        if r.type == ATTESTATION_TYPE and any(x.digest == wanted for x in attacker.statement(i).inputs)
    ]
    assert found, "nobody read that message"
    return found


def renamed(attacker: Attacker, places: list[int], topic: str) -> None:
    """Attest outputs under another topic."""
    attacker.rewrite(places, lambda s: {"outputs": tuple(dataclasses.replace(o, topic=topic) for o in s.outputs)})
