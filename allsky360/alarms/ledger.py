"""Which troubles people know of: told once they last, once more when they are over. Pure.

No storms: what begins or ends in one look is one message; what flaps must hold still before it is
told again; quiet hours hold back all but grave alarms, and what is still wrong at their end is told
then. What was never told needs no all-clear.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from allsky360.alarms.troubles import Trouble


@dataclass(frozen=True)
class Known:
    """One trouble and what was told of it.

    Attributes
    ----------
    trouble
        As last seen.
    since
        When it was first seen.
    told
        When people were last told of it, None while they were not.
    gone
        Since when it is not seen any more, None while it is.
    """

    trouble: Trouble
    since: datetime
    told: datetime | None = None
    gone: datetime | None = None


@dataclass(frozen=True)
class Message:
    """What is to be told: one message a look at most."""

    title: str
    body: str
    grave: bool


@dataclass(frozen=True)
class Rules:
    """How to tell; the fields of the settings of the same names."""

    hold: timedelta = timedelta(seconds=60)
    remind: timedelta | None = None
    quiet_from: str = ""
    quiet_until: str = ""

    def is_quiet(self, now: datetime) -> bool:
        """Whether an instant lies in the quiet hours."""
        if not self.quiet_from or not self.quiet_until or self.quiet_from == self.quiet_until:
            return False
        clock = now.strftime("%H:%M")
        if self.quiet_from < self.quiet_until:
            return self.quiet_from <= clock < self.quiet_until
        return clock >= self.quiet_from or clock < self.quiet_until


def update(
    known: Mapping[str, Known], seen: Iterable[Trouble], now: datetime, rules: Rules
) -> tuple[dict[str, Known], Message | None]:
    """Take one look into the ledger; return the new one, and what to tell.

    Parameters
    ----------
    known
        Ledger so far, by name.
    seen
        Troubles of this look.
    now
        UTC.
    rules
        How to tell.
    """
    ledger = dict(known)
    current = {t.name: t for t in seen}
    for name, trouble in current.items():
        before = ledger.get(name)
        ledger[name] = (
            Known(trouble, now) if before is None else replace(before, trouble=trouble, gone=None)
        )
    for name, entry in known.items():
        if name not in current and entry.gone is None:
            ledger[name] = replace(entry, gone=now)
    begun, over = [], []
    quiet = rules.is_quiet(now)
    for name, entry in list(ledger.items()):
        if entry.gone is not None:
            if now - entry.gone >= rules.hold:
                del ledger[name]
                if entry.told is not None:
                    over.append(entry)
            continue
        if (quiet and not entry.trouble.grave) or now - entry.since < rules.hold:
            continue
        due = entry.told is None or (rules.remind is not None and now - entry.told >= rules.remind)
        if due:
            ledger[name] = replace(entry, told=now)
            begun.append(entry)
    return ledger, _message(begun, over, now)


def _message(begun: list[Known], over: list[Known], now: datetime) -> Message | None:
    if not begun and not over:
        return None
    lines = [e.trouble.says + _lasting(now - e.since) for e in begun]
    lines += [f"Over: {e.trouble.says}" for e in over]
    if len(begun) == 1 and not over:
        title = begun[0].trouble.name
    elif not begun:
        title = f"over: {', '.join(e.trouble.name for e in over)}"
    else:
        title = f"{len(begun)} troubles"
    return Message(f"allsky360: {title}", "\n".join(lines), any(e.trouble.grave for e in begun))


def _lasting(time: timedelta) -> str:
    minutes = time.total_seconds() / 60
    return f" (for {minutes:.0f} minutes)" if minutes >= 5 else ""


def to_json(ledger: Mapping[str, Known]) -> dict[str, Any]:
    """Return the ledger as plain JSON values."""
    return {
        name: {
            "trouble": asdict(e.trouble),
            "since": e.since.isoformat(),
            "told": e.told.isoformat() if e.told else None,
            "gone": e.gone.isoformat() if e.gone else None,
        }
        for name, e in ledger.items()
    }


def from_json(content: Any) -> dict[str, Known]:
    """Read a ledger back; an empty one where it cannot be read."""
    try:
        return {
            str(name): Known(
                Trouble(**e["trouble"]),
                datetime.fromisoformat(e["since"]),
                datetime.fromisoformat(e["told"]) if e["told"] else None,
                datetime.fromisoformat(e["gone"]) if e["gone"] else None,
            )
            for name, e in content.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}
