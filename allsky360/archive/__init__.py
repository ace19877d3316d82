"""The Zarr archive: layout, writing, reading, integrity check."""
