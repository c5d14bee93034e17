"""Counts what goes wrong in callbacks, and logs it so that a fault at 100 Hz does not flood the log."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any


class Faults:
    """A count of faults a kind. Logged are the first of a kind, the tenth, the hundredth, and so on."""

    def __init__(self, logger: Any) -> None:
        self.counts: Counter[str] = Counter()
        self._logger = logger
        self._lock = threading.Lock()

    def report(self, kind: str, error: Exception | str) -> None:
        """Count a fault of a kind, and log it when its turn has come: an exception as error, a text as warning.

        May be called from any thread.
        """
        with self._lock:
            self.counts[kind] += 1
            count = self.counts[kind]
        if str(count).rstrip("0") == "1":
            said = str(error)
            text = said if said.startswith(kind) else f"{kind}: {said}"
            text += f" ({count} times so far)" if count > 1 else ""
            if isinstance(error, Exception):
                self._logger.error(text)
            else:
                self._logger.warning(text)
