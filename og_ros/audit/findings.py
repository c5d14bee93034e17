"""Findings: what an audit can find, how severe each kind is, and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final


class Severity(IntEnum):
    """How a finding bears on the verdict; the numbers are those of msg/Finding."""

    INFO = 0
    WARNING = 1
    VIOLATION = 2


@dataclass(frozen=True)
class Kind:
    """One kind of finding: its severity and its meaning in a sentence."""

    severity: Severity
    meaning: str


_I, _W, _V = Severity.INFO, Severity.WARNING, Severity.VIOLATION

KINDS: Final[dict[str, Kind]] = {
    # The record
    "no_attestations": Kind(_V, "The recording holds no attestation at all, so nothing in it is accounted for."),
    "recording_incomplete": Kind(_V, "The recording was cut off, or holds fewer messages than it says."),
    "recording_not_closed": Kind(_W, "The recorder stopped before it closed a file; its last messages may be missing."),
    "metadata_missing": Kind(_W, "The recording has no metadata.yaml: only its storage files say what belongs to it."),
    "metadata_disagrees": Kind(_W, "The recording's metadata.yaml and its storage files contradict each other."),
    "malformed_attestation": Kind(_V, "A message on an attestation topic cannot be read as an attestation."),
    "signature_invalid": Kind(_V, "The signature does not match the statement under the registered key."),
    "overclaimed": Kind(_V, "The record claims a verification mode for which there is no evidence."),
    "mode_downgraded": Kind(_W, "A weaker verification mode was used than the configuration asked for."),
    # Keys
    "unregistered_key": Kind(_V, "The signing key is not in the registry."),
    "key_wrong_robot": Kind(_V, "The key is registered for another robot."),
    "key_wrong_stage": Kind(_V, "The key is registered for another stage or another role."),
    "source_not_certified": Kind(
        _V, "A record says that data began with it, and its key is not certified as a source of the topic."
    ),
    "key_not_yet_valid": Kind(_V, "The key was used before its validity began."),
    "key_expired": Kind(_V, "The key was used after its validity ended."),
    "key_revoked": Kind(_V, "The key was used after it was revoked."),
    # Evidence of keys
    "evidence_refused": Kind(_V, "Evidence of a key's environment is malformed, or contradicts the policy or itself."),
    "evidence_other_key": Kind(_V, "Evidence is bound to another key, stage or question than it says, or than signs."),
    "evidence_other_robot": Kind(_V, "Evidence was made for another robot."),
    "evidence_stale": Kind(_V, "Evidence was too old when it arrived, or what its key signs is outside of its time."),
    "environment_drift": Kind(_V, "The environment, or the model that ran in it, is not what was measured or allowed."),
    # Models
    "model_not_certified": Kind(_V, "No certificate names the digest of the model that ran."),
    "model_misnamed": Kind(_V, "The model's digest is certified under another name or version."),
    "model_wrong_stage": Kind(_V, "The model is certified for other stages."),
    "model_not_yet_valid": Kind(_V, "The model ran before its certificate's validity began."),
    "model_expired": Kind(_V, "The model ran after its certificate's validity ended."),
    "model_revoked": Kind(_V, "The model ran after its certificate was revoked."),
    "processing_not_certified": Kind(_V, "Pre- or post-processing differs from what the model's certificate names."),
    # Sessions
    "chain_broken": Kind(_V, "An attestation names another predecessor than the one recorded before it."),
    "session_forked": Kind(_V, "Two different attestations carry the same sequence number of one session."),
    "session_changed": Kind(_V, "The model, runtime, key or node changed within a session."),
    "session_joined_late": Kind(_I, "The recording begins in the middle of a session."),
    "attestation_replayed": Kind(_V, "The same attestation appears more than once."),
    "attestation_reordered": Kind(_V, "An attestation arrived after a later one of its session."),
    "attestation_lost": Kind(_W, "Attestations are missing that the session's sequence shows were signed."),
    "attestation_recovered": Kind(_I, "Attestations were dropped on their way; the stage had them in its journal."),
    "attestation_withheld": Kind(_V, "A stage does not give attestations that it signed and states that it keeps."),
    "clock_disagrees": Kind(_V, "The signing time is far from the time at which the record arrived."),
    "sessions_overlap": Kind(_V, "One stage of one robot signs in two sessions at once."),
    "clock_went_back": Kind(_V, "A session's monotonic clock runs backwards."),
    # Data
    "output_altered": Kind(_V, "A message on an attested topic differs from the one that its stage attested."),
    "output_not_attested": Kind(_V, "A message on an attested topic has no attestation, and no sequence is missing."),
    "source_began_late": Kind(_I, "Sensor messages came before their source signed any; they are not signed."),
    "output_replayed": Kind(_V, "A message was published again after it had been attested once."),
    "output_not_recorded": Kind(_W, "An attested output is not in the recording: dropped, or never published."),
    "input_altered": Kind(_V, "A stage read other bytes than were recorded for the message with the same stamp."),
    "input_not_recorded": Kind(_W, "A stage read a message that is not in the recording: dropped, or never published."),
    "input_attestation_wrong": Kind(_V, "An attestation names a source for its input that did not give that output."),
    "cause_after_effect": Kind(_V, "An attestation names an input that was made after the inference began."),
    "robot_mixed": Kind(_V, "A chain joins attestations of different robots."),
    "type_differs": Kind(_V, "A topic is recorded as another message type than its attestations name."),
    "digest_not_checked": Kind(_W, "A message's digest is committed, absent or of another algorithm than its topic's."),
    "recording_edge": Kind(_I, "A message at the very start or end of the recording lacks its counterpart."),
    "disclosure_invalid": Kind(_V, "A revealed record does not give its commitment, or is not what was committed to."),
    "sealed_malformed": Kind(_V, "A record of a sealed recording cannot be read."),
    "sealed_altered": Kind(_V, "A sealed message does not open with its recipient's key, or is not what it shows."),
    "sealed_missing": Kind(_V, "Sealed messages are missing, or there twice, as their numbers show."),
    # Log
    "log_invalid": Kind(_V, "The log's leaves, root, tiles or checkpoint do not fit together."),
    "log_key_unregistered": Kind(_V, "The log's key is not registered as a log key."),
    "log_forked": Kind(_V, "The log is not the one whose signed checkpoint was recorded."),
    "log_rewound": Kind(_V, "The log has fewer leaves than a signed checkpoint of it that was recorded."),
    "missing_from_log": Kind(_V, "A recorded attestation is not in the log, though others around it are."),
    "logged_late": Kind(_W, "The log begins within a session: what was recorded before that did not reach it."),
    "not_logged_yet": Kind(_W, "Recorded attestations at a session's end did not reach the log."),
    "only_in_log": Kind(_I, "An attestation is in the log and not in the recording; it was taken from the log."),
    "log_not_checkpointed": Kind(_W, "The log's newest leaves are not covered by a checkpoint."),
    # Settlement
    "settlement_forged": Kind(_V, "A receipt's signature, proof, block or place in its chain does not hold."),
    "settlement_differs": Kind(_V, "The log does not have the leaves whose checkpoint settled."),
    "settlement_missing": Kind(_V, "A settled checkpoint is missing between those whose receipts were given."),
    "settlement_contract_unknown": Kind(_W, "The contract's code is not the one that og_ros knows."),
    # Re-execution
    "reexecution_differs": Kind(_V, "The certified model, run again on the recorded input, gives another output."),
    "reexecution_unavailable": Kind(_W, "Sampled inferences could not be run again; the finding says why."),
    "beacon_predictable": Kind(_W, "The robot could know the beacon, and so the sample, before the recording ended."),
    # Policy
    "stage_missing": Kind(_V, "A stage that the policy requires attested nothing."),
    "below_policy": Kind(_V, "A level is below the minimum that the policy states."),
    "model_not_allowed": Kind(_V, "The model that ran is not one that the policy allows for the stage."),
    "key_not_allowed": Kind(_V, "The signing key is not one that the policy allows for the stage."),
    "vendor_not_allowed": Kind(_V, "The key's certificate names a vendor that the policy does not allow, or none."),
    "certifier_not_allowed": Kind(_V, "The model was certified by an authority that the policy does not allow."),
    "runtime_not_allowed": Kind(_V, "The runtime, its version or its provider is not one that the policy allows."),
    "input_stale": Kind(_V, "An input was older when the inference began than the policy allows."),
    "input_age_unknown": Kind(_W, "The policy bounds an input's age, and the input has no stamp and no known source."),
    "signed_late": Kind(_V, "More time passed from an inference's end to its signature than the policy allows."),
    "decision_missing": Kind(_V, "A topic of commands that the policy names was attested by no stage."),
    "reexecution_below_policy": Kind(_V, "Fewer of a stage's inferences were run again than the policy demands."),
    "loss_exceeds_policy": Kind(_V, "More records are missing than the policy allows."),
    "latency_exceeds_policy": Kind(_V, "A decision took longer from sensor to command than the policy allows."),
    "decision_unlinked": Kind(_W, "A command could not be traced back to recorded sensor messages."),
    "root_not_trusted": Kind(_V, "The registry's root is not the one that the policy or the command pins."),
    # Fleet: what takes more than one recording to see
    "replayed_across_recordings": Kind(_V, "The same attestation arrived at two different times in two recordings."),
    "recordings_disagree": Kind(_V, "Two recordings have different attestations for one sequence number of a session."),
    "key_shared_by_robots": Kind(_V, "One key signed for more than one robot."),
    "session_shared_by_robots": Kind(_V, "One session's id was used by more than one robot."),
    "key_in_two_sessions": Kind(_W, "One key signed in two sessions of a stage at once, as a copied key would."),
    # Evidence packs
    "pack_altered": Kind(_V, "A file of a pack is missing, was added, or is not the one that its manifest lists."),
    "pack_signature_invalid": Kind(_V, "The signature of a pack's manifest or summary does not hold."),
    "pack_signer_unexpected": Kind(_V, "A pack is not signed by the key that was asked for."),
    "pack_records_differ": Kind(_V, "A pack's attestations or proofs are not those of its own recording and log."),
    "pack_report_differs": Kind(_V, "A pack's report says other things than an audit of its own records."),
    "pack_report_outdated": Kind(_W, "Another version of og_ros reports other things on the records of a pack."),
    # Gate: what keeps a command from the motors, beside the kinds above
    "attestation_missing": Kind(_V, "A command had no attestation by its deadline."),
    "command_stale": Kind(_V, "A command was older when its chain had verified than the gate allows."),
    "command_superseded": Kind(_V, "A later command's chain verified first, so an older one may no longer pass."),
    "command_wrong_stage": Kind(_V, "A command was attested by another stage than the one that makes commands."),
    "chain_stalled": Kind(_V, "No command verified for longer than the gate allows while the chain should run."),
    "gate_overloaded": Kind(_V, "Commands or records arrived faster than the gate could decide."),
    "node_deaf": Kind(_V, "The gate stood still, heard nothing on this machine any more, and started anew, latched."),
    "gate_bypassed": Kind(_V, "Another node publishes on the topic that only the gate may publish on."),
    "gate_check_failed": Kind(_V, "A rule of the gate could not be applied to a command."),
    "gate_latched": Kind(_I, "A command verified and did not pass, because the gate latched and was not reset."),
    "envelope_not_in_force": Kind(_V, "A command came outside of the envelope's time of validity or shift hours."),
    "envelope_exceeded": Kind(_V, "A command is outside of the bounds of the signed physical envelope."),
    "zone_violated": Kind(_V, "The robot is where the envelope does not allow it, or nobody knows where it is."),
    "emergency_stop": Kind(_V, "A signed emergency stop is in force, and was not released."),
    "stop_invalid": Kind(_W, "An emergency stop or release was not taken: malformed, forged, or of nobody listed."),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing found: kind, the record concerned, one plain sentence."""

    kind: str
    message: str
    topic: str = ""
    sequence: int | None = None
    stage: str = ""
    received_ns: int = 0
    record: bytes = b""

    @property
    def severity(self) -> Severity:
        """The severity of the finding's kind."""
        return KINDS[self.kind].severity

    def as_json(self) -> dict[str, Any]:
        """Return the finding as the report's JSON shows it."""
        return {
            "kind": self.kind,
            "severity": self.severity.name.lower(),
            "stage": self.stage,
            "topic": self.topic,
            "sequence": self.sequence,
            "message": self.message,
            "received_ns": self.received_ns,
            "attestation": self.record.hex(),
        }
