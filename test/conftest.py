"""Settings of every test: hypothesis sets no deadline, since a busy machine would miss it at random."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("og_ros", deadline=None)
settings.load_profile("og_ros")
