"""The page on cost and capacity is what its script makes of the measured figures; the plot is the same each time."""

from __future__ import annotations

import importlib
import json
import sys
from xml.etree import ElementTree

import pytest
from doc_pages import ROOT


def test_the_page_and_its_plot_are_up_to_date(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ROOT / "bench")
    monkeypatch.setattr(sys, "argv", ["capacity.py", "--check"])
    capacity = importlib.import_module("capacity")
    assert capacity.main() == 0, capsys.readouterr().out
    measured = json.loads(capacity.MEASURED.read_text())
    assert capacity.plot(measured) == capacity.PLOT.read_text()
    ElementTree.fromstring(capacity.PLOT.read_text())
    page = capacity.PAGE.read_text()
    loads = [measured["load_before"], measured["load_after"]]
    assert f"(load {min(loads):.0f} to {max(loads):.0f})" in page
