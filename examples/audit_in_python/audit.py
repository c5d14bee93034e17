"""Audits a recording and names the commands whose chain does not hold: audit.py BAG REGISTRY ROOT."""

import sys
from pathlib import Path

from og_ros.audit.policy import Policy
from og_ros.audit.run import audit_bag
from og_ros.errors import OgError
from og_ros.registry import Registry

bag, registry, root = sys.argv[1:]
try:
    report = audit_bag(Path(bag), Registry.open(Path(registry), pinned_root=root), policy=Policy(registry_root=root))
except OgError as error:
    sys.exit(f"could not check: {error}")
data = report.as_json()
print(data["verdict"], {axis: tally["lowest"] for axis, tally in data["levels"].items()})
for finding in data["findings"]:
    if finding["severity"] == "violation":
        print(finding["kind"], finding["topic"], finding["message"])
sys.exit({"holds": 0, "violated": 1}.get(data["verdict"], 2))
