"""The one writer of a registry: each method signs one entry, then the index that lists it, durably."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from og_ros.attest import keys, ml_dsa
from og_ros.attest.signer import Signer
from og_ros.errors import RegistryError
from og_ros.registry import dsse, entry, files, openssf
from og_ros.registry.certificate import (
    ROLES,
    Admission,
    Authority,
    KeyCertificate,
    ModelCertificate,
    Revocation,
    VendorSignature,
)
from og_ros.registry.entry import INDEX_PATH, Index, Root
from og_ros.registry.names import skeleton
from og_ros.registry.registry import Registry, fingerprint

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

DAY_NS: Final = 86_400 * 10**9


class RegistryWriter:
    """Holds the lock of a registry and the signers of one or more of its authorities; close it, or use `with`.

    One of the signers must have the role index. Every method raises RegistryError and changes nothing when it cannot
    do its work; `registry` is the verified state after the last one. Times are ns since 1970; None means now, or for
    `not_after_ns` no end.
    """

    def __init__(self, registry: Registry, signers: tuple[Signer, ...], lock: contextlib.ExitStack) -> None:
        self.registry = registry
        self._signers = signers
        self._lock = lock

    @classmethod
    def create(cls, directory: Path | str, signer: Signer, name: str, *, now_ns: int | None = None) -> RegistryWriter:
        """Make a registry in a new or empty directory; the signer becomes its first authority, with every role.

        `name` is the name of the registry and of that authority.
        """
        directory = Path(directory)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            occupied = sorted(item.name for item in directory.iterdir() if item.name != files.LOCK)
        except OSError as error:
            raise RegistryError(f"cannot make a registry in {directory}: {error.strerror}") from error
        if occupied:
            raise RegistryError(
                f"{directory} is not empty (it has {occupied[0]}); a registry starts in a new directory"
            )
        issued_at_ns = _now(now_ns)
        authority = Authority(name, keys.public_pem(signer.public_key), ROLES)
        root = Root(name, 1, "", issued_at_ns, (authority,))
        with contextlib.ExitStack() as lock:
            lock.enter_context(files.writer_lock(directory))
            path, data, payload = _sealed_root(root, signer)
            index = Index(name, 1, issued_at_ns, fingerprint(payload), {path: sha256(data).digest()})
            files.commit(directory, {path: data}, INDEX_PATH, _sealed_index(index, signer))
            return cls(Registry.open(directory), (signer,), lock.pop_all())

    @classmethod
    def open(cls, directory: Path | str, *signers: Signer, pinned_root: str | None = None) -> RegistryWriter:
        """Take the lock of a registry, verify it, and finish or undo what a writer that died has left."""
        directory = Path(directory)
        with contextlib.ExitStack() as lock:
            registry = Registry.open(directory, pinned_root=pinned_root)  # before the lock file is made anywhere
            lock.enter_context(files.writer_lock(directory))
            registry = Registry.open(directory, pinned_root=pinned_root)
            files.recover(directory, dict(registry.files), openssf.MAX_BUNDLE)
            present = {authority.key_id for authority in registry.authorities}
            for signer in signers:
                if signer.key_id not in present:
                    raise RegistryError(
                        f"the key {signer.key_id.hex()[:16]} is no authority of the registry {directory}"
                    )
            return cls(registry, signers, lock.pop_all())

    def close(self) -> None:
        """Free the lock."""
        self._lock.close()

    def __enter__(self) -> RegistryWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_authority(self, name: str, public_key: keys.PublicKey, roles: tuple[str, ...]) -> Authority:
        """Name a key as an authority with roles out of ROLES; the registry gets a new root, old pins stay good."""
        if any(skeleton(a.name) == skeleton(name) for root in self.registry.roots for a in root.authorities):
            raise RegistryError(f"there is, or was, an authority {name} already; give this one another name")
        authority = Authority(name, keys.public_pem(public_key), tuple(roles))
        self._commit_root((*self.registry.authorities, authority))
        return authority

    def remove_authority(self, name: str) -> None:
        """Take an authority's roles from now on; what it signed stays, since it is in the index, until revoked."""
        if self.registry.authority(name) is None:
            raise RegistryError(f"the registry has no authority {name}")
        self._commit_root(tuple(a for a in self.registry.authorities if a.name != name))

    def certify_model(
        self,
        name: str,
        version: str,
        digest: bytes,
        *,
        stages: tuple[str, ...] = (),
        not_before_ns: int | None = None,
        not_after_ns: int | None = None,
        processing_digest: bytes | None = None,
        notes: str = "",
    ) -> ModelCertificate:
        """Certify a model by the SHA-256 of its bytes; `stages` are those where it may run, none for any."""
        certifier, signer = self._with_role("models")
        return self._add_model(
            signer,
            ModelCertificate(
                name=name,
                version=version,
                digest=digest,
                stages=tuple(stages),
                not_before_ns=_now(not_before_ns),
                not_after_ns=not_after_ns,
                certifier=certifier.name,
                processing_digest=processing_digest,
                notes=notes,
            ),
        )

    def import_signature(
        self,
        bundle: bytes,
        digest: bytes,
        name: str,
        version: str,
        *,
        vendor: str | None = None,
        stages: tuple[str, ...] = (),
        not_before_ns: int | None = None,
        not_after_ns: int | None = None,
        processing_digest: bytes | None = None,
        notes: str = "",
    ) -> ModelCertificate:
        """Take a vendor's OpenSSF model signature as the certificate of the file with a SHA-256 digest.

        `vendor` is the authority with role models whose P-256 key made it; None tries each. The vendor signed the
        digest alone: name, version, stages and validity are the word of this registry's index authority.
        """
        registrar, signer = self._with_role("index")
        certifier, signed = self._vendor_of(bundle, vendor)
        resource = signed.resource_with(digest)
        if resource is None:
            raise RegistryError(f"{certifier.name} signed {signed.subject!r}, which has no file {digest.hex()[:16]}…")
        bundle_digest = sha256(bundle).digest()
        certificate = ModelCertificate(
            name=name,
            version=version,
            digest=digest,
            stages=tuple(stages),
            not_before_ns=_now(not_before_ns),
            not_after_ns=not_after_ns,
            certifier=certifier.name,
            processing_digest=processing_digest,
            notes=notes,
            vendor_signature=VendorSignature(bundle_digest, signed.subject, resource, registrar.name),
        )
        return self._add_model(signer, certificate, {entry.bundle_path(bundle_digest): bundle})

    def certify_key(
        self,
        public_key: keys.PublicKey,
        *,
        role: str = "stage",
        robot: str = "",
        stage: str = "",
        vendor: str = "",
        origin: str = "",
        topics: Sequence[str] = (),
        post_quantum: MLDSA65PublicKey | None = None,
        admission: Admission | None = None,
        not_before_ns: int | None = None,
        not_after_ns: int | None = None,
    ) -> KeyCertificate:
        """Certify a key for a role out of KEY_ROLES; `admission` is what was found about evidence that came with it.

        Keys of stages, sources and observers need robot and stage, a source's its topics too, those of logs, witnesses
        and endpoints an origin. `post_quantum` is the ML-DSA-65 key that signs a log's checkpoints beside its key.
        """
        if topics and role != entry.SOURCE:
            raise RegistryError(f"topics are for a key of role {entry.SOURCE}, not of role {role}")
        certifier, signer = self._with_role("keys")
        certificate = KeyCertificate(
            key_id=keys.key_id(public_key),
            public_key_pem=keys.public_pem(public_key),
            algorithm=keys.algorithm_of(public_key),
            role=role,
            robot=robot,
            stage=stage,
            vendor=vendor,
            origin=origin,
            not_before_ns=_now(not_before_ns),
            not_after_ns=not_after_ns,
            certifier=certifier.name,
            topics=tuple(topics),
            post_quantum_pem="" if post_quantum is None else ml_dsa.public_pem(post_quantum),
            admission=admission,
        )
        payload = entry.encode_key(certificate)
        entry.decode_key(payload, "the certificate")
        path = entry.key_path(certificate.key_id)
        if path in self.registry.files:
            raise RegistryError(f"the key {certificate.key_id.hex()[:16]} is certified already; certify a new key")
        self._commit({path: dsse.sign(entry.payload_type("key"), payload, signer)})
        return self.registry.keys[certificate.key_id]

    def revoke_key(self, key_id: bytes, reason: str, *, at_ns: int | None = None) -> Revocation:
        """Revoke a certified key from a time on: the past, when it was lost before it was noticed; default now."""
        if key_id not in self.registry.keys:
            raise RegistryError(f"the registry has no key {key_id.hex()}")
        return self._revoke("key", key_id, reason, at_ns)

    def revoke_model(self, digest: bytes, reason: str, *, at_ns: int | None = None) -> Revocation:
        """Revoke every certificate of a model's digest from a time on; default now."""
        if not self.registry.models_with(digest):
            raise RegistryError(f"the registry has no model with the digest {entry.format_digest(digest)}")
        return self._revoke("model", digest, reason, at_ns)

    def _revoke(self, kind: str, subject: bytes, reason: str, at_ns: int | None) -> Revocation:
        authority, signer = self._with_role(kind + "s")
        revocation = Revocation(kind, subject, _now(at_ns), reason, authority.name)
        earlier = [r for r in self.registry.revocations if r.kind == kind and r.subject == subject]
        if any(r.revoked_at_ns <= revocation.revoked_at_ns for r in earlier):
            raise RegistryError(
                f"the {kind} {subject.hex()[:16]} is revoked already, from that time or an earlier one on"
            )
        payload = entry.encode_revocation(revocation)
        entry.decode_revocation(payload, "the revocation")
        path = entry.revocation_path(revocation)
        self._commit({path: dsse.sign(entry.payload_type("revocation"), payload, signer)})
        return revocation

    def _add_model(
        self, signer: Signer, model: ModelCertificate, besides: dict[str, bytes] | None = None
    ) -> ModelCertificate:
        kind, payload = entry.encode_model(model)
        entry.decode_model(kind, payload, "the certificate")
        same = (skeleton(model.name), skeleton(model.version))
        if any((skeleton(m.name), skeleton(m.version)) == same for m in self.registry.models):
            raise RegistryError(f"the model {model.name} {model.version} is certified already; give it another version")
        new = {path: data for path, data in (besides or {}).items() if path not in self.registry.files}
        self._commit({**new, entry.model_path(model.name, model.version): dsse.sign(kind, payload, signer)})
        certified = self.registry.model(model.name, model.version)
        assert certified is not None
        return certified

    def _vendor_of(self, bundle: bytes, name: str | None) -> tuple[Authority, openssf.SignedModel]:
        candidates = [a for a in self.registry.authorities if "models" in a.roles and name in (None, a.name)]
        reasons = []
        for authority in candidates:
            try:
                return authority, openssf.verify_bundle(bundle, authority.public_key, "the signature")
            except RegistryError as error:
                reasons.append(f"{authority.name}: {error}")
        if not candidates:
            raise RegistryError(
                f"the registry has no authority {name or ''} with the role models; add the vendor first"
            )
        raise RegistryError(f"no authority of the registry made this signature ({'; '.join(reasons)})")

    def _with_role(self, role: str) -> tuple[Authority, Signer]:
        for signer in self._signers:
            for authority in self.registry.authorities:
                if authority.key_id == signer.key_id and role in authority.roles:
                    return authority, signer
        raise RegistryError(f"none of the given keys is an authority with the role {role}; give one that is as well")

    def _commit_root(self, authorities: tuple[Authority, ...]) -> None:
        _, signer = self._with_role("index")
        before = self.registry.roots[-1]
        root = Root(before.registry, before.number + 1, self.registry.fingerprint, _now(None), authorities)
        if not any(a.key_id == signer.key_id and "index" in a.roles for a in authorities):
            raise RegistryError("an index authority cannot remove itself: sign with another one")
        path, data, payload = _sealed_root(root, signer)
        self._commit({path: data}, fingerprint(payload))

    def _commit(self, new: dict[str, bytes], root: str | None = None) -> None:
        _, signer = self._with_role("index")
        index = Index(
            registry=self.registry.name,
            number=self.registry.number + 1,
            issued_at_ns=_now(None),
            root=root or self.registry.fingerprint,
            files={**self.registry.files, **{path: sha256(data).digest() for path, data in new.items()}},
        )
        files.commit(self.registry.directory, new, INDEX_PATH, _sealed_index(index, signer))
        self.registry = Registry.open(self.registry.directory)


def _sealed_root(root: Root, signer: Signer) -> tuple[str, bytes, bytes]:
    payload = entry.encode_root(root)
    entry.decode_root(payload, "the root")
    return entry.root_path(root.number), dsse.sign(entry.payload_type("root"), payload, signer), payload


def _sealed_index(index: Index, signer: Signer) -> bytes:
    payload = entry.encode_index(index)
    entry.decode_index(payload, "the index")
    return dsse.sign(entry.payload_type("index"), payload, signer)


def _now(given: int | None) -> int:
    return time.time_ns() if given is None else given
