"""The example policies of config/policies: each parses, and an honest run meets it or fails it for stated reasons."""

from __future__ import annotations

from pathlib import Path

import pytest
from judged_run import judge, see
from scenario import honest_run

from og_ros.audit.policy import load_policy, parse_policy
from og_ros.paths import share_directory

POLICIES = sorted((share_directory() / "config" / "policies").glob("*.yaml"))
TICKS = 6


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_example_parses_and_says_what_it_is(path: Path) -> None:
    policy = load_policy(path)
    assert policy.name == path.stem
    assert policy.revision == "1"
    assert policy.description
    assert "\n" not in policy.description


# What an honest run of today lacks: its machine proves nothing, nobody witnesses its log, nothing is run again, another
# authority and vendor stand for it, and it runs another version. Three stages, and the decisions over their chains.
SURGICAL = {
    "below_policy": 2 * TICKS,
    "certifier_not_allowed": 3 * TICKS,
    "vendor_not_allowed": 3 * TICKS,
    "runtime_not_allowed": 3 * TICKS,
    "reexecution_below_policy": 3,
}


@pytest.mark.parametrize(
    ("name", "topic", "ledger", "expected"),
    [
        ("warehouse_robot", "/cmd_vel", True, {}),
        ("warehouse_robot", "/cmd_vel", False, {"below_policy": TICKS}),
        ("warehouse_robot", "/unnamed", True, {"decision_missing": 1}),
        ("surgical_arm", "/arm/joint_command", True, SURGICAL),
        ("research_rig", "/any", False, {}),
    ],
)
def test_example_on_an_honest_run(
    name: str, topic: str, ledger: bool, expected: dict[str, int], tmp_path: Path
) -> None:
    """The run's command topic takes the place of the example's, as the example asks its reader to do."""
    path = next(path for path in POLICIES if path.stem == name)
    policy = parse_policy(path.read_bytes().replace(topic.encode(), b"/wheel_command"))
    *seen, topics = see(honest_run(TICKS), tmp_path, ledger=ledger, policy=policy)
    found, _, judging = judge(*seen, policy, topics)
    found.pop("input_age_unknown", None)  # the first tick's stamps are 0, which is none: a warning
    assert found == expected
    # The run has simulated time, so a delay of the signature cannot be told.
    demanded = any(stage.max_signing_delay_ns is not None for stage in policy.stages.values())
    assert bool(judging.not_checked()) == (demanded and bool(seen[0].inferences))
