"""20 % loss and 200 ms delay each way between robot and auditor: catch-up closes the gaps, and the audit holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
import bad_link
from domains import claim_domain
from fault_rig import ARRAY, LONG, TOPIC, Rig
from ros_peer import node, until

from og_ros.audit.policy import load_policy
from og_ros.audit.run import audit_bag
from og_ros.registry import Registry

DOMAIN = claim_domain()
SUPPORT = Path(bad_link.__file__).parent


# Fast DDS repairs losses in datagrams of up to 64 kB. In IP fragments those hardly ever arrive over such a link, so its
# messages are kept below the link's MTU; docs/concepts/faults.md says how.
PROFILE = """\
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <transport_descriptors>
    <transport_descriptor>
      <transport_id>small_udp</transport_id>
      <type>UDPv4</type>
      <maxMessageSize>1400</maxMessageSize>
    </transport_descriptor>
  </transport_descriptors>
  <participant profile_name="lossy_link" is_default_profile="true">
    <rtps>
      <userTransports><transport_id>small_udp</transport_id></userTransports>
      <useBuiltinTransports>false</useBuiltinTransports>
    </rtps>
  </participant>
</profiles>
"""
POLICY = 'version: 1\nname: lossy_link\nmax_clock_skew_s: 60\nmax_loss: {"*": 0.5}\n'


class Child:
    def __init__(self, command: list[str]) -> None:
        profile = Path(tempfile.gettempdir()) / f"og_ros_lossy_{os.getpid()}.xml"
        profile.write_text(PROFILE)
        env = {
            **os.environ,
            "ROS_DOMAIN_ID": str(DOMAIN),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
            "FASTRTPS_DEFAULT_PROFILES_FILE": str(profile),  # and shared memory would go around the link
            "PYTHONPATH": str(SUPPORT),
        }
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.output = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(40)


@contextmanager
def child(command: list[str]) -> Iterator[Child]:
    found = Child(command)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.process.kill()
            found.process.wait()


@pytest.mark.skipif(bool(bad_link.unavailable()), reason=bad_link.unavailable() or "-")
@LONG
@pytest.mark.timeout(240)
def test_loss_and_delay_between_robot_and_auditor(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    # Records come up to some twenty seconds late over such a link, and the auditor is told to bear with that.
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    topics = [f"/x:{ARRAY}", f"/y:{ARRAY}", f"{TOPIC}:og_ros/msg/Attestation"]
    recorder = node("og_ros.nodes.recorder", "recorder", output=tmp_path / "bag", topics=str(topics).replace(" ", ""))
    stage = node("og_ros.nodes.stage", "adding", pipeline=rig.pipeline)
    feeder = [str(SUPPORT / "feeder.py"), "30", "600"]
    with bad_link.bad_link(0.2, 0.2) as link:

        def at(end: int, arguments: list[str]) -> list[str]:
            return link.run_in(end, [sys.executable, *arguments])

        with (
            child(at(1, recorder)) as record,
            child(at(1, rig.auditor_arguments(horizon=30.0, policy=policy))) as audit,
            child(at(0, stage)) as robot,
            child(at(0, feeder)) as feed,
        ):
            until(lambda: "fed" in feed.output, f"the feed {robot.output}", 90)
            signed = rig.signed()
            assert len(signed) > 500
            until(lambda: rig.in_log() >= signed, f"everything in the log {audit.output}", 90)
            time.sleep(1.0)
            said = audit.output
            assert (record.stop(), audit.stop()) == (0, 0)
        print(f"{link.carried} frames carried, {link.lost} lost; {len(signed)} attestations")
    print(said)
    assert link.lost > 100
    assert set(rig.logged()) == signed
    assert "violat" not in said
    report = audit_bag(
        tmp_path / "bag", Registry.open(tmp_path / "registry"), rig.ledger, load_policy(policy)
    ).as_json()
    assert [f for f in report["findings"] if f["severity"] == "violation"] == []
    print(sorted({f["kind"] for f in report["findings"]}))
