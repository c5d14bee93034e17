"""One browser for all tests of the report page, and the pages that they open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium, chromium, find_chromium
from report_runs import real_run, write_page

PROGRAM = find_chromium()


@pytest.fixture(scope="session")
def browser() -> Iterator[Chromium]:
    if PROGRAM is None:
        pytest.skip("there is no Chromium here; `make debian-deps` or `apt-get install chromium` installs it")
    with chromium(PROGRAM) as running:
        yield running


@pytest.fixture(scope="session")
def honest_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of an honest run."""
    with pytest.MonkeyPatch.context() as patch:
        run = real_run(patch)
    return write_page(run, tmp_path_factory.mktemp("honest"))


@pytest.fixture(scope="session")
def violated_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run with one forged record, one uncertified model, and one lost record, against a profile."""
    with pytest.MonkeyPatch.context() as patch:
        run = real_run(patch)
    run.forge(run.of_stage("planning")[5][0], duration_ns=1)
    index, attestation = run.of_stage("perception")[9]
    model = attestation.statement.model
    run.resign(index, model=type(model)(model.name, model.version, bytes(31) + b"\1"))
    del run.records[run.of_stage("control")[15][0]]
    return write_page(run, tmp_path_factory.mktemp("violated"), profile="eu-ai-act")
