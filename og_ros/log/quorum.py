"""C2SP tlog-policy (c2sp.org/tlog-policy): which logs and witnesses are known, and which of them make a quorum.

A text file that any tool of the field reads; checked here offline. Names are kept as they are written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from og_ros.errors import LogError, PolicyError
from og_ros.log.checkpoint import parse_decimal
from og_ros.log.cosignature import WitnessKey
from og_ros.log.note import VerifierKey

MAX_BYTES = 100_000
MAX_LINES = 1000
MAX_NAMES = 256
NONE = "none"


@dataclass(frozen=True)
class Witness:
    """A witness of a policy: its name there, its key, and where it takes checkpoints (submission prefix), or ""."""

    name: str
    key: WitnessKey
    url: str = ""


@dataclass(frozen=True)
class Group:
    """A group witnesses a checkpoint when at least `least` of its members, witnesses or groups, do."""

    name: str
    least: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class WitnessPolicy:
    """A policy as read; `quorum` names a witness or a group, or is `none`. No logs listed: any log."""

    logs: tuple[VerifierKey, ...] = ()
    witnesses: Mapping[str, Witness] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    quorum: str = NONE

    def is_met(self, cosigners: Collection[WitnessKey]) -> bool:
        """Whether cosignatures of these keys, all verified already, make the quorum."""
        return self.quorum == NONE or self._witnessed(self.quorum, set(cosigners))

    def knows_log(self, key: VerifierKey) -> bool:
        """Whether a log may be believed under this policy."""
        return not self.logs or key in self.logs

    @property
    def keys(self) -> list[WitnessKey]:
        """The keys of all witnesses."""
        return [witness.key for witness in self.witnesses.values()]

    def describe(self) -> str:
        """The quorum in words, such as "2 of w1, w2, (1 of w3, w4)"."""
        return "no witness" if self.quorum == NONE else self._words(self.quorum)

    def _witnessed(self, name: str, cosigners: set[WitnessKey]) -> bool:
        # No recursion without end: a group names only what stands before it.
        group = self.groups.get(name)
        if group is None:
            return self.witnesses[name].key in cosigners
        return sum(self._witnessed(member, cosigners) for member in group.members) >= group.least

    def _words(self, name: str) -> str:
        group = self.groups.get(name)
        if group is None:
            return name
        inner = (f"({self._words(m)})" if m in self.groups else m for m in group.members)
        return f"{group.least} of {', '.join(inner)}"


def any_of(keys: Collection[WitnessKey], least: int) -> WitnessPolicy:
    """The policy that asks for `least` of some keys, whoever they are; fewer keys than that can never meet it."""
    names = {f"w{number}": Witness(f"w{number}", key) for number, key in enumerate(keys, 1)}
    return WitnessPolicy((), names, {"all": Group("all", least, tuple(names))}, "all")


def load_witness_policy(path: Path) -> WitnessPolicy:
    """Read a policy file; raises PolicyError as `parse_witness_policy` does, or when it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PolicyError(f"cannot read the witness policy {path}: {error.strerror}") from error
    return parse_witness_policy(data, str(path))


def parse_witness_policy(data: bytes | str, name: str = "witness policy") -> WitnessPolicy:
    """Read a policy, strictly. Raises PolicyError naming the line."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > MAX_BYTES:
        raise PolicyError(f"{name} is longer than {MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PolicyError(f"{name} is not UTF-8 text") from error
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        raise PolicyError(f"{name} has {len(lines)} lines, more than {MAX_LINES}")
    reader = _Reader()
    for number, line in enumerate(lines, 1):
        try:
            if any((char < " " and char != "\t") or char == "\x7f" for char in line):
                raise LogError("has a control character")
            words = [word for word in line.replace("\t", " ").split(" ") if word]
            if words and not words[0].startswith("#"):
                reader.take(words)
        except LogError as error:
            raise PolicyError(f"{name}:{number}: {error}") from error
    if reader.quorum is None:
        raise PolicyError(f"{name} has no quorum line; `quorum none` asks for no witness")
    return WitnessPolicy(tuple(reader.logs), reader.witnesses, reader.groups, reader.quorum)


class _Reader:
    """What was read so far."""

    def __init__(self) -> None:
        self.logs: list[VerifierKey] = []
        self.witnesses: dict[str, Witness] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self._grouped: set[str] = set()

    def take(self, words: list[str]) -> None:
        """Take one line; raises LogError."""
        kind, *rest = words
        if kind == "log" and len(rest) in (1, 2):
            self._log(rest[0])
        elif kind == "witness" and len(rest) in (2, 3):
            self._witness(*rest)
        elif kind == "group" and len(rest) >= 3:
            self._group(rest[0], rest[1], rest[2:])
        elif kind == "quorum" and len(rest) == 1:
            self._quorum(rest[0])
        else:
            raise LogError(f"{' '.join(words)[:80]!r}: is no log, witness, group or quorum line")

    def _log(self, vkey: str) -> None:
        key = VerifierKey.parse(vkey)
        if any(other.public_key == key.public_key for other in self.logs):
            raise LogError(f"log {key.name}: its key stands twice")
        self.logs.append(key)
        if len(self.logs) > MAX_NAMES:
            raise LogError(f"more than {MAX_NAMES} logs")

    def _witness(self, name: str, vkey: str, url: str = "") -> None:
        key = WitnessKey.parse(vkey)
        if any(other.key.public_key == key.public_key for other in self.witnesses.values()):
            raise LogError(f"witness {name}: its key stands twice")
        self._name(name)
        self.witnesses[name] = Witness(name, key, url)

    def _group(self, name: str, least: str, members: list[str]) -> None:
        for member in members:
            self._known(member)
            if member in self._grouped:
                raise LogError(f"group {name}: {member} is a member already: a witness counts once")
            self._grouped.add(member)
        count = {"any": 1, "all": len(members)}.get(least) or parse_decimal(least, "the group's number")
        if not 1 <= count <= len(members):
            raise LogError(f"group {name}: {count} of {len(members)} members cannot be asked for")
        self._name(name)
        self.groups[name] = Group(name, count, tuple(members))

    def _quorum(self, name: str) -> None:
        if self.quorum is not None:
            raise LogError("there is a second quorum line")
        if name != NONE:
            self._known(name)
        self.quorum = name

    def _name(self, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise LogError(f"the name {name} is taken")
        if len(self.witnesses) + len(self.groups) >= MAX_NAMES:
            raise LogError(f"more than {MAX_NAMES} witnesses and groups")

    def _known(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise LogError(f"{name[:80]!r} is not defined on a line before")
