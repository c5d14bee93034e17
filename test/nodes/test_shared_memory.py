"""Whether a process still hears: its listeners' threads, the files that it mapped, and those that others find."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy")
from og_ros.nodes.shared_memory import SharedMemoryPorts


def write(directory: Path, threads: list[str], mapped: list[tuple[str, int, str]]) -> Path:
    process = directory / "proc"
    for number, name in enumerate(threads):
        (process / "task" / str(number)).mkdir(parents=True, exist_ok=True)
        (process / "task" / str(number) / "comm").write_text(f"{name}\n")
    lines = [f"7f00-7f01 rw-s 00000000 00:18 {inode}    {path}{mark}" for path, inode, mark in mapped]
    (process / "maps").write_text("\n".join(["55d0-55d1 r-xp 00000000 08:01 7 /bin/python", *lines, ""]))
    return process


@pytest.mark.parametrize("prefix", ["fastrtps", "fastdds"])
def test_a_port_is_lost_once_others_find_another_file(tmp_path: Path, prefix: str) -> None:
    file, other = tmp_path / f"{prefix}_port7411", tmp_path / f"{prefix}_port7413"
    file.touch()
    threads = ["python", "dds.shm.7411", "dds.udp.7411", "dds.shm.wdog"]
    # The other one is a peer's: this process only writes to it.
    mapped = [(str(file), file.stat().st_ino, ""), (str(other), 99, " (deleted)")]
    ports = SharedMemoryPorts(write(tmp_path, threads, mapped))
    assert [ports.lost() for _ in range(3)] == [[], [], []]
    file.rename(tmp_path / "kept")  # else the new file may have its inode
    assert [ports.lost() for _ in range(3)] == [[], [str(file)], [str(file)]]
    file.touch()
    assert ports.lost() == [str(file)]


def test_a_port_that_is_renewed_is_not_lost(tmp_path: Path) -> None:
    file = tmp_path / "fastrtps_port7411"
    file.touch()
    process = write(tmp_path, ["dds.shm.7411"], [(str(file), file.stat().st_ino, "")])
    ports = SharedMemoryPorts(process)
    assert ports.lost() == []
    file.rename(tmp_path / "kept")
    assert ports.lost() == []
    file.touch()
    write(
        tmp_path,
        ["dds.shm.7411"],
        [(str(file), (tmp_path / "kept").stat().st_ino, " (deleted)"), (str(file), file.stat().st_ino, "")],
    )
    assert [ports.lost() for _ in range(3)] == [[], [], []]


def test_without_shared_memory_there_is_nothing_to_lose(tmp_path: Path) -> None:
    assert SharedMemoryPorts(tmp_path / "nowhere").lost() == []
    assert SharedMemoryPorts(write(tmp_path, ["python"], [])).lost() == []
