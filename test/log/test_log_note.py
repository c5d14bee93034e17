"""Signed notes and checkpoints against the vectors of the specification and of golang.org/x/mod/sumdb/note."""

from __future__ import annotations

import base64
import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.errors import LogError
from og_ros.log import Checkpoint, NoteSignature, VerifierKey, open_checkpoint, parse_note, sign_checkpoint, sign_note
from og_ros.log.checkpoint import parse_checkpoint
from og_ros.log.merkle import EMPTY_ROOT

SPEC_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n\u2014 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_LINE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "\u2014 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
ENOCH_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"


@pytest.mark.parametrize(
    "vkey", [SPEC_VKEY, GO_VKEY, ENOCH_VKEY, "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"]
)
def test_published_vkeys_round_trip(vkey: str) -> None:
    assert VerifierKey.parse(vkey).format() == vkey


def test_published_notes_verify_and_sign_alike() -> None:
    parse_note(SPEC_NOTE).verify(VerifierKey.parse(SPEC_VKEY))
    both = parse_note(GO_TEXT + "\n" + GO_LINE + ENOCH_LINE)
    both.verify(VerifierKey.parse(GO_VKEY))
    both.verify(VerifierKey.parse(ENOCH_VKEY))
    ours = sign_note(GO_TEXT, "PeterNeumann", Ed25519PrivateKey.from_private_bytes(GO_SEED))
    assert ours.format() == GO_TEXT + "\n" + GO_LINE
    assert ours.with_signature(both.signatures[1]).format() == both.format()


def test_unknown_signatures_are_kept_and_ignored() -> None:
    extra = NoteSignature("witness.example/w", b"\x01\x02\x03\x04", bytes(72))
    same_name = NoteSignature("example.com/foo", b"\x01\x02\x03\x04", bytes(64))
    note = parse_note(SPEC_NOTE).with_signature(extra).with_signature(same_name)
    again = parse_note(note.format())
    assert again == note
    again.verify(VerifierKey.parse(SPEC_VKEY))


def test_a_wrong_signature_of_a_known_key_rejects_the_note() -> None:
    key = VerifierKey.parse(SPEC_VKEY)
    note = parse_note(SPEC_NOTE)
    for signature in (bytes(64), b"\x01"):
        with pytest.raises(LogError, match="is wrong"):
            note.with_signature(NoteSignature(key.name, key.key_id, signature)).verify(key)
    with pytest.raises(LogError, match="is not signed by"):
        note.verify(VerifierKey.parse(GO_VKEY))
    with pytest.raises(LogError, match="is wrong"):
        parse_note(SPEC_NOTE.replace("example message", "exemple message")).verify(key)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "text\n",
        "text\n\n",
        "text\n\nno dash\n",
        SPEC_NOTE[:-1],
        SPEC_NOTE + "\n",
        SPEC_NOTE.replace("\n", "\r\n"),
        SPEC_NOTE.replace("\u2014", "-"),
        SPEC_NOTE.replace("\u2014", "\u2013"),
        SPEC_NOTE.replace("example.com/foo ", "example.com/foo  "),
        SPEC_NOTE.replace("example.com/foo ", " "),
        SPEC_NOTE.replace("example.com/foo", "example.com\u00a0foo"),
        SPEC_NOTE.replace("example.com/foo", "example.com+foo"),
        SPEC_NOTE.replace("aQM=", "aQM"),
        SPEC_NOTE.replace("aQM=", "aQN="),
        SPEC_NOTE.replace("Uw2Q", "Uw-Q"),
        "text\n\n\u2014 a AAAA\n",
        "te\tt\n\n" + GO_LINE,
        "te\x00t\n\n" + GO_LINE,
        "te\ud800t\n\n" + GO_LINE,
        b"te\xfft\n\n" + GO_LINE.encode(),
        "text\n\n" + GO_LINE * 101,
        "x" * 1_000_001,
    ],
)
def test_malformed_notes_are_refused(note: str | bytes) -> None:
    with pytest.raises(LogError):
        parse_note(note)


def test_malformed_vkeys_are_refused() -> None:
    for start in range(len(GO_VKEY)):
        for stop in range(start + 1, len(GO_VKEY) + 1):
            if stop - start < len(GO_VKEY):
                with pytest.raises(LogError):
                    VerifierKey.parse(GO_VKEY[start:stop])
    for position, char in enumerate(GO_VKEY):
        with pytest.raises(LogError):
            VerifierKey.parse(GO_VKEY[:position] + chr(ord(char) + 1) + GO_VKEY[position + 1 :])
    for vkey in (
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",  # wrong length
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",  # unknown algorithm
        GO_VKEY.upper(),
        GO_VKEY + "\n",
    ):
        with pytest.raises(LogError):
            VerifierKey.parse(vkey)


def test_checkpoint_round_trip_and_origin(key: Ed25519PrivateKey) -> None:
    checkpoint = Checkpoint("example.com/log", 42, bytes(range(32)), ("ext one", "ext two"))
    vkey = VerifierKey.of("example.com/log", key)
    note = sign_checkpoint(checkpoint, key)
    assert note.startswith(
        "example.com/log\n42\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\next one\next two\n\n\u2014 "
    )
    assert open_checkpoint(note, vkey) == open_checkpoint(note.encode(), vkey.format()) == checkpoint
    with pytest.raises(LogError, match="speaks for"):
        open_checkpoint(note, vkey, "example.com/other")
    named = sign_checkpoint(checkpoint, key, name="operator.example")
    operator = VerifierKey.of("operator.example", key)
    with pytest.raises(LogError, match="speaks for"):
        open_checkpoint(named, operator)
    assert open_checkpoint(named, operator, "example.com/log") == checkpoint


ROOT64 = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n1\n",
        f"o\n1\n{ROOT64}",
        f"\n1\n{ROOT64}\n",
        f"o\n01\n{ROOT64}\n",
        f"o\n+1\n{ROOT64}\n",
        f"o\n-1\n{ROOT64}\n",
        f"o\n 1\n{ROOT64}\n",
        f"o\n1_0\n{ROOT64}\n",
        f"o\n\u0661\n{ROOT64}\n",
        f"o\n\u00b2\n{ROOT64}\n",
        f"o\n0x1\n{ROOT64}\n",
        f"o\n\n{ROOT64}\n",
        f"o\n9223372036854775808\n{ROOT64}\n",
        f"o\n{'9' * 5000}\n{ROOT64}\n",
        f"o\n0\n{ROOT64}\n",
        f"o\n1\n{ROOT64[:-1]}\n",
        f"o\n1\n{ROOT64[:-2]}B=\n",
        "o\n1\nAAAA\n",
        f"o\n1\n{ROOT64}\n\n",
        f"o\n1\n{ROOT64}\next\n\next\n",
    ],
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(LogError):
        parse_checkpoint(text)


def test_empty_log_and_largest_size() -> None:
    for size, root in ((0, EMPTY_ROOT), (2**63 - 1, bytes(32))):
        checkpoint = Checkpoint("o", size, root)
        assert parse_checkpoint(checkpoint.text()) == checkpoint


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.binary()), st.integers(0, 200), st.binary(max_size=3))
def test_parsers_raise_nothing_but_log_errors(noise: str | bytes, cut: int, patch: bytes) -> None:
    raw = SPEC_NOTE.encode()
    mutant = raw[:cut] + patch + raw[cut + len(patch) :]
    texts = [noise if isinstance(noise, str) else noise.decode("latin-1"), mutant.decode("utf-8", "replace")]
    for call in (
        *(lambda value=value: parse_note(value).verify(VerifierKey.parse(SPEC_VKEY)) for value in (noise, mutant)),
        *(lambda text=text: VerifierKey.parse(text) for text in texts),
        *(lambda text=text: parse_checkpoint(text) for text in texts),
    ):
        with contextlib.suppress(LogError):
            call()
