"""What pyproject.toml, package.xml, the changelog and the lock say has to agree."""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain
from xml.etree import ElementTree

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


# rosdep keys that package.xml may name, beside packages of ROS itself: by hand, after rosdistro's rosdep/*.yaml.
ROSDEP_KEYS = {
    "libssl-dev", "python3-cryptography", "python3-numpy", "python3-onnxruntime-pip", "python3-opencv",
    "python3-pytest", "python3-rich", "python3-sphinx", "python3-yaml",
}  # fmt: skip
ROS_PACKAGES = {
    "ament_cmake", "ament_index_python", "builtin_interfaces", "diagnostic_msgs", "geometry_msgs", "launch",
    "launch_ros", "launch_testing", "launch_testing_ros", "lifecycle_msgs", "nav_msgs", "rclpy",
    "rosgraph_msgs",
    "rosidl_default_generators", "rosidl_default_runtime", "sensor_msgs", "service_msgs", "std_msgs", "std_srvs",
    "trajectory_msgs", "visualization_msgs",
}  # fmt: skip
# REP-149, format 3: what a package may hold, in any order, and how often.
TAGS = {
    "name": (1, 1), "version": (1, 1), "description": (1, 1), "maintainer": (1, 99), "license": (1, 99), "url": (0, 99),
    "author": (0, 99), "build_depend": (0, 99), "build_export_depend": (0, 99), "buildtool_depend": (0, 99),
    "buildtool_export_depend": (0, 99), "exec_depend": (0, 99), "depend": (0, 99), "doc_depend": (0, 99),
    "test_depend": (0, 99), "conflict": (0, 99), "replace": (0, 99), "group_depend": (0, 99),
    "member_of_group": (0, 99), "export": (0, 1),
}  # fmt: skip


def test_package_xml_has_the_tags_of_format_3() -> None:
    root = ElementTree.parse(ROOT / "package.xml").getroot()
    assert (root.tag, root.get("format")) == ("package", "3")
    found = Counter(child.tag for child in root)
    assert set(found) <= set(TAGS)
    assert all(least <= found[tag] <= most for tag, (least, most) in TAGS.items())
    assert re.fullmatch(r"\d+\.\d+\.\d+", root.findtext("version", ""))
    assert all(child.get("email") for child in root.findall("maintainer"))


def test_every_dependency_has_a_key() -> None:
    root = ElementTree.parse(ROOT / "package.xml").getroot()
    named = {child.text for child in root if child.tag.endswith("depend") and child.tag != "group_depend"}
    assert named <= ROSDEP_KEYS | ROS_PACKAGES


def test_names_are_as_rep_144_wants_them() -> None:
    """Lower case, digits and single underscores, from a letter on; interfaces in camel case, their fields not."""
    name = re.compile(r"[a-z](?:_?[a-z0-9]+)+")
    assert name.fullmatch(PROJECT["name"])
    for path in [*ROOT.glob("msg/*.msg"), *ROOT.glob("srv/*.srv")]:
        assert re.fullmatch(r"[A-Z][A-Za-z0-9]*", path.stem), path
        for line in path.read_text().splitlines():
            field = re.match(r"([\w/]+(?:<=\d+)?(?:\[[^\]]*\])?)\s+(\w+)\s*(=)?", line)
            if field:
                pattern = r"[A-Z][A-Z0-9_]*" if field[3] else name.pattern
                assert re.fullmatch(pattern, field[2]), f"{path.name}: {line}"


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
