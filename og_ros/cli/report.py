"""og-ros report: turns a saved audit report into what CI systems read, SARIF and JUnit."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from og_ros.cli.output import EXIT_CODES, write_json
from og_ros.errors import ConfigError

EPILOG = """\
Examples:
  og-ros report report.json --sarif findings.sarif --junit checks.xml
  og-ros report report.json --sarif - --bag BAG       with the digests of the recording's files
  og-ros report --schema                              the JSON Schema of the report

Exit codes are those of the audit: 0 the recording holds, 1 violations were found, 2 it could not be checked, or the
report cannot be read.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "report",
        help="a saved report as SARIF or JUnit, and the schema of reports",
        description="Check a saved audit report against its schema, and write it as SARIF 2.1.0 or JUnit XML.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("report", metavar="REPORT", type=Path, nargs="?", help="what `og-ros audit --json` wrote")
    parser.add_argument("--sarif", metavar="FILE", help="write SARIF 2.1.0 to FILE; - for standard output")
    parser.add_argument("--junit", metavar="FILE", help="write JUnit XML to FILE; - for standard output")
    parser.add_argument("--bag", metavar="BAG", type=Path, help="the recording: SARIF then has its files' digests")
    parser.add_argument(
        "--folder", metavar="PATH", default="", help="where the recording lies, for SARIF's locations (default: here)"
    )
    parser.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of the report, and do nothing else"
    )


def run(args: argparse.Namespace) -> int:
    """Convert a report and return its verdict's exit code."""
    from og_ros.audit.recording.recording_files import digest_files
    from og_ros.audit.reports.junit import junit
    from og_ros.audit.reports.plain_text import visible
    from og_ros.audit.reports.report_file import SCHEMA_FILE, load_report
    from og_ros.audit.reports.sarif import sarif

    if args.schema:
        print(SCHEMA_FILE.read_text(encoding="utf-8"), end="")
        return 0
    if args.report is None:
        raise ConfigError("name the report that `og-ros audit --json` wrote, or give --schema")
    report = load_report(args.report)
    if args.sarif:
        files = digest_files(args.bag) if args.bag is not None else None
        write_json(sarif(report, files, args.folder), args.sarif)
    if args.junit:
        write_text(junit(report), args.junit)
    if "-" not in (args.sarif, args.junit):
        found = sum(report["finding_counts"].values())
        print(f"{visible(report['recording'])}: {report['verdict']}, {found} findings")
    return EXIT_CODES[report["verdict"]]


def write_text(text: str, target: str) -> None:
    """Write text to a file, or to standard output for "-"; raises ConfigError when that fails."""
    if target == "-":
        print(text, end="")
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}") from error
