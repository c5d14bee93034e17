"""A span of time on the command line: --from and --to, in UTC or in seconds from the beginning of a recording."""

from __future__ import annotations

from typing import Any

from og_ros.errors import ConfigError


def add_span_arguments(parser: Any) -> None:
    """Add --from and --to; their values are `since` and `until`."""
    about = "seconds from the recording's beginning, or a time in UTC, as 2026-01-31T12:00:00Z"
    parser.add_argument("--from", dest="since", metavar="TIME", help=f"from when on: {about}")
    parser.add_argument("--to", dest="until", metavar="TIME", help="until when, in the same forms; that time excluded")


def read_time_argument(text: str | None, name: str, begin_ns: int | None) -> int | None:
    """Return a time in ns; None for one that is not given. Without `begin_ns` only times in UTC are taken.

    Raises ConfigError, naming the argument.
    """
    if text is None:
        return None
    from og_ros.errors import RegistryError
    from og_ros.registry.timestamp import read_time

    if begin_ns is not None and text.replace(".", "", 1).isdecimal() and text.isascii():
        return begin_ns + int(float(text[:18]) * 1e9)
    try:
        return read_time(text, name)
    except RegistryError as error:
        hint = " or a number of seconds" if begin_ns is not None else ""
        raise ConfigError(f"{error}{hint}") from error
