"""How verbs write: JSON, progress bars, and exit codes by verdict."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from og_ros.errors import ConfigError

EXIT_CODES: Final = {"holds": 0, "violated": 1, "not_checked": 2}


def write_json(data: Any, target: str) -> None:
    """Write data as JSON to a file, or to standard output for "-"; raises ConfigError when that fails."""
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}") from error


@contextmanager
def progress_bar(label: str, hidden: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error while it is a terminal; yields its `update(done, total)`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=hidden or not console.is_terminal) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
