"""Checks of one attestation: its signature, its key and model against the registry, and what it claims of itself."""

from __future__ import annotations

from collections.abc import Iterator

from og_ros.audit.findings import Finding
from og_ros.audit.levels import is_downgraded, overclaim
from og_ros.audit.records import Inference
from og_ros.errors import SignatureError
from og_ros.registry import KeyCertificate, Registry
from og_ros.registry.rules import Problem, Uses, names_no_model


class Certificates:
    """Checks attestations against one registry; without one, only what they claim of themselves is checked."""

    def __init__(self, registry: Registry | None) -> None:
        self._registry = registry
        self._uses = Uses(registry) if registry is not None else None

    def check(self, inference: Inference) -> list[Finding]:
        """Check signature, key certificate, model certificate and claims; sets `signed` and `certified`.

        Without a registry both stay None.
        """
        found: list[Finding] = []
        if self._registry is not None and self._uses is not None:
            key_problems, model_problems = self._uses.problems(inference.attestation.statement)
            key = self._registry.key(inference.attestation.statement.key_id)
            forged = _signature(inference, key) if key is not None else None
            if forged is not None:
                found.append(forged)
            else:
                found += (_finding(inference, problem) for problem in key_problems)
            inference.signed = not found
            inference.certified = not model_problems and not names_no_model(inference.attestation.statement)
            inference.key_role = key.role if key is not None else ""
            found += (_finding(inference, problem) for problem in model_problems)
        found += _claims(inference)
        return found


def check(inference: Inference, registry: Registry | None) -> list[Finding]:
    """Check one attestation; see `Certificates.check`."""
    return Certificates(registry).check(inference)


def _signature(inference: Inference, key: KeyCertificate) -> Finding | None:
    try:
        key.verifier.verify(inference.attestation)
    except SignatureError as error:
        return inference.finding("signature_invalid", f"stage {inference.stage}: {error}")
    return None


def _claims(inference: Inference) -> Iterator[Finding]:
    statement = inference.attestation.statement
    claim = overclaim(statement, inference.key_role)
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
