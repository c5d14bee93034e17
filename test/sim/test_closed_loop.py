"""The chain of models drives as its expert does; `python -m og_ros.sim.evaluate` judges it at length."""

from __future__ import annotations

from pathlib import Path

import pytest

from og_ros.sim.evaluate import UNSEEN, drive, main, stop_before_box
from og_ros.sim.policy import ExpertPolicy, ModelPolicy

pytest.importorskip("onnxruntime")

SEEDS = range(UNSEEN, UNSEEN + 4)


@pytest.fixture(scope="module")
def models() -> ModelPolicy:
    return ModelPolicy()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_models_stay_on_unseen_tracks(models: ModelPolicy, seed: int) -> None:
    report = drive(models, seed, 30.0)
    assert not report.left
    assert not report.collided
    assert report.max_offset < 0.12
    assert report.distance > 6.0


@pytest.mark.parametrize("seed", SEEDS)
def test_the_models_stop_before_a_box_and_drive_on(models: ModelPolicy, seed: int) -> None:
    report = stop_before_box(models, seed)
    assert report.stopped
    assert 0.1 < report.gap < 0.5
    assert report.resumed


def test_the_expert_does_both() -> None:
    expert = ExpertPolicy()
    assert not drive(expert, UNSEEN, 30.0).left
    assert stop_before_box(expert, UNSEEN).stopped


def test_latency_is_borne(models: ModelPolicy) -> None:
    assert not drive(models, UNSEEN, 30.0, delay=4).left


def test_without_eyes_the_track_is_left() -> None:
    assert drive(ModelPolicy(blind=True), UNSEEN, 30.0).left


def test_the_evaluation_tells_good_from_bad_from_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--seeds", "1", "--seconds", "15"]
    assert main(few) == 0
    assert main([*few, "--policy", "blind"]) == 1
    assert "LEFT" in capsys.readouterr().out
    assert main([*few, "--models", str(tmp_path)]) == 2
    assert "line_perception.onnx" in capsys.readouterr().err


def test_judging_nothing_is_not_a_pass() -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--seeds", "0"])
    assert stopped.value.code == 2
