"""Names and texts in a registry: plain ASCII names, so that no name can be made to look like another."""

from __future__ import annotations

import re
from typing import Final

from og_ros.errors import RegistryError

MAX_NAME: Final = 128
MAX_VERSION: Final = 64
MAX_TEXT: Final = 1024
_NAME: Final = re.compile(r"[A-Za-z0-9._/+-]+", re.ASCII)


def check_name(what: str, value: str, limit: int = MAX_NAME) -> str:
    """Return a name if it has 1 to `limit` characters of A-Z a-z 0-9 . _ / + - and no other; raises RegistryError.

    A Cyrillic "а" prints like a Latin "a"; a name with one would pass a reader's eye as the name it imitates.
    """
    if not value:
        raise RegistryError(f"{what} is empty")
    if len(value) > limit:
        raise RegistryError(f"{what} is {len(value)} characters long; {limit} are allowed")
    if not _NAME.fullmatch(value):
        wrong = next(character for character in value if not _NAME.fullmatch(character))
        raise RegistryError(
            f"{what} {value!a} has the character {wrong!a}; a name has only A-Z a-z 0-9 . _ / + - , "
            "so that it cannot be made to look like another"
        )
    return value


def check_text(what: str, value: str, limit: int = MAX_TEXT) -> str:
    """Return a free text if it is printable and has at most `limit` characters; raises RegistryError."""
    if len(value) > limit:
        raise RegistryError(f"{what} is {len(value)} characters long; {limit} are allowed")
    if not value.isprintable():
        raise RegistryError(f"{what} has a character that cannot be printed: {value[:80]!a}")
    return value


def skeleton(name: str) -> str:
    """Return what two names must not share: the name without the difference of upper and lower case."""
    return name.lower()
