"""Every command of every page is run, in order, in an empty directory; what the page shows of its output must come."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
from doc_pages import ROOT, blocks, commands, pages, shows
from doc_runs import DEMO, NOT_RUN, STAND_INS, TIMEOUT_S, PageRun, Step

RUNNABLE = ("bash", "console")


def with_commands() -> list[Path]:
    return [page for page in pages() if any(block.language in RUNNABLE for block in blocks(page))]


@pytest.mark.parametrize("page", with_commands(), ids=lambda page: page.stem)
def test_every_command_works(
    page: Path, page_runs: dict[Path, Future[PageRun]], page_again: Callable[[Path], PageRun]
) -> None:
    run = page_runs[page].result(2 * TIMEOUT_S)
    if run.missing:
        pytest.skip(f"not here, and tests do not download: {run.missing}")
    assert run.steps
    try:
        for step in run.steps:
            check(step)
    except AssertionError as error:
        print(f"once more, since nodes of several pages ran side by side: {error}")
        for step in page_again(page).steps:
            check(step)


def check(step: Step) -> None:
    command = step.command
    said = f"{command.block.where}: {command.text}\nexit code {step.exit_code}\n{step.output}"
    assert step.exit_code == command.exit_code, said
    lines = step.output.splitlines()
    for expected in command.output:
        if expected.strip() not in ("", "..."):
            assert any(shows(expected, line) for line in lines), f"{said}\nthe page shows: {expected}"


def test_what_is_not_run_is_still_in_the_pages() -> None:
    runnable = [block for page in with_commands() for block in blocks(page) if block.language in RUNNABLE]
    typed = {command.text for block in runnable for command in commands(block)}
    assert {*NOT_RUN, *STAND_INS, DEMO} <= typed


def test_no_page_names_a_place_on_a_machine() -> None:
    for page in pages():
        for number, line in enumerate(page.read_text().splitlines(), 1):
            for place in ("/home/", "/root/", "/work/", "/tmp/", "/Users/"):
                assert place not in line, f"{page.relative_to(ROOT)}:{number}"


@pytest.mark.parametrize(
    ("expected", "actual", "stands_for"),
    [
        ("holds: ... leaves", "holds: 12 leaves, 3 checkpoints", True),
        ("sha256:...", "sha256:0f", True),
        ("... leaves, holds", "holds: 12 leaves", False),
        ("No findings.", "Findings:", False),
    ],
)
def test_what_a_shown_line_stands_for(expected: str, actual: str, stands_for: bool) -> None:
    assert shows(expected, actual) is stands_for
