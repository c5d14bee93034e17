"""Sealed messages: they open for their recipients as they were, and no bit of them can be changed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.attest import Algorithm, digest, keys
from og_ros.attest.content_key import ContentKey, ContentKeys, KeyRing, load_recipient_key, load_recipients
from og_ros.attest.seal_order import SealOrder
from og_ros.attest.sealed_wire import (
    Seal,
    Sealed,
    TopicDefinition,
    read_definition,
    read_seal,
    read_sealed,
    write_definition,
    write_seal,
    write_sealed,
)
from og_ros.attest.sealing import Sealer, _associated, open_sealed
from og_ros.attest.statement import Disclosure
from og_ros.errors import AttestationError, KeyFileError, OgError, SealError

KIND, TOPIC, AT = "sensor_msgs/msg/Image", "/camera/image", 1_700_000_000_123_456_789
PRIVATE = ec.generate_private_key(ec.SECP256R1())
SECRET = bytes(range(32))


def sealed(payload: bytes, secret: bytes | None = None) -> tuple[bytes, bytes]:
    """Return a serialised SealedMessage and its Seal."""
    message, seal = Sealer([PRIVATE.public_key()]).seal(TOPIC, KIND, payload, AT, 5, secret)
    assert seal is not None
    return write_sealed(message), write_seal(seal)


def opened(
    message: bytes, seal: bytes, topic: str = TOPIC, at: int = AT, key: ec.EllipticCurvePrivateKey = PRIVATE
) -> bytes:
    ring = KeyRing(key)
    ring.learn(read_seal(seal))
    return open_sealed(ring, topic, at, read_sealed(message))


@given(st.binary(max_size=200).map(b"\0\1\0\0".__add__), st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_was_sealed_opens_as_it_was(payload: bytes, committed: bool) -> None:
    message, seal = sealed(payload, SECRET if committed else None)
    found = read_sealed(message)
    assert opened(message, seal) == payload
    assert (found.type, found.stamp_ns, found.size) == (KIND, 5, (len(payload) + 3) & ~3)
    if committed:
        assert found.disclosure == Disclosure.COMMITTED
        assert digest(payload) not in message
    else:
        assert found.digest == digest(payload)


@pytest.mark.parametrize("secret", [None, SECRET], ids=["clear", "committed"])
def test_no_bit_can_be_changed(secret: bytes | None) -> None:
    message, seal = sealed(b"\0\1\0\0" + b"stop the robot", secret)  # 18 bytes: the record ends in padding
    assert opened(message, seal)
    for record, is_message in ((message, True), (seal, False)):
        for bit in range(8 * len(record)):
            changed = bytearray(record)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(AttestationError):
                opened(*((bytes(changed), seal) if is_message else (message, bytes(changed))))


def test_topic_time_and_key_are_bound() -> None:
    message, seal = sealed(b"\0\1\0\0hallo...")
    stranger = ec.generate_private_key(ec.SECP256R1())
    for changes in ({"topic": "/other"}, {"at": AT + 1}, {"at": -1}, {"at": 2**64}, {"topic": "\ud800"}):
        with pytest.raises(SealError):
            opened(message, seal, **changes)  # type: ignore[arg-type]
    with pytest.raises(SealError, match="for other recipients"):
        opened(message, seal, key=stranger)
    with pytest.raises(SealError, match="Seal with its content key 0 is missing"):
        open_sealed(KeyRing(PRIVATE), TOPIC, AT, read_sealed(message))


def test_a_recorder_that_seals_a_lie_is_named() -> None:
    keys_ = ContentKeys([PRIVATE.public_key()])
    key, seal = keys_.renew()
    payload = b"\0\1\0\0what it is.."
    lie = Sealed(key.seal, key.number, key.counter, KIND, digest(b"\0\1\0\0something else"), 16, b"")
    lie = replace(lie, ciphertext=key.encrypt(payload, _associated(TOPIC, AT, lie)))
    with pytest.raises(SealError, match="sealed a lie"):
        opened(write_sealed(lie), write_seal(seal))


def test_every_recipient_opens_and_a_false_seal_in_front_changes_nothing() -> None:
    others = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    sealer = Sealer([key.public_key() for key in others])
    message, seal = sealer.seal(TOPIC, KIND, b"\0\1\0\0hallo...", AT)
    assert seal is not None
    assert sealer.seal(TOPIC, KIND, b"\0\1\0\0hallo...", AT)[1] is None, "one Seal a content key"
    false = ContentKey(seal.seal, seal.key_number).wrap([key.public_key() for key in others])
    for key in others:
        ring = KeyRing(key)
        for found in (false, seal, false):
            ring.learn(found)
        assert open_sealed(ring, TOPIC, AT, message) == b"\0\1\0\0hallo..."


def test_no_nonce_comes_twice_under_a_key() -> None:
    """Many starts, many renewals: a pair of content key and nonce is used once."""
    used: set[tuple[bytes, int, int]] = set()
    wrapped: set[bytes] = set()
    for _ in range(40):
        sealer = Sealer([PRIVATE.public_key()], period_s=1e-9)
        for _ in range(5):
            message, seal = sealer.seal(TOPIC, KIND, b"\0\1\0\0same", AT)
            assert seal is not None
            wrapped.add(seal.keys[0].wrapped)
            used.add((message.seal, message.key_number, message.counter))
    assert len(used) == len(wrapped) == 200
    key = ContentKey(os.urandom(16), 7)
    plain = [key.encrypt(b"same", b"") for _ in range(1000)]
    assert len(set(plain)) == 1000
    assert key.counter == 1000


def test_another_implementation_opens_it() -> None:
    """RFC 9180 and the page on formats, step by step, on hashlib-like primitives only."""
    message, seal = sealed(b"\0\1\0\0hallo...")
    found, wrapped = read_sealed(message), read_seal(seal)
    info = b"og_ros content key v1\0" + found.seal + bytes(4) + wrapped.made_ns.to_bytes(8, "big")
    content_key = hpke_open(wrapped.keys[0].wrapped, info)
    nonce = found.key_number.to_bytes(4, "big") + found.counter.to_bytes(8, "big")
    topic = TOPIC.encode()
    place = AT.to_bytes(8, "big") + len(topic).to_bytes(2, "big") + topic
    head = message[: -len(found.ciphertext) - 4]
    associated = b"og_ros sealed message v1\0" + place + head
    assert AESGCM(content_key).decrypt(nonce, bytes(found.ciphertext), associated) == b"\0\1\0\0hallo..."


def hpke_open(wrapped: bytes, info: bytes) -> bytes:
    """HPKE base mode, single shot (RFC 9180, 4.1, 5.1, 6.1): DHKEM(P-256), HKDF-SHA256, AES-256-GCM."""
    enc, ciphertext = wrapped[:65], wrapped[65:]
    shared = PRIVATE.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), enc))
    own = PRIVATE.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    kem = b"KEM" + (0x0010).to_bytes(2, "big")
    prk = labeled_extract(b"", kem, b"eae_prk", shared)
    secret = labeled_expand(prk, kem, b"shared_secret", enc + own, 32)
    suite = b"HPKE" + b"".join(n.to_bytes(2, "big") for n in (0x0010, 0x0001, 0x0002))
    context = b"\0" + labeled_extract(b"", suite, b"psk_id_hash", b"") + labeled_extract(b"", suite, b"info_hash", info)
    main = labeled_extract(secret, suite, b"secret", b"")
    key, nonce = (labeled_expand(main, suite, name, context, n) for name, n in ((b"key", 32), (b"base_nonce", 12)))
    return AESGCM(key).decrypt(nonce, ciphertext, b"")


def labeled_extract(salt: bytes, suite: bytes, label: bytes, data: bytes) -> bytes:
    return hmac_sha256(salt or bytes(32), b"HPKE-v1" + suite + label + data)


def labeled_expand(prk: bytes, suite: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return hmac_sha256(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info + b"\1")[:length]


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    state = hmac.HMAC(key, hashes.SHA256())
    state.update(data)
    return state.finalize()


MESSAGE, SEAL = sealed(b"\0\1\0\0" + bytes(30))
DEFINITION = write_definition(TopicDefinition("/t", KIND, "RIHS01_" + 64 * "a", "uint8 x\n"))
READERS = [(read_sealed, MESSAGE), (read_seal, SEAL), (read_definition, DEFINITION)]


@pytest.mark.parametrize(("read", "sample"), READERS, ids=["message", "seal", "definition"])
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_readers_let_no_other_error_out(read: object, sample: bytes, data: st.DataObject) -> None:
    damaged = bytearray(sample)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
        if not damaged:
            break
    payload = bytes(damaged) + data.draw(st.binary(max_size=3))
    try:
        found = read(payload)  # type: ignore[operator]
    except AttestationError:
        return
    write = {Sealed: write_sealed, Seal: write_seal, TopicDefinition: write_definition}[type(found)]
    assert write(found).rstrip(b"\0") == payload.rstrip(b"\0"), "what is read has one form"


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=60))
def test_order_tells_gaps_and_repeats(places: list[tuple[int, int]]) -> None:
    order, seen = SealOrder(), set()
    for number, counter in places:
        first = order.add(Sealed(b"s" * 16, number, counter, KIND, bytes(32), 4, b""))
        assert first == ((number, counter) not in seen)
        seen.add((number, counter))
    expected = []
    numbers = {number for number, _ in seen}
    for number in numbers:
        found = {c for n, c in seen if n == number}
        if max(found) + 1 != len(found):
            expected.append((number, max(found) + 1 - len(found)))
    if numbers and len(numbers) <= max(numbers):
        expected.append((min(set(range(3)) - numbers), 1))
    assert order.gaps() == sorted(expected)
    halves = SealOrder(), SealOrder()
    for index, (number, counter) in enumerate(dict.fromkeys(places)):
        halves[index % 2].add(Sealed(b"s" * 16, number, counter, KIND, bytes(32), 4, b""))
    assert halves[0].merge(halves[1])
    assert halves[0].gaps() == order.gaps()
    assert not places or not order.merge(halves[0])


def test_keys_of_the_wrong_kind_are_refused(tmp_path: Path) -> None:
    signing = keys.generate(Algorithm.EDDSA)
    keys.save_private(signing, tmp_path / "ed.pem")
    (tmp_path / "ed.pub").write_text(keys.public_pem(signing.public_key()))
    with pytest.raises(KeyFileError, match="only signs"):
        load_recipients([tmp_path / "ed.pub"])
    with pytest.raises(KeyFileError, match="only signs"):
        load_recipient_key(tmp_path / "ed.pem")
    with pytest.raises(KeyFileError, match="0 recipients"):
        load_recipients([])
    with pytest.raises(OgError):
        Sealer([PRIVATE.public_key()]).seal(TOPIC, KIND, b"abc", AT)
