"""Keys that the registry admits only with evidence: what is certified then, and what is refused with which reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from og_ros.attest import SoftwareSigner, keys
from og_ros.cli.main import main
from og_ros.errors import RegistryError
from og_ros.evidence import evidence_file
from og_ros.evidence.binding import Context
from og_ros.evidence.interface import Evidence
from og_ros.evidence.software import SoftwareAttester
from og_ros.registry import Admission, Registry, RegistryWriter, entry

POLICY = """\
version: 1
evidence: {max_age_s: 300}
stages:
  control: {execution_environment: LEVEL}
"""
Certify = Callable[..., tuple[int, str]]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A registry, its authority, a key with its evidence, and policies that demand different levels."""
    authority, key = keys.generate(), keys.generate()
    keys.save_private(authority, tmp_path / "authority.pem")
    keys.save_private(key, tmp_path / "control.pem")
    (tmp_path / "control.pub").write_text(keys.public_pem(key.public_key()))
    RegistryWriter.create(tmp_path / "registry", SoftwareSigner(authority), "fleet").close()
    for level in ("software_key", "measured"):
        (tmp_path / f"{level}.yaml").write_text(POLICY.replace("LEVEL", level))
    write(tmp_path, collect(key))
    return tmp_path


def collect(key: Any, robot: str = "r", stage: str = "control") -> Evidence:
    attester = SoftwareAttester(SoftwareSigner(key))
    return attester.attest(keys.spki(key.public_key()), bytes(32), Context(robot, stage))


def write(place: Path, evidence: Evidence) -> None:
    (place / "control.evidence").write_bytes(evidence_file.encode(evidence))


@pytest.fixture
def certify(place: Path, capsys: pytest.CaptureFixture[str]) -> Certify:
    def run(policy: str = "", evidence: bool = True, *more: str) -> tuple[int, str]:
        arguments = ["keys", "certify", str(place / "control.pub"), "--registry", str(place / "registry"), "--json"]
        arguments += ["--authority", str(place / "authority.pem"), "--robot", "r", "--stage", "control", *more]
        arguments += ["--evidence-policy", str(place / f"{policy}.yaml")] if policy else []
        arguments += ["--evidence", str(place / "control.evidence")] if evidence else []
        capsys.readouterr()
        code = main(arguments)
        shown = capsys.readouterr()
        return code, shown.out if code == 0 else shown.err

    return run


def test_what_was_found_is_certified_with_the_key(place: Path, certify: Certify) -> None:
    code, shown = certify("software_key", True, "--evidence-result", str(place / "result.json"))
    assert code == 0, shown
    told = json.loads(shown)["evidence"]
    assert (told["format"], told["level"], told["key_provenance"]) == ("software", "software_key", "software")
    assert told["result"] == f"sha256:{sha256((place / 'result.json').read_bytes()).hexdigest()}"
    assert json.loads((place / "result.json").read_text())["og_ros"]["level"] == "software_key"
    registry = Registry.open(place / "registry")
    (key,) = registry.keys.values()
    assert key.admission is not None
    assert key.admission.verified_at_ns <= key.admission.valid_until_ns


def test_show_prints_it(place: Path, certify: Certify, capsys: pytest.CaptureFixture[str]) -> None:
    assert certify("software_key")[0] == 0
    (key,) = Registry.open(place / "registry").keys.values()
    capsys.readouterr()
    assert main(["registry", "show", str(place / "registry"), key.key_id.hex()]) == 0
    assert json.loads(capsys.readouterr().out)["evidence"]["level"] == "software_key"


@pytest.mark.parametrize(
    ("policy", "evidence", "words"),
    [
        ("measured", True, "shows the level software_key, and measured is needed"),
        ("measured", False, "the policy demands execution_environment measured of stage control"),
        ("", True, "--evidence needs --evidence-policy"),
    ],
)
def test_a_key_is_refused_that_does_not_reach_the_policy(
    place: Path, certify: Certify, policy: str, evidence: bool, words: str
) -> None:
    code, error = certify(policy, evidence)
    assert code == 2
    assert words in error
    assert len(error.strip().splitlines()) == 1
    assert not Registry.open(place / "registry").keys


def test_a_policy_that_asks_for_nothing_more_takes_a_bare_key(place: Path, certify: Certify) -> None:
    assert certify("software_key", False)[0] == 0
    (key,) = Registry.open(place / "registry").keys.values()
    assert key.admission is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: replace(e, key=keys.spki(keys.generate().public_key())), "of another key than the one"),
        (lambda e: replace(e, context=Context("other", "control")), "stage control of robot other"),
        (lambda e: replace(e, nonce=bytes(31) + b"\1"), "not_bound"),
        (lambda e: replace(e, document=e.document[:-1]), "malformed"),
        (lambda e: replace(e, format="tpm3"), "no verifier"),
    ],
)
def test_evidence_that_does_not_hold_admits_nobody(
    place: Path, certify: Certify, change: Callable[[Evidence], Evidence], words: str
) -> None:
    write(place, change(evidence_file.decode((place / "control.evidence").read_bytes())))
    code, error = certify("software_key")
    assert code == 2
    assert words in error
    assert not Registry.open(place / "registry").keys


def test_old_evidence_admits_nobody(place: Path, certify: Certify, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    now = time.time_ns()
    monkeypatch.setattr("og_ros.cli.keys.time.time_ns", lambda: now + 301 * 10**9)
    code, error = certify("software_key")
    assert code == 2
    assert "too_old" in error


ADMISSION = Admission("made", "tee", "tee", 10**18, 2 * 10**18, bytes(32), b"\1" * 32, "made 1")


def payload(place: Path, admission: Admission | None) -> bytes:
    public_key = keys.parse_public((place / "control.pub").read_text())
    with RegistryWriter.open(place / "registry", SoftwareSigner.load(place / "authority.pem")) as writer:
        return entry.encode_key(writer.certify_key(public_key, robot="r", stage="control", admission=admission))


def test_a_certificate_without_evidence_is_as_it_was(place: Path) -> None:
    """Registries of before must read, and be read by software of before."""
    tree = json.loads(payload(place, None))
    assert "evidence" not in tree
    assert entry.decode_key(json.dumps(tree).encode(), "x").admission is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("level", "none"),
        ("level", "perfect"),
        ("policy", "sha256:00"),
        ("verified_at", "yesterday"),
        ("format", "Сoftware"),
        ("verifier", "a\nb"),
        ("more", "x"),
        ("result", 5),
    ],
)
def test_a_malformed_verdict_is_refused(place: Path, name: str, value: object) -> None:
    tree = json.loads(payload(place, ADMISSION))
    assert entry.decode_key(json.dumps(tree).encode(), "x").admission == ADMISSION
    tree["evidence"][name] = value
    with pytest.raises(RegistryError, match="evidence"):
        entry.decode_key(json.dumps(tree, ensure_ascii=False).encode(), "x")
