"""One appraisal in the making: what every verifier checks alike, and the result that comes of it.

Every format is bound to its key, its freshness and its reference values by the same three rules, so that a level means
the same whatever platform stands behind it.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Final

from og_ros import __version__
from og_ros.errors import EvidenceError
from og_ros.evidence.appraisal import Appraisal, Provenance, Reason, Tier
from og_ros.evidence.binding import binding
from og_ros.evidence.interface import AppraisalPolicy, Evidence
from og_ros.evidence.policy_digest import policy_digest

VERIFIER: Final = f"og_ros {__version__}"
VALIDITY_NS: Final = 24 * 3600 * 10**9
"""A verdict is renewed within a day, however long the certificates behind it hold."""


class Case:
    """Collects what speaks for and against a piece of evidence; `close` makes the appraisal of it.

    Attributes:
        platform, tee: AR4SI vectors, filled by the verifier.
        claims: what the evidence says, as JSON.
        measured: whether the software's measurements are those that the policy expects.
        valid_until_ns: lowered by the verifier to the end of the certificates and collateral.
        cap: lowered to WARNING where a test root stands behind the evidence.
        level, provenance: what the format supports, if all holds.
    """

    def __init__(self, evidence: Evidence, policy: AppraisalPolicy, now_ns: int) -> None:
        self.evidence, self.policy, self.now_ns = evidence, policy, now_ns
        self.platform: dict[str, Tier] = {}
        self.tee: dict[str, Tier] = {}
        self.claims: dict[str, Any] = {}
        self.reasons: list[Reason] = []
        self.not_checked: list[str] = []
        self.measured = False
        self.valid_until_ns = now_ns + VALIDITY_NS
        self.cap = Tier.AFFIRMING
        self.level, self.provenance = "tee", Provenance.TEE

    def against(self, code: str, message: str, tier: Tier = Tier.CONTRAINDICATED) -> None:
        """Note what speaks against the evidence."""
        self.reasons.append(Reason(code, message, tier))

    def until(self, end_ns: int) -> None:
        """Note an end of validity."""
        self.valid_until_ns = min(self.valid_until_ns, end_ns)

    def check_format(self, expected: str) -> None:
        """Refuse evidence that another verifier should have got; its binding would not fit either."""
        if self.evidence.format != expected:
            self.against("wrong_format", f"the evidence says that it is {self.evidence.format!a}, not {expected}")

    def check_nonce(self) -> bool:
        """Return whether somebody asked with a nonce; a wrong one speaks against the evidence."""
        if self.policy.nonce is None:
            return False
        if self.policy.nonce != self.evidence.nonce:
            self.against("wrong_nonce", "the evidence was made for another nonce than the one that was asked with")
        return True

    def expected_binding(self) -> bytes | None:
        """Return the 32 bytes that the platform must have signed; None without a key, or with impossible fields."""
        evidence = self.evidence
        if not evidence.key:
            self.not_checked.append("which key it vouches for: no key was given to look for")
            return None
        try:
            return binding(evidence.format, evidence.nonce, evidence.key, evidence.context)
        except EvidenceError as error:
            self.against("malformed", str(error))
            return None

    def check_bound(self, found: bytes, expected: bytes | None, field: str) -> None:
        """Compare what the platform signed with the binding of nonce, key and context."""
        if expected is None:
            self.claims["key_bound"] = False
            return
        self.claims["key_bound"] = found == expected
        if found != expected:
            self.against(
                "not_bound",
                f"{field} is not the binding of this key, nonce, robot, stage and manifest: it is evidence of another",
            )

    def check_measurements(self, found: dict[str, str], expected: dict[str, tuple[str, ...]]) -> None:
        """Compare measurements (hex) with what the policy allows for each; one that it does not name is free.

        Without any expected value the software is unknown: `executables` is none, and no level follows.
        """
        if not expected:
            self.tee["executables"] = Tier.NONE
            self.not_checked.append(
                f"which software runs: the policy has no reference values for {self.evidence.format}"
            )
            return
        wrong = [name for name, values in expected.items() if found.get(name) not in values]
        for name in wrong:
            self.against(
                "measurement_mismatch", f"{name} is {found.get(name, 'absent')}, which the policy does not allow"
            )
        self.tee["executables"] = Tier.CONTRAINDICATED if wrong else Tier.AFFIRMING
        self.measured = not wrong

    def allowed_debug(self, allowed: bool, message: str) -> None:
        """Note that the host may look into the TEE: contraindicated, or a warning where the policy allows it."""
        tier = Tier.WARNING if allowed else Tier.CONTRAINDICATED
        self.tee["runtime_opaque"] = tier
        self.against("debug", message, tier)

    def close(self) -> Appraisal:
        """Return the appraisal. There is a level only for a bound key in software that is expected."""
        refused = any(reason.tier is Tier.CONTRAINDICATED for reason in self.reasons)
        bound = bool(self.claims.setdefault("key_bound", False))
        holds = bound and self.measured and not refused
        software = self.evidence.format == "software" and not refused
        self.claims["key_provenance"] = self.provenance if holds else Provenance.SOFTWARE
        self.claims["level"] = self.level if holds else "software_key" if software else "none"
        return Appraisal(
            format=self.evidence.format,
            key=self.evidence.key,
            submodules={"platform": self.platform, "tee": self.tee} if self.platform or self.tee else {},
            claims=self.claims,
            reasons=tuple(self.reasons),
            not_checked=tuple(self.not_checked),
            verified_at_ns=self.now_ns,
            valid_until_ns=max(self.now_ns, self.valid_until_ns),
            policy=policy_digest(self.policy),
            verifier=VERIFIER,
            cap=self.cap,
        )

    def refused(self, code: str, message: str) -> Appraisal:
        """Return the appraisal of evidence whose platform says nothing, for one reason."""
        self.against(code, message)
        self.platform["hardware"] = Tier.CONTRAINDICATED
        return self.close()


def utc(time_ns: int) -> str:
    """Return a time as people and JSON read it: RFC 3339 in UTC, to the millisecond."""
    time = datetime.fromtimestamp(time_ns // 10**9, timezone.utc)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time_ns // 10**6 % 1000:03d}Z"
