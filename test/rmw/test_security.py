"""The SROS2 policies: they allow what the nodes do and nothing else, and DDS enforces them."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
from domains import claimed_domain
from other_ros import cyclone_environment
from running_graph import NODES, Graph
from sros2 import Allowed, Keystore, check_structure, read_policy

from og_ros.attest import SoftwareSigner, decode_attestation, verify
from og_ros.nodes.bringup import describe_nodes
from og_ros.nodes.demo import DemoFiles, prepare
from og_ros.nodes.supervisor import Supervisor
from og_ros.stages.pipeline import load_pipeline

POLICIES = Path(__file__).resolve().parents[2] / "config" / "sros2" / "policies"
PEER = Path(__file__).with_name("secure_peer.py")
# Asked for only with use_sim_time, and with an envelope that lists authorities; the policies say so there.
SOMETIMES = {"/clock", "/og_ros/emergency_stop"}


def policies() -> dict[str, Allowed]:
    found: dict[str, Allowed] = {}
    for path in sorted(POLICIES.glob("*.policy.xml")):
        found |= read_policy(path)
    return found


def test_every_node_has_an_enclave_named_after_it() -> None:
    found = policies()
    assert set(found) == {f"/og_ros/{node}" for node in (*NODES, "operator")}
    assert all(enclave == f"/og_ros/{allowed.node}" for enclave, allowed in found.items())


@pytest.mark.parametrize(
    "text",
    [
        "<policy version='0.2.0'><contexts/></policy>",
        "<context><profiles><profile ns='/' node='a'/></profiles></context>",
        "<topics publish='MAYBE'><topic>a</topic></topics>",
        "<topics publish='ALLOW'><service>a</service></topics>",
        "<services reply='ALLOW'><service></service></services>",
    ],
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(AssertionError):
        check_structure(ElementTree.fromstring(text))


def test_nobody_but_the_gate_commands_the_motors() -> None:
    found = policies()
    assert [enclave for enclave, allowed in found.items() if "/wheels" in allowed.publish] == ["/og_ros/gate"]
    for topic in ("/wheel_command", "/perception/line", "/planning/reference"):
        for name in (topic, f"{topic}/attestation"):
            assert sum(name in allowed.publish for allowed in found.values()) == 1
    assert not any({"/camera/image", "/scan", "/odom"} & allowed.publish for allowed in found.values())


@pytest.mark.slow
def test_the_policies_allow_what_running_nodes_have_and_nothing_else(demo_graph: Graph) -> None:
    allowed = {a.node: a for a in policies().values() if a.node in NODES}
    for name, one in allowed.items():
        one.subscribe -= SOMETIMES - ({"/clock"} if name == "recorder" else set())
        one.publish = {topic for topic in one.publish if not topic.endswith("/evidence")}  # only where it is configured
        assert demo_graph.nodes[name] == one, name


def start_stage(supervisor: Supervisor, files: DemoFiles) -> None:
    (stage,) = [node for node in describe_nodes(load_pipeline(files.pipeline)) if node.name == "perception"]
    supervisor.start(stage.name, "og_ros.nodes.stage", stage.parameters)


@pytest.mark.slow
def test_an_enforced_policy_lets_a_stage_work_and_keeps_others_out(tmp_path: Path) -> None:
    """DDS Security for real, by Cyclone DDS: the wheels' Fast DDS is built without it."""
    cyclone = cyclone_environment()
    files = prepare(tmp_path / "demo")
    heard = tmp_path / "heard"
    heard.mkdir()
    with claimed_domain() as domain:
        cyclone["ROS_DOMAIN_ID"] = str(domain)
        keystore = Keystore(tmp_path / "keystore", domain)
        for enclave, allowed in policies().items():
            keystore.add(enclave, allowed)
        # The camera's driver, by the same rules: it may write its image and, here, hear what is said of it.
        common = Allowed("camera", publish={"/rosout", "/parameter_events", "/camera/image"})
        common.subscribe = {"/perception/line/attestation"}
        common.reply = {s.replace("/recorder/", "/camera/") for s in policies()["/og_ros/recorder"].reply}
        keystore.add("/driver/camera", common)

        def peer(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, str(PEER), *arguments]
            return subprocess.run(
                command, env=cyclone | environment, capture_output=True, text=True, check=False, timeout=100
            )

        member = keystore.environment("/og_ros/perception")
        with Supervisor(tmp_path / "nodes", cyclone | member) as supervisor:
            start_stage(supervisor, files)
            camera = peer("camera", str(heard), **keystore.environment("/driver/camera"))
            log = (tmp_path / "nodes" / "perception.log").read_text()
            assert camera.returncode == 0, camera.stderr + log
            # Whoever has no enclave is no part of this domain.
            outside = peer("camera", str(tmp_path), ROS_SECURITY_ENABLE="false", PEER_DEADLINE_S="4")
            assert outside.returncode == 1, outside.stderr
        payloads = [path.read_bytes() for path in sorted(heard.iterdir())]
        assert len(payloads) == 3
        key = SoftwareSigner.load(files.keys / "perception.pem").public_key
        for payload in payloads:
            verify(decode_attestation(payload), key)
        # The very enclave of the stage may write its own topic, and not what the motors obey.
        assert peer("intrude", "/perception/line", **member).returncode == 0
        refused = peer("intrude", "/wheels", **member)
        assert refused.returncode == 3, refused.stdout + refused.stderr
        # An enclave that nobody made.
        assert peer("intrude", "/perception/line", **keystore.environment("/og_ros/stranger")).returncode == 1
