"""``python -m benchmarks.archive_kills``: kill the archive's writer at random instants.

A real writer appends small frames (brackets of one to three, two shapes, nights that change) and
tells of each once it is durable; SIGKILL strikes it between 0 and 0.4 s after its start, in the
middle of whatever it does. After each kill the frames that were told are read back and compared
pixel by pixel, and the next writer goes on in the same archive. At the end every night is verified
with its checksums and opened with plain xarray.

Each writer and each reader is a forked child, so that 500 kills do not pay for 500 imports.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import xarray as xr

from allsky360.archive import Archive, FrameRef, RawWriter, verify_night
from allsky360.model import Bracket, Exposure, Site

CAMERA = "Kill Camera"
SLUG = "kill-camera"
SITE = Site("kills", 28.76, -17.88)
EVENING = datetime(2026, 11, 28, 21, 0, tzinfo=UTC)
FRAMES_A_NIGHT = 400
LATEST_KILL_S = 0.4


def bracket(k: int) -> Bracket:
    """The k-th bracket: its pixels, times and shape follow from k alone."""
    start = EVENING + timedelta(days=k // FRAMES_A_NIGHT, seconds=10 * (k % FRAMES_A_NIGHT))
    shape = (24, 32) if k % 97 else (20, 36)  # now and then another sensor mode
    shots = [
        Exposure(
            np.random.default_rng((k, j)).integers(0, 65535, shape, np.uint16),
            "RGGB",
            start + timedelta(seconds=j),
            4.0 / 4**j,
            gain=float(k % 5),
            camera=CAMERA,
        )
        for j in range(1 + k % 3)
    ]
    return Bracket(tuple(shots))


def write(root: Path, first: int, told: int) -> None:
    """Append until killed; tell of each frame on the file descriptor ``told``."""
    writer = RawWriter(root, CAMERA, SITE)
    for k in range(first, first + 10_000):
        ref = writer.append(bracket(k), {"level": 0.25})
        os.write(told, f"{ref.night} {ref.index} {k}\n".encode())


def warm_up() -> None:
    """Import here what writing and reading import when first used, not in every child."""
    with tempfile.TemporaryDirectory() as folder:
        writer = RawWriter(Path(folder), CAMERA, SITE)
        ref = writer.append(bracket(1), {"level": 0.25})
        writer.close()
        compare(Path(folder), [(ref.night.isoformat(), ref.index, 1)])


def in_child(body: Callable[[], None]) -> int:
    """Run ``body`` in a forked child; return its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
        except BaseException as error:  # noqa: BLE001  (the parent sees the status)
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    return pid


def kill_once(root: Path, first: int, chance: random.Random) -> list[tuple[str, int, int]]:
    """Start a writer, kill it, and return what it told: (night, index, k)."""
    read, told = os.pipe()
    pid = in_child(lambda: write(root, first, told))
    os.close(told)
    time.sleep(chance.uniform(0.0, LATEST_KILL_S))
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(read) as lines:
        rows = [line.split() for line in lines.read().splitlines()]
    if not os.WIFSIGNALED(status):
        raise RuntimeError("the writer ended by itself: see above")
    return [(night, int(index), int(k)) for night, index, k in rows]


def compare(root: Path, frames: list[tuple[str, int, int]]) -> None:
    """Read frames back; raise where one is missing or differs."""
    archive = Archive(root)
    for night, index, k in frames:
        found = archive.bracket(FrameRef(SLUG, date.fromisoformat(night), index))
        for got, sent in zip(found.exposures, bracket(k).exposures, strict=True):
            np.testing.assert_array_equal(got.pixels, sent.pixels)


def check_whole(root: Path, frames: list[tuple[str, int, int]]) -> None:
    """Verify every night and open it as a stranger would; compare all that was ever told."""
    compare(root, frames)
    for folder in sorted((root / SLUG).glob("20*")):
        errors = [p for p in verify_night(folder) if p.severity == "error"]
        if errors:
            raise RuntimeError(f"{folder}: {errors}")
        for store in folder.glob("raw*.zarr"):
            if (store / "zarr.json").exists():
                with xr.open_zarr(store) as opened:
                    opened.time.values  # noqa: B018  (read)


def main() -> None:
    """Kill, check, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=20261128)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="allsky360-kills-"))
    chance = random.Random(options.seed)
    warm_up()
    told: list[tuple[str, int, int]] = []
    unreadable, first, in_write, began = 0, 0, 0, time.monotonic()
    for number in range(options.kills):
        new = kill_once(folder, first, chance)
        told += new
        first = (told[-1][2] + 1) if told else 0
        in_write += any(folder.rglob("*.partial"))
        recent = told[-10:]
        _, status = os.waitpid(in_child(lambda recent=recent: compare(folder, recent)), 0)
        unreadable += status != 0
        if (number + 1) % 100 == 0:
            print(f"{number + 1} kills, {len(told)} frames told, {unreadable} bad", flush=True)
    _, status = os.waitpid(in_child(lambda: check_whole(folder, told)), 0)
    bad = unreadable + (status != 0)
    print(
        f"{options.kills} kills in {time.monotonic() - began:.0f} s, {in_write} of them left a "
        f"half-written file; {len(told)} committed frames in {first // FRAMES_A_NIGHT + 1} "
        f"night(s): {'0 lost, 0 unreadable archives' if not bad else f'{bad} checks failed'}"
    )
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
