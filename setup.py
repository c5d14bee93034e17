"""Builds og_ros three ways: with pip beside ROS, with pip without ROS (core and auditor), and with colcon.

Metadata is in pyproject.toml. This file adds what setuptools does not know: the ROS interfaces that CMake makes from
msg/, and the folders of an ament package. OG_ROS_WITH_MSGS=0 leaves the interfaces out; =1 makes it an error if they
cannot be built.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build import build
from setuptools.command.develop import develop
from setuptools.dist import Distribution

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))

from build_messages import MessageBuildError, build_messages, find_ros  # noqa: E402

NAME = "og_ros"
EXECUTABLES = {  # in lib/og_ros, where `ros2 run` and launch files look; og-ros itself goes to bin
    "stage": "og_ros.nodes.stage",
    "auditor": "og_ros.nodes.auditor",
    "source": "og_ros.nodes.source",
    "witness": "og_ros.nodes.witness",
    "gate": "og_ros.nodes.gate",
    "recorder": "og_ros.nodes.recorder",
    "markers": "og_ros.nodes.markers",
    "replayer": "og_ros.nodes.replayer",
    "wheel_driver": "og_ros.nodes.wheel_driver",
    "world": "og_ros.nodes.world",
    "og-ros": "og_ros.cli.main",
}
SCRIPT = """\
#!/bin/sh
# Runs {module} with the Python of the prefix that this file is installed in, or else with the one it was built for.
prefix=$(dirname -- "$0")/../..
for python in "$prefix/bin/python3" "{python}" python3; do
  command -v "$python" >/dev/null 2>&1 && break
done
# Ctrl-C before it runs finds nothing to lose, and shall not look like a crash; nodes have handlers of their own.
exec "$python" -c 'import os, signal, sys
signal.signal(signal.SIGINT, lambda *_: os._exit(0))
from {module} import main
sys.argv[0] = "{name}"{restore}
sys.exit(main())' "$@"
"""


def wanted_ros():
    """The ROS environment to build interfaces for, or None."""
    wish = os.environ.get("OG_ROS_WITH_MSGS", "")
    if wish not in ("", "0", "1"):
        raise SystemExit(f"OG_ROS_WITH_MSGS must be 0 or 1, not {wish!r}")
    ros = find_ros() if wish != "0" else None
    if ros is None and wish == "1":
        raise SystemExit("OG_ROS_WITH_MSGS=1 without rosidl_default_generators: source ROS, or install extra ros-build")
    return ros


ROS = wanted_ros()


class BuildMessages(Command):
    """Adds the interfaces (or one line that says why not) and the executables to the distribution, once."""

    description = "build the ROS interfaces from msg/ with CMake"
    user_options = [("inplace", "i", "put og_ros.msg into the source tree")]
    boolean_options = ["inplace"]

    def initialize_options(self):
        self.build_base = self.build_lib = None
        self.inplace = False
        self.editable_mode = False

    def finalize_options(self):
        self.set_undefined_options("build", ("build_base", "build_base"), ("build_lib", "build_lib"))

    def run(self):
        data_files = self.distribution.data_files
        data_files.append((f"lib/{NAME}", self.write_executables()))
        if ROS is None:
            # Where the interfaces are built, CMake installs these with them.
            cmake = ["cmake/og_ros-verify.cmake", "cmake/without_ros/og_rosConfig.cmake"]
            data_files.append((f"share/{NAME}/cmake", cmake))
            note = "og_ros messages: no ROS here (rosidl_default_generators); the core and the auditor only"
            print(note, file=sys.stderr)
            return
        try:
            tree = build_messages(ROOT, Path(self.build_base), ROS)
        except MessageBuildError as error:
            raise SystemExit(f"og_ros messages: {error}") from error
        python = next(tree.glob(f"**/{NAME}/msg/__init__.py")).parent.parent
        self.merge_python(python)
        taken = {(folder, Path(name).name) for folder, names in data_files for name in names}
        for path in sorted(tree.rglob("*")):
            relative = path.relative_to(tree)
            folder = relative.parent.as_posix()
            if path.is_file() and installed(relative) and (folder, path.name) not in taken:
                data_files.append((folder, [os.path.relpath(path)]))

    def write_executables(self):
        folder = Path(self.build_base) / "executables"
        folder.mkdir(parents=True, exist_ok=True)
        for name, module in EXECUTABLES.items():
            path = folder / name
            # The command line takes Ctrl-C as Python does.
            restore = "" if ".nodes." in module else "\nsignal.signal(signal.SIGINT, signal.default_int_handler)"
            path.write_text(SCRIPT.format(name=name, module=module, python=sys.executable, restore=restore))
            path.chmod(0o755)
        return [os.path.relpath(folder / name) for name in EXECUTABLES]

    def merge_python(self, source):
        """Copies og_ros.msg, og_ros.srv and their extensions; those get the suffix of this Python's ABI."""
        target = ROOT / NAME if self.inplace or self.editable_mode else Path(self.build_lib) / NAME
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        made = [*source.glob("msg/*.py"), *source.glob("srv/*.py")]
        copies = {path: target / path.parent.name / path.name for path in made}
        for path in source.glob("*.so"):
            copies[path] = target / (path.name.partition(".")[0] + suffix)
        old = {*target.glob("msg/*.py"), *target.glob("srv/*.py"), *target.glob(f"{NAME}_s__*{suffix}")}
        for stale in old - set(copies.values()):
            stale.unlink()
        for path, copy in copies.items():
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.is_file() or copy.read_bytes() != path.read_bytes():
                partial = copy.with_name(copy.name + ".new")  # a running process keeps the file that it has mapped
                shutil.copyfile(path, partial)
                partial.replace(copy)

    def get_source_files(self):
        return sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("msg/*.msg"), *ROOT.glob("srv/*.srv")])

    def get_outputs(self):
        return []

    def get_output_mapping(self):
        return {}


def installed(path):
    """Whether a file of CMake's install tree goes to the prefix as it is: Python is merged, colcon writes the hooks."""
    hooks = path.parent.name == "environment" or path.name.startswith("local_setup.") or path.suffix == ".dsv"
    return "site-packages" not in path.parts and "dist-packages" not in path.parts and not (
        hooks or path.parent.name == "parent_prefix_path"
    )


class Build(build):
    """`build`, with the interfaces."""

    sub_commands = [*build.sub_commands, ("build_msgs", None)]


class Develop(develop):
    """`develop` (colcon build --symlink-install), with the interfaces in the source tree."""

    def run(self):
        self.get_finalized_command("build_msgs").inplace = True
        self.run_command("build_msgs")
        super().run()


class OgDistribution(Distribution):
    """A distribution that has extension modules if it has interfaces."""

    def parse_config_files(self, *args, **kwargs):
        """Leaves literals only: colcon reads the metadata back with ast.literal_eval()."""
        super().parse_config_files(*args, **kwargs)
        for owner in (self, self.metadata):
            if owner.python_requires is not None:
                owner.python_requires = str(owner.python_requires)

    def has_ext_modules(self):
        return ROS is not None or super().has_ext_modules()

    def has_data(self):
        """Asked by setuptools' editable_wheel, which leaves the data files out where it is not defined."""
        return self.has_data_files()


def data_folder(name):
    """Data files of a folder in the source tree, for share/og_ros."""
    for folder in sorted({path.parent for path in (ROOT / name).rglob("*") if path.is_file()}):
        if folder.name != "__pycache__":
            files = [str(path.relative_to(ROOT)) for path in sorted(folder.iterdir()) if path.is_file()]
            yield (f"share/{NAME}/{folder.relative_to(ROOT).as_posix()}", files)


def headers():
    """The C++ headers, for include/og_ros: where ROS looks for the generated ones, too."""
    for folder in ("include/og_ros", "include/og_ros/detail"):
        files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).glob("*.hpp"))
        yield (f"include/{NAME}/{NAME}{folder.removeprefix('include/og_ros')}", files)


# colcon build --symlink-install runs a link to this file in its build directory, and links less than setuptools reads.
for needed in ("pyproject.toml", "README.md"):
    if not Path(needed).exists():
        Path(needed).symlink_to(ROOT / needed)

setup(
    license="Apache-2.0",
    distclass=OgDistribution,
    cmdclass={"build": Build, "build_msgs": BuildMessages, "develop": Develop},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/og_ros"]),
        (f"share/{NAME}", ["package.xml"]),
        *headers(),
        *data_folder("msg"),
        *data_folder("srv"),
        *data_folder("launch"),
        *data_folder("config"),
    ],
)
