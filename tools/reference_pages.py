"""Writes the generated parts of docs/reference from the code: findings, messages, command line.

    python tools/reference_pages.py            rewrite the pages
    python tools/reference_pages.py --check    exit 1 and name the pages that are not up to date

A page has its generated parts between the lines `<!-- generated: NAME -->` and `<!-- end -->`; people write the rest.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from og_ros.audit.findings import KINDS
from og_ros.audit.reports.predicates import PREDICATES
from og_ros.audit.reports.report_file import report_schema
from og_ros.cli.main import VERBS, build_parser
from og_ros.gate.parameters import COUNTS, DEFAULTS, LISTS, NUMBERS, SWITCHES, TEXTS

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = ROOT / "docs" / "reference"
# In the order in which one reads them: the record first, its parts, what the auditor says, then sealed recordings.
MESSAGES: Final = (
    "Attestation", "ModelReference", "Runtime", "DataReference", "ChainStatus", "StageStatus", "Finding", "Checkpoint",
    "Verdict", "SealedMessage", "Seal", "WrappedKey", "TopicDefinition", "EmergencyStop", "Evidence",
)  # fmt: skip
_PART: Final = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_FIELD: Final = re.compile(r"(?P<type>\S+)\s+(?P<name>\w+)(?P<value>\s*=\s*\S+)?\s*(#\s*(?P<comment>.*))?$")


def findings() -> Iterator[str]:
    """Yield a table of every kind of finding, in the order of the code."""
    yield "| kind | severity | meaning |"
    yield "|---|---|---|"
    for name, kind in KINDS.items():
        yield f"| `{name}` | {kind.severity.name.lower()} | {_cell(kind.meaning)} |"


def messages() -> Iterator[str]:
    """Yield a section for each message: its comment, constants and fields."""
    files = {path.stem for path in (ROOT / "msg").glob("*.msg")}
    if files != set(MESSAGES):
        raise SystemExit(f"tools/reference_pages.py: MESSAGES does not name the files of msg/: {files ^ set(MESSAGES)}")
    for name in MESSAGES:
        yield from _message(name, (ROOT / "msg" / f"{name}.msg").read_text())


def _message(name: str, text: str) -> Iterator[str]:
    head, _, body = text.partition("\n\n")
    yield f"## {name}"
    yield ""
    for paragraph in "\n".join(line.lstrip("#").strip() for line in head.splitlines()).split("\n\n"):
        yield _cell(" ".join(paragraph.split()))
        yield ""
    rows: dict[bool, list[str]] = {False: [], True: []}
    for line in body.splitlines():
        if not line or line.startswith("#"):
            continue
        field = _FIELD.match(line)
        if field is None:
            raise SystemExit(f"tools/reference_pages.py: msg/{name}.msg has a line that is no field: {line}")
        value = (field["value"] or "").strip(" =")
        comment = _cell(field["comment"] or "")
        row = f"| `{field['name']}` | `{field['type']}` | {f'{value} | ' if value else ''}{comment} |"
        rows[bool(value)].append(row)
    if rows[True]:
        yield from ("| constant | type | value | |", "|---|---|---|---|", *rows[True], "")
    yield from ("| field | type | meaning |", "|---|---|---|", *rows[False], "")


def commands() -> Iterator[str]:
    """Yield a section for each verb, with its actions, arguments and options."""
    subparsers = _subparsers(build_parser())
    for verb in VERBS:
        parser = subparsers[verb]
        yield f"## og-ros {verb}"
        yield ""
        text = " ".join((parser.description or "").split()).removeprefix(f"og-ros {verb}: ")
        yield _cell(f"{text[0].upper()}{text[1:]}")
        yield ""
        yield from _arguments(parser)
        for action, inner in _subparsers(parser).items():
            yield f"### og-ros {verb} {action}"
            yield ""
            yield _cell(_summary(parser, action))
            yield ""
            yield from _arguments(inner)


def report() -> Iterator[str]:
    """Yield a table of the report's fields, and one of each part that has fields of its own."""
    schema = report_schema()
    yield from _properties(schema)
    for name, part in schema["$defs"].items():
        if "properties" in part:
            yield f"### {name}"
            yield ""
            yield from _properties(part)


def _properties(schema: dict[str, Any]) -> Iterator[str]:
    yield from ("| field | always | meaning |", "|---|---|---|")
    for name, rule in schema["properties"].items():
        always = "yes" if name in schema["required"] else ""
        yield f"| `{name}` | {always} | {_cell(rule['description'])}{_part_of(rule)} |"
    yield ""


def _part_of(rule: dict[str, Any]) -> str:
    """Return which part's fields a field has, as the end of a sentence."""
    rules = [rule, rule.get("items", {}), rule.get("additionalProperties", {}), *rule.get("anyOf", [])]
    names = [r["$ref"].removeprefix("#/$defs/") for r in rules if isinstance(r, dict) and "$ref" in r]
    parts = [name for name in names if "properties" in report_schema()["$defs"][name]]
    return f" Fields: [{parts[0]}](#{parts[0]})." if parts else ""


def predicates() -> Iterator[str]:
    """Yield a table of the predicates that a regulation profile may use."""
    yield from ("| predicate | number after it | holds if |", "|---|---|---|")
    for name, predicate in PREDICATES.items():
        number = predicate.limit and predicate.limit + (
            "; required" if predicate.default is None else f"; {predicate.default:g} if not given"
        )
        yield f"| `{name}` | {_cell(number)} | {_cell(predicate.asks)} |"


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _summary(parser: argparse.ArgumentParser, name: str) -> str:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            text = next(str(choice.help) for choice in action._choices_actions if choice.dest == name)
            return f"{text[0].upper()}{text[1:]}."
    raise SystemExit(f"tools/reference_pages.py: {parser.prog} has no action {name}")


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    rows = [
        f"| `{_invocation(action)}` | {_cell(_meaning(action))} |"
        for action in parser._actions
        if not isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))
    ]
    if rows:
        yield from ("| argument | meaning |", "|---|---|", *rows, "")
    for group in parser._mutually_exclusive_groups:
        if group.required:
            yield f"One of {', '.join(f'`{_invocation(action)}`' for action in group._group_actions)} is required."
            yield ""


def _invocation(action: argparse.Action) -> str:
    if not action.option_strings:
        return str(action.metavar or action.dest)
    values = action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    )
    option = action.option_strings[-1]
    if action.nargs == 0:
        return option
    if action.nargs == "?":
        return f"{option} [{values}]"
    return f"{option} {values}" + (" ..." if action.nargs == "+" else "")


def _meaning(action: argparse.Action) -> str:
    text = action.help or ""
    notes = []
    if action.option_strings and action.required:
        notes.append("required")
    if isinstance(action, argparse._AppendAction) and "several times" not in text and "twice" not in text:
        notes.append("may be given several times")
    return f"{text} ({', '.join(notes)})" if notes else text


def attacks() -> Iterator[str]:
    """Yield a section for each attacker, with a table of what he does and what names it."""
    sys.path.insert(0, str(ROOT / "test" / "support"))
    from attack_cases import CASES, Who

    for who in Who:
        yield f"## {who.value[0].upper()}{who.value[1:]}"
        yield ""
        yield from ("| attack | what is done | finding |", "|---|---|---|")
        for case in CASES.values():
            if case.who is who and not case.missing:
                yield f"| {case.name} | {_cell(case.summary)} | {f'`{case.finding}`' if case.finding else 'refused'} |"
        yield ""
    missing = [case for case in CASES.values() if case.missing]
    if missing:
        yield "## Not found yet"
        yield ""
        yield from ("| attack | what is done | the rule that is missing |", "|---|---|---|")
        for case in missing:
            yield f"| {case.name} | {_cell(case.summary)} | {_cell(case.missing)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def gate() -> Iterator[str]:
    """Yield a table of the gate node's parameters."""
    yield from ("| parameter | default | meaning |", "|---|---|---|")
    for name, text in TEXTS.items():
        yield f"| `{name}` | {DEFAULTS.get(name, '')} | {_cell(text)} |"
    for name, text in LISTS.items():
        yield f"| `{name}` | | {_cell(text)} |"
    for name, (default, least, most, text) in NUMBERS.items():
        yield f"| `{name}` | {default:g} | {_cell(text)}; {least:g} to {most:g} |"
    for name, (count, text) in COUNTS.items():
        yield f"| `{name}` | {count} | {_cell(text)} |"
    for name, text in SWITCHES.items():
        yield f"| `{name}` | true | {_cell(text)} |"


PARTS: Final[dict[str, Callable[[], Iterator[str]]]] = {
    "findings": findings,
    "messages": messages,
    "commands": commands,
    "report": report,
    "predicates": predicates,
    "attacks": attacks,
    "gate": gate,
}


def generated(text: str) -> str:
    """Return a page with its generated parts made anew."""
    return _PART.sub(lambda part: f"{part[1]}\n" + "\n".join(PARTS[part[2]]()).rstrip() + f"\n\n{part[3]}", text)


def main() -> int:
    """Rewrite or check the pages."""
    stale = []
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text()
        new = generated(text)
        if new != text:
            stale.append(page)
            if "--check" not in sys.argv:
                page.write_text(new)
    for page in stale:
        print(page.relative_to(ROOT))
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
