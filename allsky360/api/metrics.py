"""The Prometheus text format (version 0.0.4): what an operator watches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import psutil

from allsky360 import __version__
from allsky360.api.condition import judge
from allsky360.api.counts import BUCKETS_S
from allsky360.api.routers.status import storage_of
from allsky360.api.service import Service

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SKY = (
    *("cloud_fraction", "sky_brightness_mag_arcsec2", "limiting_mag", "stars_detected"),
    *("fwhm_px", "temperature_c", "exposure_s", "gain", "lens_residual_px"),
)
"""Measurements of the newest processed frame that are shown."""
Sample = tuple[Mapping[str, str], float | None]


def metrics_text(service: Service, owner: Mapping[str, Any] | None) -> str:
    """Write every metric."""
    return "".join(
        itertools.chain(
            _family("allsky360_info", "gauge", "Version.", [({"version": __version__}, 1)]),
            _capture(service, owner),
            _storage(service),
            _process(service),
            _requests(service),
        )
    )


def _capture(service: Service, owner: Mapping[str, Any] | None) -> Iterator[str]:
    store, now = service.store, service.clock.now()
    captured: list[Sample] = []
    processed: list[Sample] = []
    ages: list[Sample] = []
    picture_ages: list[Sample] = []
    waiting: list[Sample] = []
    waiting_ages: list[Sample] = []
    sky: dict[str, list[Sample]] = {name: [] for name in SKY}
    newest = None
    for camera in store.cameras():
        label = {"camera": camera}
        for night in store.each(camera, store.nights(camera)[-1:]):
            captured.append((label, night.rows))
            processed.append((label, int(np.count_nonzero(night.stamps() >= 0))))
        backlog = [
            night.times()[night.stamps() < 0]
            for night in store.each(camera, store.nights(camera)[-2:])
        ]
        waiting.append((label, sum(len(times) for times in backlog)))
        oldest = min((int(times.min()) for times in backlog if len(times)), default=None)
        age = 0.0 if oldest is None else now.timestamp() - oldest / 1e6
        waiting_ages.append((label, age))
        raw, shown = store.newest(camera), store.newest(camera, processed=True)
        if raw is not None:
            ages.append((label, (now - raw.time).total_seconds()))
            newest = raw.time if newest is None else max(newest, raw.time)
        if shown is not None:
            picture_ages.append((label, (now - shown.time).total_seconds()))
            values = {**shown.scalars, "exposure_s": max(shown.exposures_s, default=math.nan)}
            for name in SKY:
                sky[name].append((label, values.get(name)))
    state = judge(now, newest, owner, service.stale_after_s).state
    states: list[Sample] = [
        ({"state": s}, float(s == state)) for s in ("live", "stale", "fault", "paused", "waiting")
    ]
    faults = (owner or {}).get("faults")
    yield from _family("allsky360_state", "gauge", "1 for the state it is in.", states)
    yield from _family("allsky360_owner_up", "gauge", "Owner answers.", [({}, owner is not None)])
    known = float(faults) if isinstance(faults, int | float) else None
    yield from _family("allsky360_owner_faults", "counter", "Camera faults.", [({}, known)])
    night_help = "Frames of the newest night"
    yield from _family("allsky360_night_frames", "gauge", f"{night_help}.", captured)
    yield from _family("allsky360_night_processed", "gauge", f"{night_help}, processed.", processed)
    help_text = "Frames of the two newest nights that wait for processing."
    yield from _family("allsky360_backlog_frames", "gauge", help_text, waiting)
    help_text = "Age of the oldest frame that waits for processing; 0 where none does."
    yield from _family("allsky360_backlog_age_seconds", "gauge", help_text, waiting_ages)
    yield from _family("allsky360_frame_age_seconds", "gauge", "Age of the newest frame.", ages)
    help_text = "Age of the newest frame with a picture."
    yield from _family("allsky360_picture_age_seconds", "gauge", help_text, picture_ages)
    for name, samples in sky.items():
        text = f"{name} of the newest processed frame."
        yield from _family(f"allsky360_{name}", "gauge", text, samples)


def _storage(service: Service) -> Iterator[str]:
    s = service.settings.storage
    disk = storage_of(s.root, s.min_free_gb)
    for name, gb in (("free", disk.free_gb), ("total", disk.total_gb)):
        value = None if gb is None else gb * 1e9
        help_text = f"Space below the archive, {name}."
        yield from _family(f"allsky360_storage_{name}_bytes", "gauge", help_text, [({}, value)])


def _process(service: Service) -> Iterator[str]:
    me = psutil.Process()
    kept = service.store.index.cache.bytes
    for name, kind, text, value in (
        ("process_resident_memory_bytes", "gauge", "Resident memory.", me.memory_info().rss),
        ("process_cpu_seconds_total", "counter", "CPU time.", sum(me.cpu_times()[:2])),
        ("process_start_time_seconds", "gauge", "Start.", me.create_time()),
        ("allsky360_index_bytes", "gauge", "Numbers kept in memory.", kept),
        ("allsky360_picture_cache_bytes", "gauge", "Pictures kept.", service.pictures.bytes),
        ("allsky360_event_readers", "gauge", "Readers of the events.", service.load.streams),
        ("allsky360_events_total", "counter", "Events announced.", service.feed.sequence),
    ):
        yield from _family(name, kind, text, [({}, value)])


def _requests(service: Service) -> Iterator[str]:
    name = "allsky360_http_request_duration_seconds"
    yield f"# HELP {name} Time until an answer began.\n# TYPE {name} histogram\n"
    sent: list[Sample] = []
    for (route, status), course in sorted(service.counts.courses.items()):
        label = {"route": route, "status": str(status)}
        total = 0
        for bound, count in zip((*BUCKETS_S, math.inf), course.buckets, strict=True):
            total += count
            le = "+Inf" if math.isinf(bound) else f"{bound:g}"
            yield f"{name}_bucket{_labels({**label, 'le': le})} {total}\n"
        yield f"{name}_sum{_labels(label)} {course.seconds:.6f}\n"
        yield f"{name}_count{_labels(label)} {total}\n"
        sent.append((label, course.bytes))
    yield from _family("allsky360_http_sent_bytes_total", "counter", "Bytes of bodies.", sent)


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    shown = [(labels, v) for labels, v in samples if v is not None and math.isfinite(v)]
    if not shown:
        return
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    for labels, value in shown:
        yield f"{name}{_labels(labels)} {float(value):.10g}\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    parts = (
        '{}="{}"'.format(k, v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
        for k, v in labels.items()
    )
    return "{" + ",".join(parts) + "}"
