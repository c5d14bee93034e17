"""The world for Gazebo, checked without Gazebo: its measures and names, what the bridge carries, where the track is."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

cv2 = pytest.importorskip("cv2", reason="the demo's world needs OpenCV: extra `robot` of og_ros")
np = pytest.importorskip("numpy")

from og_ros.errors import ConfigError  # noqa: E402
from og_ros.paths import share_directory  # noqa: E402
from og_ros.sim import Camera, World  # noqa: E402
from og_ros.sim.camera import Renderer  # noqa: E402
from og_ros.sim.floor import Floor  # noqa: E402
from og_ros.sim.gazebo import LIDAR_HEIGHT, WHEEL_RADIUS, write_world  # noqa: E402
from og_ros.sim.lidar import Lidar  # noqa: E402
from og_ros.sim.robot import Chassis  # noqa: E402
from og_ros.stages.pipeline import load_pipeline  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
CONFIG = share_directory() / "config" / "gazebo"
DRAKE = ROOT / ".cache" / "drake"
# Systems of Gazebo Harmonic (gz-sim 8) and the class in each library.
SYSTEMS = {
    "gz-sim-physics-system": "gz::sim::systems::Physics",
    "gz-sim-user-commands-system": "gz::sim::systems::UserCommands",
    "gz-sim-scene-broadcaster-system": "gz::sim::systems::SceneBroadcaster",
    "gz-sim-sensors-system": "gz::sim::systems::Sensors",
    "gz-sim-diff-drive-system": "gz::sim::systems::DiffDrive",
}
# Pairs that ros_gz_bridge converts (its README, branch jazzy).
PAIRS = {
    "rosgraph_msgs/msg/Clock": "gz.msgs.Clock",
    "sensor_msgs/msg/Image": "gz.msgs.Image",
    "sensor_msgs/msg/LaserScan": "gz.msgs.LaserScan",
    "nav_msgs/msg/Odometry": "gz.msgs.Odometry",
    "geometry_msgs/msg/Twist": "gz.msgs.Twist",
}
SEED = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a world; returns its directory."""
    return write_world(tmp_path_factory.mktemp("gazebo"), SEED).parent


@pytest.fixture(scope="module")
def robot(made: Path) -> ET.Element:
    """Return the robot's model."""
    return one(ET.parse(made / "world.sdf").getroot(), "world/model[@name='robot']")


def one(element: ET.Element, path: str) -> ET.Element:
    (found,) = element.findall(path)
    return found


def number(element: ET.Element, path: str) -> float:
    return float(one(element, path).text or "")


def pose(element: ET.Element) -> list[float]:
    return [float(value) for value in (one(element, "pose").text or "").split()]


def test_the_camera_is_the_one_that_the_models_know(robot: ET.Element) -> None:
    camera, sensor = Camera(), one(robot, "link[@name='base_link']/sensor[@type='camera']")
    assert pose(sensor) == [camera.forward, 0, camera.elevation, 0, camera.pitch, 0]
    assert number(sensor, "camera/horizontal_fov") == camera.field_of_view
    assert (number(sensor, "camera/image/width"), number(sensor, "camera/image/height")) == (160, 120)
    assert one(sensor, "camera/image/format").text == "R8G8B8"  # which the bridge makes rgb8
    # Square pixels: Gazebo takes the vertical view from the horizontal one, as a pinhole of this focal length does.
    assert camera.focal_length == pytest.approx(80 / math.tan(number(sensor, "camera/horizontal_fov") / 2))
    # Where the base_link frame is on the floor, the camera's height over the floor is its z.
    assert pose(robot)[2] == 0


def test_the_camera_does_not_see_the_robot(robot: ET.Element) -> None:
    camera = Camera()
    steepest = camera.pitch + math.atan(0.5 * (camera.height - 1) / camera.focal_length)
    for visual in robot.findall("link[@name='base_link']/visual"):
        length, _, height = (float(v) for v in (one(visual, "geometry/box/size").text or "").split())
        x, _, z = pose(visual)[:3]
        top = z + height / 2
        sight = camera.forward + (camera.elevation - top) / math.tan(steepest)
        assert x + length / 2 < sight, f"{visual.get('name')} is in the picture"


def test_the_lidar_is_the_one_that_the_models_know(robot: ET.Element, made: Path) -> None:
    lidar, sensor = Lidar(), one(robot, "link[@name='base_link']/sensor[@type='gpu_lidar']")
    across = one(sensor, "lidar/scan/horizontal")
    assert number(across, "samples") == lidar.beams
    assert (number(across, "min_angle"), number(across, "max_angle")) == (lidar.angle_min, lidar.angle_max)
    assert number(sensor, "lidar/range/min") == lidar.range_min
    assert number(sensor, "lidar/range/max") == lidar.range_max
    # It turns about the axle's middle, over the body, and meets every box.
    assert pose(sensor)[:2] == [0, 0]
    assert pose(sensor)[2] == LIDAR_HEIGHT > 0.08
    tops = [2 * pose(model)[2] for model in ET.parse(made / "world.sdf").getroot().iterfind("world/model")
            if (model.get("name") or "").startswith("box_")]  # fmt: skip
    assert tops
    assert min(tops) > LIDAR_HEIGHT


def test_sensors_and_odometry_come_as_often_as_in_the_demo(robot: ET.Element) -> None:
    rates = {number(sensor, "update_rate") for sensor in robot.iter("sensor")}
    assert rates == {20}
    assert number(robot, "plugin/odom_publish_frequency") == 40


def test_plugins_joints_and_wheels_fit_together(robot: ET.Element, made: Path) -> None:
    root = ET.parse(made / "world.sdf").getroot()
    plugins = {plugin.get("filename"): plugin.get("name") for plugin in root.iter("plugin")}
    assert plugins == SYSTEMS
    drive, body = one(robot, "plugin"), Chassis()
    links = {link.get("name") for link in robot.findall("link")}
    for side, sign in (("left", 1), ("right", -1)):
        name = one(drive, f"{side}_joint").text
        joint = one(robot, f"joint[@name='{name}']")
        assert joint.get("type") == "revolute"
        assert {one(joint, "parent").text, one(joint, "child").text} <= links
        assert (one(joint, "axis/xyz").text or "").split() == ["0", "1", "0"]  # forwards is positive
        wheel = one(robot, f"link[@name='{one(joint, 'child').text}']")
        assert pose(wheel)[:3] == [
            0,
            sign * body.wheel_base / 2,
            WHEEL_RADIUS,
        ]  # on the floor, under the base_link frame
        assert number(wheel, "collision/geometry/cylinder/radius") == WHEEL_RADIUS
    assert number(drive, "wheel_separation") == body.wheel_base
    assert number(drive, "wheel_radius") == WHEEL_RADIUS


def test_the_bridge_carries_what_the_pipeline_reads(made: Path, robot: ET.Element) -> None:
    bridge = yaml.safe_load((CONFIG / "bridge.yaml").read_text())
    for entry in bridge:
        assert PAIRS[entry["ros_type_name"]] == entry["gz_type_name"]
        assert entry["direction"] == ("ROS_TO_GZ" if entry["ros_topic_name"] == "cmd_vel" else "GZ_TO_ROS")
        # What the auditor hears later than the stage must not come late because nobody asked before.
        assert not entry.get("lazy", False)
    carried = {entry["ros_topic_name"].lstrip("/"): entry["ros_type_name"] for entry in bridge}
    pipeline = load_pipeline(share_directory() / "config" / "demo.yaml")
    made_by_stages = {port.topic for stage in pipeline.stages.values() for port in stage.outputs.values()}
    read = {p.topic: p.type for stage in pipeline.stages.values() for p in stage.inputs.values()}
    sensors = {topic.lstrip("/"): kind for topic, kind in read.items() if topic not in made_by_stages}
    assert sensors.items() <= carried.items()
    assert carried.keys() - sensors.keys() == {"clock", "cmd_vel"}
    # The clock is everybody's, the rest belongs to the robot's namespace.
    assert [entry["ros_topic_name"] for entry in bridge if entry["ros_topic_name"].startswith("/")] == ["/clock"]

    drive = one(robot, "plugin")
    offered = {one(sensor, "topic").text for sensor in robot.iter("sensor")}
    offered |= {one(drive, name).text for name in ("topic", "odom_topic")} | {"/clock"}
    assert {entry["gz_topic_name"] for entry in bridge} == offered


def test_the_floor_lies_as_in_the_demo(made: Path) -> None:
    """Draw the mesh as OBJ says, and look at it with the demo's camera: the picture must be the demo's own."""
    lines = [line.split() for line in (made / "floor.obj").read_text().splitlines()]
    corners = np.array([[float(v) for v in line[1:]] for line in lines if line[0] == "v"])
    marks = np.array([[float(v) for v in line[1:]] for line in lines if line[0] == "vt"])
    faces = [[tuple(int(i) for i in corner.split("/")) for corner in line[1:]] for line in lines if line[0] == "f"]
    assert {corner for face in faces for corner in face} == {(i, i, 1) for i in (1, 2, 3, 4)}
    for face in faces:  # anticlockwise from above: it faces up
        a, b, c = (corners[i - 1] for i, _, _ in face)
        assert np.cross(b - a, c - a)[2] > 0

    picture = cv2.imread(str(made / "floor.png"))[..., ::-1]
    height, width = picture.shape[:2]
    world = World(SEED)
    # In OBJ (0, 0) is the lower left corner of the picture, and y goes up.
    column, row = marks[:, 0] * width - 0.5, (1 - marks[:, 1]) * height - 0.5
    to_pixels, _ = cv2.findHomography(corners[:, :2], np.stack([column, row], axis=1))
    x0, y0 = world.floor.origin
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    places = np.stack([x0 + columns / 160, y0 + rows / 160], axis=-1).reshape(-1, 1, 2)
    pixels = cv2.perspectiveTransform(places, to_pixels).reshape(height, width, 2)
    laid = picture[np.rint(pixels[..., 1]).astype(int), np.rint(pixels[..., 0]).astype(int)]
    seen = Renderer(Camera(), Floor(np.ascontiguousarray(laid), world.floor.origin)).render(world.pose)
    wanted = Renderer(Camera(), world.floor).render(world.pose)
    assert np.array_equal(seen, wanted)
    assert "map_Kd floor.png" in (made / "floor.mtl").read_text()


def test_the_robot_stands_on_the_track(robot: ET.Element) -> None:
    x, y, _, _, _, theta = pose(robot)
    line = World(SEED).track.line_state(x, y, theta)
    assert abs(line.offset) < 1e-6
    assert abs(line.heading) < 0.05


def test_a_world_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="seed is -1"):
        write_world(tmp_path, -1)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write a world for Gazebo"):
        write_world(tmp_path / "file", 1)


PARSE = """\
import logging, sys
heard = []
handler = logging.Handler()
handler.emit = lambda record: heard.append(record.getMessage())
logging.getLogger("drake").addHandler(handler)
from pydrake.multibody.parsing import Parser
from pydrake.multibody.plant import MultibodyPlant
plant = MultibodyPlant(0.005)
Parser(plant).AddModels(sys.argv[1])
plant.Finalize()
print("joints", *sorted(plant.get_joint(index).name() for index in plant.GetJointIndices()))
print("\\n".join(heard))
"""


def parsed(path: Path) -> subprocess.CompletedProcess[str]:
    """Let drake's SDF parser (libsdformat) read a world; skips where drake is not."""
    if not (DRAKE / "pydrake").is_dir():
        pytest.skip("drake's SDF parser is not fetched: `make sdf-deps`, where the network has it")
    environment = {**os.environ, "PYTHONPATH": str(DRAKE)}
    return subprocess.run(
        [sys.executable, "-c", PARSE, path], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_libsdformat_takes_the_world(made: Path) -> None:
    done = parsed(made / "world.sdf")
    assert done.returncode == 0, done.stderr
    joints, *heard = done.stdout.splitlines()
    assert {"left_wheel_joint", "right_wheel_joint"} <= set(joints.split())
    # drake has no use for these elements, and says so; anything else that it says is about a mistake.
    unused = tuple(f"element in {place}" for place in (
        "world: physics", "world: plugin", "world: scene", "world: light", "model: plugin", "link: sensor",
    ))  # fmt: skip
    assert [
        line for line in heard if line and not line.endswith(tuple(f"unsupported SDFormat {u}" for u in unused))
    ] == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("<child>left_wheel</child>", "<child>wheel</child>"), ("update_rate>", "updateRate>")],
    ids=["joint", "element"],
)
def test_libsdformat_would_find_a_mistake(made: Path, tmp_path: Path, right: str, wrong: str) -> None:
    text = (made / "world.sdf").read_text()
    assert right in text
    (tmp_path / "world.sdf").write_text(text.replace(right, wrong))
    for name in ("floor.obj", "floor.mtl", "floor.png"):
        (tmp_path / name).symlink_to(made / name)
    done = parsed(tmp_path / "world.sdf")
    assert done.returncode != 0 or "not defined in SDF" in done.stdout
