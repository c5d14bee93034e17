"""The forms of an envelope: YAML that people write, canonical JSON that is signed (DSSE), and their strict reading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from og_ros.attest import keys
from og_ros.attest.signer import Signer
from og_ros.errors import EnvelopeError, KeyFileError, RegistryError
from og_ros.gate.envelope import (
    AGGREGATES,
    ANY_ROBOT,
    ZONE_KINDS,
    Bound,
    Condition,
    Envelope,
    Holder,
    Pose,
    TopicBounds,
    Zone,
)
from og_ros.gate.hours import DAYS, Hours, format_time_of_day, parse_time_of_day
from og_ros.gate.message_fields import parse_path
from og_ros.gate.strict_tree import MAX_SIZE, Fields, from_json, from_yaml
from og_ros.gate.zones import is_simple
from og_ros.registry import dsse, strict_json
from og_ros.registry.entry import format_digest, parse_digest
from og_ros.registry.names import check_name
from og_ros.registry.timestamp import format_time, read_time

FORMAT: Final = 1
PAYLOAD_TYPE: Final = "application/vnd.og-ros.envelope+json"
MAX_FILE: Final = 2 * MAX_SIZE
MAX_DEPTH: Final = 8
_MAX_DEFINITION: Final = 20_000

KeyLoader = Callable[[str], str]


@dataclass(frozen=True)
class SignedEnvelope:
    """An envelope as it came: its DSSE parts, the digest of its payload ("sha256:…"), and what it says. Unverified."""

    signed: dsse.Envelope
    digest: str
    envelope: Envelope
    what: str

    def verify(self, public_key: keys.PublicKey) -> None:
        """Check the signature; raises EnvelopeError."""
        try:
            dsse.verify(self.signed, public_key, self.what)
        except RegistryError as error:
            raise EnvelopeError(str(error)) from error


def read_yaml(
    data: bytes, file: str, issued_at_ns: int, parent: str = "", load_key: KeyLoader | None = None
) -> Envelope:
    """Read an envelope from YAML; `load_key` gives the PEM of a `key_file`. Raises EnvelopeError with file and line."""
    fields = from_yaml(data, file)
    return _envelope(fields, issued_at_ns, parent, load_key)


def encode(envelope: Envelope) -> bytes:
    """Return the canonical JSON of an envelope, the payload that is signed."""
    e = envelope
    tree: dict[str, Any] = {
        "format": FORMAT,
        "name": e.name,
        "version": e.version,
        "parent": e.parent,
        "issued_at": format_time(e.issued_at_ns),
        "not_before": format_time(e.not_before_ns),
        "not_after": format_time(e.not_after_ns),
        "robots": list(e.robots),
        "topics": {
            t.topic: {"type": t.type, "bounds": [_bound_tree(b) for b in t.bounds], "free": list(t.free)}
            for t in e.topics
        },
    }
    if e.notes:
        tree["notes"] = e.notes
    if e.hours:
        tree["hours"] = [
            {"days": list(h.days), "from": format_time_of_day(h.start), "to": format_time_of_day(h.stop)}
            for h in e.hours
        ]
    if e.conditions:
        tree["conditions"] = {c.name: _condition_tree(c) for c in e.conditions}
    if e.pose:
        p = e.pose
        tree["pose"] = {"topic": p.topic, "type": p.type, "frame": p.frame, "stale_after": p.stale_after_s}
    if e.zones:
        tree["zones"] = {z.name: {"kind": z.kind, "polygon": [list(point) for point in z.polygon]} for z in e.zones}
    if e.delegates:
        tree["delegates"] = {h.name: {"public_key": h.public_key_pem, "depth": h.depth} for h in e.delegates}
    if e.stop or e.release:
        tree["stop"] = {"authorities": {h.name: {"public_key": h.public_key_pem} for h in e.stop}}
        if e.release:
            tree["stop"]["release"] = {h.name: {"public_key": h.public_key_pem} for h in e.release}
            tree["stop"]["release_needs"] = e.release_needs
    if e.definitions:
        tree["definitions"] = dict(e.definitions)
    return strict_json.dumps(tree)


def decode(payload: bytes, what: str) -> Envelope:
    """Read an envelope from its payload; raises EnvelopeError for anything but its one canonical form."""
    envelope = _envelope(from_json(payload, what), None, None, None)
    if encode(envelope) != payload:
        raise EnvelopeError(f"{what} is not in canonical form")
    return envelope


def sign(envelope: Envelope, signer: Signer) -> bytes:
    """Return the DSSE file of an envelope; raises EnvelopeError when it would not be read back."""
    payload = encode(envelope)
    decode(payload, "the envelope")
    return dsse.sign(PAYLOAD_TYPE, payload, signer)


def parse(data: bytes, what: str) -> SignedEnvelope:
    """Read a signed envelope, whose signature is not checked here; raises EnvelopeError."""
    try:
        signed = dsse.parse(data, what, MAX_FILE)
    except RegistryError as error:
        raise EnvelopeError(str(error)) from error
    if signed.payload_type != PAYLOAD_TYPE:
        raise EnvelopeError(f"{what} has the payload type {signed.payload_type!a}, which is no envelope")
    return SignedEnvelope(signed, payload_digest(signed.payload), decode(signed.payload, what), what)


def payload_digest(payload: bytes) -> str:
    """Return what a child names its parent by: "sha256:" and the SHA-256 of the payload."""
    return format_digest(sha256(payload).digest())


def read_file(file: Path) -> bytes:
    """Return the bytes of an envelope's file; raises EnvelopeError."""
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_FILE + 1)
    except OSError as error:
        raise EnvelopeError(f"cannot read {file}: {error.strerror}") from error


def _envelope(f: Fields, issued_at_ns: int | None, parent: str | None, load_key: KeyLoader | None) -> Envelope:
    f.integer("format", FORMAT, FORMAT, default=None if issued_at_ns is None else FORMAT)
    topics = tuple(_topic(name, t) for name, t in f.named("topics", 32))
    if not topics:
        raise f.error("topics", "must name a topic of commands at least")
    found = Envelope(
        name=_name(f, "name", f.text("name")),
        version=f.integer("version", 1, 2**53),
        parent=_parent(f) if parent is None else parent,
        issued_at_ns=_time(f, "issued_at") if issued_at_ns is None else issued_at_ns,
        not_before_ns=_time(f, "not_before"),
        not_after_ns=_time(f, "not_after"),
        robots=tuple(r if r == ANY_ROBOT else _name(f, "robots", r) for r in f.texts("robots")),
        topics=tuple(sorted(topics, key=lambda t: t.topic)),
        hours=tuple(_hours(h) for h in f.each("hours", 32)),
        conditions=_sorted(_condition(name, c) for name, c in f.named("conditions", 32)),
        pose=_pose(f.section("pose")),
        zones=_sorted(_zone(name, z) for name, z in f.named("zones", 64)),
        delegates=_holders(f, "delegates", load_key, depth=True),
        **_stop(f.section("stop"), load_key),
        definitions=_definitions(f),
        notes=f.text("notes", "", 1000) if f.has("notes") else "",
    )
    f.end()
    _check(f, found)
    return found


def _check(f: Fields, e: Envelope) -> None:
    """Check what takes more than one field to see."""
    if not e.robots:
        raise f.error("robots", 'must name a robot, or "*"')
    if e.not_after_ns < e.not_before_ns:
        raise f.error("not_after", "is before not_before")
    names = [c.name for c in e.conditions] + [z.name for z in e.zones]
    if len(set(names)) != len(names):
        raise f.error("zones", "and conditions share a name")
    if len({h.key_id for h in e.delegates}) != len(e.delegates):
        raise f.error("delegates", "has one key twice")


def _topic(name: str, f: Fields) -> TopicBounds:
    if not name.startswith("/") or len(name) > 255 or not name.isprintable() or any(c in name for c in " ~{}*"):
        raise f.error("", "must be the full name of a topic, such as /cmd_vel")
    found = TopicBounds(name, f.text("type", limit=200), tuple(_bound(b) for b in f.each("bounds")), f.texts("free"))
    f.end()
    for text in found.free:
        parse_path(text)
    return found


def _bound(f: Fields) -> Bound:
    if f.has("magnitude_of"):
        fields = f.texts("magnitude_of", 8)
        if len(fields) < 2 or f.has("field"):
            raise f.error("magnitude_of", "must name two fields or more, and stand instead of field")
    else:
        fields = (f.text("field"),)
    for text in fields:
        try:
            parse_path(text)
        except EnvelopeError as error:
            raise f.error("field", f"is wrong: {error}") from error
    has_rate = f.has("max_rate") or f.has("max_rise")
    found = Bound(
        fields=fields,
        minimum=f.number("min"),
        maximum=f.number("max"),
        max_rate=f.number("max_rate", 0.0),
        max_rise=f.number("max_rise", 0.0),
        jitter_s=f.needed_number("jitter", 0.0, 1.0, 0.0) if has_rate else 0.0,
        longest_gap_s=f.needed_number("longest_gap", 0.001, 10.0, 0.1) if has_rate else 0.1,
        max_length=f.integer("max_length", 0, 1_000_000) if f.has("max_length") else None,
        one_of=f.texts("one_of"),
        when=f.text("when") if f.has("when") else "",
    )
    f.end()
    numbers = (found.minimum, found.maximum, found.max_rate, found.max_rise)
    stated = [any(n is not None for n in numbers), found.max_length is not None, bool(found.one_of)]
    if sum(stated) != 1:
        raise f.error("", "must state numbers (min, max, max_rate, max_rise), or max_length, or one_of")
    if found.minimum is not None and found.maximum is not None and found.minimum > found.maximum:
        raise f.error("min", "is greater than max")
    if len(fields) > 1 and (found.maximum is None or found.minimum is not None or has_rate or found.maximum < 0):
        raise f.error("magnitude_of", "takes a max of 0 or more, and nothing else")
    return found


def _bound_tree(b: Bound) -> dict[str, Any]:
    tree: dict[str, Any] = {"field": b.fields[0]} if len(b.fields) == 1 else {"magnitude_of": list(b.fields)}
    for name, value in (
        ("min", b.minimum), ("max", b.maximum), ("max_rate", b.max_rate), ("max_rise", b.max_rise),
        ("max_length", b.max_length),
    ):  # fmt: skip
        if value is not None:
            tree[name] = value
    if b.has_rate:
        tree["jitter"], tree["longest_gap"] = b.jitter_s, b.longest_gap_s
    if b.one_of:
        tree["one_of"] = list(b.one_of)
    if b.when:
        tree["when"] = b.when
    return tree


def _condition(name: str, f: Fields) -> Condition:
    found = Condition(
        name=_name(f, "", name),
        topic=f.text("topic"),
        type=f.text("type", limit=200),
        field=f.text("field"),
        of=f.text("of", "min"),
        below=f.number("below"),
        above=f.number("above"),
        stale_after_s=f.needed_number("stale_after", 0.001, 60.0),
    )
    f.end()
    if found.of not in AGGREGATES:
        raise f.error("of", f"must be one of: {', '.join(AGGREGATES)}")
    if (found.below is None) == (found.above is None):
        raise f.error("", "must have either below or above")
    parse_path(found.field)
    return found


def _condition_tree(c: Condition) -> dict[str, Any]:
    threshold = {"below": c.below} if c.below is not None else {"above": c.above}
    return {
        "topic": c.topic, "type": c.type, "field": c.field, "of": c.of, "stale_after": c.stale_after_s, **threshold,
    }  # fmt: skip


def _pose(f: Fields | None) -> Pose | None:
    if f is None:
        return None
    found = Pose(
        f.text("topic"), f.text("type", limit=200), f.text("frame"), f.needed_number("stale_after", 0.001, 60.0)
    )
    f.end()
    return found


def _zone(name: str, f: Fields) -> Zone:
    found = Zone(_name(f, "", name), f.text("kind"), f.points("polygon", 3, 256))
    f.end()
    if found.kind not in ZONE_KINDS:
        raise f.error("kind", f"must be one of: {', '.join(ZONE_KINDS)}")
    if not is_simple(found.polygon):
        raise f.error("polygon", "must be a polygon with an area, whose edges do not cross or touch")
    return found


def _hours(f: Fields) -> Hours:
    days = f.texts("days", 7) if f.has("days") else DAYS
    if not days or not set(days) <= set(DAYS):
        raise f.error("days", f"must be some of: {', '.join(DAYS)}")
    try:
        found = Hours(tuple(d for d in DAYS if d in days), *(parse_time_of_day(f.text(n)) for n in ("from", "to")))
    except EnvelopeError as error:
        raise f.error("", f"is wrong: {error}") from error
    f.end()
    if found.start >= found.stop:
        raise f.error("to", "must be after from; a shift over midnight is two entries")
    return found


def _holders(f: Fields, name: str, load_key: KeyLoader | None, *, depth: bool) -> tuple[Holder, ...]:
    found = []
    for holder, item in f.named(name, 64):
        try:
            if load_key is not None and item.has("key_file"):
                pem = load_key(item.text("key_file", limit=1000))
            else:
                pem = item.block("public_key", 2000)
            key = keys.parse_public(pem.strip() + "\n", "the key")
        except (KeyFileError, UnicodeEncodeError) as error:
            raise item.error("public_key", f"is wrong: {error}") from error
        levels = item.integer("depth", 0, MAX_DEPTH, default=0) if depth else 0
        item.end()
        found.append(Holder(_name(item, "", holder), keys.public_pem(key), levels))
    return tuple(sorted(found, key=lambda h: h.name))


def _stop(f: Fields | None, load_key: KeyLoader | None) -> dict[str, Any]:
    if f is None:
        return {}
    stop = _holders(f, "authorities", load_key, depth=False)
    release = _holders(f, "release", load_key, depth=False)
    needs = f.integer("release_needs", 1, max(len(release), 1)) if release else 0
    f.end()
    if len({h.key_id for h in release}) != len(release):
        raise f.error("release", "has one key twice; each counts once")
    if not stop and not release:
        raise f.error("authorities", "names nobody")
    return {"stop": stop, "release": release, "release_needs": needs}


def _definitions(f: Fields) -> tuple[tuple[str, str], ...]:
    section = f.section("definitions")
    if section is None:
        return ()
    names = sorted(section.names())
    if len(names) > 32:
        raise f.error("definitions", "are more than 32")
    return tuple((name, section.block(name, _MAX_DEFINITION)) for name in names)


def _parent(f: Fields) -> str:
    text = f.text("parent")
    if text:
        try:
            parse_digest(text, "parent")
        except RegistryError as error:
            raise f.error("parent", f"is wrong: {error}") from error
    return text


def _time(f: Fields, name: str) -> int:
    try:
        return read_time(f.text(name), name)
    except RegistryError as error:
        raise f.error(name, f"is wrong: {error}") from error


def _name(f: Fields, field: str, value: str) -> str:
    try:
        return check_name("the name", value)
    except RegistryError as error:
        raise f.error(field, f"is wrong: {error}") from error


def _sorted(found: Any) -> tuple[Any, ...]:
    return tuple(sorted(found, key=lambda item: item.name))
