"""Measures og_ros against its floors in one run: `make bench` prints a table and writes bench/result.json.

Every figure is a ratio to a floor taken in the same process, interleaved with it, so that a slow or busy machine
changes both. Medians of several rounds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "support"))

import fleet
from envelopes import check_commands
from rosbags.rosbag2 import Reader
from scenario import honest_run
from sealing import record_sealed

from og_ros.attest import (
    ATTESTATION_TYPE,
    Clock,
    DataReference,
    ModelReference,
    Runtime,
    Session,
    SoftwareSigner,
    decode_attestation,
    digest,
    encode_attestation,
    keys,
    verify,
)
from og_ros.audit.run import audit_bag
from og_ros.registry import Registry

ROUNDS = 7


def measure(floor: Callable[[], Any], actual: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, float, float]:
    """Return median seconds of floor and actual, and the median of their ratios, run alternately."""
    floors, actuals = [], []
    for _ in range(rounds):
        for times, call in ((floors, floor), (actuals, actual)):
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
    ratios = [a / f for a, f in zip(actuals, floors, strict=True)]
    return statistics.median(floors), statistics.median(actuals), statistics.median(ratios)


def attest_small() -> tuple[float, float, float]:
    """1000 attestations against 1000 bare ES256 signatures of as many bytes."""
    signer = SoftwareSigner(keys.generate())
    session = Session(
        robot="r",
        stage="s",
        node="/s",
        model=ModelReference("m", "1", bytes(32)),
        runtime=Runtime("o", "1"),
        signer=signer,
    )
    reference = DataReference("/camera/image", "sensor_msgs/msg/Image", b"\1" * 32, 1000)
    message = os.urandom(900)

    def actual() -> None:
        for _ in range(1000):
            attestation = session.attest(
                [reference],
                [reference],
                start_ns=1,
                clock=Clock.SIM,
                start_monotonic_ns=time.monotonic_ns(),
                duration_ns=1,
            )
            encode_attestation(attestation)

    return measure(lambda: [signer.sign(message) for _ in range(1000)], actual)


def digest_image() -> tuple[float, float, float]:
    """The digest rule over 100 images of 640x480x3 against bare SHA-256 of the same bytes."""
    image = os.urandom(921_600 + 64)
    return measure(
        lambda: [hashlib.sha256(image).digest() for _ in range(100)], lambda: [digest(image) for _ in range(100)]
    )


def read_attestation() -> tuple[float, float, float]:
    """Reading and verifying 1000 attestations from their wire form against 1000 bare signature checks."""
    run = honest_run(10)
    payload = bytes(run.records[run.of_stage("perception")[0][0]].payload)
    attestation = decode_attestation(payload)
    key = run.signers["perception"].public_key
    return measure(
        lambda: [verify(attestation, key) for _ in range(1000)],
        lambda: [verify(decode_attestation(payload), key) for _ in range(1000)],
    )


def audit_small_messages(directory: Path) -> dict[str, tuple[float, float, float]]:
    """An audit against its floor (raw reading, SHA-256 of attested messages, one verification each)."""
    run = honest_run(1000)
    run.write_registry(directory / "registry")
    run.write_bag(directory / "bag")
    registry = Registry.open(directory / "registry")
    keys_by_id = {key_id: certificate.public_key for key_id, certificate in registry.keys.items()}

    def floor() -> None:
        with Reader(directory / "bag") as reader:
            for connection, _, data in reader.messages():
                if connection.msgtype == ATTESTATION_TYPE:
                    attestation = decode_attestation(data)
                    verify(attestation, keys_by_id[attestation.statement.key_id])
                else:
                    hashlib.sha256(data).digest()

    def actual() -> None:
        assert audit_bag(directory / "bag", registry).as_json()["holds"]

    return {"audit, small messages (floor: read raw + hash + verify)": measure(floor, actual, 3)}


def main() -> int:
    """Run everything, print the table and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("result.json"))
    args = parser.parse_args()
    results = {
        "attest, 1000 (floor: ES256 signature)": attest_small(),
        "digest rule, 100 images 640x480 (floor: SHA-256)": digest_image(),
        "read and verify, 1000 (floor: verification)": read_attestation(),
        **check_commands(measure),
    }
    with tempfile.TemporaryDirectory() as directory:
        results |= audit_small_messages(Path(directory))
        results |= record_sealed(Path(directory), measure)
        results |= fleet.two_workers(Path(directory) / "fleet", measure)
    print(f"{'what':<58} {'floor ms':>9} {'og_ros ms':>10} {'ratio':>6}")
    for name, (floor, actual, ratio) in results.items():
        print(f"{name:<58} {floor * 1e3:>9.1f} {actual * 1e3:>10.1f} {ratio:>6.2f}")
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "load": os.getloadavg()}
    figures = {n: {"floor_s": f, "og_ros_s": a, "ratio": r} for n, (f, a, r) in results.items()}
    args.out.write_text(json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
