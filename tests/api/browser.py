"""Drives a headless Chromium over its DevTools socket: what a page logs, asks for and shows."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import websockets

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-allow-origins=*",
    "--remote-debugging-port=0",
)


class Page:
    """One page; collects console errors, uncaught exceptions and every address asked for."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for text in self.socket:
            message = json.loads(text)
            if (waiting := self._waiting.pop(message.get("id"), None)) is not None:
                waiting.set_result(message)
            method, params = message.get("method"), message.get("params", {})
            if method == "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            elif method == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.errors.append(json.dumps(details.get("exception", details))[:500])
            elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
                self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        message = await asyncio.wait_for(answer, 20)
        assert "error" not in message, message
        return dict(message["result"])

    async def open(self, url: str, width: int = 1400, height: int = 900) -> None:
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.call(f"{domain}.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        await self.call("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        result = await self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        return result["result"].get("value")

    async def until(self, script: str, timeout_s: float = 20.0) -> Any:
        """Wait until a script answers something true."""
        async with asyncio.timeout(timeout_s):
            while not (value := await self.run(script)):
                await asyncio.sleep(0.1)
        return value

    async def screenshot(self, path: Path, *, whole: bool = True) -> None:
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    async def close(self) -> None:
        self._reader.cancel()
        await self.socket.close()


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[Page]:
    """Start Chromium with one empty page."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            mark = Path(profile) / "DevToolsActivePort"
            async with asyncio.timeout(30):
                while not mark.exists() or "\n" not in mark.read_text():
                    await asyncio.sleep(0.1)
            port = mark.read_text().splitlines()[0]
            targets = await asyncio.to_thread(_targets, port)
            address = next(t["webSocketDebuggerUrl"] for t in targets if t["type"] == "page")
            socket = await websockets.connect(address, max_size=64 * 2**20)
            page = Page(socket)
            try:
                yield page
            finally:
                await page.close()
        finally:
            process.terminate()
            process.wait(10)


def _targets(port: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as reply:
        return list(json.load(reply))
