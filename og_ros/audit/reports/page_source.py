"""Puts the report page's own files together: one script from its ES modules, one style sheet, one template."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).with_name("page")
_IMPORT: Final = re.compile(r'^import (?:\{[^}]*\} from )?"(\.{1,2}/[a-z_/]+\.js)";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=(?:async )?function |class |const |let )", re.MULTILINE)
_DECLARED: Final = re.compile(r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)", re.MULTILINE)
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


def link(start: Path, offer: Sequence[str] = ()) -> str:
    """Return one script that does what an ES module and its imports do; the names in `offer` become global.

    The modules share one scope, so no two may declare the same name at their top; raises ValueError where they do.
    """
    parts = []
    declared: dict[str, Path] = {}
    for path in modules(start):
        for name in _DECLARED.findall(path.read_text(encoding="utf-8")):
            if name in declared:
                raise ValueError(f"{path} and {declared[name]} both declare {name}")
            declared[name] = path
        source = _EXPORT.sub("", _IMPORT.sub("", path.read_text(encoding="utf-8")))
        parts.append(f"// {path.parent.name}/{path.name}\n{source}")
    offered = f"Object.assign(globalThis, {{ {', '.join(offer)} }});\n" if offer else ""
    return '"use strict";\n(() => {\n' + "\n".join(parts) + offered + "})();\n"


def content_hash(text: str) -> str:
    """Return the source expression by which a Content-Security-Policy allows an inline script or style."""
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode('ascii')}'"


def fill(template: str, slots: Mapping[str, str]) -> str:
    """Return a template with its {{slots}} filled; what is filled in is not searched for slots again."""
    return _SLOT.sub(lambda match: slots[match[1]], template)
