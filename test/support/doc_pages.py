"""Reads the Markdown pages of the documentation: their fenced blocks, commands, shown output and links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^(`{3,})([A-Za-z]*)\s*$")
_MARK = re.compile(r"^<!-- (file|compile only|fragment)(?:: (.*?))? -->$")
_EXIT_CODE = re.compile(r"# exit code (\d+)")
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: page, line of its opening fence, language, text, and the comment right above it (kind, value)."""

    page: Path
    line: int
    language: str
    text: str
    mark: tuple[str, str] | None

    @property
    def where(self) -> str:
        """Page and line, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass
class Command:
    """A command as it is typed, the exit code that the page states, and the lines of output that it shows."""

    block: Block
    text: str
    output: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """The stated exit code, 0 if none is."""
        found = _EXIT_CODE.search(self.text)
        return int(found[1]) if found else 0


def pages() -> list[Path]:
    """Return every page: README.md and docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    found = []
    lines = page.read_text().splitlines()
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if fence is None:
            at += 1
            continue
        end = next(i for i in range(at + 1, len(lines)) if lines[i] == fence[1])
        above = next((line for line in reversed(lines[:at]) if line.strip()), "")
        mark = _MARK.match(above)
        text = "\n".join(lines[at + 1 : end]) + "\n"
        found.append(Block(page, at + 1, fence[2], text, (mark[1], mark[2] or "") if mark else None))
        at = end + 1
    return found


def commands(block: Block) -> list[Command]:
    """Return the commands of a `console` block (lines after "$ ", with their output) or of a `bash` block."""
    found: list[Command] = []
    if block.language == "bash":
        for lines in _statements(block.text.splitlines()):
            found.append(Command(block, lines))
        return found
    rest = block.text.splitlines()
    while rest:
        line = rest.pop(0)
        if line.startswith("$ "):
            text = line[2:]
            while text.endswith("\\"):
                text += "\n" + rest.pop(0)
            found.append(Command(block, text))
        elif found:
            found[-1].output.append(line)
        else:
            raise ValueError(f"{block.where}: a console block begins with a command ($ ...)")
    return found


def _statements(lines: list[str]) -> Iterator[str]:
    """Join continued lines and quoted texts over several lines to statements; drop blank lines and comments."""
    text = ""
    for line in lines:
        text = f"{text}\n{line}" if text else line
        if text.endswith("\\") or not _complete(text):
            continue
        if text.strip() and not text.lstrip().startswith("#"):
            yield text
        text = ""
    if text:
        raise ValueError(f"unfinished command: {text}")


def _complete(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True


def shows(expected: str, actual: str) -> bool:
    """Say whether a shown line stands for an output line; "..." in it stands for anything."""
    at = 0
    for part in expected.strip().split("..."):
        found = actual.find(part.strip(), at)
        if found < 0:
            return False
        at = found + len(part.strip())
    return True


def links(page: Path) -> list[tuple[int, str]]:
    """Return the links of a page outside of its fenced blocks, as (line, target)."""
    found = []
    inside = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            found += [(number, target) for target in _LINK.findall(line)]
    return found


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    found = set()
    inside = False
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            inside = not inside
        heading = None if inside else _HEADING.match(line)
        if heading:
            text = re.sub(r"[`*]", "", heading[1]).lower()
            found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found
