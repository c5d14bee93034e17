"""The wire form as others write and read it: rclpy's serialisation, and rosbags by the text of msg/*.msg."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attest_examples import attestation_of, signer_of
from attest_strategies import attestations
from hypothesis import given, settings
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from og_ros.attest import ATTESTATION_TYPE, Algorithm, Attestation, decode_attestation, encode_attestation, verify

MESSAGES = Path(__file__).parents[2] / "msg"
TIMES = {"start_ns": "start", "signed_at_ns": "signed_at", "stamp_ns": "stamp"}


def fields_of(attestation: Attestation) -> dict[str, Any]:
    """The message's fields by name: times as (s, ns), octets as arrays, records as maps."""

    def plain(tree: dict[str, Any]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, value in tree.items():
            if name in TIMES:
                fields[TIMES[name]] = divmod(value, 10**9)
            elif isinstance(value, bytes):
                fields[name] = np.frombuffer(value, np.uint8)
            elif isinstance(value, dict):
                fields[name] = plain(value)
            elif isinstance(value, (tuple, list)):
                fields[name] = [plain(item) for item in value]
            else:
                fields[name] = int(value) if isinstance(value, int) else value
        return fields

    return {**plain(asdict(attestation.statement)), "signature": np.frombuffer(attestation.signature, np.uint8)}


@pytest.fixture(scope="module")
def typestore() -> Any:
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for file in sorted(MESSAGES.glob("*.msg")):
        types.update(get_types_from_msg(file.read_text(), f"og_ros/msg/{file.stem}"))
    store.register(types)
    return store


def rosbags_message(store: Any, fields: dict[str, Any], name: str = ATTESTATION_TYPE) -> Any:
    kinds = {"model": "ModelReference", "runtime": "Runtime", "inputs": "DataReference", "outputs": "DataReference"}
    made: dict[str, Any] = {}
    for field, value in fields.items():
        if isinstance(value, tuple):
            made[field] = store.types["builtin_interfaces/msg/Time"](sec=value[0], nanosec=value[1])
        elif isinstance(value, dict):
            made[field] = rosbags_message(store, value, f"og_ros/msg/{kinds[field]}")
        elif isinstance(value, list):
            made[field] = [rosbags_message(store, item, f"og_ros/msg/{kinds[field]}") for item in value]
        else:
            made[field] = value
    return store.types[name](**made)


@given(attestation=attestations())
@settings(max_examples=15)
def test_rosbags_by_the_message_definitions(typestore: Any, attestation: Attestation) -> None:
    message = rosbags_message(typestore, fields_of(attestation))
    for little_endian in (True, False):
        payload = bytes(typestore.serialize_cdr(message, ATTESTATION_TYPE, little_endian=little_endian))
        assert decode_attestation(payload) == attestation
    ours = encode_attestation(attestation)
    read = typestore.deserialize_cdr(ours, ATTESTATION_TYPE)
    assert bytes(typestore.serialize_cdr(read, ATTESTATION_TYPE)).ljust(len(ours), b"\0") == ours


@pytest.fixture(scope="module")
def ros() -> Any:
    pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS here")
    return pytest.importorskip("og_ros.msg", reason="og_ros.msg was not built: see `make setup`")


def rclpy_message(ros: Any, fields: dict[str, Any], kind: str = "Attestation") -> Any:
    from builtin_interfaces.msg import Time

    kinds = {"model": "ModelReference", "runtime": "Runtime", "inputs": "DataReference", "outputs": "DataReference"}
    message = getattr(ros, kind)()
    for field, value in fields.items():
        if isinstance(value, tuple):
            value = Time(sec=value[0], nanosec=value[1])
        elif isinstance(value, dict):
            value = rclpy_message(ros, value, kinds[field])
        elif isinstance(value, list):
            value = [rclpy_message(ros, item, kinds[field]) for item in value]
        setattr(message, field, value)
    return message


@given(attestation=attestations())
@settings(max_examples=15)
def test_rclpy_serialises_what_we_read_and_reads_what_we_write(ros: Any, attestation: Attestation) -> None:
    from rclpy.serialization import deserialize_message, serialize_message

    typed = rclpy_message(ros, fields_of(attestation))
    payload = serialize_message(typed)
    assert decode_attestation(payload) == attestation
    read = deserialize_message(encode_attestation(attestation), ros.Attestation)
    assert read == typed


def test_the_unpublished_constants_agree(ros: Any) -> None:
    from og_ros.attest import Clock, Disclosure, Mode
    from og_ros.attest.statement import FORMAT_VERSION

    assert ros.Attestation.FORMAT_VERSION == FORMAT_VERSION
    for prefix, kind, message in (
        ("CLOCK_", Clock, ros.Attestation),
        ("MODE_", Mode, ros.Attestation),
        ("", Disclosure, ros.DataReference),
    ):
        for member in kind:
            assert getattr(message, prefix + member.name) == member


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_a_signature_survives_rclpy(ros: Any, algorithm: Algorithm) -> None:
    from rclpy.serialization import serialize_message

    payload = serialize_message(rclpy_message(ros, fields_of(attestation_of(algorithm))))
    verify(decode_attestation(payload), signer_of(algorithm).public_key)
