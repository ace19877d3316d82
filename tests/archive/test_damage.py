"""What is damaged is named, hides nothing else, and no image is ever deleted or made up."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from allsky360.archive import (
    Archive,
    ArchiveError,
    FrameRef,
    ProcessedWriter,
    RawWriter,
    verify_night,
)
from allsky360.model import Site
from tests.archive.conftest import EVENING, make_bracket

NIGHT = date(2026, 11, 22)
CAMERA = "sim-camera-1"


def fill(root: Path, site: Site, count: int, *, days: int = 0) -> Path:
    writer = RawWriter(root, "Sim Camera 1", site)
    for k in range(count):
        start = EVENING + timedelta(days=days, seconds=20 * k)
        writer.append(make_bracket(k, exposures=1, start=start), {})
    writer.close()
    return root / CAMERA / (NIGHT + timedelta(days=days)).isoformat()


def process(root: Path, index: int, scalars: dict[str, float] | None = None) -> None:
    ProcessedWriter(root, CAMERA, NIGHT).write(
        FrameRef(CAMERA, NIGHT, index),
        time=EVENING + timedelta(seconds=20 * index),
        linear=np.random.default_rng(index).random((8, 9, 3), np.float32),
        picture_jpeg=b"\xff\xd8\xff\xd9",
        scalars=scalars or {},
        provenance={},
    )


def test_a_store_without_its_marker_is_set_aside_not_deleted(tmp_path: Path, site: Site) -> None:
    folder = fill(tmp_path, site, 5)
    images = {p.name: p.read_bytes() for p in (folder / "raw.zarr" / "raw").glob("c.*")}
    assert len(images) == 5
    (folder / "raw.zarr" / "zarr.json").unlink()
    (folder / "raw.zarr" / "attributes.json").unlink()  # or it would be built again
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    assert writer.append(make_bracket(9, exposures=1), {}).index == 0  # capture goes on
    writer.close()
    aside = folder / "raw.zarr.without-marker-1"
    assert {p.name: p.read_bytes() for p in (aside / "raw").glob("c.*")} == images
    assert any(p.where == str(aside) for p in verify_night(folder))


def test_no_exposure_of_a_crashed_frame_shines_through(tmp_path: Path, site: Site) -> None:
    folder = fill(tmp_path, site, 1)
    marker = folder / "raw.zarr" / "zarr.json"
    before = marker.read_bytes()
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    writer.append(make_bracket(1, exposures=3), {})
    writer.close()
    marker.write_bytes(before)
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    writer.append(make_bracket(2, exposures=1), {})
    writer.close()
    raw = xr.open_zarr(folder / "raw.zarr").raw
    assert int(raw[1, 0].max()) > 0
    assert int(raw[1, 1:].max()) == 0


def test_a_missing_exposure_is_an_error_not_a_black_image(tmp_path: Path, site: Site) -> None:
    folder = fill(tmp_path, site, 2)
    (folder / "raw.zarr" / "raw" / "c.1.0.0.0").unlink()
    archive = Archive(tmp_path)
    with pytest.raises(ArchiveError, match=r"c\.1\.0\.0\.0 is missing"):
        archive.bracket(FrameRef(CAMERA, NIGHT, 1))
    assert len(archive.bracket(FrameRef(CAMERA, NIGHT, 0)).exposures) == 1


@pytest.mark.parametrize("name", ["../../escaped", "time", "processed_at", "linear", "x_2", "A"])
def test_a_measurement_cannot_take_a_name_of_the_archive(
    tmp_path: Path, site: Site, name: str
) -> None:
    folder = fill(tmp_path, site, 1)
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(ArchiveError, match="cannot name a scalar"):
        process(tmp_path, 0, scalars={name: 1.0})
    assert sorted(folder.parent.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]"])
def test_damaged_processed_frames_are_made_again(
    tmp_path: Path, site: Site, content: bytes
) -> None:
    folder = fill(tmp_path, site, 2)
    process(tmp_path, 0)
    (folder / "v0001.zarr" / "zarr.json").write_bytes(content)
    archive = Archive(tmp_path)
    assert [r.processed for r in archive.frames(CAMERA, NIGHT)] == [False, False]
    assert len(archive.unprocessed(CAMERA, NIGHT)) == 2
    process(tmp_path, 0)
    assert [r.processed for r in archive.frames(CAMERA, NIGHT)] == [True, False]
    assert (folder / "v0001.zarr.damaged-1").is_dir()


def test_one_damaged_night_hides_no_other(tmp_path: Path, site: Site) -> None:
    folder = fill(tmp_path, site, 1)
    fill(tmp_path, site, 2, days=-1)
    (folder / "raw.zarr" / "zarr.json").write_text("{")
    archive = Archive(tmp_path)
    assert archive.cameras() == [CAMERA]
    assert archive.nights() == [NIGHT - timedelta(days=1), NIGHT]
    newest = archive.latest()
    assert newest is not None
    assert newest.ref == FrameRef(CAMERA, NIGHT - timedelta(days=1), 1)
    with pytest.raises(ArchiveError, match="damaged"):
        archive.frames(CAMERA, NIGHT)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("raw/zarr.json", None),
        ("raw/zarr.json", b"{"),
        ("zarr.json", b"[]"),
        (
            "zarr.json",
            b'{"attributes":{},"consolidated_metadata":{"metadata":{"a":{"shape":[1]}}}}',
        ),
    ],
)
def test_verify_names_damaged_metadata_and_does_not_raise(
    tmp_path: Path, site: Site, name: str, content: bytes | None
) -> None:
    folder = fill(tmp_path, site, 2)
    file = folder / "raw.zarr" / name
    file.unlink() if content is None else file.write_bytes(content)
    errors = [p for p in verify_night(folder) if p.severity == "error"]
    assert errors
    assert str(file.parent) in errors[0].where


def test_verify_looks_at_the_linear_images(tmp_path: Path, site: Site) -> None:
    folder = fill(tmp_path, site, 2)
    process(tmp_path, 0)
    process(tmp_path, 1)
    (folder / "v0001.zarr" / "linear" / "c.0.0.0.0").unlink()
    cut = folder / "v0001.zarr" / "linear" / "c.1.0.0.0"
    cut.write_bytes(cut.read_bytes()[:20])
    said = [p.what for p in verify_night(folder) if p.severity == "warning"]
    assert "its linear image is missing" in said
    assert any("does not decode" in what for what in said)


def test_a_reduced_image_that_a_power_cut_tore_is_written_over(tmp_path: Path, site: Site) -> None:
    folder = fill(tmp_path, site, 2)
    process(tmp_path, 0)
    image = folder / "v0001.zarr" / "linear" / "c.1.0.0.0"
    image.write_bytes(b"\0" * 50)
    process(tmp_path, 1)
    assert Archive(tmp_path).unprocessed(CAMERA, NIGHT) == []


@pytest.mark.parametrize("name", ["time", "background"])
def test_numbers_that_a_power_cut_emptied_cost_the_night_a_second_processing_and_no_person(
    tmp_path: Path, site: Site, name: str
) -> None:
    folder = fill(tmp_path, site, 3)
    for index in range(2):
        process(tmp_path, index, {"background": 0.5})
    (folder / "v0001.zarr" / name / "c.0").write_bytes(b"")
    archive = Archive(tmp_path)
    assert len(archive.unprocessed(CAMERA, NIGHT)) == 3  # damaged counts as not processed
    with pytest.raises(ArchiveError, match="processed again"):
        process(tmp_path, 0, {"background": 0.5})
    for ref in archive.unprocessed(CAMERA, NIGHT):  # the catch-up, next time
        process(tmp_path, ref.index, {"background": 0.5})
    assert Archive(tmp_path).unprocessed(CAMERA, NIGHT) == []
    assert (folder / "v0001.zarr.damaged-1").is_dir()


def test_what_is_wrong_with_a_marker_is_said_in_a_line(tmp_path: Path, site: Site) -> None:
    marker = fill(tmp_path, site, 3) / "raw.zarr" / "zarr.json"
    text = bytearray(marker.read_bytes())
    text[900:940] = b"\xff" * 40
    marker.write_bytes(text)
    with pytest.raises(ArchiveError, match=r"UnicodeDecodeError: .* position 900") as caught:
        Archive(tmp_path).bracket(FrameRef(CAMERA, NIGHT, 0))
    assert len(str(caught.value)) < 400 + len(str(marker))  # not the file itself
