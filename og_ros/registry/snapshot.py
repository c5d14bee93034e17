"""Snapshots of registries on a chain: every event of NodeRegistry and ModelRegistry up to a block, in one file.

What was certified, and for how long, is rebuilt from the events, so a revocation that came later takes nothing from
what was valid before it; and a robot without a network goes on with its copy until `max_age_s` after the block. Here
the file is read and turned into a registry; og_ros.settlement.snapshots takes one from a node, and checks its proofs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from og_ros.attest import keys
from og_ros.attest.statement import NO_DIGEST
from og_ros.errors import KeyFileError, RegistryError
from og_ros.registry import strict_json
from og_ros.registry.certificate import KeyCertificate, ModelCertificate, Revocation
from og_ros.registry.entry import format_digest
from og_ros.registry.names import check_name
from og_ros.registry.registry import Registry
from og_ros.registry.timestamp import MAX_TIME_NS

FORMAT: Final = 1
MAX_FILE: Final = 256 * 2**20
MAX_EVENTS: Final = 1_000_000
MAX_AGE_S: Final = 10 * 366 * 86_400
NODE_REGISTRY: Final = "NodeRegistry"
MODEL_REGISTRY: Final = "ModelRegistry"
NS: Final = 10**9
_MAX_TIME: Final = 2**33
_SETTLEMENT: Final = "settlement"
# Events in the order of their arguments: a, b, t, n, f are address, bytes32, text, number, flag. Each is in `history`.
EVENTS: Final[Mapping[str, Mapping[str, Mapping[str, str]]]] = {
    NODE_REGISTRY: {
        "Proposed": {
            "key_id": "b", "robot": "b", "operator": "a", "at": "n", "x": "b", "y": "b", "measurement": "b",
            "evidence": "b", "robot_name": "t", "stage": "t", "vendor": "t",
        },
        "Approved": {
            "key_id": "b", "robot": "b", "approver": "a", "at": "n", "expires_at": "n", "max_silence": "n",
            "unsigned_allowed": "f",
        },
        "Revoked": {"key_id": "b", "robot": "b", "by": "a", "at": "n"},
        "ApproverSet": {"approver": "a", "at": "n", "allowed": "f"},
        "AggregatorSet": {"aggregator": "a", "at": "n", "allowed": "f"},
        "MinimumBondSet": {"at": "n", "amount": "n"},
        "OwnershipTaken": {"owner": "a", "at": "n"},
    },
    MODEL_REGISTRY: {
        "Certified": {
            "model": "b", "digest": "b", "certifier": "a", "at": "n", "expires_at": "n", "processing": "b",
            "parameters": "b", "name": "t", "version": "t", "stages": "t",
        },
        "Revoked": {"digest": "b", "by": "a", "at": "n", "since": "n", "reason": "t"},
        "CertifierSet": {"certifier": "a", "at": "n", "allowed": "f"},
        "OwnershipTaken": {"owner": "a", "at": "n"},
    },
}  # fmt: skip
_KINDS: Final[Mapping[str, type]] = {"a": str, "b": str, "t": str, "n": int, "f": bool}
_ADDRESS: Final = re.compile(r"0x[0-9a-f]{40}", re.ASCII)
_HEX: Final = re.compile(r"([0-9a-f]{2})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Event:
    """An event by name; an argument is bytes (32), an address in lower-case hex, a text, a number or a flag."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract's events in order, and the nodes that prove its code and `history` at the block (none: unproven)."""

    name: str
    address: str
    events: tuple[Event, ...]
    account_proof: tuple[bytes, ...] = ()
    storage_proof: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What contracts of a chain said up to a block (number, hash, Unix s, RLP header), and how long that may be used.

    `max_age_s` counts from the block: who uses the snapshot for something later than that is told so.
    """

    chain_id: int
    number: int
    block_hash: bytes
    timestamp: int
    header: bytes
    max_age_s: int
    contracts: tuple[Contract, ...]


def encode(snapshot: Snapshot) -> bytes:
    """Return a snapshot's file."""
    tree = {
        "format": FORMAT,
        "chain_id": snapshot.chain_id,
        "block": {
            "number": snapshot.number,
            "hash": snapshot.block_hash.hex(),
            "timestamp": snapshot.timestamp,
            "header": snapshot.header.hex(),
        },
        "max_age_s": snapshot.max_age_s,
        "contracts": [
            {
                "contract": one.name,
                "address": one.address,
                "events": [{"event": event.name, **_plain(event.arguments)} for event in one.events],
                "account_proof": [node.hex() for node in one.account_proof],
                "storage_proof": [node.hex() for node in one.storage_proof],
            }
            for one in snapshot.contracts
        ],
    }
    return strict_json.dumps(tree) + b"\n"


def decode(data: bytes, what: str = "snapshot") -> Snapshot:
    """Read a snapshot's file; raises RegistryError, naming `what`. Proofs are not checked here."""
    kinds = {"format": int, "chain_id": int, "block": dict, "max_age_s": int, "contracts": list}
    tree = strict_json.loads(data, what, MAX_FILE)
    top = strict_json.fields(tree, what, kinds, open_ended=True)
    if top["format"] != FORMAT:
        raise RegistryError(f"{what} is of format {top['format']}; this software knows {FORMAT}")
    top = strict_json.fields(tree, what, kinds)
    if not 0 < top["chain_id"] < 2**63 or not 0 < top["max_age_s"] <= MAX_AGE_S:
        raise RegistryError(f"{what}: its chain id or max_age_s is out of range")
    fields = {"number": int, "hash": str, "timestamp": int, "header": str}
    block = strict_json.fields(top["block"], f"{what}: block", fields)
    if not 0 <= block["number"] < 2**63 or not 0 <= block["timestamp"] < _MAX_TIME:
        raise RegistryError(f"{what}: its block's number or time is out of range")
    contracts = tuple(_read_contract(one, f"{what}: contract {n}") for n, one in enumerate(top["contracts"]))
    if not contracts or len({one.name for one in contracts}) != len(contracts):
        raise RegistryError(f"{what} has no contract, or two of one kind")
    return Snapshot(
        chain_id=top["chain_id"],
        number=block["number"],
        block_hash=_bytes(block["hash"], f"{what}: the block's hash", 32),
        timestamp=block["timestamp"],
        header=_bytes(block["header"], f"{what}: the block's header"),
        max_age_s=top["max_age_s"],
        contracts=contracts,
    )


def contracts_pin(snapshot: Snapshot) -> str:
    """Return what names a snapshot's chain and contracts, whenever it was taken ("sha256:…").

    Anybody can put the same code on the chain, and certify there what he likes: a reader pins this, or the file.
    """
    named = {"chain_id": snapshot.chain_id, "contracts": {one.name: one.address for one in snapshot.contracts}}
    return format_digest(sha256(strict_json.dumps(named)).digest())


def read_file(path: Path) -> bytes:
    """Return the bytes of a snapshot's file; raises RegistryError, whose __cause__ is an OSError."""
    try:
        with open(path, "rb") as file:
            return file.read(MAX_FILE + 1)
    except OSError as error:
        raise RegistryError(f"cannot read {path}: {error.strerror}") from error


def open_snapshot(path: Path, pinned: str | None, minimum_number: int) -> Registry:
    """Read a snapshot's file as a registry; see Registry.open."""
    return as_registry(read_file(path), path, pinned, minimum_number)


def as_registry(data: bytes, path: Path, pinned: str | None = None, minimum_number: int = 0) -> Registry:
    """Return a snapshot's bytes, which are those of a file, as a registry. Its number is the block's.

    Raises RegistryError where the file is malformed, not the pinned one, or of an earlier block.
    """
    snapshot = decode(data, str(path))
    fingerprint = format_digest(sha256(data).digest())
    if pinned is not None and fingerprint != pinned:
        raise RegistryError(f"{path} is not the snapshot that was pinned: it is {fingerprint}, not {pinned}")
    if snapshot.number < minimum_number:
        raise RegistryError(f"{path} is of block {snapshot.number}, but block {minimum_number} was seen before")
    ignored: list[tuple[str, str]] = []
    found, revocations = dict(_keys(snapshot, ignored)), list(_revocations(snapshot))
    models = tuple(_models(snapshot, ignored))
    return Registry.of_certificates(
        directory=path,
        name=f"chain-{snapshot.chain_id}",
        fingerprint=fingerprint,
        pinned=pinned is not None,
        number=snapshot.number,
        issued_at_ns=snapshot.timestamp * NS,
        index_digest=sha256(data).digest(),
        keys=found,
        models=models,
        revocations=revocations,
        snapshot=path,
        snapshot_digest=sha256(data).digest(),
        fresh_until_ns=(snapshot.timestamp + snapshot.max_age_s) * NS,
        remarks=tuple(ignored),
    )


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in arguments.items()}


def _read_contract(tree: Any, what: str) -> Contract:
    kinds = {"contract": str, "address": str, "events": list, "account_proof": list, "storage_proof": list}
    top = strict_json.fields(tree, what, kinds)
    known = EVENTS.get(top["contract"])
    if known is None:
        raise RegistryError(f"{what}: {top['contract'][:40]!a} is no registry that this software knows")
    if len(top["events"]) > MAX_EVENTS:
        raise RegistryError(f"{what} has {len(top['events'])} events, more than {MAX_EVENTS}")
    events = []
    for number, item in enumerate(top["events"]):
        where = f"{what}: event {number}"
        name = item.get("event") if type(item) is dict else None
        if not isinstance(name, str) or name not in known:
            raise RegistryError(f"{where} is none of {top['contract']}")
        fields = strict_json.fields(item, where, {"event": str, **{n: _KINDS[k] for n, k in known[name].items()}})
        events.append(Event(name, {n: _argument(fields[n], k, f"{where}: {n}") for n, k in known[name].items()}))
    proofs = []
    for name in ("account_proof", "storage_proof"):
        if len(top[name]) > 128 or not all(isinstance(node, str) for node in top[name]):
            raise RegistryError(f"{what}: {name} is no list of nodes")
        proofs.append(tuple(_bytes(node, f"{what}: {name}") for node in top[name]))
    return Contract(top["contract"], _address(top["address"], f"{what}: address"), tuple(events), *proofs)


def _argument(value: Any, kind: str, what: str) -> Any:
    if kind == "b":
        return _bytes(value, what, 32)
    if kind == "a":
        return _address(value, what)
    if kind == "n" and not 0 <= value < 2**256:
        raise RegistryError(f"{what} is out of range")
    if kind == "t":
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise RegistryError(f"{what} is no text") from error
    return value


def _address(value: str, what: str) -> str:
    if not _ADDRESS.fullmatch(value):
        raise RegistryError(f"{what}: {value[:60]!a} is no address: 0x and 40 hex digits")
    return value


def _bytes(value: str, what: str, size: int | None = None) -> bytes:
    if not _HEX.fullmatch(value) or (size is not None and len(value) != 2 * size):
        raise RegistryError(f"{what} is not hex{'' if size is None else f' of {size} bytes'}")
    return bytes.fromhex(value)


def _events(snapshot: Snapshot, contract: str, *names: str) -> Iterator[Event]:
    for one in snapshot.contracts:
        if one.name == contract:
            yield from (event for event in one.events if event.name in names)


def _keys(snapshot: Snapshot, ignored: list[tuple[str, str]]) -> Iterator[tuple[bytes, KeyCertificate]]:
    """Yield the certificate of each key that was approved, by id."""
    proposed: dict[bytes, Mapping[str, Any]] = {}
    approved: dict[bytes, KeyCertificate] = {}
    for event in _events(snapshot, NODE_REGISTRY, "Proposed", "Approved", "Revoked"):
        key_id = event.arguments["key_id"]
        if event.name == "Proposed":
            proposed[key_id] = event.arguments
        elif event.name == "Approved" and key_id not in approved:
            try:
                approved[key_id] = _key(key_id, proposed.get(key_id, {}), event.arguments)
            except (RegistryError, KeyFileError) as error:
                text = f"key {key_id.hex()[:16]} of the snapshot is left out: {error}"
                ignored.append(("registry_entry_ignored", text))
        elif event.name == "Revoked" and key_id in approved and approved[key_id].revoked_at_ns is None:
            moment, by = _time_ns(event.arguments["at"]), event.arguments["by"]
            approved[key_id] = replace(approved[key_id], revoked_at_ns=moment, revocation_reason=f"on chain by {by}")
    yield from approved.items()


def _key(key_id: bytes, proposal: Mapping[str, Any], approval: Mapping[str, Any]) -> KeyCertificate:
    if not proposal:
        raise RegistryError("it was approved, and never proposed")
    x, y = (int.from_bytes(proposal[name], "big") for name in ("x", "y"))
    try:
        public_key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError as error:
        raise RegistryError("its coordinates are no point on P-256") from error
    if keys.key_id(public_key) != key_id:
        raise RegistryError("its coordinates give another key id")
    stage = proposal["stage"]
    role = _SETTLEMENT if stage == _SETTLEMENT else "stage"
    return KeyCertificate(
        key_id=key_id,
        public_key_pem=keys.public_pem(public_key),
        algorithm=keys.algorithm_of(public_key),
        role=role,
        robot=check_name("robot", proposal["robot_name"]),
        stage=check_name("stage", stage) if role == "stage" else "",
        vendor=check_name("vendor", proposal["vendor"]) if proposal["vendor"] else "",
        origin="",
        not_before_ns=_time_ns(approval["at"]),
        not_after_ns=_time_ns(approval["expires_at"]),
        certifier=approval["approver"],
    )


def _models(snapshot: Snapshot, ignored: list[tuple[str, str]]) -> Iterator[ModelCertificate]:
    revoked: dict[bytes, tuple[int, str]] = {}
    for event in _events(snapshot, MODEL_REGISTRY, "Revoked"):
        one = _time_ns(event.arguments["since"]), event.arguments["reason"]
        digest = event.arguments["digest"]
        revoked[digest] = min(one, revoked.get(digest, one), key=lambda each: each[0])
    for event in _events(snapshot, MODEL_REGISTRY, "Certified"):
        a = event.arguments
        since, reason = revoked.get(a["digest"], (None, ""))
        try:
            yield ModelCertificate(
                name=check_name("name", a["name"]),
                version=check_name("version", a["version"]),
                digest=a["digest"],
                stages=tuple(check_name("stage", stage) for stage in a["stages"].split(",")) if a["stages"] else (),
                not_before_ns=_time_ns(a["at"]),
                not_after_ns=_time_ns(a["expires_at"]) if a["expires_at"] else None,
                certifier=a["certifier"],
                processing_digest=a["processing"] if a["processing"] != NO_DIGEST else None,
                notes=f"parameters {a['parameters'].hex()}" if a["parameters"] != NO_DIGEST else "",
                revoked_at_ns=since,
                revocation_reason=reason if reason.isprintable() else ascii(reason),
            )
        except RegistryError as error:
            ignored.append(("registry_entry_ignored", f"model {a['name']!a} of the snapshot is left out: {error}"))


def _revocations(snapshot: Snapshot) -> Iterator[Revocation]:
    for event in _events(snapshot, NODE_REGISTRY, "Revoked"):
        a = event.arguments
        yield Revocation("key", a["key_id"], _time_ns(a["at"]), "on chain", a["by"])
    for event in _events(snapshot, MODEL_REGISTRY, "Revoked"):
        a = event.arguments
        yield Revocation("model", a["digest"], _time_ns(a["since"]), a["reason"], a["by"])


def _time_ns(seconds: int) -> int:
    """Return a time in ns; what is after the last that can be shown counts as that."""
    return min(seconds * NS, MAX_TIME_NS)
