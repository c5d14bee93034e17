"""Policies: what they demand is checked, and a wrong one is refused with file, line and field."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario import honest_run

from og_ros.audit.axes import AXES
from og_ros.audit.policy import StageDemands, load_policy, parse_policy
from og_ros.audit.run import audit_bag
from og_ros.audit.runtime_rule import RuntimeRule
from og_ros.errors import PolicyError
from og_ros.registry import Registry

ROOT, KEY = f"sha256:{'0' * 64}", "ab" * 32
FULL = f"""\
version: 1
name: yard
revision: 1.10
description: >
  What we ask
  of a shift.
registry_root: {ROOT}
decisions: [/wheel_command]
decision_levels: {{settlement: logged}}
max_loss: {{"*": 0.02, /scan: 0.5}}
max_clock_skew_s: 5
max_chain_latency_ms: 80.5
reexecution: {{minimum_share: 0.25}}
stages:
  "*": &every
    inference_authenticity: signed
    models: [a, b@1, {ROOT}]
    keys: ['{KEY}']
    runtimes:
      - onnxruntime
      - {{name: tensorrt, version: ">=8, <10.1.0", provider: GPU}}
    max_input_age_ms: {{"*": 500, /scan: 0.5}}
  planning:
    model_integrity: certified
    models: [c]
    vendors: [acme]
    certifiers: [fleet]
    max_input_age_ms: 100
    max_signing_delay_ms: 20
  control: *every
""".encode()


def test_full_policy_is_read() -> None:
    policy = parse_policy(FULL)
    assert (policy.name, policy.revision, policy.description) == ("yard", "1.10", "What we ask of a shift.\n")
    assert policy.registry_root == ROOT
    assert policy.decisions == ("/wheel_command",)
    assert policy.decision_levels == {"settlement": "logged"}
    assert (policy.max_loss, policy.max_clock_skew_ns, policy.max_chain_latency_ns) == (0.02, 5 * 10**9, 80_500_000)
    assert [policy.allowed_loss(topic) for topic in ("/scan", "/odom")] == [0.5, 0.02]
    assert policy.min_reexecuted == 0.25
    assert policy.minimum("planning") == {"inference_authenticity": "signed", "model_integrity": "certified"}
    assert policy.minimum("unnamed") == {"inference_authenticity": "signed"}
    assert policy.required_stages == ["planning", "control"]
    assert policy.stages["control"] == policy.stages["*"]


def test_witnesses_are_a_number_or_a_policy() -> None:
    assert parse_policy(b"version: 1\nwitnesses: {quorum: 3}").witness_quorum == 3
    policy = parse_policy(b"version: 1\nwitnesses:\n  policy: |\n    # nobody\n    quorum none\n").witness_policy
    assert policy is not None
    assert policy.quorum == "none"


def test_stage_takes_from_every_stage_what_it_does_not_say() -> None:
    planning = parse_policy(FULL).stage("planning")
    assert planning == StageDemands(
        levels={"inference_authenticity": "signed", "model_integrity": "certified"},
        models=("c",),
        keys=(KEY,),
        vendors=("acme",),
        certifiers=("fleet",),
        runtimes=(RuntimeRule("onnxruntime"), RuntimeRule("tensorrt", ((">=", (8,)), ("<", (10, 1))), "GPU")),
        max_input_age_ns={"*": 100_000_000, "/scan": 500_000},
        max_signing_delay_ns=20_000_000,
    )
    assert str(planning.runtimes[1]) == "tensorrt >=8,<10.1 GPU"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "version is missing"),
        ("version: 2", "p.yaml:1: version must be 1"),
        ("version: 1\nmax_los: 0.1", "p.yaml:2: max_los is unknown in policy"),
        ("version: 1\nmax_loss: 2", "p.yaml:2: max_loss must be a number from 0 to 1"),
        ("version: 1\nmax_loss: true", "p.yaml:2: max_loss must be a number"),
        ("version: 1\nmax_loss: .nan", "p.yaml:2: max_loss must be a number"),
        ("version: 1\nversion: 1", "p.yaml:2: version stands twice"),
        ("version: 1\ndecisions: /cmd", "p.yaml:2: decisions must be a list"),
        ("version: 1\nregistry_root: [a]", "p.yaml:2: registry_root must be one value"),
        ("version: 1\nstages:\n  a: {settlement: great}", "p.yaml:3: settlement must be one of: none, logged"),
        ("version: 1\nstages:\n  a: {trust: high}", "p.yaml:3: trust is unknown in a"),
        ("version: 1\nstages: 3", "p.yaml:2: stages must be a mapping"),
        ("version: 1\n? [a]\n: b", "p.yaml:2: policy has a key that is no text"),
        ("- 1", "p.yaml:1: policy must be a mapping"),
        ("a: [", "p.yaml:1: while parsing"),
        ("version: 1\nb: 1\na: ]", "p.yaml:3: "),
        ("\x00", "p.yaml:"),
        ("version: 1\nmax_loss: 2020-99-99", "p.yaml:2: max_loss is not understood"),
        ("version: 1\nmax_loss:", "p.yaml:2: max_loss has no value"),
        ('version: !!int ""', "p.yaml:1: version is not understood"),
        ("version: 1\nmax_loss: !!bool maybe", "p.yaml:2: max_loss is not understood: maybe is no bool"),
        ("version: 1\nmax_loss: !!timestamp now", "p.yaml:2: max_loss is not understood"),
        ("version: 1\nmax_los: 0.1", "did you mean max_loss?"),
        ("version: 1\nstages:\n  a: {settlement: loged}", "final; did you mean logged?"),
        (
            "version: 1\nstages:\n  a:\n    model_integrty: certified",
            "p.yaml:4: model_integrty is unknown in a; did you",
        ),
        ("version: 1\nmax_loss:\n  '*': 0.1\n  /scan: 2", "p.yaml:4: /scan must be a number from 0 to 1"),
        ("version: 1\nregistry_root: sha256:00", "p.yaml:2: registry_root must be sha256: and 64"),
        ("version: 1\ndecisions: [/cmd, '']", "p.yaml:2: decisions must be a list of texts"),
        ("version: 1\ndecisions:\n- /cmd\n- [a]", "p.yaml:4: decisions must be a list of texts"),
        ("version: 1\nname: true", "p.yaml:2: name must be text"),
        ('version: 1\nname: "a\\nb"', "p.yaml:2: name must be text of one line"),
        ('version: 1\n"a\\nb": 1', "p.yaml:2: 'a\\nb' is unknown"),
        ("version: 1\ndecision_levels: {trust: high}", "p.yaml:2: trust is unknown in decision_levels"),
        (
            "version: 1\nreexecution: {share: 0.1}",
            "p.yaml:2: share is unknown in reexecution; did you mean minimum_share?",
        ),
        ("version: 1\nwitnesses: {}", "p.yaml:2: witnesses needs a quorum, or a policy"),
        ("version: 1\nwitnesses: {quorum: 0}", "p.yaml:2: quorum must be a number from 1 to 256"),
        ("version: 1\nwitnesses: {quorum: 1.5}", "p.yaml:2: quorum must be a whole number"),
        ("version: 1\nwitnesses: {quorum: 1, policy: quorum none}", "p.yaml:2: quorum cannot stand beside a policy"),
        ("version: 1\nwitnesses: {policy: quorum w}", "p.yaml:2: policy is no tlog-policy: line:1: 'w' is not defined"),
        ("version: 1\nwitnesses: {number: 1}", "p.yaml:2: witnesses needs a quorum, or a policy"),
        ("version: 1\nstages:\n  a: {models: []}", "p.yaml:3: models is empty"),
        ("version: 1\nstages:\n  a: {models: [sha256:ab]}", "p.yaml:3: models has 'sha256:ab', which is not a model"),
        ("version: 1\nstages:\n  a: {models: ['m\u0430p']}", "p.yaml:3: models has 'm\\u0430p', which is not"),
        ("version: 1\nstages:\n  a: {keys: [abcd]}", "p.yaml:3: keys has 'abcd', which is not a key id"),
        ("version: 1\nstages:\n  a: {runtimes: onnxruntime}", "p.yaml:3: runtimes must be a list"),
        ("version: 1\nstages:\n  a: {runtimes: []}", "p.yaml:3: runtimes is empty"),
        ("version: 1\nstages:\n  a:\n    runtimes:\n    - {version: '>1'}", "p.yaml:5: runtimes[1] needs a name"),
        (
            "version: 1\nstages:\n  a:\n    runtimes: [{name: o,\n    version: new}]",
            "p.yaml:5: version must be a range",
        ),
        ("version: 1\nstages:\n  a: {runtimes: [{name: o, version: 1.2}]}", "p.yaml:3: version must be text"),
        ("version: 1\nstages:\n  a: {runtimes: [{name: o, verson: '>1'}]}", "in runtimes[1]; did you mean version?"),
        ("version: 1\nstages:\n  a: {runtimes: [[o]]}", "p.yaml:3: runtimes must be a list of texts or mappings"),
        ("version: 1\nstages:\n  a: {max_input_age_ms: {/scan: old}}", "p.yaml:3: /scan must be a number"),
        ("version: 1\nstages:\n  a: {max_signing_delay_ms: -1}", "p.yaml:3: max_signing_delay_ms must be a number"),
        ("version: 1\nstages: &a {b: *a}", "p.yaml:2: b is unknown in b"),
    ],
)
def test_wrong_policy_names_the_line(text: str, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text.encode(), "p.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# Words of policies and of YAML, so that what is made gets past the first check.
_NAMES = [*(f.name.replace("_ns", "_ms") for f in fields(StageDemands)), *AXES, "stages", "max_loss", "minimum_share"]
_VALUES = [
    "signed", "logged", "'*'", "/scan", "1", "0.5", "1e999", "-1", ".nan", "null", "true", "2026-01-01", "''",
    "!!int ''", "!!float x", "!!binary =", "!!set {a}", "&a b", "*a", "'>=1,<2'", "9" * 5000,
    "!!python/name:os.system x", "<<",
]  # fmt: skip
_WORDS = st.sampled_from([*_NAMES, *_VALUES])
_TREES = st.recursive(
    _WORDS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(_WORDS, inner), max_size=5).map(
            lambda items: "{" + ", ".join(f"{name}: {value}" for name, value in items) + "}"
        )
    ),
    max_leaves=20,
)
_FIELDS = (
    "stages",
    "decision_levels",
    "max_loss",
    "reexecution",
    "decisions",
    "name",
    "revision",
    "max_chain_latency_ms",
)


@settings(max_examples=1000, deadline=None)
@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | st.tuples(st.sampled_from(_FIELDS), _TREES).map(lambda p: f"version: 1\n{p[0]}: {p[1]}".encode())
    | _TREES.map(lambda tree: f"version: 1\nstages: {{a: {tree}}}".encode())
    | st.tuples(st.integers(0, len(FULL) - 1), st.binary(max_size=4)).map(
        lambda p: FULL[: p[0]] + p[1] + FULL[p[0] + 1 :]
    )
)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    problem = ""
    try:
        policy = parse_policy(data)
    except PolicyError as error:
        problem = str(error)
    else:
        for stage in policy.stages:
            policy.stage(stage)
    assert "\n" not in problem


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot read the policy"):
        load_policy(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("stages: {gripper: {}}", "stage_missing"),
        ("stages: {'*': {execution_environment: tee}}", "below_policy"),
        ("stages: {planning: {settlement: logged}}", "below_policy"),
        ("max_chain_latency_ms: 16", "latency_exceeds_policy"),
        (f"registry_root: sha256:{'0' * 64}", "root_not_trusted"),
    ],
)
def test_demand_that_is_not_met_is_named(text: str, finding: str, tmp_path: Path) -> None:
    run = honest_run(4)
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    registry = Registry.open(tmp_path / "registry")
    policy = parse_policy(f"version: 1\n{text}\n".encode())
    report = audit_bag(tmp_path / "bag", registry, policy=policy)
    assert set(report.auditor.findings.counts) == {finding}
    assert report.as_json()["policy"]["digest"] == policy.digest
    met = parse_policy(b"version: 1\nstages: {planning: {model_integrity: certified}}\nmax_chain_latency_ms: 17\n")
    assert audit_bag(tmp_path / "bag", registry, policy=met).as_json()["holds"]
