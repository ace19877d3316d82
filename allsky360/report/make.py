"""Make the night report and announce it as a product."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import cv2
import numpy as np

from allsky360 import __version__
from allsky360.archive import Archive, FrameRef
from allsky360.archive.durable import make_folder, write_atomic
from allsky360.archive.errors import archive_error
from allsky360.archive.products import (
    FramesUsed,
    LeftOut,
    ProductFile,
    ProductRecord,
    products_folder,
    read_products,
    write_product,
)
from allsky360.config import Settings
from allsky360.net import netloc
from allsky360.products.due import REPORT
from allsky360.report.gather import NightFacts, gather
from allsky360.report.page import report_markdown, report_page
from allsky360.report.plots import night_plot
from allsky360.report.statistics import statistics

PICTURE_PX = 520
"""Longer side of a picture on the page."""


@dataclass(frozen=True)
class MadeReport:
    """The product's record, and the report for Prefect's UI."""

    record: ProductRecord
    markdown: str


def make_report(
    archive: Archive,
    camera: str,
    night: date,
    settings: Settings,
    *,
    now: datetime,
    failed: Mapping[str, str] | None = None,
) -> MadeReport:
    """Write ``report.html`` and ``report.png`` beside the night's other products.

    Parameters
    ----------
    archive
        Where the night lies.
    camera, night
        Which night; ``camera`` is a slug.
    settings
        The whole tree.
    now
        UTC, of the installation's clock.
    failed
        Products that could not be made, and why.

    Raises
    ------
    AllskyError
        The night has no frame, or the disk refuses.
    """
    facts = gather(archive, camera, night, settings, now)
    failed = dict(failed or {})
    products = [
        p for p in read_products(archive.root, camera, night, facts.version) if p.name != REPORT
    ]
    complete = now >= facts.times.ends and facts.processed == facts.raw and not failed
    numbers = statistics(facts)
    plot = night_plot(facts)
    page = report_page(facts, numbers, plot, _pictures(archive, facts), products, failed, complete)
    folder = products_folder(archive.root, camera, night, facts.version)
    try:
        make_folder(folder)
        write_atomic(folder / "report.png", plot, sync=False)
        write_atomic(folder / "report.html", page.encode(), sync=False)
    except OSError as error:
        raise archive_error(error, folder) from error
    record = write_product(archive.root, _record(facts, failed, numbers, complete, now, plot))
    markdown = report_markdown(facts, numbers, products, failed, _base_url(settings))
    return MadeReport(record, markdown)


def _record(
    facts: NightFacts,
    failed: Mapping[str, str],
    numbers: Mapping[str, str],
    complete: bool,
    now: datetime,
    plot: bytes,
) -> ProductRecord:
    drawn = np.asarray(cv2.imdecode(np.frombuffer(plot, np.uint8), cv2.IMREAD_GRAYSCALE))
    height, width = drawn.shape
    taken = [i for i in range(facts.raw) if i not in facts.unprocessed]
    return ProductRecord(
        kind="report",
        name=REPORT,
        title="Night report",
        camera=facts.camera,
        night=facts.night,
        version=facts.version,
        created_at=now,
        complete=complete,
        files=(
            ProductFile("report.html", "main", "text/html"),
            ProductFile("report.png", "preview", "image/png", width=width, height=height),
        ),
        frames=FramesUsed(
            len(taken),
            taken[0] if taken else None,
            taken[-1] if taken else None,
            tuple(LeftOut(i, why) for i, why in facts.unprocessed.items()),
        ),
        parameters={
            "counts": {"raw": facts.raw, "processed": facts.processed},
            "failed": dict(failed),
            "numbers": dict(numbers),
        },
        provenance={"software": f"allsky360 {__version__}"},
    )


def _pictures(archive: Archive, facts: NightFacts) -> list[tuple[str, bytes]]:
    found = []
    for index in facts.best:
        ref = FrameRef(facts.camera, facts.night, index)
        path = archive.picture(ref)
        pixels = None if path is None else cv2.imread(os.fspath(path))
        if pixels is None:
            continue
        scale = min(1.0, PICTURE_PX / max(pixels.shape[:2]))
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 88])
        if done:
            found.append((_caption(facts, index), data.tobytes()))
    return found


def _caption(facts: NightFacts, index: int) -> str:
    words = [f"{facts.time[index].astype(datetime):%H:%M} UTC, frame {index}"]
    depth = facts.column("limiting_mag")[index]
    if np.isfinite(depth):
        words.append(f"to {depth:.1f} mag")
    cloud = facts.column("cloud_fraction")[index]
    if np.isfinite(cloud):
        words.append(f"{100 * cloud:.0f} % cloud")
    return ", ".join(words)


def _base_url(settings: Settings) -> str:
    """Address of the read service, as a browser on this machine finds it."""
    host = settings.api.host
    if host in ("0.0.0.0", "::", ""):
        import socket

        host = socket.getfqdn()
    return f"http://{netloc(host, settings.api.port)}"
