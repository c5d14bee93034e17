"""Finds a model by the digest of its bytes, among files and directories; names and places prove nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from og_ros.errors import ModelError

SUFFIX: Final = ".onnx"
# What a protobuf message can hold, and so an ONNX model without external data.
MAX_SIZE: Final = 2**31 - 1
_BLOCK: Final = 2**20


class ModelFiles:
    """Files, and the *.onnx files of directories and all below; each is hashed once, when a model is first looked for.

    Links to directories are not followed. A file that cannot be read, or is larger than 2 GiB, is left out.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._by_digest: dict[bytes, Path] | None = None

    def find(self, digest: bytes) -> bytes | None:
        """Return the bytes of the model with a SHA-256 digest, or None when no file has it (any more)."""
        if self._by_digest is None:
            self._by_digest = {}
            for path in self._files():
                found = _digest(path)
                if found is not None:
                    self._by_digest.setdefault(found, path)
        place = self._by_digest.get(digest)
        if place is None:
            return None
        try:
            data = place.read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).digest() == digest else None

    def check(self) -> None:
        """Raise ModelError for a path that does not exist."""
        for path in self._paths:
            if not path.exists():
                raise ModelError(f"there is no model or directory of models at {path}")

    def _files(self) -> Iterator[Path]:
        for path in self._paths:
            if path.is_file():
                yield path
                continue
            for directory, _, names in os.walk(path):
                yield from (Path(directory) / name for name in sorted(names) if name.endswith(SUFFIX))


def _digest(path: Path) -> bytes | None:
    state = hashlib.sha256()
    try:
        if not path.is_file() or path.stat().st_size > MAX_SIZE:
            return None
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                state.update(block)
    except OSError:
        return None
    return state.digest()
