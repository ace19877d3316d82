"""Raw to picture and numbers, with input and output: one archived frame, or a list of files."""

from allsky360.processing.archived import process_archived_frame
from allsky360.processing.chain import backend_for, masters_for, safety_rules, sky_hints
from allsky360.processing.files import FileFailure, FileResult, FilesReport, process_files
from allsky360.processing.stages import reduce_linear

__all__ = [
    "FileFailure",
    "FileResult",
    "FilesReport",
    "backend_for",
    "masters_for",
    "process_archived_frame",
    "process_files",
    "reduce_linear",
    "safety_rules",
    "sky_hints",
]
