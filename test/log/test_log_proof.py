"""Self-contained proofs (tlog-proof): round trip, mutations, and proofs made and checked by another program."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_tools import log_tool

from og_ros.errors import LogError
from og_ros.log import Ledger, format_proof, parse_proof, verify_proof

# Made by spicy-torchwood 0.9.0 for the entries b"hello" and b"world"; that release wrote no header line.
SPICY_VKEY = "example.com/spicy+eaf07fcb+AffUSkrWEtj3zSBHWg1gi1XtOhxr7dFo0Ysj4t+oH83Q"
SPICY_HELLO = (
    "c2sp.org/tlog-proof@v1\nindex 0\n\nexample.com/spicy\n1\niipcm3aIJ95alVLDigRMZpWcaPbS8htSYK9U0vh9uCc=\n\n"
    "\u2014 example.com/spicy "
    "6vB/ywOZR7FbiG7Uv/i+MSerM0RedcOZBRV/5EuiyD8nWVd9UdR50PVwYFwe+O9hA00z+qfybKwsUtjhA3sr4dSKYwY=\n"
)
SPICY_WORLD = (
    "c2sp.org/tlog-proof@v1\nindex 1\niipcm3aIJ95alVLDigRMZpWcaPbS8htSYK9U0vh9uCc=\n\n"
    "example.com/spicy\n2\nJCMzOarc7fKH0mJBPwPAKOuNs5ft0yooeAkRUbmb8g8=\n\n"
    "\u2014 example.com/spicy "
    "6vB/y6groEvtbIXNjLaJDNfkbH0OJ8+nQRIXa35hizMRhWHgQU3sx7O25hqGfb/rV8vCKp3O8+m3AptO6W+WBXLG9wc=\n"
)


def test_proofs_of_another_program_verify() -> None:
    assert verify_proof(b"hello", SPICY_HELLO, SPICY_VKEY).size == 1
    assert verify_proof(b"world", SPICY_WORLD.encode(), SPICY_VKEY).size == 2
    for leaf, proof in ((b"world", SPICY_HELLO), (b"hello", SPICY_WORLD), (b"", SPICY_WORLD)):
        with pytest.raises(LogError):
            verify_proof(leaf, proof, SPICY_VKEY)


def test_round_trip_with_extra_data() -> None:
    parsed = parse_proof(SPICY_WORLD)
    again = format_proof(parsed.index, parsed.hashes, parsed.checkpoint, b"context")
    assert again.startswith("c2sp.org/tlog-proof@v1\nextra Y29udGV4dA==\nindex 1\n")
    assert parse_proof(again).extra == b"context"
    assert verify_proof(b"world", again, SPICY_VKEY) == verify_proof(b"world", SPICY_WORLD, SPICY_VKEY)
    assert format_proof(parsed.index, parsed.hashes, parsed.checkpoint) == SPICY_WORLD


def test_a_ledger_proves_each_leaf(ledger: Ledger) -> None:
    leaves = [b"leaf %d" % n for n in range(300)]
    ledger.append(leaves)
    ledger.checkpoint()
    ledger.append([b"later"])
    for index in (0, 1, 127, 255, 256, 299):
        checkpoint = verify_proof(leaves[index], ledger.export_proof(index), ledger.vkey)
        assert (checkpoint.size, checkpoint.root) == (300, ledger.root(300))
    for index in (300, -1, 10**30):
        with pytest.raises(LogError):
            ledger.export_proof(index)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("c2sp.org/tlog-proof@v1\n", ""),
        ("@v1", "@v2"),
        ("index 1", "index 01"),
        ("index 1", "index 2"),
        ("index 1", "index 0"),
        ("index 1", "index -1"),
        ("index 1", "index  1"),
        ("index 1\n", ""),
        ("index 1", "index 1\r"),
        ("index 1", "extra @@@\nindex 1"),
        ("index 1", "index 1\nextra AAAA"),
        ("index 1\n", "index 1\n\n"),
        ("iipcm3aIJ95a", "iipcm3aIJ95b"),
        ("uCc=\n", "uCc=\niipcm3aIJ95alVLDigRMZpWcaPbS8htSYK9U0vh9uCc=\n"),
        ("uCc=\n", "uCc=\n" + "iipcm3aIJ95alVLDigRMZpWcaPbS8htSYK9U0vh9uCc=\n" * 63),
        ("uCc=", "uCd="),
        ("\n2\n", "\n3\n"),
        ("\n\n", "\n"),
        ("example.com/spicy\n", "example.com/other\n"),
    ],
)
def test_altered_proofs_are_refused(old: str, new: str) -> None:
    assert old in SPICY_WORLD
    with pytest.raises(LogError):
        verify_proof(b"world", SPICY_WORLD.replace(old, new, 1), SPICY_VKEY)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SPICY_WORLD)), st.text(max_size=4), st.integers(0, 6))
def test_no_mutation_verifies_or_escapes(position: int, patch: str, removed: int) -> None:
    mutant = SPICY_WORLD[:position] + patch + SPICY_WORLD[position + removed :]
    try:
        verify_proof(b"world", mutant, SPICY_VKEY)
    except LogError:
        return
    assert parse_proof(mutant).hashes == parse_proof(SPICY_WORLD).hashes  # a harmless change, such as of extra data


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.binary()))
def test_noise_is_a_log_error(noise: str | bytes) -> None:
    with pytest.raises(LogError):
        parse_proof(noise)


def test_another_program_verifies_our_proof(ledger: Ledger, tmp_path: Path) -> None:
    spicy = log_tool("spicy-torchwood")
    leaves = [b"leaf %d" % n for n in range(300)]
    ledger.append(leaves)
    ledger.checkpoint()
    file = tmp_path / "leaf"
    file.write_bytes(leaves[77])
    proof = ledger.export_proof(77)
    header, _, headless = proof.partition("\n")
    accepted = []
    for text in (proof, headless):  # release 0.9.0 of the command predates the header line
        file.with_name("leaf.spicy").write_text(text)
        accepted.append(subprocess.run([spicy, "-verify", ledger.vkey, str(file)], capture_output=True).returncode == 0)
    assert header == "c2sp.org/tlog-proof@v1"
    assert any(accepted)
    file.write_bytes(b"forged")
    for text in (proof, headless):
        file.with_name("leaf.spicy").write_text(text)
        assert subprocess.run([spicy, "-verify", ledger.vkey, str(file)], capture_output=True).returncode != 0
