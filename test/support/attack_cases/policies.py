"""Runs that are consistent in themselves and break the policy's rules: what ran, who signed, how old, how late."""

from __future__ import annotations

import dataclasses

from attacker import MS, Attacker

from attack_cases.case import Accused, Who, attack
from og_ros.attest import Clock


@attack(Who.STAGE, "model_not_allowed")
def older_certified_model(attacker: Attacker) -> Accused:
    """The planner runs a version of its model that is still certified, and that the policy no longer allows."""
    attacker.policy["stages"]["planning"] = {"models": ["line_planning@2.0.0"]}
    return [attacker.records[i] for i in attacker.attestations("planning")]


@attack(Who.STAGE, "key_not_allowed")
def certified_key_that_is_not_listed(attacker: Attacker) -> Accused:
    """The planner signs with a certified key that is none of those that the policy lists."""
    attacker.policy["stages"]["planning"] = {"keys": [attacker.keys["control"].key_id.hex()]}
    return [attacker.records[i] for i in attacker.attestations("planning")]


@attack(Who.AUTHORITY, "vendor_not_allowed")
def key_of_another_vendor(attacker: Attacker) -> Accused:
    """The authority certified a planner's key of a vendor that the policy does not allow."""
    attacker.policy["stages"]["planning"] = {"vendors": ["trusted-planners"]}
    return [attacker.records[i] for i in attacker.attestations("planning")]


@attack(Who.AUTHORITY, "certifier_not_allowed")
def certified_by_another_authority(attacker: Attacker) -> Accused:
    """An authority certified the planner's model that the policy does not take for it."""
    attacker.policy["stages"]["planning"] = {"certifiers": ["notified-body"]}
    return [attacker.records[i] for i in attacker.attestations("planning")]


@attack(Who.STAGE, "runtime_not_allowed")
def outdated_runtime(attacker: Attacker) -> Accused:
    """The planner's model runs on a runtime with a known defect, which the policy excludes."""
    attacker.policy["stages"]["planning"] = {"runtimes": [{"name": "onnxruntime", "version": ">=1.20,<2"}]}
    return attacker.rewrite(
        attacker.attestations("planning"),
        lambda statement: {"runtime": dataclasses.replace(statement.runtime, version="1.16.0")},
    )


@attack(Who.STAGE, "input_stale")
def old_scan(attacker: Attacker) -> Accused:
    """The planner steers by a laser scan of a second ago."""
    attacker.policy["stages"]["planning"] = {"max_input_age_ms": 500}
    place = attacker.attestation("planning")
    line, _ = attacker.statement(place).inputs
    _, old = attacker.statement(attacker.attestation("planning", -20)).inputs
    return [attacker.lie(place, inputs=(line, old))]


@attack(Who.STAGE, "signed_late")
def signed_long_after(attacker: Attacker) -> Accused:
    """A stage makes up its mind for three seconds before it signs what it did."""
    attacker.policy["stages"]["control"] = {"max_signing_delay_ms": 1000}
    place = attacker.attestation("control")
    start = attacker.statement(place).signed_at_ns - 3000 * MS
    return [attacker.lie(place, start_ns=start, clock=Clock.SYSTEM)]


@attack(Who.OUTSIDER, "rests_on_broken")
def signatures_of_a_broken_algorithm(attacker: Attacker) -> Accused:
    """The recording is audited after its signatures' algorithm was broken, and nothing shows that they are older."""
    attacker.policy["broken"] = {"ES256": "2035-01-01T00:00:00Z"}
    attacker.options = ["--at", "2036-01-01T00:00:00Z"]
    return "ES256, broken since 2035-01-01"
