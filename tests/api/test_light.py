"""What the service's process must not load: it stays small, and serves while the rest is down."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("numba", "llvmlite", "scipy", "pandas", "xarray", "matplotlib", "av", "pyarrow")
FOREIGN = ("prefect", "dask", "distributed")
OURS = ("sky.solve", "sky.match", "sky.stars", "measure", "processing", "products")

SERVED = """
import sys
from allsky360.api import server
from allsky360.api.app import _load_libraries, create_app
from allsky360.api.geometry import _affine
from allsky360.config import Settings
create_app(Settings())
_load_libraries()
_affine({"parameters": {"profiles": {"clear": []}}}, (100, 100))
print(*sorted(sys.modules))
"""


def test_neither_the_solver_nor_what_measures_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", SERVED], capture_output=True, check=True)
    loaded = set(done.stdout.decode().split())
    assert "allsky360.sky.lens_file" in loaded
    unwanted = {*HEAVY, *FOREIGN, *(f"allsky360.{name}" for name in OURS)}
    assert loaded & unwanted == set()
