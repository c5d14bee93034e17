"""Evidence packs: what is in one, that it verifies anywhere, and that nothing in it can be exchanged unnoticed."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from packs import certify_auditor, make_case, put_together, seal_again, take_apart
from scenario import Run, honest_run

from og_ros.attest import SoftwareSigner, cose, keys
from og_ros.audit.pack import PackOptions, layout, verify_pack, write_pack
from og_ros.audit.pack.readme import readme
from og_ros.audit.policy import parse_policy
from og_ros.audit.reports.report import Verdict
from og_ros.cli.main import main
from og_ros.errors import BagError, PackError, RegistryError
from og_ros.log import verify_proof
from og_ros.registry import Registry

TICKS = 8
Files = dict[str, bytes]


class Case:
    """An honest case: the run, its files, and the pack of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.run: Run = honest_run(TICKS)
        self.auditor = SoftwareSigner(keys.generate())
        self.pack = make_case(self.run, directory, self.auditor)
        self.files = take_apart(self.pack)
        self.root = Registry.open(directory / "registry").fingerprint


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Another honest case, of another robot with other keys."""
    return Case(tmp_path_factory.mktemp("other"))


def kinds(pack: Path, **options: object) -> set[str]:
    report = verify_pack(pack, **options)  # type: ignore[arg-type]
    found = {finding.kind for finding in report.findings}
    assert (report.verdict is Verdict.VIOLATED) >= bool(found), "a finding about a pack is a violation"
    return found


# ---- an honest pack --------------------------------------------------------------------------------------------------


def test_an_honest_pack_holds(case: Case) -> None:
    report = verify_pack(case.pack, root=case.root, packer=case.auditor.public_key, jobs=2)
    assert report.verdict is Verdict.HOLDS
    assert report.confirmed
    assert not report.findings
    assert report.signer is not None
    assert report.signer.vouched_by == "you gave this key"
    data = json.loads(json.dumps(report.as_json()))
    assert data["audit"]["attestations"] == 3 * TICKS
    assert data["report_confirmed"]


def test_a_certified_auditor_is_named(case: Case) -> None:
    signer = verify_pack(case.pack).signer
    assert signer is not None
    assert signer.vouched_by == "the packed registry, as an auditor's key"
    assert signer.key_id == case.auditor.key_id.hex()


def test_what_is_in_it(case: Case) -> None:
    assert {
        layout.README, layout.DESCRIPTION, layout.MANIFEST, layout.SIGNATURE, layout.SIGNER, layout.SUMMARY,
        layout.REPORT, layout.ATTESTATIONS, layout.INDEX, layout.PROOFS, "recording/bag/bag.mcap",
        "recording/bag/metadata.yaml", "registry/index.dsse.json", "log/log.db", "log/checkpoint", layout.VKEY,
    } <= case.files.keys()  # fmt: skip
    assert case.files["recording/bag/bag.mcap"] == (case.directory / "bag" / "bag.mcap").read_bytes()
    index = [json.loads(line) for line in case.files[layout.INDEX].splitlines()]
    proofs = {entry["sha256"]: entry for entry in map(json.loads, case.files[layout.PROOFS].splitlines())}
    assert len(index) == len(proofs) == 3 * TICKS
    records = case.files[layout.ATTESTATIONS]
    for entry in index:
        record = records[entry["offset"] : entry["offset"] + entry["size"]]
        attestation = cose.decode(record)
        assert attestation.digest.hex() == entry["sha256"]
        assert (attestation.statement.stage, attestation.statement.sequence) == (entry["stage"], entry["sequence"])
        verify_proof(record, proofs[entry["sha256"]]["proof"], case.files[layout.VKEY].decode().strip())
    assert b"report says" not in case.files[layout.README]
    assert b"Report: holds." in case.files[layout.README]


def test_the_same_inputs_give_the_same_bytes(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    options = PackOptions(ledger=case.directory / "ledger", signer=case.auditor)
    for name in ("one", "two"):
        write_pack(case.directory / "bag", case.directory / "registry", tmp_path / name, options)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert json.loads(take_apart(tmp_path / "one")[layout.DESCRIPTION])["created_at"].startswith("2023-11-14T22:13:20.")


def test_it_verifies_where_nothing_else_is_left(case: Case, tmp_path: Path) -> None:
    """The pack alone is enough: the recording, registry and ledger that it was made of are gone."""
    moved = tmp_path / "a name with spaces.ogpack"
    original = tmp_path / "original"
    shutil.copytree(case.directory, original)
    write_pack(original / "bag", original / "registry", moved, PackOptions(ledger=original / "ledger"))
    shutil.rmtree(original)
    report = verify_pack(moved, root=case.root)
    assert report.verdict is Verdict.HOLDS
    assert report.confirmed
    assert "who made the pack: it is not signed" in report.not_checked


def test_without_data(case: Case, tmp_path: Path) -> None:
    source = case.directory
    pack = tmp_path / "small.ogpack"
    options = PackOptions(ledger=source / "ledger", signer=case.auditor, with_data=False)
    written = write_pack(source / "bag", source / "registry", pack, options)
    files = take_apart(pack)
    whole = case.files["recording/bag/bag.mcap"]
    image = next(bytes(r.payload) for r in case.run.records if r.topic == "/camera/image")
    assert image in whole
    assert not any(image in data for data in files.values())
    assert written.report["verdict"] == "not_checked"  # no command can be traced to sensor messages that are not there
    assert json.loads(files[layout.COMPLETE_REPORT])["verdict"] == "holds"
    assert files[layout.ATTESTATIONS] == case.files[layout.ATTESTATIONS]
    report = verify_pack(pack, root=case.root)
    assert report.confirmed
    assert not report.findings
    assert report.verdict is Verdict.NOT_CHECKED
    assert any("attestations alone" in note for note in report.not_checked)


def test_a_pack_of_a_bad_run_is_a_good_pack(tmp_path: Path) -> None:
    """An incident can be packed: the pack is confirmed, and what it shows is still a violation."""
    run = honest_run(TICKS)
    run.forge(run.of_stage("planning")[3][0], duration_ns=9)
    auditor = SoftwareSigner(keys.generate())
    report = verify_pack(make_case(run, tmp_path, auditor))
    assert report.confirmed
    assert not report.findings
    assert report.packed_verdict == "violated"
    assert report.verdict is Verdict.VIOLATED


def test_a_log_that_does_not_hold_is_packed_as_it_is(case: Case, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    shutil.copytree(case.directory / "ledger", ledger)
    tile = next((ledger / "tile" / "entries").rglob("*.p/*"))
    tile.write_bytes(tile.read_bytes()[:-1] + bytes([tile.read_bytes()[-1] ^ 1]))
    pack = tmp_path / "case.ogpack"
    written = write_pack(case.directory / "bag", case.directory / "registry", pack, PackOptions(ledger=ledger))
    assert written.report["finding_counts"] == {"log_invalid": 1}
    assert "log/tile" in next(iter(written.report["findings"]))["message"]
    assert str(tmp_path) not in json.dumps(written.report)
    report = verify_pack(pack)
    assert report.confirmed
    assert report.verdict is Verdict.VIOLATED


def test_own_policy_decides_and_the_packed_one_is_compared(case: Case) -> None:
    lenient = parse_policy(b"version: 1\n")
    assert verify_pack(case.pack, policy=lenient).verdict is Verdict.HOLDS
    strict = parse_policy(b"version: 1\nstages: {gripper: {}}\n")
    report = verify_pack(case.pack, policy=strict)
    assert report.confirmed
    assert report.verdict is Verdict.VIOLATED


def test_policy_root_and_enclosures(case: Case, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nmax_chain_latency_ms: 500\nstages: {control: {settlement: logged}}\n")
    page = tmp_path / "report.html"
    page.write_text("<p>whatever it says</p>")
    options = PackOptions(ledger=case.directory / "ledger", policy=policy, root=case.root, enclosed=[page])
    pack = tmp_path / "case.ogpack"
    write_pack(case.directory / "bag", case.directory / "registry", pack, options)
    report = verify_pack(pack)
    assert report.confirmed
    assert "what was enclosed as it is: enclosed/report.html" in report.not_checked
    assert report.report is not None
    assert report.report.registry is not None
    assert report.report.registry.pinned


def test_what_cannot_be_packed(case: Case, tmp_path: Path) -> None:
    source = case.directory
    with pytest.raises(PackError, match="never overwritten"):
        write_pack(source / "bag", source / "registry", case.pack)
    with pytest.raises(PackError, match="cannot write below"):
        write_pack(source / "bag", source / "registry", tmp_path / "missing" / "x")
    with pytest.raises(RegistryError, match="is no registry"):
        write_pack(source / "bag", tmp_path, tmp_path / "x")
    with pytest.raises(BagError, match="there is no recording"):
        write_pack(tmp_path / "bag", source / "registry", tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == []


def test_secrets_beside_the_recording_stay_there(case: Case, tmp_path: Path) -> None:
    shutil.copytree(case.directory / "bag", tmp_path / "bag")
    (tmp_path / "bag" / "operator.pem").write_text("private")
    pack = tmp_path / "x.ogpack"
    write_pack(tmp_path / "bag", case.directory / "registry", pack)
    assert not any("operator" in name for name in take_apart(pack))


# ---- attacks: by somebody who can write the file, and has no key of the auditor --------------------------------------


def test_every_file_that_is_edited_is_named(case: Case, tmp_path: Path) -> None:
    for name in sorted(case.files):
        data = bytearray(case.files[name])
        data[len(data) // 2] ^= 1
        pack = put_together({**case.files, name: bytes(data)}, tmp_path / "edited.ogpack")
        if name == layout.MANIFEST:
            outcome = refused_or_kinds(pack)
            assert outcome & {"pack_signature_invalid", "pack_altered", "refused"}, name
        elif name == layout.SIGNATURE:
            assert kinds(pack) == {"pack_signature_invalid"}, name
        elif name == layout.DESCRIPTION:
            assert refused_or_kinds(pack) & {"pack_altered", "refused"}
        else:
            assert "pack_altered" in kinds(pack), name


def refused_or_kinds(pack: Path) -> set[str]:
    try:
        return kinds(pack)
    except PackError:
        return {"refused"}


def test_every_file_that_is_removed_is_named(case: Case, tmp_path: Path) -> None:
    needed = {layout.MANIFEST, layout.DESCRIPTION, layout.REPORT}
    for name in sorted(case.files):
        pack = put_together({n: d for n, d in case.files.items() if n != name}, tmp_path / "removed.ogpack")
        if name in needed:
            with pytest.raises(PackError, match="is no evidence pack"):
                verify_pack(pack)
        elif name == layout.SIGNATURE:
            assert kinds(pack) == {"pack_signature_invalid"}
        else:
            assert "pack_altered" in kinds(pack), name


def test_a_file_that_is_added(case: Case, tmp_path: Path) -> None:
    for name in (
        "recording/bag/more.mcap",
        "enclosed/letter.txt",
        "receipts/paid.json",
        "registry/keys/mine.dsse.json",
    ):
        assert "pack_altered" in kinds(put_together({**case.files, name: b"x"}, tmp_path / "added.ogpack")), name
    with pytest.raises(PackError, match="is not known in a pack of version 1"):
        verify_pack(put_together({**case.files, "setup.py": b"x"}, tmp_path / "unknown.ogpack"))


def test_resealed_by_a_stranger(case: Case, tmp_path: Path) -> None:
    stranger = SoftwareSigner(keys.generate())
    pack = seal_again(case.files, tmp_path / "resealed.ogpack", stranger)
    assert "pack_signer_unexpected" in kinds(pack, packer=case.auditor.public_key)
    # Without an expected key nobody is accused, and nobody vouches: the summary inside is the auditor's still.
    report = verify_pack(pack)
    assert report.signer is not None
    assert report.signer.vouched_by == ""
    assert "pack_signature_invalid" in {finding.kind for finding in report.findings}


def test_signature_stripped(case: Case, tmp_path: Path) -> None:
    stripped = {n: d for n, d in case.files.items() if n != layout.SUMMARY}
    pack = seal_again(stripped, tmp_path / "stripped.ogpack")
    assert kinds(pack) == {"pack_signature_invalid"}  # pack.json speaks of a signer
    assert kinds(pack, packer=case.auditor.public_key) == {"pack_signer_unexpected"}


def test_signature_of_another_pack(case: Case, other: Case, tmp_path: Path) -> None:
    borrowed = {name: other.files[name] for name in (layout.SIGNATURE, layout.SIGNER)}
    pack = put_together({**case.files, **borrowed}, tmp_path / "borrowed.ogpack")
    assert "pack_signature_invalid" in kinds(pack)


def unsigned(files: Files) -> Files:
    """Return a pack's files without the auditor's words, as one that was never signed."""
    kept = {n: d for n, d in files.items() if n != layout.SUMMARY}
    description = {**json.loads(kept[layout.DESCRIPTION]), "signer": None}
    return {**kept, layout.DESCRIPTION: json.dumps(description).encode(), layout.README: readme(description).encode()}


def resealed(case: Case, tmp_path: Path, change: Callable[[Files], None]) -> set[str]:
    """Verify a pack in which a forger changed files and listed them anew, and which nobody signs."""
    files = unsigned(case.files)
    change(files)
    return kinds(seal_again(files, tmp_path / "forged.ogpack"), root=case.root)


def test_an_unsigned_copy_holds(case: Case, tmp_path: Path) -> None:
    assert resealed(case, tmp_path, lambda files: None) == set()


def test_report_with_another_verdict(case: Case, tmp_path: Path) -> None:
    def change(files: Files) -> None:
        report = json.loads(files[layout.REPORT])
        report.update(verdict="violated", holds=False)
        files[layout.REPORT] = json.dumps(report).encode()

    assert resealed(case, tmp_path, change) == {"pack_report_differs"}


@pytest.mark.parametrize("field", ["decisions", "linked", "attestations", "not_checked", "finding_counts", "log"])
def test_report_with_another_figure(case: Case, tmp_path: Path, field: str) -> None:
    def change(files: Files) -> None:
        report = json.loads(files[layout.REPORT])
        value = report[field]
        report[field] = value + 1 if isinstance(value, int) else None if field == "log" else type(value)()
        if report[field] == value:
            report[field] = {"chain_broken": 1}
        files[layout.REPORT] = json.dumps(report).encode()

    assert resealed(case, tmp_path, change) == {"pack_report_differs"}


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"version": 1}', b"\xff"])
def test_report_that_is_none(case: Case, tmp_path: Path, data: bytes) -> None:
    assert resealed(case, tmp_path, lambda files: files.update({layout.REPORT: data})) == {"pack_report_differs"}


def swap(files: Files, other: Case, *prefixes: str) -> None:
    for name in [n for n in files if n.startswith(prefixes)]:
        del files[name]
    files.update({n: d for n, d in other.files.items() if n.startswith(prefixes)})


def test_registry_of_another_root(case: Case, other: Case, tmp_path: Path) -> None:
    found = resealed(case, tmp_path, lambda files: swap(files, other, "registry/"))
    assert found == {"root_not_trusted", "pack_report_differs"}


def test_recording_of_another_honest_run(case: Case, other: Case, tmp_path: Path) -> None:
    found = resealed(case, tmp_path, lambda files: swap(files, other, "recording/"))
    assert found == {"pack_records_differ", "pack_report_differs"}


def test_attestations_of_another_run(case: Case, other: Case, tmp_path: Path) -> None:
    assert resealed(case, tmp_path, lambda files: swap(files, other, "attestations/")) == {"pack_records_differ"}


def test_proofs_of_another_log(case: Case, other: Case, tmp_path: Path) -> None:
    assert resealed(case, tmp_path, lambda files: swap(files, other, layout.PROOFS)) == {"pack_records_differ"}


def test_log_of_another_robot(case: Case, other: Case, tmp_path: Path) -> None:
    found = resealed(case, tmp_path, lambda files: swap(files, other, "log/"))
    assert found == {"pack_records_differ", "pack_report_differs"}


@pytest.mark.parametrize("name", [layout.VKEY, layout.README, layout.INDEX])
def test_texts_that_mislead_a_reader(case: Case, tmp_path: Path, name: str) -> None:
    found = resealed(case, tmp_path, lambda files: files.update({name: files[name].replace(b"e", b"E")}))
    assert found == {"pack_records_differ"}


def test_counts_that_mislead_a_reader(case: Case, tmp_path: Path) -> None:
    def change(files: Files) -> None:
        description = json.loads(files[layout.DESCRIPTION])
        description["contents"]["attestations"] += 1
        files[layout.DESCRIPTION] = json.dumps(description).encode()

    assert resealed(case, tmp_path, change) == {"pack_records_differ"}


def test_files_that_nothing_reads_are_listed(case: Case, tmp_path: Path) -> None:
    more = {"recording/other/other_0.mcap": b"x", "registry/notes.txt": b"x", "log/notes.txt": b"x"}
    report = verify_pack(seal_again({**case.files, **more}, tmp_path / "x.ogpack", case.auditor))
    assert report.verdict is Verdict.HOLDS
    assert f"files that no check reads: {', '.join(sorted(more))}" in report.not_checked


def test_a_packed_policy_that_is_none(case: Case, tmp_path: Path) -> None:
    files = {**case.files, layout.POLICY: b"version: 7\n"}
    pack = seal_again(files, tmp_path / "x.ogpack", case.auditor)
    report = verify_pack(pack)
    assert report.verdict is Verdict.NOT_CHECKED
    assert not report.confirmed
    assert any("policy.yaml:1" in note for note in report.not_checked)
    assert verify_pack(pack, policy=parse_policy(b"version: 1\n")).verdict is Verdict.HOLDS


def test_a_whole_other_pack_is_told_by_the_root(case: Case, other: Case) -> None:
    assert kinds(other.pack, root=case.root) == {"root_not_trusted"}
    assert verify_pack(other.pack, root=case.root).verdict is Verdict.VIOLATED


def test_a_weaker_policy(case: Case, tmp_path: Path) -> None:
    found = resealed(case, tmp_path, lambda files: files.update({layout.POLICY: b"version: 1\nmax_loss: 1\n"}))
    assert found == {"pack_report_differs"}


def test_a_summary_of_another_report(case: Case, other: Case, tmp_path: Path) -> None:
    files = {**case.files, layout.SUMMARY: other.files[layout.SUMMARY]}
    pack = seal_again(files, tmp_path / "x.ogpack", case.auditor)
    assert kinds(pack) == {"pack_signature_invalid"}


def test_a_revoked_auditor(case: Case, tmp_path: Path) -> None:
    from og_ros.registry import RegistryWriter

    registry = tmp_path / "registry"
    shutil.copytree(case.directory / "registry", registry)
    auditor = SoftwareSigner(keys.generate())
    certify_auditor(registry, case.run.authority, auditor)
    with RegistryWriter.open(registry, case.run.authority) as writer:
        writer.revoke_key(auditor.key_id, "lost", at_ns=2 * 10**9)
    pack = tmp_path / "x.ogpack"
    write_pack(case.directory / "bag", registry, pack, PackOptions(signer=auditor))
    assert kinds(pack) == {"pack_signer_unexpected"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "zip"}, "has the format"),
        ({"version": 2}, "version 2; this og_ros reads version 1"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"recording": {"name": "../../etc", "data": "complete"}}, "no plain relative path"),
        ({"recording": {"name": "a/b", "data": "complete"}}, "impossible way"),
        ({"audit": {"root": 3}}, "texts or null"),
    ],
)
def test_descriptions_that_are_refused(case: Case, tmp_path: Path, change: Files, says: str) -> None:
    description = {**json.loads(case.files[layout.DESCRIPTION]), **change}
    files = {**case.files, layout.DESCRIPTION: json.dumps(description).encode()}
    with pytest.raises(PackError, match=says):
        verify_pack(put_together(files, tmp_path / "x.ogpack"))


def test_a_report_of_another_version_is_a_warning(case: Case, tmp_path: Path) -> None:
    files = unsigned(case.files)
    description, changed = json.loads(files[layout.DESCRIPTION]), json.loads(files[layout.REPORT])
    description["software"]["og_ros"] = "9.9.9"
    changed["decisions"] += 1
    changed["a_field_of_later"] = 1
    files.update({layout.DESCRIPTION: json.dumps(description).encode(), layout.REPORT: json.dumps(changed).encode()})
    report = verify_pack(seal_again(files, tmp_path / "x.ogpack"))
    assert [finding.kind for finding in report.findings] == ["pack_report_outdated"]
    assert report.verdict is Verdict.HOLDS
    assert not report.confirmed


# ---- the command line ------------------------------------------------------------------------------------------------


def test_the_verbs(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, pack = case.directory, tmp_path / "case.ogpack"
    private = keys.generate()
    keys.save_private(private, tmp_path / "auditor.pem")
    (tmp_path / "auditor.pub").write_text(keys.public_pem(private.public_key()))
    inputs = ["pack", str(source / "bag"), "--registry", str(source / "registry"), "--ledger", str(source / "ledger")]
    assert main([*inputs, "--key", str(tmp_path / "auditor.pem"), "-o", str(pack), "--quiet"]) == 0
    assert "the report inside says: holds" in capsys.readouterr().out
    assert main([*inputs, "-o", str(pack)]) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert main(["pack", str(source / "bag"), "-o", str(pack)]) == 2
    verify = ["verify", str(pack), "--root", case.root, "--packer", str(tmp_path / "auditor.pub"), "--quiet"]
    assert main([*verify, "--extract", str(tmp_path / "unpacked")]) == 0
    shown = capsys.readouterr().out
    assert "its report says holds: confirmed by a new audit" in shown
    assert "No findings." in shown
    assert (tmp_path / "unpacked" / "README.txt").is_file()
    assert main(["verify", str(pack), "--root", f"sha256:{'0' * 64}", "--json", "-"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["kind"] == "root_not_trusted"
    with zipfile.ZipFile(tmp_path / "no.ogpack", "w") as archive:
        archive.writestr("a.txt", b"")
    assert main(["verify", str(tmp_path / "no.ogpack")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
