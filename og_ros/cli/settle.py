"""og-ros settle: sends a ledger's checkpoints to a chain, shows how far they came, verifies receipts."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.cli.settlement_evidence import add_settlement_arguments, settlement_evidence

if TYPE_CHECKING:
    from og_ros.settlement.outbox import Row

RECEIPTS: Final = "receipts.json"
_POLL_S: Final = 0.25
EPILOG = """\
PIPELINE is a file with `robot` and a section `settlement` (see docs/reference/settlement.md). Examples:

  og-ros settle run demo_out/ledger --config pipeline.yaml            beside the running auditor, until it is stopped
  og-ros settle run demo_out/ledger --config pipeline.yaml --once     what is there now, until it is final
  og-ros settle status --config pipeline.yaml --export receipts.json
  og-ros settle verify --settlement receipts.json --ledger demo_out/ledger --registry demo_out/registry \\
      --chain http://127.0.0.1:8545

Secrets come from the environment: OG_ROS_KEYSTORE_PASSWORD, or OG_ROS_SETTLEMENT_KEY without a keystore file.
Exit codes: 0 everything is final or holds, 1 violations, 2 something is not final yet or could not be checked."""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "settle", help="settle a ledger's checkpoints on a chain, and check receipts", description=__doc__,
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run_parser = actions.add_parser("run", help="send checkpoints as they come, and follow them until they are final")
    run_parser.add_argument("ledger", type=Path, metavar="LEDGER", help="the auditor's ledger; it is only read")
    run_parser.add_argument("--config", type=Path, required=True, metavar="PIPELINE", help="where and when to settle")
    run_parser.add_argument("--once", action="store_true", help="settle what is there now, and end once it is final")
    run_parser.add_argument(
        "--drain", type=float, default=60.0, metavar="S",
        help="how long a stopped run waits for the last checkpoint to be final (60 s)",
    )  # fmt: skip
    run_parser.add_argument(
        "--after-writer", action="store_true",
        help="told to stop, wait (within --drain) until nobody writes the ledger: its last checkpoint settles too",
    )  # fmt: skip
    status = actions.add_parser("status", help="show how far each checkpoint came")
    status.add_argument("--config", type=Path, required=True, metavar="PIPELINE", help="the file that settle run had")
    status.add_argument("--export", type=Path, metavar="FILE", help="write the receipts of a backend to a file")
    status.add_argument("--backend", metavar="NAME", help="which (the first that is on a chain)")
    status.add_argument("--json", action="store_true", help="print JSON")
    verify = actions.add_parser("verify", help="hold receipts against a log and, with a node, against the chain")
    add_settlement_arguments(verify, required=True)
    verify.add_argument("--ledger", type=Path, required=True, metavar="DIR", help="the log of attestations")
    verify.add_argument("--registry", type=Path, metavar="DIR", help="certified keys, the settlement key among them")
    verify.add_argument("--root", metavar="sha256:HEX", help="fingerprint that the registry's root must have")


def run(args: argparse.Namespace) -> int:
    """Run the action and return its exit code."""
    code: int = _ACTIONS[args.action](args)
    return code


def _run(args: argparse.Namespace) -> int:
    import signal

    from og_ros.log import Ledger
    from og_ros.log.writer_lock import WriterLock
    from og_ros.settlement import config
    from og_ros.settlement.outbox import Outbox
    from og_ros.settlement.settler import Settler

    settlement = config.load(args.config)
    if args.once:
        Ledger.open(args.ledger).close()  # else it may come later: the auditor makes it
    backends = settlement.backends(args.ledger)
    ending = [args.once]

    def stop(number: int, frame: Any) -> None:
        ending[0] = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    outbox = Outbox(settlement.state)
    settler = Settler(args.ledger, outbox, backends, settlement.due, lambda line: print(line, file=sys.stderr))
    try:
        while not ending[0]:
            settler.step()
            time.sleep(_POLL_S)
        end = time.monotonic() + args.drain
        while True:
            written = args.after_writer and WriterLock.is_held(args.ledger)  # before the look at its last checkpoint
            settler.step(ending=True)
            left = settler.unsettled()
            if not (left or written) or time.monotonic() > end:
                break
            time.sleep(_POLL_S)
        _export(outbox.rows(), settlement.robot, settlement.state / RECEIPTS, None)
    finally:
        outbox.close()
        for backend in backends:
            backend.close()
    for line in left:
        print(line, file=sys.stderr)
    return 2 if left else 0


def _status(args: argparse.Namespace) -> int:
    import json

    from og_ros.cli.table import format_table
    from og_ros.errors import SettlementError
    from og_ros.settlement import config
    from og_ros.settlement.outbox import Outbox

    settlement = config.load(args.config)
    outbox = Outbox(settlement.state, read_only=True)
    try:
        rows = outbox.rows()
    finally:
        outbox.close()
    if args.export is not None:
        if args.backend is not None and args.backend not in settlement.section.backends:
            known = ", ".join(settlement.section.backends)
            raise SettlementError(f"there is no backend {args.backend}; there are {known}")
        count = _export(rows, settlement.robot, args.export, args.backend)
        print(f"wrote {count} receipts to {args.export}", file=sys.stderr)
    told: list[dict[str, Any]] = [
        {
            "backend": row.backend,
            "leaves": row.item.size,
            "root": row.item.root.hex(),
            "level": "dead" if row.dead else row.item.level.name.lower(),
            "reference": row.item.attempts[-1].reference.hex() if row.item.attempts else "",
            "problem": row.dead,
        }
        for row in rows
    ]
    if args.json:
        print(json.dumps(told, indent=2))
    else:
        table = [(t["backend"], str(t["leaves"]), t["level"], f"0x{t['reference']}", t["problem"] or "-") for t in told]
        print(format_table(("BACKEND", "LEAVES", "LEVEL", "TRANSACTION", "PROBLEM"), table))
    return 0 if all(row.dead or row.receipt for row in rows) else 2


def _export(rows: list[Row], robot: str, target: Path, backend: str | None) -> int:
    """Write the receipts of a backend on a chain; how many there are. Nothing is written where none is on one."""
    from og_ros.settlement.receipt import from_json, write_file

    final = [row for row in rows if row.receipt.startswith("{")]
    chosen = backend or next((row.backend for row in final), None)
    receipts = [from_json(row.receipt, "the outbox") for row in final if row.backend == chosen]
    if receipts:
        write_file(target, robot, receipts)
    return len(receipts)


def _verify(args: argparse.Namespace) -> int:
    from og_ros.audit.findings import Severity
    from og_ros.audit.settled import check
    from og_ros.log import Ledger
    from og_ros.registry import Registry

    evidence = settlement_evidence(args)
    assert evidence is not None
    registry = Registry.open(args.registry, pinned_root=args.root) if args.registry else None
    with Ledger.open(args.ledger) as ledger:
        ledger.verify()
        size = ledger.size
        settled = check(evidence, ledger, registry)
    violations = 0
    for finding in settled.findings:
        violations += finding.severity is Severity.VIOLATION
        print(f"{finding.severity.name.lower()} {finding.kind}: {finding.message}")
    print(settled.summary)
    first, last = (settled.level(index) or "none" for index in (0, size - 1))
    print(f"leaf 0: {first}; leaf {size - 1}, the newest: {last}")
    for note in settled.notes:
        print(f"not checked: {note}")
    if violations:
        return 1
    return 0 if first in ("included", "final") else 2  # else nobody vouches for a block


_ACTIONS: Final = {"run": _run, "status": _status, "verify": _verify}
