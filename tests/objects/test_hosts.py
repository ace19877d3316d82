"""Workers on two other hosts: network namespaces that see a scheduler and an S3 server, no archive.

Needs root, for the namespaces; skipped with the reason where they are not permitted.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allsky360.archive import Archive, FrameRef
from allsky360.config import Settings, SiteSettings, StorageSettings
from allsky360.config_objects import ObjectsSettings
from allsky360.model import Site
from allsky360.objects.place import open_place
from allsky360.objects.push import push_night
from allsky360.reprocess.plan import plan_night
from allsky360.reprocess.run import reprocess
from tests.reprocess.conftest import append_frames

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
REPOSITORY = Path(__file__).parents[2]
HERE, THERE = "10.231.77.1", "10.231.77.1{n}"
HOSTS = (1, 2)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=20)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Two namespaces, joined to this machine and to each other by a bridge."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the ip command")
    tag = f"{os.getpid() % 100000}"
    bridge, names = f"as{tag}b", [f"as{tag}n{n}" for n in HOSTS]
    made: list[str] = []
    try:
        try:
            ip("link", "add", bridge, "type", "bridge")
            ip("addr", "add", f"{HERE}/24", "dev", bridge)
            ip("link", "set", bridge, "up")
            for n, name in zip(HOSTS, names, strict=True):
                ip("netns", "add", name)
                made.append(name)
                cable = f"as{tag}v{n}"
                ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
                ip("link", "set", cable, "master", bridge, "up")
                ip("-n", name, "addr", "add", f"{THERE.format(n=n)}/24", "dev", "eth0")
                ip("-n", name, "link", "set", "eth0", "up")
                ip("-n", name, "link", "set", "lo", "up")
        except (subprocess.CalledProcessError, OSError) as error:
            why = getattr(error, "stderr", "") or error
            pytest.skip(f"network namespaces are not permitted here: {why}")
        yield names
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def start(
    processes: list[subprocess.Popen[bytes]], log: Path, *command: str, **environment: str
) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env={**os.environ, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    processes.append(process)
    return process


def wait_for(what: str, condition: Callable[[], object], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.2)


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def test_nights_are_made_by_workers_that_see_no_archive(
    tmp_path: Path,
    hosts: list[str],
    processes: list[subprocess.Popen[bytes]],
    free_port: Callable[[], int],
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3, scheduler = free_port(), free_port()
    for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")):
        monkeypatch.setenv(name, value)
    start(
        processes, tmp_path / "s3.log",
        sys.executable, "-m", "moto.server", "-H", "0.0.0.0", "-p", str(s3),
    )  # fmt: skip
    wait_for("the S3 server", lambda: answers(f"http://127.0.0.1:{s3}/"))
    bucket = urllib.request.Request(f"http://127.0.0.1:{s3}/nights", method="PUT")
    urllib.request.urlopen(bucket, timeout=10).close()
    start(
        processes, tmp_path / "scheduler.log",
        sys.executable, "-m", "distributed.cli.dask_scheduler",
        "--host", "0.0.0.0", "--port", str(scheduler), "--no-dashboard",
    )  # fmt: skip

    root = tmp_path / "archive"
    refs = append_frames(root, site, 0, 4)
    settings = Settings(
        storage=StorageSettings(root=root),
        site=SiteSettings(name="x", latitude_deg=28.8, longitude_deg=-17.9),
        objects=ObjectsSettings(url="s3://nights/archive", endpoint=f"http://{HERE}:{s3}"),
    )
    for name in hosts:
        start(
            processes, tmp_path / f"{name}.log",
            "ip", "netns", "exec", name, "unshare", "--mount", "sh", "-c",
            'mount -t tmpfs none "$0" && exec "$@"', str(root),  # the archive is hidden from it
            sys.executable, "-m", "distributed.cli.dask_worker",
            f"tcp://{HERE}:{scheduler}", "--nthreads", "1", "--no-dashboard",
            "--name", name, "--memory-limit", "0",
            ALLSKY360_THREADS="1", PYTHONPATH=str(REPOSITORY),
            TMPDIR=str(folder_of(tmp_path, name)),
        )  # fmt: skip

    from distributed import Client

    try:
        with Client(f"tcp://127.0.0.1:{scheduler}", timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=90)
            seen = client.run(os.path.exists, str(root / refs[0].camera))
            assert list(seen.values()) == [False, False]
            job = plan_night(root, refs[0].camera, refs[0].night, settings, {})
            assert job is not None
            (result,) = reprocess(client, root, [job], from_objects=True)
            places = {w["host"] for w in client.scheduler_info(n_workers=-1)["workers"].values()}
    except BaseException:
        for log in tmp_path.glob("*.log"):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")  # noqa: T201
        raise
    assert places == {THERE.format(n=n) for n in HOSTS}
    assert (result.made, result.failed, result.switched) == (len(refs), {}, True)

    # what they made is what this machine makes, and any Zarr reader finds it on the store
    push_night(root, refs[0].camera, refs[0].night, settings.objects)
    assert_same_as_here(tmp_path, root, refs, settings, site)
    import zarr
    from zarr.storage import ObjectStore

    inner: Any = open_place(settings.objects)
    prefix = f"{refs[0].camera}/{refs[0].night}/{job.version}.zarr"
    group = zarr.open_group(ObjectStore(inner, read_only=True), path=prefix, mode="r")
    linear = Archive(root).linear(refs[2])
    assert linear is not None
    assert (group["linear"][2] == linear).all()  # type: ignore[index]


def folder_of(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / f"tmp-{name}"
    folder.mkdir()
    return folder


def assert_same_as_here(
    tmp_path: Path, root: Path, refs: list[FrameRef], settings: Settings, site: Site
) -> None:
    from allsky360.processing import process_archived_frame

    other = tmp_path / "here"
    append_frames(other, site, 0, len(refs))
    for ref in refs:
        process_archived_frame(other, ref, settings)
        mine, theirs = (Archive(r).record(ref) for r in (other, root))
        assert mine["scalars"] == theirs["scalars"]
        assert mine["provenance"]["tone"] == theirs["provenance"]["tone"]
