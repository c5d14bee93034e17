"""Names of the package and its interfaces by ROS's rules: REP 144, REP 149, the article on interface definitions."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

parser = pytest.importorskip("rosidl_adapter.parser", reason="ROS's interface parser is missing: extra `ros-build`")

ROOT = Path(__file__).resolve().parents[2]
MESSAGES = sorted((ROOT / "msg").iterdir())
SERVICES = sorted((ROOT / "srv").iterdir())
# Of the interface definition article; rosidl_adapter itself refuses names that break them when it builds.
FIELD = re.compile(r"[a-z](_?[a-z0-9])*")
CONSTANT = re.compile(r"[A-Z](_?[A-Z0-9])*")
TYPE = re.compile(r"[A-Z][A-Za-z0-9]*")


def specifications() -> list[tuple[str, object]]:
    found = [(path.name, parser.parse_message_file("og_ros", str(path))) for path in MESSAGES]
    for path in SERVICES:
        service = parser.parse_service_file("og_ros", str(path))
        found += [(f"{path.name} request", service.request), (f"{path.name} response", service.response)]
    return found


def test_the_package_is_named_as_rep_144_says_and_its_manifest_is_of_rep_149() -> None:
    root = ElementTree.parse(ROOT / "package.xml").getroot()
    name = root.findtext("name") or ""
    assert re.fullmatch(r"[a-z][a-z0-9]+(_[a-z0-9]+)*", name)
    assert root.attrib["format"] == "3"
    assert re.fullmatch(r"\d+\.\d+\.\d+", root.findtext("version") or "")
    assert "rosidl_interface_packages" in [group.text for group in root.iter("member_of_group")]


@pytest.mark.parametrize("path", [*MESSAGES, *SERVICES], ids=lambda path: path.name)
def test_files_are_named_after_their_type_and_say_what_it_is(path: Path) -> None:
    assert path.suffix == (".srv" if path in SERVICES else ".msg")
    assert TYPE.fullmatch(path.stem)
    # `ros2 interface show` begins with it.
    assert re.match(r"# [A-Z].+", path.read_text())


@pytest.mark.parametrize(("name", "specification"), specifications())
def test_fields_and_constants(name: str, specification: object) -> None:
    for field in specification.fields:  # type: ignore[attr-defined]
        assert FIELD.fullmatch(field.name), f"{name}: {field.name}"
        assert field.annotations.get("comment"), f"{name}: {field.name} does not say what it is"
        # An audit bounds what it reads: text has a bound; of sequences only payloads have none.
        if field.type.type == "string":
            assert field.type.string_upper_bound, f"{name}: {field.name} has no bound"
    for constant in specification.constants:  # type: ignore[attr-defined]
        assert CONSTANT.fullmatch(constant.name), f"{name}: {constant.name}"
