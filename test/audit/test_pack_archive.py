"""Hostile ZIP files: whatever two readers could read differently, or that harms the reader, is refused unopened."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.audit.pack import archive_reader, layout
from og_ros.audit.pack.archive_reader import open_archive
from og_ros.audit.pack.archive_writer import write_archive
from og_ros.errors import PackError

NAME = "recording/bag/bag.mcap"


def honest(directory: Path) -> Path:
    """Write a small archive with stored and deflated entries."""
    target = directory / "honest.ogpack"
    target.unlink(missing_ok=True)
    write_archive(target, {NAME: bytes(1000), "README.txt": b"read me\n" * 20, "pack.json": b"{}"}, None)
    return target


def made(directory: Path, fill: Callable[[zipfile.ZipFile], None]) -> Path:
    """Write an archive with zipfile, as an attacker's script does."""
    target = directory / "made.ogpack"
    with zipfile.ZipFile(target, "w") as archive:
        fill(archive)
    return target


def refused(path: Path, says: str, directory: Path) -> None:
    """Check that an archive is refused with a sentence, on one line, and that nothing was written."""
    with pytest.raises(PackError, match=says) as caught, open_archive(path) as archive:
        archive.extract(directory)
    assert "\n" not in str(caught.value)
    assert [file for file in directory.rglob("*") if file.is_file()] == []


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_an_honest_archive_is_read_back(tmp_path: Path, out: Path) -> None:
    with open_archive(honest(tmp_path)) as archive:
        found = archive.extract(out)
    assert found.keys() == {NAME, "README.txt", "pack.json", layout.MANIFEST}
    assert (out / NAME).read_bytes() == bytes(1000)
    assert (out / "README.txt").read_bytes() == b"read me\n" * 20
    with pytest.raises(PackError, match="cannot unpack"), open_archive(tmp_path / "honest.ogpack") as archive:
        archive.extract(out)  # never over what is there


def test_large_entries_use_zip64(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the limit of plain ZIP lowered, so that a small file takes the path of one of several gigabytes."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 2000)
    target = tmp_path / "large.ogpack"
    write_archive(target, {NAME: os.urandom(5000), "README.txt": b"x" * 100}, None)
    monkeypatch.undo()
    with open_archive(target) as archive:
        assert archive.sizes[NAME] == 5000
        archive.extract(out)
    assert b"PK\x06\x06" in target.read_bytes()
    assert (out / NAME).stat().st_size == 5000


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "recording/../../evil", "/etc/cron.d/evil", "recording//x", "recording/./x", "recording/", "", ".",
        "recording\\..\\evil", "C:evil", "recording/nul\x7f", "recording/\u202egnp.exe", "recording/e\u0301",
        "recording/ends. ", "recording/ends.", "recording/" + "x" * 256, "recording/" + "x/" * 600 + "x",
    ],
)  # fmt: skip
def test_paths_that_lead_elsewhere_or_deceive(tmp_path: Path, out: Path, name: str) -> None:
    refused(made(tmp_path, lambda archive: archive.writestr(zipfile.ZipInfo(name), b"x")), "the entry", out)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("recording/a", "recording/a"),
        ("recording/a", "recording/A"),
        ("recording/\u00df", "recording/ss"),
        ("recording/\ufb01le", "recording/file"),
        ("recording/\u212b", "recording/\u00c5"),
        ("recording/a", "recording/a/b"),
        ("recording/A", "recording/a/b"),
    ],
)
def test_two_entries_that_one_file_system_takes_for_one(tmp_path: Path, out: Path, first: str, second: str) -> None:
    def fill(archive: zipfile.ZipFile) -> None:
        archive.writestr(zipfile.ZipInfo(first), b"1")
        archive.writestr(zipfile.ZipInfo(second), b"2")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of a name that it has already, and writes it all the same
        pack = made(tmp_path, fill)
    refused(pack, "one name|a file and a directory|normal form", out)


def test_links_and_special_files(tmp_path: Path, out: Path) -> None:
    for kind in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK):
        info = zipfile.ZipInfo("recording/link")
        info.create_system = 3
        info.external_attr = (kind | 0o777) << 16
        refused(made(tmp_path, lambda a, i=info: a.writestr(i, b"/etc/passwd")), "no regular file", out)  # type: ignore[misc]


def test_other_methods_and_extra_fields(tmp_path: Path, out: Path) -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        refused(made(tmp_path, lambda a, m=method: a.writestr(NAME, b"x" * 99, m)), "by the method", out)  # type: ignore[misc]
    info = zipfile.ZipInfo(NAME)
    # Info-ZIP's Unicode path: some readers take this name instead.
    info.extra = struct.pack("<HHBL", 0x7075, 9, 1, 0) + b"evil"
    refused(made(tmp_path, lambda archive: archive.writestr(info, b"x")), "extra field", out)


def test_a_bomb(tmp_path: Path, out: Path) -> None:
    with open_archive(honest(tmp_path)) as archive, pytest.raises(PackError, match="would unpack to"):
        open_archive(archive.path, max_size=1100)
    bomb = made(tmp_path, lambda archive: archive.writestr("report.json", bytes(50_000_000), zipfile.ZIP_DEFLATED))
    assert bomb.stat().st_size < 100_000
    refused(bomb, "may be a bomb", out)


def edited(path: Path, change: Callable[[bytearray], bytes | bytearray]) -> Path:
    """Write a file with changed bytes beside it."""
    target = path.with_name("edited.ogpack")
    target.write_bytes(change(bytearray(path.read_bytes())))
    return target


def directory_entry(data: bytes, name: str) -> int:
    """Return where the directory's entry of a name begins."""
    at = data.rindex(name.encode()) - 46
    assert data[at : at + 4] == b"PK\x01\x02"
    return at


def test_encryption_flag(tmp_path: Path, out: Path) -> None:
    def change(data: bytearray) -> bytearray:
        at = directory_entry(data, NAME)
        data[at + 8] |= 1
        return data

    refused(edited(honest(tmp_path), change), "is encrypted", out)


def test_bytes_around_the_archive(tmp_path: Path, out: Path) -> None:
    pack = honest(tmp_path)
    refused(edited(pack, lambda data: b"#!/bin/sh\n" + data), "bytes around|overlaps another", out)
    refused(edited(pack, lambda data: data + b"more"), "does not end as a ZIP file", out)
    refused(edited(pack, lambda data: data[:-2] + b"\x04\0more"), "does not end as a ZIP file", out)
    refused(edited(pack, lambda data: data[: len(data) // 2]), "does not end as a ZIP file", out)
    refused(edited(pack, lambda data: b""), "too short", out)


def test_two_archives_in_one_file(tmp_path: Path, out: Path) -> None:
    """The second directory is the one that most readers use, the first that of a streaming reader."""
    first = honest(tmp_path).read_bytes()
    second = made(tmp_path, lambda archive: archive.writestr("pack.json", b"evil")).read_bytes()
    both = tmp_path / "both.ogpack"
    both.write_bytes(first + second)
    refused(both, "bytes around|overlaps another", out)


def test_a_hidden_entry_that_no_directory_lists(tmp_path: Path, out: Path) -> None:
    def change(data: bytearray) -> bytearray:
        start = struct.unpack_from("<L", data, len(data) - 6)[0]
        at = directory_entry(data, "README.txt")
        length = 46 + len("README.txt")
        size, entries = struct.unpack_from("<L", data, len(data) - 10)[0], data[len(data) - 12]
        del data[at : at + length]
        struct.pack_into("<HHL", data, len(data) - 14, entries - 1, entries - 1, size - length)
        assert struct.unpack_from("<L", data, len(data) - 6)[0] == start
        return data

    refused(edited(honest(tmp_path), change), "overlaps another, or has unknown bytes before it", out)


def test_header_and_directory_that_disagree(tmp_path: Path, out: Path) -> None:
    def rename(data: bytearray) -> bytearray:
        at = data.index(NAME.encode())
        data[at : at + 4] = b"REC0"
        return data

    def resize(data: bytearray) -> bytearray:
        at = data.index(NAME.encode()) - 30
        struct.pack_into("<L", data, at + 22, 999)
        return data

    refused(edited(honest(tmp_path), rename), "another name in its own header", out)
    refused(edited(honest(tmp_path), resize), "says another thing in its own header", out)


def test_overlapping_entries(tmp_path: Path, out: Path) -> None:
    """Two entries of the directory that share one file's bytes, as in bombs that do not recurse."""

    def change(data: bytearray) -> bytearray:
        at = directory_entry(data, "README.txt")
        struct.pack_into("<L", data, at + 42, struct.unpack_from("<L", data, directory_entry(data, NAME) + 42)[0])
        return data

    refused(edited(honest(tmp_path), change), "overlaps another|another name in its own header", out)


def test_damaged_data(tmp_path: Path, out: Path) -> None:
    def change(data: bytearray) -> bytearray:
        at = data.index(NAME.encode()) + len(NAME) + 10
        data[at] ^= 1
        return data

    with (
        pytest.raises(PackError, match="cannot be unpacked"),
        open_archive(edited(honest(tmp_path), change)) as archive,
    ):
        archive.extract(out)


def test_too_many_entries(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_reader, "MAX_ENTRIES", 3)
    refused(honest(tmp_path), "4 entries; 3 are allowed", out)


def test_what_is_no_file(tmp_path: Path, out: Path) -> None:
    refused(tmp_path / "missing", "cannot read the pack", out)
    refused(out, "cannot read the pack", out)
    empty = tmp_path / "empty"
    empty.write_bytes(b"PK\x05\x06" + bytes(18))
    with open_archive(empty) as archive:
        assert archive.sizes == {}


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_edit_escapes_as_another_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any few bytes of the file changed: it is refused in one line, or gives the same names."""
    directory = tmp_path_factory.mktemp("fuzz")
    pack = honest(directory)
    content = bytearray(pack.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    pack.write_bytes(content)
    target = directory / "out"
    target.mkdir()
    with contextlib.suppress(PackError), open_archive(pack) as archive:
        archive.extract(target)
    assert all(target in file.parents for file in directory.rglob("*") if file not in (pack, target))
