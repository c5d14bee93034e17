"""Delegation can only narrow: every attempt to widen is refused, and what the comparison misses is not let through."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from envelope_examples import (
    BASE,
    NOW,
    SHIFT,
    SITE,
    TWIST,
    chain,
    digest_of,
    envelope,
    key,
    number,
    odometry,
    owner,
    pem,
    sign_all,
    twist,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.errors import EnvelopeError
from og_ros.gate import envelope_format, envelope_memory
from og_ros.gate.delegation import Chain, Owner, open_chain, widenings
from og_ros.gate.envelope import Bound, Envelope, Holder, TopicBounds
from og_ros.gate.envelope_check import EnvelopeCheck
from og_ros.gate.envelope_memory import check_against
from og_ros.registry import Registry, RegistryWriter, dsse


def opened(*made: tuple[Envelope, str]) -> Chain:
    return open_chain(sign_all(*made), owner())


def narrowed(old: str, new: str) -> Chain:
    """The owner's envelope, and a site manager's with one thing changed."""
    assert old in SITE
    return opened((envelope(), "owner"), (envelope(SITE.replace(old, new)), "site"))


def test_an_honest_chain_holds() -> None:
    found = chain(BASE, SITE, SHIFT)
    assert [e.name for e in found.envelopes] == ["base", "site", "shift"]
    assert len(found.stop_authorities) == 3
    assert (len(found.release_authorities), found.release_needs) == (2, 2)


SITE_BOUND = "bounds: [{field: linear.x, min: -0.5, max: 0.5}]"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("max: 0.5", "max: 1.5", "linear.x max is 1.5; 1 is allowed"),
        ("min: -0.5", "min: -1.5", "linear.x min is -1.5; -1 is allowed"),
        ("min: -0.5, max: 0.5", "max_rise: 3", "max_rise is 3; 2 is allowed"),
        ("min: -0.5, max: 0.5", "max_rise: 1, jitter: 0.1", "jitter is 0.1; 0.05 is allowed"),
        ("min: -0.5, max: 0.5", "max_rise: 1, longest_gap: 1", "longest_gap is 1; 0.1 is allowed"),
        ("field: linear.x, min: -0.5, max: 0.5", "field: angular.z, max_rate: 5", "max_rate is 5; 4 is allowed"),
        ("min: -0.5, max: 0.5", "max: 0.5, when: near", "linear.x max is 0.5; 0.2 is allowed"),
        ("field: linear.x, min: -0.5,", "magnitude_of: [linear.y, linear.x],", ""),
        ("field: linear.x, min: -0.5, max: 0.5", "magnitude_of: [linear.y, linear.x], max: 2", "max is 2; 1.05 is"),
        ("2026-12-01", "2027-12-01", "time of validity is longer"),
        ("2026-02-01", "2025-02-01", "time of validity is longer"),
        ("robots: [r1]", "robots: [r1, r3]", "robots: r3"),
        ("robots: [r1]", 'robots: ["*"]', "robots: *"),
        ("to: 18:00", "to: 21:00", "hours are longer"),
        ("days: [mon]", "days: [mon, wed]", "hours are longer"),
        ("  /cmd_vel:", "  /cmd_vel2:", "/cmd_vel2 is new"),
        ("geometry_msgs/msg/Twist", "geometry_msgs/msg/Accel", "another type"),
        ("bounds:", "free: [linear.x]\n    bounds:", "linear.x is free"),
        ("topics:", "conditions: {near: {topic: /calm, type: std_msgs/msg/Float32, field: data, below: 0, "
         "stale_after: 60}}\ntopics:", "near means something else"),
        ("topics:", "zones: {slow_corner: {kind: slow, polygon: [[0, 0], [1, 0], [1, 1]]}}\ntopics:", "something else"),
        ("topics:", "zones: {all: {kind: allowed, polygon: [[0, 0], [11, 0], [11, 9]]}}\ntopics:", "not within one of"),
        ("topics:", "zones: {yard: {kind: allowed, polygon: [[20, 0], [21, 0], [21, 9]]}}\ntopics:", "not within"),
        ("topics:", "pose: {topic: /fake, type: nav_msgs/msg/Odometry, frame: odom, stale_after: 60}\ntopics:",
         "pose comes from elsewhere"),
        ("topics:", "stop: {release: {me: {key_file: site}}, release_needs: 1}\ntopics:", "only the owner says"),
        ("topics:", "definitions: {our_msgs/msg/Own: float64 x}\ntopics:", "is another or new"),
        ("{shift: {key_file: shift}}", "{shift: {key_file: shift, depth: 1}}", "depth 1; at most 0 is allowed"),
        ("name: site", "name: base", "the same name"),
    ],
)  # fmt: skip
def test_widening_is_refused(old: str, new: str, said: str) -> None:
    if not said:
        narrowed(old, new)
        return
    with pytest.raises(EnvelopeError) as caught:
        narrowed(old, new)
    assert said in str(caught.value)


def test_a_bound_on_every_element_covers_each() -> None:
    above = Bound(("data[*]",), maximum=1.0)
    topics = (TopicBounds("/cmd_vel", "std_msgs/msg/Float64MultiArray", (above,)),)
    parent = replace(envelope(), topics=topics)
    child = replace(envelope(SITE), topics=(replace(topics[0], bounds=(Bound(("data[3]",), maximum=2.0),)),))
    assert any("max is 2" in problem for problem in widenings([parent], child))


def test_a_grandchild_is_held_against_the_owner_too() -> None:
    """Its parent says nothing about linear.y; the owner does."""
    wide = SHIFT.replace("field: linear.x, min: 0, max: 0.3", "field: linear.y, max: 0.9")
    with pytest.raises(EnvelopeError, match=r"linear.y max is 0.9; 0.5 is allowed \(base\)"):
        chain(BASE, SITE, wide)


class TestSignatures:
    def test_another_signer(self) -> None:
        with pytest.raises(EnvelopeError, match="not the owner"):
            opened((envelope(), "mallory"))
        with pytest.raises(EnvelopeError, match="no delegate of base"):
            opened((envelope(), "owner"), (envelope(SITE), "mallory"))

    def test_the_owner_is_no_delegate_of_itself(self) -> None:
        with pytest.raises(EnvelopeError, match="no delegate"):
            opened((envelope(), "owner"), (envelope(SITE), "owner"))

    def test_a_delegate_of_a_delegate_cannot_skip_a_level(self) -> None:
        with pytest.raises(EnvelopeError, match="no delegate of base"):
            opened((envelope(), "owner"), (envelope(SHIFT), "shift"))

    def test_one_without_the_right_cannot_delegate(self) -> None:
        more = replace(envelope(SHIFT), delegates=(Holder("friend", pem("friend")),))
        with pytest.raises(EnvelopeError, match="its signer may not delegate"):
            opened((envelope(), "owner"), (envelope(SITE), "site"), (more, "shift"))

    def test_the_name_of_the_owners_key_under_another_signature(self) -> None:
        ((name, data),) = sign_all((envelope(), "mallory"))
        forged = data.replace(key("mallory").key_id.hex().encode(), key("owner").key_id.hex().encode())
        with pytest.raises(EnvelopeError, match="signature does not hold"):
            open_chain([(name, forged)], owner())

    def test_an_altered_payload(self) -> None:
        ((name, data),) = sign_all((envelope(), "owner"))
        tree = json.loads(data)
        payload = base64.b64decode(tree["payload"]).replace(b'"max":1.0', b'"max":9.0')
        tree["payload"] = base64.b64encode(payload).decode()
        with pytest.raises(EnvelopeError, match="signature does not hold"):
            open_chain([(name, json.dumps(tree).encode())], owner())

    def test_a_child_of_another_parent(self) -> None:
        files = sign_all((envelope(), "owner"), (envelope(SITE), "site"))
        wider = sign_all((replace(envelope(), version=4), "owner"))
        with pytest.raises(EnvelopeError, match="another parent"):
            open_chain([wider[0], files[1]], owner())

    def test_a_child_alone_is_no_owners_envelope(self) -> None:
        child = replace(envelope(SITE), parent=digest_of(sign_all((envelope(), "owner"))[0][1]))
        data = envelope_format.sign(child, key("owner"))
        with pytest.raises(EnvelopeError, match="another parent"):
            open_chain([("site", data)], owner())

    def test_a_signed_file_of_another_kind(self) -> None:
        data = dsse.sign("application/vnd.og-ros.key+json", envelope_format.encode(envelope()), key("owner"))
        with pytest.raises(EnvelopeError, match="no envelope"):
            open_chain([("it", data)], owner())

    @pytest.mark.parametrize("count", [0, 10])
    def test_a_chain_has_a_length(self, count: int) -> None:
        with pytest.raises(EnvelopeError, match="1 to 9"):
            open_chain([("it", b"")] * count, owner())


def test_a_registrys_authority_owns_and_its_revocations_count(tmp_path: Path) -> None:
    with RegistryWriter.create(tmp_path / "registry", key("owner"), "fleet", now_ns=10**9) as writer:
        writer.certify_key(key("site").public_key, role="operator", not_before_ns=10**9)
        files = sign_all((envelope(), "owner"), (envelope(SITE), "site"))
        open_chain(files, Owner.of_registry(Registry.open(tmp_path / "registry")))
        writer.revoke_key(key("site").key_id, "left the company", at_ns=NOW - 1)
    with pytest.raises(EnvelopeError, match="the registry revoked"):
        open_chain(files, Owner.of_registry(Registry.open(tmp_path / "registry")))


class TestMemory:
    def remember(self, *texts: str, **changes: Any) -> tuple[envelope_memory.Seen, ...]:
        return check_against((), chain(*texts), NOW)

    def test_the_same_chain_again(self, tmp_path: Path) -> None:
        seen = self.remember(BASE, SITE)
        assert envelope_memory.load(tmp_path / "seen.json") is None
        envelope_memory.save(tmp_path / "seen.json", seen)
        assert envelope_memory.load(tmp_path / "seen.json") == seen
        assert check_against(seen, chain(BASE, SITE), NOW) == seen

    def test_an_older_version_is_refused(self) -> None:
        seen = self.remember(BASE)
        check_against(seen, chain(BASE.replace("version: 3", "version: 4")), NOW)
        with pytest.raises(EnvelopeError, match="version 2; version 3 was in force"):
            check_against(seen, chain(BASE.replace("version: 3", "version: 2")), NOW)

    def test_another_content_of_the_same_version_is_refused(self) -> None:
        seen = self.remember(BASE)
        with pytest.raises(EnvelopeError, match="not the one that was in force"):
            check_against(seen, chain(BASE.replace("max: 0.5", "max: 0.6")), NOW)

    def test_a_narrowing_cannot_be_left_out_before_its_end(self) -> None:
        seen = self.remember(BASE, SITE, SHIFT)
        with pytest.raises(EnvelopeError, match="narrowed base and was left out"):
            check_against(seen, chain(BASE), NOW)
        with pytest.raises(EnvelopeError, match="shift narrowed"):
            check_against(seen, chain(BASE, SITE), NOW)
        after_the_shift = 1_773_000_000 * 10**9
        check_against(seen, chain(BASE, SITE), after_the_shift)

    def test_the_owner_can_replace_what_was_narrowed(self) -> None:
        seen = self.remember(BASE, SITE)
        newer = check_against(seen, chain(BASE.replace("version: 3", "version: 4")), NOW)
        with pytest.raises(EnvelopeError, match="version 3; version 4 was in force"):
            check_against(newer, chain(BASE), NOW)

    @pytest.mark.parametrize("data", [b"", b"{}x", b'{"envelopes":[{}]}', b'{"envelopes":1}'])
    def test_a_damaged_memory_is_no_empty_one(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "seen.json").write_bytes(data)
        with pytest.raises(EnvelopeError):
            envelope_memory.load(tmp_path / "seen.json")


NUMBERS = st.one_of(st.floats(-2, 2), st.sampled_from([math.nan, math.inf, -1.0, 0.5, 1.0, 1e308]))
COMMANDS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, st.integers(0, 200)), min_size=1, max_size=12)


@st.composite
def bounds(draw: Any) -> tuple[Bound, ...]:
    """Some bounds on a Twist, without a thought of what stands above."""
    found = []
    for field in draw(st.lists(st.sampled_from(["linear.x", "linear.y", "angular.z"]), max_size=3)):
        low, high = sorted((draw(st.floats(-2, 2)), draw(st.floats(-2, 2))))
        rise = draw(st.one_of(st.none(), st.floats(0.1, 5)))
        when = draw(st.sampled_from(["", "near", "slow_corner"]))
        found.append(Bound((field,), low, high, max_rise=rise, jitter_s=0.01 if rise else 0.0, when=when))
    return tuple(found)


@settings(max_examples=60, deadline=None)
@given(st.lists(bounds(), max_size=3), COMMANDS)
def test_what_all_together_accept_each_one_accepts(narrower: list[tuple[Bound, ...]], commands: list[Any]) -> None:
    """Whatever a child says, even wider than its parent: no command passes that its ancestors alone would refuse."""
    root = envelope()
    free = (TopicBounds("/cmd_vel", TWIST, (), root.topics[0].free),)
    made = [root, *(replace(root, topics=(replace(free[0], bounds=b),), hours=()) for b in narrower)]
    together = EnvelopeCheck(made, "r1", lambda: NOW)
    ancestors = [EnvelopeCheck(made[:count], "r1", lambda: NOW) for count in range(1, len(made) + 1)]
    now = 10**12
    for check in (together, *ancestors):
        check.observe("/odom", "nav_msgs/msg/Odometry", odometry(1.0, 1.0), now)
        check.observe("/near", "std_msgs/msg/Float32", number(3.0), now)
    for x, y, turn, wait in commands:
        now += wait * 10**6
        payload = twist(x, y, turn)
        if together("/cmd_vel", TWIST, payload, now) is None:
            for ancestor in ancestors:
                assert ancestor("/cmd_vel", TWIST, payload, now) is None
            for check in (together, *ancestors):
                check.forwarded("/cmd_vel", payload, now)


@settings(max_examples=60, deadline=None)
@given(bounds(), bounds(), COMMANDS)
def test_a_chain_that_is_opened_is_never_wider(mine: Any, theirs: Any, commands: list[Any]) -> None:
    """The comparison refuses, or the child alone allows nothing that its bounds' counterparts above refuse."""
    parent = replace(
        envelope(), topics=(replace(envelope().topics[0], bounds=(*envelope().topics[0].bounds, *theirs)),)
    )
    child = replace(envelope(SITE), topics=(TopicBounds("/cmd_vel", TWIST, mine),))
    problems = list(widenings([parent], child))
    for bound in mine:
        above = [b for b in parent.topics[0].bounds if b.fields == bound.fields and b.when in ("", bound.when)]
        wider = any(b.maximum is not None and bound.maximum > b.maximum for b in above)
        wider = wider or any(b.minimum is not None and bound.minimum < b.minimum for b in above)
        assert not wider or problems
