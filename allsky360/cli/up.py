"""``allsky360 up``."""

from __future__ import annotations


def up() -> None:
    """Run everything on this machine: camera owner, Prefect, Dask, API; simulator if no camera."""
    from allsky360.config import load_settings
    from allsky360.supervisor.run import up as run

    run(load_settings())
