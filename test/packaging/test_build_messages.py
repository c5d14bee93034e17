"""When the interfaces are built: once, again after a change, and never without ROS."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from build_messages import GENERATORS, MessageBuildError, RosEnvironment, build_messages, find_ros


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "msg").mkdir(parents=True)
    (folder / "package.xml").write_text("<package/>")
    (folder / "msg" / "Attestation.msg").write_text("uint8 a\n")
    return folder


def fake_ros(prefix: Path, cmake: str = "exit 0") -> RosEnvironment:
    """A ROS prefix whose cmake notes that it ran, then does as told."""
    (prefix / GENERATORS).parent.mkdir(parents=True)
    (prefix / GENERATORS).touch()
    (prefix / "bin").mkdir()
    tool = prefix / "bin" / "cmake"
    tool.write_text(f"#!/bin/sh\necho run >> {prefix}/runs\n{cmake}\n")
    tool.chmod(0o755)
    return RosEnvironment((prefix,), prefix / "bin" / "python")


def runs(ros: RosEnvironment) -> int:
    return len((ros.prefixes[0] / "runs").read_text().split())


def test_an_unchanged_source_is_not_built_again(source: Path, tmp_path: Path) -> None:
    ros = fake_ros(tmp_path / "ros")
    install = build_messages(source, tmp_path / "build", ros)
    assert build_messages(source, tmp_path / "build", ros) == install
    assert runs(ros) == 2  # configure, and build


@pytest.mark.parametrize("changed", ["msg/Attestation.msg", "msg/New.msg", "package.xml", "CMakeLists.txt"])
def test_a_changed_source_is_built_again(source: Path, tmp_path: Path, changed: str) -> None:
    ros = fake_ros(tmp_path / "ros")
    build_messages(source, tmp_path / "build", ros)
    (source / changed).write_text("uint16 b\n")
    build_messages(source, tmp_path / "build", ros)
    assert runs(ros) == 4


def test_another_version_of_the_generators_builds_again(source: Path, tmp_path: Path) -> None:
    ros = fake_ros(tmp_path / "ros")
    build_messages(source, tmp_path / "build", ros)
    manifest = tmp_path / "ros" / "share" / "rosidl_generator_py" / "package.xml"
    manifest.parent.mkdir()
    manifest.write_text("<version>0.22.3</version>")
    build_messages(source, tmp_path / "build", ros)
    assert runs(ros) == 4


def test_environments_do_not_share_a_build(source: Path, tmp_path: Path) -> None:
    first = build_messages(source, tmp_path / "build", fake_ros(tmp_path / "jazzy"))
    assert build_messages(source, tmp_path / "build", fake_ros(tmp_path / "kilted")) != first


def test_a_failed_build_is_an_error_and_is_tried_again(source: Path, tmp_path: Path) -> None:
    ros = fake_ros(tmp_path / "ros", "echo the reason; exit 1")
    for attempts in (1, 2):
        with pytest.raises(MessageBuildError, match=r"do not build.*build\.log"):
            build_messages(source, tmp_path / "build", ros)
        assert runs(ros) == attempts


def test_ros_is_found_where_it_was_sourced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ros = fake_ros(tmp_path / "ros")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'other'}:{ros.prefixes[0]}")
    found = find_ros()
    assert found is not None
    assert ros.prefixes[0] in found.prefixes


def test_without_ros_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "VIRTUAL_ENV"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    assert find_ros() is None
