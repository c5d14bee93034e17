"""Hypothesis strategies for whole statements, within the bounds of msg/Attestation.msg and up to them."""

from __future__ import annotations

from hypothesis import strategies as st

from og_ros.attest import (
    Algorithm,
    Attestation,
    Clock,
    DataReference,
    Disclosure,
    Mode,
    ModelReference,
    Runtime,
    Statement,
    cose,
)
from og_ros.attest.statement import HIDDEN_CHARACTERS, MAX_REFERENCES, MAX_TIME_NS, NO_DIGEST, TEXT_BOUNDS

_CHARACTERS = st.characters(exclude_categories=["Cs"]).filter(lambda char: not HIDDEN_CHARACTERS.match(char))
_DIGESTS = st.binary(min_size=32, max_size=32)
_REAL_DIGESTS = _DIGESTS.filter(lambda digest: digest != NO_DIGEST)
_UNSIGNED = st.integers(0, 2**64 - 1)
_TIMES = st.integers(0, MAX_TIME_NS)


def texts(name: str, required: bool = True) -> st.SearchStrategy[str]:
    """Text of a field (its name in TEXT_BOUNDS): of any script, at most as many bytes of UTF-8 as allowed."""
    bound = TEXT_BOUNDS[name]
    some = st.text(_CHARACTERS, min_size=int(required), max_size=24).map(lambda text: _cut(text, bound))
    full = st.sampled_from(("a", "é", "路", "🤖")).map(lambda char: _cut(char * bound, bound))
    return st.one_of(some, some, some, full)


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")


@st.composite
def references(draw: st.DrawFn, output: bool = False) -> DataReference:
    """A reference to an input, or to an output."""
    disclosure = draw(st.sampled_from(Disclosure))
    return DataReference(
        topic=draw(texts("topic")),
        type=draw(texts("type")),
        digest=NO_DIGEST if disclosure == Disclosure.ABSENT else draw(_REAL_DIGESTS),
        size=draw(_UNSIGNED),
        stamp_ns=draw(_TIMES),
        attestation=b"" if output else draw(st.one_of(st.just(b""), _DIGESTS)),
        digest_algorithm=draw(st.sampled_from(("sha256", "blake3", "x"))),
        disclosure=disclosure,
    )


@st.composite
def statements(draw: st.DrawFn, algorithm: Algorithm | None = None, key_id: bytes | None = None) -> Statement:
    """Any statement that is within bounds; of a given algorithm and key id, to sign it."""
    sequence = draw(st.one_of(st.just(0), _UNSIGNED))
    few = st.integers(1, 3)
    count = st.one_of(few, few, few, st.just(MAX_REFERENCES))
    inputs = draw(st.lists(references(), max_size=3))  # none: a source
    outputs = draw(st.lists(references(output=True), min_size=1, max_size=3))
    return Statement(
        robot=draw(texts("robot")),
        stage=draw(texts("stage")),
        node=draw(texts("node")),
        session=draw(st.binary(min_size=16, max_size=16)),
        sequence=sequence,
        previous=draw(_REAL_DIGESTS) if sequence else NO_DIGEST,
        model=ModelReference(
            name=draw(texts("model.name")),
            version=draw(texts("model.version", required=False)),
            digest=draw(_DIGESTS),
            format=draw(texts("model.format")),
        ),
        runtime=Runtime(
            name=draw(texts("runtime.name", required=False)),
            version=draw(texts("runtime.version", required=False)),
            provider=draw(texts("runtime.provider", required=False)),
            options=draw(texts("runtime.options", required=False)),
            cpu=draw(texts("runtime.cpu", required=False)),
            processing_digest=draw(_DIGESTS),
        ),
        inputs=tuple((inputs * MAX_REFERENCES)[: draw(count)]),
        outputs=tuple((outputs * MAX_REFERENCES)[: draw(count)]),
        start_ns=draw(_TIMES),
        clock=draw(st.sampled_from(Clock)),
        start_monotonic_ns=draw(_UNSIGNED),
        duration_ns=draw(_UNSIGNED),
        signed_at_ns=draw(_TIMES),
        key_id=draw(_DIGESTS) if key_id is None else key_id,
        algorithm=draw(st.sampled_from(Algorithm)) if algorithm is None else algorithm,
        mode_requested=draw(st.sampled_from(Mode)),
        mode_used=draw(st.sampled_from(Mode)),
    )


def attestations() -> st.SearchStrategy[Attestation]:
    """Any attestation as far as its form goes; its signature is random bytes."""
    return st.builds(cose.seal, statements(), st.binary(min_size=64, max_size=64))
