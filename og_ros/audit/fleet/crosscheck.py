"""Checks across recordings: a record at two times, two stories of one session, one key on two robots.

Two recordings of the same records at the same times are no finding: two recorders ran, or one file was copied. Such
overlaps are listed, since whoever counts recordings counts those records twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

from og_ros.audit.findings import Finding
from og_ros.audit.fleet.sightings import Rows

# Sessions of one key that follow each other may overlap by this much: a restart, and a clock that was set meanwhile.
_OVERLAP_NS: Final = 10**9

Sessions = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class FleetFinding:
    """A finding that takes more than one recording to see, with the recordings that it is about."""

    finding: Finding
    recordings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return {**self.finding.as_json(), "recordings": list(self.recordings)}


@dataclass(frozen=True)
class Overlap:
    """Records of one session that two recordings have alike: `shared` of them, the same bytes at the same times."""

    session: str
    stage: str
    robot: str
    recordings: tuple[str, str]
    shared: int


def cross_check(
    sessions: Sessions, rows: Callable[[str, int], Rows], max_skew_ns: int
) -> tuple[list[FleetFinding], list[Overlap]]:
    """Compare the sessions of recordings; `sessions` has those of each, `rows(recording, n)` the rows of its n-th.

    Only sessions that more than one recording has are compared record by record. Arrivals more than `max_skew_ns`
    apart are not the same arrival.
    """
    places: dict[tuple[str, str], list[tuple[str, int, Mapping[str, Any]]]] = defaultdict(list)
    for recording in sorted(sessions):
        for number, session in enumerate(sessions[recording]):
            places[(session["key"], session["session"])].append((recording, number, session))
    findings: list[FleetFinding] = []
    overlaps: list[Overlap] = []
    for where in places.values():
        if len({recording for recording, _, _ in where}) > 1:
            found, shared = _compare(where, rows, max_skew_ns)
            findings += found
            overlaps += shared
    # A record that its key did not sign says nothing about that key.
    signed = {place: genuine for place, where in places.items() if (genuine := [w for w in where if w[2]["genuine"]])}
    findings += _shared_identities(signed)
    findings += _keys_at_once(signed)
    return findings, overlaps


def _compare(
    where: Sequence[tuple[str, int, Mapping[str, Any]]], rows: Callable[[str, int], Rows], max_skew_ns: int
) -> tuple[list[FleetFinding], list[Overlap]]:
    """Compare one session's records, as several recordings have them, by sequence number."""
    known: dict[int, tuple[bytes, int, str]] = {}
    forked: dict[tuple[str, str], list[int]] = defaultdict(list)
    replayed: dict[tuple[str, str], list[int]] = defaultdict(list)
    shared: Counter[tuple[str, str]] = Counter()
    tables = [(recording, rows(recording, number)) for recording, number, _ in where]
    for recording, table in tables:
        for row in table[table["genuine"] == 1]:
            known.setdefault(int(row["sequence"]), (row["digest"].tobytes(), int(row["received_ns"]), recording))
    for recording, table in tables:
        for row in table:
            sequence, arrival, digest = int(row["sequence"]), int(row["received_ns"]), row["digest"].tobytes()
            before = known.get(sequence)
            if before is None or before[2] == recording:
                continue  # within one recording the audit itself has looked
            pair = (before[2], recording)
            if before[0] != digest:
                if row["genuine"]:
                    forked[pair].append(sequence)
            elif abs(before[1] - arrival) > max_skew_ns:
                replayed[pair].append(sequence)
            else:
                shared[pair] += 1
    session = where[0][2]
    findings = [
        _finding("recordings_disagree", session, pair, sequences, "signed with two contents: one in {}, another in {}")
        for pair, sequences in forked.items()
    ]
    findings += [
        _finding("replayed_across_recordings", session, pair, sequences, "arrived at one time in {}, at another in {}")
        for pair, sequences in replayed.items()
    ]
    overlaps = [
        Overlap(session["session"], session["stage"], session["robot"], pair, count) for pair, count in shared.items()
    ]
    return findings, overlaps


def _finding(
    kind: str, session: Mapping[str, Any], pair: tuple[str, str], sequences: list[int], what: str
) -> FleetFinding:
    count, first = len(sequences), min(sequences)
    number = f"sequence {first}" if count == 1 else f"{count} sequences from {first} on"
    names = what.format(*(_short(recording) for recording in pair))
    message = f"robot {session['robot']}, stage {session['stage']}: {number} of one session {names}"
    return FleetFinding(Finding(kind, message, sequence=first, stage=session["stage"]), pair)


def _shared_identities(
    places: Mapping[tuple[str, str], Sequence[tuple[str, int, Mapping[str, Any]]]],
) -> Iterator[FleetFinding]:
    """Find keys, and session ids, that more than one robot used."""
    robots: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for (key, session), where in places.items():
        for recording, _, entry in where:
            robots[("key_shared_by_robots", key)][entry["robot"]].add(recording)
            robots[("session_shared_by_robots", session)][entry["robot"]].add(recording)
    for (kind, identity), users in robots.items():
        if len(users) > 1:
            what = "key" if kind.startswith("key") else "session"
            message = f"{what} {identity[:16]} was used by the robots {', '.join(sorted(users))}"
            yield FleetFinding(Finding(kind, message), tuple(sorted(set().union(*users.values()))))


def _keys_at_once(
    places: Mapping[tuple[str, str], Sequence[tuple[str, int, Mapping[str, Any]]]],
) -> Iterator[FleetFinding]:
    """Find keys that signed in two sessions of a stage at the same time, as a copied key does."""
    spans: dict[tuple[str, str], list[tuple[int, int, tuple[str, ...]]]] = defaultdict(list)
    for (key, _), where in places.items():
        first = min(entry["signed_ns"][0] for _, _, entry in where)
        last = max(entry["signed_ns"][1] for _, _, entry in where)
        spans[(key, where[0][2]["stage"])].append((first, last, tuple(sorted({r for r, _, _ in where}))))
    for (key, stage), found in spans.items():
        found.sort()
        until = -(2**63)
        holder: tuple[str, ...] = ()
        for first, last, recordings in found:
            if first < until - _OVERLAP_NS:
                seconds = (min(until, last) - first) / 1e9
                message = f"stage {stage}: key {key[:16]} signed in two sessions at once, for {seconds:.1f} s"
                yield FleetFinding(
                    Finding("key_in_two_sessions", message, stage=stage), tuple(sorted({*holder, *recordings}))
                )
            if last > until:
                until, holder = last, recordings


def _short(recording: str) -> str:
    return "/".join(PurePath(recording).parts[-2:])
