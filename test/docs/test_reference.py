"""The reference says what the code does: generated parts, tables of fields, examples, formats and links."""

from __future__ import annotations

import base64
import importlib
import json
import re
import shlex
import sys
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from doc_pages import ROOT, Block, anchors, blocks, links, pages
from doc_runs import Demo

from og_ros.aggregator import config as aggregator
from og_ros.attest.keys import generate, public_pem
from og_ros.audit.findings import KINDS, Severity
from og_ros.audit.levels import AXES
from og_ros.audit.policy import Policy, StageDemands, parse_policy
from og_ros.audit.reports.regulation import load_profile
from og_ros.cli.main import VERBS, build_parser, module_of
from og_ros.gate.envelope_format import read_yaml
from og_ros.nodes.bringup import describe_nodes
from og_ros.nodes.fleet_file import load_fleet
from og_ros.nodes.sections import AuditorSection, RecorderSection, SourceSection, WitnessSection
from og_ros.registry import Revocation, entry
from og_ros.settlement import config as settlement
from og_ros.settlement import endpoint_config
from og_ros.stages.adapters import registered
from og_ros.stages.pipeline import InputConfig, ModelConfig, OutputConfig, QosConfig, StageConfig, load_pipeline

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
_TABLE_ROW = re.compile(r"^\| (.+) \|$")


def rows(page: Path, heading: str) -> list[list[str]]:
    """Return the cells of the tables under a heading, without their heads."""
    found: list[list[str]] = []
    section = f"\n{page.read_text()}".partition(f"\n{heading}\n")[2]
    assert section, f"{page.name} has no heading {heading}"
    section = re.split(r"\n#+ ", section)[0]
    for line in section.splitlines():
        row = _TABLE_ROW.match(line)
        if row is None or set(line) <= set("|- "):
            continue
        found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", row[1])])
    return found[1:]


def named(cell: str) -> list[str]:
    """Return the names in a table's first cell: `mean`, `std`."""
    return re.findall(r"`([^`]+)`", cell)


def test_generated_parts_are_up_to_date(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    monkeypatch.setattr(sys, "argv", ["reference_pages.py", "--check"])
    code = importlib.import_module("reference_pages").main()
    assert code == 0, f"run `python tools/reference_pages.py`; not up to date:\n{capsys.readouterr().out}"


def test_every_link_leads_somewhere() -> None:
    for page in pages():
        for line, target in links(page):
            if target.startswith("https://"):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{page.relative_to(ROOT)}:{line}: {target}"
            if anchor:
                assert anchor in anchors(file), f"{page.relative_to(ROOT)}:{line}: {target}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    found, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in found:
            continue
        found.add(page)
        targets = [
            (page.parent / target.partition("#")[0]).resolve() for _, target in links(page) if "://" not in target
        ]
        waiting += [target for target in targets if target.suffix == ".md"]
    assert {*pages()} - found <= {DOCS / "README.md"}


# ---- configuration ---------------------------------------------------------------------------------------------------

ADAPTERS: dict[str, Any] = {kind.name: kind for kind in registered._OWN}
SECTIONS: dict[str, Any] = {
    "## Stage": StageConfig,
    "## Model": ModelConfig,
    "## Input": InputConfig,
    "## Output": OutputConfig,
    "## QoS": QosConfig,
    "## Sources": SourceSection,
    "## Witnesses": WitnessSection,
    "## Auditor": AuditorSection,
    "## Recorder": RecorderSection,
    **{f"### {name}": kind for name, kind in ADAPTERS.items()},
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_tables_of_the_pipeline_page(heading: str) -> None:
    described: dict[str, str] = {}
    for row in rows(REFERENCE / "pipeline.md", heading):
        for name in named(row[0]):
            assert name not in described
            described[name] = row[1]
    known = {f.name: f for f in fields(SECTIONS[heading])}
    assert described.keys() == known.keys()
    for name, shown in described.items():
        _check_default(f"{heading} {name}", shown, known[name])


def _check_default(what: str, shown: str, known: Field[Any]) -> None:
    """Compare a default as a page shows it: a literal is the field's, "none" an empty one, a text is not checked."""
    default = known.default_factory() if known.default_factory is not MISSING else known.default
    if shown == "required":
        assert default is MISSING, what
    elif shown == "none":
        assert not default, what
    elif shown.startswith("[") and default:
        assert shown == f"[{', '.join(default)}]", what
    elif re.fullmatch(r"-?[\d.]+|`\w+`", shown):
        # A section's None leaves the node's own default, which is shown and is checked where the node is.
        assert default is None or str(default).lower() == shown.strip("`").lower(), what


def test_tables_of_the_policy_page() -> None:
    described = {named(row[0])[0]: row[1] for row in rows(REFERENCE / "policy.md", "# Policy")}
    internal = {f.name: f.default for f in fields(Policy) if f.name not in ("digest", "files", "topic_loss")}
    public = {
        "max_clock_skew_ns": "max_clock_skew_s",
        "max_chain_latency_ns": "max_chain_latency_ms",
        "min_reexecuted": "reexecution",
        "witness_policy": "witnesses",
        "witness_quorum": "witnesses",
    }
    assert described.keys() == {"version", *(public.get(name, name) for name in internal)}
    assert float(described["max_loss"]) == internal["max_loss"]
    assert float(described["max_clock_skew_s"]) * 1e9 == internal["max_clock_skew_ns"]
    stage = [name for row in rows(REFERENCE / "policy.md", "## Stage") for name in named(row[0])]
    assert stage[:2] == [next(iter(AXES)), list(AXES)[-1]]
    assert stage[2:] == [f.name.replace("_ns", "_ms") for f in fields(StageDemands) if f.name != "levels"]


YAML_BLOCKS = [block for page in pages() for block in blocks(page) if block.language == "yaml"]


@pytest.mark.parametrize("block", YAML_BLOCKS, ids=lambda block: block.where)
def test_yaml_examples_load(block: Block, tmp_path: Path) -> None:
    data = yaml.safe_load(block.text)
    if block.mark is not None and block.mark[0] == "fragment":
        assert isinstance(data, dict)
        ADAPTERS["image"](**{name: tuple(v) if isinstance(v, list) else v for name, v in data["options"].items()})
    elif "clauses" in data:
        file = tmp_path / "profile.yaml"
        file.write_text(block.text)
        assert load_profile(file).clauses
    elif isinstance(data.get("robots"), dict):
        file = tmp_path / "fleet.yaml"
        file.write_text(block.text)
        assert [robot.namespace for robot in load_fleet(file)] == list(data["robots"])
    elif all(isinstance(section, dict) and "ros__parameters" in section for section in data.values()):
        assert all(section["ros__parameters"] for section in data.values())
    elif "robots" in data:
        assert read_yaml(block.text.encode(), "it.yaml", 0, load_key=lambda _: public_pem(generate().public_key()))
    elif "origin" in data:
        file = tmp_path / "endpoint.yaml"
        file.write_text(block.text)
        assert endpoint_config.load(file).section.origin
    elif "version" in data:
        assert parse_policy(block.text.encode()).required_stages
    elif "aggregator" in data:
        file = tmp_path / "aggregator.yaml"
        file.write_text(block.text)
        assert aggregator.load(file).fleet
    elif "settlement" in data and "stages" not in data:
        file = tmp_path / "settlement.yaml"
        file.write_text(block.text)
        assert settlement.load(file).section.backends
    else:
        file = tmp_path / "pipeline.yaml"
        file.write_text(block.text)
        nodes = describe_nodes(load_pipeline(file), record="recorder" in data)
        assert {"auditor", *data["stages"]} <= {node.name for node in nodes}


# ---- findings and levels ---------------------------------------------------------------------------------------------


def test_findings_of_the_threat_model_are_tested() -> None:
    """Each kind in the table of attacks is one, and the tests raise it."""
    folders = ("audit", "registry", "attacks", "settlement", "support/attack_cases")
    tests = "".join(path.read_text() for folder in folders for path in (ROOT / "test" / folder).glob("*.py"))
    table = rows(DOCS / "concepts" / "threat-model.md", "## What an audit finds")
    kinds = [kind for row in table for kind in named(row[1])]
    assert len(kinds) > 25
    for kind in kinds:
        assert kind in KINDS
        assert f'"{kind}"' in tests, f"{kind} is in the threat model's table and in no test that raises it"


def test_every_violation_is_in_the_threat_model() -> None:
    text = (DOCS / "concepts" / "threat-model.md").read_text()
    missing = [name for name, kind in KINDS.items() if kind.severity is Severity.VIOLATION and f"`{name}`" not in text]
    assert not missing


def test_assumptions_of_the_threat_model_are_numbered() -> None:
    numbers = [row[0] for row in rows(DOCS / "concepts" / "threat-model.md", "## Assumptions")]
    assert numbers == [f"A{n}" for n in range(1, len(numbers) + 1)]
    text = (DOCS / "concepts" / "threat-model.md").read_text()
    assert set(re.findall(r"\bA\d+\b", text)) == set(numbers)


def test_kinds_in_the_text_exist() -> None:
    prefixes = ("key_", "model_", "output_", "input_", "session_", "attestation_", "decision_")
    fields_and_levels = {"input_attestation", "model_integrity", "attestation_topic", "model_digest", "model_name",
                         "model_version", "key_id", "model_signing"}  # fmt: skip
    for page in DOCS.glob("concepts/*.md"):
        for name in re.findall(r"`([a-z_]+)`", page.read_text()):
            if name.startswith(prefixes) and name not in fields_and_levels:
                assert name in KINDS, f"{page.name}: {name}"


def test_levels_page_has_every_axis_in_order() -> None:
    table = rows(DOCS / "concepts" / "levels.md", "# Levels")
    shown = {named(row[0])[0]: tuple(re.sub(r"\*", "", row[1]).split(" · ")) for row in table}
    assert shown == AXES


# ---- the report, the registry, the record ----------------------------------------------------------------------------


def test_report_fields(demo: Demo) -> None:
    report = json.loads((demo.directory / "audit.json").read_text())
    table = rows(REFERENCE / "report.md", "## Fields")
    assert report.keys() <= {name for row in table for name in named(row[0])}
    assert {name for row in table for name in named(row[0]) if row[1] == "yes"} <= report.keys()


def test_registry_fields(demo: Demo) -> None:
    found = {
        json.loads(path.read_text())["payloadType"]: json.loads(
            base64.b64decode(json.loads(path.read_text())["payload"])
        )
        for path in (demo.directory / "registry").rglob("*.dsse.json")
    }
    revocation = entry.encode_revocation(Revocation("key", bytes(32), 0, "lost", "acme"))
    found[entry.payload_type("revocation")] = json.loads(revocation)
    table = {
        row[0]: re.sub(r"\[.*?\]|\{.*?\}|\(.*?\)", "", row[1]) for row in rows(REFERENCE / "registry.md", "## Envelope")
    }
    for kind in ("root", "model", "key", "revocation", "index"):
        assert {"format", *named(table[kind])} == found[entry.payload_type(kind)].keys() - {"post_quantum"}, kind
    assert table.keys() == {"root", "model", "imported-model", "key", "revocation", "index"}


def test_cddl_accepts_attestations_and_nothing_else(demo: Demo) -> None:
    pycddl = pytest.importorskip("pycddl", reason="the PyPI package pycddl is not installed")
    import cbor2

    from og_ros.attest import ATTESTATION_TYPE, decode_attestation
    from og_ros.audit.recording.bag import open_bag

    (block,) = (b for b in blocks(REFERENCE / "attestation.md") if b.language == "cddl")
    whole, header, inner = (
        pycddl.Schema(f"start = {rule}\n{block.text}") for rule in ("attestation", "protected-header", "statement")
    )
    with open_bag(demo.directory / "bag") as bag:
        topics = [topic.name for topic in bag.topics.values() if topic.type == ATTESTATION_TYPE]
        records = [decode_attestation(record.payload).cose for record in bag.records(topics)]
    assert len(records) > 50
    for record in records:
        whole.validate_cbor(record)
        protected, _, payload, _ = cbor2.loads(record).value
        header.validate_cbor(protected)
        inner.validate_cbor(payload)
    statement = cbor2.loads(payload)
    for name, value in (("clock", 3), ("session", bytes(15)), ("outputs", []), ("robot", ""), ("more", 1)):
        with pytest.raises(pycddl.ValidationError):
            inner.validate_cbor(cbor2.dumps({**statement, name: value}))
    with pytest.raises(pycddl.ValidationError):
        header.validate_cbor(cbor2.dumps({**cbor2.loads(protected), 4: b"me"}))


# ---- the command's own help ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_examples_in_the_help_are_valid(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Examples in `og-ros VERB --help` are not run, but each must be a command line that the parser takes."""
    epilog = importlib.import_module(module_of(verb)).EPILOG
    examples = re.findall(r"^ *(?:examples?: )?og-ros ([\w-]+ .*|[\w-]+)$", epilog.replace("\\\n", " "), re.MULTILINE)
    assert any(example.split()[0] == verb for example in examples)
    for example in examples:
        words = shlex.split(re.split(r"(?<=\S)   +(?=\S)", re.sub(r"(?<= ) +(?=--)", "", example))[0], comments=True)
        try:
            build_parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"og-ros {' '.join(words)}: {capsys.readouterr().err}")


def test_settlement_fields_are_all_described() -> None:
    text = (REFERENCE / "settlement.md").read_text()
    kinds = (settlement.SettlementSection, settlement.BackendSection, settlement.PaymentSection, settlement.Allowance)
    for kind in kinds:
        for field in fields(kind):
            assert f"`{field.name}`" in text, f"settlement.md does not describe {field.name}"
    text = (REFERENCE / "settlement_http.md").read_text()
    for kind in (endpoint_config.EndpointSection, endpoint_config.Listen, endpoint_config.Price):
        for field in fields(kind):
            assert f"`{field.name}`" in text, f"settlement_http.md does not describe {field.name}"


def test_fields_of_an_aggregator_are_all_described() -> None:
    text = (DOCS / "guides" / "run-an-aggregator.md").read_text()
    for field in fields(aggregator.AggregatorSection):
        assert f"`{field.name}`" in text, f"run-an-aggregator.md does not describe {field.name}"
    assert aggregator.load(ROOT / "config" / "aggregator.yaml").section.origin == "example.com/fleet-a"
