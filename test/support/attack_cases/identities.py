"""Attacks with keys, models and names: who signs, for which robot and stage, with which certificate."""

from __future__ import annotations

import dataclasses
import os
import time

from attacker import Attacker

from attack_cases.case import UNREAD, Accused, Who, attack
from og_ros.attest import Algorithm, Mode, SoftwareSigner, keys

YEAR_NS = 365 * 86_400 * 10**9


@attack(Who.OUTSIDER, "unregistered_key", ["decision_unlinked"])
def unregistered_key(attacker: Attacker) -> Accused:
    """From the middle of the run on, the planner's records come from a key that nobody certified."""
    stranger = SoftwareSigner(keys.generate())
    places = attacker.attestations("planning")
    half = places[len(places) // 2 :]
    session = os.urandom(16)
    first = attacker.statement(half[0]).sequence

    def change(statement):  # type: ignore[no-untyped-def]
        return {
            "session": session,
            "sequence": statement.sequence - first,
            **({"previous": bytes(32)} if statement.sequence == first else {}),
        }

    return attacker.rewrite(half, change, stranger)


@attack(Who.INSIDER, "key_wrong_stage", UNREAD)
def key_of_another_stage(attacker: Attacker) -> Accused:
    """A planner's record is signed with the key of the perception stage."""
    return [attacker.sign(attacker.attestation("planning"), attacker.keys["perception"])]


@attack(Who.INSIDER, "key_wrong_robot", UNREAD)
def key_of_another_robot(attacker: Attacker) -> Accused:
    """A planner's record is signed with the key of the other robot's planner."""
    return [attacker.sign(attacker.attestation("planning"), attacker.runs.other.signers["planning"])]


@attack(Who.INSIDER, "key_wrong_stage", UNREAD)
def key_of_the_log(attacker: Attacker) -> Accused:
    """A planner's record is signed with the key that the registry certifies for the robot's log."""
    return [attacker.sign(attacker.attestation("planning"), SoftwareSigner(attacker.runs.robot.log_key))]


@attack(Who.STAGE, "key_wrong_robot", [*UNREAD, "robot_mixed"])
def name_of_another_robot(attacker: Attacker) -> Accused:
    """A stage signs a command in the name of the other robot."""
    return [attacker.lie(attacker.attestation("control"), robot="demo2")]


@attack(Who.STAGE, "key_wrong_stage", ["decision_unlinked", "model_wrong_stage", "stage_missing"])
def cyrillic_stage_name(attacker: Attacker) -> Accused:
    """A stage calls itself "plаnning" with a Cyrillic а, which looks the same to a reader."""
    places = attacker.attestations("planning")
    return attacker.rewrite(places, lambda statement: {"stage": "pl\u0430nning"})


@attack(Who.STAGE, "key_wrong_robot", ["decision_unlinked", "robot_mixed"])
def cyrillic_robot_name(attacker: Attacker) -> Accused:
    """A stage calls its robot "dеmo" with a Cyrillic е."""
    return attacker.rewrite(attacker.attestations("control"), lambda statement: {"robot": "d\u0435mo"})


@attack(Who.THIEF, "key_expired", ["decision_unlinked"])
def expired_key(attacker: Attacker) -> Accused:
    """The planner's key is used after its validity ended."""
    attacker.recertify(key={"not_before_ns": time.time_ns() - 2 * YEAR_NS, "not_after_ns": time.time_ns() - YEAR_NS})
    return [attacker.records[i] for i in attacker.attestations("planning")]


@attack(Who.THIEF, "key_not_yet_valid", ["decision_unlinked"])
def key_before_its_time(attacker: Attacker) -> Accused:
    """The planner's key is used before its validity begins."""
    attacker.recertify(key={"not_before_ns": time.time_ns() + YEAR_NS})
    return [attacker.records[i] for i in attacker.attestations("planning")]


@attack(Who.THIEF, "key_revoked", ["decision_unlinked"])
def revoked_key(attacker: Attacker) -> Accused:
    """The planner's key was revoked in the middle of the run, and signs on."""
    place = attacker.attestation("planning")
    with attacker.registry_writer() as writer:
        writer.revoke_key(attacker.keys["planning"].key_id, "stolen", at_ns=attacker.statement(place).signed_at_ns)
    return [attacker.records[i] for i in attacker.attestations("planning") if i >= place]


@attack(Who.STAGE, "model_not_certified")
def swapped_model(attacker: Attacker) -> Accused:
    """The planner runs another model under the certified one's name."""
    other = os.urandom(32)
    return attacker.rewrite(
        attacker.attestations("planning"),
        lambda statement: {"model": dataclasses.replace(statement.model, digest=other)},
    )


@attack(Who.STAGE, "model_misnamed")
def model_under_another_name(attacker: Attacker) -> Accused:
    """The planner calls its model a version that was never certified."""
    return attacker.rewrite(
        attacker.attestations("planning"),
        lambda statement: {"model": dataclasses.replace(statement.model, version="2.0.0")},
    )


@attack(Who.STAGE, "model_misnamed")
def cyrillic_model_name(attacker: Attacker) -> Accused:
    """The planner's model has the certified model's name but for a Cyrillic letter."""
    return attacker.rewrite(
        attacker.attestations("planning"),
        lambda statement: {"model": dataclasses.replace(statement.model, name="line_pl\u0430nning")},
    )


@attack(Who.STAGE, "model_wrong_stage", ["processing_not_certified"])
def model_of_another_stage(attacker: Attacker) -> Accused:
    """The planner runs the model that is certified for the controller."""
    model = attacker.statement(attacker.attestation("control")).model
    return attacker.rewrite(attacker.attestations("planning"), lambda statement: {"model": model})


@attack(Who.STAGE, "model_expired")
def expired_model(attacker: Attacker) -> Accused:
    """The planner's model is used after its certificate ended."""
    attacker.recertify(model={"not_before_ns": time.time_ns() - 2 * YEAR_NS, "not_after_ns": time.time_ns() - YEAR_NS})
    return [attacker.records[i] for i in attacker.attestations("planning")]


@attack(Who.STAGE, "model_not_yet_valid")
def model_before_its_time(attacker: Attacker) -> Accused:
    """The planner's model is used before its certificate begins."""
    attacker.recertify(model={"not_before_ns": time.time_ns() + YEAR_NS})
    return [attacker.records[i] for i in attacker.attestations("planning")]


@attack(Who.STAGE, "model_revoked")
def revoked_model(attacker: Attacker) -> Accused:
    """The planner's model was recalled in the middle of the run, and runs on."""
    place = attacker.attestation("planning")
    statement = attacker.statement(place)
    with attacker.registry_writer() as writer:
        writer.revoke_model(statement.model.digest, "recalled", at_ns=statement.signed_at_ns)
    return [attacker.records[i] for i in attacker.attestations("planning") if i >= place]


@attack(Who.STAGE, "processing_not_certified")
def altered_adapter(attacker: Attacker) -> Accused:
    """The certified model runs, but other code turns its numbers into messages."""
    return attacker.rewrite(
        attacker.attestations("planning"),
        lambda statement: {"runtime": dataclasses.replace(statement.runtime, processing_digest=bytes(31) + b"\1")},
    )


@attack(Who.STAGE, "session_changed")
def altered_runtime_in_session(attacker: Attacker) -> Accused:
    """In the middle of a session, another version of the runtime is at work."""
    place = attacker.attestation("planning")
    runtime = dataclasses.replace(attacker.statement(place).runtime, version="1.0.0")
    return [attacker.lie(place, runtime=runtime)]


@attack(Who.STAGE, "session_changed")
def altered_options_in_session(attacker: Attacker) -> Accused:
    """In the middle of a session, the model runs with options that give other numbers."""
    place = attacker.attestation("control")
    runtime = dataclasses.replace(attacker.statement(place).runtime, options="deterministic=0")
    return [attacker.lie(place, runtime=runtime)]


@attack(Who.STAGE, "session_changed", ["model_misnamed"])
def swapped_model_in_session(attacker: Attacker) -> Accused:
    """For one inference, a model that is certified for another stage runs under the planner's model's name."""
    place = attacker.attestation("planning")
    digest = attacker.statement(attacker.attestation("perception")).model.digest
    return [attacker.lie(place, model=dataclasses.replace(attacker.statement(place).model, digest=digest))]


@attack(Who.STAGE, "overclaimed")
def claims_tee_without_evidence(attacker: Attacker) -> Accused:
    """A software stage says that it ran in a trusted execution environment; the record has no evidence of one."""
    return [attacker.lie(attacker.attestation("planning"), mode_requested=Mode.TEE, mode_used=Mode.TEE)]


@attack(Who.STAGE, "overclaimed")
def claims_zk_without_proof(attacker: Attacker) -> Accused:
    """A stage that was to sign says that it proved its inference; there is no proof."""
    return [attacker.lie(attacker.attestation("planning"), mode_used=Mode.ZK)]


@attack(Who.STAGE, "mode_downgraded")
def downgraded_mode(attacker: Attacker) -> Accused:
    """A stage that was to run in a trusted environment falls back to a signature alone."""
    return [attacker.lie(attacker.attestation("planning"), mode_requested=Mode.TEE)]


@attack(Who.STAGE, "below_policy")
def downgraded_to_observed(attacker: Attacker) -> Accused:
    """A stage that the policy wants signed is only observed from outside, and says so."""
    attacker.policy["stages"]["planning"] = {"inference_authenticity": "signed"}
    changes = {"mode_requested": Mode.OBSERVED, "mode_used": Mode.OBSERVED}
    return attacker.rewrite(attacker.attestations("planning"), lambda statement: changes)


@attack(Who.INSIDER, "key_wrong_stage", UNREAD)
def ed25519_key_of_another_stage(attacker: Attacker) -> Accused:
    """A freshly certified Ed25519 key of the perception stage signs commands."""
    own = SoftwareSigner(keys.generate(Algorithm.EDDSA))
    with attacker.registry_writer() as writer:
        writer.certify_key(
            own.public_key, robot="demo", stage="perception", vendor="demo", not_before_ns=time.time_ns() - YEAR_NS
        )
    return [attacker.sign(attacker.attestation("control"), own)]
