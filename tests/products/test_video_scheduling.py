"""An encoder must not make the process real-time: the camera's owner would starve."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from allsky360.products.video.plan import opens
from allsky360.products.video.scheduling import as_scheduled


def policies() -> set[int]:
    return {os.sched_getscheduler(int(t.name)) for t in Path("/proc/self/task").iterdir()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is given real-time priority")
def test_svt_av1_leaves_the_scheduling_alone() -> None:
    if policies() != {os.SCHED_OTHER}:
        pytest.skip("this process is not scheduled as others are")
    opens.cache_clear()
    assert opens("libsvtav1")
    context = av.CodecContext.create("libsvtav1", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = 96, 96, "yuv420p"
    context.framerate = Fraction(25)
    with as_scheduled():
        context.open()
    picture = np.zeros((96, 96, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    assert [*context.encode(frame), *context.encode(None)]
    assert policies() == {os.SCHED_OTHER}
