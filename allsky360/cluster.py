"""The Dask cluster that processes frames: one worker per GPU, else local CPU workers.

The cluster is resident (``allsky360 cluster``): flow runs come and go and connect by address, so no
burst pays for starting workers, and frames already handed over are finished when a flow run dies.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from allsky360 import systemd
from allsky360.arrays import cuda_available
from allsky360.arrays.bands import threads
from allsky360.config import ENV_THREADS, DaskSettings, Settings
from allsky360.errors import AllskyError
from allsky360.logs import adopt_handlers
from allsky360.net import listening_socket, netloc

if TYPE_CHECKING:
    from distributed import Client
    from distributed.deploy.cluster import Cluster

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
# imported once when a worker starts, not by its first frame
PRELOAD = ("allsky360.logs", "allsky360.processing")
DASK_CONFIG: Mapping[str, Any] = {
    "distributed.admin.tick.limit": "20s",  # a filter may hold the interpreter lock for seconds
    "distributed.scheduler.allowed-failures": 3,  # workers a frame may take down before it errs
    "distributed.comm.timeouts.connect": "10s",
    "distributed.scheduler.worker-ttl": "90s",  # one that hangs is started anew
    # it looks at every thread each 10 ms, and keeps a call tree a second for a quarter of an hour
    "distributed.worker.profile.enabled": False,
}


class ClusterError(AllskyError):
    """The Dask cluster cannot be started or reached."""


def gpu_available() -> bool:
    """Return whether CuPy and dask-cuda are installed and a driver answers.

    Importing dask-cuda without its CUDA bindings raises, without a driver it does not.
    """
    try:
        import dask_cuda  # noqa: F401
    except ImportError:
        return False
    return cuda_available()


def make_cluster(dask: DaskSettings, *, preload: tuple[str, ...] | None = None) -> Cluster:
    """Start scheduler and workers in this machine: ``LocalCUDACluster`` or ``LocalCluster``.

    Parameters
    ----------
    dask
        Ports, number of workers, memory.
    preload
        Modules every worker imports when it starts; by default what processing needs.

    Raises
    ------
    CannotListen
        A port is in use.
    ClusterError
        The cluster does not start.
    """
    import dask as dask_module
    import distributed  # noqa: F401  (its import sets its loggers' levels: quieten them after it)

    for port, key in ((dask.port, "port"), (dask.dashboard_port, "dashboard_port")):
        listening_socket(dask.host, port, "dask", key=key).close()
    dask_module.config.set(DASK_CONFIG)
    quiet_logs()
    common: dict[str, Any] = {
        "host": dask.host,
        "scheduler_port": dask.port,
        "dashboard_address": f"{dask.host}:{dask.dashboard_port}",
        "silence_logs": logging.WARNING,
        "preload": list(PRELOAD if preload is None else preload),
    }
    adopt_handlers()
    try:
        if dask.gpu == "auto" and gpu_available():
            return _cuda_cluster(common)
        from distributed import LocalCluster

        return LocalCluster(
            **common,
            processes=True,  # each in a nanny that restarts it when it dies
            n_workers=dask.workers,
            threads_per_worker=dask.threads_per_worker,
            memory_limit=dask.memory_limit,
            env=_share_of_cores(dask.workers * dask.threads_per_worker),
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"the Dask cluster on {dask.host}:{dask.port} did not start: {str(error).rstrip('.')}.",
            mend="Check [dask] in the settings (workers, memory_limit, ports).",
        ) from error


def _share_of_cores(frames_at_once: int) -> dict[str, str]:
    """Environment by which each frame takes its share of the cores, not all of them."""
    if ENV_THREADS in os.environ:
        return {}
    return {ENV_THREADS: str(max(1, threads() // frames_at_once))}


@contextmanager
def client_for(settings: Settings, workers: int = 0) -> Iterator[Client]:
    """Connect to the resident cluster; start one for the while where there is none.

    Parameters
    ----------
    settings
        Where the cluster is, or how to start one.
    workers
        Start one of so many workers in any case; 0: only where none answers.

    Raises
    ------
    ClusterError
        ``dask.scheduler`` names one that does not answer, or none starts.
    """
    from distributed import Client

    if not workers:
        try:
            client = connect(settings)
        except ClusterError:
            if settings.dask.scheduler:
                raise
            log.info("no cluster answers; one is started for the while")
        else:
            with client:
                yield client
            return
    # any free ports: it must not stand in the resident one's way
    own = {"port": 0, "dashboard_port": 0, "workers": workers or settings.dask.workers}
    with (
        make_cluster(settings.dask.model_copy(update=own)) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _cuda_cluster(common: Mapping[str, Any]) -> Cluster:
    """One single-threaded worker per visible GPU, CuPy allocating from one RMM pool."""
    from dask_cuda import LocalCUDACluster

    return LocalCUDACluster(
        **common,
        threads_per_worker=1,
        protocol="tcp",
        rmm_pool_size=0.6,
        rmm_allocator_external_lib_list=["cupy"],
        pre_import="cupy",
    )


def scheduler_address(settings: Settings) -> str:
    """Return the address of the given scheduler, else of the one we start."""
    d = settings.dask
    if d.scheduler:
        return d.scheduler
    return f"tcp://{netloc(d.host, d.port)}"


def connect(settings: Settings, *, timeout_s: float | None = None) -> Client:
    """Connect to the resident cluster; the caller closes the client.

    Raises
    ------
    ClusterError
        Nobody answers at the address within ``timeout_s`` (5 s unless given).
    """
    from distributed import Client

    quiet_logs()  # after the import, which sets the levels
    address = scheduler_address(settings)
    try:
        return Client(address, timeout=timeout_s or CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at {address}.",
            mend="Start one with 'allsky360 cluster', or correct dask.scheduler.",
        ) from error


def quiet_logs() -> None:
    """Keep what distributed says to warnings: it logs every connection, whatever the root does."""
    logging.getLogger("distributed").setLevel(logging.WARNING)
    for name in ("distributed.shuffle", "bokeh"):  # bokeh warns of how Dask sets it up
        logging.getLogger(name).setLevel(logging.ERROR)


def run_cluster(settings: Settings, *, stop: threading.Event | None = None) -> None:
    """Run the resident cluster until SIGTERM or SIGINT (or ``stop``)."""
    stop = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    d = settings.dask
    health = f"http://{netloc(d.host, d.dashboard_port)}/health"
    systemd.give_signs(lambda: systemd.answers(health))
    with make_cluster(d) as cluster:
        kind = type(cluster).__name__
        log.warning(
            "%s with %d worker(s) at %s, dashboard %s",
            kind,
            len(cluster.workers),
            cluster.scheduler_address,
            cluster.dashboard_link,
        )
        stop.wait()
        log.warning("stopping the cluster")
