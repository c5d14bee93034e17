"""The bounds and the types of a statement: what check() lets be signed, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from attest_examples import COMMAND, IMAGE, statement_of
from attest_strategies import statements
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from og_ros.attest import Disclosure, Statement
from og_ros.attest.statement import MAX_TIME_NS, NO_DIGEST, TEXT_BOUNDS, check
from og_ros.errors import AttestationError

Change = Callable[[Statement, Any], Statement]

# How to change each field, by the name that an error gives it.
TOP_TEXTS = ("robot", "stage", "node")
MODEL_TEXTS = ("name", "version", "format", "digest_algorithm")
RUNTIME_TEXTS = ("name", "version", "provider", "options", "cpu")
REFERENCE_TEXTS = ("topic", "type", "digest_algorithm")
UNSIGNED = ("sequence", "start_monotonic_ns", "duration_ns")
TIMES = ("start_ns", "signed_at_ns")


def top(name: str) -> Change:
    return lambda statement, value: replace(statement, **{name: value})


def model(name: str) -> Change:
    return lambda statement, value: replace(statement, model=replace(statement.model, **{name: value}))


def runtime(name: str) -> Change:
    return lambda statement, value: replace(statement, runtime=replace(statement.runtime, **{name: value}))


def source(name: str) -> Change:
    return lambda statement, value: replace(statement, inputs=(IMAGE, replace(IMAGE, **{name: value})))


def result(name: str) -> Change:
    return lambda statement, value: replace(statement, outputs=(COMMAND, replace(COMMAND, **{name: value})))


TEXTS: list[tuple[str, Change]] = [
    *((name, top(name)) for name in TOP_TEXTS),
    *((name if name == "digest_algorithm" else f"model.{name}", model(name)) for name in MODEL_TEXTS),
    *((f"runtime.{name}", runtime(name)) for name in RUNTIME_TEXTS),
    *((name, source(name)) for name in REFERENCE_TEXTS),
    *((name, result(name)) for name in REFERENCE_TEXTS),
]
REQUIRED = {"robot", "stage", "node", "model.name", "model.format", "digest_algorithm", "topic", "type"}
INTEGERS: list[tuple[str, Change, int]] = [
    *((name, top(name), 2**64 - 1) for name in UNSIGNED),
    *((name.removesuffix("_ns"), top(name), MAX_TIME_NS) for name in TIMES),
    ("size", source("size"), 2**64 - 1),
    ("size", result("size"), 2**64 - 1),
    ("stamp", source("stamp_ns"), MAX_TIME_NS),
]
BYTES: list[tuple[str, Change, int]] = [
    ("session", top("session"), 16),
    ("previous", top("previous"), 32),
    ("key_id", top("key_id"), 32),
    ("model.digest", model("digest"), 32),
    ("runtime.processing_digest", runtime("processing_digest"), 32),
    ("inputs.digest", source("digest"), 32),
    ("outputs.digest", result("digest"), 32),
    ("inputs.attestation", source("attestation"), 32),
]
MEMBERS: list[tuple[str, Change]] = [
    *((name, top(name)) for name in ("clock", "mode_requested", "mode_used", "algorithm")),
    ("disclosure", source("disclosure")),
    ("disclosure", result("disclosure")),
]


@given(statements())
@settings(max_examples=30)
def test_every_statement_within_bounds_is_accepted(statement: Statement) -> None:
    check(statement)


@pytest.mark.parametrize(("name", "change"), TEXTS)
@pytest.mark.parametrize("char", ["a", "é", "路", "🤖"])
def test_text_is_bounded_in_bytes_of_utf8(name: str, change: Change, char: str) -> None:
    bound, width = TEXT_BOUNDS[name], len(char.encode())
    longest = char * (bound // width) + "a" * (bound % width)
    check(change(statement_of(), longest))
    with pytest.raises(AttestationError, match=f"{name} is {bound + 1} bytes long; {bound} are allowed"):
        check(change(statement_of(), longest + "a"))


@pytest.mark.parametrize(("name", "change"), TEXTS)
def test_only_optional_text_may_be_empty(name: str, change: Change) -> None:
    if name not in REQUIRED:
        check(change(statement_of(), ""))
        return
    with pytest.raises(AttestationError, match=f"{name} is empty"):
        check(change(statement_of(), ""))


@pytest.mark.parametrize(
    "char",
    list("\0\t\n\r\x1b\x7f\x85\x9b\xad\u200b\u2028\u202e\u2066\ufeff\uffff\U000e0041"),
    ids=ascii,
)
@pytest.mark.parametrize(("name", "change"), TEXTS[::4])
def test_text_with_a_hidden_character_is_refused_and_not_shown(name: str, change: Change, char: str) -> None:
    with pytest.raises(AttestationError, match=f"{name} has a control or hidden character") as caught:
        check(change(statement_of(), f"a{char}b"))
    assert char not in str(caught.value)


@pytest.mark.parametrize("text", ["Müller", "ロボット", "روبوت", "क्षि", "🤖", "a b", "\U00031350", "\ue000"])
def test_text_of_any_script_is_allowed_whatever_the_unicode_version(text: str) -> None:
    check(statement_of(robot=text))


def test_text_with_half_a_character_is_refused() -> None:
    with pytest.raises(AttestationError, match="robot is not valid Unicode"):
        check(statement_of(robot="a\ud800"))


@pytest.mark.parametrize(("name", "change", "most"), INTEGERS)
def test_integers_are_bounded(name: str, change: Change, most: int) -> None:
    check(change(statement_of(), most))
    for value in (-1, most + 1):
        with pytest.raises(AttestationError, match=f"{name} is {value}"):
            check(change(statement_of(), value))


@pytest.mark.parametrize(("name", "change", "most"), INTEGERS)
@pytest.mark.parametrize("value", [1.0, True, np.int64(1), "1", None], ids=repr)
def test_integers_are_of_type_int(name: str, change: Change, most: int, value: Any) -> None:
    with pytest.raises(AttestationError, match=f"{name} is a .*must be an int"):
        check(change(statement_of(), value))


@pytest.mark.parametrize(("name", "change", "size"), BYTES)
def test_digests_and_ids_have_one_size(name: str, change: Change, size: int) -> None:
    check(change(statement_of(), b"\x01" * size))
    for wrong in (size - 1, size + 1):
        with pytest.raises(AttestationError, match=f"{name} is {wrong} bytes long; it must be {size}"):
            check(change(statement_of(), b"\x01" * wrong))


@pytest.mark.parametrize(("name", "change", "size"), BYTES)
@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: data.decode(), np.frombuffer, lambda data: None])
def test_digests_and_ids_are_of_type_bytes(name: str, change: Change, size: int, kind: Callable[[bytes], Any]) -> None:
    value = kind(b"a" * size) if kind is not np.frombuffer else np.frombuffer(b"a" * size, np.uint8)
    with pytest.raises((AttestationError), match=f"{name} is a .*must be bytes"):
        check(change(statement_of(), value))


@pytest.mark.parametrize(("name", "change"), TEXTS)
@pytest.mark.parametrize("value", [b"a", 1, None, np.str_("a")], ids=repr)
def test_text_is_of_type_str(name: str, change: Change, value: Any) -> None:
    with pytest.raises(AttestationError, match=f"{name} is a .*must be a str"):
        check(change(statement_of(), value))


@pytest.mark.parametrize(("name", "change"), MEMBERS)
@pytest.mark.parametrize("value", [0, 1, -7, 99, True, 1.0, None], ids=repr)
def test_enumerations_are_members(name: str, change: Change, value: Any) -> None:
    with pytest.raises(AttestationError, match=f"{name} is .*must be a member"):
        check(change(statement_of(), value))


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_each_side_has_a_bounded_number_of_references(side: str) -> None:
    """A source has no inputs: data begins with it."""
    reference, fewest = (IMAGE, 0) if side == "inputs" else (COMMAND, 1)
    for count in (fewest, 1, 32):
        check(statement_of(**{side: (reference,) * count}))
    for count in (fewest - 1, 33):
        if count < 0:
            continue
        with pytest.raises(AttestationError, match=f"{side} has {count} references; {fewest} to 32"):
            check(statement_of(**{side: (reference,) * count}))
    with pytest.raises(AttestationError, match=f"{side} is a list; it must be a tuple"):
        check(statement_of(**{side: [reference]}))


def test_previous_is_zero_at_the_start_and_only_there() -> None:
    check(statement_of(sequence=0, previous=NO_DIGEST))
    for sequence, previous in ((0, b"\x01" * 32), (1, NO_DIGEST), (2**64 - 1, NO_DIGEST)):
        with pytest.raises(AttestationError, match="previous must be zero at sequence 0 and only there"):
            check(statement_of(sequence=sequence, previous=previous))


def test_an_output_names_no_attestation() -> None:
    with pytest.raises(AttestationError, match="an output names no attestation"):
        check(result("attestation")(statement_of(), b"\x01" * 32))


@pytest.mark.parametrize("change", [source, result])
def test_a_digest_is_zero_when_it_is_absent_and_only_then(change: Callable[[str], Change]) -> None:
    statement = change("disclosure")(statement_of(), Disclosure.ABSENT)
    with pytest.raises(AttestationError, match="all zero when disclosure is ABSENT"):
        check(statement)
    with pytest.raises(AttestationError, match="all zero when disclosure is ABSENT"):
        check(change("digest")(statement_of(), NO_DIGEST))


@pytest.mark.parametrize("version", [0, 2, -1])
def test_another_format_version_is_refused(version: int) -> None:
    with pytest.raises(AttestationError, match=f"format_version is {version}; this software knows 1"):
        check(statement_of(format_version=version))


@given(
    st.sampled_from([field.name for field in fields(Statement) if field.name not in ("model", "runtime")]),
    st.sampled_from([None, object(), (), {}, "", b"", -1]),
)
def test_no_wrong_value_of_a_plain_field_escapes_as_another_error(name: str, value: Any) -> None:
    assume(name != "inputs" or value != ())
    with pytest.raises(AttestationError):
        check(statement_of(**{name: value}))
