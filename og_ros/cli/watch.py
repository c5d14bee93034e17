"""og-ros watch: a live web page of a robot's decision chain, beside its auditor."""

from __future__ import annotations

import argparse
import ipaddress
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from og_ros.errors import ConfigError

EPILOG = """\
A process of its own that only listens: to the auditor, the gate, and every attestation topic. The browser checks the
newest chain's signatures, keys and models itself, with the registry that you give. The page is for whoever can reach
the port; it is bound to this machine unless you say otherwise, and then TLS is what lets a browser verify.

Examples:
  og-ros watch --registry registry --root sha256:…           http://127.0.0.1:8765/
  og-ros watch --registry registry --host 0.0.0.0 --name robot7.lan --tls-cert robot7.pem --tls-key robot7.key
  og-ros watch --auditor /robot1/auditor --gate /robot1/gate --port 8766

Exit codes: 0 stopped by Ctrl-C, 2 it could not be started.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "watch",
        help="show a running robot's decision chain on a web page",
        description="Serve a live web page of the decision chain, its findings, its log and its gate.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--registry", metavar="DIR", type=Path, help="the registry that the browser verifies with")
    parser.add_argument("--root", metavar="SHA256", help="fingerprint that the registry's root must have")
    parser.add_argument("--auditor", metavar="NODE", default="/auditor", help="the auditor's name (/auditor)")
    parser.add_argument("--gate", metavar="NODE", default="/gate", help="the gate's name (/gate)")
    parser.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="address to serve on (127.0.0.1)")
    parser.add_argument("--port", metavar="N", type=int, default=8765, help="port to serve on; 0: any (8765)")
    parser.add_argument(
        "--name", metavar="HOST", action="append", default=[], help="a host name that browsers may ask for; repeatable"
    )
    parser.add_argument("--tls-cert", metavar="PEM", type=Path, help="certificate chain, to serve https")
    parser.add_argument("--tls-key", metavar="PEM", type=Path, help="its private key")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C, and return the exit code."""
    if not 0 <= args.port <= 65535:
        raise ConfigError(f"--port is {args.port}; it must be from 0 to 65535")
    if (args.tls_cert is None) != (args.tls_key is None):
        raise ConfigError("--tls-cert and --tls-key belong together")
    for option, name in (("--auditor", args.auditor), ("--gate", args.gate)):
        if not name.startswith("/") or not all(part.isidentifier() for part in name[1:].split("/")):
            raise ConfigError(f"{option} is {name!r}; a node's full name looks like /robot1/auditor")
    fingerprint, files = _registry(args)
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"this needs ROS 2, which is not installed ({error}); see `og-ros doctor`") from error
    from og_ros import __version__
    from og_ros.nodes.process import run_node
    from og_ros.nodes.watch import WatchNode
    from og_ros.watch.live_state import LiveState
    from og_ros.watch.server import LiveServer

    about = {"software": f"og_ros {__version__}", "auditor": args.auditor, "gate": args.gate, "root": fingerprint}
    state = LiveState(about)
    tls = (args.tls_cert, args.tls_key) if args.tls_cert else None
    server = LiveServer(state.broadcast, files, host=args.host, port=args.port, names=args.name, tls=tls)
    try:
        print(f"watching {args.auditor} on {server.url}", flush=True)
        _warn(args, tls is not None)
        code = run_node(lambda: WatchNode(state, args.auditor, args.gate), [], events=True)
    finally:
        server.close()
    return 2 if code else 0


def _registry(args: argparse.Namespace) -> tuple[str, Mapping[str, bytes]]:
    """Return the root's fingerprint and the registry's files, all but vendors' signatures, which no browser reads."""
    from og_ros.audit.reports.exhibit_sources import read_files
    from og_ros.registry import Registry

    if args.registry is None:
        if args.root is not None:
            raise ConfigError("--root without --registry: there is nothing that it could be the root of")
        return "", {}
    registry = Registry.open(args.registry, pinned_root=args.root)
    listed = (path for path in registry.files if not path.startswith("signatures/"))
    return registry.fingerprint, read_files(registry, listed)


def _warn(args: argparse.Namespace, tls: bool) -> None:
    try:
        local = ipaddress.ip_address(args.host).is_loopback
    except ValueError:
        local = args.host == "localhost"
    if not local:
        print("anyone who reaches this port sees what the robot does", file=sys.stderr, flush=True)
        if not tls:
            print("without TLS no browser on another machine verifies: give --tls-cert and --tls-key", file=sys.stderr)
