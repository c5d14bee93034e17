"""What a storage file of a recording gives, whatever its format: topics, time spans, and where it was cut off."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from og_ros.attest.statement import HIDDEN_CHARACTERS
from og_ros.audit.recording.time_order import Span
from og_ros.errors import BagError

MAX_TIME_NS: Final = 2**63 - 1
_MAX_NAME: Final = 512


@dataclass(frozen=True)
class StoredTopic:
    """A topic as a storage file has it; `definition` is the text of its type in the language `language`.

    `profiles` is the QoS that its publishers offered, as YAML; empty where it is not known.
    """

    name: str
    type: str
    encoding: str = "cdr"
    definition: str = ""
    language: str = ""
    profiles: str = ""


class StorageFile(Protocol):
    """An opened storage file; it holds no open handle between calls, so that processes can share it."""

    path: Path
    topics: tuple[StoredTopic, ...]
    cut: str
    """What is wrong with the file's end, as a sentence; empty for a whole file."""

    def count(self, topic: str) -> int:
        """Number of messages on a topic; may read the whole file. Raises BagError."""

    def spans(self, topics: Collection[str] | None, start_ns: int | None, stop_ns: int | None) -> list[Span]:
        """What is recorded of some topics (None: all) from `start_ns` on and before `stop_ns`. Raises BagError."""

    def outline(self) -> list[tuple[int, float]]:
        """Times of arrival in ns, each with the number of bytes there; roughly its size over time."""


def check_names(path: Path, topic: str, type_name: str) -> None:
    """Raise BagError for names that no ROS has: empty, endless, or with characters that hide what is shown."""
    for name in (topic, type_name):
        if not name or len(name) > _MAX_NAME or HIDDEN_CHARACTERS.search(name):
            raise BagError(f"{path} has the topic {topic[:80]!a} of type {type_name[:80]!a}, which no ROS 2 records")


def check_time(path: Path, time_ns: int) -> None:
    """Raise BagError for a time of arrival before 1970 or after 2262."""
    if not 0 <= time_ns <= MAX_TIME_NS:
        raise BagError(f"{path} has a message that arrived at {time_ns} ns, which is no time since 1970")


def regular_size(path: Path) -> int:
    """Return the size of a file; raises BagError for anything else than a readable regular file that is not empty.

    A pipe or a device is refused without being opened, since that could wait for ever.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BagError(f"{path} is no regular file")
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except (OSError, RuntimeError, ValueError) as error:
        # RuntimeError: a loop of symbolic links; ValueError: a NUL in the name.
        raise BagError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if status.st_size == 0:
        raise BagError(f"{path} is empty: nothing was recorded, or the disk lost it")
    return status.st_size
