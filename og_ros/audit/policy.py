"""Policy: what a relying party demands of a run, in YAML, checked with errors that point to the line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from og_ros.audit.axes import AXES
from og_ros.audit.endurance import NAMES
from og_ros.audit.log_signatures import CHECKPOINTS, CLASSICAL
from og_ros.audit.runtime_rule import RuntimeRule, parse_versions
from og_ros.errors import PolicyError, RegistryError
from og_ros.evidence.interface import AppraisalPolicy
from og_ros.evidence.policy_file import Files, files_beside, read_section
from og_ros.log.quorum import MAX_NAMES, WitnessPolicy, parse_witness_policy
from og_ros.policy_yaml import Section, read
from og_ros.registry.timestamp import read_time

VERSION: Final = 1
EVERY: Final = "*"
"""Stands for every stage, and for every topic that is not named."""

_KEY_ID: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ROOT: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_MODEL: Final = re.compile(r"sha256:[0-9a-f]{64}|[A-Za-z0-9._/+-]+(@[A-Za-z0-9._/+-]*)?", re.ASCII)


@dataclass(frozen=True)
class StageDemands:
    """What is demanded of a stage; times in ns, None (or nothing listed) where nothing is demanded.

    `levels` holds the least level by axis. `models` holds names, name@version or sha256:DIGEST, `keys` key ids in hex,
    `vendors` vendors of key certificates, `certifiers` authorities that certified the model. `max_input_age_ns` maps
    topics ("*": any other) to the age that an input may have when the inference starts, `max_signing_delay_ns` is the
    time from the end of the inference to its signature.
    """

    levels: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()
    certifiers: tuple[str, ...] = ()
    runtimes: tuple[RuntimeRule, ...] = ()
    max_input_age_ns: Mapping[str, int] = field(default_factory=dict)
    max_signing_delay_ns: int | None = None

    def over(self, every: StageDemands) -> StageDemands:
        """Return these demands, and those on every stage where these say nothing."""
        merged: dict[str, Any] = {}
        for item in fields(self):
            own, general = getattr(self, item.name), getattr(every, item.name)
            if isinstance(own, Mapping):
                merged[item.name] = {**general, **own}
            else:
                merged[item.name] = general if own in (None, ()) else own
        return StageDemands(**merged)


@dataclass(frozen=True)
class Policy:
    """A relying party's demands; the defaults demand what every honest run has.

    `name`, `revision` and `description` are for people. `decisions` names the topics of commands, `decision_levels` the
    least level by axis over the whole chain of a command. `stages` maps a stage that must be present to its demands
    ("*": every stage). `max_loss` is the share of records (0 to 1) that a topic or session may miss, `topic_loss` that
    of single topics. `min_reexecuted` is the share of each stage's inferences that is to be run again. `checkpoint` is
    how the log's checkpoints must be signed at least, `broken` since when algorithms are no more believed. Times in ns.

    `witness_quorum` is how many certified witnesses must have cosigned the log (0: nobody asks); with `witness_policy`
    its own witnesses and quorum count instead. `evidence` is what evidence of keys is held against, None where the
    policy says nothing of it; `files` are those that it names, so that the policy can be handed on whole.
    """

    digest: str = ""
    name: str = ""
    revision: str = ""
    description: str = ""
    registry_root: str | None = None
    decisions: tuple[str, ...] = ()
    decision_levels: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, StageDemands] = field(default_factory=dict)
    max_loss: float = 0.01
    topic_loss: Mapping[str, float] = field(default_factory=dict)
    max_clock_skew_ns: int = 10 * 10**9
    max_chain_latency_ns: int | None = None
    min_reexecuted: float = 0.0
    checkpoint: str = CLASSICAL
    broken: Mapping[str, int] = field(default_factory=dict)
    witness_policy: WitnessPolicy | None = None
    witness_quorum: int = 0
    evidence: AppraisalPolicy | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)

    def stage(self, name: str) -> StageDemands:
        """Return what is demanded of a stage, with what is demanded of every stage."""
        return self.stages.get(name, _NOTHING).over(self.stages.get(EVERY, _NOTHING))

    def source(self, name: str) -> StageDemands:
        """Return what is demanded of a source; what is demanded of every stage is about models, which it has not."""
        return self.stages.get(name, _NOTHING)

    def minimum(self, stage: str) -> dict[str, str]:
        """Return the minimum level on each axis for a stage."""
        return dict(self.stage(stage).levels)

    def allowed_loss(self, topic: str) -> float:
        """Return the share of records that a topic may miss."""
        return self.topic_loss.get(topic, self.max_loss)

    def without(self, axis: str) -> Policy:
        """Return a policy that demands nothing on one axis, and the rest as this one does."""

        def rest(levels: Mapping[str, str]) -> dict[str, str]:
            return {name: level for name, level in levels.items() if name != axis}

        stages = {name: replace(demands, levels=rest(demands.levels)) for name, demands in self.stages.items()}
        return replace(self, stages=stages, decision_levels=rest(self.decision_levels))

    @property
    def required_stages(self) -> list[str]:
        """The stages that a run must have."""
        return [stage for stage in self.stages if stage != EVERY]


_NOTHING: Final = StageDemands()


def load_policy(path: Path) -> Policy:
    """Read a policy file; raises PolicyError as `parse_policy` does, or when the file cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"cannot read the policy {path}: {error.strerror}") from error
    return parse_policy(data, str(path), files_beside(path.absolute().parent))


def parse_policy(data: bytes, name: str = "policy", files: Files | None = None) -> Policy:
    """Read a policy; raises PolicyError naming file, line and field for anything unknown or out of range.

    `files` reads those that its section `evidence` names; None: it may name none.
    """
    top = read(data, name)
    version = top.number("version", None)
    if version != VERSION:
        raise top.error("version", f"must be {VERSION}")
    max_loss, topic_loss = _loss(top)
    witness_policy, witness_quorum = _witnesses(top)
    named: dict[str, bytes] = {}
    policy = Policy(
        digest=hashlib.sha256(data).hexdigest(),
        name=top.word("name"),
        revision=top.word("revision"),
        description=top.text("description") or "",
        registry_root=_root(top),
        decisions=top.texts("decisions"),
        decision_levels=_only_levels(top, "decision_levels"),
        stages=_stages(top),
        max_loss=max_loss,
        topic_loss=topic_loss,
        max_clock_skew_ns=int(top.number("max_clock_skew_s", 10.0, 0.0, 1e6) * 1e9),
        max_chain_latency_ns=_milliseconds(top, "max_chain_latency_ms"),
        min_reexecuted=_reexecution(top),
        checkpoint=top.choice("checkpoint", CHECKPOINTS) if top.has("checkpoint") else CLASSICAL,
        broken=_broken(top),
        witness_policy=witness_policy,
        witness_quorum=witness_quorum,
        evidence=read_section(top.section("evidence"), _remembering(files, named)) if top.has("evidence") else None,
        files=named,
    )
    top.end()
    return policy


def _remembering(files: Files | None, named: dict[str, bytes]) -> Files:
    """Return what reads the files that a policy names, and keeps what it read."""

    def read_file(name: str) -> bytes:
        if files is None:
            raise PolicyError("it names a file, and the policy came without its files")
        if name not in named:
            named[name] = files(name)
        return named[name]

    return read_file


def _milliseconds(section: Section, name: str) -> int | None:
    return int(section.number(name, None, 0.0, 1e9) * 1e6) if section.has(name) else None


def _root(top: Section) -> str | None:
    text = top.text("registry_root")
    if text is not None and not _ROOT.fullmatch(text):
        raise top.error("registry_root", "must be sha256: and 64 lower-case hex digits (og-ros registry verify)")
    return text


def _loss(top: Section) -> tuple[float, dict[str, float]]:
    """Return the share that any topic may miss, and that of the topics with one of their own."""
    if not top.is_mapping("max_loss"):
        return top.number("max_loss", 0.01, 0.0, 1.0), {}
    section = top.section("max_loss")
    shares = {topic: section.number(topic, None, 0.0, 1.0) for topic in section.names()}
    return shares.pop(EVERY, 0.01), shares


def _reexecution(top: Section) -> float:
    section = top.section("reexecution")
    share = section.number("minimum_share", 0.0, 0.0, 1.0)
    section.end()
    return share


def _broken(top: Section) -> dict[str, int]:
    """Return since when each algorithm is held broken."""
    section = top.section("broken")
    found: dict[str, int] = {}
    for name in section.names():
        if name not in NAMES:
            raise section.error(name, f"is no algorithm of signatures here: {', '.join(NAMES)}")
        try:
            found[name] = read_time(section.written(name), name)
        except RegistryError as error:
            raise section.error(name, "must be a time in UTC like 2035-01-01T00:00:00Z") from error
    return found


def _witnesses(top: Section) -> tuple[WitnessPolicy | None, int]:
    """Return whose cosignatures the log must have: a C2SP tlog-policy, or a number of certified witnesses."""
    section = top.section("witnesses")
    text = section.text("policy")
    quorum = section.number("quorum", 0.0, 1, MAX_NAMES)
    if quorum % 1:
        raise section.error("quorum", "must be a whole number")
    if text is not None and quorum:
        raise section.error("quorum", "cannot stand beside a policy, which has a quorum of its own")
    if top.has("witnesses") and text is None and not quorum:
        raise top.error("witnesses", "needs a quorum, or a policy")
    try:
        policy = parse_witness_policy(text, "line") if text is not None else None
    except PolicyError as error:
        raise section.error("policy", f"is no tlog-policy: {error}") from error
    section.end()
    return policy, int(quorum)


def _only_levels(top: Section, name: str) -> dict[str, str]:
    section = top.section(name)
    levels = _levels(section)
    section.end()
    return levels


def _levels(section: Section) -> dict[str, str]:
    return {axis: section.choice(axis, AXES[axis]) for axis in AXES if section.has(axis)}


def _stages(top: Section) -> dict[str, StageDemands]:
    stages = {}
    section = top.section("stages")
    for stage in section.names():
        inner = section.section(stage)
        stages[stage] = _stage(inner)
        inner.end()
    return stages


def _stage(section: Section) -> StageDemands:
    return StageDemands(
        levels=_levels(section),
        models=_allowed(section, "models", _MODEL, "a model: NAME, NAME@VERSION or sha256: and 64 hex digits"),
        keys=_allowed(section, "keys", _KEY_ID, "a key id: 64 lower-case hex digits (og-ros keys show)"),
        vendors=_allowed(section, "vendors"),
        certifiers=_allowed(section, "certifiers"),
        runtimes=_runtimes(section),
        max_input_age_ns=_ages(section),
        max_signing_delay_ns=_milliseconds(section, "max_signing_delay_ms"),
    )


def _allowed(section: Section, name: str, form: re.Pattern[str] | None = None, what: str = "") -> tuple[str, ...]:
    """Return a list of what is allowed; an empty one would allow nothing, which nobody means."""
    found = section.texts(name)
    if section.has(name) and not found:
        raise section.error(name, "is empty; list what is allowed, or leave it out to allow anything")
    for text in found:
        if form is not None and not form.fullmatch(text):
            raise section.error(name, f"has {text[:80]!a}, which is not {what}")
    return found


def _runtimes(section: Section) -> tuple[RuntimeRule, ...]:
    found = []
    for text, item in section.texts_or_sections("runtimes"):
        name = text or item.text("name")
        if not name:
            raise item.here("needs a name")
        versions = item.text("version")
        try:
            rule = RuntimeRule(name, parse_versions(versions) if versions else (), item.text("provider") or "")
        except PolicyError as error:
            raise item.error("version", str(error)) from error
        item.end()
        found.append(rule)
    if section.has("runtimes") and not found:
        raise section.error("runtimes", "is empty; list what is allowed, or leave it out to allow anything")
    return tuple(found)


def _ages(section: Section) -> dict[str, int]:
    """Return the greatest age by topic; a number alone is for every topic."""
    name = "max_input_age_ms"
    if not section.has(name):
        return {}
    if not section.is_mapping(name):
        return {EVERY: int(section.number(name, None, 0.0, 1e9) * 1e6)}
    ages = section.section(name)
    return {topic: int(ages.number(topic, None, 0.0, 1e9) * 1e6) for topic in ages.names()}
