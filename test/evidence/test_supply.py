"""Where a node's evidence comes from: made each time, or from a file when that changed; never of another key."""

from __future__ import annotations

from pathlib import Path

import pytest

from og_ros.attest import SoftwareSigner, keys
from og_ros.errors import EvidenceError
from og_ros.evidence import attesters, evidence_file
from og_ros.evidence.attesters import attester
from og_ros.evidence.binding import Context
from og_ros.evidence.software import SoftwareAttester
from og_ros.evidence.supply import Supply

SIGNER = SoftwareSigner(keys.generate())
KEY, CONTEXT = keys.spki(SIGNER.public_key), Context("r", "control")


def write(path: Path, signer: SoftwareSigner = SIGNER, context: Context = CONTEXT) -> None:
    made = SoftwareAttester(signer).attest(keys.spki(signer.public_key), bytes(32), context)
    path.write_bytes(evidence_file.encode(made))


def test_an_attester_is_asked_each_time_with_another_nonce() -> None:
    supply = Supply(KEY, CONTEXT, attester(SIGNER, "software"))
    first, second = supply.next(), supply.next()
    assert first is not None
    assert second is not None
    assert first.key == KEY
    assert first.nonce != second.nonce


def test_a_file_is_given_once_and_again_when_it_changed(tmp_path: Path) -> None:
    file = tmp_path / "control.evidence"
    write(file)
    supply = Supply(KEY, CONTEXT, file=file)
    first = supply.next()
    assert first is not None
    assert supply.next() is None
    file.unlink()
    write(file)
    again = supply.next()
    assert again is not None
    assert again.document != first.document


@pytest.mark.parametrize(
    ("signer", "context", "words"),
    [
        (SoftwareSigner(keys.generate()), CONTEXT, "evidence of another key"),
        (SIGNER, Context("r", "planning"), "made for stage planning of robot r"),
    ],
    ids=["key", "stage"],
)
def test_a_file_of_another_key_or_stage_is_refused(
    tmp_path: Path, signer: SoftwareSigner, context: Context, words: str
) -> None:
    file = tmp_path / "control.evidence"
    write(file, signer, context)
    with pytest.raises(EvidenceError, match=words):
        Supply(KEY, CONTEXT, file=file).next()


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="gone"):
        Supply(KEY, CONTEXT, file=tmp_path / "gone").next()


def test_a_plug_in_brings_an_attester(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name = "made"

        @staticmethod
        def load() -> object:
            return SoftwareAttester

    monkeypatch.setattr(attesters, "entry_points", lambda group: [Point()] if group == attesters.GROUP else [])
    assert isinstance(attester(SIGNER, "made"), SoftwareAttester)
    with pytest.raises(EvidenceError, match=r"no attester for 'other'; there are .*made"):
        attester(SIGNER, "other")
