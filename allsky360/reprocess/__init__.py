"""Nights again from raw, over the Dask cluster, as a new version beside the old.

:func:`allsky360.reprocess.plan.plan_nights` says what is to be done,
:func:`allsky360.reprocess.run.reprocess` does it.
"""
