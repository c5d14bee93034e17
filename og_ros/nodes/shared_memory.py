"""Notices that Fast DDS gave away the shared memory through which this process hears others on the same machine.

Fast DDS hears by a file in /dev/shm for each port. A process that stands still for over a second (a machine that
sleeps, swaps, or is frozen; SIGSTOP) does not answer the health check of its peers. Whichever peer looks next removes
the file and makes a new one; and if several do, the process may go on listening at one that nobody writes to any more:
it is deaf for good, and nothing tells it. Seen with 2.14.6 (see also Fast-DDS issues 5053 and pull request 4728).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

# A listener's thread bears the number of its port; the mapping of the port's file, its path and inode.
_LISTENER: Final = re.compile(r"dds\.shm\.(\d+)")
_MAPPING: Final = re.compile(
    r"^\S+ \S+ \S+ \S+ (\d+) +(\S*/fast(?:rtps|dds)_port(\d+))(?: \(deleted\))?$", re.MULTILINE
)


class SharedMemoryPorts:
    """The ports that this process listens at; other middleware, and other systems than Linux, have none."""

    def __init__(self, process: Path = Path("/proc/self")) -> None:
        self._process = process
        self._known: dict[str, set[tuple[str, int]]] = {}
        self._suspected: frozenset[str] = frozenset()

    def lost(self) -> list[str]:
        """Return the files that this process listens at and that others do not write to.

        A file counts once it was so at two calls, some time apart: a port that is just being renewed is not lost.
        """
        try:
            suspects = frozenset(self._suspects())
        except OSError:
            return []
        lost, self._suspected = suspects & self._suspected, suspects
        return sorted(lost)

    def _suspects(self) -> list[str]:
        listened = self._listeners()
        if not listened:
            return []
        if not all(port in self._known and self._current(port) for port in listened):
            self._known = self._mappings()
        return [path for port in listened for path in self._abandoned(port)]

    def _abandoned(self, port: str) -> list[str]:
        if port not in self._known or self._current(port):
            return []
        return [path for path, _ in sorted(self._known[port])[:1]]

    def _current(self, port: str) -> bool:
        """Whether one of the files that are mapped for a port is the one that others find under its name."""
        for path, inode in self._known[port]:
            try:
                if Path(path).stat().st_ino == inode:
                    return True
            except FileNotFoundError:
                continue
        return False

    def _listeners(self) -> set[str]:
        found = set()
        for task in (self._process / "task").iterdir():
            try:
                name = (task / "comm").read_text().strip()
            except OSError:  # the thread has ended
                continue
            if match := _LISTENER.fullmatch(name):
                found.add(match[1])
        return found

    def _mappings(self) -> dict[str, set[tuple[str, int]]]:
        found: dict[str, set[tuple[str, int]]] = {}
        for inode, path, port in _MAPPING.findall((self._process / "maps").read_text()):
            found.setdefault(port, set()).add((path, int(inode)))
        return found
