"""Every decoder takes wild bytes; ``python -m benchmarks.fuzz`` does the same for ten minutes each.

Below, what such a run has found.
"""

from __future__ import annotations

import io
import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from allsky360.archive import Archive, ArchiveError, FrameRef
from allsky360.archive.columns import open_night
from allsky360.camera.errors import UnreadableFile
from allsky360.camera.files import read_exposures
from allsky360.lens_solutions import solution_of
from allsky360.masters import MasterError, read_master
from allsky360.sky.lens_file import LensFileError, read_lens
from allsky360.sky.satellites import ElementsError, parse_elements
from tests.fuzz.hunt import Target, hunt
from tests.fuzz.night import NIGHT, Night
from tests.fuzz.targets import TARGETS, open_target

QUICK = [name for name in TARGETS if name != "api"]  # tests/api/test_contract.py asks that one


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = signal.getsignal(signal.SIGPROF)
    yield
    logging.disable(logging.NOTSET)
    signal.signal(signal.SIGPROF, before)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.filterwarnings("ignore")
def test_wild_bytes_end_in_one_clear_error(name: str, tmp_path: Path) -> None:
    report = hunt(open_target(name, tmp_path), seconds=0.3, seed=3)
    assert report.runs > 5
    assert report.findings == {}


def test_the_hunt_finds_what_is_there(tmp_path: Path) -> None:
    """A decoder with a crash and an endless loop behind two right bytes each."""

    def decode(data: bytes) -> None:
        if data[:1] == b"A" and data[1:2] == b"\xff":
            raise KeyError("crash")
        if data[:1] == b"B" and data[1:2] == b"\x80":
            while True:
                pass

    target = Target(decode, [b"A.......", b"B......."], [b"\xff", b"\x80"], input_s=0.05)
    found = " ".join(hunt(target, seconds=2.0, seed=1).findings)
    assert "KeyError" in found
    assert "Hang" in found


@pytest.fixture
def lens(tmp_path: Path) -> Path:
    path = tmp_path / "lens.json"
    path.write_bytes(open_target("lens", tmp_path).seeds[0])
    return path


@pytest.mark.parametrize(
    "quality", [{"rings": [{}]}, {"rings": 5}, {"stars": None}, {"held_out_stars": [1]}]
)
def test_a_lens_whose_quality_is_none(lens: Path, quality: dict[str, object]) -> None:
    content = json.loads(lens.read_bytes())
    lens.write_text(json.dumps({**content, "quality": quality}))
    with pytest.raises(LensFileError, match="quality"):
        solution_of(read_lens(lens))


def test_a_lens_with_a_number_beyond_numbers(lens: Path) -> None:
    lens.write_text(
        lens.read_text().replace('"elevation_m": 2396.0', f'"elevation_m": 1{"0" * 400}')
    )
    with pytest.raises(LensFileError, match="wrong value"):
        read_lens(lens)


def test_digits_that_are_none() -> None:
    line = "1 25544U 98067A   26320.51782528  .00016717  00000-0  30000-3 0  999"
    with pytest.raises(ElementsError):
        parse_elements(f"{line}²\n{line}3\n")


def test_a_master_whose_compressed_pixels_are_damaged(tmp_path: Path) -> None:
    out = io.BytesIO()
    pixels = np.arange(4800, dtype=np.uint16).reshape(60, 80)
    packed = fits.CompImageHDU(pixels, fits.Header({"IMAGETYP": "bias"}))
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(out)
    data = bytearray(out.getvalue())
    data[-2880:] = b"\xff" * 2880
    (tmp_path / "bias.fits").write_bytes(data)
    with pytest.raises(MasterError, match=r"bias\.fits"):
        np.asarray(read_master(tmp_path / "bias.fits").pixels)


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        ("dimensions", 2**31 - 1, "dimensions"),
        ("next", None, "circle"),
        ("next", 1 << 40, "outside"),
    ],
)
def test_a_cdf_file_that_leads_nowhere(
    tmp_path: Path, at: str, value: int | None, words: str
) -> None:
    data = bytearray(next(s for s in open_target("files", tmp_path).seeds if s[:1] == b"\4")[1:])
    general = int.from_bytes(data[20:28], "big")
    variable = int.from_bytes(data[general + 20 : general + 28], "big")
    if at == "dimensions":
        data[variable + 340 : variable + 344] = (value or 0).to_bytes(4, "big")
    else:
        there = variable if value is None else value
        data[variable + 12 : variable + 20] = there.to_bytes(8, "big")
    (tmp_path / "wild.cdf").write_bytes(data)
    with pytest.raises(UnreadableFile, match=words):
        list(read_exposures(tmp_path / "wild.cdf"))


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return Night(tmp_path)


def test_a_version_that_is_no_name(night: Night) -> None:
    (night.folder / "current.json").write_text('{"version": "v%s"}' % ("9" * 400))
    assert Archive(night.root).frames(night.camera, NIGHT)[0].version == "v0001"


@pytest.mark.parametrize("key", ["fill_value", "attributes", "dimension_names", "chunk_grid"])
def test_an_array_that_is_half_described(night: Night, key: str) -> None:
    path = night.folder / "raw.zarr" / "zarr.json"
    content = json.loads(path.read_bytes())
    del content["consolidated_metadata"]["metadata"]["gain"][key]
    path.write_text(json.dumps(content))
    with pytest.raises(ArchiveError, match="damaged"):
        open_night(night.root, night.camera, NIGHT)
    with pytest.raises(ArchiveError, match="damaged"):
        Archive(night.root).frames(night.camera, NIGHT)


@pytest.mark.parametrize("what", ["gain", "crc32", "raw"])
def test_a_store_that_lacks_what_all_have(night: Night, what: str) -> None:
    path = night.folder / "raw.zarr" / "zarr.json"
    content = json.loads(path.read_bytes())
    del content["consolidated_metadata"]["metadata"][what]
    path.write_text(json.dumps(content))
    with pytest.raises(ArchiveError, match=f"lacks {what}"):
        Archive(night.root).frames(night.camera, NIGHT)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"{}"])
def test_pixels_whose_own_description_is_damaged(night: Night, content: bytes) -> None:
    (night.folder / "raw.zarr" / "raw" / "zarr.json").write_bytes(content)
    with pytest.raises(ArchiveError, match="raw"):
        Archive(night.root).bracket(FrameRef(night.camera, NIGHT, 0))
