"""One long-lived connection to an INDIGO server: follow its properties, change them, wait.

Knows the protocol, not cameras. A reader task drains the socket at all times, because a client
that stops reading stalls every other client of the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from allsky360.camera.errors import (
    BadProperty,
    CameraAlert,
    CameraError,
    CameraTimeout,
    DeviceGone,
    DroppedRequest,
    NotConnected,
    ServerGone,
)
from allsky360.camera.indigo.dialect import Dialect, IndigoDialect
from allsky360.camera.indigo.properties import Change, Item, Property, PropertyStore
from allsky360.camera.indigo.wire import Value

T = TypeVar("T")
Listener = Callable[[Change], None]

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
CHANGE_TIMEOUT_S = 10.0
RECONNECT_PAUSE_S = 2.0
"""A server may close a fresh connection that follows an old one too soon (section 1.1)."""
MISMATCH_GRACE_S = 1.0
RELATIVE_TOLERANCE = 1e-5  # older servers print six significant digits

_left: dict[tuple[str, int], float] = {}


def close_enough(a: float, b: float) -> bool:
    """Whether two numbers are the same after the server printed one of them."""
    return math.isclose(a, b, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-9)


class IndigoClient:
    """A connection to one server.

    Parameters
    ----------
    host, port
        Where the server listens.
    name
        What we call ourselves.
    speak
        Makes the dialect of each connection.
    """

    def __init__(
        self,
        host: str,
        port: int = 7624,
        *,
        name: str = "allsky360",
        speak: Callable[[], Dialect] = IndigoDialect,
    ) -> None:
        self.host, self.port, self.name = host, port, name
        self._speak = speak
        self.dialect = speak()
        self.store = PropertyStore()
        self.last_change = 0.0
        self._listeners: list[Listener] = []
        self._writer: asyncio.StreamWriter | None = None
        self._reader_task: asyncio.Task[None] | None = None
        self._gone: CameraError | None = None
        self._wake = asyncio.Event()
        self._asked: set[tuple[str, str]] = set()

    @property
    def where(self) -> str:
        """The address as people write it."""
        return f"{self.host}:{self.port}"

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return self._writer is not None and self._gone is None

    async def connect(self) -> None:
        """Open the connection and ask for all definitions.

        Waits until at least 2 s have passed since this process last left the same server.

        Raises
        ------
        ServerGone
            The server cannot be reached.
        """
        await self.close()
        pause = _left.get((self.host, self.port), -math.inf) + RECONNECT_PAUSE_S - time.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(self.host, self.port)
        except (OSError, TimeoutError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "no answer"
            raise ServerGone(
                f"no {self.dialect.family} server at {self.where}: {reason}.",
                mend="Start the server, or mend camera.host and camera.port in the settings.",
            ) from error
        _keep_alive(writer.get_extra_info("socket"))
        self.store = PropertyStore()
        self.dialect = self._speak()
        self._asked = set()
        self._gone = None
        self._writer = writer
        name = f"{self.dialect.family} {self.where}"
        self._reader_task = asyncio.create_task(self._read(reader), name=name)
        self.ask()

    async def close(self) -> None:
        """Leave the server. Safe to call twice."""
        task, writer = self._reader_task, self._writer
        self._reader_task = self._writer = None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if writer is not None:
            _left[(self.host, self.port)] = time.monotonic()
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 2.0)
        if self._gone is None:
            self._gone = NotConnected(f"the connection to {self.where} is closed.")
        self._wake.set()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` after every message; return a function that ends that."""
        self._listeners.append(listener)

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop

    def ask(self, device: str = "", name: str = "") -> None:
        """Ask for definitions: all, of one device, or of one property; waits for nothing."""
        self.send(self.dialect.ask(self.name, device, name))

    def request(self, kind: str, device: str, name: str, values: Mapping[str, Value]) -> None:
        """Request a change and wait for nothing."""
        self.send(self.dialect.change(kind, device, name, values))

    def send(self, line: bytes) -> None:
        """Queue one encoded message."""
        self.check()
        assert self._writer is not None
        self._writer.write(line)

    def check(self) -> None:
        """Raise what ended the connection, if it has ended."""
        if self._gone is not None:
            raise self._gone
        if self._writer is None:
            raise NotConnected(f"not connected to {self.where}.")

    async def wait_for(self, condition: Callable[[], T | None], timeout_s: float, what: str) -> T:
        """Wait until ``condition`` gives something other than None or False.

        It is asked after every message, also where several arrive in one piece, and may raise.

        Raises
        ------
        CameraTimeout
            Naming ``what`` did not happen within ``timeout_s`` wall seconds.
        ServerGone
            The connection ended meanwhile.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def look(_: Change | None = None) -> None:
            if done.done():
                return
            try:
                result = condition()
            except CameraError as error:
                done.set_exception(error)
                return
            if result is not None and result is not False:
                done.set_result(result)

        look()
        if not done.done():
            self.check()
        stop = self.listen(look)
        gone = asyncio.create_task(self._until_gone())
        try:
            both: set[asyncio.Future[Any]] = {done, gone}
            await asyncio.wait(both, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if done.done():
                return done.result()
            self.check()
            raise CameraTimeout(f"{what} did not happen within {timeout_s:g} s at {self.where}.")
        finally:
            stop()
            gone.cancel()
            if not done.done():
                done.cancel()

    async def quiet(self, for_s: float = 0.4, timeout_s: float = 5.0) -> None:
        """Wait until no message has come for ``for_s``: the end of a definition stream."""
        end = time.monotonic() + timeout_s
        while (now := time.monotonic()) < end:
            self.check()
            left = self.last_change + for_s - now
            if left <= 0:
                return
            await asyncio.sleep(min(left, end - now))

    def require(self, device: str, name: str) -> Property:
        """Return a property that must be defined."""
        prop = self.store.get(device, name)
        if prop is None:
            raise BadProperty(f"{device!r} has no property {name}.")
        return prop

    async def change(
        self,
        device: str,
        name: str,
        values: Mapping[str, Value],
        *,
        timeout_s: float = CHANGE_TIMEOUT_S,
        accept_busy: bool = False,
    ) -> Property:
        """Set items of a property and wait until the server has done it.

        Numbers are clamped to the defined limits. Nothing is sent when the values stand already,
        since newer servers do not answer then. The property returned holds what the camera took,
        which may differ from what was asked.

        Parameters
        ----------
        values
            Item name to value; for a one-of-many switch only the item to switch on.
        accept_busy
            Return at the first reply, also Busy (set points that take minutes to reach).

        Raises
        ------
        BadProperty
            No such property or item, read-only, or a value of the wrong kind.
        CameraAlert
            The camera refused.
        DroppedRequest, CameraTimeout
            No reply at all; none that ended in Ok.
        """
        prop = self.require(device, name)
        wanted = {item: _checked(prop, item, value) for item, value in values.items()}
        if prop.state in ("Ok", "Idle") and _stands(prop, wanted):
            return prop
        reply = _Reply(device, name, wanted, accept_busy)
        stop = self.listen(lambda change: reply.take(change, self.store.get(device, name)))
        try:
            self.request(prop.kind, device, name, wanted)
            await self._answered(reply, timeout_s)
        finally:
            stop()
        return self.require(device, name)

    async def _answered(self, reply: _Reply, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        what = f"{reply.device}.{reply.name}"
        while True:
            try:
                await self.wait_for(reply.done, _left_until(end, reply.mismatch_at), what)
                return
            except CameraTimeout as error:
                if reply.mismatch_at is not None and not reply.busy:
                    return  # Ok with other values: the camera's answer, to be read back
                if not reply.answered:
                    raise DroppedRequest(
                        f"the server ignored the request to set {what}.",
                        mend="Another client may hold the camera.",
                    ) from error
                if time.monotonic() >= end:
                    raise CameraTimeout(
                        f"{what} is still Busy {timeout_s:g} s after it was set."
                    ) from error

    async def _read(self, reader: asyncio.StreamReader) -> None:
        stream = self.dialect
        reason = "it closed the connection"
        try:
            while data := await reader.read(1 << 16):
                for message in stream.feed(data):
                    change = self.store.apply(message)
                    if change is not None:
                        self._tell(change)
        except OSError as error:
            reason = str(error)
        except Exception as error:  # nobody reads on: whoever waits must be told
            log.exception("reading from %s failed unexpectedly", self.where)
            reason = f"reading from it failed: {type(error).__name__}: {error}"
        if stream.skipped:
            log.warning("%s sent %d messages that could not be read", self.where, stream.skipped)
        self._gone = ServerGone(
            f"the {stream.family} server {self.where} is gone: {reason}.",
            mend="Check that it runs.",
        )
        self._wake.set()

    def _tell(self, change: Change) -> None:
        self.last_change = time.monotonic()
        if change.kind == "message":
            log.info("%s: %s", change.device or self.where, change.message)
        elif not change.known and change.kind == "set":
            self._ask_once(change.device, change.name)
        for listener in tuple(self._listeners):
            listener(change)

    def _ask_once(self, device: str, name: str) -> None:
        if device and name and (device, name) not in self._asked and len(self._asked) < 1000:
            self._asked.add((device, name))
            with contextlib.suppress(CameraError):  # names the wire cannot carry back
                self.ask(device, name)

    async def _until_gone(self) -> None:
        while self._gone is None:
            self._wake.clear()
            await self._wake.wait()


class _Reply:
    """Follows one property until a request on it is answered."""

    def __init__(
        self, device: str, name: str, wanted: Mapping[str, Value], accept_busy: bool
    ) -> None:
        self.device, self.name, self.wanted, self.accept_busy = device, name, wanted, accept_busy
        self.answered = False
        self.busy = False
        self.mismatch_at: float | None = None
        self.error: CameraError | None = None
        self._done = False

    def take(self, change: Change, prop: Property | None) -> None:
        """Look at one message after the request was sent."""
        if change.device != self.device or change.name not in ("", self.name):
            return
        if change.kind == "delete" and not change.name:
            self.error = DeviceGone(f"{self.device!r} was removed while {self.name} was set.")
        if change.kind not in ("set", "def") or prop is None:
            return
        self.answered = True
        self.busy = prop.state == "Busy"
        if prop.state == "Alert":
            self.error = CameraAlert(
                f"{self.device!r} refuses {self.name} = {dict(self.wanted)}"
                + (f": {change.message}." if change.message else ".")
            )
        elif self.busy:
            self._done = self.accept_busy
        elif _matches(prop, self.wanted):
            self._done = True
        elif self.mismatch_at is None:
            self.mismatch_at = time.monotonic()

    def done(self) -> bool:
        """Whether the request was carried out; raises when it was refused."""
        if self.error is not None:
            raise self.error
        return self._done


def _left_until(end: float, mismatch_at: float | None) -> float:
    if mismatch_at is not None:
        end = min(end, mismatch_at + MISMATCH_GRACE_S)
    # look again soon enough to notice a mismatch that comes while we wait
    return max(0.0, min(end - time.monotonic(), MISMATCH_GRACE_S))


def _checked(prop: Property, item_name: str, value: Value) -> Value:
    what = f"{prop.device}.{prop.name}"
    if not prop.writable:
        raise BadProperty(f"{what} is read-only.")
    item = prop.items.get(item_name)
    if item is None:
        known = ", ".join(prop.items)
        raise BadProperty(f"{what} has no item {item_name!r}.", mend=f"It has: {known}.")
    if prop.kind == "Switch":
        if not isinstance(value, bool):
            raise BadProperty(f"{what}.{item_name} is a switch and cannot be {value!r}.")
        return value
    if prop.kind == "Text":
        if not isinstance(value, str):
            raise BadProperty(f"{what}.{item_name} is text and cannot be {value!r}.")
        return value
    if isinstance(value, (bool, str)) or not math.isfinite(value):
        raise BadProperty(f"{what}.{item_name} is a number and cannot be {value!r}.")
    return clamp(item, float(value))


def clamp(item: Item, value: float) -> float:
    """Bring a number within the item's limits, as the server would without a word."""
    if item.minimum is not None:
        value = max(value, item.minimum)
    if item.maximum is not None:
        value = min(value, item.maximum)
    return value


def _stands(prop: Property, wanted: Mapping[str, Value]) -> bool:
    return all(_has(prop.items.get(name), value) for name, value in wanted.items())


def _matches(prop: Property, wanted: Mapping[str, Value]) -> bool:
    return all(
        _has(prop.items.get(name), value) or _aims_at(prop.items.get(name), value)
        for name, value in wanted.items()
    )


def _has(item: Item | None, value: Value) -> bool:
    if item is None:
        return False
    if isinstance(value, (bool, str)):
        return item.value == value
    return close_enough(item.number, value)


def _aims_at(item: Item | None, value: Value) -> bool:
    if item is None or item.target is None or isinstance(value, (bool, str)):
        return False
    return close_enough(item.target, value)


def _keep_alive(sock: socket.socket | None) -> None:
    """Let the kernel notice a dead peer in about a minute; there is no protocol-level ping."""
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
