"""XMP that tells viewers that a picture is a 360 degree panorama.

Google's Photo Sphere metadata, namespace ``http://ns.google.com/photos/1.0/panorama/``
(developers.google.com/streetview/spherical-metadata). A strip is said to be the part of the whole
sphere that it is.
"""

from __future__ import annotations

from datetime import datetime

from allsky360 import __version__
from allsky360.model import as_utc
from allsky360.products.panorama_map import View, ViewError

_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:GPano="http://ns.google.com/photos/1.0/panorama/">
{entries}
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


def gpano_xmp(view: View, when: datetime | None = None) -> bytes:
    """Return the XMP packet of an equirectangular strip.

    Parameters
    ----------
    view
        Equirectangular.
    when
        Instant of the picture, UTC.

    Raises
    ------
    ViewError
        For any other projection: viewers would bend it wrongly.
    """
    if view.projection != "equirectangular":
        raise ViewError("only an equirectangular view is a 360 degree photo.")
    rows_a_degree = view.height / (view.top_deg - view.bottom_deg)
    whole = max(round(180.0 * rows_a_degree), view.height)
    top = min(round((90.0 - view.top_deg) * rows_a_degree), whole - view.height)
    entries: dict[str, object] = {
        "UsePanoramaViewer": "True",
        "CaptureSoftware": f"allsky360 {__version__}",
        "StitchingSoftware": f"allsky360 {__version__}",
        "ProjectionType": "equirectangular",
        "PoseHeadingDegrees": f"{view.azimuth_deg % 360.0:.1f}",
        "InitialViewHeadingDegrees": round(view.azimuth_deg) % 360,
        "InitialViewPitchDegrees": round(min(20.0, (view.top_deg + view.bottom_deg) / 2)),
        "FullPanoWidthPixels": view.width,
        "FullPanoHeightPixels": whole,
        "CroppedAreaImageWidthPixels": view.width,
        "CroppedAreaImageHeightPixels": view.height,
        "CroppedAreaLeftPixels": 0,
        "CroppedAreaTopPixels": top,
        "SourcePhotosCount": 1,
    }
    if when is not None:
        stamp = as_utc(when).isoformat(timespec="seconds")
        entries |= {"FirstPhotoDate": stamp, "LastPhotoDate": stamp}
    lines = "\n".join(f"   <GPano:{name}>{v}</GPano:{name}>" for name, v in entries.items())
    return _PACKET.format(entries=lines).encode()
