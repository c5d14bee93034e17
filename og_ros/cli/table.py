"""Plain text tables for terminals and pipes."""

from __future__ import annotations

from collections.abc import Sequence


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows under a header in left-aligned columns, two spaces apart, with no space at the ends of lines."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def short_time(text: str | None) -> str:
    """Return an RFC 3339 time without its fraction of a second, and a dash for none."""
    return f"{text[:19]}Z" if text else "-"
