"""Reads a saved audit report strictly: one meaning for one file, and every field as the published schema has it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from og_ros.errors import RegistryError, ReportError
from og_ros.registry import strict_json

SCHEMA_FILE: Final = Path(__file__).with_name("report.schema.json")
MAX_REPORT: Final = 256 * 2**20
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}


@cache
def report_schema() -> dict[str, Any]:
    """Return the published JSON Schema (2020-12) of the report."""
    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_bytes())
    return schema


def load_report(path: Path) -> dict[str, Any]:
    """Read a report that `og-ros audit --json` wrote; raises ReportError, naming the file and the field."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_REPORT + 1)
    except OSError as error:
        raise ReportError(f"cannot read the report {path}: {error.strerror}") from error
    return parse_report(data, str(path))


def parse_report(data: bytes, name: str = "the report") -> dict[str, Any]:
    """Read a report; raises ReportError, naming `name` and the field, for anything that the schema does not allow."""
    try:
        tree = strict_json.loads(data, name, MAX_REPORT)
    except RegistryError as error:
        raise ReportError(str(error)) from error
    if rb"\ud" in data.lower() and not _is_unicode(tree):
        raise ReportError(f"{name} has half of a surrogate pair in a text, which is no Unicode (RFC 8259, section 8.2)")
    problem = next(_problems(tree, report_schema(), ""), "")
    if problem:
        raise ReportError(f"{name} is no audit report of version 1: {problem}")
    report: dict[str, Any] = tree
    return report


def report_digest(report: Mapping[str, Any]) -> bytes:
    """Return the SHA-256 of a report's canonical form: JSON with sorted keys, no spaces, in ASCII.

    In Python: json.dumps(report, sort_keys=True, separators=(",", ":")). Not RFC 8785, whose numbers end at 2^53:
    times in ns are larger.
    """
    return sha256(strict_json.dumps(report)).digest()


def _problems(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield what a value has against the keywords of JSON Schema that the report's schema uses."""
    if "$ref" in schema:
        yield from _problems(value, _target(schema["$ref"]), where)
    if "anyOf" in schema:
        choices = [next(_problems(value, choice, where), "") for choice in schema["anyOf"]]
        if all(choices):
            yield choices[-1]
    if "const" in schema and (type(value), value) != (type(schema["const"]), schema["const"]):
        yield f"{_name(where)} must be {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{_name(where)} must be one of {', '.join(schema['enum'])}"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(type(value) in _TYPES[kind] for kind in kinds):
        yield f"{_name(where)} must be of type {' or '.join(kinds)}"
        return
    # Every pattern of the schema is anchored; Python's "$" alone would let a line feed pass.
    if type(value) is str and "pattern" in schema and not re.fullmatch(schema["pattern"], value, re.ASCII):
        yield f"{_name(where)} does not have the form {schema['pattern']}"
    if type(value) is int and value < schema.get("minimum", value):
        yield f"{_name(where)} is below {schema['minimum']}"
    if type(value) is list and "items" in schema:
        for index, item in enumerate(value):
            yield from _problems(item, schema["items"], f"{where}[{index}]")
    if type(value) is dict:
        yield from _fields(value, schema, where)


def _fields(value: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{_name(where)} lacks the field {name}"
    known: Mapping[str, Any] = schema.get("properties", {})
    for name, item in value.items():
        rule = known.get(name, schema.get("additionalProperties", {}))
        yield from _problems(item, rule, f"{where}.{name[:80]}" if where else name[:80])


def _target(reference: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = report_schema()["$defs"][reference.removeprefix("#/$defs/")]
    return found


def _is_unicode(tree: Any) -> bool:
    try:
        json.dumps(tree, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(where: str) -> str:
    return ascii(where)[1:-1] if where else "the file"
