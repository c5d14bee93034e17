"""The verbs of envelopes and stops, as a user types them."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from og_ros.attest import keys
from og_ros.attest.statement import Algorithm
from og_ros.cli.main import main
from og_ros.errors import StopError
from og_ros.gate import estop
from og_ros.gate.stop_state import Outcome, StopRules, StopState
from og_ros.registry import key_files

CONFIG = Path(__file__).resolve().parents[2] / "config" / "envelopes"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("owner", "site-manager", "floor", "safety-1", "safety-2"):
        key_files.generate(tmp_path / f"{name}.pem", Algorithm.ES256)
    for file in CONFIG.glob("*.yaml"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def narrow(key: str = "site-manager.pem") -> int:
    assert main(["envelope", "sign", "warehouse_amr.yaml", "--key", "owner.pem", "--out", "fleet.dsse.json"]) == 0
    words = "envelope narrow site_night.yaml --chain fleet.dsse.json --owner owner.pem.pub --out night.dsse.json"
    return main([*words.split(), "--key", key])


def test_sign_narrow_check_show(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert narrow() == 0
    check = ["envelope", "check", "fleet.dsse.json", "night.dsse.json", "--owner", "owner.pem.pub", "--robot"]
    assert main([*check, "amr-1"]) == 0
    assert main([*check, "amr-2"]) == 1
    assert main(["envelope", "check", "fleet.dsse.json", "--owner", "floor.pem.pub"]) == 1
    assert main(["envelope", "check", "nothing.json", "--owner", "floor.pem.pub"]) == 2
    assert main(["envelope", "show", "fleet.dsse.json", "night.dsse.json"]) == 0
    said = capsys.readouterr().out
    assert "the chain holds: warehouse-amr version 1 > site-night version 1" in said
    assert "may release: 2 of safety-1, safety-2" in said


def test_what_would_be_wider_is_not_signed(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert narrow(key="floor.pem") == 2
    (site / "site_night.yaml").write_text((site / "site_night.yaml").read_text().replace("max: 0.8", "max: 1.8"))
    assert narrow() == 2
    said = capsys.readouterr().err
    assert "no delegate of warehouse-amr" in said
    assert "twist.linear.x max is 1.8; 1.6 is allowed (warehouse-amr)" in said
    assert not (site / "night.dsse.json").exists()


def test_a_wrong_challenge_is_named(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estop", "release", "--robot", "amr-1", "--key", "floor.pem", "--challenge", "12"]) == 2
    assert "not 32 hex digits" in capsys.readouterr().err


def test_a_stop_and_its_release_reach_a_gate(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rclpy = pytest.importorskip("rclpy")
    from rclpy.executors import SingleThreadedExecutor

    from og_ros.msg import EmergencyStop
    from og_ros.nodes.stop_sender import stop_qos

    public = {n: keys.load_public(site / f"{n}.pem.pub") for n in ("floor", "safety-1")}
    floor, safety = ({keys.key_id(public[n]): public[n]} for n in ("floor", "safety-1"))
    gate = StopState("amr-1", StopRules(floor, safety, 1))
    outcomes: list[Outcome] = []

    def take(payload: bytes) -> None:
        with contextlib.suppress(StopError):  # a release is sent several times; after the first it is for nothing
            outcomes.append(gate.take(payload))

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("listening_gate", context=context)
    node.create_subscription(EmergencyStop, estop.TOPIC, take, stop_qos(), raw=True)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    done = threading.Event()

    def spin() -> None:
        while not done.is_set():
            executor.spin_once(timeout_sec=0.05)

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        stop = "estop send --robot amr-1 --key floor.pem --reason smoke"
        assert main(stop.split()) == 0
        until(lambda: gate.stopped)
        words = f"estop release --robot amr-1 --key safety-1.pem --challenge {gate.challenge.hex()}"
        assert main(words.split()) == 0
        until(lambda: not gate.stopped)
    finally:
        done.set()
        thread.join()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert outcomes[0] is Outcome.STOPPED
    assert outcomes.count(Outcome.RELEASED) == 1
    assert set(outcomes) <= {Outcome.STOPPED, Outcome.REPLAYED, Outcome.RELEASED}


def until(happened: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)
