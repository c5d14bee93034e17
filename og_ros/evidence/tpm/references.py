"""What a relying party expects of `tpm2-quote` evidence: the reference values of its policy, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from og_ros.attest import keys
from og_ros.errors import KeyFileError, PolicyError
from og_ros.evidence.tpm.event_log import START
from og_ros.evidence.tpm.quote import PCR_COUNT, Clock

T = TypeVar("T")

_NAME: Final = "reference_values.tpm2-quote"
_DIGEST_SIZE: Final = 32
_NAME_SIZE: Final = 34


@dataclass(frozen=True)
class References:
    """Reference values.

    Attributes:
        enrollers: public keys (PEM) of enrolment services, by name.
        attestation_keys: names (hex, 34 bytes) of attestation keys that need no enrolment, by robot.
        revoked: names of attestation keys that are no longer trusted.
        manifests: digests of the environments that are allowed.
        manifest_signers: public keys (PEM) whose signed manifests, in the policy's collateral, are allowed as well.
        models: digests of the models that are allowed; none: any, since the manifest names the model, too.
        pcrs: the values that are allowed for a PCR, by its number.
        log_start: what PCR 14 may hold before a launch: 32 zeros, and what a boot loader measures into it.
        last_seen: the clock of the newest quote seen of an attestation key: an older one is a replay.
    """

    enrollers: Mapping[str, keys.PublicKey] = field(default_factory=dict)
    attestation_keys: Mapping[str, frozenset[bytes]] = field(default_factory=dict)
    revoked: frozenset[bytes] = frozenset()
    manifests: frozenset[bytes] = frozenset()
    manifest_signers: Mapping[str, keys.PublicKey] = field(default_factory=dict)
    models: frozenset[bytes] = frozenset()
    pcrs: Mapping[int, frozenset[bytes]] = field(default_factory=dict)
    log_start: frozenset[bytes] = frozenset({START})
    last_seen: Mapping[bytes, Clock] = field(default_factory=dict)


def read_references(tree: object) -> References:
    """Read the reference values of a policy; raises PolicyError, naming the field: a policy is not guessed at."""
    section = _mapping(tree, _NAME)
    readers: dict[str, Callable[[object, str], Any]] = {
        "enrollers": lambda v, w: _each(v, w, _key),
        "attestation_keys": lambda v, w: _each(v, w, _names),
        "revoked": _names,
        "manifests": _digests,
        "manifest_signers": lambda v, w: _each(v, w, _key),
        "models": _digests,
        "pcrs": _pcrs,
        "log_start": _digests,
        "last_seen": _clocks,
    }
    for name in section:
        if name not in readers:
            raise PolicyError(f"{_NAME}.{name[:40]} is unknown; known: {', '.join(readers)}")
    return References(**{name: readers[name](value, f"{_NAME}.{name}") for name, value in section.items()})


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise PolicyError(f"{what} is no mapping")
    return {str(name): item for name, item in value.items()}


def _each(value: object, what: str, read: Callable[[object, str], T]) -> dict[str, T]:
    return {name: read(item, f"{what}.{name}") for name, item in _mapping(value, what).items()}


def _key(value: object, what: str) -> keys.PublicKey:
    if not isinstance(value, (str, bytes)):
        raise PolicyError(f"{what} is no public key in PEM")
    try:
        return keys.parse_public(value, what)
    except KeyFileError as error:
        raise PolicyError(str(error)) from error


def _hex(value: object, what: str, size: int) -> bytes:
    text = value.removeprefix("sha256:") if isinstance(value, str) else ""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != size:
        raise PolicyError(f"{what} is not {2 * size} hex digits in quotes")
    return found


def _several(value: object, what: str, size: int) -> frozenset[bytes]:
    items = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
    return frozenset(_hex(item, what, size) for item in items)


def _digests(value: object, what: str) -> frozenset[bytes]:
    return _several(value, what, _DIGEST_SIZE)


def _names(value: object, what: str) -> frozenset[bytes]:
    return _several(value, what, _NAME_SIZE)


def _pcrs(value: object, what: str) -> dict[int, frozenset[bytes]]:
    found = {}
    for name, item in _mapping(value, what).items():
        if not name.isdecimal() or int(name[:3]) >= PCR_COUNT:
            raise PolicyError(f"{what}: {name!a} is no PCR; they are numbered 0 to {PCR_COUNT - 1}")
        found[int(name)] = _digests(item, f"{what}.{name}")
    return found


def _clocks(value: object, what: str) -> dict[bytes, Clock]:
    found = {}
    for name, item in _mapping(value, what).items():
        clock = _mapping(item, f"{what}.{name}")
        numbers: list[Any] = [clock.get(part) for part in ("clock_ms", "reset_count", "restart_count")]
        if any(type(number) is not int for number in numbers):
            raise PolicyError(f"{what}.{name} lacks clock_ms, reset_count or restart_count, as whole numbers")
        found[_hex(name, what, _NAME_SIZE)] = Clock(numbers[0], numbers[1], numbers[2], safe=True)
    return found
