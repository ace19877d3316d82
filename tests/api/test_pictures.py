"""Scaled pictures: right size, right average, a cache that stays within its bounds."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest

from allsky360.api.pictures import EncodedCache, UnreadablePicture, Wanted, made_picture


def jpeg(image: np.ndarray, quality: int = 98) -> bytes:
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def decode(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize("width", [16, 100, 299, 300])
def test_size_and_proportions(width: int) -> None:
    out = decode(made_picture(jpeg(np.full((200, 300, 3), 90, np.uint8)), Wanted(width)))
    assert out.shape[1] == width
    assert out.shape[0] == round(200 * width / 300)


def test_never_enlarged() -> None:
    assert decode(made_picture(jpeg(np.zeros((20, 30, 3), np.uint8)), Wanted(4000))).shape == (
        20,
        30,
        3,
    )


@pytest.mark.parametrize("width", [32, 64, 640])
def test_scaling_keeps_the_mean_of_a_starry_sky(width: int) -> None:
    # area averaging neither drops stars nor makes light: skipping pixels would fail here
    rng = np.random.default_rng(5)
    sky = np.full((1280, 1280, 3), 40, np.uint8)
    sky[rng.integers(0, 1280, 4000), rng.integers(0, 1280, 4000)] = 255
    out = decode(made_picture(jpeg(sky), Wanted(width, quality=98)))
    assert out.mean() == pytest.approx(sky.mean(), abs=0.6)


def test_a_tiny_strip_keeps_one_row() -> None:
    assert decode(made_picture(jpeg(np.zeros((2, 900, 3), np.uint8)), Wanted(16))).shape[:2] == (
        1,
        16,
    )


@pytest.mark.parametrize("data", [b"", b"no picture", jpeg(np.zeros((9, 9, 3), np.uint8))[:20]])
def test_broken_pictures_are_named(data: bytes) -> None:
    with pytest.raises(UnreadablePicture, match="readable JPEG"):
        made_picture(data, Wanted(100))


def test_the_cache_stays_within_its_bytes_and_drops_the_oldest() -> None:
    cache = EncodedCache(max_bytes=100)
    for i in range(10):
        cache.get(i, lambda: bytes(30))
    assert cache.bytes == 90
    assert cache.get(9, lambda: b"other") == bytes(30)
    assert cache.get(0, lambda: b"again") == b"again"
    cache.get("huge", lambda: bytes(101))
    assert cache.bytes <= 100


def test_what_is_asked_for_at_once_is_made_once() -> None:
    cache, made = EncodedCache(), []

    def make() -> bytes:
        made.append(1)
        time.sleep(0.05)
        return b"picture"

    threads = [threading.Thread(target=cache.get, args=("key", make)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_a_failure_is_not_kept() -> None:
    cache = EncodedCache()

    def fail() -> bytes:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        cache.get("key", fail)
    assert cache.get("key", lambda: b"back") == b"back"
