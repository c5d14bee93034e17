"""Chains of envelopes: the owner's, and those by which delegates narrow it. Nobody can widen what the one above allows.

Two lines of defence. Each envelope must be within every one above it, bound by bound, or the chain is refused here. And
a command must pass all envelopes of the chain (og_ros.gate.envelope_check), so that what the comparison cannot see does
not widen anything either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from og_ros.attest import keys
from og_ros.errors import EnvelopeError
from og_ros.gate import zones
from og_ros.gate.envelope import ANY_ROBOT, Bound, Condition, Envelope, Holder, TopicBounds, Zone
from og_ros.gate.envelope_format import MAX_DEPTH, SignedEnvelope, parse
from og_ros.gate.hours import minutes_of
from og_ros.gate.message_fields import Path, parse_path
from og_ros.registry import Registry

OWNER_ROLE: Final = "keys"
"""The role of a registry's authority that issues envelopes: who says which key acts for a robot says within what."""


@dataclass(frozen=True)
class Owner:
    """Whose envelopes count: the owner's keys by id, and which keys were revoked."""

    by_id: Mapping[bytes, keys.PublicKey]
    revoked: Callable[[bytes], bool] = lambda key_id: False

    @classmethod
    def of_key(cls, key: keys.PublicKey) -> Owner:
        """Trust one pinned key."""
        return cls({keys.key_id(key): key})

    @classmethod
    def of_registry(cls, registry: Registry) -> Owner:
        """Trust the registry's present authorities with the role `keys`; keys that it revokes are worth nothing."""

        def revoked(key_id: bytes) -> bool:
            certificate = registry.key(key_id)  # from whatever time on: no clock shall matter here
            return certificate is not None and certificate.revoked_at_ns is not None

        return cls({a.key_id: a.public_key for a in registry.authorities if OWNER_ROLE in a.roles}, revoked)


@dataclass(frozen=True)
class Chain:
    """Verified envelopes, the owner's first; each later one is within all before it."""

    signed: tuple[SignedEnvelope, ...]

    @property
    def envelopes(self) -> tuple[Envelope, ...]:
        """What the envelopes say."""
        return tuple(s.envelope for s in self.signed)

    @property
    def stop_authorities(self) -> dict[bytes, Holder]:
        """Who may stop, by key id: the union, since one more who may stop makes nothing less safe."""
        return {h.key_id: h for e in self.envelopes for h in (*e.stop, *e.release)}

    @property
    def release_authorities(self) -> dict[bytes, Holder]:
        """Who may release, by key id: only the owner says so."""
        return {h.key_id: h for h in self.envelopes[0].release}

    @property
    def release_needs(self) -> int:
        """How many different authorities a release takes."""
        return self.envelopes[0].release_needs


def open_chain(files: Sequence[tuple[str, bytes]], owner: Owner) -> Chain:
    """Read and verify a chain of signed envelopes, the owner's first.

    Raises EnvelopeError: no owner's signature, a signer whom the one above does not name, another parent, wider than
    the one above in anything.
    """
    if not 1 <= len(files) <= MAX_DEPTH + 1:
        raise EnvelopeError(f"a chain has 1 to {MAX_DEPTH + 1} envelopes; there are {len(files)}")
    signed: list[SignedEnvelope] = []
    allowed: Mapping[bytes, keys.PublicKey] = owner.by_id
    depth = MAX_DEPTH
    for name, data in files:
        found = parse(data, name)
        key_id = _verify(found, allowed, owner, signed[-1].envelope if signed else None)
        parent = signed[-1] if signed else None
        if found.envelope.parent != (parent.digest if parent else ""):
            raise EnvelopeError(f"{name} was made for another parent than the envelope above it")
        if parent is not None:
            depth = min(depth - 1, next(h.depth for h in parent.envelope.delegates if h.key_id == key_id))
        for problem in _depth_problems(found.envelope, depth):
            raise EnvelopeError(f"{name}: {problem}")
        for problem in widenings([s.envelope for s in signed], found.envelope):
            raise EnvelopeError(f"{name} is wider than what it narrows: {problem}")
        signed.append(found)
        allowed = {h.key_id: h.public_key for h in found.envelope.delegates}
    return Chain(tuple(signed))


def widenings(above: Sequence[Envelope], child: Envelope) -> Iterator[str]:
    """Yield each way in which an envelope is wider than one of those above it, as a sentence."""
    for parent in above:
        for problem in _against(parent, child):
            yield f"{problem} ({parent.name})"


def _verify(
    found: SignedEnvelope, allowed: Mapping[bytes, keys.PublicKey], owner: Owner, parent: Envelope | None
) -> bytes:
    who = f"no delegate of {parent.name}" if parent else "not the owner"
    key_id = next((k for k in allowed if k.hex() == found.signed.key_id), None)
    if key_id is None:
        raise EnvelopeError(f"{found.what} is signed by the key {found.signed.key_id[:16]!a}, who is {who}")
    if owner.revoked(key_id):
        raise EnvelopeError(f"{found.what} is signed by the key {key_id.hex()[:16]}, which the registry revoked")
    found.verify(allowed[key_id])
    return key_id


def _depth_problems(envelope: Envelope, depth: int) -> Iterator[str]:
    """Yield what is wrong with the delegates that an envelope names, when `depth` more levels may follow it."""
    for delegate in envelope.delegates:
        if depth < 1:
            yield f"it names the delegate {delegate.name}, and its signer may not delegate"
        elif delegate.depth > depth - 1:
            yield f"the delegate {delegate.name} has the depth {delegate.depth}; at most {depth - 1} is allowed"


def _against(parent: Envelope, child: Envelope) -> Iterator[str]:
    if child.name == parent.name:
        yield f"it has the same name, {child.name}"
    if child.not_before_ns < parent.not_before_ns or child.not_after_ns > parent.not_after_ns:
        yield "its time of validity is longer"
    if ANY_ROBOT not in parent.robots and not set(child.robots) <= set(parent.robots):
        yield f"robots: {', '.join(sorted(set(child.robots) - set(parent.robots)))}"
    if parent.hours and child.hours and not minutes_of(child.hours) <= minutes_of(parent.hours):
        yield "its hours are longer"
    if child.release or child.release_needs:
        yield "stop.release: only the owner says who may release a stop"
    for name, text in child.definitions:
        if (name, text) not in parent.definitions:
            yield f"definitions: {name} is another or new"
    yield from _names(parent, child)
    for topic in child.topics:
        yield from _topic(parent.topic(topic.topic), topic)
    allowed = [z.polygon for z in parent.zones if z.kind == "allowed"]
    for zone in child.zones:
        if allowed and zone.kind == "allowed" and not any(zones.within(zone.polygon, p) for p in allowed):
            yield f"zones.{zone.name} is not within one of the zones allowed"


def _names(parent: Envelope, child: Envelope) -> Iterator[str]:
    """Yield what the child defines in another way than its parent: one name means one thing throughout a chain."""
    if parent.pose is not None and child.pose is not None and child.pose != parent.pose:
        yield "its pose comes from elsewhere"
    mine: dict[str, Condition | Zone] = {c.name: c for c in child.conditions}
    mine.update((z.name, z) for z in child.zones)
    theirs: list[Condition | Zone] = [*parent.conditions, *parent.zones]
    for known in theirs:
        if mine.get(known.name, known) != known:
            yield f"{known.name} means something else in it"


def _topic(parent: TopicBounds | None, child: TopicBounds) -> Iterator[str]:
    if parent is None:
        yield f"topics: {child.topic} is new"
        return
    if child.type != parent.type:
        yield f"{child.topic} has another type, {child.type}"
    for path in child.free:
        if path not in parent.free:
            yield f"{child.topic}: {path} is free"
    for bound in child.bounds:
        for other in parent.bounds:
            if other.when in ("", bound.when) and _same_fields(other, bound):
                for problem in _wider(other, bound):
                    yield f"{child.topic}: {', '.join(bound.fields)} {problem}"


def _wider(parent: Bound, child: Bound) -> Iterator[str]:
    for name, theirs, ours in (
        ("max", parent.maximum, child.maximum), ("max_rate", parent.max_rate, child.max_rate),
        ("max_rise", parent.max_rise, child.max_rise), ("max_length", parent.max_length, child.max_length),
    ):  # fmt: skip
        if theirs is not None and ours is not None:
            if ours > theirs:
                yield f"{name} is {ours:g}; {theirs:g} is allowed"
            if name in ("max_rate", "max_rise"):
                if child.jitter_s > parent.jitter_s:
                    yield f"jitter is {child.jitter_s:g}; {parent.jitter_s:g} is allowed"
                if child.longest_gap_s > parent.longest_gap_s:
                    yield f"longest_gap is {child.longest_gap_s:g}; {parent.longest_gap_s:g} is allowed"
    if parent.minimum is not None and child.minimum is not None and child.minimum < parent.minimum:
        yield f"min is {child.minimum:g}; {parent.minimum:g} is allowed"
    if parent.one_of and child.one_of and not set(child.one_of) <= set(parent.one_of):
        yield "one_of has more texts"


def _same_fields(parent: Bound, child: Bound) -> bool:
    """Return whether a parent's bound speaks of all that a child's does: the same fields, or [*] where it has [0]."""
    if len(parent.fields) != len(child.fields):
        return False
    if len(parent.fields) > 1:
        return set(parent.fields) == set(child.fields)
    return _covers(parse_path(parent.fields[0]), parse_path(child.fields[0]))


def _covers(parent: Path, child: Path) -> bool:
    pairs = zip(parent, child, strict=False)
    return len(parent) == len(child) and all(p == c or (p is None and isinstance(c, int)) for p, c in pairs)
