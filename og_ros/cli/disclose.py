"""og-ros disclose: reveals single records that a robot committed to, from its sealed side files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from og_ros.cli.span import read_time_argument
from og_ros.errors import ConfigError, DisclosureError

if TYPE_CHECKING:
    from og_ros.attest.content_key import KeyRing
    from og_ros.attest.side_file import SideRecord

EPILOG = """\
Examples:
  og-ros disclose side --key owner.pem --list
  og-ros disclose side --key owner.pem --topic /camera/image --from 2026-05-01T10:00:00Z --to 2026-05-01T10:00:01Z -o f
  og-ros disclose side --key owner.pem --attestation 3f2a90c41b77e05d --side input --index 0 -o frame.disclosure

A revealed record has the message, its salt and its commitment. An auditor who has it sees that one message and can
check it; it tells nothing of any other.

Exit codes: 0 the records were written, 1 they were, and a side file is damaged elsewhere, 2 none could be."""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "disclose", help="reveal single records of sealed side files", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("files", nargs="+", type=Path, metavar="SIDE", help="side files, or a directory of them")
    parser.add_argument("--key", type=Path, required=True, metavar="KEY", help="private key of a recipient (PEM)")
    parser.add_argument("--list", action="store_true", help="reveal nothing; say what is there, one record a line")
    parser.add_argument("--attestation", metavar="DIGEST", help="of this attestation: its first 8 hex digits or more")
    parser.add_argument("--side", choices=("input", "output"), help="only this side of it")
    parser.add_argument("--index", type=int, metavar="N", help="only the input or output with this number, from 0")
    parser.add_argument("--topic", metavar="T", help="of this topic")
    parser.add_argument("--from", dest="since", metavar="TIME", help="signed from then on: 2026-01-31T12:00:00Z, UTC")
    parser.add_argument("--to", dest="until", metavar="TIME", help="signed before then")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where the revealed records go; a new file")


def run(args: argparse.Namespace) -> int:
    """Write what was chosen and return the exit code."""
    from og_ros.attest.content_key import KeyRing, load_recipient_key
    from og_ros.audit.disclosures import write_disclosures

    if args.list:
        args.output = None
    elif args.output is None:
        raise ConfigError("-o is missing: the file for the revealed records (or --list)")
    elif not (args.attestation or args.topic or args.since or args.until):
        raise ConfigError("nothing is chosen: give --attestation, --topic, --from or --to, so that no more is revealed")
    if args.attestation and (len(args.attestation) < 8 or set(args.attestation) - set("0123456789abcdef")):
        raise ConfigError(f"--attestation {args.attestation!a} is not 8 or more hex digits")
    damage: list[str] = []
    records = _chosen(args, KeyRing(load_recipient_key(args.key)), damage)
    if args.list:
        for record in records:
            print(_line(record))
    else:
        count = write_disclosures(args.output, records)
        print(f"{args.output}: {count} records revealed")
    for text in damage:
        print(text, file=sys.stderr)
    return 1 if damage else 0


def _chosen(args: argparse.Namespace, ring: KeyRing, damage: list[str]) -> Iterator[SideRecord]:
    from og_ros.attest.side_file import SUFFIX, Damage, read_side_file

    since, until = read_time_argument(args.since, "--from", None), read_time_argument(args.until, "--to", None)
    files = [f for path in args.files for f in (sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path])]
    if not files:
        raise DisclosureError(f"there is no side file in {args.files[0]}")
    opened = False
    for file in files:
        for record in read_side_file(file, ring):
            if isinstance(record, Damage):
                damage.append(f"{file}, byte {record.offset}: {record.reason}")
                continue
            opened = True
            if (
                record.attestation.hex().startswith(args.attestation or "")
                and args.side in (None, record.side)
                and args.index in (None, record.index)
                and args.topic in (None, record.topic)
                and (since is None or record.made >= since)
                and (until is None or record.made < until)
            ):
                yield record
    if not opened and damage:
        raise DisclosureError(f"no record opens with {args.key}; the first place: {damage[0]}")


def _line(record: SideRecord) -> str:
    from og_ros.registry.timestamp import format_time

    where = f"{record.attestation.hex()[:16]} {record.side:<6} {record.index:>2}"
    return f"{where}  {format_time(record.made)}  {len(record.payload):>9} bytes  {record.topic}  {record.type}"
