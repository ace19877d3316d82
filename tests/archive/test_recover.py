"""A marker that was lost or damaged is built again from the store, and no frame with it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from allsky360.archive import Archive, ArchiveError, FrameRef, RawWriter, verify_night
from allsky360.archive.recover import KEPT, rebuilt
from allsky360.model import Site
from tests.archive.conftest import EVENING, make_bracket

CAMERA = "Sim Camera 1"


def shoot(root: Path, site: Site, *numbers: int) -> list[FrameRef]:
    writer = RawWriter(root, CAMERA, site)
    refs = [writer.append(make_bracket(k, shape=(8, 8)), {"level": 0.1 * k}) for k in numbers]
    writer._lock.close()  # as a killed process leaves it: not sealed
    return refs


def check(root: Path, refs: list[FrameRef]) -> None:
    archive = Archive(root)
    for k, ref in enumerate(refs):
        for got, sent in zip(
            archive.bracket(ref).exposures, make_bracket(k, shape=(8, 8)).exposures, strict=True
        ):
            np.testing.assert_array_equal(got.pixels, sent.pixels)
    night = root / refs[0].camera / refs[0].night.isoformat()
    assert [p for p in verify_night(night) if p.severity == "error"] == []
    with xr.open_zarr(night / "raw.zarr") as opened:
        assert opened.sizes["time"] == len(refs)
        assert opened.attrs["pattern"] == "RGGB"


def store_of(root: Path, ref: FrameRef) -> Path:
    return root / ref.camera / ref.night.isoformat() / "raw.zarr"


@pytest.mark.parametrize("damage", ["lost", "empty", "junk", "half"])
def test_capture_goes_on_in_the_store_whose_marker_is_damaged(
    tmp_path: Path, site: Site, damage: str
) -> None:
    refs = shoot(tmp_path, site, 0, 1, 2)
    marker = store_of(tmp_path, refs[0]) / "zarr.json"
    whole = marker.read_bytes()
    if damage == "lost":
        marker.unlink()
    else:
        marker.write_bytes({"empty": b"", "junk": b"\xff" * 300, "half": whole[:900]}[damage])
    refs += shoot(tmp_path, site, 3)
    assert [ref.index for ref in refs] == [0, 1, 2, 3]
    check(tmp_path, refs)


def test_a_frame_that_was_on_its_way_is_not_taken_for_whole(tmp_path: Path, site: Site) -> None:
    refs = shoot(tmp_path, site, 0, 1, 2)
    store = store_of(tmp_path, refs[0])
    image = store / "raw" / "c.2.1.0.0"
    image.write_bytes(image.read_bytes()[:-40])
    (store / "zarr.json").unlink()
    root = rebuilt(store)
    assert root is not None
    assert root.rows == 2
    again = shoot(tmp_path, site, 2)
    assert again == [FrameRef(refs[0].camera, refs[0].night, 2)]
    check(tmp_path, refs)


def test_the_next_store_of_a_night_keeps_its_first_number(tmp_path: Path, site: Site) -> None:
    refs = shoot(tmp_path, site, 0, 1)
    writer = RawWriter(tmp_path, CAMERA, site)
    start = make_bracket(2).start
    other = writer.append(make_bracket(7, shape=(6, 10), start=start), {})
    writer._lock.close()
    assert other.index == 2
    (store_of(tmp_path, refs[0]).parent / "raw-2.zarr" / "zarr.json").write_bytes(b"{")
    writer = RawWriter(tmp_path, CAMERA, site)
    later = writer.append(make_bracket(8, shape=(6, 10), start=make_bracket(3).start), {})
    writer.close()
    assert later.index == 3
    assert Archive(tmp_path).count(other.camera, other.night) == 4


def test_without_its_attributes_it_is_refused_as_before(tmp_path: Path, site: Site) -> None:
    refs = shoot(tmp_path, site, 0)
    store = store_of(tmp_path, refs[0])
    (store / KEPT).unlink()
    (store / "zarr.json").write_bytes(b"junk")
    with pytest.raises(ArchiveError, match="is damaged"):
        shoot(tmp_path, site, 1)
    assert refs[0].night == date(2026, 11, 22) == EVENING.date()


def test_an_image_that_was_torn_on_its_way_is_written_over(tmp_path: Path, site: Site) -> None:
    """What a power cut leaves of a frame that was not committed must not stop the next."""
    refs = shoot(tmp_path, site, 0)
    image = store_of(tmp_path, refs[0]) / "raw" / "c.1.0.0.0"
    image.write_bytes(b"\0" * 77)
    refs += shoot(tmp_path, site, 1)
    check(tmp_path, refs)
