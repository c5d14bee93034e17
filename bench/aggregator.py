"""Loads an aggregator with simulated robots over real HTTP, with real signatures, on SQLite and PostgreSQL.

    python bench/aggregator.py --robots 1000 --out bench/aggregator.json

Robots are connections of one other process: each has its own key and log, and hands in notes that it signed before.
Parts: all hand in as fast as they are answered; each once in a period, at a random moment; each fetches its receipt;
nobody does anything. Processor time is that of the aggregator and of PostgreSQL; the robots share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "support"))

import psutil
from aggregator_process import Running
from fleet_robots import Robot, certify
from postgres import Postgres

PATH: Final = "/v1/checkpoints"
IDLE_S: Final = 15.0
EVERY_S: Final = 2.0
"""Seconds between checkpoints of the fleet, settled by backend `local`: a chain's part does not grow with robots."""


class Connection:
    """A robot's connection, kept open: HTTP/1.1, as little of it as an answer of the aggregator needs."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        """Ask and wait for the answer: status, JSON."""
        assert self._reader is not None
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        told = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(told.partition("content-length: ")[2].partition("\r\n")[0])
        return int(told.split(" ", 2)[1]), json.loads(await self._reader.readexactly(length))

    def close(self) -> None:
        self._writer.close()


def drive(pipe: Any, port: int, notes: Sequence[Sequence[bytes]]) -> None:
    """Be all robots: do what the pipe says, and tell the latencies in seconds."""
    asyncio.run(_drive(pipe, port, notes))


async def _drive(pipe: Any, port: int, notes: Sequence[Sequence[bytes]]) -> None:
    robots = [Connection(port) for _ in notes]
    for robot in robots:
        await robot.open()
    names: list[str] = [""] * len(robots)
    latencies: list[float] = []
    spread = random.Random(1)

    async def hand_in(number: int, rounds: range, period_s: float) -> None:
        begun = time.monotonic()
        at = begun + (spread.random() * period_s if period_s else 0.0)
        for round_number in rounds:
            if period_s:
                await asyncio.sleep(max(0.0, at - time.monotonic()))
                at += period_s
            asked = time.perf_counter()
            status, tree = await robots[number].ask("POST", PATH, notes[number][round_number])
            latencies.append(time.perf_counter() - asked)
            assert status == 202, (status, tree)
            names[number] = tree["id"]

    async def fetch(number: int) -> None:
        asked = time.perf_counter()
        status, tree = await robots[number].ask("GET", f"{PATH}/{names[number]}")
        latencies.append(time.perf_counter() - asked)
        assert status == 200, (status, tree)
        assert tree["status"] == "final", tree

    while (what := pipe.recv()) is not None:
        latencies.clear()
        kind, start, stop, period_s = what
        begun = time.perf_counter()
        if kind == "idle":
            await asyncio.sleep(period_s)
        elif kind == "fetch":
            await asyncio.gather(*(fetch(n) for n in range(len(robots))))
        else:
            await asyncio.gather(*(hand_in(n, range(start, stop), period_s) for n in range(len(robots))))
        pipe.send((time.perf_counter() - begun, list(latencies)))
    for robot in robots:
        robot.close()


def percentiles(latencies: Sequence[float]) -> dict[str, float]:
    """Return median, 95th, 99th percentile and the longest, in ms."""
    ordered = sorted(latencies)
    at = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
    shown = {name: ordered[min(len(ordered) - 1, int(len(ordered) * part))] for name, part in at.items()}
    return {name: round(value * 1e3, 2) for name, value in {**shown, "max": ordered[-1]}.items()}


def processor_s(pid: int) -> float:
    """Return the processor time that a process, its children and its ended children took."""
    process = psutil.Process(pid)
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
        if one is process:
            total += times.children_user + times.children_system
    return total


class Trial:
    """An aggregator on a storage, and the robots around it."""

    def __init__(self, folder: Path, kind: str, count: int, rounds: int) -> None:
        self.kind, self.count = kind, count
        self.server = Postgres(durable=True) if kind == "postgresql" else None
        self.storage = self.server.url("bench") if self.server is not None else str(folder / "storage")
        robots = [Robot(f"example.com/robot-{number}") for number in range(count)]
        certify(folder / "registry", robots)
        notes = [[robot.grow(10).note() for _ in range(rounds)] for robot in robots]
        self.note_bytes = statistics.mean(len(one) for row in notes for one in row)
        begun = time.perf_counter()
        self.running = Running(folder, self.storage, every_seconds=EVERY_S)
        self.started_s = time.perf_counter() - begun
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        port = int(self.running.url.rpartition(":")[2])
        self.robots = context.Process(target=drive, args=(theirs, port, notes))
        self.robots.start()

    def run(self, kind: str, start: int = 0, stop: int = 0, period_s: float = 0.0) -> dict[str, Any]:
        """Run a part; what it took, by request."""
        pids = {"aggregator": self.running.process.pid}
        if self.server is not None:
            pids["postgresql"] = self.server.pid
        before = {name: processor_s(pid) for name, pid in pids.items()}
        self.pipe.send((kind, start, stop, period_s))
        elapsed, latencies = self.pipe.recv()
        used = {name: processor_s(pid) - before[name] for name, pid in pids.items()}
        if kind == "idle":
            shares = {name: round(value / elapsed * 1e6) for name, value in used.items()}
            return {"seconds": round(elapsed, 2), "processor_us": shares}
        return {
            "requests": len(latencies),
            "seconds": round(elapsed, 2),
            "per_second": round(len(latencies) / elapsed, 1),
            "latency_ms": percentiles(latencies),
            "processor_us": {name: round(value / len(latencies) * 1e6) for name, value in used.items()},
        }

    def bytes_stored(self) -> int:
        if self.server is not None:
            import psycopg

            with psycopg.connect(self.storage, autocommit=True) as session:
                session.execute("CHECKPOINT")
                row = session.execute("SELECT pg_database_size(current_database())").fetchone()
                assert row is not None
                return int(row[0])
        return sum(path.stat().st_size for path in Path(self.storage).glob("aggregator.db*"))

    def memory_mb(self) -> float:
        return round(psutil.Process(self.running.process.pid).memory_info().rss / 2**20, 1)

    def close(self) -> None:
        if self.robots.is_alive():
            self.pipe.send(None)
            self.robots.join(30)
        if self.running.process.poll() is None:
            self.running.kill()
        if self.server is not None:
            self.server.remove()


def measure(kind: str, count: int, rounds: int, paced: int, period_s: float) -> dict[str, Any]:
    """Measure a storage."""
    with tempfile.TemporaryDirectory(prefix="og_ros_bench_") as name:
        trial = Trial(Path(name), kind, count, 1 + rounds + paced)
        try:
            empty = trial.bytes_stored()
            found: dict[str, Any] = {
                "note_bytes": round(trial.note_bytes),
                "started_s": round(trial.started_s, 2),
            }
            trial.run("hand_in", 0, 1)  # warm
            found["as_fast_as_answered"] = trial.run("hand_in", 1, 1 + rounds)
            found["paced"] = {"period_s": period_s, **trial.run("hand_in", 1 + rounds, 1 + rounds + paced, period_s)}
            time.sleep(2 * EVERY_S)  # the newest settle
            found["receipts"] = trial.run("fetch")
            found["idle"] = trial.run("idle", period_s=IDLE_S)
            found["memory_mb"] = trial.memory_mb()
            trial.running.stop()  # which folds SQLite's write-ahead log in
            found["bytes_a_checkpoint"] = round((trial.bytes_stored() - empty) / (count * (1 + rounds + paced)))
            return found
        finally:
            trial.close()


def main() -> int:
    """Measure both storages, print the figures and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robots", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=8, help="checkpoints of a robot, as fast as answered")
    parser.add_argument("--paced", type=int, default=2, help="checkpoints of a robot, one a period")
    parser.add_argument("--period", type=float, default=30.0, metavar="S", help="the period")
    parser.add_argument("--storage", choices=("sqlite", "postgresql"), help="only this one")
    parser.add_argument("--out", type=Path, help="write JSON")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    kinds = [args.storage] if args.storage else ["sqlite", "postgresql"]
    figures: dict[str, Any] = {
        "robots": args.robots,
        "machine": {"processors": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "load_before": os.getloadavg()[0],
        "storage": {kind: measure(kind, args.robots, args.rounds, args.paced, args.period) for kind in kinds},
        "load_after": os.getloadavg()[0],
    }
    text = json.dumps(figures, indent=2) + "\n"
    print(text, end="")
    if args.out is not None:
        args.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
