"""What executed a model, told so that another machine can judge whether it would get the same numbers."""

from __future__ import annotations

import hashlib
import inspect
import platform
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Final

from og_ros.errors import ConfigError, ModelError

# Vector and matrix extensions that change which kernels a runtime picks, and so the last bits of a result.
_X86_FLAGS: Final = (
    "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16",
    "amx_tile", "amx_int8", "amx_bf16",
)  # fmt: skip
_ARM_FLAGS: Final = ("asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2", "sme")


@lru_cache(maxsize=1)
def cpu_class() -> str:
    """Return the architecture and its extensions in a fixed order, such as "x86_64 f16c fma avx2"; at most 128 bytes.

    Two machines of one class run the same kernels. Where /proc/cpuinfo is not to be read, it is the architecture alone.
    """
    machine = platform.machine() or "unknown"
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return machine
    present: set[str] = set()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            present = set(value.split())
            break
    return " ".join([machine, *(flag for flag in (*_X86_FLAGS, *_ARM_FLAGS) if flag in present)])


def source_of(thing: ModuleType | type) -> bytes:
    """Return the bytes of the source file that defines a module or class; raises ConfigError when there is none."""
    try:
        file = inspect.getsourcefile(thing)
        if file is not None:
            return Path(file).read_bytes()
    except (TypeError, OSError):
        pass
    raise ConfigError(f"the source of {thing.__name__} cannot be read, so its digest cannot be attested")


def processing_digest(parts: Iterable[bytes]) -> bytes:
    """Return SHA-256 over parts, each behind its length as 8 bytes big-endian, so that no two lists collide."""
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()


def file_digest(path: Path) -> bytes:
    """Return the SHA-256 of a model's or driver's file; raises ModelError when it cannot be read."""
    state = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                state.update(block)
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}") from error
    return state.digest()
