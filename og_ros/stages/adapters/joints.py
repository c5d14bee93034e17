"""Joint names and values as the joint adapters have them: chosen by name, in the order of the tensor."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from og_ros.attest.cdr import CdrReader
from og_ros.errors import AttestationError, ConfigError
from og_ros.stages.adapters.header import read_doubles

MAX_JOINTS: Final = 1024
MAX_NAME: Final = 255


def check_joints(joints: tuple[str, ...], required: bool = True) -> None:
    """Raise ConfigError unless joints are named, none twice."""
    if required and not joints:
        raise ConfigError("joints is missing: their names, in the order of the tensor")
    if len(joints) > MAX_JOINTS or len(set(joints)) != len(joints):
        raise ConfigError(f"joints must be at most {MAX_JOINTS} names, none twice")
    if any(not name or len(name.encode()) > MAX_NAME or "\0" in name for name in joints):
        raise ConfigError(f"joints: a name has 1 to {MAX_NAME} bytes, without a NUL")


def read_names(reader: CdrReader) -> list[str]:
    """Read the names of joints."""
    count = reader.number("I", 4)
    if count > MAX_JOINTS:
        raise AttestationError(f"the message has {count} joints; {MAX_JOINTS} are allowed")
    return [reader.text(MAX_NAME) for _ in range(count)]


def read_values(reader: CdrReader) -> NDArray[np.float64]:
    """Read a sequence of doubles; an empty one has no alignment behind its count."""
    count = reader.number("I", 4)
    if count > MAX_JOINTS:
        raise AttestationError(f"the message has {count} values; {MAX_JOINTS} are allowed")
    return read_doubles(reader, count) if count else np.zeros(0)


def places_of(names: list[str], wanted: tuple[str, ...]) -> list[int]:
    """Return where the wanted joints are in a message; raises AttestationError for one that is not there, or twice."""
    found = {name: place for place, name in enumerate(names)}
    if len(found) != len(names):
        raise AttestationError("the message names a joint twice")
    missing = [name for name in wanted if name not in found]
    if missing:
        raise AttestationError(f"the message has no joint {missing[0][:60]!a}")
    return [found[name] for name in wanted]


def finite(array: NDArray[Any], what: str) -> NDArray[np.float64]:
    """Return an output as float64; raises AttestationError for a number that no motor can follow."""
    values = np.asarray(array, dtype=np.float64)
    if not np.isfinite(values).all():
        raise AttestationError(f"the model gave {what} that is not finite")
    return values
