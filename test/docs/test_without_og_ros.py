"""The guide "Verify a pack without og_ros", run as it stands where no og_ros is: on honest and on forged packs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from doc_pages import ROOT, blocks, commands, shows
from doc_runs import PageRun
from packs import make_case, put_together, seal_again, take_apart
from scenario import honest_run

from og_ros.attest import SoftwareSigner, keys
from og_ros.audit.pack import layout
from og_ros.registry import Registry

PAGE = ROOT / "docs" / "guides" / "verify-without-og_ros.md"
TOOLS = ("securesystemslib", "cryptography", "pycose", "pymerkle", "rosbags")
"""What the page tells its reader to install, with `cryptography` for the extra of the first."""
TICKS = 8


def needed(names: tuple[str, ...]) -> dict[str, Distribution]:
    """Return installed distributions with all that they need; skips where one is not installed."""
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            if name in names:
                pytest.skip(f"the PyPI package {name} is not installed")
            continue  # of another platform or Python
        for requirement in found[name].requires or ():
            if "extra ==" not in requirement:
                waiting.append(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])
    return found


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Make a Python environment with the public tools alone: links to where they are installed here."""
    if shutil.which("openssl") is None:
        pytest.skip("the program openssl is not installed")
    directory = tmp_path_factory.mktemp("tools")
    venv.create(directory, with_pip=False, symlinks=True)
    site = next((directory / "lib").glob("python*")) / "site-packages"
    for found in needed(TOOLS).values():
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            source = Path(str(found.locate_file(top)))
            if source.exists() and not (site / top).exists():
                (site / top).symlink_to(source)
    kept = ("HOME", "LANG", "TMPDIR")
    return {**{name: os.environ[name] for name in kept if name in os.environ}, "PATH": f"{directory}/bin:/usr/bin:/bin"}


class Given:
    """What the reader of the page holds: the pack, the auditor's key and the root's fingerprint."""

    def __init__(self, directory: Path) -> None:
        self.auditor = SoftwareSigner(keys.generate())
        self.pack = make_case(honest_run(TICKS), directory, self.auditor)
        self.root = Registry.open(directory / "registry").fingerprint

    def lay_out(self, directory: Path, pack: Path | None = None, root: str | None = None) -> Path:
        """Put the three files into a directory."""
        directory.mkdir()
        shutil.copy(pack or self.pack, directory / "case.ogpack")
        (directory / "auditor.pub").write_text(keys.public_pem(self.auditor.public_key))
        (directory / "root.txt").write_text(f"{root or self.root}\n")
        return directory


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return Given(tmp_path_factory.mktemp("given"))


def read_page(directory: Path, environment: dict[str, str]) -> PageRun:
    """Run the page from step 1 on."""
    lines = PAGE.read_text().splitlines()
    start = next(number for number, line in enumerate(lines, 1) if line.startswith("## 1."))
    return PageRun(PAGE, directory, environment, None).run(start)


def failed_steps(run: PageRun) -> set[str]:
    """Return the numbers of the page's steps in which a command failed or showed another output than the page."""
    lines = PAGE.read_text().splitlines()
    failed = set()
    for step in run.steps:
        above = lines[: step.command.block.line]
        heading = next(line for line in reversed(above) if line.startswith("## "))
        shown = [line for line in step.command.output if line.strip() not in ("", "...")]
        output = step.output.splitlines()
        if step.exit_code or not all(any(shows(line, actual) for actual in output) for line in shown):
            failed.add(heading.split(".")[0].removeprefix("## "))
    return failed


def test_the_environment_has_no_og_ros(environment: dict[str, str]) -> None:
    python = shutil.which("python", path=environment["PATH"])
    assert python is not None
    assert python != sys.executable
    ended = subprocess.run([python, "-c", "import og_ros"], env=environment, capture_output=True, text=True, cwd="/")
    assert "No module named 'og_ros'" in ended.stderr
    assert shutil.which("og-ros", path=environment["PATH"]) is None


def test_an_honest_pack(given: Given, environment: dict[str, str], tmp_path: Path) -> None:
    run = read_page(given.lay_out(tmp_path / "here"), environment)
    assert failed_steps(run) == set(), "\n".join(f"{s.command.text}\n{s.output}" for s in run.steps if s.exit_code)
    said = "".join(step.output for step in run.steps)
    assert f"{3 * TICKS} attestations hold, 0 are missing between them" in said
    assert f"{6 * TICKS} of {6 * TICKS} messages that are named are in the recording" in said
    assert f"{3 * TICKS} of {3 * TICKS} attestations are in the log test/log" in said
    run_spicy(tmp_path / "here")


def run_spicy(directory: Path) -> None:
    """Run the page's optional command with the tlog verifier of the Debian package torchwood, where it is installed."""
    if shutil.which("spicy-torchwood") is None:
        return
    (line,) = (
        line[2:]
        for block in blocks(PAGE)
        if block.language == "text"
        for line in block.text.splitlines()
        if line.startswith("$ spicy-torchwood")
    )
    assert subprocess.run(["bash", "-c", line], cwd=directory, check=False).returncode == 0
    record = directory / "decision.cose"
    record.write_bytes(record.read_bytes()[:-1] + b"\0")
    assert subprocess.run(["bash", "-c", line], cwd=directory, check=False).returncode != 0


def edit_attestation(files: dict[str, bytes]) -> None:
    records = bytearray(files[layout.ATTESTATIONS])
    at = records.rindex(b"perception_model")
    records[at : at + 4] = b"PERC"
    files[layout.ATTESTATIONS] = bytes(records)


def edit_message(files: dict[str, bytes]) -> None:
    """Change the last command, found by the topic's name, which the test's messages end with."""
    bag = bytearray(files["recording/bag/bag.mcap"])
    at = [*re.finditer(rb"\x00\x01\x00\x00.{8}/wheel_command", bag, re.DOTALL)][-1].start() + 4
    bag[at] ^= 1
    files["recording/bag/bag.mcap"] = bytes(bag)


def edit_log(files: dict[str, bytes]) -> None:
    bundle = next(name for name in files if name.startswith("log/tile/entries/"))
    files[bundle] = files[bundle][:-1] + bytes([files[bundle][-1] ^ 1])


@pytest.mark.parametrize(
    ("edit", "failing"), [(edit_attestation, {"4", "5"}), (edit_message, {"6"}), (edit_log, {"7"})]
)
def test_a_forgery_that_the_packer_signed(
    given: Given,
    environment: dict[str, str],
    tmp_path: Path,
    edit: Callable[[dict[str, bytes]], None],
    failing: set[str],
) -> None:
    """An auditor who is in it lists and signs the forged files: the keys that are not the auditor's tell."""
    files = take_apart(given.pack)
    edit(files)
    pack = seal_again(files, tmp_path / "forged.ogpack", given.auditor)
    assert failed_steps(read_page(given.lay_out(tmp_path / "here", pack), environment)) == failing


def test_a_stranger_who_lists_and_signs_all_files_anew(
    given: Given, environment: dict[str, str], tmp_path: Path
) -> None:
    files = take_apart(given.pack)
    pack = seal_again(files, tmp_path / "forged.ogpack", SoftwareSigner(keys.generate()))
    assert failed_steps(read_page(given.lay_out(tmp_path / "here", pack), environment)) == {"2"}


def test_a_file_that_was_edited_or_added(given: Given, environment: dict[str, str], tmp_path: Path) -> None:
    files = take_apart(given.pack)
    for name, changed in (("edited", {layout.REPORT: b"{}"}), ("added", {"enclosed/letter.txt": b"x"})):
        pack = put_together({**files, **changed}, tmp_path / f"{name}.ogpack")
        assert "1" in failed_steps(read_page(given.lay_out(tmp_path / name, pack), environment)), name


def test_a_registry_of_another_root(given: Given, environment: dict[str, str], tmp_path: Path) -> None:
    run = read_page(given.lay_out(tmp_path / "here", root=f"sha256:{'0' * 64}"), environment)
    (step,) = (step for step in run.steps if "this is not the owner's registry" in step.output)
    assert step.exit_code == 1
    assert {"3"} <= failed_steps(run) <= {"3", "4", "5", "7"}  # what needs its certificates


def test_the_page_says_what_to_install() -> None:
    (line,) = (
        line for block in blocks(PAGE) if block.language == "text" for line in block.text.splitlines() if "pip" in line
    )
    assert all(name in line for name in TOOLS if name != "cryptography")
    imported = {
        match[1]
        for block in blocks(PAGE)
        if block.language == "python"
        for match in re.finditer(r"^(?:from|import) (\w+)", block.text, re.MULTILINE)
    }
    assert "og_ros" not in imported
    own = {"securesystemslib", "pycose", "pymerkle", "rosbags", "cryptography", "cbor2"}
    assert imported - own <= set(sys.stdlib_module_names)
    used = {
        command.text.split()[0] for block in blocks(PAGE) if block.language == "console" for command in commands(block)
    }
    assert used <= {"og-ros", "cp", "grep", "python", "(cd", "diff", "openssl"}
