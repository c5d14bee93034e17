"""Fetches what exhibits rest on: message bytes from the recording, proofs from the log, files from the registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from og_ros.attest import ATTESTATION_TYPE, DataReference, Disclosure, decode_attestation, digest
from og_ros.attest.cdr import CdrReader
from og_ros.attest.digest import covered_size, is_computable
from og_ros.audit.findings import Finding
from og_ros.audit.recording.bag import Bag
from og_ros.audit.reports.exhibits import MAX_CHAIN, ChainRecord, Decision, ExhibitCollector
from og_ros.errors import AttestationError, LogError, RegistryError
from og_ros.log import Ledger, leaf_hash
from og_ros.registry import Registry, dsse, entry, files, openssf

# Where a record's messages are looked for, ns before and after it arrived: near by first, what is missing further off.
_SPANS: Final = ((3 * 10**8, 10**8), (2 * 10**9, 5 * 10**8), (30 * 10**9, 5 * 10**9))
_SOURCES_NS: Final = 3 * 10**9
_MAX_KEYS: Final = 64

NOT_RECORDED: Final = "not found in clear in the recording"
OVER_BUDGET: Final = "left out: it would make this page too large"
NOT_CLEAR: Final = "not disclosed: the statement holds a commitment, or nothing"


@dataclass(frozen=True)
class Exhibits:
    """Decisions with all their evidence.

    `decisions` are in the order of their arrival, of `total` in the run; `others` are records that findings name and
    that belong to none of them. `messages` holds CDR payloads by digest, `left_out` says for the digests without one
    why. `proofs` are C2SP tlog-proofs by attestation digest, `registry` the registry's files as they are, by path.
    """

    decisions: tuple[Decision, ...]
    total: int
    others: tuple[Decision, ...]
    messages: Mapping[bytes, bytes]
    left_out: Mapping[bytes, str]
    proofs: Mapping[bytes, str]
    registry: Mapping[str, bytes]

    @property
    def records(self) -> dict[bytes, ChainRecord]:
        """Every record of every chain, by digest."""
        return {r.digest: r for d in (*self.others, *self.decisions) for r in d.chain}


def gather(
    collector: ExhibitCollector, bag: Bag, registry: Registry | None = None, ledger: Path | None = None
) -> Exhibits:
    """Fetch the evidence of the decisions that a collector chose while the recording was audited.

    Raises BagError, LogError or RegistryError when a source can no longer be read.
    """
    chosen = collector.chosen()
    others = _recover(collector, bag, collector.records_without_decision(chosen))
    shown = [*chosen, *others]  # in the order of what is worth most, which the budget follows
    records = {r.digest: r for decision in shown for r in decision.chain}
    wanted, left_out = _wanted(shown, collector.budget.payload_bytes)
    messages: dict[bytes, bytes] = {}
    for span in _SPANS:
        _fetch(bag, wanted, span, messages)
    left_out.update((found, NOT_RECORDED) for found in wanted if found not in messages)
    return Exhibits(
        tuple(sorted(chosen, key=lambda d: d.record.received_ns)),
        collector.total,
        tuple(sorted(others, key=lambda d: d.record.received_ns)),
        messages,
        left_out,
        {} if ledger is None else proofs_of(records.values(), ledger),
        {} if registry is None else registry_files(registry, records.values()),
    )


@dataclass(frozen=True)
class _Want:
    reference: DataReference
    around_ns: int


def _wanted(shown: Sequence[Decision], budget: int) -> tuple[dict[bytes, _Want], dict[bytes, str]]:
    """Return which messages to fetch, within the budget by what they say of their size, and why not the others."""
    wanted: dict[bytes, _Want] = {}
    left_out: dict[bytes, str] = {}
    spent = 0
    for decision in shown:
        for record in decision.chain:
            statement = record.attestation.statement
            for reference in (*statement.outputs, *statement.inputs):
                if reference.digest in wanted:
                    continue
                if reference.disclosure != Disclosure.CLEAR or not is_computable(reference.digest_algorithm):
                    left_out[reference.digest] = NOT_CLEAR
                elif spent + reference.size > budget:
                    left_out[reference.digest] = OVER_BUDGET
                else:
                    left_out.pop(reference.digest, None)
                    spent += reference.size
                    wanted[reference.digest] = _Want(reference, record.received_ns)
    return wanted, left_out


def _fetch(bag: Bag, wanted: Mapping[bytes, _Want], span: tuple[int, int], found: dict[bytes, bytes]) -> None:
    """Look for wanted messages in a span of time around their records."""
    missing = {d: want for d, want in wanted.items() if d not in found and want.reference.topic in bag.topics}
    if not missing:
        return
    by_topic: dict[str, dict[bytes, DataReference]] = {}
    for message_digest, want in missing.items():
        by_topic.setdefault(want.reference.topic, {})[message_digest] = want.reference
    before, after = span
    windows = _merge((want.around_ns - before, want.around_ns + after) for want in missing.values())
    # The stamp tells most of the other messages apart, which then need not be hashed.
    stamps = {topic: {r.stamp_ns for r in references.values()} for topic, references in by_topic.items()}
    for start, stop in windows:
        for record in bag.records(by_topic, start, stop):
            references = by_topic[record.topic]
            size = covered_size(record.payload)
            if bag.topics[record.topic].stamped and _stamp(record.payload) not in stamps[record.topic]:
                continue
            for algorithm in {r.digest_algorithm for r in references.values() if r.size == size}:
                try:
                    computed = digest(record.payload, algorithm)
                except AttestationError:
                    continue
                if computed in references and computed not in found:
                    found[computed] = bytes(record.payload)


def _stamp(payload: bytes | memoryview) -> int:
    try:
        return CdrReader(payload).time()
    except AttestationError:
        return 0


def _merge(windows: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(windows):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((max(start, 0), stop))
    return merged


def _recover(collector: ExhibitCollector, bag: Bag, named: Iterable[Finding | ChainRecord]) -> list[Decision]:
    """Read records that findings name, with the records behind them, from the recording."""
    topics = [topic.name for topic in bag.topics.values() if topic.type == ATTESTATION_TYPE]
    recovered = []
    for item in named:
        near: dict[bytes, ChainRecord] = {}
        made_by: dict[tuple[str, bytes], ChainRecord] = {}
        for raw in bag.records(topics, max(0, item.received_ns - _SOURCES_NS), item.received_ns + 1):
            try:
                attestation = decode_attestation(raw.payload)
            except AttestationError:
                continue
            record = ChainRecord(attestation, raw.topic, raw.received_ns, *collector.facts_of(attestation.digest))
            near[record.digest] = record
            made_by.update(((r.topic, r.digest), record) for r in attestation.statement.outputs)
        start = item if isinstance(item, ChainRecord) else near.get(item.record)
        if start is None:
            continue
        recovered.append(Decision(tuple(_chain_from(start, made_by)), ("finding",)))
    return recovered


def _chain_from(start: ChainRecord, made_by: Mapping[tuple[str, bytes], ChainRecord]) -> list[ChainRecord]:
    """Return a record and those behind it, joined by topic and digest, as `exhibits.chain_of` does."""
    chain = [start]
    seen = {start.digest}
    for record in chain:
        for reference in record.attestation.statement.inputs:
            source = made_by.get((reference.topic, reference.digest))
            if source is None or source.digest in seen or len(chain) >= MAX_CHAIN:
                continue
            if source.attestation.statement.stage != record.attestation.statement.stage:
                seen.add(source.digest)
                chain.append(source)
    return chain


def proofs_of(records: Iterable[ChainRecord], directory: Path) -> dict[bytes, str]:
    """Return the inclusion proof of each record that the log has under its newest checkpoint; raises LogError."""
    proofs = {}
    with Ledger.open(directory) as ledger:
        latest = ledger.latest_checkpoint()
        for record in records:
            index = min(ledger.find(leaf_hash(record.attestation.cose)), default=None)
            if latest is None or index is None or index >= latest.size:
                continue
            try:
                proofs[record.digest] = ledger.export_proof(index)
            except LogError as error:
                raise LogError(f"cannot prove record {record.digest.hex()[:16]}: {error}") from error
    return proofs


def registry_files(registry: Registry, records: Iterable[ChainRecord]) -> dict[str, bytes]:
    """Return the registry's files that stand for the records' keys and models: index, roots, certificates, revocations.

    Certificates of keys for logs, witnesses and auditors come too, at most 64. Raises RegistryError when the directory
    is no longer as it was when the registry was opened.
    """
    paths = [entry.root_path(root.number) for root in registry.roots]
    key_ids: dict[bytes, None] = {}
    models: dict[bytes, None] = {}
    for record in records:
        key_ids[record.attestation.statement.key_id] = None
        models[record.attestation.statement.model.digest] = None
    roles = [key.key_id for key in registry.keys.values() if key.role != "stage"]
    key_ids.update(dict.fromkeys(roles[:_MAX_KEYS]))
    paths += [entry.key_path(key_id) for key_id in key_ids if registry.key(key_id)]
    for model in models:
        for certificate in registry.models_with(model):
            paths.append(entry.model_path(certificate.name, certificate.version))
            if certificate.vendor_signature:
                paths.append(entry.bundle_path(certificate.vendor_signature.bundle_digest))
    paths += [entry.revocation_path(r) for r in registry.revocations if r.subject in key_ids or r.subject in models]
    return read_files(registry, paths)


def read_files(registry: Registry, paths: Iterable[str]) -> dict[str, bytes]:
    """Return the registry's index and some of the files that it lists, by path, as they lie on disk.

    Raises RegistryError when the directory is no longer as it was when the registry was opened.
    """
    if registry.snapshot is not None:
        raise RegistryError(
            f"{registry.snapshot} is a snapshot of a chain: a page that verifies itself holds the signed files of a "
            "registry's directory, and can show no snapshot"
        )
    limit = max(2 * entry.MAX_ENTRY, openssf.MAX_BUNDLE)
    found = {p: files.read_listed(registry.directory, p, registry.files[p], limit) for p in dict.fromkeys(paths)}
    index = files.read(registry.directory / entry.INDEX_PATH, 2 * entry.MAX_INDEX) or b""
    payload = dsse.parse(index, str(registry.directory / entry.INDEX_PATH), 2 * entry.MAX_INDEX).payload
    if sha256(payload).digest() != registry.index_digest:
        raise RegistryError(f"{registry.directory} changed while it was used: start again")
    return {entry.INDEX_PATH: index, **found}
