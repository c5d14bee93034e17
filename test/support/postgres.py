"""A real PostgreSQL server for a test or a measurement: on loopback, as a user without rights, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

# Debian keeps the server's programs off the PATH.
PLACES = "usr/lib/postgresql/*/bin/initdb"


def find_programs() -> Path | None:
    """The newest server's folder of programs."""
    found = sorted(Path("/").glob(PLACES), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    where = shutil.which("initdb")
    return Path(where).resolve().parent if where else None


class Postgres:
    """A running server; `url(name)` is a database of it, made where there is none."""

    def __init__(self, durable: bool = False) -> None:
        """Start it. `durable`: with fsync, as in production; a test need not wait for disks."""
        programs = find_programs()
        if programs is None:
            pytest.skip("PostgreSQL is not there: make debian-deps")
        pytest.importorskip("psycopg", reason="psycopg is not installed")
        self._programs = programs
        self._user = "nobody" if os.geteuid() == 0 else None  # the server refuses to run as root
        self._folder = Path(tempfile.mkdtemp(prefix="og_ros_pg_"))
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        self._data = self._folder / "data"
        self._options = [] if durable else ["-c", "fsync=off"]
        self._run("initdb", "--no-sync", "--auth=trust", "--username=og_ros", "-E", "UTF8", "-D", str(self._data))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments], user=self._user, cwd=self._folder, capture_output=True, text=True,
            check=False, env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self._folder)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-p", str(self.port)]
        self._process = subprocess.Popen(
            [self._programs / "postgres", "-D", self._data, *options, *self._options],
            user=self._user, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self._folder)},
        )  # fmt: skip
        end = time.monotonic() + 60
        while True:
            import psycopg

            try:
                psycopg.connect(self._conninfo("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, "PostgreSQL ended"
                assert time.monotonic() < end, "PostgreSQL does not answer"
                time.sleep(0.05)

    @property
    def pid(self) -> int:
        return self._process.pid

    def url(self, name: str) -> str:
        import psycopg

        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as session:
            known = session.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
            if known is None:
                session.execute(f'CREATE DATABASE "{name}"')
        return self._conninfo(name)

    def _conninfo(self, name: str) -> str:
        return f"postgresql://og_ros@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        """Stop it as a crash would: without a farewell."""
        self._process.send_signal(3)  # SIGQUIT: immediate shutdown
        self._process.wait(timeout=30)

    def remove(self) -> None:
        if self._process.poll() is None:
            self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
