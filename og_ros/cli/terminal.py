"""Standard output for people; a reader who stops reading changes no exit code."""

from __future__ import annotations

import os
import sys
from typing import Any

from rich.console import Console


class Terminal(Console):
    """rich's console, but for a broken pipe (`| head`): it falls silent instead of ending the process with code 1."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, **options})

    def on_broken_pipe(self) -> None:
        """Write to nowhere from now on: the exit code says what was found, not who read it."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
