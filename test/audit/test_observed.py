"""Observed stages: the level that a witness's word gives, in the inference and in every decision behind it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from scenario import Run, certify_all, honest_run

from og_ros.attest import Mode, SoftwareSigner, keys
from og_ros.attest.statement import NO_DIGEST
from og_ros.audit.levels import levels_of
from og_ros.audit.policy import Policy
from og_ros.audit.records import Inference
from og_ros.audit.run import audit_bag
from og_ros.registry import Registry, RegistryWriter

TICKS = 12


@pytest.fixture
def observed(tmp_path: Path) -> tuple[Run, Registry]:
    """A run whose planner is only observed, by a witness that names no model."""
    run = honest_run(TICKS)
    witness = SoftwareSigner(keys.generate())

    def certify(writer: RegistryWriter, run: Run) -> None:
        certify_all(writer, run)
        writer.certify_key(witness.public_key, role="observer", robot="demo", stage="planning", not_before_ns=10**9)

    run.write_registry(tmp_path / "registry", certify)
    run.signers["planning"] = witness
    previous = bytes(32)
    for place, attestation in run.of_stage("planning"):
        run.resign(
            place,
            previous=previous,
            key_id=witness.key_id,
            algorithm=witness.algorithm,
            mode_requested=Mode.OBSERVED,
            mode_used=Mode.OBSERVED,
            model=dataclasses.replace(attestation.statement.model, digest=NO_DIGEST),
        )
        previous = dict(run.of_stage("planning"))[place].digest
    return run, Registry.open(tmp_path / "registry")


def test_an_observed_stage_and_the_decisions_over_it(observed: tuple[Run, Registry], tmp_path: Path) -> None:
    run, registry = observed
    run.write_bag(tmp_path / "bag")
    report = audit_bag(tmp_path / "bag", registry, None, Policy()).as_json()
    assert report["verdict"] == "holds", report["finding_counts"]
    levels = report["levels"]
    assert levels["inference_authenticity"]["stages"] == {
        "perception": "signed", "planning": "observed", "control": "signed"
    }  # fmt: skip
    assert levels["inference_authenticity"]["decisions"]["counts"] == {"observed": TICKS}
    assert levels["model_integrity"]["stages"]["planning"] == "unknown"
    assert levels["data_provenance"]["decisions"]["counts"] == {"linked": TICKS}
    because = levels["inference_authenticity"]["reasons"]["planning"]["because"]
    assert "that one came of the other it cannot know" in because


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("reexecuted", [None, True])
@pytest.mark.parametrize("certified", [False, True])
def test_an_observers_key_never_gives_more(
    mode: Mode, reexecuted: bool | None, certified: bool, observed: tuple[Run, Registry]
) -> None:
    """Whatever the record says, and whatever else was found: who looked on cannot have more than seen it."""
    _, attestation = observed[0].of_stage("control")[-1]
    statement = dataclasses.replace(attestation.statement, mode_used=mode)
    one = Inference(
        dataclasses.replace(attestation, statement=statement), "", 0,
        signed=True, certified=certified, reexecuted=reexecuted, key_role="observer",
    )  # fmt: skip
    levels = levels_of(one)
    assert levels["inference_authenticity"] == "observed"
    assert levels["model_integrity"] == "claimed"
