"""The payloads of a registry's files, written and read back strictly, and the one path where each must lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from og_ros.attest import keys, ml_dsa
from og_ros.attest.statement import Algorithm
from og_ros.errors import KeyFileError, RegistryError
from og_ros.registry import strict_json
from og_ros.registry.certificate import (
    ADMITTED_LEVELS,
    KEY_ROLES,
    ROBOT_ROLES,
    ROLES,
    Admission,
    Authority,
    KeyCertificate,
    ModelCertificate,
    Revocation,
    VendorSignature,
)
from og_ros.registry.names import MAX_VERSION, check_name, check_text, skeleton
from og_ros.registry.timestamp import format_time, parse_time

FORMAT: Final = 1
MAX_ENTRY: Final = 65_536
MAX_INDEX: Final = 8 * 2**20
MAX_AUTHORITIES: Final = 64
MAX_STAGES: Final = 64
MAX_TOPICS: Final = 64
SOURCE: Final = "source"
LOG: Final = "log"
INDEX_PATH: Final = "index.dsse.json"
_SUFFIX: Final = ".dsse.json"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_PLAIN_PEM: Final = re.compile(r"-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+/=\n]+-----END PUBLIC KEY-----\n", re.ASCII)
_PATH: Final = re.compile(r"(roots|models|keys|revocations|signatures)/[A-Za-z0-9._+~@-]{1,240}\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class Root:
    """Who may sign what. Number 1 is self-signed; each later root is signed by an index authority of the one before."""

    registry: str
    number: int
    previous: str
    issued_at_ns: int
    authorities: tuple[Authority, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """Every file of the registry with its SHA-256: what makes a removed, replaced or older file show."""

    registry: str
    number: int
    issued_at_ns: int
    root: str
    files: dict[str, bytes]


def payload_type(kind: str) -> str:
    """Return the DSSE payload type of a kind of entry: root, model, imported-model, key, revocation, index."""
    return f"application/vnd.og-ros.{kind}+json"


def format_digest(digest: bytes) -> str:
    """Return a SHA-256 as text: sha256: and 64 hex digits."""
    return f"sha256:{digest.hex()}"


def parse_digest(text: str, what: str) -> bytes:
    """Read a SHA-256 from `format_digest`'s form; raises RegistryError, naming `what`."""
    if not _DIGEST.fullmatch(text):
        raise RegistryError(f"{what} {text[:80]!a} is not sha256: and 64 lower-case hex digits")
    return bytes.fromhex(text[7:])


def encode_root(root: Root) -> bytes:
    """Return the payload of a root."""
    return strict_json.dumps(
        {
            "format": FORMAT,
            "registry": root.registry,
            "number": root.number,
            "previous": root.previous,
            "issued_at": format_time(root.issued_at_ns),
            "authorities": [
                {"name": a.name, "public_key": a.public_key_pem, "roles": list(a.roles)} for a in root.authorities
            ],
        }
    )


def decode_root(payload: bytes, what: str) -> Root:
    """Read a root; raises RegistryError when malformed, or when two authorities share a name or a key."""
    kinds = {"registry": str, "number": int, "previous": str, "issued_at": str, "authorities": list}
    tree = _payload(payload, what, kinds)
    if not 1 <= len(tree["authorities"]) <= MAX_AUTHORITIES:
        raise RegistryError(f"{what} has {len(tree['authorities'])} authorities; 1 to {MAX_AUTHORITIES} are allowed")
    authorities = tuple(_authority(item, what) for item in tree["authorities"])
    if len({skeleton(a.name) for a in authorities}) != len(authorities):
        raise RegistryError(f"{what} has two authorities of one name")
    if len({a.key_id for a in authorities}) != len(authorities):
        raise RegistryError(f"{what} has two authorities with one key")
    if not any("index" in a.roles for a in authorities):
        raise RegistryError(f"{what} has no authority with the role index")
    if tree["previous"]:
        parse_digest(tree["previous"], f"{what}: previous")
    number = _number(tree["number"], what)
    return Root(_name(tree, "registry", what), number, tree["previous"], _time(tree, "issued_at", what), authorities)


def encode_model(model: ModelCertificate) -> tuple[str, bytes]:
    """Return the payload type and the payload of a model certificate; its revocation is not part of it."""
    tree: dict[str, Any] = {
        "format": FORMAT,
        "name": model.name,
        "version": model.version,
        "digest": format_digest(model.digest),
        "stages": list(model.stages),
        "not_before": format_time(model.not_before_ns),
        "not_after": "" if model.not_after_ns is None else format_time(model.not_after_ns),
        "certifier": model.certifier,
        "processing_digest": "" if model.processing_digest is None else format_digest(model.processing_digest),
        "notes": model.notes,
    }
    vendor = model.vendor_signature
    if vendor is None:
        return payload_type("model"), strict_json.dumps(tree)
    tree["bundle"] = format_digest(vendor.bundle_digest)
    tree["subject"] = vendor.subject
    tree["resource"] = vendor.resource
    tree["registered_by"] = vendor.registered_by
    return payload_type("imported-model"), strict_json.dumps(tree)


def decode_model(kind: str, payload: bytes, what: str) -> ModelCertificate:
    """Read a model certificate of a payload type; raises RegistryError. A vendor's signature is not checked here."""
    names = ("name", "version", "digest", "not_before", "not_after", "certifier", "processing_digest", "notes")
    kinds: dict[str, type] = {**dict.fromkeys(names, str), "stages": list}
    imported = kind == payload_type("imported-model")
    if imported:
        kinds.update(dict.fromkeys(("bundle", "subject", "resource", "registered_by"), str))
    elif kind != payload_type("model"):
        raise RegistryError(f"{what} has the payload type {kind!a}, which is no model certificate")
    tree = _payload(payload, what, kinds)
    not_before_ns, not_after_ns = _validity(tree, what)
    processing = tree["processing_digest"]
    vendor = None
    if imported:
        vendor = VendorSignature(
            bundle_digest=parse_digest(tree["bundle"], f"{what}: bundle"),
            subject=check_text(f"{what}: subject", tree["subject"]),
            resource=check_text(f"{what}: resource", tree["resource"]),
            registered_by=_name(tree, "registered_by", what),
        )
    return ModelCertificate(
        name=_name(tree, "name", what),
        version=check_name(f"{what}: version", tree["version"], MAX_VERSION),
        digest=parse_digest(tree["digest"], f"{what}: digest"),
        stages=_names(tree["stages"], f"{what}: stages", MAX_STAGES),
        not_before_ns=not_before_ns,
        not_after_ns=not_after_ns,
        certifier=_name(tree, "certifier", what),
        processing_digest=parse_digest(processing, f"{what}: processing_digest") if processing else None,
        notes=check_text(f"{what}: notes", tree["notes"]),
        vendor_signature=vendor,
    )


def encode_key(key: KeyCertificate) -> bytes:
    """Return the payload of a key certificate; its revocation is not part of it.

    Only a source's has topics, only a log's may have a second key, and only that of a key which came with evidence has
    `evidence`.
    """
    return strict_json.dumps(
        {
            "format": FORMAT,
            "key_id": key.key_id.hex(),
            "public_key": key.public_key_pem,
            "algorithm": key.algorithm.name,
            "role": key.role,
            "robot": key.robot,
            "stage": key.stage,
            "vendor": key.vendor,
            "origin": key.origin,
            "not_before": format_time(key.not_before_ns),
            "not_after": "" if key.not_after_ns is None else format_time(key.not_after_ns),
            "certifier": key.certifier,
            **({"topics": list(key.topics)} if key.topics or key.role == SOURCE else {}),
            **({"post_quantum": key.post_quantum_pem} if key.post_quantum_pem else {}),
            **({"evidence": encode_admission(key.admission)} if key.admission is not None else {}),
        }
    )


def decode_key(payload: bytes, what: str) -> KeyCertificate:
    """Read a key certificate; raises RegistryError when malformed, or when id or algorithm are not the key's own."""
    names = (
        "key_id", "public_key", "algorithm", "role", "robot", "stage", "vendor", "origin",
        "not_before", "not_after", "certifier",
    )  # fmt: skip
    kinds: dict[str, type] = dict.fromkeys(names, str)
    given = strict_json.loads(payload, what, MAX_ENTRY)
    if isinstance(given, dict):
        if given.get("role") == SOURCE:
            kinds["topics"] = list
        if "post_quantum" in given:
            kinds["post_quantum"] = str
        if "evidence" in given:
            kinds["evidence"] = dict
    tree = _payload(payload, what, kinds)
    public_key = _public_key(tree["public_key"], what)
    key_id = keys.key_id(public_key)
    if tree["key_id"] != key_id.hex():
        raise RegistryError(f"{what}: key_id is not the id of the key, {key_id.hex()}")
    algorithm = keys.algorithm_of(public_key)
    if tree["algorithm"] != algorithm.name:
        raise RegistryError(f"{what}: the algorithm is {tree['algorithm']!a}, but the key is for {algorithm.name}")
    not_before_ns, not_after_ns = _validity(tree, what)
    for name in ("robot", "stage", "vendor", "origin"):
        if tree[name]:
            _name(tree, name, what)
    _check_role(tree, algorithm, what)
    return KeyCertificate(
        key_id=key_id,
        public_key_pem=tree["public_key"],
        algorithm=algorithm,
        role=tree["role"],
        robot=tree["robot"],
        stage=tree["stage"],
        vendor=tree["vendor"],
        origin=tree["origin"],
        not_before_ns=not_before_ns,
        not_after_ns=not_after_ns,
        certifier=_name(tree, "certifier", what),
        topics=_topics(tree, what),
        post_quantum_pem=_post_quantum(tree, what),
        admission=_admission(tree["evidence"], f"{what}: evidence") if "evidence" in tree else None,
    )


def encode_revocation(revocation: Revocation) -> bytes:
    """Return the payload of a revocation."""
    return strict_json.dumps(
        {
            "format": FORMAT,
            "kind": revocation.kind,
            "subject": format_digest(revocation.subject),
            "revoked_at": format_time(revocation.revoked_at_ns),
            "reason": revocation.reason,
            "revoked_by": revocation.revoked_by,
        }
    )


def decode_revocation(payload: bytes, what: str) -> Revocation:
    """Read a revocation; raises RegistryError."""
    tree = _payload(payload, what, dict.fromkeys(("kind", "subject", "revoked_at", "reason", "revoked_by"), str))
    if tree["kind"] not in ("key", "model"):
        raise RegistryError(f"{what}: kind is {tree['kind'][:40]!a}; it must be key or model")
    return Revocation(
        kind=tree["kind"],
        subject=parse_digest(tree["subject"], f"{what}: subject"),
        revoked_at_ns=_time(tree, "revoked_at", what),
        reason=check_text(f"{what}: reason", tree["reason"]),
        revoked_by=_name(tree, "revoked_by", what),
    )


def encode_index(index: Index) -> bytes:
    """Return the payload of an index."""
    return strict_json.dumps(
        {
            "format": FORMAT,
            "registry": index.registry,
            "number": index.number,
            "issued_at": format_time(index.issued_at_ns),
            "root": index.root,
            "files": {path: format_digest(digest) for path, digest in index.files.items()},
        }
    )


def decode_index(payload: bytes, what: str) -> Index:
    """Read an index; raises RegistryError, also for a path that could lead out of the directory."""
    kinds = {"registry": str, "number": int, "issued_at": str, "root": str, "files": dict}
    tree = _payload(payload, what, kinds, MAX_INDEX)
    files: dict[str, bytes] = {}
    for path, digest in tree["files"].items():
        if not _PATH.fullmatch(path):
            raise RegistryError(f"{what} lists {path[:80]!a}, which is no path of a registry")
        if type(digest) is not str:
            raise RegistryError(f"{what}: the digest of {path} is no text")
        files[path] = parse_digest(digest, f"{what}: the digest of {path}")
    parse_digest(tree["root"], f"{what}: root")
    number = _number(tree["number"], what)
    return Index(_name(tree, "registry", what), number, _time(tree, "issued_at", what), tree["root"], files)


def root_path(number: int) -> str:
    """Return where the root of a number lies."""
    return f"roots/{number}{_SUFFIX}"


def model_path(name: str, version: str) -> str:
    """Return where a model certificate lies; "@" and "~" are in no name, so two models never share a path."""
    return f"models/{name.replace('/', '~')}@{version.replace('/', '~')}{_SUFFIX}"


def key_path(key_id: bytes) -> str:
    """Return where the certificate of a key lies."""
    return f"keys/{key_id.hex()[:32]}{_SUFFIX}"


def revocation_path(revocation: Revocation) -> str:
    """Return where a revocation lies; a later finding of an earlier compromise is a file of its own."""
    return f"revocations/{revocation.kind}-{revocation.subject.hex()[:32]}-{revocation.revoked_at_ns}{_SUFFIX}"


def bundle_path(bundle_digest: bytes) -> str:
    """Return where a vendor's signature lies."""
    return f"signatures/{bundle_digest.hex()}.sigstore.json"


def _payload(payload: bytes, what: str, kinds: dict[str, type], limit: int = MAX_ENTRY) -> dict[str, Any]:
    tree = strict_json.fields(strict_json.loads(payload, what, limit), what, {"format": int, **kinds})
    if tree["format"] != FORMAT:
        raise RegistryError(f"{what} is of format {tree['format']}; this software knows {FORMAT}")
    return tree


def _authority(item: Any, what: str) -> Authority:
    tree = strict_json.fields(item, f"{what}: an authority", {"name": str, "public_key": str, "roles": list})
    roles = _names(tree["roles"], f"{what}: roles", len(ROLES))
    if not roles or not set(roles) <= set(ROLES):
        raise RegistryError(f"{what}: the roles of an authority are some of {', '.join(ROLES)}")
    _public_key(tree["public_key"], what)
    return Authority(_name(tree, "name", what), tree["public_key"], roles)


def _check_role(tree: dict[str, Any], algorithm: Algorithm, what: str) -> None:
    role = tree["role"]
    if role not in KEY_ROLES:
        raise RegistryError(f"{what}: the role {role[:40]!a} is not one of {', '.join(KEY_ROLES)}")
    if role in ROBOT_ROLES and not (tree["robot"] and tree["stage"]):
        raise RegistryError(f"{what}: a key of role {role} needs a robot and a stage")
    if role == "settlement" and not (tree["robot"] and algorithm == Algorithm.ES256):
        raise RegistryError(f"{what}: a key of role settlement needs a robot, and is on P-256 (ES256)")
    if role in ("log", "witness", "endpoint"):
        if algorithm != Algorithm.EDDSA:
            raise RegistryError(f"{what}: a key of role {role} must be Ed25519 (EdDSA), as checkpoints demand")
        if not tree["origin"] or "+" in tree["origin"]:
            raise RegistryError(f"{what}: a key of role {role} needs an origin, its name in checkpoints, without a +")
    elif tree["origin"]:
        raise RegistryError(f"{what}: only a key of role log, witness or endpoint has an origin")


def encode_admission(admission: Admission) -> dict[str, str]:
    """Return what a certifier found about a key's evidence, as the files have it."""
    return {
        "format": admission.format,
        "level": admission.level,
        "key_provenance": admission.provenance,
        "verified_at": format_time(admission.verified_at_ns),
        "valid_until": format_time(admission.valid_until_ns),
        "policy": format_digest(admission.policy),
        "result": format_digest(admission.result),
        "verifier": admission.verifier,
    }


def _admission(tree: dict[str, Any], what: str) -> Admission:
    """Read what the certifier found about a key's evidence."""
    names = ("format", "level", "key_provenance", "verified_at", "valid_until", "policy", "result", "verifier")
    tree = strict_json.fields(tree, what, dict.fromkeys(names, str))
    if tree["level"] not in ADMITTED_LEVELS:
        raise RegistryError(f"{what}: level is {tree['level'][:40]!a}; it must be one of {', '.join(ADMITTED_LEVELS)}")
    return Admission(
        format=_name(tree, "format", what),
        level=tree["level"],
        provenance=_name(tree, "key_provenance", what),
        verified_at_ns=_time(tree, "verified_at", what),
        valid_until_ns=_time(tree, "valid_until", what),
        policy=parse_digest(tree["policy"], f"{what}: policy"),
        result=parse_digest(tree["result"], f"{what}: result"),
        verifier=check_text(f"{what}: verifier", tree["verifier"]),
    )


def _topics(tree: dict[str, Any], what: str) -> tuple[str, ...]:
    """Return the topics of a source's key: full names, as attestations have them."""
    if tree["role"] != SOURCE:
        return ()
    topics = _names(tree["topics"], f"{what}: topics", MAX_TOPICS)
    if not topics or not all(topic.startswith("/") for topic in topics):
        raise RegistryError(f"{what}: a key of role {SOURCE} needs its topics, each with a / in front")
    return topics


def _post_quantum(tree: dict[str, Any], what: str) -> str:
    """Return the ML-DSA-65 key beside a log's key, in plain PEM; empty where the certificate has none."""
    pem = str(tree.get("post_quantum", ""))
    if "post_quantum" not in tree:
        return pem
    if tree["role"] != LOG:
        raise RegistryError(f"{what}: only a key of role {LOG} has an ML-DSA-65 key beside it")
    if not _PLAIN_PEM.fullmatch(pem):
        raise RegistryError(f"{what}: post_quantum is no key in plain PEM")
    try:
        canonical = ml_dsa.public_pem(ml_dsa.parse_public(pem, f"{what}: post_quantum"))
    except KeyFileError as error:
        raise RegistryError(str(error)) from error
    if pem != canonical:
        raise RegistryError(f"{what}: post_quantum has more in it than one key in plain PEM")
    return pem


def _public_key(pem: str, what: str) -> keys.PublicKey:
    try:
        public_key = keys.parse_public(pem, f"{what}: the key")
        canonical = keys.public_pem(public_key)
    except KeyFileError as error:
        raise RegistryError(str(error)) from error
    except UnicodeEncodeError as error:
        raise RegistryError(f"{what}: public_key is not ASCII text") from error
    if pem != canonical:
        raise RegistryError(f"{what}: public_key has more in it than one key in plain PEM")
    return public_key


def _name(tree: dict[str, Any], field: str, what: str) -> str:
    return check_name(f"{what}: {field}", tree[field])


def _names(items: list[Any], what: str, limit: int) -> tuple[str, ...]:
    if len(items) > limit or len(set(map(str, items))) != len(items):
        raise RegistryError(f"{what}: at most {limit} names, no name twice")
    if any(type(item) is not str for item in items):
        raise RegistryError(f"{what}: a name is no text")
    return tuple(check_name(what, item) for item in items)


def _number(number: int, what: str) -> int:
    if not 1 <= number < 2**53:
        raise RegistryError(f"{what}: the number is {number if abs(number) < 2**64 else 'huge'}; it counts from 1")
    return number


def _time(tree: dict[str, Any], field: str, what: str) -> int:
    return parse_time(tree[field], f"{what}: {field}")


def _validity(tree: dict[str, Any], what: str) -> tuple[int, int | None]:
    not_before_ns = _time(tree, "not_before", what)
    not_after_ns = _time(tree, "not_after", what) if tree["not_after"] else None
    if not_after_ns is not None and not_after_ns < not_before_ns:
        raise RegistryError(f"{what}: not_after is before not_before")
    return not_before_ns, not_after_ns
