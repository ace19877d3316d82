"""What the sky needs: the site, the lens, the masters."""

from __future__ import annotations

from collections.abc import Iterator

from allsky360.archive import Archive
from allsky360.config import Settings
from allsky360.doctor.finding import Finding
from allsky360.errors import AllskyError
from allsky360.lenses import newest_lens
from allsky360.masters import masters_in_use


def sky(settings: Settings) -> Iterator[Finding]:
    """Look at what measurements rest on."""
    yield _site(settings)
    for camera in Archive(settings.storage.root).cameras():
        yield _lens(settings, camera)
    yield _masters(settings)


def _site(settings: Settings) -> Finding:
    s = settings.site
    if s.latitude_deg is None or s.longitude_deg is None:
        mend = "Write site.latitude_deg and site.longitude_deg into the settings."
        if not settings.camera.host:
            says = "not set: the simulated camera stands where it is night"
            return Finding("sky", "site", "none", says, mend)
        says = "not set: day, night and every star depend on it"
        return Finding("sky", "site", "bad", says, mend)
    if s.latitude_deg == 0 and s.longitude_deg == 0:
        says = "0, 0 lies in the Gulf of Guinea"
        return Finding("sky", "site", "doubt", says, "Write your own place into the settings.")
    says = f"{s.latitude_deg:.4f}, {s.longitude_deg:.4f}, {s.elevation_m:g} m"
    return Finding("sky", "site", "good", says)


def _lens(settings: Settings, camera: str) -> Finding:
    name = f"lens of {camera}"
    try:
        found = newest_lens(settings.storage.root, camera)
    except AllskyError as error:
        return Finding("sky", name, "bad", error.message, error.mend)
    if found is None:
        mend = "It is solved by itself under the first clear dark sky; 'allsky360 sky calibrate'."
        return Finding("sky", name, "none", "not solved yet", mend)
    lens = found.lens
    says = f"solved for {lens.width} x {lens.height} pixels"
    return Finding("sky", name, "good", says)


def _masters(settings: Settings) -> Finding:
    root = masters_in_use(settings, settings.storage.root)
    if root is None:
        mend = "Cover the lens and run 'allsky360 darks take 1 5 10' once."
        return Finding("sky", "masters", "none", "no dark frames are used", mend)
    if not root.is_dir():
        mend = "Correct processing.dark_root."
        return Finding("sky", "masters", "bad", f"{root} does not exist", mend)
    count = sum(1 for _ in root.rglob("*.fit*"))
    if not count:
        return Finding(
            "sky", "masters", "bad", f"{root} is empty", "Run 'allsky360 darks take 1 5 10'."
        )
    return Finding("sky", "masters", "good", f"{count} files in {root}")
