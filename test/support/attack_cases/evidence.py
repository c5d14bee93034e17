"""Attacks with evidence of keys: a label above it, another key's or robot's, old evidence, changed software."""

from __future__ import annotations

from dataclasses import replace

from attacker import HOUR_NS, OUTPUTS, Attacker
from made_evidence import software
from made_tpm_quote import RELEASE, Made, launch_log, manifest_of, public_area

from attack_cases.case import Accused, Who, attack
from og_ros.attest import Mode, SoftwareSigner, keys
from og_ros.audit.records import Record
from og_ros.evidence.interface import Evidence
from og_ros.evidence.manifest import Manifest, sign
from og_ros.evidence.message import EVIDENCE_TYPE, EvidenceMessage, encode_message, evidence_topic
from og_ros.evidence.tpm.public_area import parse_public


def show(attacker: Attacker, evidence: Evidence, stage: str) -> Record:
    """Publish evidence beside a stage's attestations when the recording begins, and let the policy read it."""
    attacker.policy["evidence"] = {}
    topic = evidence_topic(f"{OUTPUTS[stage]}/attestation")
    payload = encode_message(EvidenceMessage(evidence, f"/{stage}"))
    return attacker.insert(Record(topic, EVIDENCE_TYPE, payload, began(attacker)))


def began(attacker: Attacker) -> int:
    return attacker.records[0].received_ns


@attack(Who.STAGE, "overclaimed")
def label_of_a_tee_over_software_evidence(attacker: Attacker) -> Accused:
    """A stage with software evidence says that it ran in a trusted execution environment."""
    show(attacker, software(attacker.keys["control"], "demo", "control", began(attacker)), "control")
    return [attacker.lie(attacker.attestation("control"), mode_requested=Mode.TEE, mode_used=Mode.TEE)]


@attack(Who.STAGE, "evidence_other_key", ["evidence_refused"])
def evidence_of_another_key(attacker: Attacker) -> Accused:
    """A stage shows evidence that was made for another key, and calls it its own."""
    other = software(SoftwareSigner(keys.generate()), "demo", "control", began(attacker))
    own = keys.spki(attacker.keys["control"].public_key)
    return [show(attacker, replace(other, key=own), "control")]


@attack(Who.OUTSIDER, "evidence_other_key")
def evidence_of_a_stranger(attacker: Attacker) -> Accused:
    """Somebody publishes evidence of a key of his own beside a stage's records, which the registry does not know."""
    show(attacker, software(SoftwareSigner(keys.generate()), "demo", "control", began(attacker)), "control")
    return "control"


@attack(Who.INSIDER, "evidence_other_robot")
def evidence_of_another_robot(attacker: Attacker) -> Accused:
    """A stage without evidence shows that of the other robot's stage, which holds for the other robot's key."""
    other = attacker.runs.other.signers["control"]
    show(attacker, software(other, "demo2", "control", began(attacker)), "control")
    return "robot demo2"


@attack(Who.OUTSIDER, "evidence_stale")
def replayed_evidence(attacker: Attacker) -> Accused:
    """The evidence of a run of an hour ago is published again."""
    return [show(attacker, software(attacker.keys["control"], "demo", "control", began(attacker) - HOUR_NS), "control")]


@attack(Who.OUTSIDER, "evidence_refused")
def evidence_cut_short(attacker: Attacker) -> Accused:
    """A message of evidence lacks its last bytes."""
    record = show(attacker, software(attacker.keys["control"], "demo", "control", began(attacker)), "control")
    place = attacker.records.index(record)
    return [attacker.replace(place, payload=record.payload[:-5])]


def measured(attacker: Attacker, launched: Manifest, allowed: Manifest) -> Record:
    """Show a quote of a launch that measured one manifest for the controller, to a policy that allows another."""
    key, release = keys.load_private(attacker.runs.robot.directory / "keys" / "control.pem"), SoftwareSigner(RELEASE)
    made = Made(launch_log(launched, key), launched, "demo", "control", session=key, record=b"").evidence()  # type: ignore[arg-type]
    record = show(attacker, replace(made, collected_at_ns=began(attacker)), "control")
    (attacker.directory / "control.manifest").write_bytes(sign(allowed, release))
    attacker.policy["evidence"] = {
        "collateral": {"manifest:control": str(attacker.directory / "control.manifest")},
        "reference_values": {
            "tpm2-quote": {
                "attestation_keys": {"demo": [parse_public(public_area()).name.hex()]},
                "manifest_signers": {"release": keys.public_pem(release.public_key)},
            }
        },
    }
    return record


def of_the_controller(attacker: Attacker, **changes: bytes) -> Manifest:
    """Return the manifest of the controller with its real model, or changed files."""
    own = attacker.statement(attacker.attestation("control")).model.digest
    found = manifest_of(robot="demo", stage="control")
    return replace(found, files={**found.files, "model": own, **changes})


@attack(Who.STAGE, "environment_drift")
def changed_model_in_a_measured_stage(attacker: Attacker) -> Accused:
    """A measured controller runs, and attests, another model than the one that its launch measured."""
    launched = of_the_controller(attacker, model=bytes(31) + b"\1")
    measured(attacker, launched, launched)
    return [attacker.records[place] for place in attacker.attestations("control")]


@attack(Who.STAGE, "environment_drift")
def changed_adapter_in_a_measured_stage(attacker: Attacker) -> Accused:
    """A controller is launched with another adapter than that of the signed manifest."""
    changed = of_the_controller(attacker, **{"adapter/image": bytes(31) + b"\1"})
    return [measured(attacker, changed, of_the_controller(attacker))]
