"""A safe copy of the archive elsewhere: every object proven, what is safe recorded, brought back.

Objects have the keys of the files they are copies of, as in :mod:`allsky360.objects`, which is for
work on other hosts. Here nothing counts as copied before the store proved that it holds the same
bytes, and retention waits for that.
"""
