"""Verification summaries: what an auditor signed is what a reader sees, and no attack gets another summary believed."""

from __future__ import annotations

import base64
import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from audit_reports import NAMES, report
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from scenario import Run, honest_run

from og_ros.attest import Algorithm, SoftwareSigner, keys
from og_ros.audit.recording.recording_files import digest_files, recording_digest
from og_ros.audit.reports.report_file import report_digest
from og_ros.audit.reports.summary import EXTENSION, PREDICATE_TYPE, Summary, sign_summary, verify_summary
from og_ros.audit.run import audit_bag
from og_ros.cli.main import main
from og_ros.errors import BagError, OgError, ReportError, SummaryRejected
from og_ros.registry import Registry, RegistryWriter, dsse

DAY = 86_400 * 10**9
NOW = 1_800_000_000 * 10**9
FILES = {"metadata.yaml": bytes(32), "bag.mcap": b"\1" * 32}
AUDITOR = SoftwareSigner(keys.generate())
PUBLIC = AUDITOR.public_key


def signed(of: dict[str, Any] | None = None, **options: Any) -> bytes:
    """Return a summary of a report, signed by the auditor."""
    return sign_summary(
        of or report("holds"), options.pop("files", FILES), options.pop("signer", AUDITOR),
        verified_at_ns=options.pop("at_ns", NOW), **options,
    )  # fmt: skip


def read(data: bytes, trust: Any = PUBLIC, **options: Any) -> Summary:
    """Verify a summary a second after it was signed."""
    return verify_summary(data, trust, **{"now_ns": NOW + 10**9, **options})


def statement_of(data: bytes) -> dict[str, Any]:
    """Return the statement in an envelope."""
    tree: dict[str, Any] = json.loads(base64.b64decode(json.loads(data)["payload"]))
    return tree


def resigned(change: Callable[[dict[str, Any]], object], signer: SoftwareSigner = AUDITOR) -> bytes:
    """Return a summary whose statement was changed and signed again, as a lying or careless auditor would."""
    statement = statement_of(signed())
    change(statement)
    return dsse.sign("application/vnd.in-toto+json", json.dumps(statement).encode(), signer)


# ---- what it says ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_what_was_signed_is_what_is_read(name: str, algorithm: Algorithm) -> None:
    signer = SoftwareSigner(keys.generate(algorithm))
    of = report(name)
    summary = read(signed(of, signer=signer), signer.public_key)
    assert (summary.verdict, summary.passed) == (of["verdict"], of["verdict"] == "holds")
    assert (summary.key_id, summary.verified_at_ns, dict(summary.files)) == (signer.key_id, NOW, FILES)
    assert summary.report_sha256 == report_digest(of).hex()
    assert summary.audit["findings"] == of["finding_counts"]
    assert summary.audit["levels"] == {axis: tally["lowest"] for axis, tally in of["levels"].items()}
    summary.check_report(of)
    summary.check_recording(FILES)


def test_the_statement_is_a_slsa_verification_summary() -> None:
    of = {**report("holds"), "policy": "ab" * 32}
    statement = statement_of(signed(of, policy_uri="https://example.org/policy.yaml"))
    predicate = statement["predicate"]
    assert (statement["_type"], statement["predicateType"]) == ("https://in-toto.io/Statement/v1", PREDICATE_TYPE)
    assert statement["subject"] == [{"name": n, "digest": {"sha256": d.hex()}} for n, d in sorted(FILES.items())]
    assert predicate["verifier"]["id"] == f"urn:og-ros:auditor:sha256:{AUDITOR.key_id.hex()}"
    assert predicate["timeVerified"] == "2027-01-15T08:00:00.000000000Z"
    assert predicate["policy"] == {"uri": "https://example.org/policy.yaml", "digest": {"sha256": "ab" * 32}}
    assert predicate["verificationResult"] == "PASSED"
    assert "OG_ROS_MODEL_INTEGRITY_CERTIFIED" in predicate["verifiedLevels"]
    assert not any(level.startswith("SLSA_") for level in predicate["verifiedLevels"])
    assert predicate["resourceUri"] == f"urn:og-ros:recording:sha256:{recording_digest(FILES).hex()}"
    own = {"verifier", "timeVerified", "resourceUri", "policy", "verificationResult", "verifiedLevels"}
    assert predicate.keys() - own == {EXTENSION}
    assert ":" in EXTENSION  # SLSA: an extension field's name is a URI


@pytest.mark.parametrize("name", ["not_checked", "violated", "empty"])
def test_what_does_not_hold_is_failed(name: str) -> None:
    predicate = statement_of(signed(report(name)))["predicate"]
    assert (predicate["verificationResult"], predicate["verifiedLevels"]) == ("FAILED", ["FAILED"])
    assert predicate[EXTENSION]["verdict"] == report(name)["verdict"]


def test_in_toto_reads_the_statement() -> None:
    module = pytest.importorskip("in_toto_attestation.v1.statement", reason="in-toto-attestation is not installed")
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2

    parsed = json_format.ParseDict(statement_of(signed()), statement_pb2.Statement())
    module.Statement.copy_from_pb(parsed).validate()


def test_securesystemslib_verifies_the_envelope() -> None:
    """Another DSSE implementation."""
    pytest.importorskip("securesystemslib", reason="securesystemslib is not installed")
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey

    key_id = AUDITOR.key_id.hex()
    key = SSlibKey(key_id, "ecdsa", "ecdsa-sha2-nistp256", {"public": keys.public_pem(PUBLIC)})
    assert key_id in Envelope.from_dict(json.loads(signed())).verify([key], 1)


# ---- attacks ---------------------------------------------------------------------------------------------------------


def test_another_key() -> None:
    stranger = SoftwareSigner(keys.generate())
    with pytest.raises(SummaryRejected, match="signature does not hold"):
        read(signed(signer=stranger))


def test_a_forged_payload() -> None:
    envelope = json.loads(signed(report("violated")))
    envelope["payload"] = json.loads(signed())["payload"]
    with pytest.raises(SummaryRejected, match="signature does not hold"):
        read(json.dumps(envelope).encode())


def test_an_edited_report() -> None:
    edited = report("violated")
    edited["findings"] = []
    summary = read(signed(report("violated")))
    with pytest.raises(SummaryRejected, match="another report"):
        summary.check_report(edited)


def test_a_summary_that_flatters_its_report() -> None:
    """An auditor's program that signs other levels than its report has, beside the report's true digest."""

    def flatter(statement: dict[str, Any]) -> None:
        audit = statement["predicate"][EXTENSION]
        audit["levels"]["execution_environment"] = "tee"
        levels = [f"OG_ROS_{a}_{v}".upper().replace("-", "_") for a, v in sorted(audit["levels"].items())]
        statement["predicate"]["verifiedLevels"] = levels

    summary = read(resigned(flatter))
    with pytest.raises(SummaryRejected, match="says other things"):
        summary.check_report(report("holds"))


def test_another_recording() -> None:
    summary = read(signed())
    for files, message in (
        ({**FILES, "bag.mcap": bytes(32)}, "'bag.mcap' is not the one that was audited"),
        ({"metadata.yaml": bytes(32)}, "lacks the file 'bag.mcap'"),
        ({**FILES, "bag_1.mcap": bytes(32)}, "'bag_1.mcap', which was not audited"),
        ({}, "lacks the file"),
    ):
        with pytest.raises(SummaryRejected, match=message):
            summary.check_recording(files)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["predicate"].update(verificationResult="FAILED"), "contradicts itself"),
        (lambda s: s["predicate"].update(verifiedLevels=["SLSA_BUILD_LEVEL_3"]), "contradicts itself"),
        (lambda s: s["predicate"][EXTENSION].update(verdict="violated"), "contradicts itself"),
        (lambda s: s["predicate"][EXTENSION].update(violations=1), "contradicts itself"),
        (lambda s: s["predicate"]["verifier"].update(id="https://other.example"), "names the auditor"),
        (lambda s: s["subject"].pop(), "resourceUri"),
        (lambda s: s["predicate"].update(resourceUri="urn:og-ros:recording:sha256:00"), "resourceUri"),
    ],
)
def test_contradictions_are_rejected(change: Callable[[dict[str, Any]], object], message: str) -> None:
    with pytest.raises(SummaryRejected, match=message):
        read(resigned(change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(extra=1), "unknown field 'extra'"),
        (lambda s: s["predicate"][EXTENSION].update(extra=1), "unknown field 'extra'"),
        (lambda s: s["predicate"][EXTENSION].pop("levels"), "lacks the field 'levels'"),
        (lambda s: s["predicate"][EXTENSION]["findings"].update(chain_broken="0"), "a count is no number"),
        (lambda s: s["predicate"][EXTENSION]["levels"].update(disclosure=1), "a level is no text"),
        (lambda s: s["predicate"][EXTENSION].update(robots=[1]), "a robot or a note"),
        (lambda s: s["predicate"][EXTENSION]["report"].update(sha256="x"), "no SHA-256"),
        (lambda s: s["predicate"]["policy"].update(digest={"sha256": "x"}), "no SHA-256"),
        (lambda s: s["predicate"]["policy"].update(digest=[]), "no SHA-256"),
        (lambda s: s["subject"].append(s["subject"][0]), "twice"),
        (lambda s: s["subject"].clear(), "about no file"),
        (lambda s: s["subject"][0]["digest"].update(sha256="0" * 63), "no SHA-256"),
        (lambda s: s["subject"][0]["digest"].update(sha1="0" * 40), "another digest beside it"),
        (lambda s: s.update(predicateType="https://slsa.dev/provenance/v1"), "no verification summary"),
        (lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"), "no verification summary"),
        (lambda s: s["predicate"].update(timeVerified="yesterday"), "timeVerified"),
        (lambda s: s["predicate"].pop("verifier"), "lacks the field 'verifier'"),
    ],
)
def test_malformed_statements_are_refused(change: Callable[[dict[str, Any]], object], message: str) -> None:
    with pytest.raises(ReportError, match=message) as caught:
        read(resigned(change))
    assert not isinstance(caught.value, SummaryRejected)


def test_unknown_fields_of_slsa_are_ignored_and_not_shown() -> None:
    """SLSA: consumers must ignore unrecognized fields of the predicate."""
    summary = read(resigned(lambda s: s["predicate"].update(dependencyLevels={}, robotIsSafe=True)))
    assert "robotIsSafe" not in repr(summary)


def test_malformed_envelopes_are_refused() -> None:
    good = json.loads(signed())
    signature = good["signatures"][0]
    for bad in (
        {**good, "extra": 1},
        {**good, "payloadType": "application/vnd.og-ros.key+json"},
        {**good, "payload": good["payload"].rstrip("=") + "!"},
        {**good, "signatures": []},
        {**good, "signatures": [signature, signature]},
        {**good, "signatures": [{**signature, "alg": "none"}]},
        [],
    ):
        with pytest.raises(ReportError) as caught:
            read(json.dumps(bad).encode())
        assert not isinstance(caught.value, SummaryRejected)


def test_algorithm_confusion() -> None:
    """An Ed25519 key's bytes as a P-256 signature and back, a raw signature for DER, an empty one, another hash."""
    other = SoftwareSigner(keys.generate(Algorithm.EDDSA))
    for signer, trust in ((other, PUBLIC), (AUDITOR, other.public_key)):
        with pytest.raises(SummaryRejected):
            read(signed(signer=signer), trust)
    private = keys.generate()
    signer = SoftwareSigner(private)
    good = json.loads(signed(signer=signer))
    message = dsse.pae(good["payloadType"], base64.b64decode(good["payload"]))
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    for forged in (b"", bytes(64), signer.sign(message), private.sign(message, ec.ECDSA(hashes.SHA512()))):
        envelope = copy.deepcopy(good)
        envelope["signatures"][0]["sig"] = base64.b64encode(forged).decode()
        with pytest.raises(SummaryRejected):
            read(json.dumps(envelope).encode(), signer.public_key)


def test_freshness() -> None:
    data = signed(at_ns=NOW)
    with pytest.raises(SummaryRejected, match="in the future"):
        read(data, now_ns=NOW - 301 * 10**9)
    assert read(data, now_ns=NOW - 299 * 10**9).passed
    assert read(data, now_ns=NOW + DAY, max_age_ns=DAY).passed
    with pytest.raises(SummaryRejected, match="longer ago than you allow"):
        read(data, now_ns=NOW + DAY + 1, max_age_ns=DAY)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ReportError):
        read(data)


PIECES = [b'"', b"}", b"\\u0000", b"null", b"0"]


@given(st.integers(0, 4000), st.sampled_from(PIECES))
def test_no_edit_of_the_envelope_is_believed(at: int, piece: bytes) -> None:
    data = signed()
    edited = data[: at % len(data)] + piece + data[at % len(data) + 1 :]
    try:
        summary = read(edited)
    except ReportError:
        return
    # What still reads says the same: only the hint of the key's id, which nothing relies on, can have changed.
    assert summary == read(data)


# ---- the registry ----------------------------------------------------------------------------------------------------


@dataclass
class Certified:
    """A registry with keys of every role, and who holds them."""

    registry: Registry
    signers: dict[str, SoftwareSigner]


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    directory = tmp_path_factory.mktemp("certified") / "registry"
    names = ("auditor", "early", "expired", "revoked", "other_robot", "this_robot", "stage", "log", "witness")
    signers = {
        name: SoftwareSigner(keys.generate(Algorithm.EDDSA if name in ("log", "witness") else Algorithm.ES256))
        for name in names
    }
    terms: dict[str, dict[str, Any]] = {
        "early": {"not_before_ns": NOW + DAY},
        "expired": {"not_after_ns": NOW - DAY},
        "other_robot": {"robot": "another"},
        "this_robot": {"robot": "demo"},
        "stage": {"role": "stage", "robot": "demo", "stage": "control"},
        "log": {"role": "log", "origin": "a/log"},
        "witness": {"role": "witness", "origin": "a/witness"},
    }
    with RegistryWriter.create(directory, SoftwareSigner(keys.generate()), "fleet", now_ns=10**9) as writer:
        for name, signer in signers.items():
            known = {"role": "auditor", "not_before_ns": NOW - 2 * DAY, **terms.get(name, {})}
            writer.certify_key(signer.public_key, **known)
        writer.revoke_key(signers["revoked"].key_id, "stolen", at_ns=NOW - DAY)
    return Certified(Registry.open(directory), signers)


def test_a_certified_auditor_is_believed(certified: Certified) -> None:
    for name in ("auditor", "this_robot"):
        summary = read(signed(signer=certified.signers[name]), certified.registry)
        assert summary.certificate is not None
        assert summary.certificate.role == "auditor"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stage", "role stage, not for auditor"),
        ("log", "role log, not for auditor"),
        ("witness", "role witness, not for auditor"),
        ("early", "not yet valid when it was signed"),
        ("expired", "expired when it was signed"),
        ("revoked", "revoked when it was signed"),
        ("other_robot", "the robot another only"),
    ],
)
def test_a_key_that_may_not_speak_for_an_auditor(name: str, message: str, certified: Certified) -> None:
    with pytest.raises(SummaryRejected, match=message):
        read(signed(signer=certified.signers[name]), certified.registry)


def test_a_stranger_who_hints_at_the_auditors_key(certified: Certified) -> None:
    data = json.loads(signed(signer=SoftwareSigner(keys.generate())))
    data["signatures"][0]["keyid"] = certified.signers["auditor"].key_id.hex()
    with pytest.raises(SummaryRejected, match="signature does not hold"):
        read(json.dumps(data).encode(), certified.registry)


def test_a_key_that_is_not_registered(certified: Certified) -> None:
    with pytest.raises(SummaryRejected, match="not in the registry"):
        read(signed(), certified.registry)


def test_what_was_signed_before_the_revocation_stays(certified: Certified) -> None:
    before = signed(signer=certified.signers["revoked"], at_ns=NOW - DAY - 10**9)
    assert read(before, certified.registry).passed


# ---- recordings and the command --------------------------------------------------------------------------------------


@dataclass
class Audited:
    """A directory with two recordings, their reports, a registry and an auditor's key."""

    directory: Path
    run: Run
    root: str

    def path(self, name: str) -> str:
        return str(self.directory / name)


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    directory = tmp_path_factory.mktemp("audited")
    run, other = honest_run(6), honest_run(6)
    auditor = keys.generate()
    keys.save_private(auditor, directory / "auditor.pem")
    (directory / "auditor.pub").write_text(keys.public_pem(auditor.public_key()))

    def certify(writer: RegistryWriter, run: Run) -> None:
        from scenario import certify_all

        certify_all(writer, run)
        writer.certify_key(auditor.public_key(), role="auditor", vendor="inspectors", not_before_ns=10**9)

    run.write_registry(directory / "registry", certify)
    registry = Registry.open(directory / "registry")
    for name, recorded in (("bag", run), ("other", other)):
        recorded.write_bag(directory / name)
        (directory / f"{name}.json").write_text(json.dumps(audit_bag(directory / name, registry).as_json()))
    (directory / "unchecked.json").write_text(json.dumps(audit_bag(directory / "bag").as_json()))
    return Audited(directory, run, registry.fingerprint)


def sign(audited: Audited, report_name: str = "bag.json", bag: str = "bag") -> str:
    out = audited.path(f"{report_name}.summary")
    words = ["summary", "sign", audited.path(report_name), "--bag", audited.path(bag), "--out", out]
    assert main([*words, "--key", audited.path("auditor.pem")]) == 0
    return out


def test_the_command_signs_and_verifies(audited: Audited, capsys: pytest.CaptureFixture[str]) -> None:
    out = sign(audited)
    words = ["summary", "verify", out, "--registry", audited.path("registry"), "--root", audited.root]
    assert main([*words, "--bag", audited.path("bag"), "--report", audited.path("bag.json"), "--max-age", "1"]) == 0
    text = capsys.readouterr().out
    assert "the summary holds: PASSED" in text
    assert "inspectors" in text
    assert "not shown" not in text
    assert main([*words, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["holds"] is shown["passed"] is True
    assert len(shown["not_shown"]) == 2
    assert main(["summary", "verify", out, "--key", audited.path("auditor.pub")]) == 0
    assert "no registry was read" in capsys.readouterr().out


def test_the_command_says_what_does_not_hold(
    audited: Audited, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = sign(audited)
    words = ["summary", "verify", out, "--key", audited.path("auditor.pub")]
    bag = Path(shutil.copytree(audited.path("bag"), tmp_path / "bag"))
    assert main([*words, "--bag", str(bag)]) == 0
    data = bytearray((bag / "bag.mcap").read_bytes())
    data[-1] ^= 1
    (bag / "bag.mcap").write_bytes(data)
    capsys.readouterr()
    for attack in (["--bag", str(bag)], ["--bag", audited.path("other")], ["--report", audited.path("other.json")]):
        assert main([*words, *attack]) == 1
        captured = capsys.readouterr()
        assert captured.out.startswith("DOES NOT HOLD: ")
        assert captured.out.count("\n") == 1
    assert main([*words[:3], "--key", audited.path("auditor.pub"), "--json", "--bag", str(bag)]) == 1
    assert json.loads(capsys.readouterr().out)["holds"] is False


def test_the_exit_code_tells_a_failed_audit(audited: Audited, capsys: pytest.CaptureFixture[str]) -> None:
    """An authentic summary of an audit that did not pass must not read as success."""
    key = audited.path("auditor.pub")
    assert main(["summary", "verify", sign(audited, "other.json", "other"), "--key", key]) == 1
    assert "FAILED, violations were found" in capsys.readouterr().out
    assert main(["summary", "verify", sign(audited, "unchecked.json"), "--key", key]) == 2
    assert "could not be checked" in capsys.readouterr().out


def test_a_report_of_another_recording_is_not_signed(audited: Audited, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["summary", "sign", audited.path("other.json"), "--bag", audited.path("bag")]
    assert main([*words, "--key", audited.path("auditor.pem"), "--out", audited.path("no")]) == 2
    assert "is of the recording 'other'" in capsys.readouterr().err
    assert not Path(audited.path("no")).exists()


@pytest.mark.parametrize("file", ["bag.json", "none"])
def test_what_is_no_summary_is_one_line(file: str, audited: Audited, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "verify", audited.path(file), "--key", audited.path("auditor.pub")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("og-ros summary: ")
    assert captured.err.count("\n") == 1


def test_the_files_of_a_recording(tmp_path: Path) -> None:
    bag = honest_run(2).write_bag(tmp_path / "bag")
    files = digest_files(bag)
    assert sorted(files) == ["bag.mcap", "metadata.yaml"]
    (bag / "notes.txt").write_text("nobody reads this")
    assert digest_files(bag) == files
    (bag / "metadata.yaml").unlink()
    assert sorted(digest_files(bag)) == ["bag.mcap"]
    assert recording_digest(digest_files(bag)) != recording_digest(files)
    (bag / "bag.mcap").unlink()
    with pytest.raises(BagError):
        digest_files(bag)


def test_metadata_cannot_point_elsewhere(tmp_path: Path) -> None:
    bag = honest_run(2).write_bag(tmp_path / "bag")
    text = (bag / "metadata.yaml").read_text()
    (tmp_path / "secret.mcap").write_bytes(b"private")
    (bag / "metadata.yaml").write_text(text.replace("bag.mcap", "../secret.mcap"))
    with pytest.raises(OgError):
        digest_files(bag)
