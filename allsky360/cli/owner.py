"""``allsky360 owner``."""

from __future__ import annotations


def owner() -> None:
    """Hold the camera: keep it connected, take bursts on request, store their raw frames."""
    from allsky360.cli.priority import come_first
    from allsky360.config import load_settings
    from allsky360.owner.service import run

    come_first()
    run(load_settings())
