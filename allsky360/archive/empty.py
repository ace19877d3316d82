"""What is said of an archive that holds nothing."""

from __future__ import annotations

from pathlib import Path

from allsky360.archive.errors import ArchiveError
from allsky360.config import DEMO_FOLDER


def nothing_archived(root: Path) -> ArchiveError:
    """Return the error for an archive without a frame; it names the demo's, where there is one."""
    try:
        demos = [p for p in root.glob(f"{DEMO_FOLDER}[+-]*") if p.is_dir()]
        newest = max(demos, key=lambda p: p.stat().st_mtime, default=None)
    except OSError:
        newest = None
    mend = "Start 'allsky360 up', or check storage.root."
    if newest is not None:
        mend = f"The demo's lies in {newest}: set ALLSKY360_STORAGE__ROOT={newest} to use it."
    return ArchiveError(f"the archive {root} holds no frame yet.", mend=mend)
