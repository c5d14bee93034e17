"""Attacks on sensor data that is signed at its source, and on records of who only looked on."""

from __future__ import annotations

import dataclasses
import struct
import time

from attacker import Attacker
from sourced import certify_sources, sign_sensors, source_keys

from attack_cases.case import Accused, Who, attack
from attack_cases.data import attestation_of, flip
from og_ros.attest import Mode, SoftwareSigner, digest, keys
from og_ros.attest.statement import NO_DIGEST

IMAGE = "/camera/image"
DAY_NS = 86_400 * 10**9


def sourced(attacker: Attacker) -> dict[str, SoftwareSigner]:
    """Let every sensor's driver sign, with keys that the registry certifies; returns the keys by topic."""
    signers = source_keys()
    with attacker.registry_writer() as writer:
        certify_sources(writer, signers, since_ns=time.time_ns() - DAY_NS)
    attacker.records = sign_sensors(attacker.records, signers)
    attacker.know(*signers.values())
    attacker.policy["decision_levels"] = {"data_provenance": "linked"}
    return signers


def record_of(attacker: Attacker, message: int) -> int:
    """Return the place of the source's record of a message."""
    name = digest(attacker.records[message].payload)
    topic = f"{attacker.records[message].topic}/attestation"
    return next(i for i in attacker.messages(topic) if attacker.statement(i).outputs[0].digest == name)


@attack(Who.OUTSIDER, "input_altered", ["decision_unlinked", "below_policy"])
def frame_altered_between_driver_and_stage(attacker: Attacker) -> Accused:
    """A camera frame is changed on its way from the driver to the perception; the recorder has the driver's."""
    sourced(attacker)
    image = attacker.message(IMAGE)
    altered = flip(attacker.records[image].payload, -1000)
    name = digest(attacker.records[image].payload)
    places = [i for i in attacker.attestations("perception") if attacker.statement(i).inputs[0].digest == name]
    reference = dataclasses.replace(attacker.statement(places[0]).inputs[0], digest=digest(altered), attestation=b"")
    return attacker.rewrite(places, lambda statement: {"inputs": (reference,)})


@attack(Who.OUTSIDER, "output_altered", ["input_altered"])
def frame_altered_behind_the_driver(attacker: Attacker) -> Accused:
    """A camera frame is changed behind the driver, before anybody reads or records it."""
    sourced(attacker)
    image = attacker.message(IMAGE)
    accused = attacker.records[record_of(attacker, image)]
    name, altered = digest(attacker.records[image].payload), flip(attacker.records[image].payload, -1000)
    places = [i for i in attacker.attestations("perception") if attacker.statement(i).inputs[0].digest == name]
    reference = dataclasses.replace(attacker.statement(places[0]).inputs[0], digest=digest(altered), attestation=b"")
    attacker.rewrite(places, lambda statement: {"inputs": (reference,)})
    attacker.replace(image, payload=altered)
    return [accused]


@attack(Who.OUTSIDER, "output_not_attested")
def second_publisher_on_a_sensor_topic(attacker: Attacker) -> Accused:
    """Another node publishes a camera frame of its own between two of the driver's."""
    sourced(attacker)
    image = attacker.message(IMAGE)
    payload = bytearray(attacker.records[image].payload)
    payload[8:12] = struct.pack("<I", struct.unpack("<I", payload[8:12])[0] + 7)
    return [attacker.repeat(image, 20, payload=bytes(payload))]


@attack(Who.OUTSIDER, "output_replayed")
def replayed_frame(attacker: Attacker) -> Accused:
    """A camera frame is published again byte for byte a quarter of a second later."""
    sourced(attacker)
    return [attacker.repeat(attacker.message(IMAGE), 260)]


@attack(Who.OUTSIDER, "attestation_replayed", ["output_replayed"])
def replayed_frame_with_its_record(attacker: Attacker) -> Accused:
    """A camera frame is published again a quarter of a second later, and its source's record with it."""
    sourced(attacker)
    image = attacker.message(IMAGE)
    record = record_of(attacker, image)
    again = attacker.repeat(record, 260)
    attacker.repeat(attacker.messages(IMAGE)[len(attacker.messages(IMAGE)) // 2], 260)
    return [again]


@attack(Who.OUTSIDER, "unregistered_key")
def forged_source_key(attacker: Attacker) -> Accused:
    """Somebody signs all camera frames as their source, with a key that nobody certified."""
    stranger = {IMAGE: SoftwareSigner(keys.generate())}
    attacker.records = sign_sensors(attacker.records, stranger)
    return [attacker.records[i] for i in attacker.messages(f"{IMAGE}/attestation")]


@attack(Who.OUTSIDER, "output_not_attested", ["unregistered_key"])
def injected_frame_with_a_forged_record(attacker: Attacker) -> Accused:
    """A frame is injected beside the driver's, and with it a source's record by a key that nobody certified."""
    sourced(attacker)
    image = attacker.message(IMAGE)
    payload = bytearray(attacker.records[image].payload)
    payload[8:12] = struct.pack("<I", struct.unpack("<I", payload[8:12])[0] + 7)
    injected = attacker.repeat(image, 20, payload=bytes(payload))
    forged = sign_sensors([injected], {IMAGE: SoftwareSigner(keys.generate())})
    attacker.insert(forged[1])
    return [injected]


@attack(Who.STAGE, "source_not_certified")
def stage_that_signs_as_a_source(attacker: Attacker) -> Accused:
    """The perception signs the camera frames itself, as their source, with its own valid key."""
    attacker.records = sign_sensors(attacker.records, {IMAGE: attacker.keys["perception"]})
    return [attacker.records[i] for i in attacker.messages(f"{IMAGE}/attestation")]


@attack(Who.INSIDER, "source_not_certified", ["key_wrong_stage", "attestation_lost"])
def source_of_another_topic(attacker: Attacker) -> Accused:
    """The lidar's key, which is certified for scans, signs a camera frame."""
    signers = sourced(attacker)
    place = record_of(attacker, attacker.message(IMAGE))
    return [attacker.sign(place, by=signers["/scan"])]


@attack(Who.STAGE, "source_not_certified", ["attestation_lost", "decision_unlinked"])
def command_labelled_as_sensor_data(attacker: Attacker) -> Accused:
    """The controller says that a command was made from nothing, so that no chain has to stand behind it."""
    return [attacker.sign(attacker.attestation("control"), inputs=())]


@attack(Who.STAGE, "key_wrong_stage", ["attestation_lost"])
def source_key_of_another_robot_stage(attacker: Attacker) -> Accused:
    """The camera's key signs a frame under another source's name."""
    sourced(attacker)
    return [attacker.sign(record_of(attacker, attacker.message(IMAGE)), stage="lidar")]


@attack(Who.RECORDER, "below_policy")
def sensor_that_nobody_signs(attacker: Attacker) -> Accused:
    """One sensor's records are left out, and the policy wants every sensor signed at its source."""
    sourced(attacker)
    attacker.policy["decision_levels"] = {"data_provenance": "signed_at_source"}
    attacker.cut(lambda record: record.topic != "/odom/attestation")
    return "data_provenance is linked"


def observed(attacker: Attacker, stage: str = "planning") -> SoftwareSigner:
    """Let a witness attest the planner, which does not attest itself; returns the witness's key."""
    observer = SoftwareSigner(keys.generate())
    with attacker.registry_writer() as writer:
        writer.certify_key(
            observer.public_key, role="observer", robot="demo", stage=stage, not_before_ns=time.time_ns() - DAY_NS
        )
    attacker.know(observer)

    def watch(statement: object) -> dict[str, object]:
        return {
            "mode_requested": Mode.OBSERVED,
            "mode_used": Mode.OBSERVED,
            "model": dataclasses.replace(statement.model, digest=NO_DIGEST),  # type: ignore[attr-defined]
        }

    attacker.rewrite(attacker.attestations("planning"), watch, by=observer)
    return observer


@attack(Who.INSIDER, "overclaimed", ["session_changed"])
def witness_that_claims_to_have_run_the_model(attacker: Attacker) -> Accused:
    """A witness says of one plan that it ran the model itself, which its key is not certified for."""
    observed(attacker)
    place = attacker.attestation("planning")
    certified = next(m for m in attacker.runs.robot.registry.models if m.allows_stage("planning"))
    reference = dataclasses.replace(attacker.statement(place).model, digest=certified.digest)
    return attacker.rewrite(
        [place], lambda s: {"mode_requested": Mode.SIGNED, "mode_used": Mode.SIGNED, "model": reference}
    )


@attack(Who.INSIDER, "key_wrong_stage", ["decision_unlinked"])
def witness_of_another_stage(attacker: Attacker) -> Accused:
    """A witness that is certified to observe the controller attests the planner."""
    observed(attacker, "control")
    return [attacker.records[i] for i in attacker.attestations("planning")]


@attack(Who.INSIDER, "model_not_certified", ["session_changed"])
def witness_that_names_an_unknown_model(attacker: Attacker) -> Accused:
    """A witness names a model for one plan that nobody certified."""
    observed(attacker)
    place = attacker.attestation("planning")
    model = dataclasses.replace(attacker.statement(place).model, digest=b"\7" * 32)
    return attacker.rewrite([place], lambda statement: {"model": model})


@attack(Who.STAGE, "model_not_certified", ["session_changed"])
def stage_that_names_no_model(attacker: Attacker) -> Accused:
    """A stage names no model for one plan, as only a witness or a source may."""
    place = attacker.attestation("planning")
    model = dataclasses.replace(attacker.statement(place).model, digest=NO_DIGEST)
    return attacker.rewrite([place], lambda statement: {"model": model})


@attack(Who.INSIDER, "below_policy")
def witness_where_the_policy_wants_the_stage(attacker: Attacker) -> Accused:
    """The planner is only observed, and the policy wants its own signature."""
    observed(attacker)
    attacker.policy["stages"]["planning"] = {"inference_authenticity": "signed"}
    return [attacker.records[i] for i in attacker.attestations("planning")]


@attack(Who.OUTSIDER, "output_altered", ["input_altered", "input_not_recorded", "decision_unlinked"])
def observed_plan_altered(attacker: Attacker) -> Accused:
    """One bit of a recorded plan is changed after the witness saw it."""
    observed(attacker)
    plan = attacker.message("/planning/reference")
    place = attestation_of(attacker, plan)
    attacker.replace(plan, payload=flip(attacker.records[plan].payload, -3))
    return [attacker.records[place]]
