"""Products of a night, grown frame by frame: keogram, star trails, stack, panorama, time-lapse.

:func:`allsky360.products.grow.grow_night` reads a night's frames in order, decodes each picture
once and hands it to every grower of :mod:`allsky360.products.registry`.
"""
