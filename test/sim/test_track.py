"""Tracks close, bend as promised, and say where the robot is with the right signs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from og_ros.sim.track import SPACING, Track, random_track


def track_of(seed: int) -> Track:
    return random_track(np.random.Generator(np.random.PCG64(seed)))


def circle(radius: float) -> Track:
    """A circle around the origin, driven anticlockwise."""
    count = round(2 * math.pi * radius / SPACING)
    angle = np.arange(count) * (2 * math.pi / count)
    outward = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    tangents = np.stack([-np.sin(angle), np.cos(angle)], axis=1)
    return Track(radius * outward, tangents, np.full(count, 1 / radius))


@pytest.mark.parametrize("seed", range(8))
def test_a_random_track_is_a_closed_loop_of_drivable_bends(seed: int) -> None:
    track = track_of(seed)
    steps = np.diff(np.concatenate([track.points, track.points[:1]]), axis=0)
    assert np.abs(np.hypot(*steps.T) - SPACING).max() < 2e-3
    assert np.abs(track.curvature).max() <= 1.7
    assert track.curvature.sum() * SPACING == pytest.approx(2 * math.pi, abs=0.03)
    assert 6 < track.length < 18


def test_offset_is_positive_to_the_left_and_heading_anticlockwise() -> None:
    track = circle(2.0)
    state = track.line_state(1.9, 0.0, math.pi / 2 + 0.2)  # at (2, 0) the line runs along +y, its left is inside
    assert state.offset == pytest.approx(0.1, abs=1e-3)
    assert state.heading == pytest.approx(0.2, abs=1e-3)
    assert state.curvature == pytest.approx(0.5, abs=1e-6)
    outside = track.line_state(2.1, 0.0, math.pi / 2 - 0.2)
    assert outside.offset == pytest.approx(-0.1, abs=1e-3)
    assert outside.heading == pytest.approx(-0.2, abs=1e-3)


def test_heading_error_wraps() -> None:
    assert abs(circle(2.0).line_state(-2.0, 0.0, -math.pi / 2 + 2 * math.pi).heading) < 1e-3


def test_the_line_state_between_two_points_is_not_a_staircase() -> None:
    track = circle(1.0)
    headings = [
        track.line_state(math.cos(angle), math.sin(angle), angle + math.pi / 2).heading
        for angle in np.linspace(0.0, 0.1, 50)
    ]
    assert max(abs(heading) for heading in headings) < 1e-3


def test_ahead_runs_round_the_seam() -> None:
    track = track_of(0)
    assert track.ahead(len(track.points) - 1, SPACING) == 0
