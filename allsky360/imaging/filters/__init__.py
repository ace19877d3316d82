"""The picture filters: one file each, listed in ``registry.py``.

A filter is a function ``name(image, *, keywords…) -> image``, usable alone. ``image`` is
``(H, W, C)`` float32 with C 3 or 1, never written to. Two domains:

linear
    White-balanced, pedestal removed, divided by the sky's background: a night sky is about 1.0,
    stars go to thousands, noise goes below 0. Nothing is clipped.
display
    sRGB codes over 255, 0 to 1: what the stretch makes of the linear image.
"""
