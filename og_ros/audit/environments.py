"""Environments: what the evidence of each signing key shows, and whether what the key signs keeps to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from og_ros.attest import Mode, Statement
from og_ros.audit.appraiser import Appraised
from og_ros.audit.axes import reaches
from og_ros.audit.environment import Environment, admitted_environment, drift, environment_of
from og_ros.audit.findings import Finding
from og_ros.audit.records import Inference
from og_ros.evidence.message import evidence_topic
from og_ros.registry import Registry
from og_ros.registry.timestamp import show_time

# So many keys and topics are remembered, and environments of a key; nobody can fill more memory.
_MAX_KEYS: Final = 1024
_MAX_OF_KEY: Final = 64
_MAX_REFUSED: Final = 4
_MAX_NOTES: Final = 64


class Environments:
    """Answers, for each attestation, what is known of its key's environment when it was signed; one thread at a time.

    Of several pieces of evidence the best counts that covers the time. Where there is none, or one that says less,
    what the registry keeps of the key's admission counts, unless evidence of the key contradicts it.
    `skew_ns` is how far clocks may be apart.
    """

    def __init__(self, registry: Registry | None, skew_ns: int) -> None:
        self._registry, self._skew_ns = registry, skew_ns
        self._known: dict[bytes, list[Environment]] = {}
        self._heard: dict[str, dict[tuple[str, str], set[bytes]]] = {}
        self._told: set[tuple[bytes, str]] = set()
        self._used: dict[tuple[str, bytes], Environment] = {}
        self._notes: dict[str, None] = {}
        self._admitting = registry is not None and any(key.admission for key in registry.keys.values())

    def add(self, appraised: Appraised) -> None:
        """Take what was found of one piece of evidence."""
        if len(self._notes) < _MAX_NOTES:
            self._notes.update(dict.fromkeys(appraised.not_checked))
        context = appraised.evidence.context
        if appraised.topic in self._heard or len(self._heard) < _MAX_KEYS:
            heard = self._heard.setdefault(appraised.topic, {})
            if (context.robot, context.stage) in heard or len(heard) < _MAX_OF_KEY:
                keys = heard.setdefault((context.robot, context.stage), set())
                if len(keys) < _MAX_KEYS:
                    keys.add(appraised.key_id)
        if appraised.appraisal is None:
            return
        known = self._of(appraised.key_id)
        if known is not None:
            known[:] = _remember(known, environment_of(appraised.appraisal, appraised.evidence, self._skew_ns))

    def set(self, inference: Inference) -> None:
        """Set an inference's environment, as far as it is known; one that is not signed has none."""
        if inference.signed is not True or not (self._known or self._admitting):
            return
        statement = inference.attestation.statement
        found = _best(self._of(statement.key_id) or (), statement.signed_at_ns)
        inference.environment = found
        if found is not None and (len(self._used) < _MAX_KEYS or (statement.stage, statement.key_id) in self._used):
            self._used[statement.stage, statement.key_id] = found

    def findings(self, inference: Inference) -> Iterator[Finding]:
        """Yield what an inference claims above its environment, or does beside it; `set` it before."""
        statement, environment = inference.attestation.statement, inference.environment
        stage = statement.stage
        if inference.signed is True and (self._known or self._heard):
            yield from self._strays(inference, statement)
        if environment is not None:
            for message in drift(statement, environment):
                yield inference.finding("environment_drift", f"stage {stage}: {message}")
        if statement.mode_used is Mode.TEE and (environment is None or environment.level != "tee"):
            shown = f"there is only {environment.describe()}" if environment else "its key has no evidence of one"
            yield inference.finding("overclaimed", f"stage {stage}: claims mode tee, but {shown}")

    def not_checked(self) -> list[str]:
        """Return what was not checked of the environments, for the report."""
        if not self._used and not self._heard:
            return ["the execution environment of the keys: no evidence was read; a software key proves no environment"]
        notes = list(self._notes)
        for (stage, key_id), found in sorted(self._used.items(), key=lambda item: item[0]):
            if found.certifier:
                notes.append(
                    f"the environment of stage {stage}: evidence of key {key_id.hex()[:16]} was appraised by "
                    f"{found.certifier} at {show_time(found.verified_at_ns)}, as the registry says, and not here"
                )
        if any(not found.certifier for found in self._used.values()):
            notes.append("when evidence arrived: it was appraised as of its recording, which is the recorder's word")
        return notes

    def as_json(self) -> list[dict[str, Any]]:
        """Return the last environment of each stage and key that signed anything, for the report."""
        return [
            {"stage": stage, "key": key_id.hex(), **found.as_json()}
            for (stage, key_id), found in sorted(self._used.items(), key=lambda item: item[0])
        ]

    def _of(self, key_id: bytes) -> list[Environment] | None:
        """Return what is known of a key, to be added to; None where no more keys can be remembered."""
        known = self._known.get(key_id)
        if known is None and len(self._known) < _MAX_KEYS:
            known = self._known[key_id] = []
            key = self._registry.key(key_id) if self._registry is not None else None
            if key is not None and key.admission is not None:
                known.append(admitted_environment(key.admission, key.certifier, key.not_after_ns, self._skew_ns))
        return known

    def _strays(self, inference: Inference, statement: Statement) -> Iterator[Finding]:
        """Yield, once a key, that the evidence beside its attestations is of another key, robot or time."""
        known = self._known.get(statement.key_id)
        kind = message = ""
        if known and inference.environment is None:
            last, kind = known[-1], "evidence_stale"
            message = (
                f"signed at {show_time(statement.signed_at_ns)}; the evidence of its key counts from "
                f"{show_time(max(last.since_ns, 0))} to {show_time(last.until_ns)}"
            )
        elif not known and inference.key_role == "stage":
            heard = self._heard.get(evidence_topic(inference.topic), {})
            for (robot, stage), keys in heard.items():
                if stage == statement.stage and statement.key_id not in keys:
                    kind = "evidence_other_robot" if robot != statement.robot else "evidence_other_key"
                    names = ", ".join(sorted(key.hex()[:16] for key in keys)[:4])
                    message = f"its key has no evidence; what is beside it is of robot {robot}, key {names}"
        if kind and (statement.key_id, kind) not in self._told and len(self._told) < _MAX_KEYS:
            self._told.add((statement.key_id, kind))
            yield inference.finding(kind, f"stage {statement.stage}: {message}")


def _remember(known: list[Environment], new: Environment) -> list[Environment]:
    """Return what is known of a key with one more environment.

    Anybody can publish evidence that is refused, or the same evidence in other words: neither may push out what holds.
    So of refused ones the newest few are kept, and spans of time that show the same become one.
    """
    if new.refusal:
        refused = [one for one in known if one.refusal]
        return [*(one for one in known if not one.refusal), *refused[-_MAX_REFUSED + 1 :], new]
    kept = []
    for one in known:
        if one.shows_as(new) and one.since_ns <= new.until_ns and new.since_ns <= one.until_ns:
            new = replace(new, since_ns=min(one.since_ns, new.since_ns), until_ns=max(one.until_ns, new.until_ns))
        else:
            kept.append(one)
    return [*kept[-_MAX_OF_KEY + 1 :], new]


def _best(known: list[Environment] | tuple[()], at_ns: int) -> Environment | None:
    """Return the environment of the highest level that covers a time; of equals one's own, then the newest.

    The registry's verdict gives way to evidence that contradicts it: who appraises goes by what he saw.
    """
    there = [one for one in known if one.covers(at_ns)]
    if any(one.contradicts for one in there):
        there = [one for one in there if not one.certifier]
    best: Environment | None = None
    for one in there:
        if best is None or reaches("execution_environment", one.level, best.level):
            best = one
    return best
