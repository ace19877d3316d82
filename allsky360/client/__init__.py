"""A thin client of the read service: dataclasses for records, xarray for numbers.

>>> from allsky360.client import Client
>>> sky = Client("http://127.0.0.1:8360")
>>> frame = sky.latest()
>>> night = sky.series(["sky_brightness_mag_arcsec2"], start=frame.time - timedelta(hours=12))
"""

from allsky360.client.client import Client
from allsky360.client.http import ServiceError
from allsky360.client.records import Event, Frame, Night, Product, Transient

__all__ = ["Client", "Event", "Frame", "Night", "Product", "ServiceError", "Transient"]
