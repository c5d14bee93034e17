"""What dates evidence: a settled block of before a break, and none of after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from attest_examples import attestation_of
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.audit.endurance import Anchor, Endurance
from og_ros.audit.ledger import LogCheck
from og_ros.audit.policy import parse_policy
from og_ros.audit.records import Inference
from og_ros.audit.settled import Settled
from og_ros.errors import PolicyError
from og_ros.log import Ledger

YEAR_NS = 31_557_600 * 10**9
BREAK_NS = 65 * YEAR_NS
BROKEN = {"ES256": BREAK_NS, "EdDSA": BREAK_NS}


@pytest.fixture
def log(tmp_path: Path) -> LogCheck:
    """Return a log of four leaves that no registry stands for, and whose checkpoint is signed with Ed25519."""
    attestations = [attestation_of(sequence=number + 1) for number in range(4)]
    with Ledger.create(tmp_path / "log", "o", Ed25519PrivateKey.from_private_bytes(bytes(range(32)))) as ledger:
        ledger.append([attestation.cose for attestation in attestations])
        ledger.checkpoint()
        return LogCheck(ledger, None)


@pytest.mark.parametrize(
    ("anchors", "expected"),
    [
        ([], ["broken"] * 4),
        ([(2, -1)], ["held", "held", "broken", "broken"]),
        ([(4, -1)], ["held"] * 4),
        ([(4, 0)], ["broken"] * 4),
        ([(2, -1), (4, 1)], ["held", "held", "broken", "broken"]),
    ],
    ids=["none", "covers-two", "covers-all", "at-the-break", "one-of-before"],
)
def test_a_block_of_before_dates_the_leaves_under_it(
    log: LogCheck, anchors: list[tuple[int, int]], expected: list[str]
) -> None:
    log.settled = Settled(anchors=[Anchor(size, BREAK_NS + years * YEAR_NS, "block") for size, years in anchors])
    found = []
    for leaf in range(4):
        endurance = Endurance(BROKEN, BREAK_NS + 10 * YEAR_NS, log)
        inference = Inference(attestation_of(sequence=leaf + 1), "", 0, leaf=leaf)
        endurance.judge(inference)
        claim = endurance.claims()[0]
        assert inference.broken == (claim.status == "broken")
        found.append(claim.status)
    assert found == expected
    settled = [claim for claim in endurance.claims() if claim.claim.startswith("settled")]
    assert {claim.status for claim in settled} == {"held" if years < 0 else "broken" for _, years in anchors}


def test_an_attestation_that_is_in_no_log_is_dated_by_none(log: LogCheck) -> None:
    log.settled = Settled(anchors=[Anchor(4, 0, "block")])
    endurance = Endurance(BROKEN, BREAK_NS, log)
    endurance.judge(Inference(attestation_of(sequence=9), "", 0))
    assert next(iter(endurance.claims())).status == "broken"
    assert next(endurance.findings()).kind == "rests_on_broken"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("broken: {RSA: 2030-01-01T00:00:00Z}", "is no algorithm of signatures here: ES256, EdDSA, ML-DSA-65"),
        ("broken: {ES256: 2030}", "must be a time in UTC"),
        ("broken: {ES256: 2030-01-01T00:00:00}", "must be a time in UTC"),
        ("broken: [ES256]", "must be a mapping"),
        ("checkpoint: hybird", "must be one of: classical, hybrid; did you mean hybrid"),
    ],
)
def test_a_policy_names_algorithms_and_dates(text: str, problem: str) -> None:
    with pytest.raises(PolicyError, match=rf"^p:2: .*{problem}"):
        parse_policy(f"version: 1\n{text}\n".encode(), "p")
    policy = parse_policy(b"version: 1\ncheckpoint: hybrid\nbroken: {ML-DSA-65: 2090-01-01T00:00:00Z}\n", "p")
    assert (policy.checkpoint, list(policy.broken)) == ("hybrid", ["ML-DSA-65"])
