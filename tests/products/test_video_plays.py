"""The videos in a browser, as people watch them: they start, seek and run to the end."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from allsky360.products.video.looks import Plain
from allsky360.products.video.make import make_video
from tests.products.test_video import HEIGHT, WIDTH, plan_of, write

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")

WATCH = """async (address) => {
  const video = document.createElement('video');
  video.muted = true;
  video.src = address;
  const loaded = new Promise((good, bad) => {
    video.onloadeddata = good;
    video.onerror = () => bad(new Error(video.error.message));
  });
  await loaded;
  const seeks = [];
  for (const share of [0.7, 0.1, 0.9, 0]) {
    video.currentTime = share * video.duration;
    await new Promise(good => { video.onseeked = good; });
    seeks.push(video.currentTime / video.duration);
  }
  video.playbackRate = 4;
  const ended = new Promise(good => { video.onended = good; });
  await video.play();
  await ended;
  return [video.duration, video.videoWidth, video.videoHeight, seeks];
}"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Serve the folder with ranges, as the API does."""

    class Files(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = tmp_path / Path(self.path).name
            data = path.read_bytes() if path.suffix == ".mp4" else b"<title>video</title>"
            asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            first = int(asked[1]) if asked else 0
            last = int(asked[2]) if asked and asked[2] else len(data) - 1
            self.send_response(206 if asked else 200)
            kind = "video/mp4" if path.suffix == ".mp4" else "text/html"
            self.send_header("Content-Type", kind)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(last - first + 1))
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            self.end_headers()
            self.wfile.write(data[first : last + 1])

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_chromium_plays_seeks_and_ends(tmp_path: Path, address: str) -> None:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    shots = write(tmp_path / "in", 50)
    for codec in ("h264", "av1"):
        make_video(shots, plan_of(codec, pieces=20), Plain, tmp_path / f"{codec}.mp4")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{address}/page.html")
        for codec in ("h264", "av1"):
            seconds, width, height, seeks = page.evaluate(WATCH, f"{address}/{codec}.mp4")
            assert seconds == pytest.approx(2.0, abs=0.001)
            assert (width, height) == (WIDTH, HEIGHT)
            assert seeks == pytest.approx([0.7, 0.1, 0.9, 0.0], abs=0.02)
        browser.close()
