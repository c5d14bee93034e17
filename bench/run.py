"""Measures og_ros against its floors in one run: `make bench` prints a table and writes bench/result.json.

Every figure is a ratio to a floor taken in the same process, interleaved with it, so that a slow or busy machine
changes both. Medians of several rounds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "support"))

from domains import claim_domain

# Before any part begins: nobody else's robot is to be heard, nor to hear this one.
os.environ.setdefault("ROS_DOMAIN_ID", str(claim_domain()))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

import audits
import fleet
from envelopes import check_commands
from plots import histograms
from scenario import honest_run
from sealing import record_sealed

from og_ros.attest import (
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

Figures = tuple[float, float, float]
ROUNDS = 7
# The longest run of the gate's bench: what it measures does not get better with more.
GATE_SECONDS = 30.0


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


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def over_dds(directory: Path, seconds: float, full: bool) -> tuple[dict[str, Figures], dict[str, Any], dict[str, Any]]:
    """Stages as processes: medians and ratios for the table, every figure for the JSON file, and the latencies."""
    import stages  # needs ROS

    os.environ.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", str(Path(__file__).with_name("large_messages.xml")))
    table: dict[str, Figures] = {}
    detail: dict[str, Any] = {}
    plots: dict[str, Any] = {}
    kinds = {"plain": stages.PLAIN, "attested": stages.ATTESTED}
    loads = {
        "30 us controller, 100 Hz": (stages.control(), kinds),
        "5 ms model, 640x480, 30 Hz": (stages.perception(), kinds),
        "peer's way, 30 us controller, 100 Hz": (stages.control(), {"plain": stages.PLAIN, "peer": stages.PEER}),
        "peer's way, 5 ms model, 640x480, 2 Hz": (
            stages.perception(rate_hz=2), {"plain": stages.PLAIN, "peer": stages.PEER}
        ),
    }  # fmt: skip
    if full:
        for rate in (10, 500):
            loads[f"30 us controller, {rate} Hz"] = (stages.control(rate_hz=rate), kinds)
        for width, height in ((20, 16), (160, 120), (1600, 1250)):
            load = stages.perception(rate_hz=10, width=width, height=height)
            loads[f"5 ms model, {len(load.payload)} bytes, 10 Hz"] = (load, kinds)
        for count in (5, 10, 20):
            many = {"plain": stages.PLAIN, **{f"attested{i}": stages.ATTESTED for i in range(count)}}
            loads[f"30 us controller, {count} stages, 20 Hz"] = (stages.control(rate_hz=20), many)
    for name, (load, compared) in loads.items():
        # One hundred samples are the least that have a 99th percentile.
        found = stages.compare(load, compared, directory, max(seconds, 100 / load.rate_hz))
        for kind, series in found.items():
            values = series.latency or [math.nan]
            detail[f"{name}: {kind}"] = {
                "latency_ms": {f"p{p}": percentile(values, p / 100) * 1e3 for p in (10, 50, 90, 99)},
                "samples": len(series.latency), "lost": series.lost, "cpu_share": series.cpu, "rss_mb": series.rss_mb,
            }  # fmt: skip
            if series.attested:
                detail[f"{name}: {kind}"]["output_to_attestation_ms"] = {
                    f"p{p}": percentile(series.attested, p / 100) * 1e3 for p in (10, 50, 90, 99)
                }
            plots[f"{name}: {kind}"] = series.latency
        plain = found.pop("plain")
        other = [value for series in found.values() for value in series.latency]
        for share in (0.5, 0.99):
            if other and plain.latency:
                floor, actual = percentile(plain.latency, share), percentile(other, share)
                table[f"{name}, p{share * 100:g} (floor: plain stage)"] = (floor, actual, actual / floor)
        if attested := [value for series in found.values() for value in series.attested]:
            floor = signed_and_published()
            if load.type == stages.IMAGE:
                floor += hashed(load.payload)
            late = percentile(attested, 0.5)
            table[f"{name}, output to attestation (floor: hash, sign, publish)"] = (floor, late, late / floor)
    return table, detail, plots


def gated(directory: Path, seconds: float, plots: dict[str, Any]) -> tuple[dict[str, Figures], dict[str, Any]]:
    """The gate as a process, between publisher and driver: figures for the table, and percentiles for the JSON file."""
    import gate  # needs ROS

    found = gate.measure(directory, seconds)
    detail = {f"{kind}_ms": gate.percentiles(values) for kind, values in found.items()}
    table: dict[str, Figures] = {}
    for share in (0.5, 0.99):
        at = {kind: percentile(values, share) for kind, values in found.items()}
        what = f"command, 50 Hz, three stages, p{share * 100:g}"
        table[f"{what} (floor: publisher to driver)"] = (at["plain"], at["gated"], at["gated"] / at["plain"])
        added = at["gate_added"] / at["relay_added"]
        table[f"{what}, added (floor: a node that passes on)"] = (at["relay_added"], at["gate_added"], added)
    for kind in ("plain", "relayed", "gated"):
        plots[f"command, 50 Hz: {kind}"] = found[kind]
    return table, {"commands": len(found["plain"]), "passed": len(found["gated"]), **detail}


def hashed(payload: bytes) -> float:
    """Return the median seconds of SHA-256 over a message."""
    return once(lambda: hashlib.sha256(payload).digest())


def signed_and_published() -> float:
    """Return the median seconds of one bare ES256 signature and of one small message through DDS."""
    import stages

    signer, message = SoftwareSigner(keys.generate()), os.urandom(900)
    return once(lambda: signer.sign(message)) + stages.one_way(message)


def once(call: Callable[[], Any], rounds: int = 200) -> float:
    """Return the median seconds of a call."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def digests() -> dict[str, Figures]:
    """The other digests against SHA-256, 640x480 and 6 MB."""
    found = {}
    for name, size in (("640x480", 921_664), ("6 MB", 6_000_000)):
        message = os.urandom(size)
        for algorithm in ("blake3", "sha256-tree"):
            found[f"digest {algorithm}, {name} (floor: SHA-256)"] = measure(
                lambda m=message: hashlib.sha256(m).digest(), lambda m=message, a=algorithm: digest(m, a), 31
            )
    return found


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "cpu": names[0].partition(": ")[2] if names else platform.machine(),
        "governor": governor.read_text().strip() if governor.exists() else "not to be seen",
        "kernel": platform.release(),
        "load": os.getloadavg(),
    }


def real_time() -> bool:
    """Give this process and its children a real-time priority; returns False where that is not allowed."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))
    except (OSError, AttributeError):
        return False
    return True


def main() -> int:
    """Run everything, print the table and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("result.json"))
    parser.add_argument("--full", action="store_true", help="more rates, sizes and numbers of stages")
    parser.add_argument("--seconds", type=float, default=12, help="of each run over DDS")
    parser.add_argument("--large", type=float, metavar="GB", help="audit a recording of so many gigabytes too")
    parser.add_argument("--only", choices=("stages", "auditor", "gate", "rest"), help="one part")
    parser.add_argument("--real-time", action="store_true", help="SCHED_FIFO for stages and gate, where it is allowed")
    args = parser.parse_args()
    before = machine()
    results: dict[str, Figures] = {}
    more: dict[str, Any] = {"real_time": False}
    plots: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if args.only in (None, "rest"):
            results |= {
                "attest, 1000 (floor: ES256 signature)": attest_small(),
                "digest rule, 100 images 640x480 (floor: SHA-256)": digest_image(),
                "read and verify, 1000 (floor: verification)": read_attestation(),
            }
            results |= check_commands(measure)
            results |= digests()
            results |= audits.audits(directory, measure)
            results |= record_sealed(directory, measure)
            results |= fleet.two_workers(directory / "fleet", measure)
        if args.large:
            size, peak = audits.peak_memory(directory, args.large)
            more["audit of a large recording"] = {"recording_mb": size, "peak_memory_mb": peak}
        if args.only in (None, "auditor"):
            results |= live_auditor(directory / "auditor", args.seconds, more)
        if args.real_time and args.only != "rest":
            more["real_time"] = real_time()
        if args.only in (None, "gate"):
            figures, more["gate"] = gated(directory / "gate", min(args.seconds, GATE_SECONDS), plots)
            results |= figures
        if args.only in (None, "stages"):
            figures, more["stages"], stage_plots = over_dds(directory, args.seconds, args.full)
            results |= figures
            plots |= stage_plots
    print(f"{'what':<80} {'floor ms':>9} {'og_ros ms':>10} {'ratio':>6}")
    for what, (floor, actual, ratio) in results.items():
        print(f"{what:<80} {floor * 1e3:>9.3f} {actual * 1e3:>10.3f} {ratio:>6.2f}")
    for what, value in more.items():
        if what not in ("stages", "gate"):
            print(f"{what}: {value}")
    print(f"load {before['load'][0]:.1f} before, {os.getloadavg()[0]:.1f} after, on {before['cpus']} CPUs")
    figures_json = {n: {"floor_s": f, "og_ros_s": a, "ratio": r} for n, (f, a, r) in results.items()}
    result = {"machine": before, "load_after": os.getloadavg(), "figures": figures_json, **more}
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    histograms(plots, args.out.with_suffix(".svg"))
    return 0


def live_auditor(directory: Path, seconds: float, more: dict[str, Any]) -> dict[str, Figures]:
    """The live auditor in this process, and its node against a robot of three stages at 30 Hz."""
    import auditor

    figures, rate = auditor.live(directory / "live", measure)
    more["live auditor, attestations a second on one core"] = round(rate)
    for name, size in (("small messages", 0), ("640x480 images", 921_600)):
        more[f"auditor node, three stages at 30 Hz, {name}"] = auditor.node_share(directory / name, seconds, size)
    return {"live auditor, 3000 attestations (floor: verification)": figures}


if __name__ == "__main__":
    sys.exit(main())
