"""``allsky360 products``, ``keogram long`` and ``panorama`` as a person types them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from allsky360.cli import app
from allsky360.errors import AllskyError
from allsky360.imaging.encode import encode_jpeg
from allsky360.lenses import lens_folder
from allsky360.model import Exposure
from allsky360.sky.lens import fisheye
from allsky360.sky.lens_file import LensFile, write_lens
from tests.products.nights import CAMERA, EVENING, NIGHT, SITE, Night

LENS = fisheye(160, 150)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALLSKY360_STORAGE__ROOT", str(tmp_path))
    folder = lens_folder(tmp_path, CAMERA)
    folder.mkdir(parents=True)
    write_lens(folder / "0001.json", LensFile(LENS, CAMERA, 1, EVENING, SITE, (EVENING,)))
    night = Night(tmp_path, _paint)
    night.take(4)
    night.process(*range(4), scalars={"moon_altitude_deg": -9.0, "moon_illumination": 0.0})
    return tmp_path


def _paint(index: int, start: datetime) -> np.ndarray:
    rng = np.random.default_rng(index)
    return rng.integers(0, 90, (150, 160, 3), dtype=np.uint8)


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_night_from_the_command_line(root: Path) -> None:
    said = run("products", "make", "--only", "keogram,startrails,stack,panorama", "--over")
    for name in ("keogram", "startrails", "startrails-mean", "stack", "panorama", "little-planet"):
        assert f"\n{name} " in f"\n{said}"
    assert "4 frames in" in said
    folder = root / CAMERA / NIGHT.isoformat() / "v0001" / "products"
    for name in ("keogram.png", "startrails.jpg", "stack.jpg", "panorama.jpg"):
        with Image.open(folder / name) as picture:
            picture.load()
    assert "startrails-m" in run("products", "list", CAMERA, NIGHT.isoformat())
    long = root / "long.png"
    assert "1 nights" in run("keogram", "long", "--out", str(long))
    assert Image.open(long).size[1] > 700
    with pytest.raises(AllskyError, match="has a keogram"):
        run("keogram", "long", "--out", str(long), "--to", "2020-01-01")


def test_panoramas_of_frames_and_files(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "view.jpg"
    frame = f"{NIGHT.isoformat()}/000002"
    assert "equirectangular" in run("panorama", frame, "--out", str(out), "--width", "720")
    with Image.open(out) as picture:
        assert picture.size == (720, 189)
        assert b"GPano" in picture.info["xmp"]
    run("panorama", frame, "--out", str(out), "--view", "window", "--azimuth", "90")
    assert Image.open(out).size == (1600, 1067)
    run("panorama", frame, "--out", str(out), "--view", "little-planet", "--width", "300")
    run("panorama", frame, "--out", str(out), "--view", "cylindrical")
    file = tmp_path / "picture.jpg"
    exposure = Exposure(np.zeros((1, 1), np.uint8), None, EVENING, 8.0)
    file.write_bytes(encode_jpeg(_paint(1, EVENING), exposure=exposure))
    with pytest.raises(AllskyError, match="--lens"):
        run("panorama", str(file), "--out", str(out))
    lens = lens_folder(root, CAMERA) / "0001.json"
    run("panorama", str(file), "--lens", str(lens), "--out", str(out))
    with pytest.raises(AllskyError, match="no file, and no frame"):
        run("panorama", "nonsense", "--out", str(out))


def test_products_of_a_folder_of_pictures(root: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for k in (2, 0, 1):
        exposure = Exposure(np.zeros((1, 1), np.uint8), None, EVENING.replace(minute=k), 8.0)
        data = encode_jpeg(_paint(k, EVENING), exposure=exposure)
        (pictures / f"{9 - k}.jpg").write_bytes(data)
    (pictures / "notes.jpg").write_bytes(b"no picture")
    out = tmp_path / "out"
    files = [str(p) for p in sorted(pictures.iterdir())]
    said = run("products", "from", *files, "--out", str(out))
    assert "3 pictures used" in said
    assert "notes.jpg" in said
    times = np.load(out / "keogram.npz")["time"]
    assert (np.diff(times) == np.timedelta64(60, "s")).all()
    brightest = np.asarray(Image.open(out / "startrails.jpg")).astype(int)
    read = [np.asarray(Image.open(p)) for p in pictures.iterdir() if p.name != "notes.jpg"]
    assert np.abs(brightest.mean() - np.max(read, axis=0).mean()) < 3
