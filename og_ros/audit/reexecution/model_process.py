"""Runs models in a process of their own, so that one that crashes, hangs or eats memory cannot end the audit."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from og_ros.attest import Statement
from og_ros.audit.recording.payloads import Key
from og_ros.audit.reexecution.comparison import Tolerance
from og_ros.audit.reexecution.reexecuted import Reexecution, unavailable
from og_ros.errors import ConfigError
from og_ros.stages.pipeline import StageConfig

MEMORY_LIMIT: Final = 8 * 2**30
DEATHS_ALLOWED: Final = 3
_START_TIMEOUT_S: Final = 60.0
_MAX_REPLY: Final = 2**20
_SIZE: Final = 8
# The child finds this very og_ros, and nothing in the directory that the audit was started in.
_CODE: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from og_ros.audit.reexecution.model_process import main; sys.exit(main())"
)


class ModelProcess:
    """A Reexecutor (with the same arguments) in a child process; use it in a `with` block.

    `timeout_s` bounds one inference, with the loading of its model. A model that ended or stalled the process three
    times is not tried again. The child has the rights of the user: this guards against accidents and crashes, and is
    no sandbox. Requests are pickled, replies are JSON: nothing that the child says is executed here.
    """

    def __init__(
        self,
        stages: Mapping[str, StageConfig],
        models: Sequence[Path] = (),
        tolerance: Tolerance | None = None,
        definitions: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self._settings = (dict(stages), tuple(models), tolerance, dict(definitions or {}), timeout_s)
        self._timeout_s = timeout_s
        self._child: subprocess.Popen[bytes] | None = None
        self._deaths: Counter[bytes] = Counter()

    def __enter__(self) -> ModelProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reexecute(self, statement: Statement, payloads: Mapping[Key, bytes]) -> Reexecution:
        """Run an inference again, as Reexecutor.reexecute; a crash or stall of the child makes it unavailable.

        Raises ConfigError when no child can be started at all.
        """
        digest = statement.model.digest
        if self._deaths[digest] >= DEATHS_ALLOWED:
            return unavailable("its model crashed or stalled before, and is not tried again")
        if self._child is None:
            self._start()
        assert self._child is not None
        assert self._child.stdin is not None
        try:
            _send(self._child.stdin, pickle.dumps((statement, dict(payloads))))
            return Reexecution.from_json(self._reply(self._timeout_s))
        except TimeoutError:
            reason = f"it took longer than {self._timeout_s:g} s"
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
            reason = f"the process that ran its model ended{self._death()}"
        self.close()
        self._deaths[digest] += 1
        return unavailable(reason)

    def kill(self) -> None:
        """End the child from another thread; what it was running becomes unavailable."""
        child = self._child
        if child is not None:
            child.kill()

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        for stream in (child.stdin, child.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        child.wait()

    def _start(self) -> None:
        paths = json.dumps([path for path in sys.path if path])
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-c", _CODE, paths],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the audit, which then ends the child
            )
            assert self._child.stdin is not None
            _send(self._child.stdin, pickle.dumps(self._settings))
            self._reply(_START_TIMEOUT_S)
        except (OSError, EOFError, ValueError) as error:
            ended = self._death()
            self.close()
            raise ConfigError(f"the process that runs models cannot start: {error or 'it ended'}{ended}") from error

    def _reply(self, timeout_s: float) -> Any:
        assert self._child is not None
        assert self._child.stdout is not None
        descriptor, deadline = self._child.stdout.fileno(), time.monotonic() + timeout_s
        size = int.from_bytes(_read(descriptor, _SIZE, deadline), "big")
        if size > _MAX_REPLY:
            raise ValueError("the reply is too long")
        return json.loads(_read(descriptor, size, deadline))

    def _death(self) -> str:
        if self._child is None:
            return ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._child.wait(1.0)
            return f" (signal {-code})" if code < 0 else f" (exit code {code})"
        return ""


def _send(stream: IO[bytes], data: bytes) -> None:
    stream.write(len(data).to_bytes(_SIZE, "big"))
    stream.write(data)
    stream.flush()


def _read(descriptor: int, size: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < size:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        block = os.read(descriptor, size - len(data))
        if not block:
            raise EOFError
        data += block
    return bytes(data)


def main() -> int:
    """Serve requests on standard input until it ends; the exit code."""
    _limit()
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what an adapter prints must not end up among the replies
    from og_ros.audit.reexecution.reexecutor import Reexecutor

    stages, models, tolerance, definitions, timeout_s = _request(requests)
    reexecutor = Reexecutor(stages, models, tolerance, definitions)
    _send(replies, b"{}")
    while True:
        try:
            statement, payloads = _request(requests)
        except EOFError:
            return 0
        # Ends this process in native code too, should the audit be gone that would have ended it.
        signal.alarm(math.ceil(timeout_s) + 5)
        found = reexecutor.reexecute(statement, payloads)
        signal.alarm(0)
        _send(replies, json.dumps(found.as_json()).encode())


def _request(stream: IO[bytes]) -> Any:
    head = stream.read(_SIZE)
    if len(head) < _SIZE:
        raise EOFError
    return pickle.loads(stream.read(int.from_bytes(head, "big")))


def _limit() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard == resource.RLIM_INFINITY or hard > MEMORY_LIMIT:
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, hard))
    except (ImportError, OSError, ValueError):
        pass  # not every system has these limits; the time limit holds anyway
