"""What an audit writes beside what it shows: JSON, the HTML page, SARIF, JUnit, a signed summary, and profiles."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from og_ros.cli.output import write_json
from og_ros.errors import BagError, ConfigError

if TYPE_CHECKING:
    from og_ros.attest import SoftwareSigner
    from og_ros.audit.reports.html_report import HtmlCollector
    from og_ros.audit.reports.regulation import Profile
    from og_ros.audit.reports.report import Report
    from og_ros.registry import Registry

_FILES = ("html", "json", "sarif", "junit", "summary")


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name outputs."""
    group = parser.add_argument_group("outputs")
    group.add_argument("--html", metavar="FILE", type=Path, help="write a page that verifies itself in a browser")
    group.add_argument("--json", metavar="FILE", help="write the report as JSON to FILE; - for standard output")
    group.add_argument("--sarif", metavar="FILE", help="write the findings as SARIF 2.1.0; - for standard output")
    group.add_argument("--junit", metavar="FILE", help="write the checks as JUnit XML; - for standard output")
    group.add_argument(
        "--summary", metavar="FILE", type=Path, help="write a verification summary, signed with --sign-key"
    )
    group.add_argument("--sign-key", metavar="PEM", type=Path, help="the auditor's private key")
    group.add_argument(
        "--profile", metavar="NAME|FILE", action="append", default=[],
        help="assess the run by a regulation profile (og-ros profile list); may be given several times",
    )  # fmt: skip


@dataclass
class Outputs:
    """The outputs that were asked for, prepared before the audit, so that what is wrong is said before it begins."""

    args: argparse.Namespace
    collector: HtmlCollector | None = None
    profiles: list[Profile] = field(default_factory=list)
    signer: SoftwareSigner | None = None
    files: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, args: argparse.Namespace) -> Outputs:
        """Prepare what the arguments ask for; raises ConfigError for arguments that do not go together."""
        if (args.summary is None) != (args.sign_key is None):
            raise ConfigError("--summary and --sign-key belong together: a summary is signed by the auditor's key")
        targets = [str(getattr(args, name)) for name in _FILES if getattr(args, name) is not None]
        twice = {target for target in targets if targets.count(target) > 1}
        if twice:
            raise ConfigError(f"two outputs cannot both go to {min(twice)}")
        outputs = cls(args)
        if args.html:
            from og_ros.audit.reports.html_report import HtmlCollector

            outputs.collector = HtmlCollector()
        if args.profile:
            from og_ros.audit.reports.regulation import load_profile

            outputs.profiles = [load_profile(name) for name in args.profile]
        if args.summary:
            from og_ros.attest import SoftwareSigner

            outputs.signer = SoftwareSigner.load(args.sign_key)
        if args.summary or args.sarif:
            from og_ros.audit.recording.recording_files import digest_files

            outputs.files = digest_files(args.bag)
        return outputs

    @property
    def to_stdout(self) -> bool:
        """Return whether standard output belongs to one of the outputs."""
        return "-" in (self.args.json, self.args.sarif, self.args.junit)

    def write(self, report: Report, registry: Registry | None) -> Report:
        """Write everything; returns the report with the profiles' assessments."""
        if self.profiles:
            from og_ros.audit.reports.assessment import assess

            data = report.as_json()
            report = replace(report, profiles=tuple(assess(profile, data) for profile in self.profiles))
        data = report.as_json()
        summary = self._sign(data)
        if self.args.json:
            write_json(data, self.args.json)
        if self.args.sarif:
            from og_ros.audit.reports.sarif import sarif

            write_json(sarif(data, self.files), self.args.sarif)
        if self.args.junit:
            from og_ros.audit.reports.junit import junit
            from og_ros.cli.report import write_text

            write_text(junit(data), self.args.junit)
        if self.collector is not None:
            from og_ros.audit.recording.bag import open_bag
            from og_ros.audit.reports.html_report import write_html

            with open_bag(self.args.bag) as bag:
                write_html(report, self.collector, bag, registry, self.args.ledger, self.args.html, summary=summary)
        return report

    def _sign(self, report: dict[str, Any]) -> bytes | None:
        if self.signer is None:
            return None
        from og_ros.audit.recording.recording_files import digest_files
        from og_ros.audit.reports.summary import sign_summary

        if digest_files(self.args.bag) != self.files:
            raise BagError(f"{self.args.bag} changed while it was audited; audit it again")
        data = sign_summary(report, self.files, self.signer, verified_at_ns=time.time_ns())
        try:
            self.args.summary.write_bytes(data)
        except OSError as error:
            raise ConfigError(f"cannot write {self.args.summary}: {error.strerror}") from error
        return data
