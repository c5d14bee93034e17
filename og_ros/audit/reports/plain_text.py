"""Makes text that a robot wrote safe to show: what does not print becomes a visible escape."""

from __future__ import annotations

import unicodedata

# Control, format (directions, zero-width), surrogate, private use, unassigned; line and paragraph separators.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def visible(text: str) -> str:
    r"""Return a text on one line whose every character prints; the others are written as \x0a, \u202e, \U000e0001.

    XML 1.0 (section 2.2) forbids most control characters even as references, and a character that turns the direction
    of writing makes a name look like another (Unicode TR 36).
    """
    if text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _HIDDEN else c for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
