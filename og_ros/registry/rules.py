"""What a registry says against a key or a model in use: one set of rules for a stage's start, an audit and a gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from og_ros.attest.statement import NO_DIGEST, Mode, ModelReference, Statement
from og_ros.registry.certificate import KeyCertificate, ModelCertificate, Status
from og_ros.registry.registry import Registry
from og_ros.registry.timestamp import show_time

# So many combinations of key, stage and model are remembered.
_MAX_USES: Final = 4096


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a key or a model may not be used: the kind of the finding, one sentence, and what the owner can do."""

    kind: str
    sentence: str
    remedy: str = ""


_REMEDY: Final = {
    Status.NOT_YET_VALID: "wait, or certify it from an earlier time",
    Status.EXPIRED: "certify it anew",
    Status.REVOKED: "use another",
}


def key_problems(
    registry: Registry, key_id: bytes, *, robot: str, stage: str, at_ns: int, source_of: tuple[str, ...] = ()
) -> tuple[Problem, ...]:
    """Return why a key may not sign for a stage of a robot at a time (ns since 1970); empty when it may.

    `source_of` names the topics that a record without inputs says to be where data begins on: only a key of role source
    that is certified for each of them may say so, and such a key may say nothing else.
    """
    name = f"key {key_id.hex()[:16]}"
    key = registry.key(key_id)
    if key is None:
        remedy = f"certify it for stage {stage} (og-ros keys certify)"
        return (Problem("unregistered_key", f"{name} is not in the registry", remedy),)
    found = list(stale_problems(registry, at_ns, f"{name} was used at"))
    if source_of and (key.role != "source" or not set(source_of) <= set(key.topics)):
        sentence = f"{name} is certified for {_owner(key)}, not as a source of {', '.join(source_of)}"
        remedy = "certify a key for it (og-ros keys certify --role source --topic T)"
        found.append(Problem("source_not_certified", sentence, remedy))
    elif key.role not in (("source",) if source_of else ("stage", "observer")):
        sentence = f"{name} is certified for the role {key.role}, not for stage {stage} of robot {robot}"
        found.append(Problem("key_wrong_stage", sentence, "use the stage's own key"))
    else:
        owner = f"stage {key.stage} of robot {key.robot}"
        sentence = f"{name} is certified for {owner}, not for stage {stage} of robot {robot}"
        if key.stage != stage:
            found.append(Problem("key_wrong_stage", sentence, "use the stage's own key"))
        if key.robot != robot:
            found.append(Problem("key_wrong_robot", sentence, "use the robot's own key"))
    return (*found, *_validity("key", f"the certificate of {name}", key, at_ns))


def stale_problems(registry: Registry, at_ns: int, what: str) -> tuple[Problem, ...]:
    """Return that a snapshot of registries on a chain is too old for a use at a time; empty where it is not.

    What was revoked since the snapshot, it cannot say; its bound is for how long that is borne.
    """
    if registry.fresh_until_ns is None or at_ns <= registry.fresh_until_ns:
        return ()
    sentence = (
        f"{what} {show_time(at_ns)}, and the snapshot of the chain is good until {show_time(registry.fresh_until_ns)}"
    )
    return (Problem("registry_stale", sentence, "take a new one (og-ros chain snapshot)"),)


def _owner(key: KeyCertificate) -> str:
    if key.role == "source":
        return f"data on {', '.join(key.topics)}"
    return f"stage {key.stage}" if key.role == "stage" else f"the role {key.role}"


def model_problems(
    registry: Registry, model: ModelReference, *, stage: str, processing_digest: bytes, at_ns: int
) -> tuple[Problem, ...]:
    """Return why a model may not run in a stage with its pre- and post-processing at a time; empty when it may."""
    name = f"model {model.name}@{model.version} ({model.digest.hex()[:16]})"
    known = registry.models_with(model.digest)
    if not known:
        sentence = f"{name} is not in the registry: its bytes were never certified"
        return (Problem("model_not_certified", sentence, "certify it (og-ros registry add-model)"),)
    certificate = model_certificate(registry, model)
    if certificate is None:
        names = ", ".join(f"{c.name}@{c.version}" for c in known)
        sentence = f"{name} is certified as {names}"
        return (Problem("model_misnamed", sentence, "set model.name and model.version so"),)
    found = []
    if not certificate.allows_stage(stage):
        sentence = f"{name} is certified for {', '.join(certificate.stages)}, not for stage {stage}"
        found.append(Problem("model_wrong_stage", sentence, "certify it for that stage"))
    found += _validity("model", f"the certificate of {name}", certificate, at_ns)
    if certificate.processing_digest not in (None, processing_digest):
        sentence = f"{name} is certified with other pre- or post-processing than ran around it in stage {stage}"
        found.append(Problem("processing_not_certified", sentence, "use the certified one, or certify this one"))
    return tuple(found)


def statement_key_problems(registry: Registry, statement: Statement) -> tuple[Problem, ...]:
    """Return why the key that signed a statement might not, at the time that the statement gives."""
    return key_problems(
        registry,
        statement.key_id,
        robot=statement.robot,
        stage=statement.stage,
        at_ns=statement.signed_at_ns,
        source_of=_source_of(statement),
    )


def statement_model_problems(registry: Registry, statement: Statement) -> tuple[Problem, ...]:
    """Return why the model that a statement names might not run so, at the time that the statement gives.

    A source runs no model, and an observer need not know which one ran: they may name none.
    """
    if names_no_model(statement):
        return ()
    return model_problems(
        registry,
        statement.model,
        stage=statement.stage,
        processing_digest=statement.runtime.processing_digest,
        at_ns=statement.signed_at_ns,
    )


def names_no_model(statement: Statement) -> bool:
    """Return whether a record names no driver or no model, as only a source or an observer may: all zero digest."""
    may = statement.is_source or statement.mode_used is Mode.OBSERVED
    return may and statement.model.digest == NO_DIGEST


def _source_of(statement: Statement) -> tuple[str, ...]:
    return tuple(r.topic for r in statement.outputs) if statement.is_source else ()


class Uses:
    """Answers fast, for a stream of statements, whether a registry has nothing against a key and a model in use.

    What the rules said of one statement holds for every other with the same key, robot, stage, model and processing
    (and mode, and topics of a source), as long as it was signed within the validity of both certificates.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._valid: dict[tuple[bytes, str, str, ModelReference, bytes, Mode, tuple[str, ...]], tuple[int, int]] = {}

    def problems(self, statement: Statement) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
        """Return what speaks against the key, and what against the model, at the time that the statement gives."""
        s = statement
        use = (s.key_id, s.robot, s.stage, s.model, s.runtime.processing_digest, s.mode_used, _source_of(s))
        window = self._valid.get(use)
        if window is not None and window[0] <= s.signed_at_ns <= window[1]:
            return (), ()
        found = statement_key_problems(self._registry, s), statement_model_problems(self._registry, s)
        key, model = self._registry.key(s.key_id), model_certificate(self._registry, s.model)
        if not any(found) and key is not None and (model is not None or names_no_model(s)):
            if len(self._valid) >= _MAX_USES:
                self._valid.clear()
            first, last = key.not_before_ns, min(_last_valid(key), self._registry.fresh_until_ns or 2**63)
            if model is not None:
                first, last = max(first, model.not_before_ns), min(last, _last_valid(model))
            self._valid[use] = first, last
        return found


def _last_valid(certificate: KeyCertificate | ModelCertificate) -> int:
    """Return the last moment at which a certificate is valid, ns."""
    ends = [certificate.not_after_ns, None if certificate.revoked_at_ns is None else certificate.revoked_at_ns - 1]
    return min((end for end in ends if end is not None), default=2**63)


def model_certificate(registry: Registry, model: ModelReference) -> ModelCertificate | None:
    """Return the certificate of a model under the very name, version and digest that a record gives; None if none."""
    certificate = registry.model(model.name, model.version)
    return certificate if certificate is not None and certificate.digest == model.digest else None


def _validity(subject: str, name: str, certificate: KeyCertificate | ModelCertificate, at_ns: int) -> list[Problem]:
    status = certificate.status(at_ns)
    if status is Status.VALID:
        return []
    use = f"its use at {show_time(at_ns)}"
    if status is Status.NOT_YET_VALID:
        sentence = f"{name} is not yet valid: it begins at {show_time(certificate.not_before_ns)}, after {use}"
    elif status is Status.EXPIRED:
        assert certificate.not_after_ns is not None
        sentence = f"{name} expired at {show_time(certificate.not_after_ns)}, before {use}"
    else:
        assert certificate.revoked_at_ns is not None
        reason = f" ({certificate.revocation_reason})" if certificate.revocation_reason else ""
        sentence = f"{name} was revoked from {show_time(certificate.revoked_at_ns)} on{reason}; {use} is later"
    return [Problem(f"{subject}_{status.value.replace(' ', '_')}", sentence, _REMEDY[status])]
