"""Open a night from elsewhere with xarray, and see what each look at it costs.

python examples/remote_night.py [http://127.0.0.1:8360] [NIGHT]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from allsky360.client import Client

ROUTE = 'route="/zarr/{camera}/{night}/{store}/{key:path}"'


@contextmanager
def bytes_of(sky: Client, what: str) -> Iterator[None]:
    """Print how many bytes of arrays the service sent meanwhile, as it counts them itself."""

    def sent() -> float:
        lines = sky.http.get("/metrics").text.splitlines()
        name = "allsky360_http_sent_bytes_total"
        return sum(float(x.split()[-1]) for x in lines if x.startswith(name) and ROUTE in x)

    before = sent()
    yield
    print(f"{what:44} {(sent() - before) / 1e3:9.1f} kB")


def main() -> None:
    """Look at the newest night, or at one that is named."""
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8360"
    with Client(url) as sky:
        night = date.fromisoformat(sys.argv[2]) if len(sys.argv) > 2 else sky.latest().night
        with bytes_of(sky, "opening the processed store"):
            done = sky.open_night(night)
        done = done.sel(time=done.time.notnull())
        with bytes_of(sky, "one measurement, every frame"):
            print(done.sun_altitude_deg.values[-1])
        with bytes_of(sky, "one reduced linear frame"):
            print(done.linear.isel(time=-1).mean(("y", "x")).values)
        with bytes_of(sky, "opening the raw store"):
            raw = sky.open_night(night, "raw.zarr")
        with bytes_of(sky, "one raw exposure"):
            exposure = raw.raw.isel(time=-1, exposure=0)
            print(exposure.shape, int(exposure.max()))
        with bytes_of(sky, "a sixteenth of it"):
            corner = exposure[: exposure.shape[0] // 4, : exposure.shape[1] // 4]
            print(corner.shape, int(corner.max()))


if __name__ == "__main__":
    main()
