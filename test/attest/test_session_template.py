"""Signing from a template gives just what the long way gives, and refuses what the long way refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from attest_examples import COMMAND, IMAGE, STATEMENT, signer_of
from attest_strategies import statements
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.attest import Algorithm, Clock, Disclosure, Session, cose, encode_attestation
from og_ros.attest.session_template import SessionTemplate, shape_of
from og_ros.attest.statement import MAX_TIME_NS, NO_DIGEST, DataReference, Statement
from og_ros.errors import AttestationError

UNSIGNED = st.one_of(
    st.sampled_from((0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32)), st.integers(0, 2**64 - 1)
)
TIMES = st.one_of(st.sampled_from((0, 23, 24, 999_999_999, 10**9, MAX_TIME_NS)), st.integers(0, MAX_TIME_NS))
DIGESTS = st.binary(min_size=32, max_size=32).filter(lambda value: value != NO_DIGEST)
SIGNERS = {algorithm: signer_of(algorithm) for algorithm in Algorithm}
SIGNED = st.sampled_from(Algorithm).flatmap(lambda a: statements(a, SIGNERS[a].key_id))


@settings(max_examples=40, deadline=None)
@given(SIGNED, st.data())
def test_the_bytes_of_the_long_way(first: Statement, data: st.DataObject) -> None:
    signer = SIGNERS[first.algorithm]
    template = SessionTemplate.of(cose.sign(first, signer))
    if template is None:  # a statement of less than 256 bytes, or more than any has
        assert len(cose.sign(first, signer).cose) < 900
        return

    def vary(reference: DataReference) -> DataReference:
        return replace(
            reference,
            digest=NO_DIGEST if reference.disclosure is Disclosure.ABSENT else data.draw(DIGESTS),
            size=data.draw(UNSIGNED),
            stamp_ns=data.draw(TIMES),
            attestation=data.draw(DIGESTS) if reference.attestation else b"",
        )

    sequence = data.draw(UNSIGNED)
    statement = replace(
        first,
        sequence=sequence,
        previous=data.draw(DIGESTS) if sequence else NO_DIGEST,
        inputs=tuple(vary(r) for r in first.inputs),
        outputs=tuple(vary(r) for r in first.outputs),
        start_ns=data.draw(TIMES),
        start_monotonic_ns=data.draw(UNSIGNED),
        duration_ns=data.draw(UNSIGNED),
        signed_at_ns=data.draw(TIMES),
    )
    assert shape_of(statement) == shape_of(first)
    signed = template.sign(statement, signer)
    assert signed is not None
    expected = cose.sign(statement, signer)
    assert signed == (expected, encode_attestation(expected))


BAD: list[dict[str, Any]] = [
    {"start_ns": -1}, {"start_ns": MAX_TIME_NS + 1}, {"start_ns": 1.0}, {"start_ns": True},
    {"duration_ns": -1}, {"duration_ns": 2**64}, {"duration_ns": 1.5}, {"clock": 1},
    {"mode_used": 1}, {"mode_requested": 9},
]  # fmt: skip
BAD_REFERENCES: list[dict[str, Any]] = [
    {"digest": bytes(32)}, {"digest": b"x"}, {"digest": bytearray(b"x" * 32)}, {"size": -1}, {"size": 2**64},
    {"size": True}, {"stamp_ns": -1}, {"stamp_ns": MAX_TIME_NS + 1}, {"attestation": b"x"}, {"disclosure": 0},
    {"topic": "a\nb"}, {"topic": ""}, {"digest_algorithm": "x" * 17}, {"disclosure": Disclosure.ABSENT},
]  # fmt: skip


def warm_session() -> Session:
    """A session that signs from a template by now."""
    session = Session(
        robot="robot-7", stage="perception", node="/perception", model=STATEMENT.model, runtime=STATEMENT.runtime,
        signer=signer_of(Algorithm.ES256),
    )  # fmt: skip
    for _ in range(3):
        attest(session)
    return session


def attest(session: Session, inputs: Any = (IMAGE,), **changes: Any) -> Any:
    fields: dict[str, Any] = {"start_ns": 10, "clock": Clock.SIM, "start_monotonic_ns": 0, "duration_ns": 5, **changes}
    return session.attest(inputs, (COMMAND,), **fields)


@pytest.mark.parametrize("changes", BAD, ids=str)
def test_a_field_out_of_bounds_is_refused_and_leaves_no_gap(changes: dict[str, Any]) -> None:
    session = warm_session()
    with pytest.raises(AttestationError):
        attest(session, **changes)
    assert attest(session).statement.sequence == 3


@pytest.mark.parametrize("changes", BAD_REFERENCES, ids=str)
def test_a_reference_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    session = warm_session()
    with pytest.raises(AttestationError):
        attest(session, inputs=(replace(IMAGE, **changes),))
    assert attest(session).statement.sequence == 3


def test_a_session_that_is_changed_signs_what_it_says_now() -> None:
    session = warm_session()
    session.stage = "planning"
    session.model = replace(session.model, version="9")
    attestation = attest(session)
    assert (attestation.statement.stage, attestation.statement.model.version) == ("planning", "9")
    assert cose.decode(attestation.cose) == attestation
    assert session.serialised(attestation) == encode_attestation(attestation)


def test_each_is_serialised_as_itself() -> None:
    session = warm_session()
    older, newer = attest(session), attest(session)
    for attestation in (older, newer, older):
        assert session.serialised(attestation) == encode_attestation(attestation)
