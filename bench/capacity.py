"""Computes cost and capacity from 1 robot to 100,000 from measured figures: docs/concepts/capacity.md and its plot.

    python bench/aggregator.py --robots 1000 --out bench/aggregator.json      measures
    python bench/capacity.py                                                  writes the page's tables and the plot
    python bench/capacity.py --check                                          says whether they are up to date

Nothing is measured here: what a checkpoint costs is multiplied. The page says which lines are beyond what was measured.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from plots import Line, Panel, lines

ROOT: Final = Path(__file__).resolve().parents[1]
MEASURED: Final = ROOT / "bench" / "aggregator.json"
PAGE: Final = ROOT / "docs" / "concepts" / "capacity.md"
PLOT: Final = ROOT / "docs" / "concepts" / "capacity.svg"
SETTLEMENT: Final = ROOT / "docs" / "reference" / "settlement.md"

FLEETS: Final = (1, 10, 100, 1_000, 10_000, 100_000)
INTERVAL_S: Final = 60
"""Seconds between a robot's checkpoints, and between the fleet's."""
POLLS: Final = 4
"""Questions of a robot for each checkpoint until it is final (`poll_s: 15`)."""
DAY_S: Final = 86_400


def gas_a_settle() -> int:
    """Return the gas of a signed settle, as the settlement page has it and a test compares it."""
    found = re.search(r"<!-- gas signed -->([\d,]+)", SETTLEMENT.read_text())
    assert found is not None
    return int(found[1].replace(",", ""))


def processors(storage: dict[str, Any], robots: int) -> float:
    """Return how many processors a fleet needs, the database's share included: what is always done, and its requests.

    A checkpoint costs what it cost when they came one by one, less what was done anyway; many at once cost less.
    """
    idle = sum(storage["idle"]["processor_us"].values())
    taken = sum(storage["paced"]["processor_us"].values()) - idle / storage["paced"]["per_second"]
    asked = sum(storage["receipts"]["processor_us"].values())
    return float(idle + robots / INTERVAL_S * (taken + POLLS * asked)) / 1e6


def grouped(value: float) -> str:
    """Return a number with three digits or more, grouped."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.1g}"


def tables(measured: dict[str, Any]) -> dict[str, str]:
    """Return the page's tables by name."""
    return {"measured": _measured(measured), "computed": _computed(measured)}


def _measured(measured: dict[str, Any]) -> str:
    rows = ["| | " + " | ".join(name for name in ("SQLite", "PostgreSQL")) + " |", "|---|---|---|"]
    storages = [measured["storage"][name] for name in ("sqlite", "postgresql")]

    def row(what: str, *values: str) -> None:
        rows.append(f"| {what} | " + " | ".join(values) + " |")

    for part, what in (("as_fast_as_answered", "all at once"), ("paced", "one each in"), ("receipts", "receipts")):
        found = [storage[part] for storage in storages]
        shown = f"{what} {found[0]['period_s']:g} s" if part == "paced" else what
        row(f"{shown}: a second", *(grouped(one["per_second"]) for one in found))
        row(f"{shown}: p50 / p95 / p99, ms", *(_latency(one["latency_ms"]) for one in found))
        row(f"{shown}: processor time each, ms", *(_processor(one["processor_us"]) for one in found))
    row("nothing to do: processor time a second, ms", *(_processor(one["idle"]["processor_us"]) for one in storages))
    row("stored, bytes a checkpoint", *(grouped(one["bytes_a_checkpoint"]) for one in storages))
    row("memory of the aggregator, MB", *(grouped(one["memory_mb"]) for one in storages))
    return "\n".join(rows)


def _latency(latency: dict[str, float]) -> str:
    return " / ".join(f"{latency[name]:,.0f}" for name in ("p50", "p95", "p99"))


def _processor(used: dict[str, int]) -> str:
    parts = [f"{used['aggregator'] / 1e3:.2f}"]
    if "postgresql" in used:
        parts.append(f"{used['postgresql'] / 1e3:.2f} of PostgreSQL")
    return " + ".join(parts)


def _computed(measured: dict[str, Any]) -> str:
    gas, storage = gas_a_settle(), measured["storage"]["postgresql"]
    rows = [
        "| robots | gas a robot and day: alone | aggregated | checkpoints a second | processors | stored a year |",
        "|---|---|---|---|---|---|",
    ]
    for robots in FLEETS:
        rate = robots / INTERVAL_S
        alone = gas * DAY_S / INTERVAL_S
        cores = processors(storage, robots)
        stored = rate * 365 * DAY_S * storage["bytes_a_checkpoint"] / 1e9
        beyond = "" if robots <= measured["robots"] else " *"
        figures = " | ".join(grouped(value) for value in (alone, alone / robots, rate, cores, stored))
        rows.append(f"| {robots:,}{beyond} | {figures} GB |")
    return "\n".join(rows)


def plot(measured: dict[str, Any]) -> str:
    """Return the plot as SVG."""
    gas, found = gas_a_settle(), measured["storage"]
    alone = gas * DAY_S / INTERVAL_S
    names = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
    cores = [Line(name, [(n, processors(found[kind], n)) for n in FLEETS]) for kind, name in names.items()]
    stored = [
        Line(name, [(n, n / INTERVAL_S * 365 * DAY_S * found[kind]["bytes_a_checkpoint"] / 1e9) for n in FLEETS])
        for kind, name in names.items()
    ]
    transactions = [
        Line("each robot alone", [(n, alone) for n in FLEETS]),
        Line("through an aggregator", [(n, alone / n) for n in FLEETS]),
    ]
    return lines(
        [
            Panel("gas a robot and day", transactions),
            Panel("processors of the aggregator and its database", cores),
            Panel("stored a year, GB", stored),
        ],
        "robots, each with a checkpoint a minute; grey: beyond what was measured",
        measured["robots"],
    )


def main() -> int:
    """Write, or check, the page and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where something is not up to date")
    args = parser.parse_args()
    measured = json.loads(MEASURED.read_text())
    page = PAGE.read_text()
    for name, table in tables(measured).items():
        page = re.sub(rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", rf"\g<1>\n{table}\n\g<2>", page, flags=re.DOTALL)
    wanted = {PAGE: page, PLOT: plot(measured)}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if args.check:
            print(f"{path.relative_to(ROOT)} is not what bench/capacity.py makes of {MEASURED.name}")
        else:
            path.write_text(wanted[path])
    return 1 if args.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
