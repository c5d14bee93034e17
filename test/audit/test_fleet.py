"""Many recordings: found, audited side by side on either engine, taken up again, and compared with each other."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from faulty_audits import die_if_killer, wait_on_the_victim
from scenario import STAGES, Run, honest_run

from og_ros.attest import SoftwareSigner, keys
from og_ros.audit.fleet import FleetReport, Progress, audit_fleet, on_dask
from og_ros.audit.fleet import local as local_engine
from og_ros.audit.fleet.recordings import find_recordings
from og_ros.audit.reports.report import Verdict
from og_ros.cli.fleet_view import show_fleet
from og_ros.errors import BagError, ConfigError, PolicyError

TICKS = 8
SUPPORT = Path(__file__).resolve().parents[1] / "support"


def write(run: Run, directory: Path) -> Path:
    """Write a run as og-ros demo lays it out: bag, registry and ledger side by side."""
    directory.mkdir(parents=True)
    run.write_registry(directory / "registry")
    run.write_ledger(directory / "ledger")
    return run.write_bag(directory / "bag")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three robots with one honest run each."""
    directory = tmp_path_factory.mktemp("made")
    for robot in ("anna", "bert", "carl"):
        write(honest_run(TICKS, robot), directory / robot)
    return directory


@pytest.fixture
def fleet(made: Path, tmp_path: Path) -> Path:
    """A copy of the three robots that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "fleet"))


def kinds(report: FleetReport) -> list[str]:
    return sorted(found.finding.kind for found in report.findings)


def verdicts(report: FleetReport) -> dict[str, str]:
    return {str(one.recording.parent.name): one.verdict.value for one in report.audited}


# ---- what is found ---------------------------------------------------------------------------------------------------


def test_recordings_are_found_once_and_no_link_is_followed(fleet: Path) -> None:
    (fleet / "anna" / "loop").symlink_to(fleet)
    broken = fleet / "broken"
    broken.mkdir()
    (broken / "broken_0.mcap").write_bytes(b"")
    found = find_recordings([fleet, fleet / "anna", fleet / "anna" / "bag"])
    assert [one.path.relative_to(fleet.resolve()).as_posix() for one in found] == [
        "anna/bag", "bert/bag", "broken", "carl/bag",
    ]  # fmt: skip


def test_nothing_found_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="no recording lies in"):
        find_recordings([tmp_path])
    with pytest.raises(BagError, match="there is no directory"):
        find_recordings([tmp_path / "missing"])


# ---- verdicts and the summary ----------------------------------------------------------------------------------------


def test_an_honest_fleet_holds(fleet: Path) -> None:
    seen: list[Progress] = []
    report = audit_fleet([fleet], workers=2, progress=seen.append)
    assert report.verdict is Verdict.HOLDS
    assert not report.findings
    assert not report.overlaps
    assert [one.done for one in seen] == [1, 2, 3]
    assert seen[-1].done_size == seen[-1].total_size > 0
    data = report.as_json()
    json.dumps(data)
    assert list(data["robots"]) == ["anna", "bert", "carl"]
    control = data["robots"]["bert"]["stages"]["control"]
    assert control["attestations"] == TICKS
    assert control["levels"]["settlement"] == "logged"
    assert control["models"] == ["control_model 1.0.0"]
    assert control["inference_ms"]["max"] == 2.0
    assert data["robots"]["bert"]["chain_latency_ms"]["max"] > 0
    assert len(data["models"]) == len(STAGES)
    assert {tuple(model["robots"]) for model in data["models"].values()} == {("anna", "bert", "carl")}
    assert len(data["keys"]) == 3 * len(STAGES)


def test_one_broken_recording_never_stops_the_rest(fleet: Path) -> None:
    (fleet / "anna" / "bag" / "metadata.yaml").write_bytes(b"\x00")
    shutil.rmtree(fleet / "bert" / "registry")
    (fleet / "empty").mkdir()
    (fleet / "empty" / "metadata.yaml").write_bytes(b"")
    report = audit_fleet([fleet], workers=2)
    assert report.verdict is Verdict.NOT_CHECKED
    assert sorted(one.verdict.value for one in report.audited) == ["holds", *["not_checked"] * 3]
    errors = {one.recording.parent.name: one.outcome.error for one in report.audited}
    assert "metadata" in errors["anna"]
    assert errors["bert"] == errors["carl"] == ""
    assert len(report.as_json()["recordings"]) == 4
    show_fleet(report)


def test_a_violation_outranks_what_could_not_be_checked(fleet: Path) -> None:
    run = honest_run(TICKS, "dora")
    run.forge(run.of_stage("planning")[3][0], duration_ns=7)
    write(run, fleet / "dora")
    (fleet / "anna" / "bag" / "metadata.yaml").write_bytes(b"")
    report = audit_fleet([fleet], workers=2)
    assert report.verdict is Verdict.VIOLATED
    assert verdicts(report) == {"anna": "not_checked", "bert": "holds", "carl": "holds", "dora": "violated"}
    stages = report.as_json()["robots"]["dora"]["stages"]
    assert stages["planning"]["findings"]["signature_invalid"] == 1
    assert "signature_invalid" not in stages["control"]["findings"]


def test_registry_and_policy_for_all(fleet: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nstages: {gripper: {}}\n")
    report = audit_fleet([fleet / "anna", fleet / "bert"], registry=fleet / "anna" / "registry", policy=policy)
    counts = {data["recording"].split("/")[-2]: data["finding_counts"] for data in report.as_json()["recordings"]}
    assert counts["anna"] == {"stage_missing": 1}
    assert counts["bert"]["unregistered_key"] == TICKS * len(STAGES)
    assert (
        "root_not_trusted"
        in audit_fleet([fleet / "anna"], root=f"sha256:{'0' * 64}").as_json()["recordings"][0]["finding_counts"]
    )
    policy.write_text("version: 1\nstage: {}\n")
    with pytest.raises(PolicyError, match=r"policy\.yaml:2"):
        audit_fleet([fleet], policy=policy)


# ---- across recordings -----------------------------------------------------------------------------------------------


def test_two_recorders_of_one_run_are_no_finding(tmp_path: Path) -> None:
    run = honest_run(TICKS)
    write(run, tmp_path / "first")
    half = len(run.records) // 2
    run.records = [dataclasses.replace(r, received_ns=r.received_ns + 3_000_000) for r in run.records[half:]]
    write(run, tmp_path / "second")
    report = audit_fleet([tmp_path])
    assert not report.findings
    assert sum(overlap.shared for overlap in report.overlaps) == len(run.attestations())
    assert report.verdict is Verdict.HOLDS


def test_a_run_that_is_shown_again_as_a_later_one(tmp_path: Path) -> None:
    run = honest_run(TICKS)
    write(run, tmp_path / "monday")
    run.records = [dataclasses.replace(r, received_ns=r.received_ns + 86_400 * 10**9) for r in run.records]
    write(run, tmp_path / "tuesday")
    report = audit_fleet([tmp_path])
    assert kinds(report) == ["replayed_across_recordings"] * len(STAGES)
    assert report.verdict is Verdict.VIOLATED
    assert f"{TICKS} sequences from 0 on" in report.findings[0].finding.message


def test_records_of_one_robot_in_the_recording_of_another(tmp_path: Path) -> None:
    signers = {stage: SoftwareSigner(keys.generate()) for stage in STAGES}
    early = honest_run(TICKS, "anna", signers=signers, age_s=600)
    late = honest_run(TICKS, "bert")
    write(early, tmp_path / "anna")
    place, _ = late.of_stage("control")[3]
    stolen = early.records[early.of_stage("control")[3][0]]
    late.records.insert(place, dataclasses.replace(stolen, received_ns=late.records[place].received_ns))
    write(late, tmp_path / "bert")
    report = audit_fleet([tmp_path])
    assert kinds(report) == ["replayed_across_recordings"]
    assert [Path(name).parent.name for name in report.findings[0].recordings] == ["anna", "bert"]


def test_two_stories_of_one_session(tmp_path: Path) -> None:
    run = honest_run(TICKS)
    write(run, tmp_path / "for_the_owner")
    last = run.of_stage("control")[-1][0]
    run.resign(last, duration_ns=5_000_000)
    write(run, tmp_path / "for_the_regulator")
    report = audit_fleet([tmp_path])
    assert kinds(report) == ["recordings_disagree"]
    assert f"sequence {TICKS - 1}" in report.findings[0].finding.message
    # Each story holds on its own: it takes both recordings to see it.
    ledgerless = [tmp_path / "for_the_owner" / "bag", tmp_path / "for_the_regulator" / "bag"]
    for path in tmp_path.iterdir():
        shutil.rmtree(path / "ledger")
    assert {one.verdict for one in audit_fleet(ledgerless).audited} == {Verdict.HOLDS}


def test_a_forger_frames_nobody(tmp_path: Path) -> None:
    run = honest_run(TICKS)
    write(run, tmp_path / "honest")
    run.forge(run.of_stage("control")[-1][0], duration_ns=5_000_000)
    write(run, tmp_path / "forged")
    assert kinds(audit_fleet([tmp_path])) == []


def test_one_key_on_two_robots(tmp_path: Path) -> None:
    signers = {stage: SoftwareSigner(keys.generate()) for stage in STAGES}
    write(honest_run(40, "anna", signers=signers), tmp_path / "anna")
    write(honest_run(40, "bert", signers=signers), tmp_path / "bert")
    report = audit_fleet([tmp_path])
    assert kinds(report).count("key_shared_by_robots") == len(STAGES)
    # Both ran at the same time, and each registry by itself is content.
    assert kinds(report).count("key_in_two_sessions") == len(STAGES)
    assert {one.verdict for one in report.audited} == {Verdict.HOLDS}
    assert report.verdict is Verdict.VIOLATED


def test_a_key_in_two_sessions_one_after_the_other(tmp_path: Path) -> None:
    signers = {stage: SoftwareSigner(keys.generate()) for stage in STAGES}
    write(honest_run(TICKS, signers=signers, age_s=100), tmp_path / "before")
    write(honest_run(TICKS, signers=signers), tmp_path / "after")
    report = audit_fleet([tmp_path])
    assert not report.findings
    assert report.as_json()["robots"]["demo"]["stages"]["control"]["sessions"] == 2


# ---- resume ----------------------------------------------------------------------------------------------------------


def test_a_second_run_audits_what_is_missing_or_has_changed(fleet: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    broken = fleet / "carl" / "bag" / "metadata.yaml"
    good = broken.read_bytes()
    broken.write_bytes(b"")
    first = audit_fleet([fleet], resume=state)
    assert verdicts(first) == {"anna": "holds", "bert": "holds", "carl": "not_checked"}
    broken.write_bytes(good)
    os.utime(fleet / "anna" / "bag" / "bag.mcap")
    second = audit_fleet([fleet], resume=state)
    assert {one.recording.parent.name: one.reused for one in second.audited} == {
        "anna": False, "bert": True, "carl": False,
    }  # fmt: skip
    assert second.verdict is Verdict.HOLDS
    third = audit_fleet([fleet], resume=state)
    assert all(one.reused for one in third.audited)
    wanted = {**second.as_json(), "recordings": None}
    assert {**third.as_json(), "recordings": None} == wanted
    pinned = audit_fleet([fleet], resume=state, root=f"sha256:{'0' * 64}")
    assert not any(one.reused for one in pinned.audited)


def test_a_damaged_state_is_not_used(fleet: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    audit_fleet([fleet], resume=state)
    for n, file in enumerate(sorted(state.iterdir())):
        file.write_bytes(file.read_bytes()[: 7 * n])
    report = audit_fleet([fleet], resume=state)
    assert not any(one.reused for one in report.audited)
    assert report.verdict is Verdict.HOLDS


def test_an_interrupted_run_goes_on(fleet: Path, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit_fleet([fleet], resume=tmp_path / "state", workers=1, progress=stop)
    report = audit_fleet([fleet], resume=tmp_path / "state")
    assert sorted(one.reused for one in report.audited) == [False, True, True]


# ---- the engines -----------------------------------------------------------------------------------------------------


def test_wrong_engines(fleet: Path) -> None:
    for engine in ("spark", "dask://", "local://x"):
        with pytest.raises(ConfigError, match="is not known"):
            audit_fleet([fleet], engine=engine)
    with pytest.raises(ConfigError, match="-1 workers"):
        audit_fleet([fleet], workers=-1)


def a_bag_that_kills(fleet: Path) -> None:
    """Add a recording at whose path `die_if_killer` ends its process, as a crash in a parser does."""
    shutil.copytree(fleet / "anna", fleet / "killer")


def test_a_recording_that_crashes_its_process_is_given_up(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_bag_that_kills(fleet)
    monkeypatch.setattr(local_engine, "audit_recording", die_if_killer)
    report = audit_fleet([fleet], workers=2)
    assert verdicts(report) == {"anna": "holds", "bert": "holds", "carl": "holds", "killer": "not_checked"}
    (killer,) = (one for one in report.audited if one.outcome.error)
    assert killer.outcome.error == "its audit ended the process 2 times (exit code -9)"


def test_the_embedded_cluster(fleet: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two workers of dask's own; one recording kills its workers, and the others hold."""
    pytest.importorskip("distributed", reason="dask.distributed (the extra fleet) is not installed")
    a_bag_that_kills(fleet)
    monkeypatch.setattr(on_dask, "audit_recording", die_if_killer)
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT))
    report = audit_fleet([fleet], engine="dask", workers=2, resume=tmp_path / "state")
    assert verdicts(report) == {"anna": "holds", "bert": "holds", "carl": "holds", "killer": "not_checked"}
    (killer,) = (one for one in report.audited if one.outcome.error)
    assert "killed every worker" in killer.outcome.error
    # What failed is not kept: it is tried again.
    again = audit_fleet([fleet], engine="local", resume=tmp_path / "state")
    assert [one.recording.parent.name for one in again.audited if not one.reused] == ["killer"]
    assert again.verdict is Verdict.HOLDS


@pytest.mark.parametrize("state", ["running", "connecting", "closed"])
def test_a_task_that_dask_gave_up_is_tried_again_unless_the_scheduler_is_lost(state: str) -> None:
    pytest.importorskip("distributed", reason="dask.distributed (the extra fleet) is not installed")
    client, future = SimpleNamespace(status=state), SimpleNamespace(status="cancelled")
    if state == "running":
        assert on_dask._outcome(client, None, future) is None
    else:
        with pytest.raises(ConfigError, match="scheduler was lost"):
            on_dask._outcome(client, None, future)


class Cluster:
    """A dask scheduler and its workers, each a process that was started by dask's own command."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        file = directory / "scheduler.json"
        self._start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
        until = time.monotonic() + 30
        while not file.exists():
            assert time.monotonic() < until, (directory / "log").read_text()
            time.sleep(0.05)
        self.address: str = json.loads(file.read_text())["address"]

    def add_worker(self, *options: str, path: Path = SUPPORT) -> subprocess.Popen[bytes]:
        """Start a worker of one process and one thread, which imports from a path first."""
        command = ("worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", *options)
        return self._start(*command, path=path)

    def _start(self, *command: str, path: Path = SUPPORT) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(path)}
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *command], stdout=log, stderr=log, env=environment, cwd=self.directory
            )
        self._processes.append(process)
        return process

    def stop(self) -> None:
        """End every process."""
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed", reason="dask.distributed (the extra fleet) is not installed")
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    try:
        yield cluster
    finally:
        cluster.stop()


def test_a_real_scheduler_and_a_worker_that_dies(
    fleet: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A worker is killed while it audits; the recording that it had is audited by the other one."""
    distributed = pytest.importorskip("distributed")
    victim = cluster.add_worker("--name", "victim")
    cluster.add_worker("--name", "survivor")
    monkeypatch.setattr(on_dask, "audit_recording", wait_on_the_victim)
    with distributed.Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=30)
        held: list[int] = []

        def watch(progress: Progress) -> None:
            if not held:
                # The first is done, by the survivor: the victim still holds the one that it waits in.
                held.extend(len(tasks) for tasks in client.processing().values())
                victim.send_signal(signal.SIGKILL)

        report = audit_fleet([fleet], engine=cluster.address, progress=watch)
    assert 1 in held
    assert verdicts(report) == {"anna": "holds", "bert": "holds", "carl": "holds"}
    address = cluster.address.replace("tcp://", "dask://")
    assert audit_fleet([fleet / "anna"], engine=address).verdict is Verdict.HOLDS


def test_no_workers_wrong_workers_and_no_scheduler(
    fleet: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_dask, "NO_WORKERS_S", 1.0)
    monkeypatch.setattr(on_dask, "CONNECT_S", 2.0)
    with pytest.raises(ConfigError, match="no dask worker could be had"):
        audit_fleet([fleet], engine=cluster.address)
    stranger = cluster.directory / "og_ros"
    stranger.mkdir()
    (stranger / "__init__.py").write_text("")
    cluster.add_worker(path=cluster.directory)
    monkeypatch.setattr(on_dask, "NO_WORKERS_S", 30.0)
    with pytest.raises(ConfigError, match=r"the dask workers cannot use og_ros: .*Error"):
        audit_fleet([fleet], engine=cluster.address)
    cluster.stop()
    with pytest.raises(ConfigError, match="no dask worker could be had"):
        audit_fleet([fleet], engine=cluster.address)
