"""Rows of stars and sky cells: read by plain xarray, replaced whole, by many at once."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from allsky360.archive import (
    Archive,
    ArchiveError,
    Axis,
    FrameRef,
    ProcessedWriter,
    RawWriter,
    Row,
    processed,
    verify_night,
)
from allsky360.model import Site
from tests.archive.conftest import EVENING, make_bracket

NIGHT = date(2026, 11, 22)
CAMERA = "sim-camera-1"
JPEG = b"\xff\xd8\xff\xd9"
HIP = np.array([32349, 30438, 11767, 91262], np.int32)


def star_axis(hip: np.ndarray = HIP) -> Axis:
    return Axis(
        "star",
        {
            "star": (hip, {"long_name": "Hipparcos number"}),
            "star_v_mag": (
                np.linspace(-1.44, 0.03, len(hip), dtype=np.float32),
                {"long_name": "V magnitude", "units": "mag"},
            ),
        },
    )


def cell_axis(size: int = 5) -> Axis:
    return Axis("cell", {"cell": (np.arange(size, dtype=np.int32), {})})


STARS = star_axis()
CELLS = cell_axis()


def flux_of(number: int, size: int = 4) -> np.ndarray:
    values = np.random.default_rng(number).random(size, np.float32)
    values[1] = np.nan
    return values


def flux(number: int, axis: Axis = STARS, units: str = "adu s-1") -> Row:
    attributes = {"units": units, "long_name": "flux", "ancillary_variables": "star_flux_sigma"}
    return Row(axis, flux_of(number, axis.size), attributes)


def rows_of(number: int, axis: Axis = STARS) -> dict[str, Row]:
    return {
        "star_flux": flux(number, axis),
        "star_flux_sigma": Row(axis, flux_of(number, axis.size) / 10, {"units": "adu s-1"}),
        "star_flag": Row(axis, np.full(axis.size, number % 100, np.int8), {"long_name": "flags"}),
        "cloud_chance": Row(CELLS, np.full(5, number / 100, np.float32), {"units": "1"}),
        "cell_count": Row(CELLS, np.array([1, 2, 3, 65535, number], np.uint16), {}),
    }


def write(root: Path, ref: FrameRef, rows: dict[str, Row] | None = None, **changes: Any) -> None:
    given: dict[str, Any] = {
        "time": EVENING + timedelta(seconds=20 * ref.index),
        "linear": np.full((4, 5, 3), ref.index, np.float32),
        "picture_jpeg": JPEG,
        "scalars": {},
        "provenance": {},
        "rows": rows_of(ref.index) if rows is None else rows,
    }
    ProcessedWriter(root, ref.camera, ref.night).write(ref, **(given | changes))


def open_night(root: Path) -> xr.Dataset:
    return xr.open_zarr(root / CAMERA / NIGHT.isoformat() / "v0001.zarr")


def problems_of(root: Path, *, deep: bool = True) -> list[str]:
    found = verify_night(root / CAMERA / NIGHT.isoformat(), deep=deep)
    return [p.what for p in found if p.severity != "info"]


@pytest.fixture(scope="module")
def raw_night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[FrameRef]]:
    root = tmp_path_factory.mktemp("raw-night")
    writer = RawWriter(root, "Sim Camera 1", Site("s", 28.76, -17.88))
    refs = [writer.append(make_bracket(k, exposures=1, shape=(8, 8)), {}) for k in range(4)]
    writer.close()
    return root, refs


@pytest.fixture
def night(tmp_path: Path, raw_night: tuple[Path, list[FrameRef]]) -> list[FrameRef]:
    shutil.copytree(raw_night[0], tmp_path, dirs_exist_ok=True)
    return raw_night[1]


def test_plain_xarray_finds_a_star_by_its_number(tmp_path: Path, night: list[FrameRef]) -> None:
    for ref in night:
        write(tmp_path, ref)
    ds = open_night(tmp_path)
    assert ds.star_flux.dims == ("time", "star")
    expected = [flux_of(k)[0] for k in range(4)]
    np.testing.assert_array_equal(ds.star_flux.sel(star=32349), expected)
    assert np.isnan(ds.star_flux.sel(star=30438)).all()
    assert ds.star_flux.attrs["units"] == "adu s-1"
    assert ds.star_flux.attrs["long_name"] == "flux"
    assert ds.star_flux.attrs["ancillary_variables"] == "star_flux_sigma"
    assert ds.star.dtype == np.int32
    assert set(ds.coords) == {"time", "star", "star_v_mag", "cell"}
    assert ds.star_flux.sel(star=11767).star_v_mag == np.float32(
        STARS.coordinates["star_v_mag"][0][2]
    )
    assert ds.star_v_mag.attrs["units"] == "mag"
    np.testing.assert_allclose(ds.cloud_chance.isel(time=-1), 0.03)
    np.testing.assert_array_equal(ds.cell_count[2], [1, 2, 3, np.nan, 2])
    np.testing.assert_array_equal(ds.star_flag[3], [3, 3, 3, 3])
    ds.load()
    assert not problems_of(tmp_path)


def test_the_store_is_plain_zarr(tmp_path: Path, night: list[FrameRef]) -> None:
    write(tmp_path, night[1])
    group = zarr.open_group(tmp_path / CAMERA / NIGHT.isoformat() / "v0001.zarr", mode="r")
    np.testing.assert_array_equal(group["star_flux"][1], flux_of(1))
    np.testing.assert_array_equal(group["star"][:], HIP)
    # the space reserved for frames to come is empty, and readable without consolidated metadata
    whole = zarr.open_group(
        tmp_path / CAMERA / NIGHT.isoformat() / "v0001.zarr", mode="r", use_consolidated=False
    )
    assert np.isnan(whole["star_flux"][900]).all()
    assert set(whole["star_flag"][900]) == {-128}


def test_rows_are_read_beside_scalars(tmp_path: Path, night: list[FrameRef]) -> None:
    write(tmp_path, night[2], scalars={"background": 1.0})
    archive = Archive(tmp_path)
    got = archive.row(night[2], "star_flux")
    assert got is not None
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, flux_of(2))
    np.testing.assert_array_equal(
        archive.row(night[2], "cell_count"), np.array([1, 2, 3, np.nan, 2], np.float32)
    )
    for ref, name in ((night[2], "star_mag"), (night[1], "star_flux"), (night[3], "star_flux")):
        assert archive.row(ref, name) is None
    assert archive.row(night[2], "background") is None
    assert not rows_of(2).keys() & archive.frame(night[2]).scalars.keys()
    assert archive.row(FrameRef(CAMERA, date(2026, 1, 1), 0), "star_flux") is None


def test_rows_of_frames_before_the_variable_are_empty(
    tmp_path: Path, night: list[FrameRef]
) -> None:
    write(tmp_path, night[0], {})
    write(tmp_path, night[1])
    write(tmp_path, night[2], {})
    ds = open_night(tmp_path)
    assert np.isnan(ds.star_flux[[0, 2]]).all()
    assert np.isnan(ds.star_flag[0]).all()
    np.testing.assert_array_equal(ds.star_flux[1], flux_of(1))
    assert not problems_of(tmp_path)


def test_a_series_follows_one_star(tmp_path: Path, night: list[FrameRef]) -> None:
    archive = Archive(tmp_path)
    times, values = archive.series(CAMERA, NIGHT, "star_flux", 11767)
    assert len(times) == len(values) == 0
    write(tmp_path, night[0])
    write(tmp_path, night[2], {})
    write(tmp_path, night[3])
    times, values = archive.series("Sim Camera 1", NIGHT, "star_flux", 11767)
    assert [str(t) for t in times] == [
        f"2026-11-22T21:0{t}.000000" for t in ("0:00", "0:40", "1:00")
    ]
    np.testing.assert_array_equal(
        values, np.array([flux_of(0)[2], np.nan, flux_of(3)[2]], np.float32)
    )
    assert archive.series(CAMERA, NIGHT, "cell_count", 3)[1].shape == (3,)
    assert np.isnan(archive.series(CAMERA, NIGHT, "cell_count", 3)[1]).all()  # fill values
    assert np.isnan(archive.series(CAMERA, NIGHT, "star_flux", 1)[1]).all()  # no such star
    assert np.isnan(archive.series(CAMERA, NIGHT, "nothing", 1)[1]).all()


def test_other_stars_get_an_axis_of_their_own(tmp_path: Path, night: list[FrameRef]) -> None:
    fewer = star_axis(HIP[[2, 0]])
    write(tmp_path, night[0])
    write(tmp_path, night[1], rows_of(1, fewer))
    write(tmp_path, night[2], rows_of(2, star_axis()))  # equal to the first, another object
    write(tmp_path, night[3], rows_of(3, star_axis(HIP[[2, 0]])))
    ds = open_night(tmp_path)
    assert ds.star_flux_2.dims == ("time", "star_2")
    assert ds.star_flux_2.attrs["ancillary_variables"] == "star_flux_sigma_2"
    assert ds.cloud_chance.notnull().all()  # the cells are as they were
    assert "star_3" not in ds
    assert "cell_2" not in ds
    np.testing.assert_array_equal(
        ds.star_flux_2.sel(star_2=32349)[1::2], [flux_of(k, 2)[1] for k in (1, 3)]
    )
    np.testing.assert_array_equal(ds.star_flux[2], flux_of(2))
    assert ds.star_flux[1].isnull().all()
    archive = Archive(tmp_path)
    np.testing.assert_array_equal(archive.row(night[1], "star_flux"), flux_of(1, 2))
    _, values = archive.series(CAMERA, NIGHT, "star_flux", 11767)
    expected = [flux_of(k, 2)[0] if k % 2 else flux_of(k)[2] for k in range(4)]
    np.testing.assert_array_equal(values, expected)
    assert not problems_of(tmp_path)


@pytest.mark.parametrize(
    "changed",
    [flux(1, units="mag"), Row(STARS, np.arange(4).astype(np.uint16), {"units": "adu s-1"})],
)
def test_another_unit_or_type_is_another_variable(
    tmp_path: Path, night: list[FrameRef], changed: Row
) -> None:
    write(tmp_path, night[0], {"star_flux": flux(0)})
    write(tmp_path, night[1], {"star_flux": changed})
    ds = open_night(tmp_path)
    assert ds.star_flux_2.dims == ("time", "star")
    np.testing.assert_array_equal(ds.star_flux_2[1], changed.values)
    np.testing.assert_array_equal(ds.star_flux[0], flux_of(0))
    assert not problems_of(tmp_path)


def test_processing_again_replaces_every_row(tmp_path: Path, night: list[FrameRef]) -> None:
    write(tmp_path, night[0], rows_of(1))
    write(tmp_path, night[0], {"star_flux": flux(7)})
    archive = Archive(tmp_path)
    np.testing.assert_array_equal(archive.row(night[0], "star_flux"), flux_of(7))
    assert archive.row(night[0], "cloud_chance") is None  # of the first time only
    assert np.isnan(open_night(tmp_path).cloud_chance[0]).all()
    fewer = star_axis(HIP[:2])
    write(tmp_path, night[0], {"star_flux": flux(8, fewer)})
    np.testing.assert_array_equal(archive.row(night[0], "star_flux"), flux_of(8, 2))
    assert np.isnan(open_night(tmp_path).star_flux[0]).all()
    assert not problems_of(tmp_path)


@pytest.mark.parametrize("step", range(12))
def test_a_kill_at_any_step_shows_no_half_frame(
    tmp_path: Path, night: list[FrameRef], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Killed before its ``step``-th file is put in place; both a new frame and one done again."""
    write(tmp_path, night[0], rows_of(1), scalars={"number": 1.0})
    real = os.replace
    for ref in (night[1], night[0]):
        left = [step]

        def dying(source: Path, target: Path, left: list[int] = left) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return real(source, target)  # Zarr's own, which has to live on
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return real(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", dying)
            try:
                write(tmp_path, ref, rows_of(2), scalars={"number": 2.0})
            except KeyboardInterrupt:
                pass
            else:
                assert step > 10
        for record in Archive(tmp_path).frames(CAMERA, NIGHT):
            got = {n: Archive(tmp_path).row(record.ref, n) for n in rows_of(0)}
            if not record.processed:
                assert set(map(type, got.values())) == {type(None)}
                continue
            number = int(record.scalars["number"])
            for name, row in rows_of(number).items():
                seen, flags = got[name], row.values
                assert seen is not None
                if name != "cell_count":
                    np.testing.assert_array_equal(seen, flags)
                else:
                    assert seen[4] == number
        assert not problems_of(tmp_path)  # nor is anything announced that is not there
        write(tmp_path, ref, rows_of(3), scalars={"number": 3.0})
        assert Archive(tmp_path).frame(ref).scalars["number"] == 3.0
        assert not problems_of(tmp_path)


def test_a_disk_that_fills_up_keeps_the_frame_as_it_was(
    tmp_path: Path, night: list[FrameRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, night[0], rows_of(1))
    real = processed.stage

    def full(path: Path, data: bytes, *, sync: bool) -> Path:
        if path.parent.name == "cloud_chance":
            raise OSError(28, os.strerror(28), str(path))
        return real(path, data, sync=sync)

    monkeypatch.setattr(processed, "stage", full)
    with pytest.raises(ArchiveError, match="disk is full"):
        write(tmp_path, night[0], rows_of(2))
    np.testing.assert_array_equal(Archive(tmp_path).row(night[0], "star_flux"), flux_of(1))
    assert not list(tmp_path.rglob("*.partial"))


def _work(root: Path, worker: int, count: int) -> None:
    mine = star_axis(HIP[: 4 - worker])  # and each makes an axis the other does not have
    for index in range(count):
        if index % 2 == worker or index % 3 == 0:  # every third is done by both
            axis = mine if index % 4 == 1 else STARS
            write(root, FrameRef(CAMERA, NIGHT, index), rows_of(10 * worker + index, axis))


@pytest.mark.slow
def test_two_processes_write_one_night(tmp_path: Path, site: Site) -> None:
    count = 12
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    for k in range(count):
        writer.append(make_bracket(k, exposures=1, shape=(8, 8)), {})
    writer.close()
    context = multiprocessing.get_context("forkserver")
    workers = [context.Process(target=_work, args=(tmp_path, w, count)) for w in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(100)
    assert [w.exitcode for w in workers] == [0, 0]
    archive = Archive(tmp_path)
    assert archive.unprocessed(CAMERA, NIGHT) == []
    for ref in (FrameRef(CAMERA, NIGHT, k) for k in range(count)):
        chance = archive.row(ref, "cloud_chance")
        assert chance is not None
        number = round(float(chance[0]) * 100)  # whose the frame is; then all of it is
        assert number in (ref.index, 10 + ref.index)
        got = archive.row(ref, "star_flux")
        assert got is not None
        np.testing.assert_array_equal(got, flux_of(number, len(got)))
        np.testing.assert_array_equal(archive.row(ref, "star_flag"), np.full(len(got), number))
    assert "star_2" in open_night(tmp_path)
    assert "star_3" not in open_night(tmp_path)
    assert not problems_of(tmp_path)


def test_descriptions_are_the_scalars_attributes(
    tmp_path: Path, night: list[FrameRef], caplog: pytest.LogCaptureFixture
) -> None:
    about = {
        "zero_point": {"units": "mag", "ancillary_variables": "zero_point_sigma"},
        "never_measured": {"units": "m"},
    }
    write(tmp_path, night[0], {}, scalars={"zero_point": 20.0, "sun_deg": 1.0}, descriptions=about)
    ds = open_night(tmp_path)
    assert ds.zero_point.attrs == {"long_name": "zero point", **about["zero_point"]}
    assert ds.sun_deg.attrs["units"] == "degree"
    assert "never_measured" not in ds
    with caplog.at_level(logging.WARNING):
        write(
            tmp_path,
            night[1],
            {},
            scalars={"zero_point": 1.0},
            descriptions={"zero_point": {"units": "dB"}},
        )
    assert "was mag, is now dB" in caplog.text
    ds = open_night(tmp_path)
    assert ds.zero_point.attrs["units"] == "dB"
    np.testing.assert_array_equal(ds.zero_point, [20.0, 1.0])


@pytest.mark.parametrize(
    ("name", "damage", "said", "quick"),
    [
        ("star_flux/c.1.0", Path.unlink, "its star_flux is missing", True),
        (
            "star_flux/c.1.0",
            lambda p: p.write_bytes(p.read_bytes()[:-2]),
            "star_flux: c.1.0",
            False,
        ),
        ("star_flux/c.1.0", lambda p: p.write_bytes(b""), "star_flux: c.1.0", False),
        ("star/c.0", Path.unlink, "its file is missing", True),
        ("star/c.0", lambda p: p.write_bytes(b"x"), "c.0 does not decode", True),
        (
            "star/c.0",
            lambda p: p.write_bytes((p.parents[1] / "star_flag" / "c.0.0").read_bytes()),
            "c.0 holds",
            True,
        ),
        (
            "star_v_mag/c.0",
            lambda p: p.write_bytes((p.parents[1] / "star_flux" / "c.0.0").read_bytes()),
            "differ from their checksum",
            False,
        ),
    ],
)
def test_verify_names_damaged_rows_and_axes(
    tmp_path: Path,
    night: list[FrameRef],
    name: str,
    damage: Callable[[Path], Any],
    said: str,
    quick: bool,
) -> None:
    write(tmp_path, night[0])
    write(tmp_path, night[1])
    file = tmp_path / CAMERA / NIGHT.isoformat() / "v0001.zarr" / name
    damage(file)
    (found,) = problems_of(tmp_path)
    assert said in found
    assert bool(problems_of(tmp_path, deep=False)) is quick
    assert len(Archive(tmp_path).frames(CAMERA, NIGHT)) == 4
    if file.parent.name.startswith("star_flux"):
        write(tmp_path, night[1])
    else:  # as it says there
        file.unlink(missing_ok=True)
        write(tmp_path, night[2])
    assert not problems_of(tmp_path)


def test_a_damaged_row_is_named_and_hides_no_other(tmp_path: Path, night: list[FrameRef]) -> None:
    for ref in night[:3]:
        write(tmp_path, ref)
    file = tmp_path / CAMERA / NIGHT.isoformat() / "v0001.zarr" / "star_flux" / "c.1.0"
    data = bytearray(file.read_bytes())
    data[-6] ^= 1
    file.write_bytes(data)
    archive = Archive(tmp_path)
    with pytest.raises(
        ArchiveError, match=r"star_flux of sim-camera-1, 2026-11-22/000001 is damaged"
    ):
        archive.row(night[1], "star_flux")
    _, values = archive.series(CAMERA, NIGHT, "star_flux", 32349)
    assert np.isfinite(values).tolist() == [True, False, True]
    (file.parents[1] / "star" / "c.0").unlink()
    with pytest.raises(ArchiveError, match="star has no coordinates"):
        archive.series(CAMERA, NIGHT, "star_flux", 32349)


ONE = np.zeros(1, np.float32)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Axis("star", {}), "lacks the coordinate"),
        (lambda: Axis("star", {"star": (np.array([1, 1]), {})}), "twice"),
        (lambda: Axis("star", {"star": (np.array([], int), {})}), "at least one"),
        (lambda: Axis("star", {"star": (np.array(["a"]), {})}), "not numbers"),
        (lambda: Axis("star", {"star": (HIP, {}), "v": (ONE, {})}), r"'v' has shape \(1,\)"),
        (lambda: Axis("time", {"time": (HIP, {})}), "cannot name"),
        (lambda: Axis("star_2", {"star_2": (HIP, {})}), "ends in a number"),
        (lambda: {"a": Row(STARS, ONE, {})}, r"'a' has shape \(1,\), axis 'star' has 4"),
        (lambda: {"a": Row(STARS, np.zeros(4), {})}, "is float64"),
        (lambda: {"../a": flux(0)}, "cannot name"),
        (lambda: {"linear": flux(0)}, "cannot name"),
        (lambda: {"flux_2": flux(0)}, "ends in a number"),
        (lambda: {"star": flux(0)}, "names two things"),
        (lambda: {"level": flux(0)}, "names two things"),
        (lambda: {"a": Row(STARS, flux_of(0), {"_FillValue": "1"})}, "which the archive sets"),
    ],
)
def test_what_cannot_be_stored_is_named_before_anything_is_written(
    tmp_path: Path, night: list[FrameRef], make: Callable[[], Any], said: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ArchiveError, match=said):
        write(tmp_path, night[0], make(), scalars={"level": 1.0})
    assert sorted(tmp_path.rglob("*")) == before


def test_names_taken_earlier_in_the_night(tmp_path: Path, night: list[FrameRef]) -> None:
    write(tmp_path, night[0], {}, scalars={"star_flux": 1.0, "star_v_mag": 2.0})
    write(tmp_path, night[1], {"star_flux": flux(1)})  # rows make way
    ds = open_night(tmp_path)
    assert ds.star_flux_2.dims == ("time", "star_2")
    np.testing.assert_array_equal(Archive(tmp_path).row(night[1], "star_flux"), flux_of(1))
    with pytest.raises(ArchiveError, match="has rows of that name"):
        write(tmp_path, night[2], {}, scalars={"star_flux_2": 1.0})
    assert not Archive(tmp_path).frame(night[2]).processed
    assert not problems_of(tmp_path)
