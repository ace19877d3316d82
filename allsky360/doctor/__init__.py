"""``allsky360 doctor``: looks at everything a support thread would ask for, and offers the mend."""

from allsky360.doctor.finding import Finding, State
from allsky360.doctor.rounds import examine

__all__ = ["Finding", "State", "examine"]
