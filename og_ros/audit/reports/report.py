"""The report of an audit: verdict, counts, findings, levels, and what could not be checked."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from og_ros import __version__
from og_ros.audit.auditor import Auditor
from og_ros.audit.findings import Finding
from og_ros.audit.policy import Policy
from og_ros.audit.recording.bag import Bag
from og_ros.registry import Registry

if TYPE_CHECKING:
    from og_ros.audit.reports.assessment import Assessment


class Verdict(Enum):
    """What an audit concludes."""

    HOLDS = "holds"
    VIOLATED = "violated"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True)
class Report:
    """The outcome of an audit, ready to be shown or written as JSON."""

    recording: str
    duration_s: float
    messages: int
    auditor: Auditor
    registry: Registry | None
    policy: Policy
    not_checked: tuple[str, ...]
    reexecution: Mapping[str, Any] | None = None
    sealed: Mapping[str, Any] | None = None
    profiles: tuple[Assessment, ...] = ()
    endurance: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        bag: Bag,
        auditor: Auditor,
        registry: Registry | None,
        policy: Policy,
        reexecution: Mapping[str, Any] | None = None,
        sealed: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
        endurance: Mapping[str, Any] | None = None,
    ) -> Report:
        """Conclude an audit whose auditor is finished.

        `reexecution` and `sealed` say what was run again and unsealed, as JSON shows it; `notes` are more sentences on
        what was not checked, `endurance` what still holds of what broken algorithms signed.
        """
        return cls(
            recording=bag.path.name,
            duration_s=(bag.end_ns - bag.start_ns) / 1e9,
            messages=bag.count,
            auditor=auditor,
            registry=registry,
            policy=policy,
            not_checked=(*_not_checked(bag, auditor, registry, reexecution), *notes),
            reexecution=reexecution,
            sealed=sealed,
            endurance=endurance,
        )

    @property
    def findings(self) -> list[Finding]:
        """The findings that were kept, worst first, then by time."""
        return sorted(self.auditor.findings.kept, key=lambda f: (-f.severity, f.received_ns))

    @property
    def verdict(self) -> Verdict:
        """VIOLATED on any violation; NOT_CHECKED where signatures could not be checked or no decision was linked."""
        if self.auditor.findings.violations:
            return Verdict.VIOLATED
        if self.registry is None or self.auditor.tally.linked == 0:
            return Verdict.NOT_CHECKED
        return Verdict.HOLDS

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data for JSON."""
        tally, log = self.auditor.tally, self.auditor.log
        latencies = tally.latencies_ns
        environments = self.auditor.environments.as_json()
        return {
            "version": 1,
            "holds": self.verdict is Verdict.HOLDS,
            "verdict": self.verdict.value,
            "recording": self.recording,
            "duration_s": round(self.duration_s, 3),
            "messages": self.messages,
            "attestations": tally.attestations,
            "decisions": tally.decisions,
            "linked": tally.linked,
            "chain_latency_ms": None
            if not latencies
            else {
                "median": round(statistics.median(latencies) / 1e6, 3),
                "max": round(max(latencies) / 1e6, 3),
            },
            "findings": [finding.as_json() for finding in self.findings],
            "finding_counts": dict(sorted(self.auditor.findings.counts.items())),
            "levels": self.auditor.levels.as_json(),
            "not_checked": list(self.not_checked),
            "stages": {
                name: {
                    "robot": s.robot,
                    "model": s.model.name,
                    "model_version": s.model.version,
                    "model_digest": s.model.digest.hex(),
                    "runtime": f"{s.runtime.name} {s.runtime.version}".strip(),
                    "provider": s.runtime.provider,
                    "key": s.key_id.hex(),
                    "mode_requested": s.mode_requested.name.lower(),
                    "mode_used": s.mode_used.name.lower(),
                }
                for name, s in sorted(self.auditor.stages.items())
            },
            "topics": {
                topic: {"messages": t.messages, "references": t.references, "missing": t.missing}
                for topic, t in sorted(self.auditor.joiner.tallies.items())
            },
            "registry": None
            if self.registry is None
            else {
                "root": self.registry.fingerprint,
                "pinned": self.registry.pinned,
                "number": self.registry.number,
            },
            "log": None
            if log is None
            else {"origin": log.origin, "size": log.size, "root": log.root, "checkpointed": log.covered}
            | {"checkpoints": log.checkpoints},
            "reexecution": self.reexecution,
            "disclosure": self.auditor.disclosure.as_json(),
            **({"environments": environments} if environments else {}),
            "sealed": self.sealed,
            "policy": {"name": self.policy.name, "revision": self.policy.revision, "digest": self.policy.digest}
            if self.policy.digest
            else None,
            **({"settlement": log.settled} if log is not None and log.settled else {}),
            **({"endurance": self.endurance} if self.endurance is not None else {}),
            **({"witnesses": log.witnessed} if log is not None and log.witnessed else {}),
            **({"timestamps": log.stamped} if log is not None and log.stamped else {}),
            **({"profiles": [profile.as_json() for profile in self.profiles]} if self.profiles else {}),
            "software": {"name": "og_ros", "version": __version__},
        }


def _not_checked(
    bag: Bag, auditor: Auditor, registry: Registry | None, reexecution: Mapping[str, Any] | None
) -> list[str]:
    notes = []
    if registry is None:
        notes.append("signatures, keys and models: no registry was given (--registry)")
    elif not registry.pinned:
        notes.append(
            f"the registry's root {registry.fingerprint}: nobody pinned it, so it is as trustworthy as whoever "
            "gave the directory (pin it in the policy, or with --root)"
        )
    if auditor.log is None and not auditor.findings.counts["log_invalid"]:
        notes.append("inclusion in a log: no ledger was given (--ledger)")
    elif auditor.log is not None and auditor.log.outside:
        notes.append(
            f"{auditor.log.outside} attestations of these sessions that the log has from before or after the recording"
        )
    if auditor.log is not None and registry is None:
        notes.append(f"the key of the log {auditor.log.origin}: no registry was given, so nothing counts as logged")
    named = auditor.joiner.tallies
    missing = sorted(topic for topic in named if topic not in bag.topics)
    if missing:
        notes.append(f"the bytes of messages on topics that were not recorded: {', '.join(missing)}")
    if auditor.tally.other_clock:
        notes.append(
            f"the time from sensor to command of {auditor.tally.other_clock} decisions: their sensors' stamps are of "
            "another clock than the attestations"
        )
    if auditor.tally.attestations and not auditor.tally.decisions:
        notes.append("decisions: every attested output is read by another stage, and the policy names none")
    if reexecution is None:
        notes.append(
            "re-execution: no model was run again (--reexecute), so a stage that signs a lie about its own output is "
            "not found"
        )
    elif by_rules := reexecution.get("by_rules"):
        notes.append(
            f"{by_rules} decisions of the gate were not run again, since rules made them and no model: only that it "
            "passed on the very commands that it names was checked of each. Whether it should have is for this audit's "
            "own judgement of those commands"
        )
    notes += auditor.judge.not_checked()
    notes += auditor.environments.not_checked()
    settled = auditor.settlement_notes
    notes += settled if settled is not None else ["settlement: no receipts of a chain were given (--settlement)"]
    witnessed = auditor.witness_notes
    notes += witnessed if witnessed is not None else ["witnesses: no log that holds was read, so no cosignatures"]
    return notes
