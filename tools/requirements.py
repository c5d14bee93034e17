"""Prints what og_ros and some extras require, for pip install -r: requirements.py ros,dev."""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib

project = tomllib.loads(Path(__file__).resolve().parent.parent.joinpath("pyproject.toml").read_text())["project"]
requirements = list(project["dependencies"])
for extra in sys.argv[1].split(","):
    requirements += project["optional-dependencies"][extra]
print("\n".join(requirements))
