"""Builds the documentation as a site: the Markdown pages as they are, and the Python reference made from the code."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

# The package lies above this folder. rosdoc2 runs this file from a copy elsewhere: start it in the package's directory.
for place in (Path(__file__).resolve().parent.parent, Path.cwd()):
    if place.joinpath("og_ros", "__init__.py").is_file():
        sys.path.insert(0, str(place))
        break

import og_ros  # noqa: E402

project = "og_ros"
author = "og_ros maintainers"
copyright = "og_ros maintainers, Apache-2.0"  # the name that Sphinx asks for
release = version = og_ros.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# README.md of each folder is its table of contents; that of docs/ itself is included in index.rst.
exclude_patterns = ["README.md", "_build"]
html_theme = "furo" if find_spec("furo") else "sphinx_rtd_theme"  # the latter is what rosdoc2 brings
html_title = f"og_ros {release}"
pygments_style = "friendly"

# The anchors that forges make of headings, so that links work in both places.
myst_heading_anchors = 4

# The reference shows what a package exports. ROS and what only a robot needs are not imported to build it.
autodoc_mock_imports = [
    "ament_index_python", "builtin_interfaces", "cv2", "diagnostic_msgs", "launch", "launch_ros", "lifecycle_msgs",
    "nav_msgs", "og_ros.msg", "og_ros.srv", "onnxruntime", "rcl_interfaces", "rclpy", "rosgraph_msgs",
    "rosidl_runtime_py", "sensor_msgs", "std_msgs", "std_srvs", "geometry_msgs",
]  # fmt: skip
# A machine that builds documentation alone may lack what the core needs, too.
autodoc_mock_imports += [
    name for name in ("cbor2", "cryptography", "lz4", "numpy", "rich", "rosbags", "yaml") if find_spec(name) is None
]
autodoc_default_options = {"members": True, "show-inheritance": False}
rosdoc2_settings = {"enable_autodoc": False}  # it would put its own list of mocks in the place of the one above
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
add_module_names = False
napoleon_use_ivar = True
default_role = "literal"  # docstrings put code in single backticks
