"""The arguments of re-execution: what is taken, what is refused in one line, and what a person is shown."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="re-execution needs onnxruntime (extra `robot`)")
from model_run import MODELS, ROOT

from og_ros.audit.reexecution.comparison import DEFAULT_TOLERANCE, Tolerance
from og_ros.audit.reexecution.reexecuted import Outcome, Reexecution, unavailable
from og_ros.audit.reexecution.rerun import ReexecutionPlan
from og_ros.audit.reexecution.tally import ReexecutionTally, StageCount
from og_ros.cli.reexecution import add_reexecution_arguments, reexecution_lines, reexecution_plan
from og_ros.errors import OgError


@pytest.fixture
def pipeline(tmp_path: Path) -> str:
    shutil.copyfile(ROOT / "config" / "demo.yaml", tmp_path / "pipeline.yaml")
    return str(tmp_path / "pipeline.yaml")


def plan_of(*arguments: str) -> ReexecutionPlan | None:
    parser = argparse.ArgumentParser()
    add_reexecution_arguments(parser)
    return reexecution_plan(parser.parse_args(arguments))


def test_no_argument_asks_for_nothing() -> None:
    assert plan_of() is None


def test_every_argument(pipeline: str) -> None:
    plan = plan_of("--reexecute", "5%", "--pipeline", pipeline, "--models", str(MODELS), "--models", pipeline,
                   "--beacon", "0xabcd", "--beacon-time", "2026-01-31T12:00:00Z", "--tolerance", "1e-6,0")  # fmt: skip
    assert plan is not None
    assert (plan.sample.text, plan.pipeline, plan.models) == ("5%", Path(pipeline), (MODELS, Path(pipeline)))
    assert (plan.beacon.value, plan.beacon.time_ns) == (b"\xab\xcd", 1_769_860_800 * 10**9)
    assert plan.tolerance == Tolerance(1e-6, 0.0)


def test_the_rest_has_defaults(pipeline: str) -> None:
    one, two = (plan_of("--reexecute", "all", "--pipeline", pipeline) for _ in range(2))
    assert one is not None
    assert two is not None
    assert one.beacon != two.beacon
    assert not one.beacon.given
    assert one.tolerance == DEFAULT_TOLERANCE


ASKED = ("--reexecute", "all", "--pipeline", "P")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--beacon", "x"), "--beacon is of no use without --reexecute"),
        (("--beacon-time", "x"), "--beacon-time is of no use without --reexecute"),
        (("--reexecute", "all"), "--reexecute needs --pipeline"),
        (("--reexecute", "some", "--pipeline", "P"), "the sample 'some' is not understood"),
        ((*ASKED, "--beacon-time", "x"), "--beacon-time is of no use without --beacon"),
        ((*ASKED, "--beacon", "x", "--beacon-time", "noon"), "--beacon-time 'noon' is no"),
        ((*ASKED, "--beacon", ""), "the beacon is 0 bytes long"),
        ((*ASKED, "--tolerance", "much"), "the tolerance 'much' is not known"),
        ((*ASKED, "--models", "/nowhere"), "there is no model or directory of models"),
        (("--reexecute", "all", "--pipeline", "/nowhere"), "cannot read /nowhere"),
    ],
)
def test_what_is_wrong_is_one_line(pipeline: str, arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(OgError) as caught:
        plan_of(*(pipeline if argument == "P" else argument for argument in arguments))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_person_is_shown(pipeline: str) -> None:
    plan = plan_of("--reexecute", "5", "--pipeline", pipeline, "--beacon", "hello")
    assert plan is not None
    control = StageCount(population=400)
    for found in (
        Reexecution(Outcome.REPRODUCED),
        Reexecution(Outcome.WITHIN_TOLERANCE, "", ("the CPU class was 'a' and here is 'b'",), {"/out": 2e-5}),
        unavailable("its input on /odom is not in the recording"),
    ):
        control.add(found)
    lines = "\n".join(reexecution_lines({**plan.as_json(), **ReexecutionTally({"control": control}).as_json()}))
    assert "3 of 400 inferences run again: 1 the same bytes, 1 within the tolerance, 1 unavailable" in lines
    assert "sample 5, beacon 0x68656c6c6f (given by the auditor; og_ros does not check where it came from" in lines
    assert "1 compared within 0.0001 + 0.001 × |value|, since the CPU class was 'a' and here is 'b'" in lines
    assert "furthest apart: /out 2e-05" in lines
    assert "at most 86.25% of its inferences are not reproducible (95% confidence)" in lines
