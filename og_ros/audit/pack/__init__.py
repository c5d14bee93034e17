"""Evidence packs: one file with all that another party needs to check a recording, offline and years later."""

from og_ros.audit.pack.verify import PackReport, verify_pack
from og_ros.audit.pack.write import PackOptions, Written, write_pack

__all__ = ["PackOptions", "PackReport", "Written", "verify_pack", "write_pack"]
