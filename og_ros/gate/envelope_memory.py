"""What a gate remembers of the envelopes it had, so that no older or shorter chain can be put back in their place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from og_ros.errors import EnvelopeError
from og_ros.gate.delegation import Chain
from og_ros.gate.strict_tree import Fields, from_json
from og_ros.registry import strict_json

_MAX_FILE: Final = 100_000


@dataclass(frozen=True, slots=True)
class Seen:
    """An envelope that was in force: by whom, which version, which bytes, until when, and under which parent."""

    key_id: str
    name: str
    version: int
    digest: str
    parent: str
    not_after_ns: int


def check_against(seen: Sequence[Seen], chain: Chain, now_ns: int) -> tuple[Seen, ...]:
    """Return what to remember once a chain is in force; raises EnvelopeError when it goes back behind what was seen.

    Versions of an envelope, by name and signer, only go up, and one version has one content. An envelope that narrowed
    stays until it ends, or until its parent is replaced: leaving it out would widen.
    """
    new = [
        Seen(s.signed.key_id, s.envelope.name, s.envelope.version, s.digest, s.envelope.parent, s.envelope.not_after_ns)
        for s in chain.signed
    ]
    by_name = {(item.key_id, item.name): item for item in seen}
    for item in new:
        known = by_name.get((item.key_id, item.name))
        if known is not None and item.version < known.version:
            raise EnvelopeError(f"{item.name} has version {item.version}; version {known.version} was in force before")
        if known is not None and item.version == known.version and item.digest != known.digest:
            raise EnvelopeError(f"{item.name} version {item.version} is not the one that was in force; raise it")
    present = {item.digest for item in new}
    here = {(item.key_id, item.name) for item in new}
    kept = [item for item in seen if (item.key_id, item.name) not in here]
    for item in kept:
        if item.parent in present and now_ns <= item.not_after_ns:
            raise EnvelopeError(f"{item.name} narrowed {chain.envelopes[0].name} and was left out before its end")
    return (*new, *kept)[:64]


def load(file: Path) -> tuple[Seen, ...] | None:
    """Read what was remembered; None when there is no file yet. Raises EnvelopeError."""
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EnvelopeError(f"cannot read {file}: {error.strerror}") from error
    fields = from_json(data, str(file))
    found = tuple(_seen(item) for item in fields.each("envelopes", 64))
    fields.end()
    return found


def save(file: Path, seen: Sequence[Seen]) -> None:
    """Write what to remember, durably and at one stroke; raises EnvelopeError."""
    tree = {"envelopes": [{name: getattr(item, name) for name in Seen.__slots__} for item in seen]}
    write_durably(file, strict_json.dumps(tree))


def write_durably(file: Path, data: bytes) -> None:
    """Replace a file by new bytes: after a crash it holds the old or the new ones. Raises EnvelopeError."""
    new = file.with_name(file.name + ".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with new.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(file)
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise EnvelopeError(f"cannot write {file}: {error.strerror}") from error


def _seen(f: Fields) -> Seen:
    found = Seen(
        f.text("key_id"), f.text("name"), f.integer("version", 1, 2**53), f.text("digest"), f.text("parent"),
        f.integer("not_after_ns", 0, 2**63),
    )  # fmt: skip
    f.end()
    return found
