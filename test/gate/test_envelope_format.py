"""The YAML and the signed JSON of an envelope: one form, and an error that names line and field for everything else."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from envelope_examples import BASE, NOW, SHIFT, SITE, chain, envelope, key, pem
from hypothesis import given
from hypothesis import strategies as st

from og_ros.errors import EnvelopeError
from og_ros.gate import envelope_format, zones
from og_ros.gate.envelope_check import EnvelopeCheck
from og_ros.gate.hours import minute_of_week

CONFIG = Path(__file__).resolve().parents[2] / "config" / "envelopes"


@pytest.mark.parametrize("text", [BASE, SITE, SHIFT])
def test_what_is_signed_gives_the_envelope_back(text: str) -> None:
    made = envelope(text)
    payload = envelope_format.encode(made)
    assert envelope_format.decode(payload, "it") == made
    assert envelope_format.parse(envelope_format.sign(made, key("owner")), "it").envelope == made


@pytest.mark.parametrize("name", ["warehouse_amr", "arm_near_people"])
def test_the_examples_are_whole(name: str) -> None:
    made = envelope((CONFIG / f"{name}.yaml").read_text())
    assert EnvelopeCheck([made], made.robots[0]).topics
    assert made.release_needs


def test_the_example_of_a_site_narrows_that_of_the_warehouse() -> None:
    found = chain((CONFIG / "warehouse_amr.yaml").read_text().replace("site-manager.pem.pub", "site"),
                  (CONFIG / "site_night.yaml").read_text())  # fmt: skip
    assert [e.name for e in found.envelopes] == ["warehouse-amr", "site-night"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("version: 3", "version: 0", "it.yaml:3: version must be a whole number"),
        ("version: 3", "version: true", "it.yaml:3"),
        ("version: 3\n", "", "version is missing"),
        ("version: 3", "version: 3\nversoin: 4", "it.yaml:4: versoin is unknown"),
        ("version: 3", "version: 3\nversion: 3", "it.yaml:4: a key is no text, or there twice"),
        ("min: -1, max: 1, max_rise", "min: 2, max: 1, max_rise", "topics./cmd_vel.bounds[0].min is greater than max"),
        ("max: 1, max_rise", "max: .nan, max_rise", "neither text nor a finite number"),
        ("max: 1, max_rise", "max: .inf, max_rise", "neither text nor a finite number"),
        ("max: 1, max_rise", "max: '1', max_rise", "max must be a number"),
        ("max: 1, max_rise", "maximum: 1, max_rise", "maximum is unknown"),
        ("max_rise: 2", "max_rise: -2", "max_rise must be a number from 0"),
        ("jitter: 0.05", "jitter: 5", "jitter must be a number from 0 to 1"),
        ("field: linear.x", "field: linear..x", "no field path"),
        ("[linear.x, linear.y], max: 1.05", "[linear.x], max: 1.05", "two fields or more"),
        ("[linear.x, linear.y], max: 1.05", "[linear.x, linear.y], min: 1", "takes a max"),
        ("  /cmd_vel:", "  cmd_vel:", "must be the full name of a topic"),
        ("below: 2", "below: 2, above: 1", "either below or above"),
        ("below: 2", "of: mean, below: 2", "of must be one of: min, max, count"),
        ("stale_after: 0.5}\npose", "stale_after: 0}\npose", "stale_after must be a number from 0.001"),
        ("kind: slow", "kind: quick", "kind must be one of: allowed, forbidden, slow"),
        ("[[8, 8], [9, 8], [9, 9], [8, 9]]", "[[8, 8], [9, 9], [9, 8], [8, 9]]", "edges do not cross"),
        ("[[8, 8], [9, 8], [9, 9], [8, 9]]", "[[8, 8], [9, 9]]", "3 points or more"),
        ("[[8, 8], [9, 8], [9, 9], [8, 9]]", "[[8, 8], [9, 9], [10, 10]]", "an area"),
        ("from: 06:00, to: 20:00", "from: 20:00, to: 06:00", "two entries"),
        ("from: 06:00", "from: 24:30", "no time of day"),
        ("days: [mon, tue]", "days: [mon, Tue]", "must be some of: mon"),
        ("robots: [r1, r2]", "robots: []", "robots must name a robot"),
        ("robots: [r1, r2]", "robots: [r1, r1]", "has an entry twice"),
        ("robots: [r1, r2]", "robots: [rоbot]", "so that it cannot be made to look like another"),
        ("not_after: 2027", "not_after: 2025", "not_after is before not_before"),
        ("not_after: 2027-01-01T00:00:00Z", "not_after: next year", "not_after is wrong"),
        ("release_needs: 2", "release_needs: 3", "release_needs must be a whole number from 1 to 2"),
        ("b: {key_file: b}", "b: {key_file: a}", "one key twice"),
        ("key_file: site", "public_key: nonsense", "is wrong"),
        ("pit: {", "near: {", "share a name"),
        ("name: base", "name: &n base\nnotes: *n", "an alias"),
        ("name: base", "name: !!python/name:os.system base", "neither text nor"),
        ("name: base", "parent: sha256:00\nname: base", "parent is unknown"),
    ],
)  # fmt: skip
def test_an_error_names_line_and_field(old: str, new: str, said: str) -> None:
    assert old in BASE
    with pytest.raises(EnvelopeError) as caught:
        envelope(BASE.replace(old, new))
    assert said in str(caught.value)
    assert str(caught.value).startswith("it.yaml:")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"max":1.0', b'"max":1'),
        (b'"version":3', b'"version":3.0'),
        (b'"format":1', b'"format":2'),
        (b'"format":1,', b'"format":1,"format":1,'),
        (b'"format":1,', b'"format":1, '),
        (b'"format":1,', b'"format":1,"more":1,'),
        (b'"max":1.0', b'"max":NaN'),
        (b'"max":1.0', b'"max":1e999'),
        (b'"free":["linear.z","angular.x","angular.y"]', b'"free":"linear.z"'),
    ],
)
def test_another_form_of_the_payload_is_refused(old: bytes, new: bytes) -> None:
    payload = envelope_format.encode(envelope())
    assert old in payload
    with pytest.raises(EnvelopeError):
        envelope_format.decode(payload.replace(old, new, 1), "it")


@given(st.binary(max_size=400))
def test_any_bytes_are_an_envelope_or_refused(data: bytes) -> None:
    for read in (envelope_format.parse, envelope_format.decode):
        with contextlib.suppress(EnvelopeError):
            read(data, "it")
    with contextlib.suppress(EnvelopeError):
        envelope_format.read_yaml(data, "it", NOW, load_key=pem)


PIECES = st.sampled_from(
    [*BASE.splitlines(keepends=True), *SITE.splitlines(keepends=True), "{", "]", ": ", "- a\n", "&a *a"]
)


@given(st.lists(PIECES, max_size=30))
def test_any_mixture_of_lines_is_an_envelope_or_refused(lines: list[str]) -> None:
    with contextlib.suppress(EnvelopeError):
        made = envelope("".join(lines))
        assert envelope_format.decode(envelope_format.encode(made), "it") == made


def test_aliases_do_not_explode() -> None:
    text = "a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(40))
    with pytest.raises(EnvelopeError, match="alias"):
        envelope(text)


class TestZones:
    ELL = ((0.0, 0.0), (4.0, 0.0), (4.0, 2.0), (2.0, 2.0), (2.0, 4.0), (0.0, 4.0))

    @pytest.mark.parametrize(
        ("point", "inside"),
        [((1, 1), True), ((3, 1), True), ((3, 3), False), ((2, 2), True), ((0, 0), True), ((2, 3), True),
         ((4.1, 1), False),         ((-1, 2), False), ((-1, 0), False), ((5, 4), False)],
    )  # fmt: skip
    def test_a_point(self, point: tuple[float, float], inside: bool) -> None:
        assert zones.contains(self.ELL, point) is inside
        assert zones.contains(self.ELL[::-1], point) is inside

    @pytest.mark.parametrize(
        ("inner", "expected"),
        [
            (ELL, True),
            (((0, 0), (1, 0), (1, 1)), True),
            (((0, 0), (4, 0), (0, 4)), True),  # its long edge touches the notch's corner
            (((0, 0), (4, 1), (1, 4)), False),  # over the notch
            (((4, 2), (0, 2), (2, 4)), False),  # corners on the border, over the notch
            (((0, 0), (4, 0), (4, 4), (0, 4)), False),
            (((5, 5), (6, 5), (6, 6)), False),
        ],
    )
    def test_a_polygon(self, inner: zones.Polygon, expected: bool) -> None:
        assert zones.within(inner, self.ELL) is expected

    @given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=6),
           st.tuples(st.integers(0, 12), st.integers(0, 12)))  # fmt: skip
    def test_no_point_of_what_is_within_lies_outside(self, inner: zones.Polygon, half: tuple[int, int]) -> None:
        point = (half[0] / 2, half[1] / 2)
        if zones.is_simple(inner) and zones.within(inner, self.ELL) and zones.contains(inner, point):
            assert zones.contains(self.ELL, point)


def test_the_week_begins_on_monday() -> None:
    assert minute_of_week(0) == 3 * 24 * 60  # 1970-01-01 was a Thursday
    assert minute_of_week(NOW) == 11 * 60 + 13


def test_minus_zero_is_zero() -> None:
    made = envelope(BASE.replace("min: 0, max: 2", "min: -0.0, max: 2"))
    assert b"-0.0" not in envelope_format.encode(made)
    assert replace(made) == envelope_format.decode(envelope_format.encode(made), "it")
