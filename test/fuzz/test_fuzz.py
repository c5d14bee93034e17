"""Every seed and every input that once broke a parser, without atheris; and a little fuzzing, where it is installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import file_harnesses
import harnesses
import pytest

from og_ros.errors import OgError

HERE = Path(__file__).resolve().parent
HARNESSES = {**harnesses.HARNESSES, **file_harnesses.FILE_HARNESSES}
SLOW_S = 5.0
"""Time that no input of 100 kB may take, even on a busy machine; a parser that is not linear takes minutes."""

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not installed (it has no wheel for this Python)"
)
# What makes parsers slow: depth, length, and repetition, by format.
LONG = [
    *(b"\0", b"[", b"{", b"(", b"- ", b"a: ", b"9", b" ", b"\n", b"\n\n", b'"', b"&a ", b"*a ", b"? ", b"<<: ", b"=\n"),
    *(b"\x81", b"\x9f", b"\xa1\x00", b"\xff", b"\x05\x00\x00\x00\x00", b"1:", b"0x", b'{"a":', b"[[],", b"/*", b"+"),
    *(b'"\\u0000', b"- a\n", b"a\n", b"@a ", b"#", b"---\n", b"!!int ", b"std_msgs/Header ", b"-----BEGIN\n", b"="),
]  # fmt: skip
SLOW_YAML = ("policy", "policy_yaml", "pipeline", "profile", "envelope_yaml")  # PyYAML reads 1 MB in some seconds


def inputs(folder: str) -> list[object]:
    """Each input of a folder with its harness, by name."""
    return [
        pytest.param(path.parent.name, path, id=f"{path.parent.name}-{path.name}")
        for path in sorted((HERE / folder).glob("*/*"))
    ]


def run(name: str, data: bytes) -> None:
    began = time.monotonic()
    (harnesses if name in harnesses.HARNESSES else file_harnesses).run(name, data)
    assert time.monotonic() - began < SLOW_S


@pytest.mark.parametrize("name", HARNESSES)
def test_every_harness_has_a_seed_that_its_parser_reads(name: str) -> None:
    """Fuzzing that starts from nothing gets nowhere; a seed that is refused says that a format has changed."""
    read = 0
    for path in sorted((HERE / "seeds" / name).iterdir()):
        try:
            HARNESSES[name](path.read_bytes())
            read += 1
        except OgError:
            continue
    assert read > 0


@pytest.mark.parametrize(("name", "path"), inputs("seeds"))
def test_seed_and_what_is_next_to_it(name: str, path: Path) -> None:
    """The seed, cut at some places, and with some bits turned: a value or an OgError."""
    data = path.read_bytes()
    run(name, data)
    step = max(1, len(data) // 12)
    for at in range(0, len(data), step):
        run(name, data[:at])
        run(name, data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])


@pytest.mark.parametrize(("name", "path"), inputs("crashes"))
def test_what_once_broke_a_parser(name: str, path: Path) -> None:
    run(name, path.read_bytes())


@pytest.mark.parametrize("name", HARNESSES)
def test_long_inputs_take_no_longer_than_they_should(name: str) -> None:
    size = 20_000 if name in SLOW_YAML else 100_000
    for pattern in LONG:
        run(name, (pattern * (size // len(pattern) + 1))[:size])


@pytest.mark.parametrize("number", [b"1:", b"1:0", b"9", b"1_", b"1.0:", b"0x1", b"0b1"])
@pytest.mark.parametrize("name", ["policy", "policy_yaml", "pipeline", "profile", "metadata"])
def test_long_numbers_in_yaml(name: str, number: bytes) -> None:
    """A number to the base of sixty is read in time by the square of its length, if it is read."""
    for end in (b"1", b"1.5", b""):
        run(name, b"version: 1\nmax_loss: " + number * 60_000 + end + b"\n")


@needs_atheris
def test_a_little_fuzzing(tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "run.py"), "--seconds", "1", "--runs", "200", "--jobs", "2"]
    folders = ["--corpus", str(tmp_path / "corpus"), "--crashes", str(tmp_path / "crashes")]
    shown = subprocess.run([*command, *folders], capture_output=True, text=True, timeout=400)
    assert shown.returncode == 0, shown.stdout + shown.stderr[-2000:]
    assert shown.stdout.count(": ok after") == len(HARNESSES)
    # Something was learnt: the code was traced, and inputs beyond the seeds were kept.
    assert sum(1 for _ in tmp_path.glob("corpus/*/*")) > len(HARNESSES)


@needs_atheris
@pytest.mark.parametrize("bug", ["raise KeyError(data)", "while True: pass"])
def test_a_planted_bug_is_found(bug: str, tmp_path: Path) -> None:
    """An exception, and a hang: exit code 1, and the input is kept."""
    program = f"""
import sys
sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent / "support")!r}]
import harnesses, run
def planted(data):
    if data[:1] == b"x":
        {bug}
harnesses.HARNESSES["cbor"] = planted
run.INPUT_S = 1
sys.argv = ["run.py", "cbor", "--seconds", "60", "--corpus", {str(tmp_path / "corpus")!r},
    "--crashes", {str(tmp_path / "crashes")!r}]
sys.exit(run.main())
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert shown.returncode == 1, shown.stdout + shown.stderr[-2000:]
    assert "cbor: BROKEN" in shown.stdout
    kept = list((tmp_path / "crashes" / "cbor").iterdir())
    assert [path.read_bytes()[:1] for path in kept] == [b"x"]
