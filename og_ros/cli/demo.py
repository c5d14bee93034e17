"""og-ros demo: a robot whose every decision is attested, run for some seconds and then audited."""

from __future__ import annotations

import argparse
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.cli.output import EXIT_CODES, write_json
from og_ros.errors import ConfigError

if TYPE_CHECKING:
    from og_ros.audit.reports.report import Report
    from og_ros.audit.settled import SettlementEvidence
    from og_ros.nodes.demo import DemoFiles
    from og_ros.nodes.demo_chain import DemoChain

# So many inferences are run again after the drive: all of them, unless the drive is long.
REEXECUTED: Final = "5000"
EPILOG = """\
What runs, each a ROS node in a process of its own: a simulated tape-following robot (world), three ONNX models
(perception, planning, control) in attested stages, the auditor, the recorder. After the drive the recording is audited
as anyone else could, and every inference is run again. DIR then holds bag/ registry/ ledger/ policy.yaml audit.html
audit.json, and what the nodes ran from.

Examples:
  og-ros demo                                  twenty seconds, then the audit
  og-ros demo --attack withheld                a dishonest stage; exit code 0 only if the audit names it
  og-ros demo --gate --attack altered-output   no command that was tampered with reaches the wheels
  og-ros demo --settle evm                     checkpoints of the log settle on a local Ethereum node
  og-ros demo --seconds 60 --seed 4 --out run1

Exit codes: 0 the audit holds (with --attack: it named the attack; with --gate: nothing without proof reached the
wheels), 1 it does not, 2 it could not run.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "demo",
        help="run the demo robot with attested stages, then audit its recording",
        description="Run a robot whose every decision is attested, logged and recorded; then audit the recording.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=20.0, metavar="N", help="how long it drives (20)")
    parser.add_argument(
        "--out", type=Path, default=Path("demo_out"), metavar="DIR", help="where everything goes (demo_out)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="which track and floor (1)")
    parser.add_argument("--attack", metavar="NAME", help="what an attacker does; `--attack list` shows what there is")
    parser.add_argument("--gate", action="store_true", help="the robot obeys only what a gate lets pass")
    parser.add_argument("--settle", choices=("evm",), help="settle the ledger on a local Ethereum node (anvil)")
    parser.add_argument("--json", action="store_true", help="write the audit's report to standard output as JSON")


def run(args: argparse.Namespace) -> int:
    """Prepare, run, audit, and return the exit code."""
    import os
    import signal

    from og_ros.nodes.attacks import ATTACKS

    if args.attack == "list":
        for name, attack in ATTACKS.items():
            print(f"{name:<18} {attack.summary}; must be named {attack.finding}")
        return 0
    if not 1.0 <= args.seconds <= 86_400.0:
        raise ConfigError(f"--seconds is {args.seconds:g}; it must be from 1 to 86400")
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"the demo needs ROS 2, which is not installed ({error}); see `og-ros doctor`") from error
    from og_ros.nodes import demo

    os.environ.update(demo.environment())
    # A stop by SIGTERM must stop the nodes too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    files = demo.prepare(args.out, args.attack, args.gate)
    with ExitStack() as stack:
        chain = stack.enter_context(closing(_start_chain(files))) if args.settle else None
        _drive(files, args)
        evidence = chain.finish() if chain is not None else None
        return _conclude(args, files, chain, evidence)


def _conclude(
    args: argparse.Namespace, files: DemoFiles, chain: DemoChain | None, evidence: SettlementEvidence | None
) -> int:
    """Audit, show the report, and return the exit code."""
    from og_ros.audit.recording.bag import open_bag
    from og_ros.audit.reexecution.rerun import ReexecutionPlan
    from og_ros.audit.reexecution.sampling import fresh_beacon, parse_sample
    from og_ros.audit.reports.html_report import HtmlCollector, write_html
    from og_ros.audit.run import audit_bag
    from og_ros.cli.output import progress_bar

    registry, policy = _trust(files)
    collector = HtmlCollector()
    plan = ReexecutionPlan(parse_sample(REEXECUTED), fresh_beacon(), files.pipeline)
    with progress_bar("auditing") as progress:
        report = audit_bag(
            files.bag, registry, files.ledger, policy, progress, [collector], reexecution=plan, settlement=evidence
        )
    write_json(report.as_json(), str(files.report))
    with open_bag(files.bag) as bag:
        write_html(report, collector, bag, registry, files.ledger, files.page)
    if args.json:
        write_json(report.as_json(), "-")
    else:
        _show(report, files)
    if chain is not None and evidence is not None:
        _show_settlement(files, chain, evidence)
    unproven = _show_gate(files, registry) if args.gate else 0
    if args.attack is None:
        return EXIT_CODES[report.verdict.value] or int(unproven > 0)
    return _judge_attack(args.attack, report) or int(unproven > 0)


def _drive(files: DemoFiles, args: argparse.Namespace) -> None:
    from og_ros.cli.live_view import LiveView
    from og_ros.nodes import demo

    with LiveView(args.seconds) as view:
        demo.run(files, args.seconds, args.seed, args.attack, view.update)


def _start_chain(files: DemoFiles) -> DemoChain:
    from og_ros.nodes.demo_chain import DemoChain

    return DemoChain.start(files)


def _show_settlement(files: DemoFiles, chain: DemoChain, evidence: SettlementEvidence) -> None:
    import sys

    last = chain.last_decision(evidence)
    receipts = files.directory / "settlement" / "receipts.json"
    print(
        f"Settlement: {len(evidence.receipts)} checkpoints are final. The last decision, leaf {last.leaf}, settled in "
        f"transaction {last.transaction}, block {last.block}.\nThe chain ends with the demo; receipts still verify:\n"
        f"  og-ros settle verify --settlement {receipts} --ledger {files.ledger} --registry {files.registry} "
        f"--final-block {last.block_hash}",
        file=sys.stderr,
    )


def _trust(files: DemoFiles) -> Any:
    from og_ros.audit.policy import load_policy
    from og_ros.registry import Registry

    policy = load_policy(files.policy)
    return Registry.open(files.registry, pinned_root=policy.registry_root), policy


def _show(report: Report, files: DemoFiles) -> None:
    from og_ros.cli.report_view import show_report

    print()
    show_report(report)
    d = files.directory
    print("\nCheck it yourself:")
    print(f"  og-ros audit {files.bag} --registry {files.registry} --ledger {files.ledger} --policy {files.policy}")
    print(f"  og-ros trace {files.bag} --topic /wheel_command --registry {files.registry}")
    print(f"  og-ros log verify {files.ledger}")
    print(f"\nOpen {files.page} in a browser: it verifies itself.")
    print(f"The report for programs is {files.report}; what the nodes wrote is in {d / 'nodes'}.")


def _show_gate(files: DemoFiles, registry: Any) -> int:
    """Tell what reached the wheels; returns how many messages nobody answers for."""
    import sys

    from og_ros.audit.recording.bag import open_bag
    from og_ros.gate.recorded import what_passed
    from og_ros.nodes.demo import GATE_OUTPUT

    with open_bag(files.bag) as bag:
        passed = what_passed(bag.records(), registry, "/wheel_command", GATE_OUTPUT)
    print(
        f"Gate: {passed.commands} commands reached the wheels, {passed.held} were held back; {passed.own} messages "
        f"were the gate's own (stop); without proof: {passed.unproven}.",
        file=sys.stderr,
    )
    return passed.unproven


def _judge_attack(name: str, report: Report) -> int:
    import sys

    from og_ros.nodes.attacks import ATTACKS

    attack = ATTACKS[name]
    named = report.auditor.findings.counts[attack.finding]
    word = f"named it: {attack.finding}, {named} times" if named else f"did not name it as {attack.finding}"
    print(f"Attack {name} ({attack.summary}): the audit {word}.", file=sys.stderr)
    return 0 if named else 1
