"""What the camera owner says about itself: asked with a short timeout, kept a moment."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

TIMEOUT_S = 1.0
KEEP_S = 2.0
MAX_BYTES = 64 * 1024


@dataclass
class OwnerProbe:
    """Asks ``GET <url>/status``; an owner that does not answer is an answer too."""

    url: str
    keep_s: float = KEEP_S
    timeout_s: float = TIMEOUT_S
    _answer: dict[str, Any] | None = None
    _asked: float = float("-inf")
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def status(self) -> dict[str, Any] | None:
        """Return the owner's status, None when it cannot be reached."""
        async with self._lock:
            if time.monotonic() - self._asked >= self.keep_s:
                self._answer = await self._ask()
                self._asked = time.monotonic()
            return self._answer

    async def _ask(self) -> dict[str, Any] | None:
        try:
            # trust_env off: a proxy from the environment has no business with loopback. verify off:
            # it is plain HTTP, and reading the certificates would hold up the loop for 100 ms
            async with httpx.AsyncClient(
                timeout=self.timeout_s, trust_env=False, verify=False
            ) as client:
                async with asyncio.timeout(self.timeout_s * 2):
                    reply = await client.get(f"{self.url}/status")
            if reply.status_code != 200 or len(reply.content) > MAX_BYTES:
                return None
            body = reply.json()
        except (httpx.HTTPError, ValueError, TimeoutError):
            return None
        return body if isinstance(body, dict) else None
