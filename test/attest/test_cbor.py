"""A statement's CBOR: one deterministic encoding, equal to an independent encoder's, and its strict reading."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import cbor2
import pytest
from attest_examples import IMAGE, statement_of
from attest_strategies import statements
from hypothesis import example, given, settings
from hypothesis import strategies as st

from og_ros.attest import Statement, cbor, cbor_reader
from og_ros.errors import AttestationError

_RENAMED = {"start_ns": "start", "stamp_ns": "stamp", "signed_at_ns": "signed_at"}


def tree_of(statement: Statement) -> dict[str, Any]:
    """The statement as a map by the names of the .msg fields, made from the dataclass and not by og_ros."""

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {_RENAMED.get(key, key): named(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [named(item) for item in value]
        return int(value) if isinstance(value, int) else value

    tree: dict[str, Any] = named(asdict(statement))
    return tree


def canonical(tree: Any) -> bytes:
    return cbor2.dumps(tree, canonical=True)


def plain(item: Any) -> Any:
    """cbor2's immutable containers as those of Python."""
    if isinstance(item, (list, tuple)):
        return [plain(part) for part in item]
    if hasattr(item, "items"):
        return {key: plain(part) for key, part in item.items()}
    return item


@given(statements())
@settings(max_examples=40)
def test_round_trip(statement: Statement) -> None:
    assert cbor.decode(cbor.encode(statement)) == statement


@given(statements())
@settings(max_examples=40)
def test_encoding_equals_that_of_an_independent_canonical_encoder(statement: Statement) -> None:
    assert cbor.encode(statement) == canonical(tree_of(statement))


def test_keys_are_in_the_bytewise_order_of_their_encodings() -> None:
    def check(item: Any) -> None:
        if isinstance(item, dict):
            encoded = [cbor2.dumps(key) for key in item]
            assert encoded == sorted(encoded)
        for part in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
            check(part)

    check(plain(cbor2.loads(cbor.encode(statement_of()))))


def test_a_statement_at_every_bound_still_fits() -> None:
    long = "x" * 255
    reference = {"topic": long, "type": long, "digest_algorithm": "x" * 16, "size": 2**64 - 1}
    inputs = (type(IMAGE)(**{**asdict(IMAGE), **reference, "disclosure": IMAGE.disclosure}),) * 32
    outputs = (type(IMAGE)(**{**asdict(IMAGE), **reference, "disclosure": IMAGE.disclosure, "attestation": b""}),) * 32
    statement = statement_of(robot="x" * 128, stage="x" * 128, node=long, inputs=inputs, outputs=outputs)
    data = cbor.encode(statement)
    assert 40_000 < len(data) <= cbor.MAX_STATEMENT_SIZE
    assert cbor.decode(data) == statement


# ---- what is no statement --------------------------------------------------------------------------------------------


def changed(path: tuple[str | int, ...], value: Any) -> bytes:
    """The example statement, deterministically encoded, with one item replaced."""
    tree = tree_of(statement_of())
    target: Any = tree
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return canonical(tree)


PATHS: list[tuple[str | int, ...]] = [
    *((name,) for name in tree_of(statement_of())),
    *(("model", name) for name in tree_of(statement_of())["model"]),
    *(("runtime", name) for name in tree_of(statement_of())["runtime"]),
    *(("inputs", 0, name) for name in tree_of(statement_of())["inputs"][0]),
    *(("outputs", 0, name) for name in tree_of(statement_of())["outputs"][0]),
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(map(str, path)))
def test_every_field_has_one_type_and_must_be_there(path: tuple[str | int, ...]) -> None:
    original: Any = tree_of(statement_of())
    for step in path:
        original = original[step]
    for value in (True, False, None, 0.5, 1, b"\x01", "a", [], {}, [1], {"a": 1}, cbor2.CBORTag(24, b"a"), 2**64):
        if type(value) is type(original) and value != 2**64:
            continue
        with pytest.raises(AttestationError):
            cbor.decode(changed(path, value))
    tree = tree_of(statement_of())
    target: Any = tree
    for step in path[:-1]:
        target = target[step]
    del target[path[-1]]
    with pytest.raises(AttestationError):
        cbor.decode(canonical(tree))


@pytest.mark.parametrize("path", [("more",), ("model", "more"), ("runtime", "more"), ("inputs", 0, "more"), (1,)])
def test_an_unknown_field_is_refused(path: tuple[str | int, ...]) -> None:
    with pytest.raises(AttestationError, match="unknown fields"):
        cbor.decode(changed(path, 1))


def test_keys_in_another_order_are_refused() -> None:
    tree = tree_of(statement_of())
    data = cbor2.dumps(dict(sorted(tree.items(), reverse=True)))
    with pytest.raises(AttestationError, match="out of order"):
        cbor.decode(data)


def test_a_duplicate_key_is_refused() -> None:
    data = cbor.encode(statement_of())
    assert data[0] == 0xA0 + 20
    first = cbor2.dumps("node") + cbor2.dumps("/other")
    with pytest.raises(AttestationError, match="duplicate"):
        cbor.decode(bytes([0xA0 + 21]) + first + data[1:])


@pytest.mark.parametrize("tail", [b"\x00", b"\xf6", b"\xff", bytes(100)])
def test_bytes_after_the_end_are_refused(tail: bytes) -> None:
    with pytest.raises(AttestationError, match="after its end"):
        cbor.decode(cbor.encode(statement_of()) + tail)


def test_every_truncation_is_refused() -> None:
    data = cbor.encode(statement_of())
    for end in range(len(data)):
        with pytest.raises(AttestationError):
            cbor.decode(data[:end])


def test_a_statement_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(AttestationError, match="60001 bytes long"):
        cbor.decode(bytes(60_001))


NOT_DETERMINISTIC = {
    "integer in 1 byte more than needed": "1817",
    "integer in 2 bytes that fits 1": "1900ff",
    "integer in 4 bytes that fits 2": "1a0000ffff",
    "integer in 8 bytes that fits 4": "1b00000000ffffffff",
    "negative integer in 1 byte more than needed": "3800",
    "length in 1 byte more than needed": "580161",
    "text length in 2 bytes": "79000161",
    "array length in 1 byte": "980100",
    "map length in 1 byte": "b8016101",
    "indefinite bytes": "5f4161ff",
    "indefinite text": "7f6161ff",
    "indefinite array": "9f00ff",
    "indefinite map": "bf616100ff",
    "a break": "ff",
    "reserved head 28": "1c",
    "reserved head 30": "1e",
    "duplicate text key": "a2616101616102",
    "duplicate integer key": "a201010102",
    "keys out of order": "a2616201616101",
    "longer key before a shorter": "a2626161016162 02",
    "byte string key": "a1416101",
    "array key": "a1810101",
    "map key": "a1a001",
    "bignum": "c249010000000000000000",
    "bignum of a small number": "c24101",
    "date": "c074323031332d30332d32315432303a30343a30305a",
    "epoch": "c100",
    "regular expression": "d823635b5b28",
    "MIME message": "d82443414243",
    "shared reference to itself": "d81c81d81d00",
    "self-described CBOR": "d9d9f700",
    "embedded CBOR": "d8184100",
    "set": "d901028101",
    "false": "f4",
    "true": "f5",
    "null": "f6",
    "undefined": "f7",
    "simple value": "f820",
    "half float": "f93c00",
    "NaN": "f97e00",
    "double": "fb3ff8000000000000",
    "text that is not UTF-8": "61ff",
    "half a surrogate pair": "63eda080",
    "overlong UTF-8": "62c080",
    "nothing": "",
    "huge byte string": "5b7fffffffffffffff",
    "huge array": "9bffffffffffffffff",
    "huge map": "bb7fffffffffffffff",
    "truncated head": "1a0001",
    "nested too deep": "81" * 9 + "00",
    "nested without end": "81" * 50_000,
    "maps nested without end": "a100" * 25_000,
}


@pytest.mark.parametrize("name", NOT_DETERMINISTIC)
def test_the_reader_refuses(name: str) -> None:
    data = bytes.fromhex(NOT_DETERMINISTIC[name])
    with pytest.raises(AttestationError, match="malformed CBOR"):
        cbor_reader.read(data)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("00", 0), ("17", 23), ("1818", 24), ("18ff", 255), ("190100", 256), ("1a00010000", 65_536),
        ("1bffffffffffffffff", 2**64 - 1), ("20", -1), ("3bffffffffffffffff", -(2**64)),
        ("40", b""), ("4401020304", b"\x01\x02\x03\x04"), ("60", ""), ("62c3bc", "ü"), ("64f0908591", "\U00010151"),
        ("80", []), ("83010203", [1, 2, 3]), ("a0", {}), ("a201020304", {1: 2, 3: 4}),
        ("a26161016162820203", {"a": 1, "b": [2, 3]}), ("a20a002000", {10: 0, -1: 0}),
        ("81" * 8 + "00", [[[[[[[[0]]]]]]]]),
    ],
)  # fmt: skip
def test_the_reader_reads_the_examples_of_rfc_8949_appendix_a(data: str, value: Any) -> None:
    assert cbor_reader.read(bytes.fromhex(data)) == value


ITEMS = st.recursive(
    st.one_of(st.integers(-(2**64), 2**64 - 1), st.binary(max_size=300), st.text(max_size=300)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=30),
        st.dictionaries(st.one_of(st.text(max_size=30), st.integers(-(2**64), 2**64 - 1)), inner, max_size=30),
    ),
    max_leaves=40,
)


def depth(item: Any) -> int:
    parts = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return 1 + max(map(depth, parts), default=-1)


@given(ITEMS.filter(lambda item: depth(item) <= 8))
def test_the_reader_reads_what_cbor2_writes(item: Any) -> None:
    # `canonical` of cbor2 is the length-first order of RFC 7049; both orders agree on texts and, by sign, on integers.
    assert cbor_reader.read(encode(item)) == item


def encode(item: Any) -> bytes:
    """RFC 8949 section 4.2.1 over cbor2's encoding of the leaves."""
    if isinstance(item, list):
        return head(4, len(item)) + b"".join(map(encode, item))
    if isinstance(item, dict):
        return head(5, len(item)) + b"".join(sorted(encode(key) + encode(value) for key, value in item.items()))
    return cbor2.dumps(item)


def head(major: int, count: int) -> bytes:
    first, *rest = cbor2.dumps(count)
    return bytes([first | major << 5, *rest])


@given(st.binary(max_size=200))
@settings(max_examples=500)
@example(b"\xb4")
def test_the_reader_accepts_nothing_but_deterministic_encodings(data: bytes) -> None:
    try:
        item = cbor_reader.read(data)
    except AttestationError:
        return
    assert encode(item) == data


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_decode_of_any_bytes_raises_only_attestation_error(data: bytes) -> None:
    with pytest.raises(AttestationError):
        cbor.decode(data)


@given(st.data())
@settings(max_examples=300)
def test_decode_of_a_spoilt_statement_raises_only_attestation_error_or_gives_another(data: st.DataObject) -> None:
    original = cbor.encode(statement_of())
    start = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(start, min(len(original), start + 12)))
    spoilt = original[:start] + data.draw(st.binary(max_size=12)) + original[end:]
    try:
        statement = cbor.decode(spoilt)
    except AttestationError:
        return
    assert cbor.encode(statement) == spoilt
    assert (statement == statement_of()) == (spoilt == original)
