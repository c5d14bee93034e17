"""A directory that behaves as configfs-tsm does, after the kernel's Documentation/ABI/testing/configfs-tsm-report.

What the kernel does on mkdir, write and read happens in a Path of our own kind: attributes appear with the entry, a
write to `inblob` counts `generation` up, `outblob` is made of what was last written, and rmdir takes them along.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

Kind = type(Path())


class TsmPath(Kind):  # type: ignore[valid-type,misc]
    """A path below a TsmKernel's root; the kernel is found by the root's text."""

    def _kernel(self) -> TsmKernel:
        return next(kernel for root, kernel in KERNELS.items() if str(self).startswith(root))

    def is_dir(self) -> bool:
        return True

    def mkdir(self, *_: object, **__: object) -> None:
        self._kernel().make(self.name)

    def rmdir(self) -> None:
        del self._kernel().entries[self.name]

    def read_bytes(self) -> bytes:
        return self._kernel().read(self.parent.name, self.name)

    def write_bytes(self, data: bytes) -> int:  # type: ignore[override]
        return self._kernel().write(self.parent.name, self.name, data)


KERNELS: dict[str, TsmKernel] = {}


class TsmKernel:
    """One provider; `quote` makes the outblob of 64 bytes."""

    def __init__(self, root: Path, provider: str, quote: Callable[[bytes], bytes]) -> None:
        self.entries: dict[str, dict[str, bytes]] = {}
        self.provider, self.quote = provider, quote
        self.auxblob: bytes | None = b""
        self.disturb: Callable[[str], None] = lambda name: None
        self.refuse_mkdir = False
        KERNELS[str(root)] = self
        self.root = TsmPath(str(root))

    def make(self, name: str) -> None:
        if self.refuse_mkdir:
            raise OSError(errno.ENXIO, "No such device or address")
        if name in self.entries:
            raise OSError(errno.EEXIST, "File exists")
        self.entries[name] = {"provider": f"{self.provider}\n".encode(), "generation": b"0\n"}

    def write(self, name: str, attribute: str, data: bytes) -> int:
        if attribute != "inblob" or len(data) > 64:
            raise OSError(errno.EINVAL, "Invalid argument")
        entry = self.entries[name]
        entry["inblob"] = data
        entry["generation"] = f"{int(entry['generation']) + 1}\n".encode()
        return len(data)

    def read(self, name: str, attribute: str) -> bytes:
        entry = self.entries[name]
        if attribute == "outblob":
            if "inblob" not in entry:
                raise OSError(errno.EWOULDBLOCK, "Resource temporarily unavailable")
            self.disturb(name)
            return self.quote(entry["inblob"])
        if attribute == "auxblob":
            if self.auxblob is None:
                raise OSError(errno.ENOENT, "No such file or directory")
            return self.auxblob
        if attribute == "inblob" or attribute not in entry:
            raise OSError(errno.EACCES, "Permission denied")
        return entry[attribute]
