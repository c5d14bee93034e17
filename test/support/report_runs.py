"""Honest runs whose messages are real ROS messages in CDR, small enough to put into a report page."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scenario
from scenario import Run, honest_run

from og_ros.attest.cdr import CdrWriter
from og_ros.audit.policy import Policy
from og_ros.audit.recording.bag import open_bag
from og_ros.audit.reports.assessment import assess
from og_ros.audit.reports.exhibits import Budget
from og_ros.audit.reports.html_report import HtmlCollector, write_html
from og_ros.audit.reports.regulation import load_profile
from og_ros.audit.run import audit_bag
from og_ros.registry import Registry, RegistryWriter

WIDTH, HEIGHT = 16, 12


def pixel(value: int, x: int, y: int) -> tuple[int, int, int]:
    """Return the colour of a pixel of the camera frame that was made from a value."""
    return (value + 7 * x) % 256, (3 * y) % 256, (x * y) % 256


def payload(topic: str, stamp_ns: int, value: int) -> bytes:
    """Return a real message for a topic of the scenario, unique to its value."""
    writer = CdrWriter()
    kind = scenario.TYPES[topic]
    if topic in scenario.STAMPED:
        writer.time(stamp_ns)
        writer.text("frame")
    if kind == "sensor_msgs/msg/Image":
        writer.number("I", 4, HEIGHT)
        writer.number("I", 4, WIDTH)
        writer.text("rgb8")
        writer.number("B", 1, 0)
        writer.number("I", 4, 3 * WIDTH)
        writer.number("I", 4, 3 * WIDTH * HEIGHT)
        writer.raw(bytes(c for y in range(HEIGHT) for x in range(WIDTH) for c in pixel(value, x, y)))
    elif kind == "sensor_msgs/msg/LaserScan":
        for number in (-math.pi, math.pi, math.pi / 8, 0.0, 0.1, 0.05, 10.0):
            writer.number("f", 4, number)
        writer.number("I", 4, 16)
        for index in range(16):
            writer.number("f", 4, 1.0 + (value + index) % 7)
        writer.number("I", 4, 0)
    elif kind == "geometry_msgs/msg/TwistStamped":
        for number in (0.5, 0.0, 0.0, 0.0, 0.0, 0.001 * (value % 1000)):
            writer.number("d", 8, number)
    elif kind == "std_msgs/msg/Float32MultiArray":
        for number in (0, 0, 2):
            writer.number("I", 4, number)
        writer.number("f", 4, float(value % 4096))
        writer.number("f", 4, 0.25)
    else:
        writer.number("q", 8, value)
    return writer.payload()


def real_run(monkeypatch: pytest.MonkeyPatch, ticks: int = 24) -> Run:
    """Return an honest run of real messages."""
    monkeypatch.setattr(scenario, "payload", payload)
    return honest_run(ticks)


def write_page(
    run: Run,
    directory: Path,
    budget: Budget | None = None,
    policy: Policy | None = None,
    certify: Callable[[RegistryWriter, Run], None] | None = None,
    summary: Callable[[dict[str, Any]], bytes] | None = None,
    profile: str = "",
) -> Path:
    """Write a run, audit it as `og-ros audit --html` does, and return the page."""
    run.write_bag(directory / "bag")
    run.write_registry(directory / "registry", certify)
    ledger = directory / "ledger"
    run.write_ledger(ledger)
    registry = Registry.open(directory / "registry")
    collector = HtmlCollector(budget)
    report = audit_bag(directory / "bag", registry, ledger, policy, observers=[collector])
    if profile:
        report = replace(report, profiles=(assess(load_profile(profile), report.as_json()),))
    page = directory / "report.html"
    with open_bag(directory / "bag") as bag:
        signed = summary(report.as_json()) if summary is not None else None
        write_html(report, collector, bag, registry, ledger, page, summary=signed)
    return page
