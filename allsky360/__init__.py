"""allsky360: capture, process, measure, archive and serve the whole night sky."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("allsky360")
except PackageNotFoundError:  # a source tree on sys.path that was never installed
    __version__ = "0+unknown"
