"""Puts the live page together: one HTML file with its style and program inside, allowed by their hashes."""

from __future__ import annotations

import html
from typing import Final

import og_ros
from og_ros.audit.reports.page_source import PAGE, content_hash, fill, link

_LIVE: Final = PAGE / "live"


def live_page() -> tuple[bytes, str]:
    """Return the page and its Content-Security-Policy: nothing from elsewhere, and events from its own origin only."""
    script = link(_LIVE / "main.js")
    style = "".join(path.read_text(encoding="utf-8") for path in (PAGE / "style.css", _LIVE / "live.css"))
    policy = (
        f"default-src 'none'; script-src {content_hash(script)}; style-src {content_hash(style)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    slots = {"style": style, "script": script, "software": html.escape(f"og_ros {og_ros.__version__}")}
    return fill((_LIVE / "template.html").read_text(encoding="utf-8"), slots).encode(), policy
