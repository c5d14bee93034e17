"""Writes requirements/constraints.txt: the exact resolution of og_ros and its extras for each Python that is named.

python tools/lock_requirements.py python3.10 python3.11 python3.12 python3.13
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "constraints.txt"
EXTRAS = (
    "robot", "aggregator", "ros", "ros-build", "blake3", "evm", "http", "x402", "model-signing", "training", "fleet",
    "docs", "dev",
)  # fmt: skip
HEADER = "# The versions that `make setup` installs. Written by tools/lock_requirements.py; do not edit.\n"


def resolve(python: str, requirements: list[str]) -> tuple[str, dict[str, str]]:
    """The Python version of an interpreter, and the pinned versions that pip resolves for it in a fresh environment."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        report = Path(folder, "report.json")
        pip = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "--upgrade"]
        subprocess.run([*pip, "pip"], check=True)
        pip += ["--dry-run", "--ignore-installed", "--report", str(report)]
        subprocess.run([*pip, *requirements], check=True)
        found = json.loads(report.read_text())
    pins = {}
    for item in found["install"]:
        metadata = item["metadata"]
        pins[re.sub(r"[-_.]+", "-", metadata["name"]).lower()] = metadata["version"]
    return found["environment"]["python_version"], pins


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = list(project["dependencies"])
    for extra in EXTRAS:
        requirements += project["optional-dependencies"][extra]
    locks = dict(resolve(python, requirements) for python in sys.argv[1:])
    lines = []
    for name in sorted({name for pins in locks.values() for name in pins}):
        versions = {python: pins.get(name) for python, pins in locks.items()}
        if len(set(versions.values())) == 1:
            lines.append(f"{name}=={next(iter(versions.values()))}")
            continue
        for version in sorted({v for v in versions.values() if v}):
            users = [python for python, used in versions.items() if used == version]
            lines.append(f"{name}=={version} ; " + " or ".join(f'python_version == "{user}"' for user in users))
    LOCK.parent.mkdir(exist_ok=True)
    LOCK.write_text(HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
