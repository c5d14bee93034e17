"""The demo: robot, three attested stages, auditor and recorder as processes, in a directory that anyone can audit."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Final

from og_ros.attest import Algorithm, SoftwareSigner, keys, ml_dsa
from og_ros.errors import ConfigError
from og_ros.nodes.attacks import ATTACKS
from og_ros.nodes.bringup import GATE, NodeDescription, describe_nodes
from og_ros.nodes.supervisor import Supervisor
from og_ros.nodes.topics import ATTESTATION_SUFFIX
from og_ros.paths import share_directory
from og_ros.registry import RegistryWriter
from og_ros.stages.inference import Inference
from og_ros.stages.pipeline import Pipeline, load_pipeline

MARKER: Final = ".og-ros-demo"
VENDORS: Final = {"perception": "demo-vision", "planning": "demo-planning", "control": "demo-drives"}
# The sensors' listeners: the stage that reads it, the auditor, the recorder.
_SENSOR_LISTENERS: Final = 3
# An output's: the auditor, the recorder.
_OUTPUT_LISTENERS: Final = 2
GATE_OUTPUT: Final = "/wheels"
_GATE: Final = f"""
gate:
  output: {GATE_OUTPUT}
  key: keys/gate.pem
  policy: policy.yaml
  neutral: {{data: [0.0, 0.0]}}
"""
_GATE_RECORDED: Final = f"""\
    - {GATE_OUTPUT}:std_msgs/msg/Float32MultiArray
    - /gate/verdict:og_ros/msg/Verdict
    - /gate/verdict/attestation:og_ros/msg/Attestation
"""
_START_TIMEOUT_S: Final = 60.0
_ROBOT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_POLICY: Final = """\
# What the demo's relying party demands. `og-ros audit --policy` and the auditor node read this file.
version: 1
registry_root: {root}
decisions: [{prefix}/wheel_command]
max_loss: 0.01
max_clock_skew_s: 10
stages:
  "*": {{inference_authenticity: signed, model_integrity: certified, execution_environment: software_key}}
  perception: {{}}
  planning: {{}}
  control: {{data_provenance: linked}}
"""


@dataclass(frozen=True)
class DemoFiles:
    """The demo's directory: bag/, registry/, ledger/, policy.yaml, audit.json and .html, what its nodes run from."""

    directory: Path

    @property
    def bag(self) -> Path:
        """The recording."""
        return self.directory / "bag"

    @property
    def registry(self) -> Path:
        """Certified models and keys."""
        return self.directory / "registry"

    @property
    def ledger(self) -> Path:
        """The log of attestations."""
        return self.directory / "ledger"

    @property
    def policy(self) -> Path:
        """What the run must satisfy."""
        return self.directory / "policy.yaml"

    @property
    def report(self) -> Path:
        """The audit's report."""
        return self.directory / "audit.json"

    @property
    def page(self) -> Path:
        """The audit's report for people."""
        return self.directory / "audit.html"

    @property
    def pipeline(self) -> Path:
        """The pipeline file that the nodes are made from."""
        return self.directory / "pipeline.yaml"

    @property
    def keys(self) -> Path:
        """Private keys: of the stages, of the log, and of the registry's authority, which a real robot never holds."""
        return self.directory / "keys"

    @property
    def logs(self) -> Path:
        """What the nodes wrote, and the parameters that they were started with."""
        return self.directory / "nodes"


def prepare(
    directory: Path, attack: str | None = None, gate: bool = False, robot: str = "demo", namespace: str = ""
) -> DemoFiles:
    """Fill a new directory with models, keys, registry, policy and pipeline; then let an attacker change it.

    With `gate` the robot obeys only what a gate lets pass. `namespace` is where its nodes and topics will be, which the
    policy names. A directory that an earlier demo made is replaced. Raises ConfigError for one that holds anything
    else, and for a robot's name that could not be in a checkpoint's origin.
    """
    if not _ROBOT.fullmatch(robot):
        raise ConfigError(f"the robot's name is {robot!r}; it must be letters, digits, _ and -")
    if attack is not None and attack not in ATTACKS:
        raise ConfigError(f"there is no attack {attack!r}; there are {', '.join(ATTACKS)}")
    files = DemoFiles(directory)
    try:
        _clear(directory)
        _copy_models(directory / "models")
        text = (share_directory() / "config" / "demo.yaml").read_text()
        if robot != "demo":
            text = text.replace("\nrobot: demo\n", f"\nrobot: '{robot}'\n").replace(
                "og-ros/demo\n", f"og-ros/{robot}\n"
            )
        # The recorder's list of topics ends the file.
        files.pipeline.write_text(text.rstrip() + "\n" + _GATE_RECORDED + _GATE if gate else text)
        for stage in (*VENDORS, GATE) if gate else VENDORS:
            keys.save_private(keys.generate(), files.keys / f"{stage}.pem")
        keys.save_private(keys.generate(Algorithm.EDDSA), files.keys / "log.pem")
        ml_dsa.save_private(ml_dsa.generate(), files.keys / "log-ml-dsa.pem")
        keys.save_private(keys.generate(), files.keys / "authority.pem")
        root = _certify(files, load_pipeline(files.pipeline))
        prefix = f"/{namespace.strip('/')}" if namespace.strip("/") else ""
        files.policy.write_text(_POLICY.format(root=root, prefix=prefix))
        if gate:
            _certify_gate(files)
        if attack is not None:
            ATTACKS[attack].prepare(directory)
    except OSError as error:
        raise ConfigError(f"cannot prepare the demo in {directory}: {error}") from error
    return files


def run(files: DemoFiles, seconds: float, seed: int, attack: str | None, watch: Callable[[float, bool], None]) -> None:
    """Run the demo's nodes for some seconds of driving.

    `watch(remaining, driving)` is called until the time is over and must take a fraction of a second; it may spin a
    node of its own. Raises ConfigError when a node ends by itself.
    """
    pipeline = load_pipeline(files.pipeline)
    with Supervisor(files.logs) as supervisor:
        for node in describe_nodes(pipeline, auditor=True, record=True, use_sim_time=True):
            _start(supervisor, node, attack)
        _start_world(supervisor, pipeline, seed, watch)
        end = time.monotonic() + seconds
        while (remaining := end - time.monotonic()) > 0:
            supervisor.check()
            watch(remaining, True)
        # The source first, then what it feeds: so nothing under way lacks its counterpart at the recording's end.
        supervisor.stop("world")
        _pause(0.5, watch)
        codes = supervisor.stop(*pipeline.stages)
        if GATE in pipeline.sections:
            _pause(0.2, watch)
            codes |= supervisor.stop(GATE)
        _pause(0.7, watch)
        codes |= supervisor.stop("auditor", "recorder")
    failed = {name: code for name, code in codes.items() if code}
    if failed:
        raise ConfigError(f"nodes did not stop cleanly: {failed}; their words are in {files.logs}")


def environment() -> dict[str, str]:
    """Return the environment that keeps a demo on this machine and to itself, unless the user chose a domain."""
    domain = os.environ.get("ROS_DOMAIN_ID") or str(20 + os.getpid() % 80)
    return {"ROS_DOMAIN_ID": domain, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


def _clear(directory: Path) -> None:
    if directory.exists() and any(directory.iterdir()):
        if not (directory / MARKER).is_file():
            raise ConfigError(f"{directory} is not empty and no demo made it; give --out another directory")
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MARKER).write_text("made by og-ros demo, which replaces this directory when it runs again\n")


def _copy_models(target: Path) -> None:
    target.mkdir()
    for model in resources.files("og_ros.sim").joinpath("models").iterdir():
        if model.name.endswith(".onnx"):
            (target / model.name).write_bytes(model.read_bytes())


def _certify(files: DemoFiles, pipeline: Pipeline) -> str:
    authority = SoftwareSigner.load(files.keys / "authority.pem")
    with RegistryWriter.create(files.registry, authority, "demo-fleet") as writer:
        for name, stage in pipeline.stages.items():
            inference = Inference.configure(stage)
            writer.certify_model(
                stage.model.name,
                stage.model.version,
                inference.model.digest,
                stages=(name,),
                processing_digest=inference.runtime.processing_digest,
            )
            signer = SoftwareSigner.load(stage.key)
            writer.certify_key(signer.public_key, robot=stage.robot, stage=name, vendor=VENDORS[name])
        log_key = keys.load_private(files.keys / "log.pem").public_key()
        second = ml_dsa.load_private(files.keys / "log-ml-dsa.pem").public_key()
        origin = str(pipeline.sections["auditor"]["log_origin"])
        writer.certify_key(log_key, role="log", origin=origin, post_quantum=second)
        return writer.registry.fingerprint


def _certify_gate(files: DemoFiles) -> None:
    """Certify the gate's key, and the policy that it applies in the place of a model."""
    authority = SoftwareSigner.load(files.keys / "authority.pem")
    with RegistryWriter.open(files.registry, authority) as writer:
        policy = sha256(files.policy.read_bytes()).digest()
        writer.certify_model(GATE, "1", policy, stages=(GATE,))
        signer = SoftwareSigner.load(files.keys / "gate.pem")
        robot = load_pipeline(files.pipeline).robot
        writer.certify_key(signer.public_key, robot=robot, stage=GATE, vendor="demo-gate")


def _start(supervisor: Supervisor, node: NodeDescription, attack: str | None) -> None:
    module, parameters = f"og_ros.nodes.{node.executable}", dict(node.parameters)
    if attack is not None and ATTACKS[attack].stage == node.name:
        module = "og_ros.nodes.dishonest_stage"
        parameters["attack"] = attack
    supervisor.start(node.name, module, parameters)


def _start_world(supervisor: Supervisor, pipeline: Pipeline, seed: int, watch: Callable[[float, bool], None]) -> None:
    """Start the world once auditor and recorder listen to every output, and wait until its time runs."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rosgraph_msgs.msg import Clock

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("og_ros_demo_start", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    ticks: list[bytes] = []
    node.create_subscription(Clock, "/clock", ticks.append, 10, raw=True)
    outputs = [next(iter(stage.outputs.values())).topic for stage in pipeline.stages.values()]
    topics = [name for topic in outputs for name in (topic, topic + ATTESTATION_SUFFIX)]

    gated = GATE in pipeline.sections
    expected = dict.fromkeys(topics, _OUTPUT_LISTENERS)
    if gated:  # it hears attestations and commands too, and others hear it
        expected |= {t: _OUTPUT_LISTENERS + 1 for t in topics if t.endswith(ATTESTATION_SUFFIX) or t == topics[-2]}
        expected |= {GATE_OUTPUT: 1, "/gate/verdict/attestation": _OUTPUT_LISTENERS}

    def unheard() -> list[str]:
        return [t for t, n in expected.items() if node.count_publishers(t) < 1 or node.count_subscribers(t) < n]

    try:
        _wait(supervisor, lambda: not unheard(), lambda: f"not everybody hears {', '.join(unheard())}", watch)
        _pause(0.5, watch)
        parameters: dict[str, object] = {"seed": seed, "wait_for": _SENSOR_LISTENERS + gated}
        if gated:
            parameters["command"] = GATE_OUTPUT
        supervisor.start("world", "og_ros.nodes.world", parameters)

        def running() -> bool:
            executor.spin_once(timeout_sec=0.0)
            return bool(ticks)

        _wait(supervisor, running, lambda: "the world's sensors are not heard by everybody", watch)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)


def _wait(
    supervisor: Supervisor,
    ready: Callable[[], bool],
    problem: Callable[[], str],
    watch: Callable[[float, bool], None],
) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not ready():
        supervisor.check()
        if time.monotonic() > deadline:
            raise ConfigError(f"after {_START_TIMEOUT_S:g} s {problem()}; see `og-ros doctor`")
        watch(0.0, False)


def _pause(seconds: float, watch: Callable[[float, bool], None]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        watch(0.0, False)
