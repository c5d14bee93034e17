"""Audits every recording below some directories, taking up an earlier run, and compares the recordings."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from og_ros.audit.fleet import local, on_dask
from og_ros.audit.fleet.crosscheck import cross_check
from og_ros.audit.fleet.recordings import LEDGER, REGISTRY, beside, find_recordings, receipts_beside
from og_ros.audit.fleet.report import Audited, FleetReport
from og_ros.audit.fleet.sightings import Rows
from og_ros.audit.fleet.state import State
from og_ros.audit.fleet.task import Outcome, Task, identity
from og_ros.audit.policy import parse_policy
from og_ros.errors import ConfigError, PolicyError
from og_ros.evidence.policy_file import files_beside

ENGINES: Final = "local, dask, or dask://HOST:PORT (tcp:// and tls:// too)"


@dataclass(frozen=True)
class Progress:
    """How far a fleet's audit is; sizes in bytes of recordings, `last` the recording that was just done."""

    done: int
    total: int
    done_size: int
    total_size: int
    last: Audited


def audit_fleet(
    directories: Sequence[Path],
    *,
    registry: Path | None = None,
    ledger: Path | None = None,
    policy: Path | None = None,
    root: str | None = None,
    engine: str = "local",
    workers: int | None = None,
    resume: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    settlement: Path | None = None,
    chain: str | None = None,
    final_blocks: Collection[bytes] = (),
    finality: int | None = None,
) -> FleetReport:
    """Audit every recording at or below some directories.

    `registry` and `ledger` are for all recordings; without them, the directories `registry` and `ledger` beside a
    recording are taken where they exist (pin the root then: whoever made the recording may have made them too). So are
    `settlement`, receipts of the ledger's settlement, or settlement/receipts.json beside a recording that has a ledger;
    `chain`, `final_blocks` and `finality` say who vouches for their blocks. What a node said is kept in the state. The
    policy is always the auditor's own file. `engine` is "local" (processes), "dask" (an embedded cluster) or
    "dask://host:port"; `workers` is the number of processes, by default one a core. `resume` is a directory for the
    state: a later run with it audits only what is missing or has changed.

    Raises BagError where nothing is found, PolicyError, and ConfigError for a wrong engine; what is wrong with one
    recording is in the report.
    """
    run = _engine(engine, workers or os.cpu_count() or 1)
    data, files = _read_policy(policy)
    tasks = [
        Task(
            recording=found.path,
            size=found.size,
            registry=_absolute(registry) or beside(found.path, REGISTRY),
            ledger=_absolute(ledger) or beside(found.path, LEDGER),
            policy=data,
            policy_files=files,
            root=root,
            settlement=_receipts(found.path, settlement, ledger),
            chain=chain,
            final_blocks=frozenset(final_blocks),
            finality=finality,
        )
        for found in find_recordings(directories)
    ]
    settings = tasks[0].read_policy()
    with _state(resume) as state:
        audited = _audit_all(tasks, state, run, progress)
        # Sorted, so that the report does not depend on which worker was faster.
        ordered = tuple(audited[task.recording][0] for task in tasks)
        findings, overlaps = cross_check(
            {str(one.recording): one.outcome.data["sessions"] for one in ordered if not one.outcome.error},
            lambda recording, number: _rows(state, audited[Path(recording)][1], number),
            settings.max_clock_skew_ns,
        )
    return FleetReport(ordered, tuple(findings), tuple(overlaps))


Engine = Callable[[Sequence[Task]], Generator[tuple[Task, Outcome], None, None]]


def _engine(name: str, workers: int) -> Engine:
    if workers < 1:
        raise ConfigError(f"{workers} workers cannot audit anything")
    if name == "local":
        return lambda tasks: local.audit_all(tasks, workers)
    scheme, _, address = name.partition("://")
    if name == "dask" or (scheme == "dask" and address):
        return lambda tasks: on_dask.audit_all(tasks, address, workers)
    if scheme in ("tcp", "tls") and address:
        return lambda tasks: on_dask.audit_all(tasks, name, workers)
    raise ConfigError(f"the engine {name!r} is not known; it is one of: {ENGINES}")


def _audit_all(
    tasks: Sequence[Task], state: State, run: Engine, progress: Callable[[Progress], None] | None
) -> dict[Path, tuple[Audited, str]]:
    """Take what the state has, audit the rest, and save each outcome when it comes."""
    audited: dict[Path, tuple[Audited, str]] = {}
    total_size = sum(task.size for task in tasks)
    done_size = 0

    def done(task: Task, name: str, outcome: Outcome, reused: bool) -> None:
        nonlocal done_size
        one = Audited(task.recording, outcome, reused)
        audited[task.recording] = (one, name)
        done_size += task.size
        if progress is not None:
            progress(Progress(len(audited), len(tasks), done_size, total_size, one))

    # Named before they are audited: what changes meanwhile is then audited again the next time.
    names = {task.recording: identity(task) for task in tasks}
    missing = []
    for task in tasks:
        known = state.load(names[task.recording])
        if known is None:
            missing.append(task)
        else:
            done(task, names[task.recording], known, True)
    # The largest first, so that no worker is left alone with one at the end.
    missing.sort(key=lambda task: -task.size)
    if missing:
        with closing(run(missing)) as outcomes:
            for task, outcome in outcomes:
                if not outcome.error:
                    state.save(names[task.recording], outcome)
                done(task, names[task.recording], Outcome(outcome.data), False)
    return audited


def _rows(state: State, name: str, number: int) -> Rows:
    rows = state.rows(name)
    of_session: Rows = rows[rows["session"] == number]
    return of_session


@contextmanager
def _state(directory: Path | None) -> Iterator[State]:
    if directory is not None:
        yield State(directory)
        return
    with tempfile.TemporaryDirectory(prefix="og-ros-fleet-") as temporary:
        yield State(Path(temporary))


def _receipts(recording: Path, given: Path | None, ledger: Path | None) -> Path | None:
    if given is not None:
        return given.resolve()
    return receipts_beside(recording) if ledger is not None or beside(recording, LEDGER) is not None else None


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.resolve()


def _read_policy(path: Path | None) -> tuple[bytes | None, Mapping[str, bytes]]:
    """Return a policy file's bytes and the files that it names, so that an error shows before anything runs."""
    if path is None:
        return None, {}
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"cannot read the policy {path}: {error.strerror}") from error
    return data, parse_policy(data, str(path), files_beside(path.absolute().parent)).files
