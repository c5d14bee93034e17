"""og-ros tpm: enrol a robot's TPM, run the enrolment service, and keep keys in a TPM."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from og_ros.cli.launch_measured import add_tpm_arguments, chosen_stages

EPILOG = """\
A robot's attestation key is worth something once somebody has checked that it lives in that robot's TPM:

  og-ros tpm serve enrolment.yaml --key enroller.pem --records records/      at the fleet's owner
  og-ros tpm enrol https://enrol.example.org:8443 --robot amr-1 -o enrolment    once on the robot

Keys that need the TPM: sealed for the software of a pipeline, or never outside of the TPM (slow):

  og-ros tpm seal pipeline.yaml perception.pem --stage perception -o perception.sealed
  og-ros tpm key -o witness.tpm"""


def add_parser(subparsers: Any) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "tpm", help="enrol a TPM, and keep keys in it", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="show the TPM's endorsement certificate, attestation key and PCR 14")
    enrol = actions.add_parser("enrol", help="enrol this TPM's attestation key with a service")
    enrol.add_argument("url", metavar="URL", help="of the enrolment service")
    enrol.add_argument("--robot", required=True, metavar="NAME", help="this robot's name")
    enrol.add_argument("-o", "--output", type=Path, required=True, metavar="F", help="where the record goes")
    enrol.add_argument("--token-env", default="", metavar="VAR", help="environment variable that holds the token")
    serve = actions.add_parser("serve", help="run an enrolment service")
    serve.add_argument("config", type=Path, metavar="FILE", help="YAML: robots, roots (docs/reference/evidence-tpm.md)")
    serve.add_argument("--key", type=Path, required=True, metavar="KEY", help="private key that signs the records")
    serve.add_argument("--records", type=Path, required=True, metavar="D", help="directory of the records")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, default=8443, help="port to listen on (default: 8443)")
    serve.add_argument("--tls", type=Path, nargs=2, metavar=("CERT", "KEY"), help="certificate chain and key, PEM")
    seal = actions.add_parser("seal", help="seal a key for the launch of a pipeline's stages, as they are now")
    seal.add_argument("pipeline", type=Path, metavar="PIPELINE", help="the pipeline file")
    seal.add_argument("key", type=Path, metavar="KEY", help="the private key (P-256); delete it afterwards")
    seal.add_argument("--stage", action="append", metavar="S", help="a stage that is launched (default: all)")
    seal.add_argument("--image", default="", metavar="sha256:…", help="digest of the container image")
    make = actions.add_parser("key", help="make a P-256 key that never leaves the TPM")
    make.add_argument("--pcrs", default="", metavar="LIST", help="sign only while these PCRs are as they are now")
    for action in (seal, make):
        action.add_argument("-o", "--output", type=Path, required=True, metavar="F", help="where the key's file goes")
    for action in (show, enrol, seal, make):
        add_tpm_arguments(action)


def run(args: argparse.Namespace) -> int:
    """Run the action and return 0."""
    {"show": _show, "enrol": _enrol, "serve": _serve, "seal": _seal, "key": _make}[args.action](args)
    return 0


def _show(args: argparse.Namespace) -> None:
    from og_ros.errors import EvidenceError
    from og_ros.evidence.tpm import ek_certificate
    from og_ros.evidence.tpm.device import Tpm
    from og_ros.evidence.tpm.event_log import PCR
    from og_ros.evidence.tpm.public_area import parse_public

    with Tpm(args.tcti) as tpm:
        print(f"attestation key  {parse_public(tpm.attestation_key(args.key_type)).name.hex()}")
        print(f"PCR {PCR}           {tpm.read_pcrs([PCR])[PCR].hex()}")
        try:
            template, certificate = tpm.endorsement_certificate()
        except EvidenceError as error:
            print(f"endorsement      {error}")
            return
    names = " ".join(ek_certificate.tpm_names(certificate).values())
    print(f"endorsement      {ek_certificate.fingerprint(certificate).hex()} ({template}, {names})")


def _enrol(args: argparse.Namespace) -> None:
    from og_ros.errors import ConfigError
    from og_ros.evidence.tpm.device import Tpm
    from og_ros.evidence.tpm.enrolment_http import enrol

    if args.token_env and args.token_env not in os.environ:
        raise ConfigError(f"--token-env: the variable {args.token_env} is not set")
    token = os.environ[args.token_env] if args.token_env else ""
    with Tpm(args.tcti) as tpm:
        record = enrol(tpm, args.url, args.robot, args.output, token=token, kind=args.key_type)
    worth = " (a test: worth no more than a warning)" if record.test else ""
    print(f"enrolled {record.robot} with the attestation key {record.key_name.hex()}{worth}")


def _serve(args: argparse.Namespace) -> None:
    from og_ros.attest.signer import SoftwareSigner
    from og_ros.errors import ConfigError
    from og_ros.evidence.tpm.enrolment_config import load_rules
    from og_ros.evidence.tpm.enrolment_desk import EnrolmentDesk
    from og_ros.evidence.tpm.enrolment_http import EnrolmentServer

    desk = EnrolmentDesk(SoftwareSigner.load(args.key), load_rules(args.config), args.records)
    try:
        args.records.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make {args.records}: {error.strerror}") from error
    server = EnrolmentServer(desk, host=args.host, port=args.port, tls=tuple(args.tls) if args.tls else None)
    print(f"enrols {len(desk.rules.robots)} robots at {server.url}", flush=True)
    try:
        server.wait()
    except KeyboardInterrupt:
        server.close()


def _seal(args: argparse.Namespace) -> None:
    from og_ros.attest import keys
    from og_ros.evidence.tpm import kept_key
    from og_ros.evidence.tpm.device import Tpm
    from og_ros.evidence.tpm.event_log import replay
    from og_ros.evidence.tpm.launch import golden_events
    from og_ros.stages.measured import stage_manifest

    key = kept_key.sealable(keys.load_private(args.key), str(args.key))
    manifests = [stage_manifest(stage, image=args.image) for stage in chosen_stages(args.pipeline, args.stage)]
    with Tpm(args.tcti) as tpm:
        kept_key.write(kept_key.seal(tpm, key, replay(golden_events(manifests))), args.output)
    stages = ", ".join(manifest.stage for manifest in manifests)
    print(f"wrote {args.output}: opens in a measured launch of {stages}; now delete {args.key}", file=sys.stderr)


def _make(args: argparse.Namespace) -> None:
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    from og_ros.attest import keys
    from og_ros.cli.launch_measured import pcr_list
    from og_ros.evidence.tpm import kept_key
    from og_ros.evidence.tpm.device import Tpm

    with Tpm(args.tcti) as tpm:
        made = kept_key.make_resident(tpm, pcr_list(args.pcrs))
    kept_key.write(made, args.output)
    print(keys.public_pem(load_der_public_key(made.spki)), end="")  # type: ignore[arg-type]  # P-256
