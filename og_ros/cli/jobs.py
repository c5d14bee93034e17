"""The number of processes, on the command line."""

from __future__ import annotations

import argparse
import os

from og_ros.errors import ConfigError


def add_jobs_argument(parser: argparse.ArgumentParser) -> None:
    """Add the number of processes that audit."""
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes that read and verify (default 1; 0: one a core)"
    )


def processes(jobs: int) -> int:
    """Return the number of processes that --jobs asks for; raises ConfigError."""
    if jobs < 0:
        raise ConfigError(f"--jobs is {jobs}; it must be a number of processes, or 0 for one a core")
    return jobs or os.cpu_count() or 1
