"""One night's frames on their way through the cluster, in order where order matters.

A frame's linear image and its storing depend on nothing else, so that they are done wherever there
is room. Measuring continues the sky's memory and the picture continues the tone: both go from
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
from allsky360.reprocess.remote import Recipe, State

if TYPE_CHECKING:
    from distributed import Client, Future

Stage = Literal["memory", "tone", "stored"]
Watch = Callable[["Future", "NightRelay", Stage, int], None]


@dataclass
class _Frame:
    """Futures of one frame that are still needed."""

    ref: FrameRef
    begun: Future | None
    measured: Future | None = None
    pictured: Future | None = None
    memory_before: State | None = None


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
            begun = self._submit("begin", ref.index, remote.begin, self.recipe, ref, retries=1)
            self._frames[ref.index] = _Frame(ref, begun)
            self._to_measure.append(ref.index)
        if self._to_measure and not self._measuring:
            self._measure(self._to_measure.popleft())
        if self._to_picture and not self._picturing:
            self._picture(self._to_picture.popleft())

    def arrived(self, stage: Stage, index: int, result: Any) -> None:
        """Take a result that came back."""
        if stage == "stored":
            if isinstance(result, FramePackage):  # of a worker that does not see the archive
                store_package(result, self.recipe.root, self.recipe.version)
            self.stored += 1
            del self._frames[index]
        elif stage == "memory":
            frame = self._frames[index]
            frame.begun = None
            self._measuring = False
            self._memory = (index, result if result is not None else frame.memory_before)
            self._to_picture.append(index)
        else:
            self._picturing = False
            self._tone = (index, result)
            if index in self._frames:
                self._frames[index].measured = None

    def broke(self, stage: Stage, index: int, error: BaseException) -> None:
        """Take note of a frame that cannot be made; the states pass it over."""
        self.failed.setdefault(index, f"{type(error).__name__}: {error}")
        self._frames.pop(index, None)
        if stage == "memory":
            self._measuring = False
        elif stage == "tone":
            self._picturing = False

    def _measure(self, index: int) -> None:
        frame = self._frames[index]
        frame.memory_before = self._state_before(index, self._memory, "sky", "memory")
        frame.measured = self._submit(
            "measure", index, remote.measure, self.recipe, frame.begun, frame.memory_before
        )
        after = self._submit("memory", index, remote.memory_after, frame.measured)
        self._measuring = True
        self.watch(after, self, "memory", index)

    def _picture(self, index: int) -> None:
        frame = self._frames[index]
        tone = self._state_before(index, self._tone, "tone")
        frame.pictured = self._submit(
            "picture", index, remote.picture, self.recipe, frame.measured, tone, frame.memory_before
        )
        after = self._submit("tone", index, remote.tone_after, frame.pictured)
        stored = self._submit("store", index, remote.store, self.recipe, frame.pictured, retries=1)
        self._picturing = True
        self.watch(after, self, "tone", index)
        self.watch(stored, self, "stored", index)

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
        function: Callable[..., Any],
        *arguments: Any,
        retries: int = 0,
    ) -> Future:
        return self.client.submit(
            function,
            *arguments,
            key=f"again-{stage}-{self.tag}-{index:06d}",
            pure=False,
            retries=retries,
            priority=self.priority - index,
        )
