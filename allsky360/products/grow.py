"""Growing a night's products: frames in order, each decoded once, handed to every grower."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

from allsky360 import __version__
from allsky360.archive import FrameRecord
from allsky360.archive.durable import TryLock, make_folder
from allsky360.archive.products import (
    ProductRecord,
    products_folder,
    read_product,
    state_folder,
    write_product,
)
from allsky360.config import Settings, clock_from
from allsky360.errors import AllskyError
from allsky360.imaging.parameters import parameters_from
from allsky360.products.frame import ProductFrame
from allsky360.products.grower import Draft, Grower, NightContext, shown_from
from allsky360.products.source import NightFrames
from allsky360.products.state import GrowerState, drop_old_states, fingerprint

log = logging.getLogger(__name__)

ERRORS_IN_A_ROW = 5
"""Frames in a row that may raise before a grower is given up for this run."""


class ProductsBusy(AllskyError):
    """Another process grows the products of this night."""


@dataclass
class GrowReport:
    """What :func:`grow_night` did.

    Attributes
    ----------
    products
        Records announced, or found finished already.
    failed
        Growers that were given up, by name, with the reason; what they announced before stays.
    offered
        Frames read and handed to growers in this run.
    unusable
        Frames whose picture or record could not be read, with the reason.
    waiting
        Frames that are not processed.
    complete
        Whether the night was over and every frame processed.
    seconds
        Wall time of this run.
    """

    products: list[ProductRecord] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    offered: int = 0
    unusable: dict[int, str] = field(default_factory=dict)
    waiting: int = 0
    complete: bool = False
    seconds: float = 0.0


Progress = Callable[[int, int], None]
"""Called with the number of frames done and known."""


def grow_night(
    root: Path,
    camera: str,
    night: date,
    settings: Settings,
    *,
    growers: Sequence[Grower],
    version: str | None = None,
    until: datetime | None = None,
    closed: bool | None = None,
    anew: bool = False,
    progress: Progress | None = None,
    poll_s: float = 2.0,
) -> GrowReport:
    """Bring the products of a night up to its newest frame.

    Frames go in by their number, whatever order they were processed in. One that is not processed
    yet is waited for until ``products.wait_frames`` later ones are, then passed over; when it comes
    after all, growers that can take it late do. State is kept on disk: killed at any moment, the
    next run goes on and ends with the same result.

    Parameters
    ----------
    root, camera, night
        Of the archive; ``camera`` is a slug.
    settings
        The whole tree.
    growers
        What is to grow; see :func:`allsky360.products.registry.growers_for`.
    version
        Version of the processed frames; None takes the night's current one.
    until
        Instant (of the settings' clock) until which more frames are waited for; None takes what is
        there and returns.
    closed
        Whether the night is over, so that no raw frame will follow; None: after the night's noon.
    anew
        Forget what grew before.
    progress
        Called after every frame.
    poll_s
        Pause before looking for more frames.

    Raises
    ------
    ProductsBusy
        Another process does it already.
    AllskyError
        The archive cannot be read, or the state cannot be written.
    """
    begin = time.monotonic()
    frames = NightFrames(root, camera, night, version or NightFrames.current(root, camera, night))
    folder = products_folder(root, camera, night, frames.version)
    state = state_folder(root, camera, night, frames.version)
    make_folder(state)
    try:
        lock = TryLock(state / "lock")
    except BlockingIOError as error:
        raise ProductsBusy(
            f"another process grows the products of {camera}, {night.isoformat()}.",
            mend="Wait for it, or stop it.",
        ) from error
    try:
        drop_old_states(root / camera, night)
        if anew:
            frames.forget_lenses(state)
        frames.keep_lenses(state)
        context = NightContext(root, camera, night, frames.version, frames.site, settings, folder)
        run = _Run(context, frames, state, growers, anew)
        run.grow(until, closed, progress or (lambda done, known: None), poll_s)
        report = run.report
    finally:
        lock.close()
    report.seconds = time.monotonic() - begin
    return report


@dataclass
class _Growing:
    """A grower in this run."""

    grower: Grower
    state: GrowerState
    errors: int = 0
    changed: bool = False

    def offer(self, index: int, frame: ProductFrame) -> None:
        account = self.state.account
        self.changed = True
        try:
            reason = self.grower.add(frame)
        except Exception as error:  # one frame of one product, whatever it raised
            log.warning("%s: frame %d: %r", self.grower.name, index, error, exc_info=True)
            self.errors += 1
            account.left(index, _words(error))
            return
        self.errors = 0
        if reason is None:
            account.took(index)
        else:
            account.left(index, reason)


class _Run:
    def __init__(
        self,
        context: NightContext,
        frames: NightFrames,
        state: Path,
        growers: Sequence[Grower],
        anew: bool,
    ) -> None:
        self.context, self.frames = context, frames
        self.report = GrowReport()
        self.clock = clock_from(context.settings)
        self.growing: list[_Growing] = []
        self.busy_s = 0.0
        self.published = time.monotonic()
        for grower in growers:
            self._open(grower, state, anew)

    def _open(self, grower: Grower, state: Path, anew: bool) -> None:
        """Begin or go on; a state that cannot be read begins anew, a second failure gives up."""
        kept = GrowerState(state / grower.name, fingerprint(grower.name, grower.parameters))
        if anew:
            kept.forget()
        if kept.products:
            found = [self._announced(name) for name in kept.products]
            if all(found):
                self.report.products += [r for r in found if r is not None]
                return
            kept.forget()
        try:
            grower.open(self.context, kept.work, kept.saved)
        except Exception as error:  # whatever it raised, it must not cost the others
            log.warning("%s begins anew: %r", grower.name, error, exc_info=True)
            kept.forget()
            try:
                grower.open(self.context, kept.work, None)
            except Exception as again:  # noqa: BLE001
                self._give_up(grower, again)
                return
        self.growing.append(_Growing(grower, kept))

    def _announced(self, name: str) -> ProductRecord | None:
        c = self.context
        return read_product(c.root, c.camera, c.night, c.version, name)

    def _give_up(self, grower: Grower, error: Exception) -> None:
        log.error("%s is given up: %r", grower.name, error, exc_info=error)
        self.report.failed[grower.name] = _words(error)
        self.growing = [g for g in self.growing if g.grower is not grower]

    # -- the frames -------------------------------------------------------------------------------

    def grow(
        self, until: datetime | None, closed: bool | None, progress: Progress, poll_s: float
    ) -> None:
        if not self.growing:  # all were whole before
            self.report.complete = not self.report.failed
        while self.growing:
            over = closed if closed is not None else self._night_is_over()
            last_pass = until is None or self.clock.now() >= until or over
            self._take_late()
            self._take_new(bool(over), progress)
            if last_pass:
                break
            if time.monotonic() - self.published >= self.context.settings.products.publish_s:
                self._save()
                self._publish(over=False, complete=False)
            time.sleep(poll_s)
        if self.growing:
            self._save()
            waiting = self.frames.unprocessed()
            self.report.waiting = waiting
            self.report.complete = bool(over) and waiting == 0
            self._publish(over=bool(over), complete=self.report.complete)

    def _night_is_over(self) -> bool:
        site, night = self.frames.site, self.context.night
        return site is not None and self.clock.now() >= site.noon_utc(night + timedelta(days=1))

    def _take_new(self, over: bool, progress: Progress) -> None:
        start = min(g.state.account.next for g in self.growing)
        records = self.frames.records(start)
        known = start + len(records)
        for record, loaded in self._in_turn(records, over):
            begin = time.monotonic()
            index = record.ref.index
            if loaded is None:
                for g in self._wanting(index):
                    g.state.account.passed(index)
                    g.changed = True
            else:
                self._hand_out(index, loaded, self._wanting(index))
            self.busy_s += time.monotonic() - begin
            progress(index + 1, known)
            if self.busy_s >= self.context.settings.products.checkpoint_s:
                self._save()
            if not self.growing:
                return

    def _wanting(self, index: int) -> list[_Growing]:
        return [g for g in self.growing if g.state.account.next <= index]

    def _in_turn(
        self, records: Sequence[FrameRecord], over: bool
    ) -> Iterator[tuple[FrameRecord, Future[ProductFrame] | None]]:
        """Yield frames in order, the next one being decoded meanwhile; None for one passed over."""
        wait = self.context.settings.products.wait_frames
        later = sum(r.processed for r in records)
        with ThreadPoolExecutor(1, "decode") as pool:
            ahead: tuple[FrameRecord, Future[ProductFrame] | None] | None = None
            for record in records:
                later -= record.processed
                if not record.processed and not over and later <= wait:
                    break
                turn = (record, pool.submit(self.frames.load, record) if record.processed else None)
                if ahead is not None:
                    yield ahead
                ahead = turn
            if ahead is not None:
                yield ahead

    def _hand_out(self, index: int, loaded: Future[ProductFrame], to: Sequence[_Growing]) -> None:
        try:
            frame = loaded.result()
        except Exception as error:  # noqa: BLE001 - one bad frame costs one frame
            reason = _words(error)
            log.warning("frame %d is left out: %s", index, reason)
            self.report.unusable[index] = reason
            for g in to:
                g.state.account.left(index, reason)
                g.changed = True
            return
        self.report.offered += 1
        for g in to:
            g.offer(index, frame)
            if g.errors >= ERRORS_IN_A_ROW:
                last = g.state.account.left_out[index]
                self._give_up(g.grower, AllskyError(f"{g.errors} frames in a row failed: {last}"))

    def _take_late(self) -> None:
        """Hand out frames that were passed over and are processed by now."""
        passed = sorted(set().union(*(g.state.account.passed_over for g in self.growing)))
        for index in passed:
            record = next(iter(self.frames.records(index, index + 1)), None)
            if record is None or not record.processed:
                continue
            to = [g for g in self.growing if index in g.state.account.passed_over]
            late = [g for g in to if g.grower.takes_late]
            for g in to:
                if not g.grower.takes_late:
                    g.state.account.left(index, "it was processed too late, after later frames")
                    g.changed = True
            if late:
                loaded: Future[ProductFrame] = Future()
                try:
                    loaded.set_result(self.frames.load(record))
                except AllskyError as error:
                    loaded.set_exception(error)
                self._hand_out(index, loaded, late)

    # -- what is kept and shown -------------------------------------------------------------------

    def _save(self) -> None:
        self.busy_s = 0.0
        self.frames.keep_lenses()
        for g in list(self.growing):
            if not g.changed:
                continue
            try:
                g.state.save(g.grower.save)
                g.changed = False
            except Exception as error:  # noqa: BLE001 - the others are saved all the same
                self._give_up(g.grower, error)

    def _publish(self, *, over: bool, complete: bool) -> None:
        self.published = time.monotonic()
        for g in list(self.growing):
            shown = None if over else self._good_enough(g)
            if shown is not None:
                self._list([shown])
                continue
            try:
                drafts = g.grower.finish(complete=complete)
                written = [
                    write_product(self.context.root, self._record(draft, g, complete))
                    for draft in drafts
                ]
                if complete and written:
                    g.state.close(tuple(r.name for r in written))
            except Exception as error:
                log.error("%s cannot be shown: %r", g.grower.name, error, exc_info=error)
                self.report.failed[g.grower.name] = _words(error)
                continue
            self.report.failed.pop(g.grower.name, None)
            self._list(written)

    def _list(self, shown: Sequence[ProductRecord]) -> None:
        names = {r.name for r in shown}
        kept = [r for r in self.report.products if r.name not in names]
        self.report.products = [*kept, *shown]

    def _good_enough(self, g: _Growing) -> ProductRecord | None:
        """Return what readers see of a product where it is not worth being written again."""
        factor = shown_from(g.grower)
        shown = self._announced(g.grower.name) if factor > 1.0 else None
        if shown is None or shown.provenance.get("fingerprint") != g.state.key:
            return None
        return shown if g.state.account.used < factor * shown.frames.used else None

    def _record(self, draft: Draft, g: _Growing, complete: bool) -> ProductRecord:
        c = self.context
        return ProductRecord(
            kind=draft.kind,
            name=draft.name,
            title=draft.title,
            camera=c.camera,
            night=c.night,
            version=c.version,
            created_at=self.clock.now(),
            complete=complete,
            files=draft.files,
            frames=g.state.account.frames(),
            parameters=dict(draft.parameters),
            provenance={
                "software": f"allsky360 {__version__}",
                "parameters_digest": parameters_from(c.settings).digest(),
                "fingerprint": g.state.key,
                **draft.provenance,
            },
        )


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, AllskyError) else repr(error)
