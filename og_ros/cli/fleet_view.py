"""Audits of many recordings from the command line: their arguments, progress, and the summary for a person."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.cli.output import EXIT_CODES, write_json
from og_ros.cli.settlement_evidence import vouching
from og_ros.cli.table import format_table

if TYPE_CHECKING:
    from rich.console import Console

    from og_ros.audit.fleet import FleetReport, Progress

SHOWN_RECORDINGS: Final = 40
SHOWN_STAGES: Final = 60
SHOWN_FINDINGS: Final = 12
_STYLES: Final = {"holds": "green", "violated": "bold red", "not_checked": "yellow"}
_WORDS: Final = {"holds": "HOLDS", "violated": "VIOLATED", "not_checked": "COULD NOT BE CHECKED"}


def add_fleet_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that only an audit of many recordings has."""
    parser.add_argument(
        "--engine", metavar="E",
        help="audit every recording below the directories: local (processes), dask (an embedded cluster), or "
        "dask://HOST:PORT (a scheduler that runs; its workers must see the same paths)",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, metavar="N", help="recordings at a time (default: one a core)")
    parser.add_argument(
        "--resume", metavar="DIR", type=Path,
        help="keep the state of many recordings' audits in DIR; a later run audits what is missing or has changed",
    )  # fmt: skip


def is_fleet(args: argparse.Namespace, paths: list[Path]) -> bool:
    """Return whether many recordings are meant: by the arguments, by several paths, or by a directory of recordings."""
    from og_ros.audit.fleet.recordings import METADATA

    if args.engine or args.resume or len(paths) > 1:
        return True
    return (
        paths[0].is_dir()
        and not any(paths[0].glob("*.mcap*"))
        and not any(paths[0].glob("*.db3*"))
        and not (paths[0] / METADATA).exists()
    )


def run_fleet(args: argparse.Namespace, paths: list[Path]) -> int:
    """Audit all recordings below some directories, show the summary, and return the exit code.

    `args` has what `add_trust_arguments` and `add_fleet_arguments` add, and json and quiet.
    """
    from og_ros.audit.fleet import audit_fleet

    chain, final_blocks, finality = vouching(args)
    with fleet_progress(hidden=args.quiet or args.json == "-") as progress:
        report = audit_fleet(
            paths,
            registry=args.registry,
            ledger=args.ledger,
            policy=args.policy,
            root=args.root,
            engine=args.engine or "local",
            workers=args.workers,
            resume=args.resume,
            progress=progress,
            settlement=args.settlement,
            chain=chain,
            final_blocks=final_blocks,
            finality=finality,
        )
    if args.json:
        write_json(report.as_json(), args.json)
    if args.json != "-":
        show_fleet(report)
    return EXIT_CODES[report.verdict.value]


@contextmanager
def fleet_progress(hidden: bool = False) -> Iterator[Callable[[Progress], None]]:
    """Show, while standard error is a terminal, recordings done, verdicts so far, and an estimate by size."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (
        TextColumn("auditing"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Bar(*columns, console=console, transient=True, disable=hidden or not console.is_terminal) as bar:
        task = bar.add_task("auditing", total=None, counts="")
        counts: dict[str, int] = {}

        def show(now: Progress) -> None:
            word = "failed" if now.last.outcome.error else now.last.verdict.value.replace("_", " ")
            counts[word] = counts.get(word, 0) + 1
            tally = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
            # A recording of no bytes counts as one, or nothing would ever be done of a fleet of empty files.
            bar.update(
                task, completed=now.done_size + now.done, total=now.total_size + now.total,
                counts=f"{now.done} of {now.total} recordings: {tally}",
            )  # fmt: skip

        yield show


def show_fleet(report: FleetReport, console: Console | None = None) -> None:
    """Print the verdict, a line a recording, a table of robots and stages, and what was found across recordings."""
    from rich.text import Text

    from og_ros.cli.terminal import Terminal

    console = console or Terminal(soft_wrap=True)
    data = report.as_json()
    verdict = report.verdict.value
    console.print(Text.assemble(f"Audit of {len(report.audited)} recordings: ", (_WORDS[verdict], _STYLES[verdict])))
    tally = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in data["verdicts"].items() if n)
    reused = sum(one.reused for one in report.audited)
    console.print(f"  {tally}" + (f" ({reused} from an earlier run)" if reused else ""))
    _show_recordings(data, console)
    _show_robots(data, console)
    _show_shared(data, console)
    _show_findings(report, console)
    if data["not_checked"]:
        console.print("\nNot checked:")
        for note in data["not_checked"]:
            console.print(Text(f"  - {note}", style="dim"))


def _show_recordings(data: dict[str, Any], console: Console) -> None:
    from rich.text import Text

    order = {"violated": 0, "not_checked": 1, "holds": 2}
    listed = sorted(data["recordings"], key=lambda one: order[one["verdict"]])
    console.print("\nRecordings:")
    for one in listed[:SHOWN_RECORDINGS]:
        verdict = one["verdict"]
        found = ", ".join(f"{kind} {count}" for kind, count in one.get("finding_counts", {}).items())
        what = (
            one["error"]
            or f"{one['attestations']} attestations, {one['linked']} of {one['decisions']} decisions traced"
        )
        line = Text.assemble(
            "  ", (f"{verdict.replace('_', ' '):<12}", _STYLES[verdict]), f"{one['recording']}: {what}",
            f"; {found}" if found else "",
        )  # fmt: skip
        console.print(line)
    if len(listed) > SHOWN_RECORDINGS:
        console.print(f"  and {len(listed) - SHOWN_RECORDINGS} more")


def _show_robots(data: dict[str, Any], console: Console) -> None:
    if not data["robots"]:
        return
    axes = ("model_integrity", "inference_authenticity", "data_provenance", "settlement")
    rows = [
        (
            robot, stage, str(entry["recordings"]), str(s["attestations"]),
            *(s["levels"].get(axis, "-").replace("_", " ") for axis in axes),
            f"{s['inference_ms']['median_of_medians']:.1f} ms", str(sum(s["findings"].values())),
        )
        for robot, entry in data["robots"].items()
        for stage, s in entry["stages"].items()
    ]  # fmt: skip
    heads = ("robot", "stage", "bags", "records", "model", "signature", "data", "log", "inference", "findings")
    console.print("\nRobots and stages, with the lowest levels:")
    console.print(format_table(heads, rows[:SHOWN_STAGES]), markup=False)
    if len(rows) > SHOWN_STAGES:
        console.print(f"and {len(rows) - SHOWN_STAGES} more; --json FILE has them all")
    for robot, entry in list(data["robots"].items())[:SHOWN_STAGES]:
        latency = entry["chain_latency_ms"]
        if latency:
            median, most = latency["median_of_medians"], latency["max"]
            console.print(
                f"  {robot}: sensor to command {median:.1f} ms in the median, {most:.1f} ms at most", markup=False
            )


def _show_shared(data: dict[str, Any], console: Console) -> None:
    shared = [(digest, m) for digest, m in data["models"].items() if len(m["robots"]) > 1]
    for digest, model in shared:
        names, robots = ", ".join(model["names"]), ", ".join(model["robots"])
        console.print(f"  model {names} ({digest[:16]}) runs on {robots}", markup=False)
    for overlap in data["overlaps"]:
        first, second = overlap["recordings"]
        console.print(
            f"  {first} and {second} both have {overlap['shared']} records of stage {overlap['stage']} "
            f"of {overlap['robot']}: they count twice above",
            markup=False,
        )


def _show_findings(report: FleetReport, console: Console) -> None:
    from rich.text import Text

    if not report.findings:
        console.print("\nNo findings across recordings.")
        return
    console.print("\nFindings across recordings:")
    for found in report.findings[:SHOWN_FINDINGS]:
        finding = found.finding
        console.print(Text(f"  {finding.severity.name.lower():<9} {finding.kind}: {finding.message}"))
        console.print(Text(f"            in {', '.join(found.recordings)}", style="dim"))
    if len(report.findings) > SHOWN_FINDINGS:
        console.print(f"  and {len(report.findings) - SHOWN_FINDINGS} more")
