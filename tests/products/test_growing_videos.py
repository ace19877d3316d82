"""Videos that grow with a night: the same whatever happens on the way."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from allsky360.archive.layout import picture_path
from allsky360.archive.products import ProductRecord, products_folder, read_product
from allsky360.cli import app
from allsky360.config import Settings
from allsky360.config_products import PanoramaSettings
from allsky360.products.grow import GrowReport, grow_night
from allsky360.products.panorama import with_ticks
from allsky360.products.panorama_map import View
from allsky360.products.panorama_video import _ticks
from allsky360.products.registry import growers_for
from allsky360.products.source import NightFrames
from allsky360.products.video import grow as video_grow
from allsky360.products.video import piece
from allsky360.products.video.night import parse_instant
from allsky360.products.video.plan import VideoError
from allsky360.sky.lens import fisheye
from tests.conftest import utc
from tests.products.nights import CAMERA, NIGHT, SITE, Night

VERSION = "v0001"
SIDE = 96


def paint(index: int, when: datetime) -> NDArray[np.uint8]:
    """A disc of sky with a star that goes round."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    out = np.stack([30 + 0.2 * x, 35 + 0.2 * y, 60 - 0.1 * x], axis=-1)
    angle = 0.12 * index
    at = (int(SIDE / 2 + 30 * np.cos(angle)), int(SIDE / 2 + 30 * np.sin(angle)))
    cv2.circle(out, at, 2, (250.0, 250.0, 250.0), -1)
    out[np.hypot(x - SIDE / 2, y - SIDE / 2) > 46] = 0
    return out.astype(np.uint8)


def settings_of(**timelapse: Any) -> Settings:
    return Settings(
        products={
            "checkpoint_s": 0.0,  # a crash may come anywhere
            "video": {"piece_frames": 5, "encoder": "software"},
            "timelapse": timelapse,
        }
    )


def grow(root: Path, settings: Settings, *names: str, closed: bool = True) -> GrowReport:
    growers = growers_for(settings.products, names or ("timelapse",))
    return grow_night(root, CAMERA, NIGHT, settings, growers=growers, closed=closed)


def night(root: Path, frames: int = 17) -> Night:
    made = Night(root, paint)
    made.take(frames)
    made.process(*range(frames))
    return made


def video_of(root: Path, name: str = "timelapse") -> Path:
    return products_folder(root, CAMERA, NIGHT, VERSION) / f"{name}.mp4"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def frames_of(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as source:
        return [f.to_ndarray(format="rgb24") for f in source.decode(video=0)]


def record_of(root: Path, name: str = "timelapse") -> ProductRecord:
    record = read_product(root, CAMERA, NIGHT, VERSION, name)
    assert record is not None
    return record


def test_timelapse_of_a_night(tmp_path: Path) -> None:
    made = night(tmp_path)
    made.take(2)
    made.process(17, scalars={"sun_altitude_deg": 3.0})
    made.process(18)
    report = grow(tmp_path, settings_of())
    assert report.failed == {}
    record = record_of(tmp_path)
    assert record.complete
    assert (record.frames.used, record.frames.first, record.frames.last) == (18, 0, 18)
    assert [(x.index, x.reason) for x in record.frames.left_out] == [(17, "the Sun is too high")]
    main = record.main()
    assert main is not None
    assert (main.media_type, main.width, main.height) == ("video/mp4", SIDE, SIDE)
    assert main.duration_s == pytest.approx(18 / 25)
    assert {f.role for f in record.files} == {"main", "preview"}
    shown = frames_of(video_of(tmp_path))
    assert len(shown) == 18
    assert np.abs(shown[9].astype(int) - paint(9, made.start(9))).mean() < 3


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("timelapse", {}),
    ("timelapse", {"mode": "mean", "window": 3}),
    ("timelapse", {"deflicker": "picture", "deflicker_frames": 3}),
    ("timelapse", {"deflicker": "exposure", "deflicker_frames": 2, "mode": "max", "window": 4}),
    ("startrails-video", {}),
]


@pytest.mark.parametrize(("name", "how"), KINDS)
def test_grown_in_steps_is_the_same_as_at_once(
    tmp_path: Path, name: str, how: dict[str, Any]
) -> None:
    settings = settings_of(**how)
    night(tmp_path / "once", 24)
    grow(tmp_path / "once", settings, name)
    made = Night(tmp_path / "steps", paint)
    shown = [0]
    for frames in (3, 1, 7, 5, 2, 5):  # shown in between, where it is worth it
        made.take(frames)
        made.process(*range(made.count - frames, made.count))
        grow(tmp_path / "steps", settings, name, closed=False)
        assert not record_of(tmp_path / "steps", name).complete
        shown.append(len(frames_of(video_of(tmp_path / "steps", name))))
        assert shown[-1] in (shown[-2], made.count)
        assert shown[-1] > made.count / 1.25
    assert shown == [0, 3, 4, 11, 16, 16, 23]  # a quarter longer each time, or as it was
    written = video_of(tmp_path / "steps", name).stat()
    made.take(1)
    made.process(23)
    grow(tmp_path / "steps", settings, name, closed=False)
    assert video_of(tmp_path / "steps", name).stat() == written  # one more is no reason
    grow(tmp_path / "steps", settings, name)
    one, two = (frames_of(video_of(tmp_path / d, name)) for d in ("once", "steps"))
    assert len(one) == 24
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def _grow_and_die(root: Path, settings: Settings, name: str, pieces: int) -> None:
    real = piece.encode
    done = 0

    def encode(frames: Any, plan: Any, path: Path) -> int:
        nonlocal done
        if done == pieces:
            path.write_bytes(b"half")
            os._exit(9)
        done += 1
        return real(frames, plan, path)

    piece.encode = encode
    grow(root, settings, name)


@pytest.mark.parametrize(("name", "how"), [KINDS[0], KINDS[3], KINDS[4]])
def test_killed_three_times_and_resumed_is_the_same(
    tmp_path: Path, name: str, how: dict[str, Any]
) -> None:
    settings = settings_of(**how)
    night(tmp_path, 23)
    fork = multiprocessing.get_context("fork")
    for pieces in (1, 0, 2):
        child = fork.Process(target=_grow_and_die, args=(tmp_path, settings, name, pieces))
        child.start()
        child.join()
        assert child.exitcode == 9
    grow(tmp_path, settings, name)
    resumed = digest(video_of(tmp_path, name))
    grow_night(
        tmp_path,
        CAMERA,
        NIGHT,
        settings,
        growers=growers_for(settings.products, [name]),
        closed=True,
        anew=True,
    )
    assert digest(video_of(tmp_path, name)) == resumed


def test_encoder_that_fails_for_a_while_costs_no_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(tmp_path, 12)
    real, calls = video_grow.make_piece, 0

    def sometimes(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise VideoError("the disk was full for a moment.")
        return real(*arguments)

    monkeypatch.setattr(video_grow, "make_piece", sometimes)
    grow(tmp_path, settings_of())
    record = record_of(tmp_path)
    assert [x.index for x in record.frames.left_out] == [4]  # it is named, the others are there
    assert len(frames_of(video_of(tmp_path))) == 11


def test_picture_lost_before_its_piece_is_encoded_is_named(tmp_path: Path) -> None:
    made = Night(tmp_path, paint)
    made.take(8)
    made.process(*range(7))
    grow(tmp_path, settings_of(), closed=False)
    folder = tmp_path / CAMERA / NIGHT.isoformat()
    picture_path(folder, VERSION, 6).write_bytes(b"")
    made.process(7)
    grow(tmp_path, settings_of())
    lost = record_of(tmp_path).parameters["could_not_be_shown"]
    assert lost == [["2026-11-22/000006", "it is empty."]]
    assert len(frames_of(video_of(tmp_path))) == 7


def test_overlay_is_drawn_where_the_lens_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lens = fisheye(SIDE, SIDE)
    monkeypatch.setattr(NightFrames, "_lenses", lambda *_: (lens, lens, 7))
    settings = settings_of(overlay=True)
    night(tmp_path / "plain", 8)
    grow(tmp_path / "plain", settings_of())
    made = Night(tmp_path / "labels", paint)
    for frames in (3, 5):  # labels of frames that wait come back from the state
        made.take(frames)
        made.process(*range(made.count - frames, made.count))
        grow(tmp_path / "labels", settings, closed=made.count == 8)
    plain, labels = (frames_of(video_of(tmp_path / d)) for d in ("plain", "labels"))
    for one, two in zip(plain, labels, strict=True):
        apart = np.abs(one.astype(int) - two).max(2)
        assert (apart > 40).sum() > 100
        assert (apart < 8).mean() > 0.3


def test_trails_grow_and_fade(tmp_path: Path) -> None:
    made = night(tmp_path, 12)
    grow(tmp_path, settings_of(), "startrails-video")
    last = frames_of(video_of(tmp_path, "startrails-video"))[-1].astype(int)
    old, new = paint(0, made.start(0)), paint(11, made.start(11))
    assert last[new.min(2) > 245].mean() > 235
    where = (old.min(2) > 245) & (new.min(2) < 100)
    assert pytest.approx(last[where].mean(), abs=10) == 0.98**11 * 250


def test_panorama_video_shows_the_star_where_the_lens_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lens = fisheye(200, 200, rotation_deg=20.0, tilt_north_deg=2.0)
    where = [(20.0 + 10 * k, 40.0 + 60 * k) for k in range(6)]

    def star(index: int, when: datetime) -> NDArray[np.uint8]:
        x, y, _ = lens.project(*where[index])
        v, u = np.mgrid[:200, :200]
        light = 220 * np.exp(-0.5 * ((u - float(x)) ** 2 + (v - float(y)) ** 2) / 2.0**2)
        return np.repeat((20 + light)[..., None], 3, 2).astype(np.uint8)

    made = Night(tmp_path, star)
    made.take(7)
    made.process(*range(6))
    settings = settings_of().model_copy(
        update={
            "products": settings_of().products.model_copy(
                update={"panorama": PanoramaSettings(ticks=False)}
            )
        }
    )
    assert grow(tmp_path, settings, "panorama-video", closed=False).products == []  # no lens
    monkeypatch.setattr(NightFrames, "_lenses", lambda *_: (lens, lens, 7))
    grow_night(
        tmp_path, CAMERA, NIGHT, settings, closed=True, anew=True,
        growers=growers_for(settings.products, ["panorama-video"]),
    )  # fmt: skip
    record = record_of(tmp_path, "panorama-video")
    main = record.main()
    assert main is not None
    assert main.width is not None
    assert main.height is not None
    view = View("equirectangular", main.width, main.height, bottom_deg=-5.0)
    for (altitude, azimuth), shown in zip(
        where, frames_of(video_of(tmp_path, "panorama-video")), strict=True
    ):
        x, y = view.pixels(altitude, azimuth)
        light = np.clip(shown[..., 1].astype(float) - 60, 0, None)
        rows, columns = np.mgrid[: main.height, : main.width]
        near = np.hypot(columns - float(x), rows - float(y)) < 14
        total = light[near].sum()
        assert total > 0.95 * light.sum()
        assert (light * columns)[near].sum() / total == pytest.approx(float(x), abs=0.6)
        assert (light * rows)[near].sum() / total == pytest.approx(float(y), abs=0.6)


def test_ticks_of_the_panorama_are_drawn_once_and_laid_over() -> None:
    view = View("equirectangular", 720, 190, bottom_deg=-5.0)
    mark, share = _ticks(view)
    sky = np.full((190, 720, 3), 90, np.uint8)
    laid = np.where(share > 0, mark, sky)
    assert 0.002 < share.mean() < 0.2
    assert np.abs(laid.astype(int) - with_ticks(sky, view)).mean() < 1.0


def test_instants_of_a_night() -> None:
    assert parse_instant("22:30", NIGHT, SITE) == utc("2026-11-22T22:30:00")
    assert parse_instant("02:15:30", NIGHT, SITE) == utc("2026-11-23T02:15:30")
    assert parse_instant("2026-11-23T01:00+02:00", NIGHT, SITE) == utc("2026-11-22T23:00:00")
    assert parse_instant("2026-11-23T01:00", NIGHT, None) == utc("2026-11-23T01:00:00")
    with pytest.raises(VideoError, match="no time"):
        parse_instant("25:00", NIGHT, SITE)
    with pytest.raises(VideoError, match="no time"):
        parse_instant("tonight", NIGHT, SITE)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "allsky360.toml").write_text(
        '[storage]\nroot = "archive"\n[products.video]\nencoder = "software"\npiece_frames = 5\n'
    )

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["timelapse", *arguments])

    return run


def test_command_on_a_part_of_a_night(tmp_path: Path, command: Any) -> None:
    night(tmp_path / "archive", 20)  # from 20:00:00, one each 10 s
    found = command("--from", "20:00:30", "--to", "20:01:40", "--mode", "max", "-o", "part.mp4")
    assert found.exit_code == 0, found.output
    assert "part.mp4: 8 frames" in found.output
    assert len(frames_of(tmp_path / "part.mp4")) == 8
    assert command("--every", "4").exit_code == 0
    assert len(frames_of(tmp_path / f"timelapse-{CAMERA}-{NIGHT.isoformat()}.mp4")) == 5
    nothing = command("--from", "03:00", "--to", "04:00")
    assert isinstance(nothing.exception, VideoError)
    assert "no frame" in str(nothing.exception)
    assert "no night" in str(command("--night", "2020-01-01").exception)


def test_command_on_a_folder(tmp_path: Path, command: Any) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(12):
        cv2.imwrite(str(folder / f"sky{k}.jpg"), paint(k, utc("2026-11-22T20:00:00")))
    (folder / "sky5.jpg").write_bytes(b"junk")
    found = command("pictures", "--deflicker", "picture", "--size", "64", "--fps", "10")
    assert found.exit_code == 0, found.output
    assert "sky5.jpg: it is damaged, or no picture." in found.output
    assert "11 frames, 1.1 s, 64 x 64, libx264" in found.output
    assert len(frames_of(tmp_path / "pictures.mp4")) == 11
    assert command("pictures", "--night", "2026-11-22").exit_code == 2
    assert "holds no frame yet" in str(command().exception)
