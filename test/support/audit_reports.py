"""Audit reports to test with: of an honest run, without a registry, of an empty recording, and with any finding."""

from __future__ import annotations

import copy
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from scenario import Run, honest_run

from og_ros.attest import ATTESTATION_TYPE
from og_ros.audit.findings import KINDS, Finding, Severity
from og_ros.audit.run import audit_bag
from og_ros.registry import Registry


def audited(run: Run, *, registry: bool = True, pinned: bool = True, ledger: bool = True) -> dict[str, Any]:
    """Write a run, audit it from disk, and return the report."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        run.write_registry(directory / "registry")
        run.write_ledger(directory / "ledger")
        run.write_bag(directory / "bag")
        root = Registry.open(directory / "registry").fingerprint
        opened = Registry.open(directory / "registry", pinned_root=root if pinned else None) if registry else None
        return audit_bag(directory / "bag", opened, directory / "ledger" if ledger else None).as_json()


@cache
def _reports() -> dict[str, dict[str, Any]]:
    empty = honest_run(4)
    empty.records = [record for record in empty.records if record.type != ATTESTATION_TYPE]
    forged = honest_run(6)
    forged.forge(forged.of_stage("control")[3][0], duration_ns=1)
    return {
        "holds": audited(honest_run(6)),
        "unpinned": audited(honest_run(6), pinned=False),
        "no_log": audited(honest_run(6), ledger=False),
        "not_checked": audited(honest_run(6), registry=False),
        "empty": audited(empty),
        "violated": audited(forged),
    }


def report(name: str) -> dict[str, Any]:
    """Return a report of a real audit, to be changed at will: holds, unpinned, no_log, not_checked, empty, violated."""
    return copy.deepcopy(_reports()[name])


NAMES = ("holds", "unpinned", "no_log", "not_checked", "empty", "violated")


def with_finding(kind: str, message: str = "found", **fields: Any) -> dict[str, Any]:
    """Return the report of the honest run with one more finding, and the verdict that follows."""
    changed = report("holds")
    finding = Finding(
        kind, message, **{"topic": "/wheel_command/attestation", "sequence": 3, "stage": "control", **fields}
    )
    changed["findings"].append(finding.as_json())
    changed["finding_counts"][kind] = 1
    if KINDS[kind].severity is Severity.VIOLATION:
        changed.update(verdict="violated", holds=False)
    return changed
