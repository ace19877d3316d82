"""Work done in a process of its own: the service keeps neither its memory nor its imports."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from allsky360.api.problems import Busy

log = logging.getLogger(__name__)

LIMIT_S = 120.0


def ask_apart(module: str, question: Mapping[str, Any], limit_s: float = LIMIT_S) -> dict[str, Any]:
    """Run ``python -m module`` with a question as JSON on its input; return the JSON it writes.

    Raises
    ------
    Busy
        It took longer than ``limit_s``; it is ended.
    RuntimeError
        It failed; what it said is logged.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=json.dumps(question).encode(),
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Busy(
            f"The answer was not there after {limit_s:.0f} s.", mend="Ask again when less is done."
        ) from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        log.error("%s ended with %d: %s", module, done.returncode, said[-2000:])
        raise RuntimeError(f"{module} ended with {done.returncode}")
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer
