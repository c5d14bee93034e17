"""The same recording audited at dates after algorithms were broken: what still holds, and by what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attack_cases.log import hybrid
from attacker import Attacker
from real_runs import RealRuns

Audit = Callable[[list[str]], tuple[int, dict[str, Any], str]]
BEFORE, AFTER = "2034-12-31T00:00:00Z", "2036-01-01T00:00:00Z"
ECDSA = {"ES256": "2035-01-01T00:00:00Z"}
CURVES = {**ECDSA, "EdDSA": "2035-01-01T00:00:00Z"}
ALL = {**CURVES, "ML-DSA-65": "2035-06-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("broken", "at", "pair", "attested", "checkpoint", "because"),
    [
        (CURVES, BEFORE, False, "sound", "sound", "its own signature"),
        (ECDSA, AFTER, False, "held", "sound", "signed with EdDSA"),
        (CURVES, AFTER, True, "held", "sound", "signed with ML-DSA-65"),
        (CURVES, AFTER, False, "broken", "broken", "nothing shows"),
        (ALL, AFTER, True, "broken", "broken", "nothing shows"),
    ],
    ids=["before", "ecdsa-broken", "curves-broken-hybrid", "curves-broken-classical", "all-broken"],
)
def test_an_audit_years_on_says_what_still_holds(
    broken: dict[str, str], at: str, pair: bool, attested: str, checkpoint: str, because: str, runs: RealRuns,
    tmp_path: Path, audited: Audit,
) -> None:  # fmt: skip
    attacker = Attacker(runs, tmp_path / "case")
    attacker.policy["broken"] = broken
    attacker.options = ["--at", at]
    if pair:
        hybrid(attacker, attacker.leaves())
    else:
        attacker.take_ledger()
    code, report, _ = audited(attacker.write())
    claims = report["endurance"]["claims"]
    stages = [claim for claim in claims if claim["claim"].startswith("attestations")]
    assert sum(claim["count"] for claim in stages) == report["attestations"]
    assert {claim["status"] for claim in stages} == {attested}
    assert because in stages[0]["rests_on"]
    newest = [claim for claim in claims if claim["claim"].startswith("checkpoint")][-1]
    assert newest["status"] == checkpoint
    assert len(newest["signatures"]) == (2 if pair else 1)
    lowest = report["levels"]["inference_authenticity"]["lowest"]
    if attested == "broken":
        assert (code, lowest) == (1, "none")
        reason = report["levels"]["inference_authenticity"]["reasons"]["control"]
        assert "of a broken algorithm" in reason["because"]
        assert report["finding_counts"] == {"rests_on_broken": len([c for c in claims if c["status"] == "broken"])}
    else:
        assert (code, lowest) == (0, "signed")
        registry = [note for note in report["not_checked"] if "compare its index" in note]
        assert len(registry) == (at == AFTER), "the registry's own signatures are of the broken algorithm too"
