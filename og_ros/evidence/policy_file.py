"""Reads an appraisal policy from YAML: what a relying party trusts, with file and line in every error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from og_ros.errors import EvidenceError, PolicyError
from og_ros.evidence.certificate_chain import load, to_der
from og_ros.evidence.interface import AppraisalPolicy, verifier
from og_ros.policy_yaml import Section, read

_MAX_FILE: Final = 4_000_000
_MAX_SECONDS: Final = 10 * 366 * 86_400.0


def load_policy(path: Path) -> AppraisalPolicy:
    """Read a policy file; the files that it names lie beside it. Raises PolicyError."""
    return parse_policy(_bytes(path, str(path)), str(path), path.resolve().parent)


def parse_policy(data: bytes, file: str, base: Path) -> AppraisalPolicy:
    """Read a policy from the bytes of its file; raises PolicyError with the line of what is wrong."""
    top = read(data, file)
    if top.number("version", None) != 1:
        raise top.error("version", "must be 1")
    defaults = AppraisalPolicy()
    roots = {name: _root(section, name, base) for section, name in _named(top, "roots")}
    tests = top.texts("test_roots")
    for name in tests:
        if name not in roots:
            raise top.error("test_roots", f"names {name[:40]!a}, which is not in roots")
    policy = AppraisalPolicy(
        roots=roots,
        test_roots=frozenset(tests),
        reference_values=_reference_values(top),
        collateral={name: _file(section, name, base) for section, name in _named(top, "collateral")},
        max_age_s=top.number("max_age_s", defaults.max_age_s, 0, _MAX_SECONDS),
        max_skew_s=top.number("max_skew_s", defaults.max_skew_s, 0, _MAX_SECONDS),
    )
    top.end()
    _check_reference_values(top, policy)
    return policy


def _named(top: Section, field: str) -> list[tuple[Section, str]]:
    section = top.section(field)
    return [(section, name) for name in section.names()]


def _reference_values(top: Section) -> Mapping[str, Any]:
    value = top.plain("reference_values")
    if value is not None and not isinstance(value, dict):
        raise top.error("reference_values", "must be a mapping from a format to what is expected of it")
    return value or {}


def _check_reference_values(top: Section, policy: AppraisalPolicy) -> None:
    """Let each format's verifier read its part now: a demand that is misspelt must not wait for evidence to show."""
    section = top.section("reference_values")
    for name in section.names():
        try:
            check = getattr(verifier(name), "check_reference", None)
        except EvidenceError as error:
            raise section.error(name, f"is a format without a verifier: {error}") from error
        if check is None:
            continue
        try:
            check(policy)
        except PolicyError as error:
            field, _, problem = str(error).removeprefix(f"reference_values.{name}.").partition(" ")
            if not section.is_mapping(name):
                raise section.error(name, "must be a mapping") from error
            first, _, rest = field.partition(".")
            raise section.section(name).error(first, f"{rest}: {problem}" if rest else problem) from error


def _file(section: Section, name: str, base: Path) -> bytes:
    given = section.text(name)
    if not given:
        raise section.error(name, "must be the path of a file")
    try:
        return _bytes(base / given, given)
    except PolicyError as error:
        raise section.error(name, f"cannot be had: {error}") from error


def _root(section: Section, name: str, base: Path) -> bytes:
    """Return a root as DER; the file is PEM or DER."""
    data = _file(section, name, base)
    try:
        der = to_der(data) if data.lstrip().startswith(b"-----BEGIN") else data
        load(der)
    except EvidenceError as error:
        raise section.error(name, "must be the file of one certificate, PEM or DER") from error
    return der


def _bytes(path: Path, shown: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:
        raise PolicyError(f"cannot read {shown}: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > _MAX_FILE:
        raise PolicyError(f"{shown} is larger than {_MAX_FILE} bytes")
    return data
