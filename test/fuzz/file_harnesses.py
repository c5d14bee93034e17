"""Harnesses of parsers that read files: each writes its bytes to a scratch directory, and reads them there."""

from __future__ import annotations

import atexit
import contextlib
import io
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

import raw_bags
from attest_examples import attestation_of, signer_of
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from made_registry import Attacker

from og_ros.attest import Algorithm, encode_attestation, sealed_wire, side_file
from og_ros.attest.content_key import ContentKey, KeyRing
from og_ros.attest.side_file import read_side_file
from og_ros.audit.disclosures import load_disclosures
from og_ros.audit.findings import KINDS
from og_ros.audit.pack.archive_reader import open_archive
from og_ros.audit.recording.bag import open_bag
from og_ros.audit.reports.regulation import load_profile
from og_ros.errors import OgError
from og_ros.log import Ledger
from og_ros.log.schema import DATABASE
from og_ros.log.tiles import verify_tiles
from og_ros.nodes.relative_topics import relative
from og_ros.registry import Registry, RegistryWriter, dsse, entry
from og_ros.stages.pipeline import load_pipeline

SIGNER: Final = signer_of(Algorithm.ES256)
_RECIPIENT: Final = ec.derive_private_key(7, ec.SECP256R1())
MESSAGES: Final = [
    raw_bags.Message(
        "/a" if n % 2 else "/b", 10 + n, encode_attestation(attestation_of()) if n % 2 else b"\0\1\0\0data"
    )
    for n in range(8)
]
TYPES: Final = {"/a": "og_ros/msg/Attestation"}


@cache
def scratch() -> Path:
    """A directory that is removed when the process ends."""
    made = Path(tempfile.mkdtemp(prefix="og_ros-fuzz-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def _file(name: str, data: bytes) -> Path:
    path = scratch() / name
    path.write_bytes(data)
    return path


def edited(template: bytes, edits: bytes) -> bytes:
    """Change a file that would take long to grow from nothing: five bytes an edit, place and new value.

    The place counts from the start; a value of 255 and more than that cuts the file off there instead.
    """
    made = bytearray(template)
    for at in range(0, len(edits) - 4, 5):
        place = int.from_bytes(edits[at : at + 3], "big") % (len(made) or 1)
        if edits[at + 3] == 255:
            del made[place:]
        elif made:
            made[place] ^= edits[at + 4]
    return bytes(made)


def _read_bag(path: Path) -> None:
    with open_bag(path) as bag:
        whole = [(r.topic, r.received_ns, bytes(r.payload)) for r in bag.records()]
        middle = whole[len(whole) // 2][1] if whole else 0
        parts = [*bag.records(None, None, middle), *bag.records(None, middle, None)]
        assert [(r.topic, r.received_ns, bytes(r.payload)) for r in parts] == whole
        assert all(bag.start_ns <= time <= bag.end_ns for _, time, _ in whole)
        assert all(finding.kind in KINDS for finding in bag.findings)


def fuzz_mcap(data: bytes) -> None:
    """An MCAP file: whatever is read, two slices give the whole."""
    _read_bag(_file("bag.mcap", data))


@cache
def _sqlite_template() -> bytes:
    path = scratch() / "template.db3"
    raw_bags.sqlite(path, MESSAGES, types=TYPES)
    return path.read_bytes()


def fuzz_sqlite(data: bytes) -> None:
    """A SQLite recording with some bytes changed."""
    _read_bag(_file("bag.db3", edited(_sqlite_template(), data)))


@cache
def _ledger_template() -> tuple[Path, bytes]:
    directory = scratch() / "ledger_template"
    with Ledger.create(directory, "log", Ed25519PrivateKey.from_private_bytes(bytes(32))) as ledger:
        ledger.append([b"leaf %d" % n for n in range(5)])
        ledger.checkpoint(10**18)
        ledger.append([b"leaf"])
    return directory, (directory / DATABASE).read_bytes()


def fuzz_ledger(data: bytes) -> None:
    """A ledger's database with some bytes changed: never verifies with other leaves than were logged."""
    template, database = _ledger_template()
    directory = scratch() / "ledger"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(template, directory)
    (directory / DATABASE).write_bytes(edited(database, data))
    with Ledger.open(directory) as ledger:
        leaves = [leaf.data for leaf in ledger.leaves()]
        report = ledger.verify()
        assert leaves == [leaf.data for leaf in ledger.leaves()]
        if report.latest is not None and report.latest.size == 5:
            assert leaves[:5] == [b"leaf %d" % n for n in range(5)]


def fuzz_tile_directory(data: bytes) -> None:
    """One file of the published tiles is replaced; the first byte chooses it."""
    template, _ = _ledger_template()
    directory = scratch() / "tiles"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(template, directory)
    files = sorted(p for p in directory.rglob("*") if p.is_file() and p.suffix != ".db")
    files[(data[0] if data else 0) % len(files)].write_bytes(data[1:])
    with Ledger.open(directory) as ledger:
        key = ledger.vkey
    assert verify_tiles(directory, key).size == 5


@cache
def _registry_template() -> Path:
    directory = scratch() / "registry_template"
    with RegistryWriter.create(directory, SIGNER, "acme", now_ns=10**18) as writer:
        writer.certify_model("line", "1.0", bytes(32), stages=("perception",), not_before_ns=10**18)
        writer.certify_key(SIGNER.public_key, robot="r", stage="perception", not_before_ns=10**18)
    return directory


_KINDS: Final = ("index", "root", "model", "key", "revocation", "imported-model")


def fuzz_registry(data: bytes) -> None:
    """A registry in which an authority signed anything; the first byte says as what, or leaves it unsigned."""
    directory = scratch() / "registry"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(_registry_template(), directory)
    kind = (data[0] if data else 0) % (len(_KINDS) + 1)
    insider = Attacker(directory, SIGNER)
    if kind == 0:
        (directory / entry.INDEX_PATH).write_bytes(dsse.sign(entry.payload_type("index"), data[1:], SIGNER))
    elif kind < len(_KINDS):
        insider.put(f"{_KINDS[kind]}s/x.dsse.json", dsse.sign(entry.payload_type(_KINDS[kind]), data[1:], SIGNER))
    else:
        insider.put("models/x.dsse.json", data[1:])
    Registry.open(directory)


def fuzz_side_file(data: bytes) -> None:
    """A stage's side file of sealed records; and one in which a stage sealed these bytes as a record."""
    list(read_side_file(_file("side", data), KeyRing(_RECIPIENT)))
    key = ContentKey(bytes(sealed_wire.SEAL_SIZE), 0)
    head = key.seal + key.number.to_bytes(4, "big") + key.counter.to_bytes(8, "big")
    body = b"R" + head + key.encrypt(data, side_file._CONTEXT + head)
    frames = side_file.seal_frame(key.wrap([_RECIPIENT.public_key()])) + len(body).to_bytes(4, "big") + body
    list(read_side_file(_file("side", side_file.MAGIC + frames), KeyRing(_RECIPIENT)))


def fuzz_disclosures(data: bytes) -> None:
    """A file of revealed records."""
    load_disclosures(_file("disclosures", data))


def fuzz_pipeline(data: bytes) -> None:
    """A pipeline file, and the same in a namespace; no model is loaded."""
    relative(load_pipeline(_file("pipeline.yaml", data)))


def fuzz_profile(data: bytes) -> None:
    """A regulation profile."""
    load_profile(_file("profile.yaml", data))


def fuzz_pack_archive(data: bytes) -> None:
    """A pack's ZIP file: what it unpacks lies below its directory, and is what Python's own reader finds."""
    archive = open_archive(_file("pack.zip", data), 2**20)
    target = scratch() / "unpacked"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    digests = archive.extract(target)
    found = {str(p.relative_to(target)): sha256(p.read_bytes()).digest() for p in target.rglob("*") if p.is_file()}
    assert found == digests
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        assert {i.filename: sha256(other.read(i)).digest() for i in other.infolist()} == digests


FILE_HARNESSES: Final[dict[str, Callable[[bytes], None]]] = {
    name.removeprefix("fuzz_"): function for name, function in list(globals().items()) if name.startswith("fuzz_")
}


def run(name: str, data: bytes) -> None:
    """Run a harness on some bytes; an OgError is a fine answer."""
    with contextlib.suppress(OgError):
        FILE_HARNESSES[name](data)
