"""A registry as a reader sees it: opened once, with every signature in it verified, then only looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from og_ros.errors import RegistryError
from og_ros.registry import dsse, entry, files, openssf
from og_ros.registry.certificate import Authority, KeyCertificate, ModelCertificate, Revocation
from og_ros.registry.entry import INDEX_PATH, MAX_ENTRY, MAX_INDEX, Index, Root
from og_ros.registry.names import skeleton

MAX_INDEX_FILE: Final = MAX_INDEX * 2
_ATTEMPTS: Final = 20


@dataclass(frozen=True, eq=False)
class Registry:
    """The certified models and keys of a registry, all verified.

    `fingerprint` is the SHA-256 of the newest root ("sha256:…"), what an auditor pins; `pinned` says whether a pin was
    given and met. `number` counts the states of the registry, `index_digest` identifies this one.

    A snapshot of registries on a chain is such a registry, too, without authorities and files: `directory` is its file,
    `fingerprint` the file's SHA-256, `number` its block's. `snapshot` is that file wherever one was read, alone or
    beside a directory, and `snapshot_digest` its SHA-256; `fresh_until_ns` is until when it may be used, `remarks` what
    an audit is to say of it: kind of finding and sentence.
    """

    directory: Path
    name: str
    fingerprint: str
    pinned: bool
    number: int
    issued_at_ns: int
    index_digest: bytes
    authorities: tuple[Authority, ...]
    keys: Mapping[bytes, KeyCertificate]
    models: tuple[ModelCertificate, ...]
    revocations: tuple[Revocation, ...]
    roots: tuple[Root, ...]
    files: Mapping[str, bytes]
    _by_digest: Mapping[bytes, tuple[ModelCertificate, ...]] = field(repr=False)
    _by_name: Mapping[tuple[str, str], ModelCertificate] = field(repr=False)
    snapshot: Path | None = None
    snapshot_digest: bytes = b""
    fresh_until_ns: int | None = None
    remarks: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_certificates(
        cls,
        *,
        keys: Mapping[bytes, KeyCertificate],
        models: tuple[ModelCertificate, ...],
        revocations: Sequence[Revocation],
        authorities: tuple[Authority, ...] = (),
        roots: tuple[Root, ...] = (),
        files: Mapping[str, bytes] = MappingProxyType({}),
        **rest: Any,
    ) -> Registry:
        """Return a registry of certificates that were verified, which `rest` names as the fields above do."""
        by_digest: dict[bytes, tuple[ModelCertificate, ...]] = {}
        for model in models:
            by_digest[model.digest] = (*by_digest.get(model.digest, ()), model)
        return cls(
            keys=MappingProxyType(dict(keys)),
            models=models,
            revocations=tuple(revocations),
            authorities=authorities,
            roots=roots,
            files=MappingProxyType(dict(files)),
            _by_digest=MappingProxyType(by_digest),
            _by_name=MappingProxyType({(m.name, m.version): m for m in models}),
            **rest,
        )

    @classmethod
    def open(
        cls,
        directory: Path | str,
        *,
        pinned_root: str | None = None,
        minimum_number: int = 0,
        snapshot: Path | None = None,
    ) -> Registry:
        """Read and verify a registry: a directory, or the file of a snapshot, whose proofs are not checked here.

        With `snapshot`, a snapshot of registries on a chain counts beside the directory (og_ros.registry.joined).

        `pinned_root` is a fingerprint that the reader got from elsewhere: of the newest root, or of an older one, since
        each root is signed by an index authority of the one before. Without it the registry is only consistent in
        itself. `minimum_number` refuses an older state than the reader has seen.

        Raises RegistryError, naming the file and the reason, when anything does not hold; its __cause__ is an OSError
        when the registry could not be read at all.
        """
        directory = Path(directory)
        if pinned_root is not None:
            entry.parse_digest(pinned_root, "the pinned root")
        if directory.is_file():
            from og_ros.registry.snapshot import open_snapshot

            if snapshot not in (None, directory):
                raise RegistryError(f"{directory} is a snapshot itself: {snapshot} can count beside a directory only")
            return open_snapshot(directory, pinned_root, minimum_number)
        if snapshot is not None:
            from og_ros.registry.joined import join
            from og_ros.registry.snapshot import open_snapshot

            local = cls.open(directory, pinned_root=pinned_root, minimum_number=minimum_number)
            return join(local, open_snapshot(snapshot, None, 0))
        index_data = _read_index(directory)
        for _ in range(_ATTEMPTS):
            try:
                return _load(directory, index_data, pinned_root, minimum_number)
            except RegistryError:
                newer = _read_index(directory)
                if newer == index_data:
                    raise
                index_data = newer  # a writer was at work: read its new state instead
        raise RegistryError(f"{directory} changes faster than it can be read; try again")

    def key(self, key_id: bytes) -> KeyCertificate | None:
        """Return the certificate of a key by its 32-byte id, or None."""
        return self.keys.get(key_id)

    def models_with(self, digest: bytes) -> tuple[ModelCertificate, ...]:
        """Return every certificate of a model by the SHA-256 of its bytes; none is certified when it is empty."""
        return self._by_digest.get(digest, ())

    def model(self, name: str, version: str) -> ModelCertificate | None:
        """Return the certificate of a model by name and version, or None."""
        return self._by_name.get((name, version))

    def find_key(self, start: str) -> KeyCertificate:
        """Return the one certificate whose key id in hex starts so (8 digits at least); raises RegistryError."""
        found = [key for key_id, key in self.keys.items() if key_id.hex().startswith(start.lower())]
        if len(start) < 8 or len(found) != 1:
            raise RegistryError(
                f"{start[:64]!a} names {len(found) if len(start) >= 8 else 'no'} key of the registry {self.directory}; "
                "give the key id, or its first 8 hex digits or more (og-ros keys list)"
            )
        return found[0]

    def find_models(self, name: str) -> tuple[ModelCertificate, ...]:
        """Return the certificates of a model given as NAME@VERSION or sha256:DIGEST; raises RegistryError if none."""
        if name.startswith("sha256:"):
            found = self.models_with(entry.parse_digest(name, "the digest"))
        else:
            model = self.model(*name.partition("@")[::2])
            found = (model,) if model else ()
        if not found:
            raise RegistryError(
                f"the registry {self.directory} has no model {name[:160]!a}; "
                "give NAME@VERSION or sha256:DIGEST (og-ros registry list)"
            )
        return found

    def authority(self, name: str) -> Authority | None:
        """Return a present authority by name, or None."""
        return next((a for a in self.authorities if a.name == name), None)


def fingerprint(root_payload: bytes) -> str:
    """Return the fingerprint of a root: the SHA-256 of its payload, as text."""
    return entry.format_digest(sha256(root_payload).digest())


def _read_index(directory: Path) -> bytes:
    data = files.read(directory / INDEX_PATH, MAX_INDEX_FILE)
    if data is None:
        cause = FileNotFoundError(str(directory / INDEX_PATH))
        raise RegistryError(f"{directory} is no registry: it has no {INDEX_PATH}") from cause
    return data


def _load(directory: Path, index_data: bytes, pinned_root: str | None, minimum_number: int) -> Registry:
    what = str(directory / INDEX_PATH)
    envelope = dsse.parse(index_data, what, MAX_INDEX_FILE)
    if envelope.payload_type != entry.payload_type("index"):
        raise RegistryError(f"{what} has the payload type {envelope.payload_type!a}, which is no index")
    index = entry.decode_index(envelope.payload, what)
    roots, fingerprints = _read_roots(directory, index)
    root = roots[-1]
    if pinned_root is not None and pinned_root not in fingerprints:
        raise RegistryError(
            f"{directory} is not the registry that was pinned: its root is {fingerprints[-1]}, not {pinned_root}"
        )
    signer = _signer(envelope, {a.key_id.hex(): a for a in root.authorities}, what)
    if "index" not in signer.roles:
        raise RegistryError(f"{what} is signed by {signer.name}, which has not the role index")
    dsse.verify(envelope, signer.public_key, what)
    if index.root != fingerprints[-1] or index.registry != root.registry:
        raise RegistryError(f"{what} belongs to another root or registry than {entry.root_path(root.number)}")
    if index.number < minimum_number:
        raise RegistryError(
            f"{what} has number {index.number}, but number {minimum_number} was seen before: an old state was put back"
        )
    contents = _Contents(directory, index, _ever_authorized(roots))
    contents.read()
    unlisted = sorted(set(files.present(directory)) - index.files.keys())
    if unlisted:
        raise RegistryError(f"{directory / unlisted[0]} is not listed in the index: it was added by another hand")
    return Registry.of_certificates(
        directory=directory,
        name=root.registry,
        fingerprint=fingerprints[-1],
        pinned=pinned_root is not None,
        number=index.number,
        issued_at_ns=index.issued_at_ns,
        index_digest=sha256(envelope.payload).digest(),
        authorities=root.authorities,
        keys=contents.revoked_keys(),
        models=contents.revoked_models(),
        revocations=contents.revocations,
        roots=roots,
        files=index.files,
    )


def _read_roots(directory: Path, index: Index) -> tuple[tuple[Root, ...], tuple[str, ...]]:
    """Read and verify the chain of roots that an index (not verified yet) lists; return them with fingerprints."""
    count = sum(path.startswith("roots/") for path in index.files)
    roots: list[Root] = []
    fingerprints: list[str] = []
    for number in range(1, max(count, 1) + 1):
        path = entry.root_path(number)
        what = str(directory / path)
        if path not in index.files:
            raise RegistryError(f"{directory / INDEX_PATH} does not list {path}")
        envelope = dsse.parse(files.read_listed(directory, path, index.files[path], 2 * MAX_ENTRY), what, 2 * MAX_ENTRY)
        if envelope.payload_type != entry.payload_type("root"):
            raise RegistryError(f"{what} has the payload type {envelope.payload_type!a}, which is no root")
        root = entry.decode_root(envelope.payload, what)
        signer = _signer(envelope, {a.key_id.hex(): a for a in root.authorities if "index" in a.roles}, what)
        dsse.verify(envelope, signer.public_key, what)
        if root.number != number or root.previous != (fingerprints[-1] if fingerprints else ""):
            raise RegistryError(f"{what} is not the successor of the root before it")
        if roots:
            before = roots[-1]
            if root.registry != before.registry:
                raise RegistryError(
                    f"{what} is of the registry {root.registry}, the root before it of {before.registry}"
                )
            if not any(a.key_id == signer.key_id and "index" in a.roles for a in before.authorities):
                raise RegistryError(f"{what} is not signed by an index authority of the root before it")
        roots.append(root)
        fingerprints.append(fingerprint(envelope.payload))
    return tuple(roots), tuple(fingerprints)


def _ever_authorized(roots: tuple[Root, ...]) -> dict[str, Authority]:
    """Return every authority of any root by key id in hex, with all roles that it ever had.

    What an authority signed stays after it was removed: the index, signed by a present authority, vouches for when.
    """
    found: dict[str, Authority] = {}
    names: dict[str, bytes] = {}
    for root in roots:
        for authority in root.authorities:
            if names.setdefault(skeleton(authority.name), authority.key_id) != authority.key_id:
                raise RegistryError(f"{entry.root_path(root.number)} gives the name {authority.name} to another key")
            key = authority.key_id.hex()
            former = found.get(key, authority)
            if former.name != authority.name:
                raise RegistryError(f"{entry.root_path(root.number)} gives the key of {former.name} another name")
            found[key] = replace(authority, roles=tuple(sorted({*former.roles, *authority.roles})))
    return found


def _signer(envelope: dsse.Envelope, authorities: Mapping[str, Authority], what: str) -> Authority:
    authority = authorities.get(envelope.key_id)
    if authority is None:
        raise RegistryError(f"{what} is signed by the key {envelope.key_id[:64]!a}, which has no authority for it")
    return authority


class _Contents:
    """Reads and verifies the files that an index lists, one after the other."""

    def __init__(self, directory: Path, index: Index, authorities: Mapping[str, Authority]) -> None:
        self._directory = directory
        self._index = index
        self._authorities = authorities
        self._bundles: dict[bytes, bytes] = {}
        self._unused: set[bytes] = set()
        self.models: list[ModelCertificate] = []
        self.keys: dict[bytes, KeyCertificate] = {}
        self.revocations: list[Revocation] = []

    def read(self) -> None:
        """Read everything; raises RegistryError, naming the file."""
        listed = sorted(self._index.files.items())
        for path, digest in listed:
            if path.startswith("signatures/"):
                self._check_path(path, entry.bundle_path(digest))
                self._bundles[digest] = files.read_listed(self._directory, path, digest, openssf.MAX_BUNDLE)
        self._unused = set(self._bundles)
        for path, digest in listed:
            folder = path.partition("/")[0]
            if folder in ("models", "keys", "revocations"):
                what = str(self._directory / path)
                data = files.read_listed(self._directory, path, digest, 2 * MAX_ENTRY)
                envelope = dsse.parse(data, what, 2 * MAX_ENTRY)
                signer = _signer(envelope, self._authorities, what)
                dsse.verify(envelope, signer.public_key, what)
                {"models": self._add_model, "keys": self._add_key, "revocations": self._add_revocation}[folder](
                    path, envelope, signer
                )
        if self._unused:
            path = entry.bundle_path(min(self._unused))
            raise RegistryError(f"{self._directory / path} is a vendor's signature that no model certificate names")
        names = [(skeleton(m.name), skeleton(m.version)) for m in self.models]
        if len(set(names)) != len(names):
            raise RegistryError(f"{self._directory} has two models whose names differ in upper and lower case only")

    def revoked_models(self) -> tuple[ModelCertificate, ...]:
        """Return the model certificates with their earliest revocations."""
        found = self._earliest("model")
        return tuple(
            replace(m, revoked_at_ns=found[m.digest].revoked_at_ns, revocation_reason=found[m.digest].reason)
            if m.digest in found
            else m
            for m in self.models
        )

    def revoked_keys(self) -> dict[bytes, KeyCertificate]:
        """Return the key certificates with their earliest revocations."""
        found = self._earliest("key")
        return {
            i: replace(k, revoked_at_ns=found[i].revoked_at_ns, revocation_reason=found[i].reason) if i in found else k
            for i, k in self.keys.items()
        }

    def _earliest(self, kind: str) -> dict[bytes, Revocation]:
        found: dict[bytes, Revocation] = {}
        for revocation in sorted(self.revocations, key=lambda r: r.revoked_at_ns):
            if revocation.kind == kind:
                found.setdefault(revocation.subject, revocation)
        return found

    def _add_model(self, path: str, envelope: dsse.Envelope, signer: Authority) -> None:
        what = str(self._directory / path)
        model = entry.decode_model(envelope.payload_type, envelope.payload, what)
        self._check_path(path, entry.model_path(model.name, model.version))
        if model.vendor_signature is None:
            self._check_signer(what, signer, model.certifier, "models")
        else:
            self._check_signer(what, signer, model.vendor_signature.registered_by, "index")
            self._check_vendor(what, model)
        self.models.append(model)

    def _check_vendor(self, what: str, model: ModelCertificate) -> None:
        """Check the vendor's own signature behind a model certificate."""
        assert model.vendor_signature is not None
        data = self._bundles.get(model.vendor_signature.bundle_digest)
        if data is None:
            raise RegistryError(f"{what} names a vendor's signature that is not in the registry")
        vendor = next((a for a in self._authorities.values() if a.name == model.certifier), None)
        if vendor is None or "models" not in vendor.roles:
            raise RegistryError(f"{what}: the vendor {model.certifier} is no authority with the role models")
        path = entry.bundle_path(model.vendor_signature.bundle_digest)
        signed = openssf.verify_bundle(data, vendor.public_key, str(self._directory / path))
        if signed.resources.get(model.vendor_signature.resource) != model.digest:
            raise RegistryError(f"{what}: the vendor {model.certifier} did not sign a model of this digest")
        if signed.subject != model.vendor_signature.subject:
            raise RegistryError(f"{what}: the vendor {model.certifier} calls the model {signed.subject!r}")
        self._unused.discard(model.vendor_signature.bundle_digest)

    def _add_key(self, path: str, envelope: dsse.Envelope, signer: Authority) -> None:
        what = str(self._directory / path)
        self._check_type(what, envelope, "key")
        key = entry.decode_key(envelope.payload, what)
        self._check_path(path, entry.key_path(key.key_id))
        self._check_signer(what, signer, key.certifier, "keys")
        self.keys[key.key_id] = key

    def _add_revocation(self, path: str, envelope: dsse.Envelope, signer: Authority) -> None:
        what = str(self._directory / path)
        self._check_type(what, envelope, "revocation")
        revocation = entry.decode_revocation(envelope.payload, what)
        self._check_path(path, entry.revocation_path(revocation))
        self._check_signer(what, signer, revocation.revoked_by, revocation.kind + "s")
        self.revocations.append(revocation)

    def _check_type(self, what: str, envelope: dsse.Envelope, kind: str) -> None:
        if envelope.payload_type != entry.payload_type(kind):
            raise RegistryError(f"{what} has the payload type {envelope.payload_type!a}, which is no {kind}")

    def _check_path(self, path: str, expected: str) -> None:
        if path != expected:
            raise RegistryError(f"{self._directory / path} holds what belongs to {expected}")

    def _check_signer(self, what: str, signer: Authority, claimed: str, role: str) -> None:
        if signer.name != claimed:
            raise RegistryError(f"{what} names {claimed}, but {signer.name} signed it")
        if role not in signer.roles:
            raise RegistryError(f"{what} is signed by {signer.name}, which has not the role {role}")
