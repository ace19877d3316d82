"""``allsky360 cluster``."""

from __future__ import annotations

import logging
import os

NICE = 5  # capture and the pages come first: a picture may be late, a burst may not


def cluster() -> None:
    """Run the Dask cluster that processes frames, until stopped."""
    from allsky360.cluster import run_cluster
    from allsky360.config import load_settings

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.nice(NICE)
    run_cluster(load_settings())
