"""Fuzzes the parsers with atheris: coverage-guided, each harness in a process of its own, from seeds to crashes.

    python test/fuzz/run.py --seconds 60            every harness for a minute
    python test/fuzz/run.py mcap policy             these, until stopped

What it learns is kept in .cache/fuzz/NAME. An input that breaks a parser is written to test/fuzz/crashes/NAME, where
test_fuzz.py finds it from then on; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# What is traced: our code, and the pure Python below it that decides what it sees.
TRACED = ["og_ros", "yaml", "json"]
INPUT_S = 5
"""A harness that takes longer than this for one input, in seconds, hangs."""

MEMORY_MB = 2048
LONGEST = 16_384


def main() -> int:
    """Run the harnesses that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="harnesses; all by default")
    parser.add_argument("--seconds", type=float, default=0, help="for each harness; 0: until stopped")
    parser.add_argument("--runs", type=int, default=-1, help="inputs for each harness at most; -1: any number")
    parser.add_argument("--jobs", type=int, default=1, help="harnesses at a time")
    parser.add_argument("--corpus", type=Path, default=ROOT / ".cache" / "fuzz", help="where to keep what was learnt")
    parser.add_argument("--crashes", type=Path, default=HERE / "crashes", help="where to write what breaks a parser")
    args = parser.parse_args()
    sys.path[:0] = [str(HERE), str(ROOT / "test" / "support")]
    try:
        import atheris
    except ImportError:
        print("fuzzing needs atheris: make fuzz installs it", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=TRACED):
        import file_harnesses
        import harnesses
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="og_ros-fuzz-", dir=memory if memory.is_dir() else None) as scratch:
        tempfile.tempdir = scratch
        code = _run_all(args, harnesses, file_harnesses)
    for folder in args.crashes.glob("*/"):
        if not any(folder.iterdir()):
            folder.rmdir()
    return code


def _run_all(args: argparse.Namespace, harnesses: ModuleType, file_harnesses: ModuleType) -> int:
    known = {**harnesses.HARNESSES, **file_harnesses.FILE_HARNESSES}
    unknown = sorted(set(args.names) - known.keys())
    if unknown:
        print(f"there is no harness {unknown[0]}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    waiting = list(args.names or known)
    running: dict[int, tuple[str, float]] = {}
    broken = []
    while waiting or running:
        while waiting and len(running) < max(1, args.jobs):
            name = waiting.pop(0)
            # The code is traced and imported once; each harness goes on in a child of its own.
            child = os.fork()
            if child == 0:
                module = harnesses if name in harnesses.HARNESSES else file_harnesses
                _fuzz(name, lambda data, m=module, n=name: m.run(n, data), args)
            running[child] = (name, time.monotonic())
        child, status = os.wait()
        name, began = running.pop(child)
        code = os.waitstatus_to_exitcode(status)
        print(f"{name}: {'ok' if code == 0 else 'BROKEN'} after {time.monotonic() - began:.0f} s", flush=True)
        if code != 0:
            broken.append(name)
    if broken:
        print(f"broken: {', '.join(broken)}; the inputs are in {args.crashes}", file=sys.stderr)
    return 1 if broken else 0


def _fuzz(name: str, harness: object, args: argparse.Namespace) -> None:
    """Fuzz one harness; never returns."""
    import atheris

    corpus, crashes = args.corpus / name, args.crashes / name
    corpus.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(parents=True, exist_ok=True)
    options = [
        f"-artifact_prefix={crashes}/",
        f"-max_len={LONGEST}",
        f"-timeout={INPUT_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-runs={args.runs}",
        "-verbosity=0",
        "-print_final_stats=1",
        *([f"-max_total_time={max(1, int(args.seconds))}"] if args.seconds else []),
    ]
    folders = [str(folder) for folder in (corpus, HERE / "seeds" / name, crashes) if folder.is_dir()]
    log = os.open(corpus.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    atheris.Setup([name, *options, *folders], harness, internal_libfuzzer=True)
    atheris.Fuzz()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
