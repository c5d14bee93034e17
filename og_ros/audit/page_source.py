"""Puts the report page's own files together: one script from its ES modules, one style sheet, one template."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).with_name("page")
_IMPORT: Final = re.compile(r'^import (?:\{[^}]*\} from )?"(\.{1,2}/[a-z_/]+\.js)";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=(?:async )?function |class |const |let )", re.MULTILINE)
_SLOT: Final = re.compile(r"\{\{([a-z_]+)\}\}")


def modules(start: Path) -> list[Path]:
    """Return an ES module and those that it imports, each after what it imports; imports are by relative path only."""
    order: list[Path] = []
    open_: list[Path] = []

    def visit(path: Path) -> None:
        if path in order:
            return
        if path in open_:
            raise ValueError(f"{path} imports itself through {open_[-1]}")
        open_.append(path)
        for name in _IMPORT.findall(path.read_text(encoding="utf-8")):
            visit((path.parent / name).resolve())
        open_.pop()
        order.append(path)

    visit(start.resolve())
    return order


def link(start: Path) -> str:
    """Return one script that does what an ES module and its imports do.

    The modules share one scope, so no two may declare the same name at their top; a test holds them to it.
    """
    parts = []
    for path in modules(start):
        source = _EXPORT.sub("", _IMPORT.sub("", path.read_text(encoding="utf-8")))
        parts.append(f"// {path.parent.name}/{path.name}\n{source}")
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


def content_hash(text: str) -> str:
    """Return the source expression by which a Content-Security-Policy allows an inline script or style."""
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode('ascii')}'"


def fill(template: str, slots: Mapping[str, str]) -> str:
    """Return a template with its {{slots}} filled; what is filled in is not searched for slots again."""
    return _SLOT.sub(lambda match: slots[match[1]], template)
