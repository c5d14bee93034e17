"""The certificate rules: each problem has its kind, and a stage's start and an audit never disagree about one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from attest_examples import STATEMENT

from og_ros.attest import Algorithm, SoftwareSigner, Statement, cose, keys
from og_ros.attest.statement import NO_DIGEST
from og_ros.audit.certificates import check
from og_ros.audit.findings import KINDS
from og_ros.audit.records import Inference
from og_ros.errors import RegistryError
from og_ros.registry import RegistryWriter
from og_ros.registry.rules import key_problems, model_certificate, model_problems
from og_ros.stages.certified import require_certified

NOW = 1_790_000_000 * 10**9
DAY = 86_400 * 10**9
STAGE, LOG = SoftwareSigner(keys.generate()), SoftwareSigner(keys.generate(Algorithm.EDDSA))


def registry_at(directory: Path, *, revoked: str = "", **model: Any) -> RegistryWriter:
    """Return a registry that certifies the example's model and the key STAGE for a day around NOW."""
    writer = RegistryWriter.create(directory, SoftwareSigner(keys.generate()), "acme", now_ns=NOW - DAY)
    span = {"not_before_ns": NOW - DAY, "not_after_ns": NOW + DAY}
    ours = STATEMENT.model
    options = {"stages": (STATEMENT.stage,), **span, **model}
    writer.certify_model(ours.name, ours.version, ours.digest, **options)
    writer.certify_key(STAGE.public_key, robot=STATEMENT.robot, stage=STATEMENT.stage, **span)
    writer.certify_key(LOG.public_key, role="log", origin="acme/log", **span)
    if revoked == "key":
        writer.revoke_key(STAGE.key_id, "stolen", at_ns=NOW - DAY // 2)
    if revoked == "model":
        writer.revoke_model(ours.digest, "unsafe", at_ns=NOW - DAY // 2)
    return writer


def signed(signer: SoftwareSigner = STAGE, **changes: Any) -> Statement:
    known = {"key_id": signer.key_id, "algorithm": signer.algorithm, "signed_at_ns": NOW}
    return replace(STATEMENT, **{**known, **changes})


MODEL = STATEMENT.model
OTHER_PROCESSING = replace(STATEMENT.runtime, processing_digest=b"o" * 32)


@pytest.mark.parametrize(
    ("registry", "signer", "changes", "kinds", "words"),
    [
        ({}, STAGE, {}, [], []),
        ({}, SoftwareSigner(keys.generate()), {}, ["unregistered_key"], ["is not in the registry"]),
        ({}, LOG, {}, ["key_wrong_stage"], ["for the role log, not for stage perception of robot robot-7"]),
        ({}, STAGE, {"robot": "b"}, ["key_wrong_robot"], ["of robot robot-7, not for stage perception of robot b"]),
        (
            {"stages": ()},
            STAGE,
            {"stage": "x"},
            ["key_wrong_stage"],
            ["for stage perception of robot robot-7, not for stage x"],
        ),
        (
            {},
            STAGE,
            {"stage": "x", "robot": "b"},
            ["key_wrong_stage", "key_wrong_robot", "model_wrong_stage"],
            ["", "", "not for stage x"],
        ),
        (
            {"stages": ()},
            STAGE,
            {"signed_at_ns": NOW - 2 * DAY},
            ["key_not_yet_valid", "model_not_yet_valid"],
            ["it begins at"] * 2,
        ),
        ({"stages": ()}, STAGE, {"signed_at_ns": NOW + 2 * DAY}, ["key_expired", "model_expired"], ["expired at"] * 2),
        ({"revoked": "key"}, STAGE, {}, ["key_revoked"], ["(stolen); its use at"]),
        ({"revoked": "key"}, STAGE, {"signed_at_ns": NOW - DAY // 2 - 1}, [], []),
        ({"revoked": "model"}, STAGE, {}, ["model_revoked"], ["(unsafe); its use at"]),
        ({}, STAGE, {"model": replace(MODEL, digest=b"x" * 32)}, ["model_not_certified"], ["were never certified"]),
        (
            {},
            STAGE,
            {"model": replace(MODEL, version="2")},
            ["model_misnamed"],
            ["is certified as line_perception@1.0.0"],
        ),
        ({"stages": ("a", "b")}, STAGE, {}, ["model_wrong_stage"], ["is certified for a, b, not for stage perception"]),
        ({"processing_digest": STATEMENT.runtime.processing_digest}, STAGE, {}, [], []),
        ({"processing_digest": b"p" * 32}, STAGE, {}, ["processing_not_certified"], ["other pre- or post-processing"]),
        ({"processing_digest": NO_DIGEST}, STAGE, {}, ["processing_not_certified"], ["other pre- or post-processing"]),
        ({}, STAGE, {"runtime": OTHER_PROCESSING}, [], []),
    ],
)
def test_start_and_audit_judge_alike(
    registry: dict[str, Any], signer: SoftwareSigner, changes: dict[str, Any], kinds: list[str], words: list[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    known = registry_at(tmp_path / "registry", **registry).registry
    statement = signed(signer, **changes)
    at_ns = statement.signed_at_ns
    problems = (
        *key_problems(known, statement.key_id, robot=statement.robot, stage=statement.stage, at_ns=at_ns),
        *model_problems(
            known,
            statement.model,
            stage=statement.stage,
            processing_digest=statement.runtime.processing_digest,
            at_ns=at_ns,
        ),
    )
    assert [problem.kind for problem in problems] == kinds
    assert all(problem.kind in KINDS and problem.remedy for problem in problems)
    for problem, text in zip(problems, words, strict=True):
        assert text in problem.sentence

    inference = Inference(cose.sign(statement, signer), "/t", at_ns)
    findings = list(check(inference, known))
    assert [finding.kind for finding in findings] == kinds
    assert [finding.message for finding in findings] == [f"stage {statement.stage}: {p.sentence}" for p in problems]
    assert inference.signed == (not any(kind.startswith("key") or kind == "unregistered_key" for kind in kinds))
    assert inference.certified == (not any(kind.startswith(("model", "processing")) for kind in kinds))

    asked = {name: getattr(statement, name) for name in ("robot", "stage", "model", "runtime", "key_id")}
    if not kinds:
        require_certified(known, **asked, now_ns=at_ns)
        return
    with pytest.raises(RegistryError) as caught:
        require_certified(known, **asked, now_ns=at_ns)
    assert problems[0].sentence in str(caught.value)
    assert str(tmp_path / "registry") in str(caught.value)


def test_signature_comes_before_the_certificate(tmp_path: Path) -> None:
    """Of a record that its key did not sign, nothing else about the key is said."""
    known = registry_at(tmp_path / "registry").registry
    good = cose.sign(signed(), STAGE)
    forged = cose.seal(replace(good.statement, robot="b"), good.signature)
    inference = Inference(forged, "/t", NOW)
    assert [finding.kind for finding in check(inference, known)] == ["signature_invalid"]
    assert inference.signed is False


def test_certificate_of_a_model_is_by_name_version_and_digest(tmp_path: Path) -> None:
    known = registry_at(tmp_path / "registry").registry
    found = model_certificate(known, MODEL)
    assert found is not None
    assert found.certifier == "acme"
    assert model_certificate(known, replace(MODEL, digest=b"x" * 32)) is None
    assert model_certificate(known, replace(MODEL, name="x")) is None
