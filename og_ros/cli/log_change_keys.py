"""og-ros log change-keys: gives a ledger new signing keys, by a leaf that the keys before sign."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.errors import KeyFileError, LogError

if TYPE_CHECKING:
    from og_ros.log.log_keys import LogSigner

EPILOG: Final = """\
example: og-ros log change-keys ledger --log-key keys/log.pem --new-key keys/log-2.pem \\
             --new-post-quantum-key keys/log-2-pq.pem --registry registry

Stop the auditor first: a ledger has one writer. Certify the new keys before (og-ros keys certify --role log), together:
the certificate of the Ed25519 key names the ML-DSA-65 key that signs beside it. Then start the auditor with the new
keys. A key that is revoked cannot name a successor: who stole it could. Such a log ends; begin one of another origin.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the action."""
    parser.add_argument("ledger", type=Path, metavar="LEDGER", help="the ledger's directory")
    parser.add_argument("--log-key", type=Path, required=True, metavar="PEM", help="its present Ed25519 key")
    parser.add_argument("--post-quantum-key", type=Path, metavar="PEM", help="its present ML-DSA-65 key, if it has one")
    parser.add_argument("--new-key", type=Path, required=True, metavar="PEM", help="the Ed25519 key from now on")
    parser.add_argument(
        "--new-post-quantum-key", type=Path, metavar="PEM",
        help="the ML-DSA-65 key from now on; left out: checkpoints are signed with the Ed25519 key alone",
    )  # fmt: skip
    parser.add_argument("--registry", type=Path, required=True, metavar="DIR", help="where both keys are certified")
    parser.add_argument("--root", metavar="sha256:HEX", help="fingerprint that the registry's root must have")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Change the keys; 0. Raises LogError, KeyFileError or RegistryError where it may not or cannot be done."""
    from og_ros.log import Ledger
    from og_ros.registry import Registry

    before = _signer(args.log_key, args.post_quantum_key)
    after = _signer(args.new_key, args.new_post_quantum_key)
    registry = Registry.open(args.registry, pinned_root=args.root)
    now_ns = time.time_ns()
    with Ledger.open(args.ledger, before.classical, before.post_quantum) as ledger:
        for signer, which in ((before, "present"), (after, "new")):
            _check_certified(signer, which, ledger.origin, registry, now_ns)
        change = ledger.change_keys(after.classical, after.post_quantum, now_ns)
        told: dict[str, Any] = {"origin": ledger.origin, "leaf": change.index, "vkey": change.keys.classical.format()}
        told["post_quantum"] = change.keys.post_quantum.format() if change.keys.post_quantum is not None else None
    if args.json:
        print(json.dumps(told, indent=2))
    else:
        how = "signed hybrid, with ML-DSA-65" if after.post_quantum is not None else "signed with Ed25519 alone"
        print(f"{told['origin']}: leaf {told['leaf']} gives it new keys; checkpoints from it on are {how}")
        print(f"vkey {told['vkey']}")
    print("Start the auditor with the new keys; the old ones sign nothing any more.", file=sys.stderr)
    return 0


def _signer(classical: Path, post_quantum: Path | None) -> LogSigner:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from og_ros.attest import keys, ml_dsa
    from og_ros.log.log_keys import LogSigner

    key = keys.load_private(classical)
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{classical} is no Ed25519 key, which a log needs: og-ros keys generate --algorithm EdDSA")
    return LogSigner(key, ml_dsa.load_private(post_quantum) if post_quantum is not None else None)


def _check_certified(signer: LogSigner, which: str, origin: str, registry: Any, now_ns: int) -> None:
    """Raise LogError unless a registry stands for keys of a log now, both of them together."""
    from og_ros.attest import keys, ml_dsa
    from og_ros.registry import Status

    certificate = registry.key(keys.key_id(signer.classical.public_key()))
    if certificate is None or (certificate.role, certificate.origin) != ("log", origin):
        raise LogError(f"the {which} key is not certified for the log {origin}: og-ros keys certify --role log")
    if certificate.status(now_ns) is not Status.VALID:
        raise LogError(f"the {which} key of the log {origin} is {certificate.status(now_ns).value}")
    second = "" if signer.post_quantum is None else ml_dsa.public_pem(signer.post_quantum.public_key())
    if certificate.post_quantum_pem != second:
        named = "another ML-DSA-65 key, or none" if second else "an ML-DSA-65 key, which is to be given too"
        raise LogError(f"the certificate of the {which} key of the log {origin} names {named}")
