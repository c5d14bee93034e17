"""Where the files lie that og_ros installs beside its Python code: launch files, configuration, interfaces."""

from __future__ import annotations

import os
from pathlib import Path

from og_ros.errors import ConfigError

PACKAGE = "og_ros"


def share_directory() -> Path:
    """The folder that holds ``launch/``, ``config/``, ``msg/`` and ``package.xml``, however og_ros was installed.

    In a source checkout (``pip install --editable``, ``colcon build --symlink-install``) it is the checkout, so that an
    edit there is live; else it is ``share/og_ros`` of the prefix that this very code was installed in, and, for an
    installation that moved its code away from its prefix, of the first prefix in ``AMENT_PREFIX_PATH`` that has it.
    Raises ConfigError if there is none.
    """
    package = Path(__file__).resolve().parent
    if (package.parent / "package.xml").is_file() and (package.parent / "setup.py").is_file():
        return package.parent
    prefixes = [*package.parents, *map(Path, filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)))]
    for prefix in prefixes:
        share = prefix / "share" / PACKAGE
        if (share / "package.xml").is_file():
            return share
    raise ConfigError(f"no share/{PACKAGE} above {package} or in AMENT_PREFIX_PATH: install og_ros with pip or colcon")
