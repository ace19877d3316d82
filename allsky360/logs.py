"""How our processes log: lines for people, or one JSON object a line for programs.

Standard library only: the Prefect server's keeper and Prefect itself load it by name.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
ENV_FORMAT = "ALLSKY360_LOGGING__FORMAT"
"""Tells the children of a process that read ``logging.format`` in the settings file."""

_adopted: list[JsonFormatter] = []


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, part, logger, message, and what there is of the rest.

    ``exception`` is the traceback; ``flow_run`` and ``task_run`` are the names of Prefect's runs.

    Parameters
    ----------
    part
        Name of the part that logs, such as ``owner``.
    """

    def __init__(self, part: str = "", *_: object, **__: object) -> None:
        # further arguments are those logging.config gives every formatter
        super().__init__()
        self.part = part

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        exception = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        return json_line(
            self.part,
            record.levelname,
            record.getMessage(),
            logger=record.name,
            at=datetime.fromtimestamp(record.created, UTC),
            exception=exception or record.stack_info,
            flow_run=getattr(record, "flow_run_name", None),
            task_run=getattr(record, "task_run_name", None),
        )


def json_line(
    part: str, level: str, message: str, *, at: datetime | None = None, **more: Any
) -> str:
    """Return one object as a line; entries that are None or empty are left out."""
    stamp = (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    entries = {"time": stamp, "level": level, "part": part, **more, "message": message}
    return json.dumps({k: v for k, v in entries.items() if v or k == "message"}, default=str)


def as_json_line(part: str, text: str, level: str = "INFO") -> str:
    """Return a line of a part's output as it is where it is one of ours, else wrapped."""
    return text if _is_ours(text) else json_line(part, level, text)


def _is_ours(text: str) -> bool:
    if not text.startswith('{"time": '):
        return False
    try:
        json.loads(text)
    except ValueError:  # cut off
        return False
    return True


def set_up_logging(part: str, form: str, level: int = logging.INFO) -> None:
    """Set up the root logger of a process.

    Parameters
    ----------
    part
        Name of the part, see :class:`JsonFormatter`.
    form
        ``logging.format`` of the settings: ``text`` or ``json``.
    level
        Of the root logger.
    """
    if form != "json":
        logging.basicConfig(level=level, format=TEXT)
        return
    formatter = JsonFormatter(part)
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler])
    logging.captureWarnings(True)
    os.environ[ENV_FORMAT] = form
    _adopted[:] = [formatter]

    def died(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            logging.getLogger(part).critical("ended by an error", exc_info=(kind, error, trace))

    sys.excepthook = died


def adopt_handlers() -> None:
    """Let handlers that a library brought along, as distributed does, write JSON like ours."""
    for formatter in _adopted:
        for logger in list(logging.root.manager.loggerDict.values()):
            for handler in getattr(logger, "handlers", ()):
                handler.setFormatter(formatter)


def dask_setup(_worker: object) -> None:
    """Called in every Dask worker, which preloads this module."""
    if os.environ.get(ENV_FORMAT) == "json":
        set_up_logging("dask", "json", logging.WARNING)
        adopt_handlers()
