"""Sources: what is signed at the driver is computed from the key's certificate for the topic, and from nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from scenario import Run, certify_all, honest_run
from sourced import SOURCES, certify_sources, sign_sensors, source_keys

from og_ros.attest import SoftwareSigner, keys
from og_ros.audit.policy import Policy, parse_policy
from og_ros.audit.run import audit_bag
from og_ros.registry import Registry, RegistryWriter

TICKS = 40


def run_with(topics: tuple[str, ...], signers: dict[str, SoftwareSigner]) -> Run:
    run = honest_run(TICKS)
    run.records = sign_sensors(run.records, {topic: signers[topic] for topic in topics})
    return run


def audited(
    run: Run, directory: Path, signers: dict[str, SoftwareSigner], policy: bytes = b"", **certified: Any
) -> dict[str, Any]:
    def certify(writer: RegistryWriter, run: Run) -> None:
        certify_all(writer, run)
        for topic, signer in signers.items():
            terms = {"role": "source", "robot": "demo", "stage": SOURCES[topic], "topics": (topic,), **certified}
            writer.certify_key(signer.public_key, not_before_ns=10**9, **terms)

    run.write_registry(directory / "registry", certify)
    run.write_bag(directory / "bag")
    demands = parse_policy(b"version: 1\n" + policy) if policy else Policy()
    return audit_bag(directory / "bag", Registry.open(directory / "registry"), None, demands).as_json()


def test_signed_at_every_driver(tmp_path: Path) -> None:
    signers = source_keys()
    policy = (
        b"decision_levels: {data_provenance: signed_at_source, model_integrity: certified}\n"
        b"stages: {'*': {model_integrity: certified}, camera: {data_provenance: signed_at_source}}\n"
        b"reexecution: {minimum_share: 0.0}"
    )
    report = audited(run_with(tuple(SOURCES), signers), tmp_path, signers, policy)
    assert report["verdict"] == "holds", report["finding_counts"]
    assert report["decisions"] == report["linked"] == TICKS
    levels = report["levels"]
    assert levels["data_provenance"]["decisions"]["counts"] == {"signed_at_source": TICKS}
    # A source runs no model: it neither lowers a chain nor counts among the inferences.
    assert levels["model_integrity"]["decisions"]["counts"] == {"certified": TICKS}
    assert sum(levels["model_integrity"]["counts"].values()) == 3 * TICKS
    assert levels["model_integrity"]["stages"]["camera"] == "unknown"
    reasons = levels["data_provenance"]["reasons"]
    assert "a source signed" in reasons["control"]["because"]
    assert any("signed by source camera" in text for text in reasons["perception"]["evidence"])


def test_latency_begins_at_the_sources_stamp(tmp_path: Path) -> None:
    signers = source_keys()
    plain = audited(honest_run(TICKS), tmp_path / "plain", {})
    signed = audited(run_with(tuple(SOURCES), signers), tmp_path / "signed", signers)
    assert signed["chain_latency_ms"] == plain["chain_latency_ms"]


def test_one_unsigned_sensor_is_the_level_of_the_decision(tmp_path: Path) -> None:
    signers = source_keys()
    report = audited(
        run_with(("/camera/image", "/scan"), signers),
        tmp_path,
        signers,
        b"decision_levels: {data_provenance: signed_at_source}",
    )
    assert report["levels"]["data_provenance"]["decisions"]["counts"] == {"linked": TICKS}
    assert report["levels"]["data_provenance"]["stages"]["perception"] == "signed_at_source"
    assert report["finding_counts"] == {"below_policy": TICKS}


@pytest.mark.parametrize(
    ("certified", "kind"),
    [
        ({"role": "stage", "topics": ()}, "source_not_certified"),  # a stage's own key does not count
        ({"role": "observer", "topics": ()}, "source_not_certified"),
        ({"topics": ("/another",)}, "source_not_certified"),
        ({"stage": "elsewhere"}, "key_wrong_stage"),
        ({"robot": "other"}, "key_wrong_robot"),
        ({"not_after_ns": 2 * 10**9}, "key_expired"),
    ],
)
def test_a_key_that_is_not_certified_for_the_topic_does_not_count(
    certified: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    signers = source_keys()
    report = audited(
        run_with(("/camera/image",), signers), tmp_path, {"/camera/image": signers["/camera/image"]}, **certified
    )
    assert report["verdict"] == "violated"
    assert report["finding_counts"][kind] == TICKS
    assert set(report["finding_counts"]) <= {kind, "overclaimed"}
    assert report["linked"] == TICKS  # a record that proves nothing takes nothing away either
    assert "signed_at_source" not in report["levels"]["data_provenance"]["counts"]


def test_without_a_registry_nothing_is_signed_at_its_source(tmp_path: Path) -> None:
    run = run_with(tuple(SOURCES), source_keys())
    run.write_bag(tmp_path / "bag")
    report = audit_bag(tmp_path / "bag", None, None, Policy()).as_json()
    assert report["levels"]["data_provenance"]["decisions"]["counts"] == {"linked": TICKS}


def test_a_source_whose_messages_were_not_recorded_links_nothing(tmp_path: Path) -> None:
    signers = source_keys()
    run = run_with(tuple(SOURCES), signers)
    run.records = [r for r in run.records if r.topic != "/camera/image"]
    report = audited(run, tmp_path, signers)
    assert report["linked"] == 0
    assert report["levels"]["data_provenance"]["stages"]["camera"] == "unlinked"


def test_messages_before_the_source_began_are_worth_what_they_were(tmp_path: Path) -> None:
    signers = source_keys()
    run = honest_run(TICKS)
    late = run.records[9 * 15].received_ns
    run.records = [
        *(r for r in run.records if r.received_ns < late),
        *sign_sensors((r for r in run.records if r.received_ns >= late), signers),
    ]
    report = audited(run, tmp_path, signers)
    assert (report["verdict"], report["linked"]) == ("holds", TICKS)
    assert report["finding_counts"] == {"source_began_late": 3}
    assert report["levels"]["data_provenance"]["decisions"]["counts"] == {"linked": 15, "signed_at_source": 25}


def test_a_sources_key_runs_no_model(tmp_path: Path) -> None:
    """The other way round: a key of role source is nobody's licence to infer."""
    run = honest_run(TICKS)
    signer = SoftwareSigner(keys.generate())

    def certify(writer: RegistryWriter, run: Run) -> None:
        certify_all(writer, run)
        writer.certify_key(
            signer.public_key, role="source", robot="demo", stage="perception", topics=("/perception/line",),
            not_before_ns=10**9,
        )  # fmt: skip

    run.signers["perception"] = signer
    for place, _ in run.of_stage("perception"):
        run.resign(place, key_id=signer.key_id, algorithm=signer.algorithm)
    run.signers["perception"] = SoftwareSigner(keys.generate())
    run.write_registry(tmp_path / "registry", certify)
    run.write_bag(tmp_path / "bag")
    report = audit_bag(tmp_path / "bag", Registry.open(tmp_path / "registry"), None, Policy()).as_json()
    assert report["finding_counts"]["key_wrong_stage"] == TICKS


def test_a_driver_that_is_named_must_be_certified(tmp_path: Path) -> None:
    signers = source_keys()
    run = run_with(("/camera/image",), signers)
    run.signers["camera"] = signers["/camera/image"]
    for place, attestation in run.of_stage("camera"):
        model = dataclasses.replace(attestation.statement.model, digest=b"\7" * 32)
        run.resign(place, model=model)
    report = audited(run, tmp_path, {"/camera/image": signers["/camera/image"]})
    assert report["finding_counts"]["model_not_certified"] == TICKS


def test_certificates_of_sources(tmp_path: Path) -> None:
    from og_ros.errors import RegistryError

    signer = SoftwareSigner(keys.generate())
    with RegistryWriter.create(tmp_path, SoftwareSigner(keys.generate()), "fleet") as writer:
        for terms, message in (
            ({"stage": "camera", "topics": ("/image",)}, "needs a robot and a stage"),
            ({"robot": "r", "stage": "camera"}, "needs its topics"),
            ({"robot": "r", "stage": "camera", "topics": ("image",)}, "with a / in front"),
            ({"robot": "r", "stage": "camera", "topics": ("/image", "/image")}, "no name twice"),
            ({"role": "stage", "robot": "r", "stage": "camera", "topics": ("/image",)}, "topics are for"),
        ):
            with pytest.raises(RegistryError, match=message):
                writer.certify_key(signer.public_key, **{"role": "source", **terms})  # type: ignore[arg-type]
        certify_sources(writer, {"/camera/image": signer})
    key = Registry.open(tmp_path).keys[signer.key_id]
    assert (key.role, key.topics) == ("source", ("/camera/image",))
