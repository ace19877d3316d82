"""End a flow run that hangs, whatever it hangs in.

Prefect's own time limit interrupts Python code; a run that hangs in a library, on a disk or in
Prefect itself would keep its place of the deployment's limit for ever, and no later run would be
started. The interpreter's watchdog is a thread that needs no lock of it.
"""

from __future__ import annotations

import faulthandler
import os

HOUR_S = 3600.0
OWN_PROCESS = "PREFECT__FLOW_RUN_ID"
"""Set by a runner in the process that it starts for a run."""


def end_if_hung(limit_s: float) -> None:
    """End this process after ``limit_s`` with status 1, every thread's stack on standard error.

    Called again it counts anew: with every piece of work. The runner calls such a run Crashed, and
    the next one goes on where it was: every flow can be run again. Nothing where the process is not
    the run's own, as in a notebook or a test.
    """
    if OWN_PROCESS in os.environ:
        faulthandler.dump_traceback_later(limit_s, exit=True, file=2)
