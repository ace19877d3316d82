"""``allsky360 cluster``."""

from __future__ import annotations

import logging
import os

NICE = 5  # capture and the pages come first: a picture may be late, a burst may not


def cluster() -> None:
    """Run the Dask cluster that processes frames, until stopped."""
    from allsky360.cluster import run_cluster
    from allsky360.config import load_settings
    from allsky360.logs import set_up_logging

    settings = load_settings()
    set_up_logging("dask", settings.logging.format, logging.WARNING)
    os.nice(NICE)
    run_cluster(settings)
