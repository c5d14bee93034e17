"""og-ros launch-measured: measure stages into a TPM, give them fresh keys, and start a command."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from og_ros.attest.keys import PrivateKey
    from og_ros.evidence.tpm.device import Tpm
    from og_ros.stages.pipeline import StageConfig

EPILOG = """\
Each stage that is launched has its key where the launch puts it: `key: /run/og_ros/launch/STAGE.pem` in the pipeline,
and `evidence: tpm2-quote`. What is measured into PCR 14 cannot be taken back: a stage whose software changed starts
again only after the machine was restarted.

  og-ros launch-measured pipeline.yaml -- og-ros run pipeline.yaml
  og-ros launch-measured --stage perception --enrolment /var/lib/og-ros/enrolment --user og-ros pipeline.yaml

The second form, without a command, is for systemd's ExecStartPre=+; docs/guides/measure-with-a-tpm.md has the unit."""


def add_parser(subparsers: Any) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "launch-measured", help="measure stages into a TPM, then start them", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--stage", action="append", metavar="S", help="a stage to launch (default: all of the file)")
    parser.add_argument(
        "--directory", type=Path, default=Path("/run/og_ros/launch"), metavar="D",
        help="where keys, manifests and the event log go; on a tmpfs (default: /run/og_ros/launch)",
    )  # fmt: skip
    add_tpm_arguments(parser)
    parser.add_argument(
        "--boot-pcrs", default="0-7,9", metavar="LIST", help="PCRs of the boot to quote beside PCR 14 (default: 0-7,9)"
    )
    parser.add_argument("--enrolment", type=Path, metavar="F", help="file that og-ros tpm enrol wrote")
    parser.add_argument(
        "--sealed", action="append", default=[], metavar="S=F", help="take the key of stage S from F (og-ros tpm seal)"
    )
    parser.add_argument("--image", default="", metavar="sha256:…", help="digest of the container image this runs in")
    parser.add_argument(
        "--log-start", metavar="HEX", help="what PCR 14 holds before a launch, where a boot loader measures into it"
    )
    parser.add_argument("--user", metavar="U", help="give the files to the user that the stages run as")
    parser.add_argument("pipeline", type=Path, metavar="PIPELINE", help="the pipeline file, behind all options")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD", help="what to start; none: only measure")


def add_tpm_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --tcti and --key-type, which every command that uses a TPM has."""
    parser.add_argument(
        "--tcti", default="device:/dev/tpmrm0", metavar="T", help="how to reach the TPM (default: device:/dev/tpmrm0)"
    )
    parser.add_argument(
        "--key-type", choices=("ecc", "rsa"), default="ecc", help="of the attestation key (default: ecc, P-256)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, then become the command; returns 0 without one."""
    from og_ros.errors import ConfigError
    from og_ros.evidence.tpm.attester import VARIABLE
    from og_ros.evidence.tpm.device import Tpm
    from og_ros.evidence.tpm.event_log import START
    from og_ros.evidence.tpm.launch import LaunchSettings, give_to, launch
    from og_ros.stages.measured import stage_manifest

    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if command and command[0].startswith("-"):
        raise ConfigError(f"{command[0]} is behind the pipeline; options go before it, and the command behind --")
    stages = chosen_stages(args.pipeline, args.stage)
    for stage in stages:
        place = args.directory / f"{stage.stage}.pem"
        if stage.key.resolve() != place.resolve():
            raise ConfigError(f"stages.{stage.stage}.key is {stage.key}: a measured launch puts the key at {place}")
    sealed = _sealed(args.sealed, [stage.stage for stage in stages])
    settings = LaunchSettings(args.tcti, pcr_list(args.boot_pcrs), args.key_type, args.enrolment)
    start = START if args.log_start is None else _digest(args.log_start)
    manifests = [stage_manifest(stage, image=args.image) for stage in stages]
    with Tpm(args.tcti) as tpm:
        _, new = launch(
            tpm, args.directory, manifests, settings, log_start=start, key_for=lambda stage: _key(tpm, sealed, stage)
        )
    if args.user and new:
        give_to(args.directory, args.user)
    for manifest in manifests:
        what = "measured" if new else "measured before, and as it was"
        print(f"{manifest.stage}: {what}: manifest {manifest.digest.hex()}", file=sys.stderr)
    if not command:
        return 0
    environment = {
        **os.environ,
        VARIABLE: str(args.directory.absolute()),
        # A compiled file that somebody left beside a measured source would run in its place.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPYCACHEPREFIX": str(args.directory.absolute() / "pycache"),
    }
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        raise ConfigError(f"cannot start {command[0]}: {error.strerror}") from error


def chosen_stages(pipeline: Path, names: list[str] | None) -> list[StageConfig]:
    """Return the stages of a pipeline file, or those of these names; raises ConfigError."""
    from og_ros.errors import ConfigError
    from og_ros.stages.pipeline import load_pipeline

    stages = load_pipeline(pipeline).stages
    for name in names or ():
        if name not in stages:
            raise ConfigError(f"{pipeline} has no stage {name!r}; it has {', '.join(stages)}")
    return [stages[name] for name in names or stages]


def pcr_list(text: str) -> tuple[int, ...]:
    """Read a list of PCRs, such as 0-7,9; empty: none. Raises ConfigError."""
    from og_ros.errors import ConfigError

    found: list[int] = []
    for part in filter(None, text.split(",")):
        read = re.fullmatch(r"([0-9]{1,2})(?:-([0-9]{1,2}))?", part)
        first, last = (int(read[1]), int(read[2] or read[1])) if read else (1, 0)
        if not first <= last < 24:
            raise ConfigError(f"{text[:40]!a} is no list of PCRs; it looks like 0-7,9")
        found += range(first, last + 1)
    return tuple(found)


def _digest(text: str) -> bytes:
    from og_ros.errors import ConfigError

    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise ConfigError(f"--log-start {text[:70]!a} is not 64 hex digits")
    return found


def _sealed(pairs: list[str], stages: list[str]) -> dict[str, Path]:
    from og_ros.errors import ConfigError

    found = {}
    for pair in pairs:
        stage, given, path = pair.partition("=")
        if not given or stage not in stages:
            raise ConfigError(f"--sealed {pair[:80]!a} is no STAGE=FILE of a stage that is launched")
        found[stage] = Path(path)
    return found


def _key(tpm: Tpm, sealed: dict[str, Path], stage: str) -> PrivateKey:
    from og_ros.attest import keys
    from og_ros.evidence.tpm import kept_key

    return kept_key.unseal(tpm, kept_key.read(sealed[stage])) if stage in sealed else keys.generate()
