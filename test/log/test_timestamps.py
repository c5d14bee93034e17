"""RFC 3161 time stamps of checkpoints: made by openssl, verified by ours and by openssl, and forged in vain."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from time_stamp_authority import TimeStampAuthority

from og_ros.errors import ConfigError, LogError
from og_ros.log import Ledger
from og_ros.log.timestamps import Stamper, Timestamps, load_roots, request_stamp, verify_stamp

pytest.importorskip("rfc3161_client", reason="og_ros[timestamps] is not installed")
NOTE = "example.com/log\n1\nAAAA\n\n— example.com/log AAAA\n".encode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimeStampAuthority]:
    made = TimeStampAuthority(tmp_path_factory.mktemp("tsa") / "one")
    yield made
    made.close()


@pytest.fixture(scope="module")
def stamp(authority: TimeStampAuthority) -> bytes:
    return request_stamp(authority.url, NOTE, load_roots(authority.root))


def test_it_says_no_later_than_and_who(authority: TimeStampAuthority, stamp: bytes) -> None:
    latest_ns, name = verify_stamp(NOTE, stamp, load_roots(authority.root))
    assert name == "CN=a test's time"
    # The authority's second begins before now, and it is 1.5 s exact.
    assert -60 < latest_ns / 1e9 - time.time() < 1.6


def test_another_root_or_note_is_refused(authority: TimeStampAuthority, stamp: bytes, tmp_path: Path) -> None:
    other = TimeStampAuthority(tmp_path / "other")
    other.close()
    with pytest.raises(LogError, match="does not hold"):
        verify_stamp(NOTE, stamp, load_roots(other.root))
    with pytest.raises(LogError, match="not of this checkpoint"):
        verify_stamp(NOTE + b"x", stamp, load_roots(authority.root))
    assert verify_stamp(NOTE, stamp, [*load_roots(other.root), *load_roots(authority.root)] * 2)


def test_a_stamp_that_answers_another_request_is_refused(
    authority: TimeStampAuthority, stamp: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authority, "answer", lambda query: stamp)
    with pytest.raises(LogError, match="another request"):
        request_stamp(authority.url, NOTE)
    for noise in (b"", b"\x30\x03\x02\x01\x02", b"x" * 70_000, bytes.fromhex("30053003020102")):
        monkeypatch.setattr(authority, "answer", lambda query, noise=noise: noise)
        with pytest.raises(LogError):
            request_stamp(authority.url, NOTE)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_changed_stamp_says_another_time(authority: TimeStampAuthority, stamp: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(stamp) - 1))
    mutant = bytearray(stamp)
    mutant[place] ^= data.draw(st.integers(1, 255))
    roots = load_roots(authority.root)
    try:
        assert verify_stamp(NOTE, bytes(mutant), roots)[0] == verify_stamp(NOTE, stamp, roots)[0]
    except LogError as error:
        assert "\n" not in str(error)  # noqa: PT017  it need not be raised


def test_a_ledger_is_stamped_now_and_then_and_openssl_agrees(ledger: Ledger, authority: TimeStampAuthority) -> None:
    said: list[str] = []
    stamper = Stamper(ledger.directory, authority.url, 1000.0, load_roots(authority.root), said.append)
    stamper.step()
    assert stamper.is_behind()
    ledger.append([b"a"])
    ledger.checkpoint()
    stamper.step()
    before = authority.requests
    assert not stamper.is_behind()
    ledger.append([b"b"])
    ledger.checkpoint()
    stamper.step()
    assert authority.requests == before, "not due yet"
    assert stamper.is_behind()
    Stamper(ledger.directory, authority.url, 1000.0, [], said.append).step()
    kept = list(Timestamps(ledger.directory).all())
    assert [file.name for file, _, _ in kept] == ["1.checkpoint", "2.checkpoint"]
    for file, note, response in kept:
        assert verify_stamp(note, response, load_roots(authority.root))
        command = ["openssl", "ts", "-verify", "-data", file, "-in", file.with_suffix(".tsr")]
        done = subprocess.run([*command, "-CAfile", authority.root], capture_output=True, text=True, check=False)
        assert "Verification: OK" in done.stdout, done.stderr
    ledger.verify()


def test_an_authority_that_is_down_is_asked_again_later(ledger: Ledger) -> None:
    said: list[str] = []
    ledger.append([b"a"])
    ledger.checkpoint()
    stamper = Stamper(ledger.directory, "http://127.0.0.1:9/", 1000.0, [], said.append)
    stamper.step()
    stamper.step()
    assert len(said) == 1
    assert "does not answer" in said[0]
    assert not (ledger.directory / "stamped").exists()


def test_roots(stamp: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_roots(tmp_path / "none.pem")
    (tmp_path / "empty.pem").write_bytes(b"")
    with pytest.raises(ConfigError, match="no certificate"):
        load_roots(tmp_path / "empty.pem")
    with pytest.raises(LogError, match="does not hold"):
        verify_stamp(NOTE, stamp, [])
