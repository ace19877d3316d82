"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["good", "doubt", "bad", "none"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes
    ----------
    group
        ``machine``, ``storage``, ``services``, ``camera`` or ``sky``.
    name
        What was looked at.
    state
        ``good``; ``doubt``: works, but not as it should; ``bad``: does not work; ``none``: there is
        nothing to look at (yet).
    says
        What was found, in one sentence.
    mend
        What to do; empty where there is nothing to do.
    """

    group: str
    name: str
    state: State
    says: str
    mend: str = ""
