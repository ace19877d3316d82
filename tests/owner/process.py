"""An owner process with a fake camera and the real archive, for tests that kill it.

``python -m tests.owner.process ROOT PORT``
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from allsky360.archive.raw import RawWriter
from allsky360.clock import REAL_CLOCK
from allsky360.owner.loop import Owner
from allsky360.owner.service import serve
from tests.owner.fakes import SITE, FakeCamera, World, make_settings


def main(root: Path, port: int) -> None:
    world = World(exposure_wall_s=0.05)
    owner = Owner(
        make_settings(root),
        SITE,
        REAL_CLOCK,
        lambda: FakeCamera(world),
        lambda name: RawWriter(root, name, SITE),
    )
    asyncio.run(serve(owner, "127.0.0.1", port))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
