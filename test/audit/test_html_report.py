"""Exhibits, series and the page's text, without a browser."""

from __future__ import annotations

import base64
import json
import re
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
import scenario
from report_runs import real_run, write_page
from scenario import Run

from og_ros.attest import digest
from og_ros.audit.recording.bag import open_bag
from og_ros.audit.reports.exhibit_sources import NOT_RECORDED, OVER_BUDGET, Exhibits, gather
from og_ros.audit.reports.exhibits import Budget, ExhibitCollector
from og_ros.audit.reports.html_report import HtmlCollector, write_html
from og_ros.audit.reports.page_source import PAGE, content_hash, fill, link, modules
from og_ros.audit.reports.report_file import report_digest
from og_ros.audit.reports.series import BINS, Envelope
from og_ros.audit.run import audit_bag
from og_ros.errors import ReportError
from og_ros.log import VerifierKey, verify_proof
from og_ros.registry import Registry


def exhibits_of(run: Run, directory: Path, budget: Budget | None = None) -> Exhibits:
    run.write_bag(directory / "bag")
    run.write_registry(directory / "registry")
    run.write_ledger(directory / "ledger")
    registry = Registry.open(directory / "registry")
    collector = ExhibitCollector(budget)
    audit_bag(directory / "bag", registry, directory / "ledger", observers=[collector])
    with open_bag(directory / "bag") as bag:
        return gather(collector, bag, registry, directory / "ledger")


def test_exhibits_hold_the_whole_chain_and_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = real_run(monkeypatch, 10)
    found = exhibits_of(run, tmp_path)
    assert found.total == len(found.decisions) == 10
    for decision in found.decisions:
        assert [r.attestation.statement.stage for r in decision.chain] == ["control", "planning", "perception"]
        for record in decision.chain:
            statement = record.attestation.statement
            for reference in (*statement.inputs, *statement.outputs):
                assert digest(found.messages[reference.digest]) == reference.digest
    assert not found.left_out
    # The first frame has the stamp 0, which is none.
    assert [decision.latency_ns for decision in found.decisions] == [None, *[17_000_000] * 9]
    key = VerifierKey.of("test/log", run.log_key.public_key())  # type: ignore[arg-type]
    for record in found.records.values():
        verify_proof(record.attestation.cose, found.proofs[record.digest], key)
    assert {path.partition("/")[0] for path in found.registry} == {"index.dsse.json", "roots", "keys", "models"}


def test_the_choice_is_bounded_and_even(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = real_run(monkeypatch, 120)
    found = exhibits_of(run, tmp_path, Budget(decisions=20, slowest=3))
    assert found.total == 120
    assert 12 <= len(found.decisions) <= 20
    reasons = [reason for decision in found.decisions for reason in decision.reasons]
    assert reasons.count("first") == reasons.count("last") == 1
    assert reasons.count("slowest") == 3
    sequences = [d.record.attestation.statement.sequence for d in found.decisions if "sample" in d.reasons]
    gaps = {later - earlier for earlier, later in pairwise(sequences)}
    assert max(gaps) <= 24  # no stretch of the run is left out
    assert (sequences[0], found.decisions[-1].record.attestation.statement.sequence) == (0, 119)


def test_findings_come_first_and_name_records_of_no_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = real_run(monkeypatch, 30)
    run.forge(run.of_stage("planning")[7][0], duration_ns=1)
    lost = run.of_stage("control")[20][0]
    perception = run.of_stage("perception")[20][0]
    run.forge(perception, duration_ns=1)
    del run.records[lost]
    found = exhibits_of(run, tmp_path, Budget(decisions=4, slowest=1))
    with_findings = [d for d in found.decisions if "finding" in d.reasons]
    assert any(d.chain[1].attestation.statement.sequence == 7 for d in with_findings)
    assert any(not r.signed for d in with_findings for r in d.chain)
    # The forged perception led to no decision that was recorded, and is shown all the same.
    others = [d.record.attestation.statement for d in found.others]
    assert ("perception", 20) in [(statement.stage, statement.sequence) for statement in others]


def test_messages_are_bounded_and_what_is_left_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = real_run(monkeypatch, 10)
    gone = next(r for r in run.records if r.topic == "/camera/image")
    run.records.remove(gone)
    found = exhibits_of(run, tmp_path, Budget(payload_bytes=3000))
    assert sum(map(len, found.messages.values())) <= 3000
    assert set(found.left_out.values()) == {OVER_BUDGET, NOT_RECORDED}
    assert found.left_out[digest(gone.payload)] == NOT_RECORDED


def test_the_page_carries_the_report_and_states_its_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = write_page(real_run(monkeypatch, 6), tmp_path).read_text()
    report = base64.b64decode(re.search(r'id="og-report">([^<]*)<', page)[1])  # type: ignore[index]
    tree = json.loads(report)
    assert tree["verdict"] == "holds"
    assert re.search(r'id="report-digest" class="hash">([0-9a-f]{64})<', page)[1] == report_digest(tree).hex()  # type: ignore[index]
    figures = re.search(r'id="og-figures">([^<]*)<', page)[1]  # type: ignore[index]
    assert json.loads(figures)["exhibits"]["total"] == 6
    assert sha256(figures.encode()).hexdigest() in page
    script = page[page.rindex("<script>") + 8 : page.rindex("</script>")]
    assert content_hash(script) in page[: page.index("</head>")]
    assert set(re.findall(r"https?://[^\s\"'`)]+", script)) == {"http://www.w3.org/2000/svg"}


def test_hostile_names_stay_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "</script><script>alert(1)</script><!--{{script}}&amp;\"'"
    monkeypatch.setitem(scenario.STAGES, "control", (("/planning/reference", "/odom"), hostile))
    monkeypatch.setitem(scenario.TYPES, hostile, "std_msgs/msg/Float32MultiArray")
    page = write_page(real_run(monkeypatch, 4), tmp_path).read_text()
    assert hostile not in page
    assert "alert(1)</script>" not in page
    # Every script element is one that the template or a piece opened: nothing broke out.
    assert len(re.findall("<script", page)) == len(re.findall("</script>", page))
    assert page.count('"use strict";') == 1


def test_a_page_of_nothing(tmp_path: Path) -> None:
    run = scenario.honest_run(3)
    run.records = [record for record in run.records if not record.type.startswith("og_ros")]
    run.write_bag(tmp_path / "bag")
    collector = HtmlCollector()
    report = audit_bag(tmp_path / "bag", observers=[collector])
    with open_bag(tmp_path / "bag") as bag:
        write_html(report, collector, bag, None, None, tmp_path / "page.html")
        assert "does not hold" in (tmp_path / "page.html").read_text()
        with pytest.raises(ReportError, match="cannot write"):
            write_html(report, collector, bag, None, None, tmp_path / "no" / "page.html")


def test_an_envelope_keeps_spikes_in_bounded_memory() -> None:
    series = Envelope(10**9)
    for n in range(200_000):
        series.add(10**9 + n * 10_000_000, 500.0 if n == 123_456 else 1.0)
    assert len(series.counts) <= BINS
    assert sum(series.counts) == 200_000
    assert max(series.greatest) == 500.0
    assert min(series.least) == 1.0
    tree = series.as_json(10**9)
    spike = tree["greatest"].index(500.0)
    assert spike * tree["width_ms"] <= 123_456 * 10 < (spike + 1) * tree["width_ms"]


def test_the_modules_are_plain_es_modules() -> None:
    """What is linked into one scope must be importable as it is: each file imports all that it uses from its files."""
    verify = sorted((PAGE / "verify").glob("*.js"))
    assert verify
    for path in verify:
        source = path.read_text()
        assert all(module.parent == path.resolve().parent for module in modules(path)), path.name
        for forbidden in ("document", "window.", "innerHTML", "eval(", "fetch("):
            assert forbidden not in source, f"{path.name} uses {forbidden}"
    everything = link(PAGE / "ui" / "main.js")
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert forbidden not in everything


def test_two_modules_may_not_declare_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('import { b } from "./b.js";\nconst b = 1;\n')
    (tmp_path / "b.js").write_text("export const b = 2;\n")
    with pytest.raises(ValueError, match="both declare b"):
        link(tmp_path / "a.js")


def test_what_fills_a_slot_is_not_searched_for_slots() -> None:
    assert fill("{{a}} {{b}}", {"a": "{{b}}", "b": "x"}) == "{{b}} x"
