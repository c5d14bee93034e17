"""Reasons: why an inference has a level on an axis, what evidence backs it, and what would raise it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from og_ros.attest import Disclosure, Mode, Statement
from og_ros.audit.records import Inference
from og_ros.registry import KeyCertificate, ModelCertificate, Registry
from og_ros.registry.rules import (
    Problem,
    model_certificate,
    names_no_model,
    statement_key_problems,
    statement_model_problems,
)
from og_ros.registry.timestamp import show_time


class LogSeen(Protocol):
    """What is told of a log: its origin, how many leaves it has and are checkpointed, whether its key is certified."""

    @property
    def origin(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def covered(self) -> int: ...
    @property
    def trusted(self) -> bool: ...
    @property
    def settled(self) -> str: ...
    @property
    def witnessed(self) -> str: ...
    @property
    def stamped(self) -> str: ...


@dataclass(frozen=True)
class Reason:
    """Why a level is what it is; `raised_by` is what would raise it, empty at the top of the axis."""

    axis: str
    level: str
    because: str
    evidence: tuple[str, ...]
    raised_by: str

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return {
            "level": self.level,
            "because": self.because,
            "evidence": list(self.evidence),
            "raised_by": self.raised_by,
        }


@dataclass(frozen=True)
class Facts:
    """What the checks of one inference gave, as plain text and truth values, so that it can be kept and sent.

    `registry`, `key`, `model`, `log`, `settled`, `witnessed`, `stamped` and `environment` describe what was found and
    are empty where there was none; `admitted`: the environment is what the key's certifier saw. `traced` says where
    each input came from, `untraced` what is missing, `hidden` which fields are not clear. `source`: data begins with
    it; `modelless`: it names no model or driver; `observed`: its mode or its key is that of who only looks on.
    `broken`: the signature is of a broken algorithm, and nothing shows that it is older.
    """

    stage: str
    sequence: int
    mode: str
    observed: bool
    signed: bool | None
    certified: bool | None
    logged: bool | None
    linked: bool
    source: bool
    modelless: bool
    reexecuted: bool | None
    registry: str
    signature: str
    key: str
    key_problems: tuple[str, ...]
    model: str
    model_problems: tuple[str, ...]
    log: str
    log_trusted: bool
    traced: tuple[str, ...]
    untraced: tuple[str, ...]
    hidden: tuple[str, ...]
    revealed: tuple[str, ...]
    settled: str = ""
    broken: bool = False
    witnessed: str = ""
    stamped: str = ""
    environment: str = ""
    admitted: bool = False


def facts_of(inference: Inference, registry: Registry | None, log: LogSeen | None) -> Facts:
    """Collect the facts behind an inference's levels; `log` is what was read of a log, None without one."""
    statement = inference.attestation.statement
    key = registry.key(statement.key_id) if registry is not None else None
    model = model_certificate(registry, statement.model) if registry is not None else None
    inputs = list(_inputs(inference))
    return Facts(
        stage=statement.stage,
        sequence=statement.sequence,
        mode=statement.mode_used.name.lower(),
        observed=statement.mode_used is Mode.OBSERVED or inference.key_role == "observer",
        signed=inference.signed,
        certified=inference.certified,
        logged=inference.logged,
        linked=inference.linked,
        source=statement.is_source,
        modelless=names_no_model(statement),
        reexecuted=inference.reexecuted,
        registry=_registry(registry) if registry is not None else "",
        signature=f"{statement.algorithm.name} signature by key {statement.key_id.hex()[:16]} "
        f"over sequence {statement.sequence}, at {show_time(statement.signed_at_ns)}",
        key=_key(key) if key is not None else "",
        key_problems=_sentences(statement_key_problems, registry, inference),
        model=_model(model) if model is not None else "",
        model_problems=_sentences(statement_model_problems, registry, inference),
        log=f"log {log.origin}: {log.size} leaves, {log.covered} under a signed checkpoint" if log is not None else "",
        log_trusted=log is not None and log.trusted,
        traced=tuple(text for traced, text in inputs if traced),
        untraced=tuple(text for traced, text in inputs if not traced),
        hidden=tuple(_hidden(inference, revealed=False)),
        revealed=tuple(_hidden(inference, revealed=True)),
        settled=log.settled if log is not None else "",
        broken=inference.broken,
        witnessed=log.witnessed if log is not None else "",
        stamped=log.stamped if log is not None else "",
        environment=inference.environment.describe() if inference.environment is not None else "",
        admitted=inference.environment is not None and bool(inference.environment.certifier),
    )


def explain(axis: str, level: str, facts: Facts) -> Reason:
    """Return why an inference with these facts has a level on an axis; the same facts give the same words."""
    because, evidence, raised_by = _AXES[axis](level, facts)
    return Reason(axis, level, because, tuple(text for text in evidence if text), raised_by)


_Told = tuple[str, tuple[str, ...], str]
_REPRODUCED: Final = (
    "run again on the recorded inputs, the model gave these outputs, to the bit or within the tolerance"
)
_REFUTED: Final = "run again on the recorded inputs, the model gave other outputs"
_REEXECUTE: Final = "run the model again on the recorded inputs: og-ros audit --reexecute"
_NOT_READ: Final = "og_ros does not read such evidence yet"


def _unsigned(facts: Facts, what: str) -> _Told:
    """Tell why nothing that a record says is anybody's word."""
    if facts.signed is None:
        return (
            f"no registry was given, so nobody's signature stands for {what}",
            (),
            "give the registry: og-ros audit --registry DIR",
        )
    if facts.broken:
        remedy = "a settled checkpoint of before, or a log that is signed with an algorithm that holds"
        evidence = (facts.signature, facts.log, facts.settled)
        return f"the signature that stands for {what} is of a broken algorithm", evidence, remedy
    problems = facts.key_problems or (f"{facts.signature}: does not match the statement",)
    return f"no valid signature stands for {what}", problems, "a signature by a key that is certified for this stage"


def _model_integrity(level: str, facts: Facts) -> _Told:
    if level == "unknown" and facts.signed and facts.modelless:
        if facts.source:
            return "it is a source, and names no driver", (), "certify the driver as a model, and give it to the source"
        return "the witness names no model", (), "attest in the node that runs the model"
    if level == "unknown":
        return _unsigned(facts, "the model that is named")
    if level == "claimed" and facts.reexecuted is False:
        evidence = (facts.model, _REFUTED)
        return "the model that is named did not make these outputs", evidence, "find out what made these outputs"
    if level == "claimed" and facts.observed:
        because = "a witness names a model; it did not see which bytes the node loaded"
        return because, (facts.model, *facts.model_problems), "attest in the node that runs the model"
    if level == "claimed":
        remedy = "certify the model for this stage and time: og-ros registry add-model"
        return "the stage names a model by its digest, and no certificate stands for it", facts.model_problems, remedy
    if level == "certified":
        because = "the registry certifies the digest that the stage signed; that this model ran is the stage's word"
        return because, (facts.model, facts.registry), _REEXECUTE
    if level == "re-executed":
        because, remedy = "the certified model makes these outputs", f"a proof of the computation; {_NOT_READ}"
        return because, (facts.model, facts.registry, _REPRODUCED), remedy
    return "a proof of the computation was verified", (facts.model,), ""


def _inference_authenticity(level: str, facts: Facts) -> _Told:
    signature = (facts.signature, facts.key, facts.registry)
    if level == "none":
        return _unsigned(facts, "this inference")
    if level == "observed":
        because = "a witness signed that it saw these inputs and this output; that one came of the other it cannot know"
        return because, signature, "a signature by the stage that ran the model"
    if level == "signed":
        if facts.reexecuted is False:
            evidence = (*signature, _REFUTED)
            return "the stage signed a statement that its model does not bear out", evidence, "nothing: it is refuted"
        if facts.source:
            return "the source signed its message; no model ran", signature, ""
        because = "the stage signed what it says that it did; a stage that signs a lie is not found by its signature"
        return because, signature, _REEXECUTE
    if level == "tee":
        evidence = (*signature, facts.environment)
        return "the signing key is bound to a trusted execution environment", evidence, _REEXECUTE
    if level == "re-executed":
        evidence = (*signature, _REPRODUCED)
        return "these inputs give these outputs", evidence, f"a zero-knowledge proof; {_NOT_READ}"
    return "a zero-knowledge proof of the inference was verified", signature, ""


def _data_provenance(level: str, facts: Facts) -> _Told:
    if level == "unlinked":
        if facts.source and facts.signed is not False:
            return "its message is not in the recording", facts.untraced, "record the topic that it signs"
        if facts.signed is False:
            return "the record that names the inputs is not validly signed", facts.untraced, _unsigned(facts, "")[2]
        remedy = "record its input topics and the attestations of the stages before it, or give the log (--ledger)"
        evidence = facts.untraced or facts.traced
        return "not every path back ends in a recorded sensor message", evidence, remedy
    if level == "linked":
        because = "every path back ends in a recorded sensor message, by digest; not all of those are signed"
        remedy = "sign every sensor at its driver, with a key for its topic: og-ros keys certify --role source"
        return because, facts.traced, remedy
    return "every path back ends in a message that a source signed, with a key certified for it", facts.traced, ""


def _execution_environment(level: str, facts: Facts) -> _Told:
    if level == "none":
        return _unsigned(facts, "a machine")
    evidence = (facts.key, facts.environment)
    remedy = "record its evidence, and give the policy a section `evidence`" if facts.admitted else ""
    if level == "software_key":
        because = "the key is a file as far as is known: it proves no machine and no software"
        return because, evidence, "a measured launch whose TPM vouches for the key: og-ros launch-measured"
    if level == "measured":
        return "a TPM vouches for the software that holds the key", evidence, remedy or "a key in a TEE"
    return "the key is bound to a trusted execution environment", evidence, remedy


def _settlement(level: str, facts: Facts) -> _Told:
    if level == "logged":
        because = "it is a leaf of the log, under a checkpoint that the robot's log key signed"
        remedy = "certified witnesses' cosignatures on a checkpoint that covers it: og-ros log cosign"
        return because, (facts.log, facts.settled, facts.witnessed, facts.stamped), remedy
    if level == "witnessed":
        because = "witnesses cosigned a checkpoint over it, so the log cannot show them and others two histories"
        remedy = "settle the log on a chain: og-ros settle run"
        return because, (facts.log, facts.witnessed, facts.stamped), remedy
    if level == "submitted":
        because = "a receipt shows the checkpoint over it in a block, and nobody vouches that the block is the chain's"
        return because, (facts.log, facts.settled), "ask a node that you trust: og-ros audit --chain URL"
    if level != "none":
        remedy = "" if level == "final" else "settle on a chain, and audit again once the block is final"
        because = f"the checkpoint over it is {level}, by the receipts of its settlement"
        return because, (facts.log, facts.settled), remedy
    if not facts.log:
        return "no log was read", (), "give the log: og-ros audit --ledger DIR"
    if not facts.log_trusted:
        remedy = "certify the log's key: og-ros keys certify --role log"
        return "no registry stands for the key of the log, so it is nobody's word", (facts.log,), remedy
    remedy = "let the auditor log it and sign a checkpoint over it"
    return "it is not a leaf of the log under a checkpoint", (facts.log,), remedy


def _disclosure(level: str, facts: Facts) -> _Told:
    if level == "absent":
        return "a field has neither data nor digest, so nothing can be joined to it", facts.hidden, "attest its digest"
    if level == "committed":
        because = "a field shows a salted digest only: fixed, but not to be seen"
        return because, facts.hidden, "a disclosure of data and salt, by whoever holds the sealed file"
    because = "the digests of all inputs and outputs are those of the messages themselves"
    return because, facts.revealed, ""


_AXES: Final[dict[str, Callable[[str, Facts], _Told]]] = {
    "model_integrity": _model_integrity,
    "inference_authenticity": _inference_authenticity,
    "data_provenance": _data_provenance,
    "execution_environment": _execution_environment,
    "settlement": _settlement,
    "disclosure": _disclosure,
}


_Rule = Callable[[Registry, Statement], tuple[Problem, ...]]


def _sentences(rule: _Rule, registry: Registry | None, inference: Inference) -> tuple[str, ...]:
    if registry is None:
        return ()
    return tuple(problem.sentence for problem in rule(registry, inference.attestation.statement))


def _registry(registry: Registry) -> str:
    pinned = "whose root was pinned" if registry.pinned else "whose root nobody pinned"
    return f"registry {registry.name}, number {registry.number}, {pinned}: {registry.fingerprint}"


def _key(key: KeyCertificate) -> str:
    owner = f"for stage {key.stage} of robot {key.robot}" if key.role == "stage" else f"for the role {key.role}"
    if key.role == "source":
        owner = f"as the source of {', '.join(key.topics)} on robot {key.robot}"
    vendor = f", vendor {key.vendor}" if key.vendor else ""
    return f"key {key.key_id.hex()[:16]}, certified by {key.certifier} {owner}{vendor}, {_valid(key)}"


def _model(model: ModelCertificate) -> str:
    where = f"for {', '.join(model.stages)}" if model.stages else "for any stage"
    name = f"model {model.name}@{model.version} ({model.digest.hex()[:16]})"
    return f"{name}, certified by {model.certifier} {where}, {_valid(model)}"


def _valid(certificate: KeyCertificate | ModelCertificate) -> str:
    text = f"valid from {show_time(certificate.not_before_ns)}"
    if certificate.not_after_ns is not None:
        text += f" to {show_time(certificate.not_after_ns)}"
    if certificate.revoked_at_ns is not None:
        text += f", revoked from {show_time(certificate.revoked_at_ns)}"
    return text


def _inputs(inference: Inference) -> Iterator[tuple[bool, str]]:
    """Yield for each input whether it is traced, and where it came from or what is missing."""
    statement = inference.attestation.statement
    if statement.is_source:
        seen = bool(inference.outputs_seen) and all(inference.outputs_seen)
        topics = ", ".join(reference.topic for reference in statement.outputs)
        yield seen, f"{topics}: data begins here" if seen else f"{topics}: no recorded message has the digest"
        return
    if len(inference.sources) != len(statement.inputs) or len(inference.seen) != len(statement.inputs):
        yield False, "its inputs were not joined with the recording"
        return
    for reference, source, seen in zip(statement.inputs, inference.sources, inference.seen, strict=True):
        if source is not None:
            traced = source.linked or inference.linked
            rest = "" if traced else ", itself not traced"
            what = "signed by source" if source.attestation.statement.is_source else "output of stage"
            yield traced, f"{reference.topic}: {what} {source.stage}, sequence {source.sequence}{rest}"
        elif seen:
            rest = "" if inference.linked else "; if a stage attests this topic, that attestation is missing"
            yield True, f"{reference.topic}: recorded, and no attestation found that gave it{rest}"
        else:
            yield False, f"{reference.topic}: no recorded message has its digest, and no attestation gave it"


def _hidden(inference: Inference, *, revealed: bool) -> Iterator[str]:
    statement = inference.attestation.statement
    for side, references in (("inputs", statement.inputs), ("outputs", statement.outputs)):
        for index, reference in enumerate(references):
            if reference.disclosure is Disclosure.CLEAR:
                continue
            shown = reference.disclosure is Disclosure.COMMITTED and (side, index) in inference.disclosed
            if shown == revealed:
                how = "committed, and revealed" if shown else reference.disclosure.name.lower()
                yield f"{side}[{index}] on {reference.topic}: {how}"
