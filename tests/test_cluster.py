from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from allsky360 import cluster as cluster_module
from allsky360.cluster import (
    ClusterError,
    connect,
    gpu_available,
    make_cluster,
    run_cluster,
    scheduler_address,
)
from allsky360.config import DaskSettings, Settings
from allsky360.net import CannotListen


@pytest.fixture
def settings(free_port: Callable[[], int]) -> Settings:
    return Settings(
        dask=DaskSettings(
            gpu="never", port=free_port(), dashboard_port=free_port(), memory_limit="1GiB"
        )
    )


def touch_and_wait(folder: str, seconds: float) -> int:
    """Note that a worker began, then work for a while."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(seconds)
    return os.getpid()


@pytest.fixture
def resident(settings: Settings) -> Iterator[Settings]:
    with make_cluster(settings.dask, preload=()):
        yield settings


def test_a_killed_worker_costs_no_frame(resident: Settings, tmp_path: Path) -> None:
    with connect(resident) as client:
        future = client.submit(touch_and_wait, str(tmp_path), 1.0, pure=False)
        deadline = time.monotonic() + 60
        while not (begun := list(tmp_path.iterdir())) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(int(begun[0].name), signal.SIGKILL)
        again = future.result(timeout=60)
    assert again != int(begun[0].name)
    assert {p.name for p in tmp_path.iterdir()} == {begun[0].name, str(again)}


def profiled(dask_worker: Any) -> bool:
    return "profile" in dask_worker.periodic_callbacks


def test_workers_keep_no_profile_of_themselves(resident: Settings) -> None:
    with connect(resident) as client:
        assert list(client.run(profiled).values()) == [False]


def test_a_port_in_use_is_one_clear_error(settings: Settings) -> None:
    with socket.socket() as holder:
        holder.bind((settings.dask.host, settings.dask.dashboard_port))
        holder.listen()
        with pytest.raises(CannotListen, match=r"dask\.dashboard_port") as caught:
            make_cluster(settings.dask)
    assert str(settings.dask.dashboard_port) in str(caught.value)
    assert caught.value.mend


def test_nobody_at_the_address_is_one_clear_error(settings: Settings) -> None:
    with pytest.raises(ClusterError, match=str(settings.dask.port)) as caught:
        connect(settings, timeout_s=0.5)
    assert "allsky360 cluster" in caught.value.mend


def test_the_cluster_runs_until_told_to_stop(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "PRELOAD", ())
    stop = threading.Event()
    runner = threading.Thread(target=run_cluster, args=(settings,), kwargs={"stop": stop})
    runner.start()
    try:
        with connect(settings, timeout_s=60) as client:
            assert client.submit(pow, 2, 10).result(timeout=60) == 1024
    finally:
        stop.set()
        runner.join(timeout=60)
    assert not runner.is_alive()
    with pytest.raises(ClusterError):
        connect(settings, timeout_s=0.5)


@pytest.mark.slow
def test_the_command_stops_cleanly_on_sigterm(settings: Settings) -> None:
    environment = {
        **os.environ,
        "ALLSKY360_DASK__GPU": "never",
        "ALLSKY360_DASK__PORT": str(settings.dask.port),
        "ALLSKY360_DASK__DASHBOARD_PORT": str(settings.dask.dashboard_port),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "allsky360.cli", "cluster"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with connect(settings, timeout_s=90) as client:
            client.wait_for_workers(1, timeout=60)
        process.terminate()
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "dashboard" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("dask", "address"),
    [
        (DaskSettings(scheduler="tcp://big:8786"), "tcp://big:8786"),
        (DaskSettings(host="0.0.0.0", port=9), "tcp://127.0.0.1:9"),
        (DaskSettings(host="::1", port=9), "tcp://[::1]:9"),
    ],
)
def test_address(dask: DaskSettings, address: str) -> None:
    assert scheduler_address(Settings(dask=dask)) == address


def test_one_worker_per_gpu_where_a_driver_answers(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def cuda_cluster(**options: object) -> SimpleNamespace:
        asked.update(options)
        return SimpleNamespace(name="gpu")

    cupy = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: True))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "dask_cuda", SimpleNamespace(LocalCUDACluster=cuda_cluster))
    assert gpu_available()
    made = make_cluster(settings.dask.model_copy(update={"gpu": "auto"}))
    assert made.name == "gpu"
    assert asked["threads_per_worker"] == 1
    assert asked["rmm_allocator_external_lib_list"] == ["cupy"]
    assert asked["scheduler_port"] == settings.dask.port
    assert "n_workers" not in asked  # dask-cuda takes one a visible GPU


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "dask_cuda", SimpleNamespace())
    assert not gpu_available()
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert not gpu_available()


def test_a_memory_limit_that_is_none_is_one_clear_error(settings: Settings) -> None:
    dask = settings.dask.model_copy(update={"memory_limit": "a lot"})
    with pytest.raises(ClusterError, match="did not start") as caught:
        make_cluster(dask, preload=())
    assert "memory_limit" in caught.value.mend


def lose_the_context(folder: str) -> int:
    """Do as a frame does whose GPU's context is lost."""
    import tempfile

    from allsky360.processing.gpu_fallback import restart_worker

    tempfile.tempdir = folder
    restart_worker("cudaErrorIllegalAddress")
    return os.getpid()


def test_a_worker_that_lost_its_gpu_hands_its_frame_back_and_comes_again(
    resident: Settings, tmp_path: Path
) -> None:
    with connect(resident) as client:
        first = client.submit(lose_the_context, str(tmp_path), pure=False).result(timeout=60)
        deadline = time.monotonic() + 90
        while (now := client.submit(os.getpid, pure=False).result(timeout=90)) == first:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert now != first
