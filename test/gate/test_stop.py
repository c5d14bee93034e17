"""The signed emergency stop: anybody listed stops a robot, enough of those listed release it, and nothing else does."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest
from envelope_examples import BASE, NOW, chain, key
from hypothesis import given
from hypothesis import strategies as st

from og_ros.attest import cbor_reader, keys
from og_ros.attest.signer import SoftwareSigner
from og_ros.attest.statement import Algorithm
from og_ros.errors import OgError, StopError
from og_ros.gate import estop, stop_state
from og_ros.gate.estop import StopKind, sign_release, sign_stop
from og_ros.gate.stop_state import MAX_REMEMBERED, Outcome, StopRules, StopState


def rules() -> StopRules:
    found = chain(BASE)
    return StopRules(
        {k: h.public_key for k, h in found.stop_authorities.items()},
        {k: h.public_key for k, h in found.release_authorities.items()},
        found.release_needs,
    )


def state(saved: bytes | None = None) -> StopState:
    return StopState("r1", rules(), saved)


def stop(
    who: str = "floor", sequence: int = 1, robot: str = "r1", reason: str = "smoke", issued_ns: int = NOW
) -> bytes:
    return estop.encode(sign_stop(robot, key(who), sequence, issued_ns, reason))


def release(gate: StopState, who: str, sequence: int = 9, robot: str = "r1", challenge: bytes | None = None) -> bytes:
    return estop.encode(sign_release(robot, key(who), sequence, NOW, "checked", challenge or gate.challenge))


def test_a_stop_stops_and_two_release() -> None:
    gate = state()
    assert gate("/cmd_vel", "t", b"", 0) is None
    assert gate.take(stop()) is Outcome.STOPPED
    refusal = gate("/cmd_vel", "t", b"", 0)
    assert refusal is not None
    assert refusal.kind == "emergency_stop"
    assert "smoke" in refusal.message
    assert gate.missing == 2
    assert gate.take(release(gate, "a")) is Outcome.COUNTED
    assert gate.stopped
    assert gate.take(release(gate, "b")) is Outcome.RELEASED
    assert not gate.stopped


def test_a_stop_of_every_robot() -> None:
    assert state().take(stop(robot="*")) is Outcome.STOPPED


@pytest.mark.parametrize("issued_ns", [0, 1, NOW - 10**18, 2**31 * 10**9 - 1])
def test_no_clock_matters(issued_ns: int) -> None:
    assert state().take(stop(issued_ns=issued_ns)) is Outcome.STOPPED


def test_a_stop_of_another_robot_is_not_for_this_one() -> None:
    gate = state()
    assert gate.take(stop(robot="r2")) is Outcome.OTHER_ROBOT
    assert not gate.stopped


def test_who_may_release_may_stop_and_not_the_other_way_round() -> None:
    gate = state()
    assert gate.take(stop("a")) is Outcome.STOPPED
    with pytest.raises(StopError, match="not listed as one who may release"):
        gate.take(release(gate, "floor"))


def test_one_authority_counts_once() -> None:
    gate = state()
    gate.take(stop())
    for sequence in range(5):
        assert gate.take(release(gate, "a", sequence)) is Outcome.COUNTED
    assert gate.stopped


def test_a_replayed_stop_does_not_undo_a_release() -> None:
    gate = state()
    old = stop()
    gate.take(old)
    gate.take(release(gate, "a"))
    challenge = gate.challenge
    assert gate.take(old) is Outcome.REPLAYED
    assert gate.challenge == challenge
    gate.take(release(gate, "b"))
    assert gate.take(old) is Outcome.REPLAYED
    assert not gate.stopped
    assert gate.take(stop(sequence=2)) is Outcome.STOPPED


def test_an_old_stop_that_never_arrived_stops_and_does_not_disturb_a_release() -> None:
    """A genuine stop from a device that lost its count must not be taken for a replay."""
    gate = state()
    gate.take(stop(sequence=100))
    gate.take(release(gate, "a"))
    assert gate.take(stop(sequence=5, reason="late")) is Outcome.ALREADY_STOPPED
    assert gate.take(release(gate, "b")) is Outcome.RELEASED
    assert gate.take(stop(sequence=6, reason="later")) is Outcome.STOPPED


def test_a_new_stop_voids_the_releases_so_far() -> None:
    gate = state()
    gate.take(stop())
    first = release(gate, "a")
    gate.take(first)
    assert gate.take(stop("b", reason="wait")) is Outcome.ALREADY_STOPPED
    assert gate.missing == 2
    with pytest.raises(StopError, match="another challenge"):
        gate.take(first)


class TestReleases:
    def test_replayed(self) -> None:
        gate = state()
        gate.take(stop())
        both = [release(gate, "a"), release(gate, "b")]
        for payload in both:
            gate.take(payload)
        gate.take(stop(sequence=2))
        for payload in both:
            with pytest.raises(StopError, match="another challenge"):
                gate.take(payload)
        assert gate.stopped

    def test_signed_before_the_stop(self) -> None:
        gate = state()
        early = release(gate, "a")
        with pytest.raises(StopError, match="nothing to release"):
            gate.take(early)
        gate.take(stop())
        with pytest.raises(StopError, match="another challenge"):
            gate.take(early)

    def test_for_another_robot_with_this_ones_challenge(self) -> None:
        gate = state()
        gate.take(stop())
        assert gate.take(release(gate, "a", robot="r2")) is Outcome.OTHER_ROBOT
        assert gate.missing == 2

    def test_for_every_robot(self) -> None:
        with pytest.raises(StopError, match="for one robot"):
            sign_release("*", key("a"), 1, NOW, "", bytes(range(16)))

    def test_across_a_restart(self) -> None:
        gate = state()
        gate.take(stop())
        gate.take(release(gate, "a"))
        second = release(gate, "b")
        again = state(gate.as_json())
        assert again.stopped
        with pytest.raises(StopError, match="another challenge"):
            again.take(second)
        assert again.missing == 2

    def test_when_nobody_may_release(self) -> None:
        nobody = replace(rules(), release={}, release_needs=0)
        gate = StopState("r1", nobody)
        gate.take(stop())
        with pytest.raises(StopError, match="not listed"):
            gate.take(release(gate, "a"))
        assert gate.missing == 1


class TestForgeries:
    def test_of_nobody_listed(self) -> None:
        with pytest.raises(StopError, match="not listed"):
            state().take(stop("mallory"))

    def test_in_anothers_name(self) -> None:
        forged = replace(sign_stop("r1", key("mallory"), 1, NOW, ""), key_id=key("floor").key_id)
        with pytest.raises(StopError, match="signature does not hold"):
            state().take(estop.encode(forged))

    @pytest.mark.parametrize(
        "change",
        [{"robot": "*"}, {"sequence": 2}, {"issued_ns": NOW + 1}, {"reason": "other"}, {"signature": bytes(64)}],
    )
    def test_with_one_field_changed(self, change: dict[str, object]) -> None:
        gate = state()
        with pytest.raises(StopError, match="signature does not hold"):
            gate.take(estop.encode(replace(sign_stop("r1", key("floor"), 1, NOW, "smoke"), **change)))
        assert not gate.stopped

    def test_a_stop_made_into_a_release(self) -> None:
        gate = state()
        gate.take(stop("b"))
        made = replace(sign_stop("r1", key("a"), 1, NOW, ""), kind=StopKind.RELEASE, challenge=gate.challenge)
        with pytest.raises(StopError, match="signature does not hold"):
            gate.take(estop.encode(made))

    def test_of_a_revoked_key(self) -> None:
        gate = StopState("r1", replace(rules(), revoked=lambda key_id: key_id == key("floor").key_id))
        with pytest.raises(StopError, match="revoked"):
            gate.take(stop())
        assert gate.take(stop("a")) is Outcome.STOPPED


class TestRestarts:
    def test_a_stop_outlives_the_gate(self, tmp_path: Path) -> None:
        gate = state(stop_state.load(tmp_path / "stop.json"))
        assert not gate.stopped
        gate.take(stop())
        assert gate.changed
        stop_state.save(tmp_path / "stop.json", gate)
        assert not gate.changed
        again = state(stop_state.load(tmp_path / "stop.json"))
        assert again.reason == gate.reason
        assert again.challenge != gate.challenge
        again.take(release(again, "a"))
        again.take(release(again, "b"))
        assert again.take(stop()) is Outcome.REPLAYED

    @pytest.mark.parametrize("saved", [b"", b"{", b"{}", b'{"robot":"r2","stopped":"","authorities":{}}',
                                       b'{"robot":"r1","stopped":"","authorities":{"zz":{}}}'])  # fmt: skip
    def test_what_cannot_be_read_counts_as_stopped(self, saved: bytes) -> None:
        gate = state(saved)
        assert gate.stopped
        gate.take(release(gate, "a"))
        assert gate.take(release(gate, "b")) is Outcome.RELEASED

    def test_what_is_remembered_has_a_bound(self) -> None:
        gate = state()
        for sequence in range(MAX_REMEMBERED + 20):
            gate.take(stop(sequence=sequence))
        assert len(gate.as_json()) < 60_000
        again = state(gate.as_json())
        assert again.take(stop(sequence=0)) is Outcome.REPLAYED
        assert again.take(stop(sequence=MAX_REMEMBERED + 19)) is Outcome.REPLAYED
        assert again.take(stop(sequence=MAX_REMEMBERED + 20)) is not Outcome.REPLAYED


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_the_wire_gives_the_message_back(algorithm: Algorithm) -> None:
    signer = SoftwareSigner(keys.generate(algorithm))
    for message in (
        sign_stop("*", signer, 2**64 - 1, NOW, "é"),
        sign_release("r1", signer, 0, 0, "", bytes(range(16))),
    ):
        assert estop.decode(estop.encode(message)) == message
        estop.verify(message, stop_state.Verifier(signer.public_key))


def test_what_is_signed_is_deterministic_cbor_behind_its_own_domain() -> None:
    message = sign_stop("r1", key("floor"), 7, NOW, "smoke")
    head, _, body = message.signed_bytes().partition(b"\0")
    assert head == b"og_ros emergency stop v1"
    assert cbor_reader.read(body) == cbor2.loads(body)
    assert cbor2.dumps(cbor2.loads(body), canonical=True) == body


@pytest.mark.parametrize("cut", range(0, 158, 3))
def test_a_truncated_message_is_refused(cut: int) -> None:
    payload = stop()
    with pytest.raises(StopError):
        state().take(payload[:cut])


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    gate = StopState("r1", StopRules({}, {}, 0))
    with contextlib.suppress(OgError):
        gate.take(b"\0\1\0\0" + data)
    assert not gate.stopped


def test_rclpy_reads_and_writes_the_same_bytes() -> None:
    serialization = pytest.importorskip("rclpy.serialization")
    from og_ros.msg import EmergencyStop

    payload = stop(reason="smoke in aisle 4")
    message = serialization.deserialize_message(payload, EmergencyStop)
    assert (message.robot, message.reason, message.sequence) == ("r1", "smoke in aisle 4", 1)
    assert estop.decode(bytes(serialization.serialize_message(message))) == estop.decode(payload)
