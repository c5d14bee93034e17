"""The aggregator as a process: killed at any moment, it has what it accepted, and settles nothing twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aggregator_process import Running
from anvil import wait_for
from fleet_robots import FLEET_KEY, ORIGIN, Robot, certify, robots
from self_signed import self_signed

from og_ros.cli.main import main
from og_ros.errors import BackendUnreachable
from og_ros.log import VerifierKey, verify_proof
from og_ros.settlement.http_client import HttpClient

httpx = pytest.importorskip("httpx")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def start(storage: str, fleet: list[Robot], **options: str) -> Running:
        certify(tmp_path / "registry", fleet)
        running.append(Running(tmp_path, storage, **options))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.kill()


def settled(url: str, fleet: list[Robot], known: dict[str, bytes]) -> bool:
    """Whether every accepted checkpoint has its receipt, which is checked."""
    key = VerifierKey.of(ORIGIN, FLEET_KEY)
    with httpx.Client() as client:
        for name, note in known.items():
            told = client.get(f"{url}/v1/checkpoints/{name}").json()
            if told.get("status") != "final":
                return False
            assert told["receipt"]["checkpoint"].encode() == note
            verify_proof(note, told["receipt"]["proof"], key)
    return True


def test_killed_at_any_moment(storage: str, started: Callable[..., Running]) -> None:
    """Robots go on handing in while it is killed; what was answered 202 is there, in one tree, each once."""
    fleet = robots(12)
    running = started(storage, fleet)
    known: dict[str, bytes] = {}
    ended = threading.Event()

    def hand_in(own: list[Robot]) -> None:
        client = httpx.Client(timeout=5)
        while not ended.is_set():
            for robot in own:
                note = robot.grow().note()
                while not ended.is_set():
                    try:
                        answer = client.post(f"{running.url}/v1/checkpoints", content=note)
                    except httpx.HTTPError:
                        time.sleep(0.02)
                        continue
                    assert answer.status_code == 202, answer.text
                    known[answer.json()["id"]] = note
                    break

    threads = [threading.Thread(target=hand_in, args=(fleet[n::3],)) for n in range(3)]
    for thread in threads:
        thread.start()
    for pause in (0.05, 0.35, 0.6):
        before = len(known)
        wait_for(lambda before=before: len(known) > before, "nothing is accepted")
        time.sleep(pause)
        running.kill()
        running.start()
    ended.set()
    for thread in threads:
        thread.join()
    assert len(known) > 12
    wait_for(lambda: settled(running.url, fleet, known), running.said())
    assert running.stop() == 0
    assert main(["aggregator", "status", "--config", str(running.config)]) == 0


def test_what_stops_it_from_starting(
    tmp_path: Path, started: Callable[..., Running], capfd: pytest.CaptureFixture[str]
) -> None:
    running = started("storage", robots(1))
    run = ["aggregator", "run", "--config", str(running.config)]
    assert main(run) == 2
    assert "another aggregator runs on it" in capfd.readouterr().err
    assert running.stop() == 0
    text = running.config.read_text()
    for wrong, named in (
        (text.replace("port: 0", "port: 99999"), "aggregator.yaml:7: aggregator.port"),
        (text.replace("fleet_log.pem", "none.pem"), "none.pem"),
        (text.replace("registry: registry", "registry: none"), "is no registry"),
        (text.replace(ORIGIN, "example.com/other"), "holds the log"),
        (text.replace("port: 0", "port: 0\n  tls_key: k.pem"), "belong together"),
        (text.replace("port: 0", "port: 0\n  prot: 1"), "prot is not known"),
        (text.replace("port: 0", "port: 0\n  tls_cert: none.crt\n  tls_key: none.key"), "tls_cert or tls_key"),
        (text.replace("fleet: ", "flet: "), "flet is not known"),
        (text.replace("'storage'", "'postgresql://127.0.0.1:9/x'"), "PostgreSQL"),
        (text.replace("'storage'", "'postgresql://og_ros:secret@[::1/y'"), "no connection string"),
        (text.replace("host", "").replace("port: 0", "port: 0\n  host: 192.0.2.1"), "cannot listen"),
    ):
        running.config.write_text(wrong)
        assert main(run) == 2
        said = capfd.readouterr().err
        assert named in said
        assert said.count("\n") == 1, said
        assert "cret" not in said


def test_tls_tokens_and_a_fork_in_the_status(
    tmp_path: Path, started: Callable[..., Running], capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = robots(1)
    certificate, key = self_signed(tmp_path)
    tokens = tmp_path / "tokens"
    assert main(["aggregator", "token", fleet[0].origin, "--file", str(tokens)]) == 0
    token = capsys.readouterr().out.strip()
    assert len(token) >= 40
    assert token not in tokens.read_text()
    running = started(
        "storage", fleet, section=f"  tls_cert: {certificate.name}\n  tls_key: {key.name}\n  tokens: tokens\n"
    )
    url = running.url.replace("http:", "https:")
    robot, stranger = HttpClient(url, token=token, ca=certificate), HttpClient(url, ca=certificate)
    assert robot.request("POST", "/v1/checkpoints", fleet[0].note()).status == 202
    assert stranger.request("POST", "/v1/checkpoints", fleet[0].note()).status == 401
    with pytest.raises(BackendUnreachable, match="certificate"):
        HttpClient(url, token=token).request("GET", "/checkpoint")
    other = Robot(fleet[0].origin).grow(1, "other").note()
    assert robot.request("POST", "/v1/checkpoints", other).status == 409
    status = ["aggregator", "status", "--config", str(running.config)]
    assert main(status) == 1
    assert f"fork: log {fleet[0].origin}" in capsys.readouterr().out
    assert main([*status, "--json"]) == 1
    assert other.decode().split("\n")[2] in capsys.readouterr().out
