"""The archive on S3-compatible storage: copied to, brought back from, worked on from other hosts.

An object has the key of the file it is a copy of, below the prefix of ``objects.url``, so that any
Zarr reader opens ``s3://…/<camera>/<night>/v0001.zarr`` as it opens the folder. The local archive
is where frames are committed: an object store has no lock and no atomic step over many objects.
"""
