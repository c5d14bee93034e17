"""og-ros run: starts the nodes that a pipeline file describes, without ROS launch, until Ctrl-C."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from og_ros.errors import ConfigError

EPILOG = """\
The same nodes as `ros2 launch og_ros bringup.launch.py pipeline:=PIPELINE`, each in a process of its own: the auditor,
a recorder if you ask for one, the gate if the file has a section for it, and every stage. With a section settlement
`og-ros settle run` too, which is started again if it ends. On Ctrl-C the stages stop first and sign what is due, then
the others, and last the settler, once the last checkpoint is final (60 s at most).

Examples:
  og-ros run pipeline.yaml                      stages and auditor
  og-ros run pipeline.yaml --record run1        also records what the stages read, write and attest
  og-ros run pipeline.yaml --sim-time           time comes from /clock

Exit codes: 0 stopped cleanly, 1 a node failed at its end, 2 it could not be started.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "run",
        help="start the stages, auditor, gate and recorder of a pipeline file",
        description="Start the nodes that a pipeline file describes, and show how the decision chain stands.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pipeline", metavar="PIPELINE", type=Path, help="the pipeline file (YAML)")
    parser.add_argument("--record", metavar="OUT", type=Path, help="record to this directory, which must not exist")
    parser.add_argument("--no-auditor", action="store_true", help="do not start an auditor")
    parser.add_argument("--sim-time", action="store_true", help="take time from /clock")
    parser.add_argument("--logs", metavar="DIR", type=Path, default=Path("og_ros_run"), help="what the nodes write")


def run(args: argparse.Namespace) -> int:
    """Start, watch, stop, and return the exit code."""
    import signal
    import sys
    import time

    from og_ros.stages.pipeline import load_pipeline
    from og_ros.stages.preflight import check_stages

    pipeline = load_pipeline(args.pipeline)
    if args.record is not None and args.record.exists():
        raise ConfigError(f"{args.record} exists already; give --record a new directory")
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"this needs ROS 2, which is not installed ({error}); see `og-ros doctor`") from error
    check_stages(pipeline, time.time_ns())  # one clear line, and no recording of a start that failed
    from og_ros.audit.reports.plain_text import visible
    from og_ros.cli.live_view import LiveView
    from og_ros.nodes.bringup import AUDITOR, GATE, RECORDER, describe_nodes
    from og_ros.nodes.settling import DRAIN_S, RESTART_S, SETTLER, settler_command
    from og_ros.nodes.supervisor import STOP_TIMEOUT_S, Supervisor

    if args.record is not None:
        section = {**pipeline.sections.get(RECORDER, {}), "output": str(args.record.resolve())}
        pipeline = replace(pipeline, sections={**pipeline.sections, RECORDER: section})
    nodes = describe_nodes(
        pipeline, auditor=not args.no_auditor, record=args.record is not None, use_sim_time=args.sim_time
    )
    settler = None if args.no_auditor else settler_command(pipeline, after_writer=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Supervisor(args.logs) as supervisor, LiveView(0.0) as view:
        for node in nodes:
            supervisor.start(node.name, f"og_ros.nodes.{node.executable}", node.parameters)
        if settler is not None:
            supervisor.start_beside(SETTLER, settler, RESTART_S)
        view.say(f"What the nodes write is in {args.logs}; their warnings are shown here.")
        try:
            while True:
                for text in supervisor.check():
                    view.say(f"{SETTLER}: {visible(text)}", "yellow")
                for name, severity, text in supervisor.complaints():
                    view.say(f"{name}: {visible(text)}", "yellow" if severity == "WARN" else "red")
                view.update(0.0, False)
        except KeyboardInterrupt:
            listeners = (GATE, AUDITOR, RECORDER)
            codes = supervisor.stop(*(node.name for node in nodes if node.name not in listeners))
            for last in ((GATE,), (AUDITOR, RECORDER)):
                names = [node.name for node in nodes if node.name in last]
                codes |= supervisor.stop(*names) if names else {}
            if settler is not None:
                view.say("settling the last checkpoint ...")
                code = supervisor.stop(SETTLER, timeout_s=DRAIN_S + STOP_TIMEOUT_S)[SETTLER]
                if code:
                    view.say(f"not everything is final on the chain; the next start goes on: see {args.logs}", "yellow")
    failed = [name for name, code in codes.items() if code]
    if failed:
        print(f"did not stop cleanly: {', '.join(failed)}; what they wrote is in {args.logs}", file=sys.stderr)
    return 1 if failed else 0
