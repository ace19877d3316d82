"""Which exposures a bracket is made of."""

from __future__ import annotations

from allsky360.model import MAX_EXPOSURES_PER_BRACKET


def plan_bracket(
    base_exposure_s: float,
    count: int,
    step_ev: float,
    min_exposure_s: float,
    max_exposure_s: float,
) -> tuple[float, ...]:
    """Return the exposure times of a bracket in seconds, longest first.

    Parameters
    ----------
    base_exposure_s
        Longest exposure wanted; brought within the limits.
    count
        Exposures wanted, 1 to 5. Fewer come back where the shorter ones would fall below
        ``min_exposure_s``: two equal exposures would tell nothing new.
    step_ev
        EV between neighbours, greater than 0.
    min_exposure_s, max_exposure_s
        What the camera and the settings allow.
    """
    if not 1 <= count <= MAX_EXPOSURES_PER_BRACKET:
        raise ValueError(f"a bracket holds 1 to {MAX_EXPOSURES_PER_BRACKET} exposures, not {count}")
    if not step_ev > 0:
        raise ValueError(f"step_ev must be greater than 0, not {step_ev}")
    if not 0 < min_exposure_s <= max_exposure_s:
        raise ValueError(
            f"limits must be 0 < min <= max, not {min_exposure_s} s and {max_exposure_s} s"
        )
    if not base_exposure_s > 0:  # also refuses NaN
        raise ValueError(f"the base exposure must be greater than 0, not {base_exposure_s}")
    base = min(max(base_exposure_s, min_exposure_s), max_exposure_s)
    times = [base * 2.0 ** (-i * step_ev) for i in range(count)]
    # A hair of tolerance: 2**-n of a product must not lose the exposure that sits on the limit.
    return tuple(max(t, min_exposure_s) for t in times if t >= min_exposure_s * (1 - 1e-9))
