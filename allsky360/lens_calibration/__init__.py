"""Solving lenses of files and of archived nights, and keeping them up to date."""

from allsky360.lens_calibration.due import nights_due
from allsky360.lens_calibration.files import FileSolved, lens_of_files, solve_files, wcs_header
from allsky360.lens_calibration.night import NightReport, calibrate_night
from allsky360.lens_history import NightEntry, read_history

__all__ = [
    "FileSolved",
    "NightEntry",
    "NightReport",
    "calibrate_night",
    "lens_of_files",
    "nights_due",
    "read_history",
    "solve_files",
    "wcs_header",
]
