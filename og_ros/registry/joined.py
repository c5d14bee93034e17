"""Two sources of certificates read as one: a directory, and a snapshot of registries on a chain."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeVar

from og_ros.registry.certificate import KeyCertificate, ModelCertificate
from og_ros.registry.registry import Registry
from og_ros.registry.timestamp import show_time

DISAGREES: Final = "registry_disagrees"
BEHIND: Final = "registry_behind"
_Certificate = TypeVar("_Certificate", KeyCertificate, ModelCertificate)


def join(local: Registry, chain: Registry) -> Registry:
    """Return the certificates of both: where one thing is in both, it is valid only while both say so.

    What the two say differently of a key or model, other than since when and how long, is a remark, and the directory's
    certificate stands. Revoked in one and not in the other is a remark, too.
    """
    remarks = [*local.remarks, *chain.remarks]
    keys, models = dict(local.keys), {(m.name, m.version): m for m in local.models}
    for key_id, key in chain.keys.items():
        if key_id in keys:
            mine = keys[key_id]
            same = (mine.role, mine.robot, mine.stage) == (key.role, key.robot, key.stage)
            remarks += _differences(f"key {key_id.hex()[:16]}", mine, key, same)
            keys[key_id] = _narrower(mine, key)
        else:
            keys[key_id] = key
    for name, model in {(m.name, m.version): m for m in chain.models}.items():
        if name in models:
            here = models[name]
            same = (here.digest, here.processing_digest) == (model.digest, model.processing_digest) and (
                set(here.stages) == set(model.stages)
            )
            remarks += _differences(f"model {model.name}@{model.version}", here, model, same)
            models[name] = _narrower(here, model) if here.digest == model.digest else here
        else:
            models[name] = model
    # A digest that either revokes is revoked under every name.
    ever = [m for m in (*local.models, *chain.models) if m.revoked_at_ns is not None]
    revoked = {m.digest: m for m in sorted(ever, key=lambda m: m.revoked_at_ns or 0, reverse=True)}
    return Registry.of_certificates(
        directory=local.directory,
        name=local.name,
        fingerprint=local.fingerprint,
        pinned=local.pinned,
        number=local.number,
        issued_at_ns=local.issued_at_ns,
        index_digest=local.index_digest,
        authorities=local.authorities,
        keys=keys,
        models=tuple(
            _narrower(m, revoked[m.digest], ends=False) if m.digest in revoked else m for m in models.values()
        ),
        revocations=(*local.revocations, *chain.revocations),
        roots=local.roots,
        files=local.files,
        snapshot=chain.snapshot,
        snapshot_digest=chain.snapshot_digest,
        fresh_until_ns=chain.fresh_until_ns,
        remarks=tuple(remarks),
    )


def _differences(
    what: str, local: KeyCertificate | ModelCertificate, chain: KeyCertificate | ModelCertificate, same: bool
) -> list[tuple[str, str]]:
    found = []
    if not same:
        text = f"the registry and the snapshot certify {what} differently: the registry's certificate stands"
        found.append((DISAGREES, text))
    if (local.revoked_at_ns is None) != (chain.revoked_at_ns is None):
        moment = local.revoked_at_ns if chain.revoked_at_ns is None else chain.revoked_at_ns
        assert moment is not None
        where, other = ("registry", "snapshot") if chain.revoked_at_ns is None else ("snapshot", "registry")
        text = f"the {where} revokes {what} from {show_time(moment)} on, the {other} does not: it counts as revoked"
        found.append((BEHIND, text))
    return found


def _narrower(one: _Certificate, other: _Certificate, ends: bool = True) -> _Certificate:
    """Return the first certificate, valid only while both are; without `ends` only the revocation is taken over."""
    revoked = min(
        (c for c in (one, other) if c.revoked_at_ns is not None), key=lambda c: c.revoked_at_ns or 0, default=one
    )
    narrowed = replace(one, revoked_at_ns=revoked.revoked_at_ns, revocation_reason=revoked.revocation_reason)
    if not ends:
        return narrowed
    until = [c.not_after_ns for c in (one, other) if c.not_after_ns is not None]
    return replace(
        narrowed,
        not_before_ns=max(one.not_before_ns, other.not_before_ns),
        not_after_ns=min(until) if until else None,
    )
