"""Fuzz: whatever bytes stand in a registry, its readers raise RegistryError or give a value; times and paths hold."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_registry import Made, make

from og_ros.attest import SoftwareSigner, keys
from og_ros.attest.statement import Algorithm
from og_ros.errors import RegistryError
from og_ros.registry import Registry, dsse, entry, openssf, strict_json
from og_ros.registry.names import check_name
from og_ros.registry.timestamp import MAX_TIME_NS, format_time, parse_time, read_time

KEY = keys.generate().public_key()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
READERS: dict[str, Callable[[bytes], object]] = {
    "envelope": lambda data: dsse.parse(data, "it", 65_536),
    "root": lambda data: entry.decode_root(data, "it"),
    "model": lambda data: entry.decode_model(entry.payload_type("model"), data, "it"),
    "imported-model": lambda data: entry.decode_model(entry.payload_type("imported-model"), data, "it"),
    "key": lambda data: entry.decode_key(data, "it"),
    "revocation": lambda data: entry.decode_revocation(data, "it"),
    "index": lambda data: entry.decode_index(data, "it"),
    "bundle": lambda data: openssf.verify_bundle(data, KEY, "it"),
}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("once") / "registry")


def payloads(made: Made) -> dict[str, Any]:
    """A good payload of each kind."""
    found: dict[str, Any] = {}
    for path in [made.directory / entry.INDEX_PATH, *made.directory.glob("*/*.json")]:
        tree = json.loads(path.read_bytes())
        kind = tree["payloadType"].split("og-ros.")[1].removesuffix("+json")
        found[kind] = json.loads(base64.b64decode(tree["payload"]))
    return found


@pytest.mark.parametrize("kind", READERS)
@given(data=st.binary(max_size=200) | JSON.map(lambda tree: json.dumps(tree).encode()))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_a_value_or_a_registry_error(kind: str, data: bytes) -> None:
    with pytest.raises(RegistryError):
        READERS[kind](data)


@pytest.mark.parametrize("kind", ["root", "model", "key", "revocation", "index"])
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_good_payload_with_one_field_exchanged(once: Made, kind: str, data: st.DataObject) -> None:
    tree = payloads(once)[kind]
    READERS[kind](json.dumps(tree).encode())
    tree[data.draw(st.sampled_from(sorted(tree)))] = data.draw(JSON)
    with contextlib.suppress(RegistryError):
        READERS[kind](json.dumps(tree).encode())


@given(data=st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_byte_of_one_file_changed_is_always_refused(once: Made, data: st.DataObject) -> None:
    files = sorted([once.directory / entry.INDEX_PATH, *once.directory.glob("*/*.json")])
    file: Path = data.draw(st.sampled_from(files))
    good = file.read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != good[place]))
    file.write_bytes(good[:place] + bytes([byte]) + good[place + 1 :])
    try:
        if file.name == entry.INDEX_PATH and _same_meaning(good, file.read_bytes()):
            return  # white space of the one file that nothing else lists
        with pytest.raises(RegistryError):
            Registry.open(once.directory)
    finally:
        file.write_bytes(good)


def _same_meaning(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


@given(st.text(max_size=140))
def test_a_name_is_plain_ascii_or_refused(name: str) -> None:
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/+-")
    if name and len(name) <= 128 and set(name) <= allowed:
        assert check_name("it", name) == name
    else:
        with pytest.raises(RegistryError):
            check_name("it", name)


@given(st.integers(0, MAX_TIME_NS))
def test_a_time_survives_to_the_nanosecond(nanoseconds: int) -> None:
    text = format_time(nanoseconds)
    assert parse_time(text, "it") == nanoseconds == read_time(text, "it")
    assert read_time(f"{text[:19]}Z", "it") == nanoseconds // 10**9 * 10**9


@given(st.text(max_size=40) | st.from_regex(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{9}Z", fullmatch=True))
def test_any_text_is_a_time_or_a_registry_error(text: str) -> None:
    for reader in (parse_time, read_time):
        with contextlib.suppress(RegistryError):
            assert 0 <= reader(text, "it") <= MAX_TIME_NS


@given(st.binary(max_size=100), st.sampled_from(["a", "application/vnd.in-toto+json"]))
def test_pae_is_that_of_the_specification(payload: bytes, kind: str) -> None:
    assert dsse.pae(kind, payload) == f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload


def test_pae_of_the_specifications_example() -> None:
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == expected


@pytest.mark.parametrize("algorithm", [Algorithm.ES256, Algorithm.EDDSA])
def test_an_envelope_survives_and_holds_for_its_key_alone(algorithm: Algorithm) -> None:
    signer, other = SoftwareSigner(keys.generate(algorithm)), SoftwareSigner(keys.generate(algorithm))
    envelope = dsse.parse(dsse.sign("text/plain", b"hello", signer), "it", 65_536)
    assert (envelope.payload_type, envelope.payload) == ("text/plain", b"hello")
    dsse.verify(envelope, signer.public_key, "it")
    with pytest.raises(RegistryError, match="does not hold"):
        dsse.verify(envelope, other.public_key, "it")


@given(JSON)
def test_strict_json_reads_what_any_writer_writes(tree: Any) -> None:
    data = json.dumps(tree).encode()
    if b"NaN" in data or b"Infinity" in data:
        return
    assert strict_json.loads(data, "it", 65_536) == tree
