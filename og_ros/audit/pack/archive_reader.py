"""Opens a stranger's ZIP file and unpacks it safely: one reading of its bytes, nothing outside, nothing too large.

Readers of ZIP files differ in what they believe: the directory at the end or the headers on the way, the first of two
entries or the last. A pack is refused unless every reader sees the same: entries that fill the file without gap or
overlap, each with one header that agrees with the directory.
"""

from __future__ import annotations

import shutil
import stat
import struct
import zipfile
import zlib
from hashlib import sha256
from pathlib import Path
from typing import IO, Final

from og_ros.audit.pack import layout
from og_ros.errors import PackError

MAX_ENTRIES: Final = 200_000
MAX_DIRECTORY: Final = 64 * 2**20
MAX_DEFLATED: Final = 4 * 2**30
MAX_RATIO: Final = 200
"""How many times its packed size a deflated entry may have; text reaches 20, a bomb 1000."""
MAX_SIZE: Final = 2**40

_BLOCK: Final = 1 << 20
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_END: Final = struct.Struct("<4s4H2LH")
_END64_LOCATOR: Final = struct.Struct("<4sLQL")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_ZIP64: Final = struct.Struct("<2H2Q")
# What stands in a field of the plain record when only Zip64's has room for it.
_FULL: Final = (0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
_ENCRYPTED, _DESCRIPTOR, _PATCHED, _STRONG, _MASKED = 0x1, 0x8, 0x20, 0x40, 0x2000


class Archive:
    """A pack's ZIP file that was found to be safe; made by `open_archive`."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path = path
        self._zip = file
        self.sizes: dict[str, int] = {info.filename: info.file_size for info in file.infolist()}

    def extract(self, directory: Path) -> dict[str, bytes]:
        """Write every file below an empty directory and return their SHA-256 by path. Raises PackError."""
        room = shutil.disk_usage(directory).free
        need = sum(self.sizes.values())
        if need > room:
            raise PackError(f"{self.path} needs {need} bytes below {directory}, where {room} are free")
        return {info.filename: self._extract(info, directory) for info in self._zip.infolist()}

    def _extract(self, info: zipfile.ZipInfo, directory: Path) -> bytes:
        target = directory.joinpath(*info.filename.split("/"))
        digest = sha256()
        left = info.file_size
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._zip.open(info) as source, target.open("xb") as stream:
                while block := source.read(_BLOCK):
                    left -= len(block)
                    if left < 0:
                        raise PackError(f"{self.path}: {info.filename!a} is longer than it says")
                    digest.update(block)
                    stream.write(block)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise PackError(f"{self.path}: {info.filename!a} cannot be unpacked: {error}") from error
        except OSError as error:
            raise PackError(f"cannot unpack {self.path} to {directory}: {error.strerror}") from error
        if left:
            raise PackError(f"{self.path}: {info.filename!a} is shorter than it says")
        return digest.digest()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_archive(path: Path, max_size: int = MAX_SIZE) -> Archive:
    """Open a pack for reading; raises PackError, before anything is unpacked, for what is not safe.

    Refused are: paths that lead elsewhere or could be taken for another, links and other special files, encryption,
    other methods than stored and deflate, bytes before, between or after the entries, entries that overlap or differ
    from the directory, too many, too large, or too dense ones.
    """
    try:
        with path.open("rb") as stream:
            if not stat.S_ISREG(path.stat().st_mode):
                raise PackError(f"{path} is no regular file")
            start, end = _directory(stream, path)
            file = zipfile.ZipFile(path)
            try:
                _check(stream, path, file, start, max_size)
                if file.start_dir != start or file.comment or end != path.stat().st_size:
                    raise PackError(f"{path} has bytes around its ZIP directory that belong to nothing")
            except BaseException:
                file.close()
                raise
    except OSError as error:
        raise PackError(f"cannot read the pack {path}: {error.strerror}") from error
    except (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError, OverflowError) as error:
        raise PackError(f"{path} is no pack, or a damaged one: {error}") from error
    return Archive(path, file)


def _directory(stream: IO[bytes], path: Path) -> tuple[int, int]:
    """Return where the directory starts and where the file ends, by the record at the file's very end."""
    size = stream.seek(0, 2)
    if size < _END.size:
        raise PackError(f"{path} is no pack: it is too short for a ZIP file")
    stream.seek(size - _END.size)
    mark, disk, first, here, entries, length, start, comment = _END.unpack(stream.read(_END.size))
    if mark != b"PK\x05\x06" or comment:
        raise PackError(f"{path} is no pack: it does not end as a ZIP file without comment does")
    end = size - _END.size
    # zipfile looks for Zip64's locator whatever the plain record says, and so must this.
    stream.seek(max(end - _END64_LOCATOR.size, 0))
    locator = stream.read(_END64_LOCATOR.size)
    if locator[:4] == b"PK\x06\x07" and len(locator) == _END64_LOCATOR.size:
        plain = (disk, first, here, entries, length, start)
        where = _END64_LOCATOR.unpack(locator)[2]
        end -= _END64_LOCATOR.size + _END64.size
        stream.seek(max(end, 0))
        mark, _, _, _, *wide = _END64.unpack(stream.read(_END64.size))
        if mark != b"PK\x06\x06" or where != end:
            raise PackError(f"{path} is no pack: its Zip64 records are not where they belong")
        disk, first, here, entries, length, start = wide
        if any(a not in (b, full) for a, b, full in zip(plain, wide, _FULL, strict=True)):
            raise PackError(f"{path} is no pack: its two records of the directory differ")
    if disk or first or here != entries:
        raise PackError(f"{path} is a part of a ZIP file in several volumes")
    if entries > MAX_ENTRIES or length > MAX_DIRECTORY:
        raise PackError(f"{path} has {entries} entries; {MAX_ENTRIES} are allowed")
    if start + length != end:
        raise PackError(f"{path} has bytes around its ZIP directory that belong to nothing")
    return start, size


def _check(stream: IO[bytes], path: Path, file: zipfile.ZipFile, start: int, max_size: int) -> None:
    infos = file.infolist()
    try:
        layout.check_paths(info.filename for info in infos)
        position = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            _check_entry(info)
            position = _check_header(stream, info, position)
    except PackError as error:
        raise PackError(f"{path} is not safe to open: {error}") from error
    if position != start:
        raise PackError(f"{path} is not safe to open: it has bytes between its entries and its directory")
    total = sum(info.file_size for info in infos)
    if total > max_size:
        raise PackError(f"{path} would unpack to {total} bytes; {max_size} are allowed")


def _check_entry(info: zipfile.ZipInfo) -> None:
    name = f"the entry {info.filename[:120]!a}"
    # zipfile cuts a name at a zero byte; another reader may not.
    if info.orig_filename != info.filename:
        raise PackError(f"{name} has another name in the file: {info.orig_filename[:120]!a}")
    if info.extra and info.extra[:2] != b"\x01\0":
        raise PackError(f"{name} has an extra field that does not belong in a pack")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise PackError(f"{name} is no regular file but a link or another special file")
    if info.flag_bits & (_ENCRYPTED | _STRONG | _MASKED):
        raise PackError(f"{name} is encrypted")
    if info.flag_bits & (_DESCRIPTOR | _PATCHED):
        raise PackError(f"{name} has its size behind its data, or is a patch")
    if info.compress_type == zipfile.ZIP_STORED:
        if info.compress_size != info.file_size:
            raise PackError(f"{name} is stored and has two sizes")
    elif info.compress_type != zipfile.ZIP_DEFLATED:
        raise PackError(f"{name} is packed by the method {info.compress_type}; stored and deflate are allowed")
    elif info.file_size > min(MAX_DEFLATED, MAX_RATIO * info.compress_size + 65_536):
        raise PackError(f"{name} would grow from {info.compress_size} to {info.file_size} bytes: it may be a bomb")


def _check_header(stream: IO[bytes], info: zipfile.ZipInfo, position: int) -> int:
    """Check that an entry's own header agrees with the directory and starts at a position; return where it ends."""
    name = f"the entry {info.filename[:120]!a}"
    if info.header_offset != position:
        raise PackError(f"{name} overlaps another, or has unknown bytes before it")
    stream.seek(position)
    mark, _, flags, method, _, _, crc, packed, size, length, extra = _LOCAL.unpack(stream.read(_LOCAL.size))
    encoded = stream.read(length)
    if mark != b"PK\x03\x04" or encoded != info.filename.encode("utf-8" if flags & 0x800 else "ascii", "replace"):
        raise PackError(f"{name} has another name in its own header")
    sizes = _sizes(stream.read(extra), size, packed, name)
    if (flags, method, crc) != (info.flag_bits, info.compress_type, info.CRC) or (
        sizes != (info.file_size, info.compress_size)
    ):
        raise PackError(f"{name} says another thing in its own header than in the directory")
    return position + _LOCAL.size + int(length) + int(extra) + info.compress_size


def _sizes(extra: bytes, size: int, packed: int, name: str) -> tuple[int, int]:
    """Return the sizes of a header with its extra field, which may be Zip64's only: others can change a name."""
    if not extra:
        return size, packed
    if len(extra) != _ZIP64.size or (size, packed) != (0xFFFFFFFF, 0xFFFFFFFF):
        raise PackError(f"{name} has an extra field that does not belong in a pack")
    tag, length, size, packed = _ZIP64.unpack(extra)
    if (tag, length) != (1, 16):
        raise PackError(f"{name} has an extra field that does not belong in a pack")
    return size, packed
