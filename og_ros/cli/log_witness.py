"""og-ros log witness: serves a cosigning witness of other parties' logs (C2SP tlog-witness over HTTP)."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from og_ros.cli.signals import until_stopped
from og_ros.errors import ConfigError

if TYPE_CHECKING:
    from og_ros.log import VerifierKey

PURPOSE: Final = "serve a cosigning witness of logs (C2SP tlog-witness); no relation to the node that observes another"
EPILOG: Final = """\
A witness cosigns a checkpoint only when it was shown that the log grew by appending. Run it where the robot's operator
has no hand in it. Examples:

  og-ros keys generate witness.pem --algorithm EdDSA
  og-ros log witness --name witness.example/w1 --key witness.pem --state state --log 'demo+1a2b3c4d+AS...'
  og-ros log witness --name witness.example/w1 --key witness.pem --state state --registry registry --root sha256:...

POST …/add-checkpoint is C2SP's. GET …/checkpoint/HASH (SHA-256 of the log's origin, hex) gives the newest checkpoint
that it cosigned. A signed checkpoint that contradicts it is refused, and kept in STATE/forks or STATE/unproven.
Exit codes: 0 stopped, 2 it could not be started."""
_POLL_S: Final = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--name", required=True, metavar="NAME", help="the witness's name, such as witness.example/w1")
    parser.add_argument("--key", type=Path, required=True, metavar="PEM", help="its private key (Ed25519)")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="what it remembers; never put it back")
    parser.add_argument(
        "--log",
        action="append",
        default=[],
        metavar="VKEY",
        help="a log to cosign for, by its verifier key; repeatable",
    )
    parser.add_argument("--registry", type=Path, metavar="DIR", help="cosign for the logs whose keys it certifies")
    parser.add_argument("--root", metavar="sha256:HEX", help="fingerprint that the registry's root must have")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="address to serve on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=7380, metavar="N", help="port to serve on; 0: any (7380)")
    parser.add_argument("--prefix", default="", metavar="PATH", help="path before /add-checkpoint, such as /w1")


def run(args: argparse.Namespace) -> int:
    """Serve until it is stopped; the exit code."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from og_ros.attest import keys
    from og_ros.log.witness import Witness
    from og_ros.log.witness_server import WitnessServer
    from og_ros.log.witness_state import WitnessState

    if not 0 <= args.port <= 65535:
        raise ConfigError(f"--port is {args.port}; it must be from 0 to 65535")
    key = keys.load_private(args.key)
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{args.key} is not an Ed25519 key; make one: og-ros keys generate --algorithm EdDSA")
    logs = _logs(args)
    if not logs:
        raise ConfigError("there is no log to cosign for: give --log, or a registry that certifies some")
    state = WitnessState(args.state)
    try:
        witness = Witness(args.name, key, logs, state, _tell)
        with until_stopped() as stopped:
            server = WitnessServer(witness, host=args.host, port=args.port, prefix=args.prefix, tell=_tell)
            try:
                print(f"witness {witness.key.format()}", flush=True)
                print(f"cosigning for {', '.join(witness.origins)} on {server.url}", flush=True)
                while not stopped():
                    time.sleep(_POLL_S)
            finally:
                server.close()
    finally:
        state.close()
    return 0


def _logs(args: argparse.Namespace) -> list[VerifierKey]:
    """Return the logs that are named, and those that the registry certifies and has not revoked."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from og_ros.log import VerifierKey
    from og_ros.registry import Registry, Status

    found = [VerifierKey.parse(vkey) for vkey in args.log]
    if args.registry is None:
        if args.root is not None:
            raise ConfigError("--root without --registry: there is nothing that it could be the root of")
        return found
    for certificate in Registry.open(args.registry, pinned_root=args.root).keys.values():
        key = certificate.public_key
        valid = certificate.role == "log" and certificate.status(time.time_ns()) is Status.VALID
        if valid and isinstance(key, Ed25519PublicKey):
            found.append(VerifierKey.of(certificate.origin, key))
    return list(dict.fromkeys(found))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
