"""Environments in an audit: what evidence of a key is worth, when, and what contradicts it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_evidence import HOUR_NS, MadeVerifier, claiming, made, publish, with_evidence
from scenario import MODELS, Run, certify_all, honest_run

from og_ros.attest import Mode, SoftwareSigner, keys
from og_ros.audit import appraiser
from og_ros.audit.pack import PackOptions, verify_pack, write_pack
from og_ros.audit.policy import Policy, StageDemands
from og_ros.audit.run import audit_bag
from og_ros.errors import EvidenceError, PackError
from og_ros.evidence.binding import Context
from og_ros.evidence.interface import AppraisalPolicy, Evidence
from og_ros.evidence.message import EvidenceMessage, decode_message, encode_message, evidence_topic
from og_ros.registry import Admission, Registry, RegistryWriter

TICKS = 4
APPRAISING = Policy(max_loss=1.0, evidence=AppraisalPolicy())
Audit = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def made_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    real = appraiser.verifier
    monkeypatch.setattr(appraiser, "verifier", lambda kind: MadeVerifier() if kind == "made" else real(kind))


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    def run_it(run: Run, policy: Policy = APPRAISING, certify: Any = None, **options: Any) -> dict[str, Any]:
        place = tmp_path / os.urandom(4).hex()
        run.write_registry(place / "registry", certify)
        run.write_bag(place / "bag")
        registry = Registry.open(place / "registry")
        return audit_bag(place / "bag", registry, None, policy, **options).as_json()

    return run_it


def kinds(report: dict[str, Any]) -> set[str]:
    return set(report["finding_counts"])


def level(report: dict[str, Any], stage: str = "control") -> str:
    found: str = report["levels"]["execution_environment"]["stages"][stage]
    return found


def test_evidence_raises_the_levels_of_what_its_key_signs(audit: Audit) -> None:
    report = audit(with_evidence(honest_run(TICKS)))
    assert kinds(report) == set()
    assert report["levels"]["execution_environment"]["decisions"]["lowest"] == "tee"
    assert report["levels"]["inference_authenticity"]["lowest"] == "tee"
    reason = report["levels"]["execution_environment"]["reasons"]["control"]
    assert any("made evidence of" in line for line in reason["evidence"])
    assert [one["stage"] for one in report["environments"]] == ["control", "perception", "planning"]
    assert {one["tier"] for one in report["environments"]} == {"affirming"}
    assert any("whether the tests tell the truth" in note for note in report["not_checked"])
    assert any("as of its recording" in note for note in report["not_checked"])


def test_a_measured_key_raises_the_environment_and_not_the_inference(audit: Audit) -> None:
    report = audit(with_evidence(honest_run(TICKS), level="measured"))
    assert report["levels"]["execution_environment"]["lowest"] == "measured"
    assert report["levels"]["inference_authenticity"]["lowest"] == "signed"


def test_without_evidence_a_key_is_a_software_key_and_the_report_says_so(audit: Audit) -> None:
    report = audit(honest_run(TICKS))
    assert level(report) == "software_key"
    assert "environments" not in report
    assert any("no evidence was read" in note for note in report["not_checked"])


def test_a_policy_without_a_section_appraises_nothing_but_says_so(audit: Audit) -> None:
    report = audit(with_evidence(honest_run(TICKS)), Policy(max_loss=1.0))
    assert kinds(report) == set()
    assert level(report) == "software_key"
    assert any("no section `evidence`" in note for note in report["not_checked"])


def test_a_demanded_level_that_evidence_does_not_reach_is_below_the_policy(audit: Audit) -> None:
    demands = {"control": StageDemands(levels={"execution_environment": "measured"})}
    policy = replace(APPRAISING, stages=demands)
    assert "below_policy" in kinds(audit(honest_run(TICKS), policy))
    assert kinds(audit(with_evidence(honest_run(TICKS)), policy)) == set()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_label_of_tee_needs_evidence_of_one(audit: Audit, jobs: int) -> None:
    run = with_evidence(honest_run(TICKS), level="measured")
    place, _ = run.of_stage("control")[1]
    run.resign(place, mode_requested=Mode.TEE, mode_used=Mode.TEE)
    report = audit(run, jobs=jobs)
    told = [f["message"] for f in report["findings"] if f["kind"] == "overclaimed"]
    assert len(told) == 1
    assert "claims mode tee, but there is only made evidence" in told[0]
    honest = with_evidence(honest_run(TICKS))
    place, _ = honest.of_stage("control")[-1]
    honest.resign(place, mode_requested=Mode.TEE, mode_used=Mode.TEE)
    assert "overclaimed" not in kinds(audit(honest, jobs=jobs))


def start(run: Run) -> int:
    return run.records[0].received_ns - 10**9


def of_another_key(run: Run) -> None:
    """The evidence of another key, said to be of the stage's own."""
    other = Run(signers={"control": SoftwareSigner(keys.generate())})
    evidence = made(other, "control", start(run))
    publish(run, claiming(evidence, key=keys.spki(run.signers["control"].public_key)), "control", start(run))


def of_a_stranger(run: Run) -> None:
    """The evidence of a key that nobody certified."""
    publish(
        run,
        made(Run(signers={"control": SoftwareSigner(keys.generate())}), "control", start(run)),
        "control",
        start(run),
    )


def of_another_stage(run: Run) -> None:
    """The evidence of the planner's key, said to be for the controller."""
    publish(run, claiming(made(run, "planning", start(run)), context=Context("demo", "control")), "control", start(run))


def for_another_robot(run: Run) -> None:
    """Evidence that names another robot than its key's certificate does."""
    publish(run, claiming(made(run, "control", start(run)), context=Context("demo2", "control")), "control", start(run))


def too_old(run: Run) -> None:
    """Evidence of the day before, replayed."""
    publish(run, made(run, "control", start(run) - 24 * HOUR_NS), "control", start(run))


def run_out(run: Run) -> None:
    """Evidence that was not renewed: it ends before the run begins."""
    publish(run, made(run, "control", start(run) - 120 * 10**9, valid_s=1.0), "control", start(run) - 100 * 10**9)


def debug(run: Run) -> None:
    """What the platform says speaks against itself."""
    publish(run, made(run, "control", start(run), against=("debug",)), "control", start(run))


def another_model(run: Run) -> None:
    """The environment was measured with another model."""
    publish(run, made(run, "control", start(run), models=["00" * 32]), "control", start(run))


def another_adapter(run: Run) -> None:
    """The environment was measured with another adapter."""
    publish(run, made(run, "control", start(run), processing=["00" * 32]), "control", start(run))


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (of_another_key, "evidence_other_key"),
        (of_a_stranger, "evidence_other_key"),
        (of_another_stage, "evidence_other_key"),
        (for_another_robot, "evidence_other_robot"),
        (too_old, "evidence_stale"),
        (run_out, "evidence_stale"),
        (debug, "evidence_refused"),
        (another_model, "environment_drift"),
        (another_adapter, "environment_drift"),
    ],
)
def test_evidence_that_does_not_fit_is_named_and_raises_nothing(
    audit: Audit, change: Callable[[Run], None], kind: str
) -> None:
    run = honest_run(TICKS)
    change(run)
    report = audit(run)
    assert kinds(report) == {kind}
    assert all("control" in f["message"] for f in report["findings"])
    if kind != "environment_drift":
        assert level(report) == "software_key"


def test_evidence_of_another_robot_beside_ones_own_records_is_named(audit: Audit) -> None:
    """Robot B's evidence holds for B's key; it is found where A's stage plays it beside its own records."""
    run, other = honest_run(TICKS), honest_run(1, robot="demo2")
    publish(run, made(other, "control", start(run)), "control", start(run))

    def both(writer: RegistryWriter, one: Run) -> None:
        certify_all(writer, one)
        key = other.signers["control"].public_key
        writer.certify_key(key, robot="demo2", stage="control", not_before_ns=10**9)

    report = audit(run, certify=both)
    assert kinds(report) == {"evidence_other_robot"}
    assert "robot demo2" in report["findings"][0]["message"]


def test_what_cannot_be_read_is_refused(audit: Audit) -> None:
    run = honest_run(TICKS)
    record = publish(run, made(run, "control", start(run)), "control", start(run))
    run.records[run.records.index(record)] = replace(record, payload=record.payload[:-9])
    assert kinds(audit(run)) == {"evidence_refused"}


def test_junk_takes_nothing_from_good_evidence(audit: Audit) -> None:
    """Anybody on the network can publish evidence; it is named, and the stage's own still counts."""
    run = with_evidence(honest_run(TICKS))
    of_another_key(run)
    debug(run)
    report = audit(run)
    assert kinds(report) == {"evidence_other_key", "evidence_refused"}
    assert level(report) == "tee"


ROOT = Path(appraiser.__file__).parents[1] / "evidence" / "roots" / "aws-nitro.pem"
WITH_ROOT = "version: 1\nmax_loss: 1\nevidence:\n  roots: {amazon: trusted/root.pem}\n"


def test_a_flood_of_junk_pushes_out_nothing(audit: Audit) -> None:
    """Refused evidence, and the stage's own with other words around it, a hundred times each."""
    run = with_evidence(honest_run(TICKS))
    own = made(run, "control", start(run))
    for number in range(100):
        publish(run, made(run, "control", start(run), against=("debug",)), "control", start(run) + number)
        publish(run, own, "control", start(run) + number, node=f"/control{number}")
    report = audit(run)
    assert kinds(report) == {"evidence_refused"}
    assert level(report) == "tee"


def test_a_pack_carries_the_evidence_and_what_it_was_held_against(tmp_path: Path) -> None:
    """Without the data, too; who verifies needs no file of the packer's machine, and takes none of his own."""
    run = with_evidence(honest_run(TICKS))
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    (tmp_path / "trusted").mkdir()
    (tmp_path / "trusted" / "root.pem").write_bytes(ROOT.read_bytes())
    (tmp_path / "policy.yaml").write_text(WITH_ROOT)
    options = PackOptions(policy=tmp_path / "policy.yaml", with_data=False)
    written = write_pack(tmp_path / "bag", tmp_path / "registry", tmp_path / "case.ogpack", options)
    assert {one["level"] for one in written.report["environments"]} == {"tee"}
    (tmp_path / "trusted" / "root.pem").unlink()
    verified = verify_pack(tmp_path / "case.ogpack")
    assert verified.findings == ()
    assert not any("no check reads" in note for note in verified.not_checked)
    (tmp_path / "policy.yaml").write_text(WITH_ROOT.replace("trusted", str(ROOT.parent)).replace("root.pem", ROOT.name))
    with pytest.raises(PackError, match="no plain relative path"):
        write_pack(tmp_path / "bag", tmp_path / "registry", tmp_path / "other.ogpack", options)


def admission(at_ns: int, shown: str = "tee") -> Admission:
    return Admission("made", shown, "tee", at_ns, at_ns + HOUR_NS, bytes(32), bytes(32), "made 1")


def admitting(found: Admission) -> Callable[[RegistryWriter, Run], None]:
    def certify(writer: RegistryWriter, run: Run) -> None:
        for stage, signer in run.signers.items():
            writer.certify_model(f"{stage}_model", "1.0.0", MODELS[stage], not_before_ns=10**9)
            writer.certify_key(
                signer.public_key, robot="demo", stage=stage, not_before_ns=10**9,
                admission=found if stage == "control" else None,
            )  # fmt: skip

    return certify


def test_the_verdict_that_the_registry_keeps_counts_and_the_report_says_whose_it_is(audit: Audit) -> None:
    run = honest_run(TICKS)
    report = audit(run, certify=admitting(admission(start(run) - 24 * HOUR_NS)))
    assert kinds(report) == set()
    assert (level(report), level(report, "planning")) == ("tee", "software_key")
    assert report["environments"][0]["admitted_by"] == "test-fleet"
    assert any("appraised by test-fleet" in note and "not here" in note for note in report["not_checked"])


def test_a_refusal_of_ones_own_counts_more_than_the_registrys_verdict(audit: Audit) -> None:
    run = honest_run(TICKS)
    debug(run)
    report = audit(run, certify=admitting(admission(start(run) - HOUR_NS)))
    assert kinds(report) == {"evidence_refused"}
    assert level(report) == "software_key"


def test_a_verdict_says_nothing_of_what_was_signed_before_it(audit: Audit) -> None:
    run = honest_run(TICKS)
    report = audit(run, certify=admitting(admission(start(run) + HOUR_NS)))
    assert kinds(report) == {"evidence_stale"}
    assert level(report) == "software_key"


def test_the_message_holds_what_was_put_in() -> None:
    run = honest_run(1)
    message = EvidenceMessage(made(run, "control", start(run)), "/control")
    assert decode_message(encode_message(message)) == message
    assert message.key_id == run.signers["control"].key_id
    assert evidence_topic("/wheel_command/attestation") == "/wheel_command/evidence"
    assert evidence_topic("/records") == "/records/evidence"


@given(st.binary(max_size=200))
def test_no_bytes_escape_the_reader_of_messages(data: bytes) -> None:
    for payload in (data, b"\0\1\0\0" + data):
        with contextlib.suppress(EvidenceError):
            decode_message(payload)


def test_ros_reads_the_message_as_it_is_written() -> None:
    pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
    serialization = pytest.importorskip("rclpy.serialization")
    from og_ros.msg import Evidence as EvidenceMsg

    evidence = Evidence(
        "made", b"document", b"key", bytes(range(32)), Context("demo", "control", b"\7" * 32), 5 * 10**9
    )
    payload = encode_message(EvidenceMessage(evidence, "/control"))
    read = serialization.deserialize_message(payload, EvidenceMsg)
    assert (read.robot, read.stage, read.node, read.format) == ("demo", "control", "/control", "made")
    assert (bytes(read.key), bytes(read.nonce), bytes(read.document)) == (b"key", bytes(range(32)), b"document")
    assert (bytes(read.manifest), read.stamp.sec) == (b"\7" * 32, 5)
    again = serialization.serialize_message(read)
    assert decode_message(again).evidence == evidence
