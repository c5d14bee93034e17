"""og-ros settle: sends a ledger's checkpoints to chains and endpoints, shows how far they came, verifies receipts."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.cli.settlement_evidence import add_settlement_arguments, settlement_evidence

if TYPE_CHECKING:
    from og_ros.settlement.outbox import Row
    from og_ros.settlement.payments import Payment

RECEIPTS: Final = "receipts.json"
_PAYMENT_COLUMNS: Final = ("BACKEND", "PAID", "ASSET", "NETWORK", "TO", "STATE", "TRANSACTION")
_POLL_S: Final = 0.25
EPILOG = """\
PIPELINE is a file with `robot` and a section `settlement` (see docs/reference/settlement.md). Examples:

  og-ros settle run demo_out/ledger --config pipeline.yaml            beside the running auditor, until it is stopped
  og-ros settle run demo_out/ledger --config pipeline.yaml --once     what is there now, until it is final
  og-ros settle status --config pipeline.yaml --export receipts.json
  og-ros settle verify --settlement receipts.json --ledger demo_out/ledger --registry demo_out/registry \\
      --chain http://127.0.0.1:8545

  og-ros settle serve endpoint.yaml                                   an endpoint that takes checkpoints over HTTP

Secrets come from the environment: OG_ROS_KEYSTORE_PASSWORD, or OG_ROS_SETTLEMENT_KEY without a keystore file;
OG_ROS_ENDPOINT_TOKEN, which `serve` asks for where it is set, and which --endpoint gives.
Exit codes: 0 everything is final or holds, 1 violations, 2 something is not final yet or could not be checked."""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "settle", help="settle a ledger's checkpoints on chains and at endpoints, and check receipts",
        description=__doc__,
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
    status.add_argument("--export", type=Path, metavar="FILE", help="write the receipts to a file")
    status.add_argument("--backend", metavar="NAME", help="of this backend only (of all, but of one chain)")
    status.add_argument("--json", action="store_true", help="print JSON")
    serve = actions.add_parser("serve", help="run an endpoint that takes robots' checkpoints over HTTP into a log")
    serve.add_argument("config", type=Path, metavar="ENDPOINT", help="YAML file (docs/reference/settlement_http.md)")
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
    from functools import partial

    from og_ros.log import Ledger
    from og_ros.log.writer_lock import WriterLock
    from og_ros.settlement import config
    from og_ros.settlement.outbox import Outbox
    from og_ros.settlement.settler import Settler

    settlement = config.load(args.config)
    if args.once:
        Ledger.open(args.ledger).close()  # else it may come later: the auditor makes it
    open_log = partial(Ledger.open, args.ledger)
    backends = settlement.backends(open_log)
    ending = [args.once]

    def stop(number: int, frame: Any) -> None:
        ending[0] = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    outbox = Outbox(settlement.state)
    settler = Settler(open_log, outbox, backends, settlement.due, lambda line: print(line, file=sys.stderr))
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
    from og_ros.settlement.payments import read_payments

    settlement = config.load(args.config)
    outbox = Outbox(settlement.state, read_only=True)
    try:
        rows = outbox.rows()
        paid = {(one.backend, one.checkpoint): one for one in read_payments(outbox.file)}
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
            "payment": _payment(paid, row),
        }
        for row in rows
    ]
    if args.json:
        print(json.dumps(told, indent=2))
    else:
        table = [(t["backend"], str(t["leaves"]), t["level"], f"0x{t['reference']}", t["problem"] or "-") for t in told]
        print(format_table(("BACKEND", "LEAVES", "LEVEL", "REFERENCE", "PROBLEM"), table))
        if paid:
            print()
            print(format_table(_PAYMENT_COLUMNS, [_told(one) for one in paid.values()]))
    return 0 if all(row.dead or row.receipt for row in rows) else 2


def _payment(paid: dict[tuple[str, bytes], Payment], row: Row) -> dict[str, Any] | None:
    """Return what was paid for a checkpoint, with the receipt that its endpoint gave; None: nothing."""
    import json

    references = [attempt.reference for attempt in row.item.attempts]
    one = next((paid[row.backend, name] for name in references if (row.backend, name) in paid), None)
    if one is None:
        return None
    return {
        "network": one.network, "asset": one.asset, "pay_to": one.pay_to, "amount": one.amount, "taken": one.taken,
        "receipt": json.loads(one.response) if one.response else None,
    }  # fmt: skip


def _told(one: Payment) -> tuple[str, ...]:
    import json

    receipt = json.loads(one.response) if one.response else {}
    state = "taken" if one.taken else "authorised"
    return one.backend, str(one.amount), one.asset, one.network, one.pay_to, state, receipt.get("transaction") or "-"


def _export(rows: list[Row], robot: str, target: Path, backend: str | None) -> int:
    """Write the receipts, of one backend or of all; how many there are. Nothing is written where there is none.

    An audit asks one node: of several chains or contracts, the first one's are written.
    """
    from og_ros.settlement.receipt import write_file
    from og_ros.settlement.receipt_kinds import chain_of, from_json

    chosen = [row for row in rows if row.receipt.startswith("{") and backend in (None, row.backend)]
    found = [from_json(row.receipt, "the outbox") for row in chosen]
    first = next((place for one in found if (place := chain_of(one)) is not None), None)
    receipts = [one for one in found if chain_of(one) in (None, first)]
    if len(receipts) < len(found):
        print(f"{len(found) - len(receipts)} receipts are of another chain: take them by --backend", file=sys.stderr)
    if receipts:
        write_file(target, robot, receipts)
    return len(receipts)


def _serve(args: argparse.Namespace) -> int:
    import signal
    import threading

    from og_ros.errors import OgError
    from og_ros.settlement import endpoint_config
    from og_ros.settlement.endpoint import EndpointLog
    from og_ros.settlement.endpoint_server import Desk, EndpointServer

    endpoint = endpoint_config.load(args.config)
    section = endpoint.section
    log = EndpointLog(endpoint.base / section.state, section.origin, endpoint.key(), endpoint.logs())
    till = None
    ending = threading.Event()
    try:
        log.publish()
        if section.payment is not None:
            from og_ros.settlement.till import Till

            till = Till(section.payment, section.origin)
        desk = Desk(log, token=endpoint_config.token(), till=till, per_minute=section.per_minute)
        server = EndpointServer(desk, host=section.listen.host, port=section.listen.port, tls=endpoint.tls())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ending.set())
        print(f"serving {section.origin} on {server.url}; key {log.vkey}", flush=True)
        try:
            while not ending.wait(section.publish_s):
                try:
                    log.publish()
                except OgError as error:  # a full disk, say: what was taken is kept, and its receipts come later
                    print(f"og-ros: {error}", file=sys.stderr, flush=True)
        finally:
            server.close()
            log.publish()
    finally:
        if till is not None:
            till.close()
        log.close()
    return 0


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


_ACTIONS: Final = {"run": _run, "status": _status, "serve": _serve, "verify": _verify}
