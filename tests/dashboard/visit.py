"""One visit to a page in Chromium: what it logs, asks for and shows."""

from __future__ import annotations

import json
import time
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import BrowserContext, Error, Page

DESKTOP, PHONE = (1440, 900), (390, 844)
SETTLED = (
    "document.body?.dataset.ready === 'yes' && !document.querySelector('[aria-busy]')"
    " && !document.querySelector('.state[data-kind=loading]')"
)


class Visit:
    """A page with its console errors, uncaught exceptions, and every address it asked for."""

    def __init__(self, context: BrowserContext, base: str, size: tuple[int, int] = DESKTOP) -> None:
        self.base = base
        self.page: Page = context.new_page()
        self.resize(size)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on(
            "console",
            lambda m: (
                self.errors.append(f"{m.text} {m.location.get('url', '')}")
                if m.type in ("error", "warning")
                else None
            ),
        )
        self.page.on("pageerror", lambda e: self.errors.append(f"{e} {e.stack}"))
        self.page.on("request", lambda r: self.requests.append(r.url))

    def resize(self, size: tuple[int, int]) -> None:
        self.page.set_viewport_size({"width": size[0], "height": size[1]})

    def open(self, path: str, settled: str = SETTLED) -> Visit:
        self.page.goto(self.base + path, wait_until="domcontentloaded")
        self.until(settled)
        return self

    def run(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)

    def until(self, script: str, timeout_s: float = 25.0) -> Any:
        """Wait until a script answers something true (Playwright's own waiting needs eval)."""
        give_up = time.monotonic() + timeout_s
        while not (value := self._now(script)):
            assert time.monotonic() < give_up, f"never true: {script}\n{self.text()[:1500]}"
            self.page.wait_for_timeout(40)
        return value

    def _now(self, script: str) -> Any:
        try:
            return self.page.evaluate(script)
        except Error as error:
            if "context was destroyed" in error.message:
                return None  # on the way to another page
            raise

    def text(self, selector: str = "body") -> str:
        return str(self.run("s => document.querySelector(s)?.innerText ?? ''", selector))

    def foreign(self) -> list[str]:
        """Requests to anybody but this service."""
        return [u for u in self.requests if not u.startswith((self.base, "data:", "blob:"))]

    def violations(self, within: str = "html") -> list[str]:
        """What axe finds, in words."""
        self.run(AXE_SCRIPT)
        found = self.run(
            "within => axe.run(within, {preload: false, resultTypes: ['violations']})", within
        )["violations"]
        return [
            f"{v['id']}: {node['target']} {json.dumps(node['html'])[:160]}"
            for v in found
            for node in v["nodes"]
        ]

    def too_wide(self) -> int:
        return int(self.run("document.documentElement.scrollWidth - innerWidth"))

    def close(self) -> None:
        self.page.close()
