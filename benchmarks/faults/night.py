"""One simulated night on real parts: ``allsky360 up`` in a folder, on a disk of its own.

What is accelerated: the sky's clock runs ``RATE`` times faster than the wall (exposures of 10 s
take 2 s), frames are small, slots are short. Everything else is what runs on a roof.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil

from allsky360.archive import Archive
from allsky360.archive.columns import open_night
from allsky360.config import Settings, StorageSettings
from allsky360.errors import AllskyError
from allsky360.supervisor.pulse import WORD, pulse_name
from tests.system.house import House

RATE = 5.0
EXPOSURE_WALL_S = 2.0
DUSK = datetime(2026, 11, 28, 20, 30, tzinfo=UTC)
NIGHT_H = 9.0  # after which the next piece begins at the next dusk
DISK_MB = 2500
STEP_CLOCK = Path(__file__).with_name("step_clock.c")
SITE = '[site]\nname = "Campaign"\nlatitude_deg = 28.76\nlongitude_deg = -17.88\n'


@dataclass(frozen=True)
class Frame:
    """One committed raw frame."""

    night: str
    index: int
    time: datetime
    processed: bool


class Night(House):
    """The system under test; a context manager that starts and stops it.

    Parameters
    ----------
    folder
        Everything of the campaign lies below it; what lies there already is gone on with.
    extra
        Further settings as environment variables.
    rate
        How much faster the sky's clock runs.
    """

    def __init__(
        self, folder: Path, extra: Mapping[str, str] | None = None, rate: float = RATE
    ) -> None:
        self.rate = rate
        self.truth = folder / "truth"
        self.offset = folder / "clock-offset"
        self.settings_file = folder / "allsky360.toml"
        settings = {
            "ALLSKY360_STORAGE__MIN_FREE_GB": "0.03",
            "ALLSKY360_RETENTION__LOW_FREE_PERCENT": "2",
            "ALLSKY360_RETENTION__HIGH_FREE_PERCENT": "4",
            "ALLSKY360_RETENTION__KEEP_NIGHTS": "1",
            "ALLSKY360_SIMULATOR__WIDTH": "320",
            "ALLSKY360_SIMULATOR__HEIGHT": "240",
            "ALLSKY360_SIMULATOR__TRUTH_DIR": str(self.truth),
            "ALLSKY360_CAPTURE__SLOT_S": "60",
            "ALLSKY360_CAPTURE__RETRY_DELAY_S": "0.5",
            "ALLSKY360_CAMERA__TIMEOUT_S": "6",
            "ALLSKY360_CLOCK__START": _begin(folder).isoformat(),
            "ALLSKY360_CLOCK__RATE": str(rate),
            "ALLSKY360_DASK__MEMORY_LIMIT": "900MiB",
            "PYTHONPATH": str(Path(__file__).parents[2]),  # the workers are handed a task of ours
            **{
                f"ALLSKY360_EXPOSURE__{p}__MAX_EXPOSURE_S": f"{EXPOSURE_WALL_S * rate:g}"
                for p in ("NIGHT", "TWILIGHT")
            },
            **(extra or {}),
        }
        super().__init__(folder, settings)
        # every flow run is a process of its own: without byte code each compiles all libraries
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.data = folder / "data"
        self.http = httpx.Client(timeout=3.0, trust_env=False)  # made once: it costs 50 ms
        folder.mkdir(parents=True, exist_ok=True)
        library = folder / "step_clock.so"
        self.can_step_clock = _compile(STEP_CLOCK, library)
        if self.can_step_clock:
            self.environment |= {
                "LD_PRELOAD": str(library),
                "STEP_CLOCK_FILE": str(self.offset),
            }

    def __enter__(self) -> Night:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.truth.mkdir(exist_ok=True)
        self.step_clock(0)
        self.settings_file.write_text(SITE)
        self._archive = Archive(self.data)
        self._pulse = pulse_name(Settings(storage=StorageSettings(root=self.data)), "runner")
        self.own_disk = _mount(self.folder / "disk.img", self.data)
        for ballast in self.data.glob("ballast-*"):  # of a piece that was cut off
            ballast.unlink()
        self._started = time.time()
        super().__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._remember_clock()
        if self.own_disk:
            subprocess.run(["umount", "-l", str(self.data)], check=False)

    def _remember_clock(self) -> None:
        sky = self.environment["ALLSKY360_CLOCK__START"]
        passed = timedelta(seconds=(time.time() - self._started) * self.rate)
        ended = datetime.fromisoformat(sky) + passed
        (self.folder / "sky-clock.json").write_text(json.dumps({"ended": ended.isoformat()}))

    def again(self) -> None:
        """Start ``up`` after a power cut, the sky's clock going on."""
        self._remember_clock()
        self._started = time.time()
        self.environment["ALLSKY360_CLOCK__START"] = _begin(self.folder).isoformat()
        super().__enter__()

    # -- what can be seen -----------------------------------------------------------------------

    def frames(self) -> list[Frame]:
        """Every committed raw frame, in order; raises OSError while the disk is not there."""
        archive, found = Archive(self.data), []
        for camera in archive.cameras():
            for night in archive.nights(camera):
                if night.year < DUSK.year:  # an old night put there for retention
                    continue
                waiting = {r.index for r in archive.unprocessed(camera, night)}
                for record in archive.frames(camera, night):
                    index = record.ref.index
                    found.append(Frame(night.isoformat(), index, record.time, index not in waiting))
        return found

    def processed_at(self) -> dict[tuple[str, int], int]:
        """When each processed frame was processed, microseconds, in the order of capture."""
        archive, found = Archive(self.data), {}
        for camera in archive.cameras():
            for night in archive.nights(camera):
                view = open_night(self.data, camera, night)
                stamps = [] if view is None else view.processed().tolist()
                found |= {(night.isoformat(), i): s for i, s in enumerate(stamps) if s >= 0}
        return found

    def newest(self) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
        """Return the newest raw and the newest processed frame, as (night, index)."""
        archive = self._archive  # asked four times a second: it reads what has changed
        try:
            raw, shown = archive.latest(), archive.latest(processed=True)
        except (AllskyError, OSError):
            return None, None
        return _key(raw), _key(shown)

    def exposures_stamped(self) -> list[tuple[float, datetime]]:
        """List the exposures the camera was asked for, by the simulator's own record.

        The file's time on this machine's clock, and the exposure's begin on the sky's.
        """
        return [(p.stat().st_mtime, _begun(p.stem)) for p in self.truth.glob("*.json")]

    def owner(self) -> dict[str, Any] | None:
        """The owner's status."""
        found = self.get("owner", "/status")
        return found if isinstance(found, dict) else None

    def silent(self) -> list[str]:
        """Parts that do not answer now."""
        ways = {
            "simulator": ("simulator", "/simulator/status"),
            "owner": ("owner", "/status"),
            "api": ("api", "/api/v1/health"),
            "prefect": ("prefect", "/api/health"),
            "dask": ("dashboard", "/health"),
        }
        found = [name for name, (port, path) in ways.items() if not self._lives(port, path)]
        return found if self._runner_lives() else [*found, "runner"]

    def _runner_lives(self) -> bool:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(2.0)
            try:
                asked.connect(f"\0{self._pulse}")
                return asked.recv(16) == WORD
            except OSError:
                return False

    def get(self, part: str, path: str) -> Any:
        """Answer of a part as JSON; None while it does not answer with 200."""
        try:
            reply = self.http.get(f"http://127.0.0.1:{self.port[part]}{path}")
            return reply.json() if reply.status_code == 200 else None
        except (httpx.HTTPError, ValueError):
            return None

    def _lives(self, port: str, path: str) -> bool:
        try:
            reply = self.http.get(f"http://127.0.0.1:{self.port[port]}{path}")
        except httpx.HTTPError:
            return False
        return reply.status_code < 500

    def children(self, part: str) -> list[psutil.Process]:
        """Processes below a part's main process."""
        pid = self.pid(part)
        try:
            return psutil.Process(pid).children(recursive=True) if pid else []
        except psutil.NoSuchProcess:
            return []

    def worker(self) -> int | None:
        """The Dask worker that processes frames: the largest process below the cluster's."""
        sizes = {}
        for child in self.children("dask"):
            with contextlib.suppress(psutil.Error):
                sizes[child.pid] = child.memory_info().rss
        return max(sizes, key=lambda pid: sizes[pid]) if sizes else None

    def part_log(self, part: str) -> Path:
        """A part's log file."""
        return self.data / "logs" / f"{part}.log"

    # -- what can be done to it -----------------------------------------------------------------

    def knob(self, **wanted: object) -> None:
        """Turn fault knobs of the simulator; dashes written as underscores."""
        body = {name.replace("_", "-"): value for name, value in wanted.items()}
        url = f"http://127.0.0.1:{self.port['simulator']}/simulator/faults"
        self.http.post(url, json=body).raise_for_status()

    def struck(self, *names: str) -> int:
        """How often knobs have struck, all together."""
        listing = self.get("simulator", "/simulator/faults") or []
        return sum(int(row["struck"]) for row in listing if row["name"] in names)

    def step_clock(self, seconds: float) -> None:
        """Set the wall clock of all parts off by so much."""
        with self.offset.open("r+b" if self.offset.exists() else "w+b") as file:
            file.write(struct.pack("=q", round(seconds * 1e9)))  # in place: it is mapped

    def kill_all(self) -> None:
        """Cut the power: every process at once."""
        with contextlib.suppress(psutil.NoSuchProcess):
            up = psutil.Process(self.process.pid)
            everything = [up, *up.children(recursive=True)]
            for process in everything:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGSTOP)  # nobody may see the others die
            for process in everything:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.wait()

    def free_bytes(self) -> int:
        """Free space on the disk."""
        return shutil.disk_usage(self.data).free

    @contextlib.contextmanager
    def filled(self, leave_bytes: int) -> Iterator[Path]:
        """Fill the disk but for ``leave_bytes``; yields the file that does it."""
        ballast = self.data / f"ballast-{time.time_ns()}"
        try:
            fill(ballast, self.free_bytes() - leave_bytes)
            yield ballast
        finally:
            ballast.unlink(missing_ok=True)

    def old_night(self, megabytes: int) -> None:
        """Put a processed night of long ago into the archive, for retention to find."""
        archive = Archive(self.data)
        camera = archive.cameras()[0]
        newest = self.data / camera / archive.nights(camera)[-1].isoformat()
        number = len(list((self.data / camera).glob("2019-*")))
        day = datetime(2019, 1, 1, tzinfo=UTC) + timedelta(days=number)
        old = self.data / camera / day.date().isoformat()
        for name in ("v0001.zarr", "v0001", "raw.zarr"):
            shutil.copytree(newest / name, old / name, dirs_exist_ok=True, copy_function=_link)
        shutil.copy(newest / "current.json", old / "current.json")
        fill(old / "v0001" / "pictures" / "999999.jpg", megabytes * 1_000_000)

    def remove_old_nights(self) -> None:
        """Take away what is left of them."""
        for old in self.data.glob("*/2019-*"):
            shutil.rmtree(old, ignore_errors=True)


def _begun(stem: str) -> datetime:
    return datetime.strptime(stem, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)


def _key(record: Any) -> tuple[str, int] | None:
    return None if record is None else (record.ref.night.isoformat(), record.ref.index)


def _link(source: str, target: str) -> str:
    os.link(source, target)
    return target


def fill(file: Path, size: int) -> None:
    """Make a file of ``size`` bytes that really takes them."""
    with file.open("wb") as out:
        if size > 0:
            with contextlib.suppress(OSError):  # less is left than was thought: full all the same
                os.posix_fallocate(out.fileno(), 0, size)


def _begin(folder: Path) -> datetime:
    """Return where the sky's clock begins: where it ended, or at the next dusk."""
    try:
        text = json.loads((folder / "sky-clock.json").read_text())["ended"]
    except (OSError, ValueError, KeyError):
        return DUSK
    ended = datetime.fromisoformat(text)
    dusk = DUSK
    while dusk + timedelta(days=1) <= ended:
        dusk += timedelta(days=1)
    return ended if ended - dusk < timedelta(hours=NIGHT_H) else dusk + timedelta(days=1)


def _compile(source: Path, library: Path) -> bool:
    if shutil.which("cc") is None:
        return False
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _mount(image: Path, where: Path) -> bool:
    """Give the archive a small disk of its own, where we may; a disk can then be filled."""
    where.mkdir(exist_ok=True)
    if os.path.ismount(where):
        return True
    if os.geteuid() or shutil.which("mkfs.ext4") is None:
        return False
    if not image.exists():
        with image.open("wb") as out:
            out.truncate(DISK_MB * 1_000_000)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)
    done = subprocess.run(["mount", "-o", "loop", str(image), str(where)], capture_output=True)
    return done.returncode == 0
