"""Receipts in evidence packs and in audits of many recordings: offline as far as they go, with a node all the way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packs import seal_again, take_apart
from scenario import honest_run
from settlement_place import ROBOT, Place
from settler_run import Run

from og_ros.attest import SoftwareSigner, keys
from og_ros.audit.fleet import audit_fleet
from og_ros.audit.fleet.recordings import find_recordings
from og_ros.audit.fleet.task import Task, audit_recording, identity
from og_ros.audit.pack import PackOptions, PackReport, layout, verify_pack, write_pack
from og_ros.audit.reports.report import Verdict
from og_ros.cli.main import main
from og_ros.errors import ConfigError, PackError
from og_ros.log import Ledger
from og_ros.registry import RegistryWriter
from og_ros.settlement import receipt


class Settled:
    """A recorded run with its registry, ledger and receipts side by side, and a pack of them."""

    def __init__(self, place: Place, directory: Path) -> None:
        self.place, self.directory = place, directory
        run = honest_run(8)
        run.write_registry(directory / "registry")
        with RegistryWriter.open(directory / "registry", run.authority) as writer:
            writer.certify_key(place.signer.public_key, role="settlement", robot=ROBOT, not_before_ns=10**18)
        run.write_ledger(directory / "ledger")
        run.write_bag(directory / "bag")
        with Ledger.open(directory / "ledger") as ledger:
            settler = Run(ledger, directory / "run", [place.backend()])
            settler.until(f"{ledger.size} final")
            self.receipts = [receipt.from_json(row.receipt, "r") for row in settler.outbox.rows("evm")]
            settler.outbox.close()
        (directory / "settlement").mkdir()
        receipt.write_file(self.file, ROBOT, self.receipts)
        self.options = PackOptions(ledger=directory / "ledger", settlement=self.file)
        self.pack = directory / "case.ogpack"
        write_pack(directory / "bag", directory / "registry", self.pack, self.options)

    @property
    def file(self) -> Path:
        return self.directory / "settlement" / "receipts.json"


@pytest.fixture
def settled(place: Place, tmp_path: Path) -> Settled:
    return Settled(place, tmp_path)


def level(report: dict[str, Any]) -> str:
    found: str = report["levels"]["settlement"]["lowest"]
    return found


def verified(pack: Path, **options: Any) -> tuple[str, set[str], PackReport]:
    report = verify_pack(pack, **options)
    assert report.report is not None
    findings = [*report.findings, *report.report.findings]
    return level(report.report.as_json()), {finding.kind for finding in findings}, report


def test_a_pack_carries_its_receipts(settled: Settled, capsys: pytest.CaptureFixture[str]) -> None:
    files = take_apart(settled.pack)
    assert files[layout.SETTLEMENT] == settled.file.read_bytes()
    assert level(json.loads(files[layout.REPORT])) == "submitted", "it asks nobody, so it can be repeated"
    offline, kinds, report = verified(settled.pack)
    assert (offline, kinds, report.confirmed) == ("submitted", set(), True)
    asked, kinds, report = verified(settled.pack, chain=settled.place.node.url, finality=1)
    assert (asked, kinds, report.confirmed, report.verdict) == ("final", set(), True, Verdict.HOLDS)
    block = settled.receipts[-1].inclusion
    assert block is not None
    assert verified(settled.pack, final_blocks={block.block_hash})[0] == "final"
    hashed = f"0x{block.block_hash.hex()}"
    assert main(["verify", str(settled.pack), "--final-block", hashed, "--json", "-", "--quiet"]) == 0
    assert level(json.loads(capsys.readouterr().out)["audit"]) == "final"


@pytest.mark.parametrize("change", ["signature", "malformed"])
def test_packed_receipts_that_do_not_hold_are_named(settled: Settled, change: str, tmp_path: Path) -> None:
    files = take_apart(settled.pack)
    other = SoftwareSigner(keys.generate())
    forged = [replace(one, signature=other.sign(one.entry.message())) for one in settled.receipts]
    files[layout.SETTLEMENT] = receipt.encode(ROBOT, forged) if change == "signature" else b"{}"
    _, kinds, report = verified(seal_again(files, tmp_path / "forged.ogpack"))
    assert "settlement_forged" in kinds
    assert report.verdict is Verdict.VIOLATED
    assert not report.confirmed


def test_receipts_that_were_left_out_show(settled: Settled, tmp_path: Path) -> None:
    files = take_apart(settled.pack)
    del files[layout.SETTLEMENT]
    bare = seal_again(files, tmp_path / "bare.ogpack")
    assert "pack_report_differs" in verified(bare)[1]
    with pytest.raises(ConfigError, match="holds no receipts"):
        verify_pack(bare, chain=settled.place.node.url)
    bag, registry = settled.directory / "bag", settled.directory / "registry"
    with pytest.raises(PackError, match="give the ledger too"):
        write_pack(bag, registry, tmp_path / "x", PackOptions(settlement=settled.file))


def test_an_audit_of_many_takes_the_receipts_beside_each(settled: Settled) -> None:
    report = audit_fleet([settled.directory], workers=1, chain=settled.place.node.url, finality=1)
    (one,) = report.audited
    assert level(one.outcome.data["report"]) == "final"

    (found,) = find_recordings([settled.directory])
    registry, ledger = settled.directory / "registry", settled.directory / "ledger"
    task = Task(found.path, found.size, registry, ledger, settlement=settled.file)
    assert level(audit_recording(task).data["report"]) == "submitted"
    assert identity(replace(task, chain="http://node")) != identity(task), "what a node said is not what nobody said"
    before = identity(task)
    receipt.write_file(settled.file, ROBOT, [replace(settled.receipts[0], inclusion=None)])
    assert identity(task) != before
    assert level(audit_recording(task).data["report"]) == "logged"
    settled.file.write_text("no receipts")
    assert "receipts.json" in audit_recording(task).error
