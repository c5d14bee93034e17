"""Attacks on the recording's files: cut, with counts that lie, with topics under other types."""

from __future__ import annotations

import yaml
from attacker import Attacker

from attack_cases.case import Accused, Who, attack
from attack_cases.data import readers_of


@attack(Who.RECORDER, "recording_incomplete", ["decision_unlinked", "recording_edge"])
def truncated_file(attacker: Attacker) -> Accused:
    """The recording's file lacks its second half."""
    attacker.write()
    file = next((attacker.directory / "bag").glob("*.mcap"))
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    return "bag.mcap"


@attack(Who.RECORDER, "input_altered", ["decision_unlinked"])
def overwritten_bytes(attacker: Attacker) -> Accused:
    """Four kilobytes of the recording's file, in the middle of an image, are overwritten."""
    image = attacker.message("/camera/image")
    payload = bytes(attacker.records[image].payload)
    readers = readers_of(attacker, image)
    attacker.write()
    file = next((attacker.directory / "bag").glob("*.mcap"))
    data = bytearray(file.read_bytes())
    at = data.index(payload) + 20_000
    data[at : at + 4096] = bytes(4096)
    file.write_bytes(data)
    return readers


@attack(Who.RECORDER, "recording_incomplete")
def metadata_counts_lie(attacker: Attacker) -> Accused:
    """The metadata says that there are ten messages more than the file holds."""
    attacker.write()
    file = attacker.directory / "bag" / "metadata.yaml"
    tree = yaml.safe_load(file.read_text())
    for topic in tree["rosbag2_bagfile_information"]["topics_with_message_count"]:
        if topic["topic_metadata"]["name"] == "/wheel_command":
            topic["message_count"] += 10
    tree["rosbag2_bagfile_information"]["message_count"] += 10
    file.write_text(yaml.safe_dump(tree))
    return "/wheel_command"


@attack(Who.RECORDER, "stage_missing", ["decision_missing"])
def attestations_under_another_type(attacker: Attacker) -> Accused:
    """The controller's attestation topic is labelled as text, so that no reader takes it for attestations."""
    for place in attacker.attestations("control"):
        attacker.replace(place, type="std_msgs/msg/String")
    return "control"


@attack(Who.OUTSIDER, "malformed_attestation")
def text_on_an_attestation_topic(attacker: Attacker) -> Accused:
    """A text message arrives as if it were an attestation."""
    text = b"\0\1\0\0\6\0\0\0hello\0"
    return [attacker.repeat(attacker.attestation("planning"), 2, payload=text)]
