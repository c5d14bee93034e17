"""How an environment differs from its manifest: one named difference each, the same for a robot, an audit and CI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from og_ros.evidence.manifest import ADAPTER, CONFIG, MODEL, OG_ROS, Manifest, Package

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference: a fixed code, what it is about, and a sentence."""

    code: str
    name: str
    message: str


def drift(expected: Manifest, found: Manifest) -> tuple[Drift, ...]:
    """Return what of an environment is not as its manifest says, in a fixed order; empty when all is."""
    return tuple(_differences(expected, found))


def _differences(expected: Manifest, found: Manifest) -> Iterator[Drift]:
    for name in ("robot", "stage"):
        if getattr(expected, name) != getattr(found, name):
            yield Drift(f"another_{name}", name, f"the manifest is of {name} {getattr(expected, name)!a}")
    for label, old, new in _changed(expected.files, found.files):
        yield Drift(_file_code(label), label, f"{label} {_verb(old, new)}")
    if expected.python != found.python:
        yield Drift("python_changed", "python", f"Python is {found.python}, and was {expected.python}")
    if expected.image != found.image:
        names = (found.image or "none", expected.image or "none")
        yield Drift("image_changed", "image", f"the image is {names[0]}, and was {names[1]}")
    for label, package, changed in _changed(expected.packages, found.packages):
        yield _of_package(label, package, changed)
    for label, old_text, new_text in _changed(expected.environment, found.environment):
        yield Drift("environment_changed", label, f"the variable {label} {_verb(old_text, new_text)}")


def _of_package(name: str, old: Package | None, new: Package | None) -> Drift:
    if old is not None and new is not None and old.version != new.version:
        return Drift("package_version", name, f"the package {name} is {new.version}, and was {old.version}")
    if old is not None and new is not None:
        return Drift("package_changed", name, f"files of the package {name} {new.version} changed")
    return Drift("package_added" if old is None else "package_missing", name, f"the package {name} {_verb(old, new)}")


def _file_code(label: str) -> str:
    if label in (MODEL, CONFIG):
        return f"{label}_changed"
    if label.startswith(ADAPTER):
        return "adapter_changed"
    return "og_ros_changed" if label.startswith(OG_ROS) else "file_changed"


def _verb(old: object, new: object) -> str:
    return "is new" if old is None else "is gone" if new is None else "changed"


def _changed(expected: Mapping[str, T], found: Mapping[str, T]) -> Iterator[tuple[str, T | None, T | None]]:
    for label in sorted(expected.keys() | found.keys()):
        if expected.get(label) != found.get(label):
            yield label, expected.get(label), found.get(label)
