"""The manifest of a pack: SHA256SUMS, which `sha256sum -c` reads, and the packer's signature over it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from og_ros.attest import keys
from og_ros.attest.signer import Signer
from og_ros.audit.pack import layout
from og_ros.errors import PackError, RegistryError
from og_ros.registry import dsse

PAYLOAD_TYPE: Final = "application/vnd.og-ros.pack-manifest"
MAX_MANIFEST: Final = 64 * 2**20
_LINE: Final = re.compile(r"([0-9a-f]{64})  ([^\n]+)", re.ASCII)


def format_manifest(digests: Mapping[str, bytes]) -> bytes:
    """Return the manifest of files by path: SHA-256, two spaces and the path, a line each, sorted."""
    return "".join(f"{digests[path].hex()}  {path}\n" for path in sorted(digests)).encode()


def parse_manifest(data: bytes) -> dict[str, bytes]:
    """Read a manifest; raises PackError for anything but what `format_manifest` gives."""
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise PackError(f"{layout.MANIFEST} is not UTF-8") from error
    digests: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise PackError(f"{layout.MANIFEST}, line {number}: is not a SHA-256, two spaces and a path")
        digests[match[2]] = bytes.fromhex(match[1])
    layout.check_paths(digests)
    if format_manifest(digests) != data:
        raise PackError(f"{layout.MANIFEST} is not in its one form: a line a file, each once, sorted")
    return digests


def differences(listed: Mapping[str, bytes], found: Mapping[str, bytes]) -> dict[str, str]:
    """Return what is wrong with each file that is not as the manifest lists it, by path."""
    present = {path: digest for path, digest in found.items() if path not in layout.UNLISTED}
    problems = dict.fromkeys(listed.keys() - present.keys(), "is missing, though the manifest lists it")
    problems |= dict.fromkeys(present.keys() - listed.keys(), "is not in the manifest: it was added")
    problems |= {
        path: "is not the file that the manifest lists: it was altered or replaced"
        for path in listed.keys() & present.keys()
        if listed[path] != present[path]
    }
    return dict(sorted(problems.items()))


def sign_manifest(manifest: bytes, signer: Signer) -> bytes:
    """Return the DSSE envelope of a manifest."""
    return dsse.sign(PAYLOAD_TYPE, manifest, signer)


def verify_manifest(envelope: bytes, manifest: bytes, public_key: keys.PublicKey) -> None:
    """Check that an envelope signs this very manifest with this key; raises PackError."""
    what = layout.SIGNATURE
    try:
        parsed = dsse.parse(envelope, what, 2 * MAX_MANIFEST)
        if parsed.payload_type != PAYLOAD_TYPE:
            raise PackError(f"{what} has the payload type {parsed.payload_type!a}, which is no manifest of a pack")
        if parsed.payload != manifest:
            raise PackError(f"{what} is the signature of another manifest")
        dsse.verify(parsed, public_key, what)
    except RegistryError as error:
        raise PackError(str(error)) from error
