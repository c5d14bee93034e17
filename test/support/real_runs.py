"""Real runs for the attack suite: the demo's nodes over real DDS, as two robots of one fleet under one registry.

Run as a script it drives one prepared robot:  python real_runs.py DIRECTORY SECONDS SEED
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml
from domains import claim_domain

from og_ros.attest import SoftwareSigner, keys
from og_ros.audit.recording.bag import open_bag
from og_ros.audit.records import Record
from og_ros.registry import Registry, RegistryWriter

SECONDS = 4
# The robot and its seed: `again` is another run of the first robot, with the same keys and so with new sessions.
ROBOTS = {"robot": 1, "again": 2, "other": 3}
NAMES = {"robot": "demo", "again": "demo", "other": "demo2"}


@dataclass(frozen=True)
class RealRun:
    """One robot's run: its directory as the demo left it, with bag/, ledger/, registry/, keys/ and policy.yaml."""

    directory: Path

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """Every recorded message, in the order of arrival."""
        with open_bag(self.directory / "bag") as bag:
            return tuple(Record(r.topic, r.type, bytes(r.payload), r.received_ns) for r in bag.records())

    @cached_property
    def signers(self) -> dict[str, SoftwareSigner]:
        """The stages' keys."""
        stages = ("perception", "planning", "control")
        return {stage: SoftwareSigner.load(self.directory / "keys" / f"{stage}.pem") for stage in stages}

    @cached_property
    def log_key(self) -> keys.PrivateKey:
        """The key of the robot's log."""
        return keys.load_private(self.directory / "keys" / "log.pem")

    @cached_property
    def authority(self) -> SoftwareSigner:
        """The key that signs the fleet's registry."""
        return SoftwareSigner.load(self.directory / "keys" / "authority.pem")

    @cached_property
    def registry(self) -> Registry:
        """The fleet's registry."""
        return Registry.open(self.directory / "registry")


@dataclass(frozen=True)
class RealRuns:
    """A robot's run, another run of the same robot, and a run of another robot, at the same time in other domains."""

    robot: RealRun
    again: RealRun
    other: RealRun


def make(directory: Path, seconds: float = SECONDS) -> RealRuns:
    """Run the three robots side by side; takes about 17 s beside their seconds of driving."""
    marker = directory / "complete"
    if not marker.exists():
        _prepare(directory)
        _drive(directory, seconds)
        marker.touch()
    return RealRuns(**{name: RealRun(directory / name) for name in ROBOTS})


def _prepare(directory: Path) -> None:
    """Make a directory for each robot, and one registry that certifies the keys of both."""
    from og_ros.nodes import demo

    demo.prepare(directory / "robot")
    demo.prepare(directory / "other")
    pipeline = directory / "other" / "pipeline.yaml"
    text = pipeline.read_text().replace("robot: demo\n", "robot: demo2\n").replace("og-ros/demo", "og-ros/demo2")
    pipeline.write_text(text)
    first = RealRun(directory / "robot")
    fleet = directory / "fleet"
    # Certified a day before, so that a time of an hour ago is wrong for its own reason only.
    since = time.time_ns() - 86_400 * 10**9
    with RegistryWriter.create(fleet, first.authority, "demo-fleet") as writer:
        for model in first.registry.models:
            writer.certify_model(
                model.name,
                model.version,
                model.digest,
                stages=model.stages,
                processing_digest=model.processing_digest,
                not_before_ns=since,
            )
        for name in ("robot", "other"):
            run, robot = RealRun(directory / name), NAMES[name]
            for stage, signer in run.signers.items():
                writer.certify_key(
                    signer.public_key, robot=robot, stage=stage, vendor=f"demo-{stage}", not_before_ns=since
                )
            log_key = run.log_key.public_key()
            writer.certify_key(log_key, role="log", origin=f"og-ros/{robot}", not_before_ns=since)
    root = Registry.open(fleet).fingerprint
    for name in ("robot", "other"):
        shutil.rmtree(directory / name / "registry")
        shutil.copytree(fleet, directory / name / "registry")
        policy = directory / name / "policy.yaml"
        policy.write_text(yaml.safe_dump({**yaml.safe_load(policy.read_text()), "registry_root": root}))
    shutil.copytree(directory / "robot", directory / "again")


def _drive(directory: Path, seconds: float) -> None:
    children = {}
    for name, seed in ROBOTS.items():
        with open(directory / f"{name}.log", "wb") as log:
            children[name] = subprocess.Popen(
                [sys.executable, __file__, str(directory / name), str(seconds), str(seed)],
                env={
                    **os.environ,
                    "ROS_DOMAIN_ID": str(claim_domain()),
                    "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )
    for name, child in children.items():
        assert child.wait(120) == 0, (directory / f"{name}.log").read_text()


def main() -> None:
    """Drive one prepared robot."""
    from og_ros.nodes import demo

    directory, seconds, seed = sys.argv[1:]
    demo.run(
        demo.DemoFiles(Path(directory)), float(seconds), int(seed), None, lambda remaining, driving: time.sleep(0.02)
    )


if __name__ == "__main__":
    main()
