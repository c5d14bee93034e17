"""Which runtimes a policy allows: by name, range of versions and execution provider."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from og_ros.attest import Runtime
from og_ros.errors import PolicyError

_Release = tuple[int, ...]
_COMPARE: Final[dict[str, Callable[[_Release, _Release], bool]]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_CONSTRAINT: Final = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*(\d{1,9}(?:\.\d{1,9}){0,7})\s*", re.ASCII)
# A local version (1.20.0+cu118) is the same release; a pre-release (1.20.0rc1) comes before it and is in no range.
_VERSION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9}){0,7})(?:\+[A-Za-z0-9.]+)?", re.ASCII)


@dataclass(frozen=True)
class RuntimeRule:
    """One allowed runtime; `versions` are constraints that all must hold, an empty `provider` allows any."""

    name: str
    versions: tuple[tuple[str, _Release], ...] = ()
    provider: str = ""

    def allows(self, runtime: Runtime) -> bool:
        """Return whether a runtime is one of these; a version that is no plain release is in no range."""
        if runtime.name != self.name or (self.provider and runtime.provider != self.provider):
            return False
        if not self.versions:
            return True
        found = _VERSION.fullmatch(runtime.version)
        if found is None:
            return False
        release = _release(found[1])
        return all(_COMPARE[sign](release, bound) for sign, bound in self.versions)

    def __str__(self) -> str:
        """Return the rule as a sentence shows it."""
        versions = ",".join(f"{sign}{'.'.join(map(str, bound))}" for sign, bound in self.versions)
        return " ".join(filter(None, (self.name, versions, self.provider)))


def parse_versions(text: str) -> tuple[tuple[str, _Release], ...]:
    """Read constraints such as ">=1.20,<2"; raises PolicyError."""
    found = []
    for part in text.split(","):
        match = _CONSTRAINT.fullmatch(part)
        if match is None:
            raise PolicyError('must be a range of versions such as ">=1.20,<2"')
        found.append((match[1], _release(match[2])))
    return tuple(found)


def _release(text: str) -> _Release:
    """Return a release without zeros at its end, so that 1.20 and 1.20.0 are the same."""
    numbers = [int(part) for part in text.split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
