"""Checks of one attestation against the registry: its key, its signature, its model."""

from __future__ import annotations

from collections.abc import Iterator

from og_ros.attest import Mode, Statement, verify
from og_ros.attest.statement import NO_DIGEST
from og_ros.audit.findings import Finding
from og_ros.audit.records import Inference
from og_ros.errors import SignatureError
from og_ros.registry import KeyCertificate, ModelCertificate, Registry, Status


def check(inference: Inference, registry: Registry) -> Iterator[Finding]:
    """Check signature, key certificate and model certificate; sets `signed` and `certified` of the inference."""
    statement = inference.attestation.statement
    key = registry.key(statement.key_id)
    if key is None:
        inference.signed = False
        yield inference.finding(
            "unregistered_key",
            f"stage {statement.stage}: key {statement.key_id.hex()[:16]} is not in the registry",
        )
    else:
        key_findings = list(_key(inference, statement, key))
        inference.signed = not key_findings
        yield from key_findings
    model_findings = list(_model(inference, statement, registry))
    inference.certified = not model_findings
    yield from model_findings
    if statement.mode_used not in (Mode.SIGNED, Mode.OBSERVED):
        yield inference.finding(
            "overclaimed",
            f"stage {statement.stage}: claims mode {statement.mode_used.name.lower()}, but no evidence of it was found",
        )
    if statement.mode_used != statement.mode_requested:
        yield inference.finding(
            "mode_downgraded",
            f"stage {statement.stage}: mode {statement.mode_requested.name.lower()} was asked for, "
            f"{statement.mode_used.name.lower()} was used",
        )


def _key(inference: Inference, statement: Statement, key: KeyCertificate) -> Iterator[Finding]:
    name = f"key {statement.key_id.hex()[:16]}"
    try:
        verify(inference.attestation, key.public_key)
    except SignatureError as error:
        yield inference.finding("signature_invalid", f"stage {statement.stage}: {error}")
        return
    if key.role != "stage" or key.stage != statement.stage:
        owner = f"stage {key.stage}" if key.role == "stage" else f"the role {key.role}"
        yield inference.finding(
            "key_wrong_stage",
            f"{name} is registered for {owner} and was used by stage {statement.stage}",
        )
    if key.robot != statement.robot:
        yield inference.finding(
            "key_wrong_robot",
            f"{name} is registered for robot {key.robot} and was used by robot {statement.robot}",
        )
    yield from _validity(inference, "key", name, key.status(statement.signed_at_ns), "when it signed")


def _model(inference: Inference, statement: Statement, registry: Registry) -> Iterator[Finding]:
    model = statement.model
    name = f"model {model.name} {model.version}".rstrip()
    with_digest = registry.models_with(model.digest)
    if not with_digest:
        yield inference.finding(
            "model_not_certified",
            f"stage {statement.stage}: no certificate names digest {model.digest.hex()[:16]}, which {name} ran",
        )
        return
    named = [c for c in with_digest if (c.name, c.version) == (model.name, model.version)]
    if not named:
        other = with_digest[0]
        yield inference.finding(
            "model_misnamed",
            f"stage {statement.stage}: {name} has the digest that is certified as {other.name} {other.version}",
        )
        return
    # Any one certificate that holds is enough; otherwise the first one's reasons are given.
    reasons = [list(_certificate(inference, statement, certificate)) for certificate in named]
    if all(reasons):
        yield from reasons[0]


def _certificate(inference: Inference, statement: Statement, certificate: ModelCertificate) -> Iterator[Finding]:
    name = f"model {certificate.name} {certificate.version}"
    if not certificate.allows_stage(statement.stage):
        yield inference.finding(
            "model_wrong_stage",
            f"{name} is certified for {', '.join(certificate.stages)} and ran in stage {statement.stage}",
        )
    status = certificate.status(statement.signed_at_ns)
    yield from _validity(inference, "model", f"the certificate of {name}", status, "when it ran")
    expected = certificate.processing_digest
    if expected and expected != NO_DIGEST and expected != statement.runtime.processing_digest:
        yield inference.finding(
            "processing_not_certified",
            f"stage {statement.stage}: pre- and post-processing around {name} are not those of its certificate",
        )


def _validity(inference: Inference, subject: str, name: str, status: Status, when: str) -> Iterator[Finding]:
    if status is not Status.VALID:
        yield inference.finding(
            f"{subject}_{status.value.replace(' ', '_')}",
            f"stage {inference.stage}: {name} was {status.value} {when}",
        )
