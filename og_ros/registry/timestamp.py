"""Times in a registry's files: RFC 3339 in UTC with nine digits, which people can read and no JSON parser rounds."""

from __future__ import annotations

import datetime
import re
from typing import Final

from og_ros.errors import RegistryError

NS_PER_SECOND: Final = 10**9
MAX_TIME_NS: Final = 253_402_300_799 * NS_PER_SECOND + 999_999_999  # the end of the year 9999
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_FORM: Final = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})\.(\d{9})Z", re.ASCII)
_TYPED: Final = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?Z", re.ASCII)


def format_time(nanoseconds: int) -> str:
    """Return a time in ns since 1970 (UTC) as text; raises RegistryError before 1970 and after 9999."""
    if not 0 <= nanoseconds <= MAX_TIME_NS:
        raise RegistryError(f"the time {nanoseconds} ns is not between the years 1970 and 9999")
    seconds, rest = divmod(nanoseconds, NS_PER_SECOND)
    return f"{_EPOCH + datetime.timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def show_time(nanoseconds: int) -> str:
    """Return a time as a sentence shows it: `format_time` without zeros at the end of the second."""
    text = format_time(nanoseconds).rstrip("Z").rstrip("0").rstrip(".")
    return f"{text}Z"


def parse_time(text: str, what: str) -> int:
    """Read a time in ns since 1970; raises RegistryError, naming `what`, for anything but `format_time`'s form."""
    match = _FORM.fullmatch(text)
    if not match:
        raise RegistryError(f"{what} {text[:40]!a} is no time like 2026-01-31T12:00:00.000000000Z")
    return _nanoseconds(match[1], match[2], text, what)


def read_time(text: str, what: str) -> int:
    """Read a time that a person typed, in UTC, with any number of digits of a second; raises RegistryError."""
    match = _TYPED.fullmatch(text)
    if not match:
        raise RegistryError(f"{what} {text[:40]!a} is no time in UTC like 2026-01-31T12:00:00Z")
    return _nanoseconds(match[1], (match[2] or "").ljust(9, "0"), text, what)


def _nanoseconds(seconds: str, fraction: str, text: str, what: str) -> int:
    try:
        moment = datetime.datetime.strptime(seconds + "+0000", "%Y-%m-%dT%H:%M:%S%z")
    except ValueError as error:
        raise RegistryError(f"{what} {text} is no time of the calendar") from error
    difference = moment - _EPOCH
    nanoseconds = (difference.days * 86_400 + difference.seconds) * NS_PER_SECOND + int(fraction)
    if nanoseconds < 0:
        raise RegistryError(f"{what} {text} is before 1970")
    return nanoseconds
