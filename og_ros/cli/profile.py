"""og-ros profile: holds a saved audit report against regulation profiles; it makes no legal claim."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from og_ros.cli.output import write_json
from og_ros.cli.terminal import Terminal
from og_ros.errors import ConfigError

EPILOG = """\
A profile is a YAML file: clause by clause, which behaviour of a run would support it, and how far. `list` names those
that come with og_ros; a path names one of your own.

Examples:
  og-ros profile list
  og-ros profile show eu-ai-act
  og-ros profile assess eu-ai-act --report report.json
  og-ros profile assess our-rules.yaml --report report.json --json

No strength means that anything complies with anything. The exit code of assess is 0 whenever it could assess, however
little it found; 2 where the profile or the report cannot be read.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "profile",
        help="which clauses of a regulation the evidence of a run supports, and how far",
        description="Hold a saved audit report against a regulation profile. It makes no legal claim.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list the profiles that come with og_ros, and the predicates")
    show = actions.add_parser("show", help="show a profile's clauses and what would support them")
    assess = actions.add_parser("assess", help="hold a saved report against a profile")
    for action in (show, assess):
        action.add_argument("profile", metavar="PROFILE", help="a profile's name, or the path of a YAML file")
    assess.add_argument("--report", metavar="REPORT", type=Path, required=True, help="what `og-ros audit --json` wrote")
    for action in (listing, show, assess):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run the action and return 0."""
    data, text = _ACTIONS[args.action](args)
    if args.json:
        write_json(data, "-")
    else:
        Terminal(soft_wrap=True).print(text, markup=False)
    return 0


def _list(_: argparse.Namespace) -> tuple[Any, str]:
    from og_ros.audit.reports.predicates import PREDICATES
    from og_ros.audit.reports.regulation import builtin_profiles, load_profile
    from og_ros.cli.table import format_table

    profiles = [load_profile(name) for name in builtin_profiles()]
    data = {
        "profiles": [{"name": p.name, "title": p.title, "regulation": p.regulation} for p in profiles],
        "predicates": {name: {"asks": p.asks, "limit": p.limit} for name, p in PREDICATES.items()},
    }
    table = format_table(("PROFILE", "ABOUT"), [(p.name, p.title) for p in profiles])
    rows = [(name, p.asks + (f" Number: {p.limit}." if p.limit else "")) for name, p in PREDICATES.items()]
    return data, f"{table}\n\n{format_table(('PREDICATE', 'ASKS'), rows)}"


def _show(args: argparse.Namespace) -> tuple[Any, str]:
    from og_ros.audit.reports.regulation import load_profile

    profile = load_profile(args.profile)
    clauses = {
        number: {
            "title": clause.title,
            "asks": clause.asks,
            "quote": clause.quote,
            "text_read": clause.text_read,
            "source": clause.source,
            "support": {s.name.lower(): list(texts) for s, texts in clause.support.texts.items()},
            "contradicted_by": list(clause.contradicted_by),
            "cannot_show": list(clause.cannot_show),
        }
        for number, clause in profile.clauses.items()
    }
    data = {
        "name": profile.name, "title": profile.title, "regulation": profile.regulation, "notes": list(profile.notes),
        "digest": profile.digest, "clauses": clauses,
    }  # fmt: skip
    lines = [profile.title, profile.regulation, *profile.notes]
    for number, clause in profile.clauses.items():
        lines += ["", f"{number}  {clause.title}", f"    asks: {clause.asks}"]
        lines.append(f"    text: {'read' if clause.text_read else 'NOT READ'}, {clause.source}")
        lines += [f"    {s.name.lower():<12} {', '.join(texts)}" for s, texts in clause.support.texts.items()]
        lines += [f"    cannot show: {gap}" for gap in clause.cannot_show]
    return data, "\n".join(lines)


def _assess(args: argparse.Namespace) -> tuple[Any, str]:
    from og_ros.audit.reports.assessment import assess, render
    from og_ros.audit.reports.regulation import load_profile
    from og_ros.audit.reports.report_file import load_report

    if not args.report.is_file():
        raise ConfigError(f"there is no report {args.report}; make it with `og-ros audit BAG --json FILE`")
    assessment = assess(load_profile(args.profile), load_report(args.report))
    return assessment.as_json(), render(assessment)


_ACTIONS = {"list": _list, "show": _show, "assess": _assess}
