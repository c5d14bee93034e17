"""Runs the commands of a documentation page, in order, as one shell session in a directory of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from doc_pages import ROOT, Block, Command, blocks, commands

TIMEOUT_S = 120

# Commands that are not run, each with the reason.
NOT_RUN = {
    "make demo    # sets everything up, drives a simulated robot for 20 seconds, then audits its recording": (
        "it is `make setup`, which the tests themselves need, and then the `og-ros demo` that is run here"
    ),
    "make test    # sets everything up, then runs every test": "this test is part of it",
}
# The command that the shared demo answers.
DEMO = "og-ros demo"
# Commands that need what may not be here (the network, a package), and the files that then stand in for what they make.
# A recording that is not here either skips the page.
DATA = ROOT.parent / "shared" / "data"
SIGNED = ROOT / "test" / "registry" / "data"
STAND_INS = {
    "git clone https://github.com/Surya-Sriramoju/gazebo_walker": {
        "gazebo_walker/results/rosbag": DATA / "bags" / "gazebo_walker",
    },
    "model_signing sign key detector.onnx --private_key vendor.pem --signature detector.sig": {
        "detector.onnx": SIGNED / "model.bin",
        "detector.sig": SIGNED / "model.sig",
        "vendor.pem.pub": SIGNED / "vendor.pub",
    },
}
# Programs whose absence a stand-in makes up for. git is there, but tests do not download.
OPTIONAL = {"model_signing"}
# Programs that a page cannot do without, and that not every machine has.
NEEDED = {"g++", "openssl"}


@dataclass(frozen=True)
class Demo:
    """The directory that the shared demo made, what it printed, and its exit code."""

    directory: Path
    output: str
    exit_code: int


@dataclass
class Step:
    """A command that was run, with its exit code (-1: it was not reached) and output."""

    command: Command
    exit_code: int = -1
    output: str = ""


@dataclass
class PageRun:
    """A page's commands as a shell script; `missing` names what it needs and is not here."""

    page: Path
    directory: Path
    environment: dict[str, str]
    demo: Demo | None
    steps: list[Step] = field(default_factory=list)
    missing: str = ""
    _script: list[str] = field(default_factory=lambda: ["set -u"])

    def run(self, since: int = 0) -> PageRun:
        """Run the page's blocks from a line on; its steps then have their outcomes."""
        if self.demo is not None and self.demo.directory.is_dir():
            shutil.copytree(self.demo.directory, self.directory / "demo_out")
        for block in blocks(self.page):
            if block.line < since:
                continue
            if block.language == "python":
                self._add_python(block)
            elif block.mark is not None and block.mark[0] == "file":
                self._add_file(block.mark[1], block.text)
            elif block.language in ("bash", "console"):
                for command in commands(block):
                    self._add(command)
        if not self.missing:
            self._execute()
        return self

    def _add(self, command: Command) -> None:
        text = command.text
        if text in NOT_RUN:
            return
        if text == DEMO and self.demo is not None:
            self.steps.append(Step(command, self.demo.exit_code, self.demo.output))
            return
        program = text.split()[0]
        if text in STAND_INS and not (program in OPTIONAL and shutil.which(program, path=self.environment["PATH"])):
            for target, source in STAND_INS[text].items():
                if not source.exists():
                    self.missing = f"{source.name}, which stands in for `{text}`"
                self._script.append(f"mkdir -p '{Path(target).parent}' && cp -r '{source}' '{target}'")
            return
        if program in NEEDED and not shutil.which(program, path=self.environment["PATH"]):
            self.missing = f"the program {program}"
        if text.startswith(f"{DEMO} --") and "--seconds" not in text and "--attack list" not in text:
            text += " --seconds 5"  # the page's reader sees it drive for longer
        self._add_step(command, text)

    def _add_step(self, command: Command, text: str) -> None:
        number = len(self.steps)
        self._script.append(f"{{ {text}\n}} >.step-{number}.out 2>&1; echo $? >.step-{number}.code")
        self.steps.append(Step(command))

    def _add_python(self, block: Block) -> None:
        kind, value = block.mark or ("run", "")
        if kind == "compile only":
            compile(block.text, block.where, "exec")
            return
        name = value if kind == "file" else f".block-{block.line}.py"
        self._add_file(name, block.text)
        if kind == "run":
            self._add_step(Command(block, f"python {name}"), f"python {name}")

    def _add_file(self, name: str, text: str) -> None:
        """Let the script write a file when its turn comes, as a reader would."""
        source = self.directory / f".file-{len(self._script)}"
        source.write_text(text)
        self._script.append(f"cp '{source.name}' '{name}'")

    def _execute(self) -> None:
        process = subprocess.Popen(
            ["bash", "-c", "\n".join(self._script)], cwd=self.directory, env=self.environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(TIMEOUT_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # whatever the page left running in the background
        process.wait()
        for number, step in enumerate(self.steps):
            code, output = self.directory / f".step-{number}.code", self.directory / f".step-{number}.out"
            if output.is_file():
                step.output = output.read_text(errors="replace")
                step.exit_code = int(code.read_text()) if code.is_file() else -1
