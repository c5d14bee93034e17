"""A session: a chain without gaps, whatever fails in its middle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from attest_examples import COMMAND, IMAGE, STATEMENT, signer_of
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.attest import (
    Algorithm,
    Attestation,
    Clock,
    Session,
    SoftwareSigner,
    decode_attestation,
    encode_attestation,
    keys,
    verify,
)
from og_ros.attest.statement import NO_DIGEST
from og_ros.errors import AttestationError

TIMES: dict[str, Any] = {"start_ns": 10, "clock": Clock.SIM, "start_monotonic_ns": 0, "duration_ns": 5}


def session(signer: Any = None, **changes: Any) -> Session:
    fields = {
        "robot": "robot-7", "stage": "perception", "node": "/perception",
        "model": STATEMENT.model, "runtime": STATEMENT.runtime, "signer": signer or signer_of(Algorithm.ES256),
    }  # fmt: skip
    return Session(**{**fields, **changes})


def check_chain(chain: list[Attestation], signer: SoftwareSigner) -> None:
    """The property of a session, stated on the attestations as an auditor gets them."""
    previous = NO_DIGEST
    for sequence, attestation in enumerate(chain):
        received = decode_attestation(encode_attestation(attestation))
        assert received == attestation
        assert (received.statement.sequence, received.statement.previous) == (sequence, previous)
        assert received.statement.session == chain[0].statement.session
        verify(received, signer.public_key)
        previous = received.digest


class UnsteadySigner:
    """A real key that cannot be reached at some calls, as a hardware key may."""

    def __init__(self, failing: set[int]) -> None:
        self.inner = signer_of(Algorithm.EDDSA)
        self.key_id, self.algorithm, self.public_key = self.inner.key_id, self.inner.algorithm, self.inner.public_key
        self.failing, self.calls = failing, 0

    def sign(self, message: bytes) -> bytes:
        self.calls += 1
        if self.calls - 1 in self.failing:
            raise OSError("device is gone")
        return self.inner.sign(message)


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_a_chain(algorithm: Algorithm) -> None:
    signer = signer_of(algorithm)
    one = session(signer)
    chain = [one.attest([IMAGE], [COMMAND], **TIMES) for _ in range(20)]
    check_chain(chain, signer)
    assert one.sequence == 20


SPOILT: list[dict[str, Any]] = [
    {"duration_ns": 1.5},
    {"duration_ns": -1},
    {"start_ns": 2**63},
    {"clock": 7},
    {"outputs": []},
    {"inputs": [replace(IMAGE, digest=b"short")]},
    {"inputs": [IMAGE] * 33},
]


@given(st.lists(st.one_of(st.none(), st.sampled_from(SPOILT)), max_size=12))
@settings(max_examples=40)
def test_no_gap_after_a_refused_inference(steps: list[dict[str, Any] | None]) -> None:
    signer = signer_of(Algorithm.ES256)
    one, chain = session(signer), []
    for step in steps:
        if step is None:
            chain.append(one.attest([IMAGE], [COMMAND], **TIMES))
            continue
        arguments: dict[str, Any] = {"inputs": [IMAGE], "outputs": [COMMAND], **TIMES, **step}
        with pytest.raises(AttestationError):
            one.attest(arguments.pop("inputs"), arguments.pop("outputs"), **arguments)
    check_chain(chain, signer)
    assert one.sequence == len(chain)


@given(st.sets(st.integers(0, 11)))
@settings(max_examples=30)
def test_no_gap_after_a_signer_that_failed(failing: set[int]) -> None:
    signer = UnsteadySigner(failing)
    one, chain = session(signer), []
    for call in range(12):
        if call in failing:
            with pytest.raises(OSError, match="device is gone"):
                one.attest([IMAGE], [COMMAND], **TIMES)
        else:
            chain.append(one.attest([IMAGE], [COMMAND], **TIMES))
    check_chain(chain, signer.inner)
    assert len(chain) == 12 - len(failing)


def test_two_sessions_of_one_key_differ() -> None:
    first, second = session(), session()
    assert first.id != second.id
    assert first.attest([IMAGE], [COMMAND], **TIMES).digest != second.attest([IMAGE], [COMMAND], **TIMES).digest


def test_monotonic_start_counts_from_the_session() -> None:
    one = session()
    later = one.attest([IMAGE], [COMMAND], **{**TIMES, "start_monotonic_ns": one.began_ns + 77})
    earlier = one.attest([IMAGE], [COMMAND], **{**TIMES, "start_monotonic_ns": one.began_ns - 77})
    assert (later.statement.start_monotonic_ns, earlier.statement.start_monotonic_ns) == (77, 0)


def test_a_change_of_any_link_is_noticed() -> None:
    signer = SoftwareSigner(keys.generate())
    one = session(signer)
    chain = [one.attest([IMAGE], [COMMAND], **TIMES) for _ in range(4)]
    for spoilt in (chain[1:], [chain[0], *chain[2:]], [chain[1], chain[0], *chain[2:]], [chain[0], *chain]):
        with pytest.raises(AssertionError):
            check_chain(spoilt, signer)
