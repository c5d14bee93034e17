"""One byte of the report page is changed: the page must name the piece that is broken, and show the rest."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from chromium import Chromium

from og_ros.attest import cose


def verification(browser: Chromium, page: Path) -> tuple[str, str]:
    """Open a page; return its state and the banner's text."""
    with browser.tab() as tab:
        tab.open(page)
        state = "document.documentElement.dataset.state"
        tab.wait(lambda: tab.run(state) in ("checked", "failed", None), "the page to check itself")
        return tab.run(state), tab.run("document.getElementById('verification').innerText")


def flip(text: str, start: int, end: int) -> str:
    """Change the character in the middle of a span into another one of base64."""
    at = (start + end) // 2
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


def piece(text: str, kind: str, name: str = "", number: int = 7) -> tuple[str, int, int]:
    """Return the name of an embedded piece, and where its base64 begins and ends."""
    found = list(re.finditer(f'<script type="text/plain" data-kind="{kind}" data-name="({name}[^"]*)">([^<]*)<', text))
    match = found[min(number, len(found) - 1)]
    return match[1], match.start(2), match.end(2)


PIECES = {
    "record": ("record", "", r"Record (perception|planning|control) #\d+ \({name}\)"),
    "message": ("message", "", r"Message on /[a-z_/]+ \({name}\)"),
    "proof": ("proof", "", r"Log proof of record [a-z]+ #\d+ \({name}\)"),
    "key": ("registry", "keys/", r"Registry file {name}"),
    "model": ("registry", "models/", r"Registry file {name}"),
    "root": ("registry", "roots/", r"(Registry file roots/|The registry does not hold: roots/).*"),
    "index": ("registry", "index", r"(Registry file index|The registry does not hold: index)\.dsse\.json"),
}


@pytest.mark.parametrize("case", PIECES)
def test_one_byte_of_a_piece(browser: Chromium, honest_page: Path, tmp_path: Path, case: str) -> None:
    kind, prefix, expected = PIECES[case]
    text = honest_page.read_text()
    name, start, end = piece(text, kind, prefix)
    page = tmp_path / "edited.html"
    page.write_text(flip(text, start, end))
    state, said = verification(browser, page)
    assert state == "failed"
    assert "1 piece of this page does not hold" in said
    short = name[:16] if re.fullmatch("[0-9a-f]{64}", name) else name
    assert re.search(expected.replace("{name}", re.escape(short)), said), said


def test_an_attacker_who_corrects_every_name(browser: Chromium, honest_page: Path, tmp_path: Path) -> None:
    """A statement is changed under its old signature, and every digest is put right: the signature tells."""
    text = honest_page.read_text()
    name, start, end = piece(text, "record")
    old = cose.decode(base64.b64decode(text[start:end]))
    new = cose.seal(dataclasses.replace(old.statement, duration_ns=1), old.signature)
    text = (text[:start] + base64.b64encode(new.cose).decode() + text[end:]).replace(name, new.digest.hex())
    text = with_figures_digest(text)
    page = tmp_path / "forged.html"
    page.write_text(text)
    state, said = verification(browser, page)
    assert state == "failed"
    assert "the signature does not match" in said
    assert f"({new.digest.hex()[:16]})" in said


def with_figures_digest(text: str) -> str:
    """Return a page with the digest that its figures now have."""
    figures = re.search(r'id="og-figures">([^<]*)<', text)
    assert figures is not None
    digest = sha256(figures[1].encode()).hexdigest()
    return re.sub(r'(id="figures-digest" class="hash">)[0-9a-f]+', rf"\g<1>{digest}", text)


def in_figures(text: str) -> str:
    return text.replace('"length_ms":1', '"length_ms":2')


def in_report(text: str) -> str:
    match = re.search(r'id="og-report">([^<]*)<', text)
    assert match is not None
    return flip(text, match.start(1), match.end(1))


def without_a_record(text: str) -> str:
    name, start, end = piece(text, "record")
    whole = f'<script type="text/plain" data-kind="record" data-name="{name}">{text[start:end]}</script>'
    return text.replace(whole, "")


def with_a_space(text: str) -> str:
    _, start, end = piece(text, "message")
    at = (start + end) // 2
    return text[:at] + "\n" + text[at:]


def with_broken_json(text: str) -> str:
    return text.replace('id="og-figures">{', 'id="og-figures">{{', 1)


def cut_short(text: str) -> str:
    return text[: text.index('<script type="text/plain" data-kind="message"')] + text[text.rindex("<script>") :]


DAMAGE: dict[str, tuple[Callable[[str], str], str]] = {
    "figures": (in_figures, "The auditor's figures were altered"),
    "report": (in_report, "The report (was altered|cannot be read)"),
    "a piece is gone": (without_a_record, r"Record [a-z]+ #\d+ \([0-9a-f]{16}\) is listed, and is not in this page"),
    "white space": (with_a_space, r"Message on [^ ]+ \([0-9a-f]{16}\): not base64"),
    "no JSON": (with_broken_json, "The page is damaged: the auditor's figures cannot be read as JSON"),
    "half of it is missing": (cut_short, "is listed, and is not in this page"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage(browser: Chromium, honest_page: Path, tmp_path: Path, case: str) -> None:
    damage, expected = DAMAGE[case]
    before = honest_page.read_text()
    after = damage(before)
    assert after != before
    page = tmp_path / "damaged.html"
    page.write_text(after)
    state, said = verification(browser, page)
    assert state == "failed"
    assert re.search(expected, said), said


def test_a_file_without_its_end(browser: Chromium, honest_page: Path, tmp_path: Path) -> None:
    page = tmp_path / "short.html"
    page.write_text(honest_page.read_text()[:-200])
    with browser.tab() as tab:
        tab.open(page)
        assert "Not verified by this browser." in tab.run("document.getElementById('verification').innerText")
        assert tab.run("document.querySelector('h1').innerText") == "The recording holds"


def test_an_altered_program_does_not_run(browser: Chromium, honest_page: Path, tmp_path: Path) -> None:
    text = honest_page.read_text()
    page = tmp_path / "program.html"
    page.write_text(text.replace("the signature does not match what it should cover", "", 1))
    with browser.tab() as tab:
        tab.open(page)
        assert tab.run("document.documentElement.dataset.state") is None
        said = tab.run("document.getElementById('verification').innerText")
        assert "Not verified by this browser." in said
        assert "the page was altered" in said
