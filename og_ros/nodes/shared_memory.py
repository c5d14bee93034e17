"""Notices that Fast DDS gave away the shared memory through which this process hears others on the same machine.

Fast DDS hears by a file in /dev/shm for each port. A process that stands still for over a second (a machine that
sleeps, swaps, or is frozen; SIGSTOP) does not answer the health check of its peers. Whichever peer looks next removes
the file and makes a new one; and if several do, the process may go on listening at one that nobody writes to any more:
it is deaf for good, and nothing tells it. Seen with 2.14.6 (see also Fast-DDS issues 5053 and pull request 4728).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# A listener's thread bears the number of its port; the mapping of the port's file, its path and inode.
_LISTENER: Final = re.compile(r"dds\.shm\.(\d+)")
_MAPPING: Final = re.compile(
    r"^\S+ \S+ \S+ \S+ (\d+) +(\S*/fast(?:rtps|dds)_port(\d+))(?: \(deleted\))?$", re.MULTILINE
)


class SharedMemoryPorts:
    """The ports that this process listens at from the first look on; other middleware and other systems have none.

    A look costs microseconds while all is well: what /proc says of threads and mappings is read at the first one, and
    whenever a file is not the one that others find.
    """

    def __init__(self, process: Path = Path("/proc/self")) -> None:
        self._process = process
        self._own: list[set[tuple[str, int]]] | None = None
        self._suspected: frozenset[str] = frozenset()

    def lost(self) -> list[str]:
        """Return the files that this process listens at and that others do not write to.

        A file counts once it was so at two calls, some time apart: a port that is just being renewed is not lost.
        """
        try:
            if self._own is None or not all(map(_is_current, self._own)):
                self._own = self._read()
            suspects = frozenset(min(files)[0] for files in self._own if not _is_current(files))
        except OSError:
            return []
        lost, self._suspected = suspects & self._suspected, suspects
        return sorted(lost)

    def _read(self) -> list[set[tuple[str, int]]]:
        """Return path and inode of the files that are mapped for each port with a listener."""
        listened = set(self._listeners())
        if not listened:
            return []
        found: dict[str, set[tuple[str, int]]] = {}
        for inode, path, port in _MAPPING.findall((self._process / "maps").read_text()):
            if port in listened:
                found.setdefault(port, set()).add((path, int(inode)))
        return list(found.values())

    def _listeners(self) -> Iterator[str]:
        for task in (self._process / "task").iterdir():
            try:
                name = (task / "comm").read_text().strip()
            except OSError:  # the thread has ended
                continue
            if match := _LISTENER.fullmatch(name):
                yield match[1]


def _is_current(files: set[tuple[str, int]]) -> bool:
    """Whether one of the files that are mapped for a port is the one that others find under its name."""
    for path, inode in files:
        try:
            if Path(path).stat().st_ino == inode:
                return True
        except FileNotFoundError:
            continue
    return False
