"""og-ros keys and og-ros log: a hybrid log from its key files to its change of keys, by the commands alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from og_ros.attest import keys, ml_dsa
from og_ros.cli.main import main
from og_ros.log import Ledger
from og_ros.log.log_keys import LogSigner

ORIGIN = "example.com/robot-7"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


class Place:
    """A registry with its authority, and pairs of key files made by the command."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory, self._capsys = directory, capsys
        self.registry, self.authority = directory / "registry", directory / "authority.pem"
        self.run("keys", "generate", self.authority)
        self.run("registry", "init", self.registry, "--authority", self.authority, "--name", "fleet")
        self.writer = ("--registry", self.registry, "--authority", self.authority)

    def run(self, *arguments: object, expected: int = 0) -> str:
        code, out, errors = run(self._capsys, *arguments)
        assert code == expected, errors
        return out if expected == 0 else out + errors

    def pair(self, number: int) -> tuple[Path, Path]:
        first, second = (self.directory / f"{name}-{number}.pem" for name in ("log", "pq"))
        self.run("keys", "generate", first, "--algorithm", "EdDSA")
        self.run("keys", "generate", second, "--algorithm", "ML-DSA-65")
        return first, second

    def certify(self, first: Path, second: Path | None = None) -> None:
        beside = ("--post-quantum", f"{second}.pub") if second else ()
        self.run(
            "keys", "certify", f"{first}.pub", "--role", "log", "--origin", ORIGIN, *beside, *self.writer
        )  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    return Place(tmp_path, capsys)


def signer(first: Path, second: Path | None = None) -> LogSigner:
    return LogSigner(keys.load_private(first), ml_dsa.load_private(second) if second else None)  # type: ignore[arg-type]


def test_a_log_goes_from_one_pair_to_the_next(place: Place, tmp_path: Path) -> None:
    old, new = place.pair(1), place.pair(2)
    place.certify(*old)
    shown = json.loads(place.run("keys", "list", "--registry", place.registry, "--json"))
    assert shown[0]["post_quantum"] == Path(f"{old[1]}.pub").read_text()
    log = tmp_path / "log"
    before = signer(*old)
    with Ledger.create(log, ORIGIN, before.classical, before.post_quantum) as ledger:
        ledger.append([b"leaf"])
        ledger.checkpoint()
    trust = ("--registry", place.registry)
    assert "signed hybrid" in place.run("log", "verify", log, *trust)

    change = ["log", "change-keys", log, "--log-key", old[0], "--new-key", new[0], *trust]
    both = [*change, "--post-quantum-key", old[1], "--new-post-quantum-key", new[1]]
    assert "has a second signature of the log" in place.run(*change, expected=2)
    assert "new key is not certified" in place.run(*both, expected=2)
    place.certify(*new)
    text = place.run(*change, "--post-quantum-key", old[1], expected=2)
    assert "names an ML-DSA-65 key, which is to be given too" in text
    assert json.loads(place.run(*both, "--json"))["leaf"] == 1
    told = json.loads(place.run("log", "show", log, "--json"))
    vkeys = [place.run("keys", "show", path, "--origin", ORIGIN).splitlines()[-1].split()[1] for path in new]
    assert [told["keys"][-1]["vkey"], told["keys"][-1]["post_quantum"]] == vkeys
    assert "new keys     at leaf 1" in place.run("log", "show", log)
    assert json.loads(place.run("log", "verify", log, *trust, "--json"))["signatures"] == "hybrid"
    assert "consistent" in place.run("log", "consistency", log, 1, 2)


def test_a_revoked_key_names_no_successor(place: Place, tmp_path: Path) -> None:
    old, new = place.pair(1), place.pair(2)
    for one in (old, new):
        place.certify(*one)
    first = signer(*old)
    with Ledger.create(tmp_path / "log", ORIGIN, first.classical, first.post_quantum) as ledger:
        ledger.append([b"leaf"])
        ledger.checkpoint()
    identity = keys.key_id(first.classical.public_key()).hex()
    place.run("keys", "revoke", identity, *place.writer, "--reason", "stolen")
    text = place.run(
        "log", "change-keys", tmp_path / "log", "--log-key", old[0], "--post-quantum-key", old[1],
        "--new-key", new[0], "--new-post-quantum-key", new[1], "--registry", place.registry, expected=2,
    )  # fmt: skip
    assert text.strip().endswith(f"the present key of the log {ORIGIN} is revoked")
    with Ledger.open(tmp_path / "log") as ledger:
        assert ledger.size == 1


def test_only_a_log_has_a_second_key(place: Place) -> None:
    first, second = place.pair(1)
    text = place.run(
        "keys", "certify", f"{first}.pub", "--role", "witness", "--origin", "w", "--post-quantum", f"{second}.pub",
        *place.writer, expected=2,
    )  # fmt: skip
    assert "only a key of role log" in text
    text = place.run("keys", "certify", f"{second}.pub", "--role", "log", "--origin", "w", *place.writer, expected=2)
    assert len(text.strip().splitlines()) == 1
    text = place.run(
        "keys", "certify", f"{first}.pub", "--role", "log", "--origin", "w", "--post-quantum", f"{first}.pub",
        *place.writer, expected=2,
    )  # fmt: skip
    assert "is no ML-DSA-65 key" in text
