"""What still holds once a signature algorithm is broken: an audit years on, by the relying party's list of such.

A signature by an algorithm that is broken since some day could have been made by anybody since then. It still counts
where something else shows that it was there before: a settled checkpoint over it in a block of before, or a log whose
checkpoint is signed with an algorithm that holds, whose word it then is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from og_ros.attest import Algorithm, ml_dsa
from og_ros.attest.keys import algorithm_of
from og_ros.audit.findings import Finding
from og_ros.audit.records import Inference
from og_ros.registry.timestamp import show_time

if TYPE_CHECKING:
    from og_ros.audit.ledger import LogCheck
    from og_ros.registry import Registry

NAMES: Final = ("ES256", "EdDSA", ml_dsa.NAME)
"""The signature algorithms that evidence here is signed with."""
_NAME_OF: Final = {Algorithm.ES256: "ES256", Algorithm.EDDSA: "EdDSA"}
SOUND, HELD, BROKEN = "sound", "held", "broken"


@dataclass(frozen=True, slots=True)
class Anchor:
    """Evidence that a log's first `size` leaves existed at a time (ns since 1970), which who attacks cannot move."""

    size: int
    time_ns: int
    what: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One kind of evidence: its signatures with whether each still holds, what it is worth now, and on what that rests.

    `status` is sound (a signature holds), held (shown to be from before its algorithm was broken) or broken.
    """

    claim: str
    count: int
    signatures: Mapping[str, bool]
    status: str
    rests_on: str

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        signatures = {name: "holds" if holds else "broken" for name, holds in self.signatures.items()}
        return {
            "claim": self.claim,
            "count": self.count,
            "signatures": signatures,
            "status": self.status,
            "rests_on": self.rests_on,
        }


class Endurance:
    """Judges each attestation, and at the end the log, at a date; for one audit."""

    def __init__(
        self, broken: Mapping[str, int], at_ns: int, log: LogCheck | None = None, registry: Registry | None = None
    ) -> None:
        """`broken` says since when (ns) an algorithm out of NAMES is; what is broken later than `at_ns` holds still."""
        self._since = {name: since_ns for name, since_ns in broken.items() if since_ns <= at_ns}
        self._at_ns, self._log, self._registry = at_ns, log, registry
        self._counts: Counter[tuple[str, str, str, str]] = Counter()

    def judge(self, inference: Inference) -> None:
        """Note what an attestation's signature is worth; where that is nothing, set `broken`."""
        name = _NAME_OF[inference.attestation.statement.algorithm]
        status, rests_on = self._worth({name: name not in self._since}, inference.leaf)
        inference.broken = status == BROKEN
        self._counts[inference.stage, name, status, rests_on] += 1

    def claims(self) -> list[Claim]:
        """Return what was found, worst last within each kind."""
        found = [
            Claim(f"attestations of stage {stage}", count, {name: name not in self._since}, status, rests_on)
            for (stage, name, status, rests_on), count in sorted(self._counts.items())
        ]
        return [*found, *self._log_claims(), *self._settlement_claims()]

    def findings(self) -> Iterator[Finding]:
        """Yield a finding for each claim that rests on nothing but broken algorithms."""
        for claim in self.claims():
            if claim.status == BROKEN:
                since = [f"{name}, broken since {show_time(self._since[name])}" for name in claim.signatures]
                text = f"{claim.count} {claim.claim}: signed with {' and '.join(since)}; {claim.rests_on}"
                yield Finding("rests_on_broken", text)

    def notes(self) -> list[str]:
        """Return what this cannot tell."""
        if self._registry is None or not self._since:
            return []
        names = {_NAME_OF[algorithm_of(one.public_key)] for one in self._registry.authorities} & self._since.keys()
        if not names:
            return []
        return [
            f"that registry {self._registry.name} is as it was before {', '.join(sorted(names))} was broken, which its "
            f"authorities sign with: compare its index, {self._registry.index_digest.hex()}, with one kept since then"
        ]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return {
            "at": show_time(self._at_ns),
            "broken": {name: show_time(since_ns) for name, since_ns in sorted(self._since.items())},
            "claims": [claim.as_json() for claim in self.claims()],
        }

    def _worth(self, signatures: Mapping[str, bool], leaf: int | None) -> tuple[str, str]:
        """Return what signatures over something under a leaf are worth, and what that rests on."""
        if any(signatures.values()):
            return SOUND, "its own signature"
        anchor = self._anchor(signatures, leaf)
        if anchor is not None:
            return HELD, f"{anchor.what} of {show_time(anchor.time_ns)}"
        view = self._log.view if self._log is not None else None
        if leaf is not None and self._log is not None and view is not None and view.trusted and leaf < view.covered:
            sound = [name for name, holds in self._log_signatures(view.covered).items() if holds]
            if sound:
                return HELD, f"the word of the log {view.origin}, whose checkpoint over it is signed with {sound[0]}"
        return BROKEN, "nothing shows that it was made before"

    def _anchor(self, signatures: Mapping[str, bool], leaf: int | None) -> Anchor | None:
        """Return evidence that a leaf existed before any algorithm of its signatures was broken: what covers most."""
        if leaf is None or self._log is None:
            return None
        before_ns = min(self._since[name] for name in signatures)
        fit = [one for one in self._anchors() if one.size > leaf and one.time_ns < before_ns]
        return max(fit, key=lambda one: one.size, default=None)

    def _anchors(self) -> Sequence[Anchor]:
        settled = self._log.settled if self._log is not None else None
        return settled.anchors if settled is not None else ()

    def _log_signatures(self, size: int) -> dict[str, bool]:
        assert self._log is not None
        names = ["EdDSA"]
        if self._log.keys.at(size).post_quantum is not None:
            names.append(ml_dsa.NAME)
        return {name: name not in self._since for name in names}

    def _log_claims(self) -> Iterator[Claim]:
        if self._log is None or self._log.view is None:
            return
        # The newest checkpoint under each set of keys stands for those before it: it covers all of their leaves.
        newest = {self._log.keys.at(size): size for size in self._log.checkpoint_sizes if size}
        for size in newest.values():
            signatures = self._log_signatures(size)
            status, rests_on = self._worth(signatures, size - 1)
            what = f"checkpoint of {size} leaves of the log {self._log.view.origin}"
            yield Claim(what, 1, signatures, status, rests_on)

    def _settlement_claims(self) -> Iterator[Claim]:
        since_ns = self._since.get("ES256")
        groups: dict[str, list[Anchor]] = {}
        for anchor in self._anchors():
            status = SOUND if since_ns is None else HELD if anchor.time_ns < since_ns else BROKEN
            groups.setdefault(status, []).append(anchor)
        for status, anchors in groups.items():
            last = max(anchors, key=lambda one: one.size)
            rests_on = {SOUND: "its own signature", BROKEN: "its block is from after that"}.get(
                status, f"{last.what} of {show_time(last.time_ns)}, the last of them"
            )
            what = f"settled checkpoints, the last of {last.size} leaves"
            yield Claim(what, len(anchors), {"ES256": since_ns is None}, status, rests_on)
