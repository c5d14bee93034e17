"""The fast reader gives just what the long way gives, on honest streams and on hostile ones."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace

import pytest
from attest_strategies import attestations
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.attest import Attestation, DataReference, Disclosure, cose, decode_attestation, encode_attestation
from og_ros.attest.statement import MAX_TIME_NS, NO_DIGEST
from og_ros.attest.template import AttestationReader, _Template
from og_ros.errors import AttestationError

UNSIGNED = st.one_of(
    st.sampled_from((0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32)), st.integers(0, 2**64 - 1)
)
TIMES = st.one_of(st.sampled_from((0, 23, 24, 999_999_999, 10**9, MAX_TIME_NS)), st.integers(0, MAX_TIME_NS))


@st.composite
def streams(draw: st.DrawFn) -> list[Attestation]:
    """Some attestations of one session and shape, in which everything varies that may."""
    first = draw(attestations())

    def vary(reference: DataReference) -> DataReference:
        return replace(
            reference,
            digest=NO_DIGEST if reference.disclosure is Disclosure.ABSENT else os.urandom(32),
            size=draw(UNSIGNED),
            stamp_ns=draw(TIMES),
            attestation=os.urandom(32) if reference.attestation else b"",
        )

    stream = [first]
    for _ in range(draw(st.integers(2, 4))):
        sequence = draw(UNSIGNED)
        statement = replace(
            first.statement,
            sequence=sequence,
            previous=os.urandom(32) if sequence else NO_DIGEST,
            inputs=tuple(vary(r) for r in first.statement.inputs),
            outputs=tuple(vary(r) for r in first.statement.outputs),
            start_ns=draw(TIMES),
            start_monotonic_ns=draw(UNSIGNED),
            duration_ns=draw(UNSIGNED),
            signed_at_ns=draw(TIMES),
        )
        stream.append(cose.seal(statement, os.urandom(64)))
    return stream


@settings(max_examples=60)
@given(streams())
def test_a_stream_is_read_as_the_long_way_reads_it(stream: list[Attestation]) -> None:
    reader = AttestationReader()
    for attestation in stream:
        found = reader.read(encode_attestation(attestation))
        assert found == attestation
        assert found.digest == attestation.digest
        known = reader.read_known(encode_attestation(attestation), "", attestation.digest)
        assert (known.cose, known.signed_bytes, known) == (attestation.cose, attestation.signed_bytes, attestation)
        assert pickle.loads(pickle.dumps(known)) == attestation


@settings(max_examples=40)
@given(streams(), st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=8, max_size=8))
def test_a_changed_byte_is_read_or_refused_as_the_long_way_does(
    stream: list[Attestation], changes: list[tuple[float, int]]
) -> None:
    reader = AttestationReader()
    for attestation in stream[:-1]:
        reader.read(encode_attestation(attestation))
    honest = encode_attestation(stream[-1])
    for place, value in changes:
        payload = bytearray(honest)
        payload[int(place * len(payload))] = value
        outcome: list[object] = []
        for read in (decode_attestation, reader.read):
            try:
                outcome.append(read(bytes(payload)))
            except AttestationError as error:
                outcome.append(str(error))
        assert outcome[0] == outcome[1]


@given(attestations())
def test_every_field_that_varies_is_found(attestation: Attestation) -> None:
    template = _Template.of(attestation, encode_attestation(attestation))
    assert template is None or template.read(encode_attestation(attestation)) == attestation


def test_a_template_is_made_for_what_og_ros_sends() -> None:
    from scenario import honest_run

    run = honest_run(3)
    for stage in ("perception", "planning", "control"):
        index, attestation = run.of_stage(stage)[1]
        assert _Template.of(attestation, bytes(run.records[index].payload)) is not None


def test_who_changes_the_session_each_time_costs_no_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    from scenario import honest_run

    made: list[Attestation] = []
    monkeypatch.setattr(_Template, "of", lambda attestation, payload: made.append(attestation))
    reader = AttestationReader()
    _, attestation = honest_run(2).of_stage("control")[0]
    for _ in range(50):
        statement = replace(attestation.statement, session=os.urandom(16))
        reader.read(encode_attestation(cose.seal(statement, attestation.signature)))
    assert made == []
