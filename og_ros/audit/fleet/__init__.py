"""Audits of many recordings: in processes or on dask workers, resumable, with checks across recordings."""

from og_ros.audit.fleet.report import FleetReport
from og_ros.audit.fleet.run import Progress, audit_fleet

__all__ = ["FleetReport", "Progress", "audit_fleet"]
