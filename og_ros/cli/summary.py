"""og-ros summary: signs an auditor's word on a recording, and checks one that somebody gave you."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from og_ros.cli.keys import positive
from og_ros.cli.output import EXIT_CODES, write_json
from og_ros.errors import ConfigError, ReportError, SummaryRejected

if TYPE_CHECKING:
    from og_ros.attest.keys import PublicKey
    from og_ros.audit.reports.summary import Summary
    from og_ros.registry import Registry

EPILOG = """\
The auditor signs with a key of its own (og-ros keys certify --role auditor), no robot's. Who trusts that key need not
audit again: the summary says what held, of which files, under which policy, with which levels.

Examples:
  og-ros summary sign report.json --bag BAG --key auditor.pem --out summary.json
  og-ros summary verify summary.json --registry D --root sha256:0b5e… --bag BAG --report report.json
  og-ros summary verify summary.json --key auditor.pem.pub --max-age 30 --json

Sign where the audit was made, on a copy of the recording that nobody else can write to: the signer says that this
report is of these files, and only the signer knows.

Exit codes of verify: 0 it holds and the audit passed, 1 it does not hold or the audit found violations, 2 it could not
be read, or the audit could not check the recording.
"""
_DAY_NS = 86_400 * 10**9


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "summary",
        help="sign an auditor's summary of an audit, verify one",
        description="Sign a verification summary (in-toto, SLSA VSA, DSSE) of an audit, and verify one.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    sign = actions.add_parser("sign", help="sign the summary of a saved report")
    sign.add_argument("report", metavar="REPORT", type=Path, help="what `og-ros audit --json` wrote")
    sign.add_argument("--bag", metavar="BAG", type=Path, required=True, help="the recording that was audited")
    sign.add_argument("--key", metavar="KEY", type=Path, required=True, help="the auditor's private key")
    sign.add_argument("--policy-uri", metavar="URI", default="", help="where others find the policy")
    sign.add_argument("--out", metavar="FILE", type=Path, required=True, help="where the summary goes")
    verify = actions.add_parser("verify", help="verify a summary, and hold it against a recording and a report")
    verify.add_argument("file", metavar="FILE", type=Path, help="the summary")
    source = verify.add_mutually_exclusive_group(required=True)
    source.add_argument("--key", metavar="PEM", type=Path, help="the auditor's public key")
    source.add_argument("--registry", metavar="DIR", type=Path, help="certified keys, the auditor's among them")
    verify.add_argument("--root", metavar="sha256:HEX", help="fingerprint that the registry's root must have")
    verify.add_argument("--bag", metavar="BAG", type=Path, help="the recording that you have: is it the one?")
    verify.add_argument("--report", metavar="REPORT", type=Path, help="the report that you have: is it the one?")
    verify.add_argument("--max-age", metavar="DAYS", type=positive, help="refuse a summary that is older")
    verify.add_argument("--json", action="store_true", help="show the outcome as JSON")


def run(args: argparse.Namespace) -> int:
    """Sign or verify."""
    return _sign(args) if args.action == "sign" else _verify(args)


def _sign(args: argparse.Namespace) -> int:
    from og_ros.attest.signer import SoftwareSigner
    from og_ros.audit.recording.bag import open_bag
    from og_ros.audit.recording.recording_files import digest_files
    from og_ros.audit.reports.report_file import load_report
    from og_ros.audit.reports.summary import sign_summary

    report = load_report(args.report)
    with open_bag(args.bag) as bag:
        name, there = bag.path.name, bag.count
    if (name, there) != (report["recording"], report["messages"]):
        raise ReportError(
            f"{args.report} is of the recording {report['recording'][:80]!a} with {report['messages']} messages, and "
            f"{args.bag} is {name[:80]!a} with {there}"
        )
    signer = SoftwareSigner.load(args.key)
    files = digest_files(args.bag)
    data = sign_summary(report, files, signer, verified_at_ns=time.time_ns(), policy_uri=args.policy_uri)
    try:
        args.out.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"cannot write {args.out}: {error.strerror}") from error
    print(f"{args.out}: {report['verdict']}, {len(files)} files, signed by key {signer.key_id.hex()}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from og_ros.audit.reports.summary import verify_summary

    try:
        data = args.file.read_bytes()
    except OSError as error:
        raise ReportError(f"cannot read {args.file}: {error.strerror}") from error
    max_age_ns = args.max_age * _DAY_NS if args.max_age else None
    try:
        summary = verify_summary(data, _trust(args), now_ns=time.time_ns(), max_age_ns=max_age_ns, name=str(args.file))
        _hold_against(summary, args)
    except SummaryRejected as error:
        if args.json:
            write_json({"holds": False, "problem": str(error)}, "-")
        else:
            print(f"DOES NOT HOLD: {error}")
        return 1
    shown = _describe(summary, args)
    if args.json:
        write_json(shown, "-")
    else:
        _show(shown)
    return EXIT_CODES.get(summary.verdict, 2)


def _trust(args: argparse.Namespace) -> PublicKey | Registry:
    from og_ros.registry import Registry
    from og_ros.registry.key_files import load_public_half

    if args.key is not None:
        return load_public_half(args.key)
    return Registry.open(args.registry, pinned_root=args.root)


def _hold_against(summary: Summary, args: argparse.Namespace) -> None:
    from og_ros.audit.recording.recording_files import digest_files
    from og_ros.audit.reports.report_file import load_report

    if args.report is not None:
        summary.check_report(load_report(args.report))
    if args.bag is not None:
        summary.check_recording(digest_files(args.bag))


def _describe(summary: Summary, args: argparse.Namespace) -> dict[str, Any]:
    from og_ros.registry.timestamp import format_time

    notes = []
    if summary.certificate is None:
        notes.append("no registry was read: whether the key is an auditor's, and was valid, is your word")
    else:
        if args.root is None:
            notes.append("nobody pinned the registry's root: whoever made the summary could have made it (--root)")
        state = summary.certificate.status(time.time_ns()).value
        if state != "valid":
            notes.append(f"the auditor's key is {state} now; it was valid at the time that the summary gives")
    if args.bag is None:
        notes.append("no recording was given: it is not known to be about the one that you have (--bag)")
    if args.report is None:
        notes.append("no report was given: it is not known to be about the one that you have (--report)")
    return {
        "holds": True,
        "passed": summary.passed,
        "verdict": summary.verdict,
        "verifier": summary.verifier,
        "vendor": summary.certificate.vendor if summary.certificate is not None else "",
        "time": format_time(summary.verified_at_ns),
        "files": {name: digest.hex() for name, digest in summary.files.items()},
        "policy": {"uri": summary.policy_uri, "sha256": summary.policy_sha256},
        "audit": dict(summary.audit),
        "not_shown": notes,
    }


def _show(shown: dict[str, Any]) -> None:
    from og_ros.audit.reports.plain_text import visible

    audit = shown["audit"]
    counts = audit["counts"]
    words = {"holds": "PASSED", "violated": "FAILED, violations were found"}
    word = words.get(shown["verdict"], "FAILED, the recording could not be checked")
    print(f"the summary holds: {word}")
    print(f"recording {visible(audit['recording'])}: " + ", ".join(f"{visible(n)} {counts[n]}" for n in counts))
    print(f"audited at {shown['time']} by {shown['verifier']} {visible(shown['vendor'])}".rstrip())
    for axis, level in audit["levels"].items():
        print(f"  {visible(axis):<24} {visible(str(level))}")
    for kind, count in audit["findings"].items():
        print(f"  found {visible(kind)} {count}")
    for note in shown["not_shown"]:
        print(f"not shown: {note}")
    for note in audit["notChecked"]:
        print(f"not checked by the auditor: {visible(note)}")
