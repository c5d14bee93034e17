"""The site is built without a warning, shows every page, and every link inside of it leads somewhere."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from doc_pages import ROOT, pages

DOCS = ROOT / "docs"
pytestmark = pytest.mark.timeout(600)  # fourteen seconds of work, on a machine that may be very busy


@dataclass
class Page(HTMLParser):
    """A built page: the targets of its links and images, its anchors, and its text."""

    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    text: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and ((tag, name) == ("a", "href") or (tag, name) == ("img", "src")):
                self.links.append(value)
            if value and name == "id":
                self.anchors.add(value)

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @classmethod
    def read(cls, file: Path) -> Page:
        page = cls()
        page.feed(file.read_text())
        return page


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build the site as `make docs` does."""
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    return subprocess.run([*command, str(source), str(site)], capture_output=True, text=True, timeout=560, cwd=ROOT)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    for name in ("sphinx", "myst_parser", "furo"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed (the extra `docs`, from Python 3.11)")
    directory = tmp_path_factory.mktemp("site")
    ended = build(DOCS, directory)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return {file.resolve(): Page.read(file) for file in directory.rglob("*.html") if "_static" not in file.parts}


def root(site: dict[Path, Page]) -> Path:
    return min((file.parent for file in site), key=lambda folder: len(folder.parts))


def test_every_page_is_in_the_site(site: dict[Path, Page]) -> None:
    built = {file.relative_to(root(site)) for file in site}
    written = {page.relative_to(DOCS).with_suffix(".html") for page in pages() if page.is_relative_to(DOCS)}
    assert written - {Path("README.html")} <= built
    start = " ".join(site[root(site) / "index.html"].text)
    assert "Choose your way in" in start


def test_every_link_inside_the_site_leads_somewhere(site: dict[Path, Page]) -> None:
    checked = 0
    for file, page in site.items():
        if file.name == "search.html":
            continue
        for link in page.links:
            target = urlsplit(link)
            if target.scheme or target.netloc:
                assert target.scheme in ("https", "mailto", "http"), f"{file.name}: {link}"
                continue
            other = (file.parent / unquote(target.path)).resolve() if target.path else file
            assert other.exists(), f"{file.name}: {link}"
            if target.fragment and other in site:
                assert unquote(target.fragment) in site[other].anchors, f"{file.name}: {link}"
            checked += 1
    assert checked > 1000


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("attest", "og_ros.attest.verify"),
        ("audit", "og_ros.audit.run.audit_bag"),
        ("registry", "og_ros.registry.Registry"),
        ("nodes", "og_ros.nodes.attested.Attestor"),
        ("errors", "og_ros.errors.OgError"),
    ],
)
def test_the_python_reference_is_made_from_the_code(site: dict[Path, Page], page: str, name: str) -> None:
    assert name in site[root(site) / "reference" / "python" / f"{page}.html"].anchors


def test_a_link_to_nowhere_fails_the_build(tmp_path: Path) -> None:
    pytest.importorskip("myst_parser", reason="the PyPI package myst-parser is not installed")
    (tmp_path / "conf.py").write_text('extensions = ["myst_parser"]\nroot_doc = "index"\n')
    (tmp_path / "index.md").write_text("# Page\n\n[gone](gone.md)\n")
    assert build(tmp_path, tmp_path / "out").returncode != 0
