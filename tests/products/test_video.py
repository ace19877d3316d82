"""Videos from pictures: colours, pieces, kills, joins, looks, flicker, folders."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from allsky360.config_video import Codec, VideoSettings
from allsky360.products.video import deflicker, piece
from allsky360.products.video.colour import to_video_colours
from allsky360.products.video.folder import find_pictures
from allsky360.products.video.join import join, poster
from allsky360.products.video.looks import Plain, look_for
from allsky360.products.video.make import Made, make_video
from allsky360.products.video.plan import (
    VideoError,
    VideoPlan,
    choose_encoder,
    opens,
    plan_video,
    target_size,
)
from allsky360.products.video.reader import BadPicture, PictureReader
from allsky360.products.video.shot import Shot

WIDTH, HEIGHT = 96, 80


def sky(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """A soft coloured sky with a star that moves."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    out = np.stack([40 + 0.5 * x, 60 + 0.4 * y, 90 - 0.3 * x], axis=-1)
    at = (int(10 + 2 * number) % (width - 8), height // 2)
    cv2.circle(out, at, 3, (250.0, 240.0, 200.0), -1)
    return cv2.GaussianBlur(out, (0, 0), 1).astype(np.uint8)


def write(folder: Path, count: int, paint: Callable[[int], NDArray[np.uint8]] = sky) -> list[Shot]:
    folder.mkdir(parents=True, exist_ok=True)
    shots = []
    for k in range(count):
        path = folder / f"{k}.jpg"
        Image.fromarray(paint(k)).save(path, quality=95)
        shots.append(Shot(path, path.name))
    return shots


def plan_of(codec: Codec = "h264", pieces: int = 5, **more: object) -> VideoPlan:
    values = {"codec": codec, "encoder": "software", "piece_frames": pieces, "fps": 25} | more
    return plan_video(VideoSettings(**values), WIDTH, HEIGHT, encoder_threads=1)  # type: ignore[arg-type]


def frames_of(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as source:
        return [f.to_ndarray(format="rgb24") for f in source.decode(video=0)]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# -- colours --------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["yuv444p", "yuv420p"])
@pytest.mark.parametrize("gain", [1.0, 0.8])
def test_jpegs_colours_become_those_of_bt709(format: str, gain: float) -> None:
    rgb = np.array(
        [[0, 0, 0], [255, 255, 255], [128, 128, 128], [200, 60, 40], [30, 90, 160], [10, 20, 15]]
    )
    r, g, b = rgb.T.astype(float)
    full = np.rint(
        [
            0.299 * r + 0.587 * g + 0.114 * b,
            128 - 0.168736 * r - 0.331264 * g + 0.5 * b,
            128 + 0.5 * r - 0.418688 * g - 0.081312 * b,
        ]
    )
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
    wanted = np.array(
        [
            16 + 219 / 255 * gain * luma,
            128 + 224 / 255 * gain * (b - luma) / 1.8556,
            128 + 224 / 255 * gain * (r - luma) / 1.5748,
        ]
    )
    for k in range(len(rgb)):
        frame = av.VideoFrame(36, 20, format)  # a stride that is not the width
        for plane, code in zip(frame.planes, full[:, k], strict=True):
            plane.update(bytes([int(code)]) * plane.buffer_size)
        out = to_video_colours(frame, gain)
        for plane, value in zip(out.planes, wanted[:, k], strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8)
            rows = rows.reshape(plane.height, plane.line_size)[:, : plane.width]
            assert np.ptp(rows) == 0
            assert abs(float(rows[0, 0]) - value) <= 1.6


def test_straight_way_and_way_by_rgb_agree(tmp_path: Path) -> None:
    (shot,) = write(tmp_path, 1, lambda k: sky(k, 200, 160))
    reader = PictureReader(WIDTH, HEIGHT)
    straight = reader.frame(shot.path).to_ndarray().astype(int)
    by_rgb = reader.from_rgb(reader.rgb(shot.path)).to_ndarray().astype(int)
    assert np.abs(straight - by_rgb).mean() < 1.0
    assert abs((straight - by_rgb).mean()) < 0.4


def test_picture_that_lies_on_its_side_is_turned(tmp_path: Path) -> None:
    upright, lying = tmp_path / "a.jpg", tmp_path / "b.jpg"
    picture = Image.fromarray(sky(3))
    picture.save(upright, quality=95)
    tags = Image.Exif()
    tags[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(lying, quality=95, exif=tags)
    reader = PictureReader(WIDTH, HEIGHT)
    apart = reader.frame(upright).to_ndarray().astype(int) - reader.frame(lying).to_ndarray()
    assert np.abs(apart).mean() < 1.5
    assert find_pictures(tmp_path).left_out == ()


# -- what is bad ----------------------------------------------------------------------------------


def test_bad_pictures_are_named_and_left_out(tmp_path: Path) -> None:
    shots = write(tmp_path / "in", 12)
    cut = shots[2].path
    cut.write_bytes(cut.read_bytes()[:900])
    shots[4].path.write_bytes(b"no picture at all")
    shots[7].path.unlink()
    shots[8].path.write_bytes(b"")
    made = make_video(shots, plan_of(), Plain, tmp_path / "out.mp4")
    assert made.frames == 8
    assert [name for name, _ in made.left_out] == ["2.jpg", "4.jpg", "7.jpg", "8.jpg"]
    reasons = dict(made.left_out)
    assert "cut short" in reasons["2.jpg"]
    assert "damaged" in reasons["4.jpg"]
    assert "cannot be read" in reasons["7.jpg"]
    assert "empty" in reasons["8.jpg"]
    assert len(frames_of(made.path)) == 8


def test_damage_within_a_jpeg_is_found(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    (shot,) = write(tmp_path, 1, lambda _: noise)
    data = bytearray(shot.path.read_bytes())
    start = data.index(b"\xff\xda") + 400
    data[start : start + 600] = b"\xff\xd9" * 300
    shot.path.write_bytes(data)
    with pytest.raises(BadPicture):
        PictureReader(WIDTH, HEIGHT).frame(shot.path)


def test_nothing_to_show_is_refused(tmp_path: Path) -> None:
    shots = write(tmp_path / "in", 2)
    for shot in shots:
        shot.path.write_bytes(b"")
    with pytest.raises(VideoError, match="no picture to show"):
        make_video(shots, plan_of(), Plain, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_encoder_that_does_not_open_is_refused_with_a_mend() -> None:
    assert not opens("libx264", "rgb565le")
    assert not opens("no_such_encoder")
    with pytest.raises(VideoError, match="no encoder here"):
        choose_encoder("av1", "software", "yuv444p")


def test_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    shots = write(tmp_path / "in", 3)
    with pytest.raises(VideoError, match="cannot be written"):
        piece.make_piece(tmp_path / "gone", "key", plan_of(), Plain(), (), shots)


# -- the file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_joined_pieces_are_one_clean_file(tmp_path: Path, codec: Codec) -> None:
    shots = write(tmp_path / "in", 13)
    made = make_video(shots, plan_of(codec, fps=29.97), Plain, tmp_path / "out.mp4", workers=2)
    assert made.frames == 13
    data = made.path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")  # faststart
    with av.open(str(made.path)) as source:
        stream = source.streams.video[0]
        context = stream.codec_context
        assert (context.width, context.height, context.pix_fmt) == (WIDTH, HEIGHT, "yuv420p")
        assert (context.colorspace, context.color_range) == (1, 1)  # BT.709, limited
        assert (context.color_primaries, context.color_trc) == (1, 13)  # BT.709, sRGB
        assert stream.average_rate == Fraction(2997, 100).limit_denominator(1001)
        packets = [p for p in source.demux(stream) if p.dts is not None]
    rate = stream.average_rate
    assert rate is not None
    shown = sorted(p.pts * p.time_base * rate for p in packets if p.pts is not None)
    assert shown == list(range(13))
    decoded = [p.dts for p in packets]
    assert decoded == sorted(set(decoded))  # type: ignore[type-var]
    assert sum(p.is_keyframe for p in packets) >= 3  # each piece begins with one
    for k, frame in enumerate(frames_of(made.path)):
        assert np.abs(frame.astype(int) - sky(k)).mean() < 3.0
    if codec == "hevc":
        assert b"hvc1" in data


def test_ffprobe_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    made = make_video(write(tmp_path / "in", 12), plan_of(), Plain, tmp_path / "out.mp4")
    try:
        found = subprocess.run(
            ["ffmpeg", "-v", "warning", "-xerror", "-i", str(made.path), "-f", "null", "-"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("ffmpeg is not installed")
    assert (found.returncode, found.stderr) == (0, "")


def test_pieces_encoded_differently_are_not_joined(tmp_path: Path) -> None:
    shots = write(tmp_path / "in", 4)
    one, two = plan_of(), plan_of(preset="slow")
    pieces = [
        piece.make_piece(tmp_path, "a", one, Plain(), (), shots[:2]),
        piece.make_piece(tmp_path, "b", two, Plain(), (), shots[2:]),
    ]
    with pytest.raises(VideoError, match="encoded differently"):
        join(pieces, one.rate, tmp_path / "out.mp4")
    assert sorted(p.name for p in tmp_path.glob("*out*")) == []


def test_poster(tmp_path: Path) -> None:
    made = make_video(write(tmp_path / "in", 12), plan_of(), Plain, tmp_path / "out.mp4")
    assert poster(made.path, tmp_path / "p.jpg", at=1.0, longest=48) == (48, 40)
    last = cv2.resize(sky(11), (48, 40), interpolation=cv2.INTER_AREA).astype(int)
    found = np.asarray(Image.open(tmp_path / "p.jpg")).astype(int)
    assert np.abs(found - last).mean() < 4


def _die_after(count: int, folder: Path) -> None:
    """Make the video, and be killed when some pieces are done and another is being written."""
    real = piece.encode
    done = 0

    def encode(frames: object, plan: VideoPlan, path: Path) -> int:
        nonlocal done
        if done == count:
            path.write_bytes(b"half a piece")
            os._exit(9)
        done += 1
        return real(frames, plan, path)  # type: ignore[arg-type]

    piece.encode = encode  # type: ignore[assignment]
    shots = [Shot(folder / "in" / f"{k}.jpg", f"{k}.jpg") for k in range(18)]
    make_video(shots, plan_of(), lambda: look_for("mean", 3), folder / "out.mp4")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_killed_and_resumed_gives_the_same_bytes(tmp_path: Path, count: int) -> None:
    shots = write(tmp_path / "in", 18)

    def make() -> Made:
        return make_video(shots, plan_of(), lambda: look_for("mean", 3), tmp_path / "out.mp4")

    make()
    wanted = digest(tmp_path / "out.mp4")
    (tmp_path / "out.mp4").unlink()
    child = multiprocessing.get_context("fork").Process(target=_die_after, args=(count, tmp_path))
    child.start()
    child.join()
    assert child.exitcode == 9
    assert not (tmp_path / "out.mp4").exists()
    again = make()
    assert again.reused == 5 * count
    assert digest(tmp_path / "out.mp4") == wanted
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out.mp4"]


def test_changed_picture_is_encoded_anew(tmp_path: Path) -> None:
    shots = write(tmp_path / "in", 4)
    plan = plan_of()
    before = piece.piece_key(plan, Plain(), (), shots)
    write(tmp_path / "in", 1, lambda _: sky(30))
    assert piece.piece_key(plan, Plain(), (), shots) != before
    assert piece.piece_key(plan_of(quality=30), Plain(), (), shots) != before


# -- looks ----------------------------------------------------------------------------------------


def flat(code: int) -> NDArray[np.uint8]:
    return np.full((HEIGHT, WIDTH, 3), code, np.uint8)


def shown(tmp_path: Path, mode: str, pictures: list[NDArray[np.uint8]], window: int = 5):
    """RGB of each frame of a mode before it is encoded."""
    folder = tmp_path / mode
    folder.mkdir()
    reader, look = PictureReader(WIDTH, HEIGHT), look_for(mode, window)  # type: ignore[arg-type]
    look.begin(reader, ())
    out = []
    for k, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{k}.png")
        frame = look.show(reader, Shot(folder / f"{k}.png", str(k)))
        out.append(frame.to_ndarray(format="rgb24").astype(int))
    return out


def test_mean_and_max_of_the_last_pictures(tmp_path: Path) -> None:
    codes = [50, 90, 70, 30, 110]
    pictures = [flat(c) for c in codes]
    for k, frame in enumerate(shown(tmp_path, "mean", pictures, 3)):
        assert abs(frame.mean() - np.mean(codes[max(0, k - 2) : k + 1])) < 1.5
    for k, frame in enumerate(shown(tmp_path, "max", pictures, 3)):
        assert abs(frame.mean() - max(codes[max(0, k - 2) : k + 1])) < 1.5


def test_sigma_clip_drops_what_passes_and_keeps_the_sky(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pictures = []
    for k in range(7):
        picture = np.clip(60 + rng.normal(0, 3, (HEIGHT, WIDTH, 3)), 0, 255)
        picture[30:34, 10 * k : 10 * k + 10] = 240  # a satellite
        pictures.append(picture.astype(np.uint8))
    last = shown(tmp_path, "sigma-clip", pictures, 7)[-1]
    assert last[30:34, :70].max() < 75
    assert abs(last.mean() - 60) < 1.5
    mean = shown(tmp_path, "mean", pictures, 7)[-1]
    assert mean[30:34, :70].mean() > 80  # which is why one clips


def test_difference_and_motion_show_what_changed(tmp_path: Path) -> None:
    pictures = [flat(60) for _ in range(6)]
    pictures[-1][20:40, 30:50] = (200, 120, 80)
    apart = shown(tmp_path, "difference", pictures)
    assert apart[3].max() <= 2
    assert apart[5][25:35, 35:45].mean() > 100
    assert apart[5][60:, :20].max() <= 2
    moving = shown(tmp_path, "motion", pictures)[-1]
    assert abs(moving[60:, :20].mean() - 21) < 3  # 0.35 of 60
    assert np.abs(moving[27:33, 37:43].mean((0, 1)) - (200, 120, 80)).max() < 12


def test_looks_see_the_pictures_before_their_piece(tmp_path: Path) -> None:
    shots = write(tmp_path / "in", 9, lambda k: flat(20 * k))
    whole = make_video(
        shots, plan_of(pieces=9, quality=5), lambda: look_for("max", 4), tmp_path / "a.mp4"
    )
    parts = make_video(
        shots, plan_of(pieces=3, quality=5), lambda: look_for("max", 4), tmp_path / "b.mp4"
    )
    for one, two in zip(frames_of(whole.path), frames_of(parts.path), strict=True):
        assert np.abs(one.astype(int) - two).max() <= 3


# -- flicker --------------------------------------------------------------------------------------


def test_flicker_is_taken_out_and_the_slow_sky_stays() -> None:
    slow = 60 + 30 * np.sin(np.arange(200) / 40)
    levels = slow * np.where(np.arange(200) % 2, 1.06, 0.94)
    steady = levels * deflicker.gains(levels, 12)
    inner = slice(12, -12)
    assert np.abs(np.diff((steady / slow)[inner])).max() < 0.005  # of 0.12
    assert np.abs(steady[inner] / slow[inner] - 1).max() < 0.03


def test_lightning_stays_and_unknown_levels_stay_as_they_are() -> None:
    levels = np.full(41, 50.0)
    levels[20], levels[30] = 200.0, np.nan
    factors = deflicker.gains(levels, 8)
    assert factors[20] == pytest.approx(1 / deflicker.MOST)
    assert factors[30] == 1.0
    assert np.allclose(factors[:10], 1.0)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(1, 250), min_size=1, max_size=60),
    st.integers(1, 9),
    st.integers(0, 59),
    st.integers(0, 59),
)
def test_a_gain_depends_on_its_neighbours_only(
    levels: list[float], reach: int, start: int, length: int
) -> None:
    """What a growing video relies on: a part with its neighbours gets the gains of the whole."""
    whole = deflicker.gains(levels, reach)
    first = max(0, start - reach)
    near = deflicker.gains(levels[first : start + length + reach], reach)[start - first :][:length]
    assert np.allclose(near, whole[start : start + length], rtol=1e-12)


def test_levels_of_pictures_and_exposures(tmp_path: Path) -> None:
    assert deflicker.picture_level(flat(77)) == pytest.approx(77, abs=0.51)
    half = flat(77)
    half[:, ::2] = 78
    assert deflicker.picture_level(half) == pytest.approx(77.5, abs=0.1)
    assert deflicker.exposure_level(20.0) / deflicker.exposure_level(10.0) == pytest.approx(
        2 ** (1 / 2.2)
    )
    assert deflicker.exposure_level(10.0, gain_db=20 * np.log10(2)) == pytest.approx(
        deflicker.exposure_level(20.0)
    )
    tags = Image.Exif()
    detail = tags.get_ifd(0x8769)
    detail[0x829A], detail[0x8827] = 4.0, 200
    Image.fromarray(flat(50)).save(tmp_path / "a.jpg", exif=tags)
    assert deflicker.exif_level(tmp_path / "a.jpg") == pytest.approx(deflicker.exposure_level(8.0))
    assert np.isnan(deflicker.exif_level(tmp_path / "none.jpg"))
    assert np.isnan(deflicker.file_level(tmp_path / "none.jpg"))
    assert deflicker.file_level(tmp_path / "a.jpg") == pytest.approx(50, abs=1.5)


# -- plans and folders ----------------------------------------------------------------------------


@given(st.integers(2, 16_000), st.integers(2, 16_000), st.sampled_from([0, 64, 1920, 2160]))
def test_sides_are_even_and_keep_their_shape(width: int, height: int, longest: int) -> None:
    w, h = target_size(width, height, longest)
    assert w % 2 == h % 2 == 0
    assert w <= width
    assert h <= height + 1
    if longest:
        assert max(w, h) <= max(longest, 2)
    if min(w, h) > 50:
        assert abs(w / h / (width / height) - 1) < 0.05


def test_folder_in_the_order_people_number(tmp_path: Path) -> None:
    for name in ("img10.jpg", "img9.jpg", "IMG11.JPG", "b/1.png", "b/02.png", ".hidden.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(sky(0)).save(tmp_path / name)
    Image.fromarray(sky(0, 300, 80)).save(tmp_path / "wide.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"junk")
    (tmp_path / "notes.txt").write_text("no picture")
    found = find_pictures(tmp_path)
    names = [str(p.relative_to(tmp_path)) for p in found.paths]
    assert names == ["b/1.png", "b/02.png", "img9.jpg", "img10.jpg", "IMG11.JPG"]
    assert {p.name: r for p, r in found.left_out} == {
        "wide.jpg": "it is 300 x 80, most are 96 x 80.",
        "broken.jpg": "it is damaged, or no picture.",
    }
    assert (found.width, found.height) == (WIDTH, HEIGHT)
    assert len(find_pictures(tmp_path, every=2).paths) >= 2


def test_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="holds no picture"):
        find_pictures(tmp_path)
    with pytest.raises(VideoError, match="no folder"):
        find_pictures(tmp_path / "none")
