"""What is drawn over the picture: laid out as data, then SVG, a layer of its own, or burnt in."""

from allsky360.overlay.draw import burn_in, to_png, to_png_layer
from allsky360.overlay.layout import layout
from allsky360.overlay.options import OverlayError, OverlayOptions
from allsky360.overlay.scene import OverlayScene
from allsky360.overlay.svg import to_svg

__all__ = [
    "OverlayError",
    "OverlayOptions",
    "OverlayScene",
    "burn_in",
    "layout",
    "to_png",
    "to_png_layer",
    "to_svg",
]
