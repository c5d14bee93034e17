"""og-ros audit, trace, attestation and doctor, as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rosbags.rosbag2 import StoragePlugin
from scenario import MESSAGES, Run, honest_run

from og_ros.attest import keys
from og_ros.cli.main import main

DATA = MESSAGES.parents[1] / "shared" / "data"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    directory = tmp_path_factory.mktemp("run")
    run = honest_run(20)
    run.write_registry(directory / "registry")
    run.write_ledger(directory / "ledger")
    run.write_bag(directory / "bag")
    run.write_bag(directory / "bag_sqlite", StoragePlugin.SQLITE3)
    return directory, run


@pytest.mark.parametrize("bag", ["bag", "bag_sqlite"])
def test_audit_of_an_honest_run(made: tuple[Path, Run], bag: str, capsys: pytest.CaptureFixture[str]) -> None:
    directory, _ = made
    arguments = [str(directory / bag), "--registry", str(directory / "registry"), "--ledger", str(directory / "ledger")]
    assert main(["audit", *arguments, "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["holds"] is True
    assert (report["decisions"], report["linked"], report["attestations"]) == (20, 20, 60)
    assert report["findings"] == []
    assert any("re-execution" in note for note in report["not_checked"])
    assert main(["audit", *arguments]) == 0
    assert "HOLDS" in capsys.readouterr().out


def test_audit_without_registry_could_not_check(made: tuple[Path, Run], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(made[0] / "bag")]) == 2
    out = capsys.readouterr().out
    assert "COULD NOT BE CHECKED" in out
    assert "signatures" in out


def test_audit_against_another_root(made: tuple[Path, Run], capsys: pytest.CaptureFixture[str]) -> None:
    root = f"sha256:{'0' * 64}"
    arguments = [str(made[0] / "bag"), "--registry", str(made[0] / "registry"), "--root", root, "--json", "-"]
    assert main(["audit", *arguments]) == 1
    assert "root_not_trusted" in {f["kind"] for f in json.loads(capsys.readouterr().out)["findings"]}


@pytest.mark.parametrize("bag", ["gazebo_walker", "ros2_selfdriving_test_bag", "spot_raw"])
def test_a_recording_of_others_never_passes(bag: str, capsys: pytest.CaptureFixture[str]) -> None:
    if not DATA.is_dir():
        pytest.skip("the third-party recordings (../shared/data) are not here")
    assert main(["audit", str(DATA / "bags" / bag), "--json", "-"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["holds"] is False
    assert [f["kind"] for f in report["findings"]] == ["no_attestations"]


@pytest.mark.parametrize("damage", ["missing", "file", "empty", "no_storage", "metadata"])
def test_damaged_recording_is_one_line(
    damage: str, made: tuple[Path, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = tmp_path / "bag"
    if damage == "file":
        bag.write_bytes(b"no bag")
    elif damage == "empty":
        bag.mkdir()
    elif damage != "missing":
        made[1].write_bag(bag)
        storage = bag / "bag.mcap"
        if damage == "no_storage":
            storage.unlink()
        else:
            (bag / "metadata.yaml").write_text("a: [")
    assert main(["audit", str(bag)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("og-ros audit: ")
    assert captured.err.count("\n") == 1


def test_trace_goes_back_to_the_camera(made: tuple[Path, Run], capsys: pytest.CaptureFixture[str]) -> None:
    directory, run = made
    arguments = [str(directory / "bag"), "--topic", "/wheel_command", "--registry", str(directory / "registry")]
    assert main(["trace", *arguments, "--index", "3", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    control, planning = tree["attestation"], tree["inputs"][0]["attestation"]
    assert (control["stage"], control["sequence"], planning["stage"]) == ("control", 3, "planning")
    camera = tree["inputs"][0]["inputs"][0]["inputs"][0]
    assert camera["topic"] == "/camera/image"
    assert camera["recorded"] is True
    assert camera["digest"] == run.of_stage("perception")[3][1].statement.inputs[0].digest.hex()
    assert main(["trace", *arguments]) == 0
    text = capsys.readouterr().out
    assert "/camera/image" in text
    assert "signature holds" in text


def test_trace_of_an_unknown_topic_says_which_there_are(
    made: tuple[Path, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", str(made[0] / "bag"), "--topic", "/cmd"]) == 2
    assert "/wheel_command" in capsys.readouterr().err
    assert main(["trace", str(made[0] / "bag"), "--topic", "/wheel_command", "--index", "99"]) == 2


def test_attestation_is_exported_and_verified_alone(
    made: tuple[Path, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, run = made
    one = tmp_path / "one.cose"
    arguments = ["--stage", "control", "--index", "-1", "--out", str(one)]
    assert main(["attestation", "export", str(directory / "bag"), *arguments]) == 0
    assert one.read_bytes() == run.of_stage("control")[-1][1].cose
    assert main(["attestation", "verify", str(one), "--registry", str(directory / "registry")]) == 0
    public = tmp_path / "public.pem"
    public.write_text(keys.public_pem(run.signers["control"].public_key))
    capsys.readouterr()
    assert main(["attestation", "verify", str(one), "--key", str(public), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["statement"]["stage"] == "control"
    public.write_text(keys.public_pem(run.signers["planning"].public_key))
    assert main(["attestation", "verify", str(one), "--key", str(public)]) == 1
    assert main(["attestation", "export", str(directory / "bag"), "--out", str(tmp_path / "all")]) == 0
    assert len(list((tmp_path / "all").iterdir())) == 60
    one.write_bytes(one.read_bytes()[:-1])
    assert main(["attestation", "verify", str(one), "--key", str(public)]) == 2


def test_audit_runs_where_there_is_no_ros(made: tuple[Path, Run]) -> None:
    """A process that cannot import rclpy, onnxruntime or cv2 audits all the same."""
    code = (
        "import sys\n"
        "for name in ('rclpy', 'onnxruntime', 'cv2', 'og_ros.msg'): sys.modules[name] = None\n"
        "from og_ros.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    directory = made[0]
    done = subprocess.run(
        [sys.executable, "-c", code, "audit", str(directory / "bag"), "--registry", str(directory / "registry")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(MESSAGES.parent)},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "HOLDS" in done.stdout


@pytest.mark.parametrize("verb", [["audit"], ["trace", "--topic", "/wheel_command"]])
def test_a_reader_who_stops_reading_changes_no_exit_code(made: tuple[Path, Run], verb: list[str]) -> None:
    directory = made[0]
    command = [sys.executable, "-m", "og_ros.cli.main", *verb, str(directory / "bag")]
    read, write = os.pipe()
    process = subprocess.Popen([*command, "--registry", str(directory / "registry")], stdout=write, stderr=-1)
    os.close(write)
    os.close(read)
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_doctor_finds_keys_that_others_can_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys.save_private(keys.generate(), tmp_path / "good.pem")
    assert main(["doctor", "--keys", str(tmp_path), "--json"]) == 0
    checks = {check["name"]: check["state"] for check in json.loads(capsys.readouterr().out)}
    assert checks["attestation"] == checks["good.pem"] == "ok"
    (tmp_path / "good.pem").chmod(0o644)
    assert main(["doctor", "--keys", str(tmp_path)]) == 1
    assert "chmod 600" in capsys.readouterr().out
