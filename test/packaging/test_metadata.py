"""What pyproject.toml, package.xml, the changelog and the lock say has to agree."""

from __future__ import annotations

import re
from itertools import chain

import pytest

import og_ros
from packaging.requirements import Requirement
from packaging.version import Version

from .conftest import ROOT

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
ROS_BUILD = {"catkin-pkg", "cmake", "ninja", "numpy"}  # tools of which any recent version will do


def locked() -> dict[str, set[Version]]:
    """The versions that the lock has for each name; several where they differ between Pythons."""
    pins: dict[str, set[Version]] = {}
    for line in (ROOT / "requirements" / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (specifier,) = requirement.specifier
            pins.setdefault(requirement.name, set()).add(Version(specifier.version))
    return pins


def test_versions_agree() -> None:
    manifest = (ROOT / "package.xml").read_text()
    changelog = (ROOT / "CHANGELOG.rst").read_text()
    assert f"<version>{og_ros.__version__}</version>" in manifest
    assert re.search(rf"^{re.escape(og_ros.__version__)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE)


def test_package_xml_is_valid_for_ros() -> None:
    catkin = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg is not installed")
    package = catkin.parse_package(str(ROOT / "package.xml"))
    package.validate()
    assert (package.name, package.get_build_type()) == (PROJECT["name"], "ament_python")
    assert [group.name for group in package.member_of_groups] == ["rosidl_interface_packages"]


@pytest.mark.parametrize("text", [*EXTRAS["ros"], *EXTRAS["ros-build"]])
def test_every_ros_name_is_pinned(text: str) -> None:
    """One loose name resolves to another ROS distribution, whose packages do not fit."""
    requirement = Requirement(text)
    assert requirement.name in ROS_BUILD or str(requirement.specifier).startswith("==")


@pytest.mark.parametrize("text", sorted({*PROJECT["dependencies"], *chain(*EXTRAS.values())}))
def test_the_lock_covers_every_requirement(text: str) -> None:
    requirement = Requirement(text)
    versions = locked().get(re.sub(r"[-_.]+", "-", requirement.name).lower())
    assert versions, f"{requirement.name} is not in the lock: run tools/lock_requirements.py"
    assert all(requirement.specifier.contains(version) for version in versions)
