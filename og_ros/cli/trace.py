"""og-ros trace: shows the chain from one command back to the sensor messages it came from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.cli.audit import add_trust_arguments, trust
from og_ros.cli.output import write_json

if TYPE_CHECKING:
    from rich.tree import Tree

    from og_ros.audit.trace import TraceNode

# Into a file or a pipe no line is folded: a digest stays in one piece.
FILE_WIDTH: Final = 400
EPILOG: Final = """\
Examples:
  og-ros trace demo_out/bag --topic /wheel_command --registry demo_out/registry
  og-ros trace BAG --topic /cmd_vel --index 0 --json      the first command, as JSON

Exit codes: 0 the chain is linked to recorded sensor data, 1 it is not, 2 it could not be traced.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "trace",
        help="the chain from one command back to its camera frame",
        description="Show the tree from an attested message back to the sensor messages behind it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bag", metavar="BAG", type=Path, help="the recording: a rosbag2 directory")
    parser.add_argument("--topic", required=True, metavar="T", help="topic of the command")
    parser.add_argument(
        "--index", type=int, default=-1, metavar="N", help="which message on the topic; -1 is the last, 0 the first"
    )
    add_trust_arguments(parser)
    parser.add_argument("--json", action="store_true", help="write the tree as JSON to standard output")


def run(args: argparse.Namespace) -> int:
    """Trace one message and return the exit code."""
    from og_ros.audit.run import audit_bag
    from og_ros.audit.trace import Tracer

    registry, policy = trust(args)
    tracer = Tracer(args.topic, args.index)
    audit_bag(args.bag, registry, args.ledger, policy, observers=[tracer])
    node = tracer.result()
    if args.json:
        write_json(node.as_json(), "-")
    else:
        from og_ros.cli.terminal import Terminal

        console = Terminal()
        if not console.is_terminal:
            console.width = FILE_WIDTH
        console.print(_tree(node))
    return 0 if node.inference is not None and node.inference.linked else 1


def _tree(node: TraceNode, parent: Tree | None = None) -> Tree:
    from rich.markup import escape
    from rich.tree import Tree

    lines = [f"[bold]{escape(node.reference.topic)}[/bold]  {escape(node.reference.type)}"]
    stamp = f"  stamp {node.reference.stamp_ns / 1e9:.3f} s" if node.reference.stamp_ns else ""
    where = "recorded" if node.recorded else "[red]not recorded[/red]"
    lines.append(f"sha256 {node.reference.digest.hex()}{stamp}, {where}")
    inference = node.inference
    if inference is None:
        lines.append("sensor message: no stage attests this topic")
    elif node.repeated:
        lines.append(f"made by stage {escape(inference.stage)}, sequence {inference.sequence} (shown elsewhere)")
    else:
        statement = inference.attestation.statement
        lines.append(
            f"made by stage [bold]{escape(statement.stage)}[/bold] of robot {escape(statement.robot)}, "
            f"sequence {statement.sequence}, "
            f"at {statement.start_ns / 1e9:.3f} s ({statement.clock.name.lower()} clock), "
            f"in {statement.duration_ns / 1e6:.2f} ms"
        )
        certified = _word(inference.certified, "certified", "not certified")
        model, runtime = statement.model, statement.runtime
        if inference.sourced and statement.is_source:
            lines.append("signed at source: data begins here")
        name, engine = f"{model.name} {model.version}", f"{runtime.name} {runtime.version} {runtime.provider}"
        lines.append(f"model {escape(name)}, sha256 {model.digest.hex()[:16]}, {certified}; {escape(engine)}")
        signed = _word(inference.signed, "signature holds", "signature does not hold")
        logged = {None: "", True: "; in the log", False: "; [red]not in the log[/red]"}[inference.logged]
        lines.append(f"key {statement.key_id.hex()[:16]}, {statement.algorithm.name}, {signed}{logged}")
    label = "\n".join(lines)
    tree = Tree(label) if parent is None else parent.add(label)
    for child in node.inputs:
        _tree(child, tree)
    return tree


def _word(value: bool | None, good: str, bad: str) -> str:
    return {None: "[yellow]not checked[/yellow]", True: good, False: f"[red]{bad}[/red]"}[value]
