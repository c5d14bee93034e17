"""Every example does what its first line says, and refuses what it must refuse."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from doc_pages import ROOT, blocks
from domains import claimed_domain
from scenario import Run, honest_run

from og_ros.attest import keys
from og_ros.audit.policy import load_policy
from og_ros.audit.recording.bag import open_bag
from og_ros.registry import Registry

EXAMPLES = ROOT / "examples"
GUIDES = ROOT / "docs" / "guides"
PAGE = GUIDES / "examples.md"
TICKS = 8


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a user who activated this Python's environment."""
    found = {**os.environ, **more, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    if found.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None):
        found.pop("LD_LIBRARY_PATH", None)
    return found


def run(directory: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=directory, env=environment(**more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=200,
    )  # fmt: skip


def code(name: str) -> list[str]:
    """Return the lines of an example that are neither blank nor comments."""
    lines = (EXAMPLES / name).read_text().splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def test_the_table_names_every_example() -> None:
    folders = {file.name for file in EXAMPLES.iterdir() if file.is_dir()}
    assert set(re.findall(r"^\| \[(\w+)\]", PAGE.read_text(), re.MULTILINE)) == folders


# ---- with ROS --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "topic"), [("own_model", "/speed_limit"), ("own_node", "/cmd_vel")])
def test_a_run_of_your_own(name: str, topic: str, tmp_path: Path) -> None:
    for module in ("rclpy", "onnx"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    with claimed_domain() as domain:
        ended = run(
            tmp_path, "bash", str(EXAMPLES / name / "run.sh"), OUT=str(tmp_path / "out"), SECONDS_TO_RUN="1",
            ROS_DOMAIN_ID=str(domain), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST",
        )  # fmt: skip
    assert ended.returncode == 0, ended.stdout
    assert "HOLDS" in ended.stdout
    with open_bag(tmp_path / "out" / "run1") as bag:
        counts = {name: topic.count for name, topic in bag.topics.items()}
    assert counts[topic] >= 5
    assert counts[f"{topic}/attestation"] == counts[topic]


def test_own_model_is_as_short_as_the_page_says() -> None:
    assert len(code("own_model/pipeline.yaml")) == 10
    assert "ten lines of YAML" in PAGE.read_text()


def test_own_node_is_the_guides() -> None:
    (block,) = (b for b in blocks(GUIDES / "attest-your-own-node.md") if b.mark == ("file", "brake.py"))
    assert (EXAMPLES / "own_node" / "brake.py").read_text() == block.text


# ---- without ROS -----------------------------------------------------------------------------------------------------


class Given:
    """A run of the demo's topics as a directory, and the fingerprint of its registry."""

    def __init__(self, of: Run, directory: Path) -> None:
        of.write_registry(directory / "registry")
        of.write_ledger(directory / "ledger")
        of.write_bag(directory / "bag")
        self.directory = directory
        self.root = Registry.open(directory / "registry").fingerprint
        self.run = of


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return Given(honest_run(TICKS), tmp_path_factory.mktemp("honest"))


@pytest.fixture(scope="module")
def cheated(tmp_path_factory: pytest.TempPathFactory) -> Given:
    of = honest_run(TICKS)
    at, _ = of.of_stage("planning")[3]
    of.forge(at, duration_ns=1)
    return Given(of, tmp_path_factory.mktemp("cheated"))


def audit_in_python(given: Given, root: str) -> subprocess.CompletedProcess[str]:
    script = str(EXAMPLES / "audit_in_python" / "audit.py")
    return run(given.directory, sys.executable, script, "bag", "registry", root)


def test_audit_in_python(honest: Given, cheated: Given) -> None:
    ended = audit_in_python(honest, honest.root)
    assert (ended.returncode, ended.stdout.split()[0]) == (0, "holds"), ended.stdout
    ended = audit_in_python(cheated, cheated.root)
    assert ended.returncode == 1
    assert re.search("^signature_invalid /planning", ended.stdout, re.MULTILINE)
    ended = audit_in_python(honest, cheated.root)
    assert ended.returncode == 1
    assert "could not check: " in ended.stdout
    assert len(code("audit_in_python/audit.py")) <= 20


def workflow_steps(given: Given, directory: Path) -> list[tuple[str, Mapping[str, str]]]:
    """Return the commands of the workflow that need no network, each with its environment."""
    workflow = yaml.safe_load((EXAMPLES / "policy_in_ci" / "audit.yml").read_text())
    shutil.copy(EXAMPLES / "policy_in_ci" / "policy.yaml", directory)
    for name in ("BAG", "REGISTRY", "LEDGER"):
        target = directory / workflow["env"][name]
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(given.directory / name.lower(), target)
    steps = workflow["jobs"]["audit"]["steps"]
    for step in steps:
        assert re.search(r"@v\d+$", step.get("uses", "@v1"))
    found = []
    for step in steps:
        if "run" in step and "pip install" not in step["run"]:
            own = {name: re.sub(r"\$\{\{.*?\}\}", given.root, text) for name, text in step.get("env", {}).items()}
            found.append((step["run"], {**workflow["env"], **own}))
    return found


@pytest.mark.parametrize(("which", "exit_code", "rules"), [("honest", 0, set()), ("cheated", 1, {"signature_invalid"})])
def test_policy_in_ci(
    which: str, exit_code: int, rules: set[str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    (step,) = workflow_steps(request.getfixturevalue(which), tmp_path)
    ended = run(tmp_path, "bash", "-e", "-c", step[0], **step[1])
    assert ended.returncode == exit_code, ended.stdout
    sarif = json.loads((tmp_path / "findings.sarif").read_text())
    errors = {found["ruleId"] for found in sarif["runs"][0]["results"] if found["level"] == "error"}
    assert rules <= errors
    assert bool(rules) == bool(errors)
    assert (tmp_path / "checks.xml").is_file()


def test_the_policy_in_ci_demands_something(tmp_path: Path) -> None:
    assert load_policy(EXAMPLES / "policy_in_ci" / "policy.yaml").stages.keys() >= {"*", "control"}


def test_verify_one(honest: Given, tmp_path: Path) -> None:
    for module in ("pycose", "cbor2"):
        pytest.importorskip(module, reason=f"the PyPI package {module} is not installed")
    script = str(EXAMPLES / "verify_one" / "verify.py")
    text = Path(script).read_text()
    assert not re.search(r"(import|from) og_ros", text)
    exported = run(
        honest.directory, "og-ros", "attestation", "export", "bag", "--stage", "planning", "--index", "-1", "--out",
        str(tmp_path / "decision.cose"),
    )  # fmt: skip
    assert exported.returncode == 0, exported.stdout
    (tmp_path / "it.pub").write_text(keys.public_pem(honest.run.signers["planning"].public_key))
    ended = run(tmp_path, sys.executable, script, "decision.cose", "it.pub")
    assert ended.returncode == 0, ended.stdout
    assert f"stage planning, number {TICKS - 1}" in ended.stdout
    if shutil.which("openssl") is not None:
        line = next(line.strip() for line in text.splitlines() if line.strip().startswith("openssl"))
        command = line.replace("control.pub", "it.pub")
        assert "Verified OK" in run(tmp_path, "bash", "-c", command).stdout
        (tmp_path / "signed.bin").write_bytes((tmp_path / "signed.bin").read_bytes() + b"x")
        assert run(tmp_path, "bash", "-c", command).returncode == 1
    record = bytearray((tmp_path / "decision.cose").read_bytes())
    record[len(record) // 2] ^= 1
    (tmp_path / "decision.cose").write_bytes(record)
    assert run(tmp_path, sys.executable, script, "decision.cose", "it.pub").returncode == 1
