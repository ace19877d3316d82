"""``allsky360 up``: start, watch, restart and show every part."""
