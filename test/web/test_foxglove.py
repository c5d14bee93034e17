"""The Foxglove panel and layout, and RViz's configuration: built and checked, with a stand-in for Foxglove itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from chromium import Chromium
from npm_packages import WEB, node

ROOT = Path(__file__).resolve().parents[2]
STATUS = {
    "state": 3, "robot": "r7", "decisions": 9, "linked": 8, "violations": 1, "chain_latency_ms": 12.5, "log_size": 20,
    "stages": [{"stage": "<b>x</b>", "model": "m 1", "attestations": 9, "violations": 1, "rate": 10, "latency_ms": 3}],
    "recent": [{"kind": "output_altered", "severity": 2, "stage": "x", "message": "<img src=x onerror=hit=1>"}],
}  # fmt: skip
VERDICT = {"mode": 1, "state": 2, "accepted": False, "reasons": ["digest_mismatch"], "latency_ms": 1}
BUNDLE = """
require("esbuild").buildSync({entryPoints: ["foxglove-panel/src/index.ts"], bundle: true, format: "cjs",
  target: "es2022", outfile: process.argv[1]});
"""
# What of Foxglove's PanelExtensionContext the panel uses.
STAND_IN = """
var module = {exports: {}}, exports = module.exports; %s;
var panel, context = {panelElement: document.createElement("div"), initialState: {gate: "/arm/gate"}, watched: [],
  watch(name) { this.watched.push(name); }, subscribe(topics) { this.topics = topics.map(t => t.topic); },
  unsubscribeAll() { this.topics = []; }, saveState(state) { this.saved = state; }};
document.body.append(context.panelElement);
module.exports.activate({registerPanel(given) { panel = given; }});
var end = panel.initPanel(context), rendered = 0;
function show(state) { context.onRender(state, () => { rendered++; }); return context.panelElement.innerText; }
"""


def test_the_panel_shows_what_auditor_and_gate_say(browser: Chromium, tmp_path: Path) -> None:
    for arguments in (
        ["node_modules/typescript/bin/tsc", "-p", "foxglove-panel"],
        ["node_modules/typescript/bin/tsc", "-p", "tsconfig.page.json"],
        ["--input-type=commonjs", "-e", BUNDLE, tmp_path / "extension.js"],
    ):
        done = node(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    page = tmp_path / "page.html"
    script = STAND_IN % (tmp_path / "extension.js").read_text()
    page.write_text(f"<!DOCTYPE html><meta charset=utf-8><title>panel</title><body><script>{script}</script>")
    with browser.tab() as tab:
        tab.open(page)
        assert tab.run("panel.name") == "Decision chain"
        assert tab.run("context.topics") == ["/auditor/status", "/arm/gate/verdict"]
        assert "Nothing was heard on /auditor/status" in tab.run("show({})")
        frame = [
            {"topic": "/auditor/status", "message": STATUS},
            {"topic": "/arm/gate/verdict", "message": VERDICT},
        ]
        text = tab.run(f"show({{currentFrame: {json.dumps(frame)}}})")
        assert "the chain is VIOLATED" in text
        assert "8 of 9 decisions linked" in text
        assert "<b>x</b>" in text
        assert "violation output_altered: <img" in text
        assert "Gate LATCHED; the newest command was refused: digest_mismatch" in text
        assert tab.run("window.hit") is None
        assert "Nothing was heard" in tab.run("show({didSeek: true})")
        assert tab.run("rendered") == 3
        assert tab.run("end(); context.topics.length") == 0


def test_the_layout_names_panels_and_topics_that_there_are() -> None:
    layout = json.loads((ROOT / "config" / "foxglove" / "og_ros.json").read_text())
    panel = json.loads((WEB / "foxglove-panel" / "package.json").read_text())
    configured = set(layout["configById"])

    def leaves(tree: object) -> list[str]:
        if isinstance(tree, dict):
            return leaves(tree["first"]) + leaves(tree["second"])
        return [str(tree)]

    assert sorted(leaves(layout["layout"])) == sorted(configured)
    assert f"{panel['displayName']}.Decision chain!chain" in configured
    fields = {
        "/auditor/status": (ROOT / "msg" / "ChainStatus.msg").read_text(),
        "/gate/verdict": (ROOT / "msg" / "Verdict.msg").read_text(),
    }
    paths = [path["value"] for config in layout["configById"].values() for path in config.get("paths", [])]
    assert len(paths) >= 4
    for path in paths:
        topic, _, field = path.rpartition(".")
        assert re.search(rf"^\S+ {field}\b", fields[topic], re.MULTILINE), path


def test_rviz_shows_the_topic_of_the_markers_node() -> None:
    config = yaml.safe_load((ROOT / "config" / "rviz" / "og_ros.rviz").read_text())
    displays = {display["Name"]: display for display in config["Visualization Manager"]["Displays"]}
    assert displays["og_ros verdicts"]["Topic"]["Value"] == "/markers/array"
    assert displays["og_ros verdicts"]["Class"] == "rviz_default_plugins/MarkerArray"

