"""A GPU that fails under a frame, by errors that have the names of CuPy's. No GPU is needed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from allsky360 import arrays
from allsky360.archive import Archive, FrameRef, RawWriter
from allsky360.archive.journal import faults_between
from allsky360.arrays import gpu_faults
from allsky360.arrays.gpu_faults import gpu_fault
from allsky360.config import Settings, StorageSettings
from allsky360.imaging.linear import linearise
from allsky360.model import Site
from allsky360.processing import gpu_fallback, stages
from allsky360.processing.archived import process_archived_frame
from allsky360.reprocess import remote
from tests.archive.conftest import make_bracket


def like(module: str, name: str, base: type[Exception]) -> type[Exception]:
    """Return a class as CuPy has it."""
    return type(name, (base,), {"__module__": module})


RUNTIME = like("cupy_backends.cuda.api.runtime", "CUDARuntimeError", RuntimeError)
DRIVER = like("cupy_backends.cuda.api.driver", "CUDADriverError", RuntimeError)
MEMORY = like("cupy.cuda.memory", "OutOfMemoryError", MemoryError)
COMPILE = like("cupy.cuda.compiler", "CompileException", Exception)

FAULTS = [
    (MEMORY("Out of memory allocating 98,304,000 bytes"), "gpu-out-of-memory"),
    (MemoryError("std::bad_alloc: out_of_memory: RMM failure: CUDA error"), "gpu-out-of-memory"),
    (RUNTIME("cudaErrorMemoryAllocation: out of memory"), "gpu-out-of-memory"),
    (RUNTIME("cudaErrorIllegalAddress: an illegal memory access"), "gpu-context-lost"),
    (RUNTIME("cudaErrorLaunchFailure: unspecified launch failure"), "gpu-context-lost"),
    (RUNTIME("cudaErrorInsufficientDriver: driver version is insufficient"), "gpu-context-lost"),
    (RUNTIME("cudaErrorNoDevice: no CUDA-capable device"), "gpu-context-lost"),
    (DRIVER("CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access"), "gpu-context-lost"),
    (ImportError("libcuda.so.1: cannot open shared object file"), "gpu-context-lost"),
    (RUNTIME("cudaErrorInvalidValue: invalid argument"), "gpu-error"),
    (COMPILE("nvrtc: error: invalid value"), "gpu-error"),
]


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(gpu_fallback.tempfile, "gettempdir", lambda: str(tmp_path))
    yield
    gpu_faults.note_lost("")


@pytest.mark.parametrize(("error", "kind"), FAULTS)
def test_faults_are_told_from_each_other(error: Exception, kind: str) -> None:
    found = gpu_fault(error)
    assert found is not None
    assert found.kind == kind
    try:
        raise ValueError("a step failed") from error
    except ValueError as outer:
        wrapped = gpu_fault(outer)
    assert wrapped == found


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("cudaErrorUnknown"), ValueError("x"), OSError("disk")]
)
def test_other_errors_are_none_of_the_gpu(error: Exception) -> None:
    assert gpu_fault(error) is None


@pytest.fixture
def frame(tmp_path: Path, site: Site) -> FrameRef:
    writer = RawWriter(tmp_path / "archive", "Sim Camera 1", site)
    ref = writer.append(make_bracket(1, exposures=1, shape=(64, 80)), {})
    writer.close()
    return ref


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(storage=StorageSettings(root=tmp_path / "archive"))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A GPU that fails with an error: the linear chain raises it wherever it may use one."""
    state = SimpleNamespace(error=None, used=0)

    def backend(settings: Settings) -> str:
        return "numpy" if settings.dask.gpu == "never" or gpu_faults.lost() else "cupy"

    def merge(*given: Any, backend: str, **more: Any) -> Any:
        if backend == "cupy":
            state.used += 1
            raise state.error
        return linearise(*given, backend=backend, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(stages, "backend_for", backend)
    monkeypatch.setattr(stages, "linearise", merge)
    return state


@pytest.mark.parametrize(("error", "kind"), [FAULTS[0], FAULTS[3], FAULTS[-1]])
def test_the_cpu_makes_the_frame_and_it_is_told(
    frame: FrameRef, settings: Settings, gpu: Any, error: Exception, kind: str
) -> None:
    gpu.error = error
    root = settings.storage.root
    done = process_archived_frame(root, frame, settings)
    assert any(kind in w for w in done["warnings"])
    record = Archive(root).record(frame)
    assert any(kind in w for w in record["provenance"]["warnings"])
    now = datetime.now(UTC)
    told = faults_between(root, now - timedelta(hours=1), now + timedelta(hours=1))
    assert [(f.name, f.camera) for f in told] == [(kind, frame.camera)]
    process_archived_frame(root, frame, settings)
    # a lost context is not asked again; memory may be there the next time
    assert gpu.used == (1 if kind == "gpu-context-lost" else 2)
    assert arrays.cuda_available() is False or not gpu_faults.lost()


def test_an_error_that_is_none_of_the_gpu_is_not_hidden(
    frame: FrameRef, settings: Settings, gpu: Any
) -> None:
    gpu.error = RuntimeError("a mistake of ours")
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        process_archived_frame(settings.storage.root, frame, settings)


def test_a_night_made_again_goes_on_too(
    frame: FrameRef, settings: Settings, gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU fails when a frame is begun, and when a picture is made of one that lies on it."""
    gpu.error = FAULTS[0][0]
    recipe = remote.Recipe(settings.storage.root, "v0001", settings, None)
    piece = remote.begin(recipe, frame)
    render, failed = stages.render_picture, []

    def once(*given: Any, **more: Any) -> Any:
        if not failed:
            failed.append(1)
            raise FAULTS[0][0]
        return render(*given, **more)

    monkeypatch.setattr(stages, "render_picture", once)
    remote.measure(recipe, piece, None)
    remote.store(recipe, piece, None, None)
    warnings = Archive(settings.storage.root).record(frame)["provenance"]["warnings"]
    assert sum("gpu-out-of-memory" in w for w in warnings) == 2


def test_a_worker_whose_context_is_lost_is_started_anew_but_not_for_every_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[Any] = []
    loop = SimpleNamespace(add_callback=lambda f, *a, **k: calls.append((f, a, k)), call_later=None)
    worker = SimpleNamespace(loop=loop, close_gracefully=lambda: None)
    import distributed

    monkeypatch.setattr(distributed, "get_worker", lambda: worker)
    assert gpu_fallback.restart_worker("illegal address")
    assert len(calls) == 1
    assert not gpu_fallback.restart_worker("illegal address")
    assert len(calls) == 1
    calls[0][1][1]()  # what is called later
    assert calls[1][0] is worker.close_gracefully
    assert calls[1][2]["restart"] is True
