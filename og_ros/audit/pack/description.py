"""pack.json: when a pack was made, by which software and key, of what, and with which settings it was audited."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from og_ros import __version__
from og_ros.audit.pack import layout
from og_ros.errors import PackError, RegistryError
from og_ros.registry import strict_json
from og_ros.registry.timestamp import format_time, parse_time

MAX_DESCRIPTION: Final = 2**20
_LIBRARIES: Final = ("cbor2", "cryptography", "numpy", "rosbags")
COMPLETE: Final = "complete"
REDUCED: Final = "attestations only"


@dataclass(frozen=True)
class Description:
    """What verifying needs of pack.json; nothing in it is believed that a check could decide."""

    created_ns: int
    og_ros: str
    recording: str
    data: str
    root: str | None
    signer: str | None
    whole: dict[str, Any]


def describe(
    *, created_ns: int, recording: str, reduced: bool, root: str | None, signer: str | None,
    contents: dict[str, int], report: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Return the tree of pack.json."""
    return {
        "format": layout.FORMAT,
        "version": layout.VERSION,
        "created_at": format_time(created_ns),
        "software": {"og_ros": __version__, "python": platform.python_version(), **_versions()},
        "signer": signer,
        "recording": {"name": recording, "data": REDUCED if reduced else COMPLETE},
        "audit": {"root": root},
        "contents": contents,
        "report": {"verdict": report["verdict"]},
        "formats": layout.FORMATS,
    }


def encode(tree: dict[str, Any]) -> bytes:
    """Return a JSON file for people and programs."""
    return json.dumps(tree, indent=2, ensure_ascii=False).encode() + b"\n"


def parse(data: bytes) -> Description:
    """Read pack.json; raises PackError for another format or version, or a field that is missing."""
    what = layout.DESCRIPTION
    try:
        tree = strict_json.loads(data, what, MAX_DESCRIPTION)
        kinds: dict[str, type] = {
            "format": str, "version": int, "created_at": str, "software": dict, "recording": dict, "audit": dict,
        }  # fmt: skip
        strict_json.fields(tree, what, kinds, open_ended=True)
        if tree["format"] != layout.FORMAT or tree["version"] != layout.VERSION:
            raise PackError(
                f"the pack has the format {tree['format'][:60]!a} version {tree['version']}; "
                f"this og_ros reads version {layout.VERSION} of {layout.FORMAT}"
            )
        recording = strict_json.fields(tree["recording"], f"{what}: recording", {"name": str, "data": str})
        software = strict_json.fields(tree["software"], f"{what}: software", {"og_ros": str}, open_ended=True)
        root, signer = tree["audit"].get("root"), tree.get("signer")
        if not all(value is None or type(value) is str for value in (root, signer)):
            raise PackError(f"{what}: root and signer must be texts or null")
        layout.check_path(f"{layout.RECORDING}/{recording['name']}")
        created_ns = parse_time(tree["created_at"], f"{what}: created_at")
    except RegistryError as error:
        raise PackError(str(error)) from error
    if "/" in recording["name"] or recording["data"] not in (COMPLETE, REDUCED):
        raise PackError(f"{what}: the recording is described in an impossible way")
    return Description(created_ns, software["og_ros"], recording["name"], recording["data"], root, signer, tree)


def now_ns() -> int:
    """Return the time that goes into a pack: SOURCE_DATE_EPOCH (seconds) where it is set, so that a pack can be remade.

    Raises PackError when that variable is no number.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        return time.time_ns()
    if not given.isascii() or not given.isdigit() or len(given) > 11:
        raise PackError(f"SOURCE_DATE_EPOCH is {given[:20]!a}; it must be seconds since 1970")
    return int(given) * 10**9


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
