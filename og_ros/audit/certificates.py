"""Checks of one attestation: its signature, its key and model against the registry, and what it claims of itself."""

from __future__ import annotations

from collections.abc import Iterator

from og_ros.audit.findings import Finding
from og_ros.audit.levels import is_downgraded, overclaim
from og_ros.audit.records import Inference
from og_ros.errors import SignatureError
from og_ros.registry import Registry
from og_ros.registry.rules import Problem, statement_key_problems, statement_model_problems


def check(inference: Inference, registry: Registry | None) -> Iterator[Finding]:
    """Check signature, key certificate, model certificate and claims; sets `signed` and `certified` of the inference.

    Without a registry `signed` and `certified` stay None, and only the claims are checked.
    """
    if registry is not None:
        yield from _key(inference, registry)
        yield from _model(inference, registry)
    yield from _claims(inference)


def _key(inference: Inference, registry: Registry) -> Iterator[Finding]:
    statement = inference.attestation.statement
    key = registry.key(statement.key_id)
    if key is not None:
        try:
            key.verifier.verify(inference.attestation)
        except SignatureError as error:
            inference.signed = False
            yield inference.finding("signature_invalid", f"stage {statement.stage}: {error}")
            return
    problems = statement_key_problems(registry, statement)
    inference.signed = not problems
    for problem in problems:
        yield _finding(inference, problem)


def _model(inference: Inference, registry: Registry) -> Iterator[Finding]:
    problems = statement_model_problems(registry, inference.attestation.statement)
    inference.certified = not problems
    for problem in problems:
        yield _finding(inference, problem)


def _claims(inference: Inference) -> Iterator[Finding]:
    statement = inference.attestation.statement
    claim = overclaim(statement)
    if claim:
        yield inference.finding("overclaimed", f"stage {statement.stage}: {claim}")
    if is_downgraded(statement):
        yield inference.finding(
            "mode_downgraded",
            f"stage {statement.stage}: mode {statement.mode_requested.name.lower()} was asked for, "
            f"{statement.mode_used.name.lower()} was used",
        )


def _finding(inference: Inference, problem: Problem) -> Finding:
    return inference.finding(problem.kind, f"stage {inference.stage}: {problem.sentence}")
