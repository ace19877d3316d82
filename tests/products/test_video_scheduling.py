"""An encoder must not make the process real-time: the camera's owner would starve."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# A process of its own: what an encoder does to the scheduling of one stays.
PROGRAM = """
import os
from pathlib import Path

import av
import numpy as np

from allsky360.products.video.plan import opens
from allsky360.products.video.scheduling import as_scheduled

def policies():
    return {os.sched_getscheduler(int(t.name)) for t in Path("/proc/self/task").iterdir()}

for task in Path("/proc/self/task").iterdir():
    os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))
assert opens("libsvtav1")
assert policies() == {os.SCHED_OTHER}, "tried out"
context = av.CodecContext.create("libsvtav1", "w")
context.width, context.height, context.pix_fmt, context.framerate = 96, 96, "yuv420p", 25
with as_scheduled():
    context.open()
frame = av.VideoFrame.from_ndarray(np.zeros((96, 96, 3), np.uint8), format="rgb24")
assert [*context.encode(frame.reformat(format="yuv420p")), *context.encode(None)]
assert policies() == {os.SCHED_OTHER}, "used"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is given real-time priority")
def test_svt_av1_leaves_the_scheduling_alone() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
