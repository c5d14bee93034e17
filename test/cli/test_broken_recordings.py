"""og-ros audit of every broken recording there is: one line on standard error, exit code 2, and never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import raw_bags
from hostile_bags import HOSTILE_DIRECTORY, HOSTILE_MCAP, HOSTILE_SQLITE
from scenario import Run, honest_run

from og_ros.cli.main import main

SLOW_S = 10


@pytest.fixture(scope="module")
def run() -> Run:
    return honest_run(60)


def make(case: str, directory: Path) -> None:
    directory.mkdir()
    kind, _, name = case.partition(": ")
    if kind == "mcap":
        (directory / "bag.mcap").write_bytes(HOSTILE_MCAP[name][0])
    elif kind == "sqlite":
        HOSTILE_SQLITE[name][0](directory / "bag.db3")
    else:
        HOSTILE_DIRECTORY[name][0](directory)


@pytest.mark.parametrize(
    "case",
    [
        *(f"mcap: {name}" for name in HOSTILE_MCAP),
        *(f"sqlite: {name}" for name in HOSTILE_SQLITE),
        # What needs the limits of the other tests of these is no recording of an attested robot either.
        *(f"directory: {name}" for name in HOSTILE_DIRECTORY if "bomb" not in name),
    ],
)
def test_one_line_and_exit_code_2(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(case, tmp_path / "bag")
    began = time.monotonic()
    assert main(["audit", str(tmp_path / "bag")]) == 2
    assert time.monotonic() - began < SLOW_S
    captured = capsys.readouterr()
    assert captured.err.startswith("og-ros audit: ")
    assert captured.err.count("\n") == 1
    assert captured.err[:-1].isprintable()
    assert str(tmp_path / "bag") in captured.err


@pytest.mark.parametrize("verb", [["trace", "--topic", "/a"], ["attestation", "export", "--out", "x"]], ids=str)
def test_other_verbs_say_it_too(verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bag.mcap").write_bytes(HOSTILE_MCAP["a name that is not UTF-8"][0])
    words = verb[:2] if verb[0] == "attestation" else verb[:1]
    assert main([*words, str(tmp_path), *verb[len(words) :]]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("described", [True, False])
def test_a_recording_that_was_cut_is_audited_up_to_there(
    described: bool, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write_registry(tmp_path / "registry")
    bag = tmp_path / "bag"
    bag.mkdir()
    messages = [raw_bags.Message(r.topic, r.received_ns, bytes(r.payload)) for r in run.records]
    types = {r.topic: r.type for r in run.records}
    data = raw_bags.mcap(messages, per_chunk=20, types=types)
    (bag / "bag.mcap").write_bytes(data[: len(data) * 2 // 3])
    if described:
        raw_bags.metadata(bag, "mcap", ["bag.mcap"], messages, types=types)
    before = raw_bags.snapshot(bag)
    assert main(["audit", str(bag), "--registry", str(tmp_path / "registry"), "--json", "-"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["finding_counts"]["recording_incomplete"] >= 1
    assert ("metadata_missing" in report["finding_counts"]) is not described
    assert 30 < report["linked"] < 50  # of 60: those before the cut
    assert report["holds"] is False
    assert raw_bags.snapshot(bag) == before


def test_a_process_of_its_own_ends_the_same_way(tmp_path: Path) -> None:
    """A pipe in place of a file, and a terminal that is none."""
    os.mkfifo(tmp_path / "bag.mcap")
    command = [sys.executable, "-m", "og_ros.cli.main", "audit", str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert shown.returncode == 2
    assert shown.stderr == f"og-ros audit: {tmp_path / 'bag.mcap'} is no regular file\n"
    assert shown.stdout == ""
