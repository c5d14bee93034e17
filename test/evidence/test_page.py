"""The reference page of the vendors' formats names every reason and every reference value, and no others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "evidence.md").read_text()
MODULES = ("case", "certificate_chain", "nitro", "dcap", "snp", "snp_certificates", "software")
READERS = {"registers", "digests", "texts", "numbers", "flag", "least"}


def calls(names: set[str]) -> Iterator[str]:
    """Yield the first argument of calls by some names, where it is a text."""
    for module in MODULES:
        for node in ast.walk(ast.parse((ROOT / "og_ros" / "evidence" / f"{module}.py").read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0]
            if called in names and isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def named(title: str, column: int) -> set[str]:
    """Return what stands in backticks in a column of the table under a title."""
    rows = [line.split("|") for line in PAGE.split(f"## {title}\n")[1].split("\n## ")[0].splitlines() if "|" in line]
    return {name for row in rows for name in re.findall(r"`([a-z_0-9]+)`", row[column])}


def test_reasons() -> None:
    from og_ros.evidence.dcap import _code

    source = ast.parse((ROOT / "og_ros" / "evidence" / "dcap.py").read_text())
    (translated,) = [node for node in ast.walk(source) if isinstance(node, ast.FunctionDef) and node.name == "_code"]
    (table,) = [node for node in ast.walk(translated) if isinstance(node, ast.Dict)]
    codes = {key.value for key in table.keys if isinstance(key, ast.Constant)} | {_code("nothing like these")}
    assert named("Reasons", 1) == codes | set(calls({"against", "refused", "ChainError"}))


def test_reference_values() -> None:
    from og_ros.evidence.dcap import _MEASURED

    fields = set(calls(READERS)) | {name for measured in _MEASURED.values() for name in measured}
    assert named("Reference values", 2) == fields
