"""The settler beside an auditor: the command line that a pipeline's section `settlement` asks for."""

from __future__ import annotations

import sys
from typing import Final

from og_ros.errors import ConfigError
from og_ros.nodes.bringup import AUDITOR, SETTLEMENT
from og_ros.stages.pipeline import Pipeline

SETTLER: Final = "settler"
RESTART_S: Final = 5.0
"""A settler that ended by itself is started again after so many seconds; its outbox goes on where it was."""
DRAIN_S: Final = 60.0
"""So long a settler that is to stop waits for the last checkpoint to be final."""


def settler_command(pipeline: Pipeline, *, after_writer: bool) -> list[str] | None:
    """Return the command that settles what the pipeline's auditor logs; None without a section `settlement`.

    `after_writer`: told to stop, it first waits for the auditor to end, whose last checkpoint is to settle too. Raises
    ConfigError, KeyFileError or SettlementError where the section is wrong, or a key or secret of it is missing.
    """
    if SETTLEMENT not in pipeline.sections:
        return None
    ledger = pipeline.sections.get(AUDITOR, {}).get("ledger")
    if not isinstance(ledger, str):
        raise ConfigError(f"{SETTLEMENT}: {AUDITOR}.ledger is missing: checkpoints of a log are what settles")
    from og_ros.settlement import config

    file = pipeline.path.resolve()
    directory = file.parent / ledger
    for backend in config.load(file).backends(directory):  # one clear line now, and no settler that ends at once
        backend.close()
    verb = ["settle", "run", str(directory), "--config", str(file), "--drain", f"{DRAIN_S:g}"]
    return [sys.executable, "-m", "og_ros.cli.main", *verb, *(["--after-writer"] if after_writer else [])]
