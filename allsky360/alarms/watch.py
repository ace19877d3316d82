"""The watch: looks, keeps the ledger, tells people, and feeds the MQTT broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import ssl
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiomqtt

from allsky360 import systemd
from allsky360.alarms import home, ledger
from allsky360.alarms.looking import look_at
from allsky360.alarms.notify import NotifyError, addresses
from allsky360.alarms.outbox import Outbox
from allsky360.alarms.troubles import Look, Trouble, troubles
from allsky360.api.condition import stale_after_s
from allsky360.archive import Archive
from allsky360.archive.durable import write_atomic
from allsky360.config import Settings
from allsky360.config_alarms import MqttSettings
from allsky360.errors import AllskyError
from allsky360.logs import set_up_logging
from allsky360.supervisor.pulse import pulse_of

log = logging.getLogger(__name__)

EVERY_S = 10.0
AGAIN_S = 30.0
HANGS_S = 120.0  # a look waits for several servers, each with a time limit of its own
FILE = "alarms.json"


class Watch:
    """Watches one installation.

    Parameters
    ----------
    settings
        The whole tree.
    every_s
        Pause between two looks.
    """

    def __init__(self, settings: Settings, *, every_s: float = EVERY_S) -> None:
        self._settings = settings
        self._every_s = every_s
        self._archive = Archive(settings.storage.root)
        self._file = settings.storage.root / FILE
        a = settings.alarms
        self._rules = ledger.Rules(
            timedelta(seconds=a.hold_s),
            timedelta(hours=a.remind_h) if a.remind_h else None,
            a.quiet_from_utc,
            a.quiet_until_utc,
        )
        self._outbox = Outbox(addresses(a.notify_file) if a.notify_file is not None else [])
        self._known = _read(self._file)
        self._looked = time.monotonic()
        self._news: asyncio.Queue[tuple[str, Look, list[Trouble]]] = asyncio.Queue(1)

    async def run(self) -> None:
        """Watch until cancelled; nothing that is seen or cannot be reached ends it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look())
            if self._settings.alarms.mqtt.host:
                group.create_task(self._feed())

    def looks(self) -> bool:
        """Whether it still looks; from any thread."""
        return time.monotonic() - self._looked < HANGS_S + self._every_s

    async def look_once(self) -> list[Trouble]:
        """Look, tell what is to be told, and return what is wrong."""
        camera, seen = await asyncio.to_thread(look_at, self._settings, self._archive)
        found = troubles(seen, self._settings.alarms, stale_after_s(self._settings))
        known, message = ledger.update(self._known, found, seen.now, self._rules)
        if message is not None:
            log.warning("%s: %s", message.title, message.body.replace("\n", " "))
        if known != self._known:
            self._known = known
            self._keep()
        await asyncio.to_thread(self._outbox.send, message, seen.now, time.monotonic())
        if self._news.full():
            self._news.get_nowait()  # the broker is away: only the newest counts
        self._news.put_nowait((camera, seen, found))
        return found

    async def _look(self) -> None:
        while True:
            try:
                await self.look_once()
            except Exception:  # the watch must outlive whatever it sees
                log.exception("a look at the system failed")
            self._looked = time.monotonic()
            await asyncio.sleep(self._every_s)

    def _keep(self) -> None:
        """Remember what was told, so that a restart tells nothing twice."""
        try:
            content = json.dumps(ledger.to_json(self._known), indent=1)
            write_atomic(self._file, content.encode(), sync=False)
        except OSError as error:  # a full disk is itself among the troubles
            log.warning("%s: %s", self._file, error)

    async def _feed(self) -> None:
        """Keep the broker informed; come back when it does."""
        mqtt = self._settings.alarms.mqtt
        while True:
            try:
                camera, look, found = await self._news.get()
                topics = home.Topics.of(mqtt, camera)
                async with _broker(mqtt, topics) as client:
                    log.info("MQTT broker %s:%d takes our messages", mqtt.host, mqtt.port)
                    for topic, content in home.discovery(topics, camera).items():
                        await client.publish(topic, content, qos=1, retain=True)
                    await client.publish(topics.status, "online", qos=1, retain=True)
                    while home.Topics.of(mqtt, camera) == topics:
                        await client.publish(topics.state, home.state(look), retain=True)
                        await client.publish(topics.alarms, home.alarms(found), retain=True)
                        camera, look, found = await self._news.get()
            except (aiomqtt.MqttError, OSError) as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():  # what the library made of our end
                    raise asyncio.CancelledError from error
                log.warning("MQTT broker %s:%d: %s", mqtt.host, mqtt.port, error)
                await asyncio.sleep(min(AGAIN_S, 3 * self._every_s))


@contextlib.asynccontextmanager
async def _broker(mqtt: MqttSettings, topics: home.Topics) -> AsyncIterator[aiomqtt.Client]:
    """Connect; the broker says "offline" for us when we are gone without a word."""
    will = aiomqtt.Will(topics.status, "offline", qos=1, retain=True)
    async with aiomqtt.Client(
        mqtt.host,
        mqtt.port,
        username=mqtt.username or None,
        password=_password(mqtt),
        tls_context=ssl.create_default_context() if mqtt.tls else None,
        will=will,
        timeout=10,
    ) as client:
        try:
            yield client
        finally:
            with contextlib.suppress(aiomqtt.MqttError):
                await client.publish(topics.status, "offline", qos=1, retain=True)


def _password(mqtt: MqttSettings) -> str | None:
    if mqtt.password_file is None:
        return None
    return mqtt.password_file.read_text(encoding="utf-8").strip()


def _read(file: Path) -> dict[str, ledger.Known]:
    try:
        return ledger.from_json(json.loads(file.read_bytes()))
    except (OSError, ValueError):
        return {}


def wanted(settings: Settings) -> bool:
    """Whether anybody is to be told of anything."""
    return settings.alarms.notify_file is not None or bool(settings.alarms.mqtt.host)


def run(settings: Settings) -> None:
    """Run the watch until SIGTERM or SIGINT.

    Raises
    ------
    NotifyError
        The file of addresses cannot be read.
    """
    set_up_logging("watch", settings.logging.format)
    for name in ("httpx", "apprise"):
        logging.getLogger(name).setLevel(logging.WARNING)
    password = settings.alarms.mqtt.password_file
    if password is not None and not password.is_file():
        raise AllskyError(f"{password} does not exist.", mend="Correct alarms.mqtt.password_file.")
    watch = Watch(settings)

    systemd.give_signs(watch.looks)

    async def serve() -> None:
        pulse = await pulse_of(settings, "watch", watch.looks)
        task = asyncio.ensure_future(watch.run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if pulse is not None:
            pulse.close()

    asyncio.run(serve())


__all__ = ["NotifyError", "Watch", "run", "wanted"]
