"""One night's frames on their way through the cluster, in order where order matters.

A frame is begun, measured, pictured and stored on one worker. Beginning and storing depend on the
frame alone. Measuring continues the sky's memory and the picture continues the tone: both go from
frame to frame in the night's order, and pass through here as small JSON values. So the result is
that of one worker doing frame after frame, whatever the number of workers, while several frames
are under way at once; and a worker that dies takes no state with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

from allsky360.archive import Archive, FrameRef
from allsky360.processing.stages import FramePackage, store_package
from allsky360.reprocess import remote
from allsky360.reprocess.places import Places
from allsky360.reprocess.remote import Recipe, State

if TYPE_CHECKING:
    from distributed import Client, Future

Stage = Literal["memory", "tone", "stored"]
Watch = Callable[["Future", "NightRelay", Stage, int], None]


@dataclass
class _Frame:
    """A frame under way: where, and with which states of the frame before."""

    ref: FrameRef
    worker: str | None
    piece: Future
    memory_before: State | None = None
    tone_before: State | None = None


@dataclass
class NightRelay:
    """The frames of one version under way.

    Parameters
    ----------
    client
        Of the cluster.
    recipe
        Of the version.
    camera, night
        Whose frames they are.
    todo
        Frames to make, in order.
    start_memory
        The sky's memory before the night's first frame.
    watch
        Told of every future whose result comes back here.
    places
        Where frames are made; shared by all nights.
    window
        Frames under way at once; this bounds memory.
    tag
        Makes the keys of this run unlike those of any other.
    priority
        Dask's, greater is sooner.
    """

    client: Client
    recipe: Recipe
    camera: str
    night: date
    todo: deque[FrameRef]
    start_memory: State | None
    watch: Watch
    places: Places
    window: int
    tag: str
    priority: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    stored: int = 0

    def __post_init__(self) -> None:
        self._archive = Archive(self.recipe.root, self.recipe.version)
        self._frames: dict[int, _Frame] = {}
        self._to_measure: deque[int] = deque()
        self._to_picture: deque[int] = deque()
        # state after the frame of that number
        self._memory: tuple[int, State | None] | None = None
        self._tone: tuple[int, State | None] | None = None
        self._measuring = self._picturing = False

    @property
    def under_way(self) -> int:
        """Frames begun and not stored."""
        return len(self._frames)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and nothing is left."""
        return not self.todo and not self._frames

    def pump(self) -> None:
        """Submit what can be submitted."""
        while self.todo and len(self._frames) < self.window:
            ref = self.todo.popleft()
            worker = self.places.take()
            piece = self._submit("begin", ref.index, worker, remote.begin, ref, retries=1)
            self._frames[ref.index] = _Frame(ref, worker, piece)
            self._to_measure.append(ref.index)
        if self._to_measure and not self._measuring:
            self._measure(self._to_measure.popleft())
        if self._to_picture and not self._picturing:
            self._picture(self._to_picture.popleft())

    def arrived(self, stage: Stage, index: int, result: Any) -> None:
        """Take a result that came back."""
        if stage == "memory":
            memory = result if result is not None else self._frames[index].memory_before
            self._measuring = False
            self._memory = (index, memory)
            self._to_picture.append(index)
        elif stage == "tone":
            self._picturing = False
            self._tone = (index, result)
            self._store(index)
        else:
            if isinstance(result, FramePackage):  # of a worker that does not see the archive
                store_package(result, self.recipe.root, self.recipe.version)
            self.stored += 1
            self._leave(index)

    def broke(self, stage: Stage, index: int, error: BaseException) -> None:
        """Take note of a frame that cannot be made; the states pass it over."""
        self.failed.setdefault(index, f"{type(error).__name__}: {error}")
        self._leave(index)
        if stage == "memory":
            self._measuring = False
        elif stage == "tone":
            self._picturing = False

    def _leave(self, index: int) -> None:
        self.places.free(self._frames.pop(index).worker)

    def _measure(self, index: int) -> None:
        frame = self._frames[index]
        frame.memory_before = self._state_before(index, self._memory, "sky", "memory")
        self._measuring = True
        self._on(frame, "memory", remote.measure, frame.memory_before)

    def _picture(self, index: int) -> None:
        frame = self._frames[index]
        frame.tone_before = self._state_before(index, self._tone, "tone")
        self._picturing = True
        self._on(frame, "tone", remote.picture, frame.memory_before, frame.tone_before)

    def _store(self, index: int) -> None:
        frame = self._frames[index]
        states = frame.memory_before, frame.tone_before
        self._on(frame, "stored", remote.store, *states, retries=1)

    def _on(
        self, frame: _Frame, stage: Stage, function: Callable[..., Any], *states: Any, **more: int
    ) -> None:
        """Submit a stage of a frame where the frame is."""
        index = frame.ref.index
        future = self._submit(stage, index, frame.worker, function, frame.piece, *states, **more)
        self.watch(future, self, stage, index)

    def _state_before(
        self, index: int, relayed: tuple[int, State | None] | None, *path: str
    ) -> State | None:
        """State after the newest frame before ``index``: relayed, or of a frame made earlier."""
        for number in range(index - 1, -1, -1):
            if relayed is not None and number == relayed[0]:
                return relayed[1]
            if number in self.failed:
                continue
            ref = FrameRef(self.camera, self.night, number)
            part: Any = self._archive.record(ref).get("provenance")
            for key in path:
                part = part.get(key) if isinstance(part, dict) else None
            if isinstance(part, dict):
                return part
        return self.start_memory if path[-1] == "memory" else None

    def _submit(
        self,
        stage: str,
        index: int,
        worker: str | None,
        function: Callable[..., Any],
        *arguments: Any,
        retries: int = 0,
    ) -> Future:
        return self.client.submit(
            function,
            self.recipe,
            *arguments,
            key=f"again-{stage}-{self.tag}-{index:06d}",
            pure=False,
            retries=retries,
            priority=self.priority - index,
            workers=None if worker is None else [worker],
            allow_other_workers=worker is not None,
        )
