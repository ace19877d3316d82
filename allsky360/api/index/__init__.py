"""The index over all nights: numbers in memory, read lazily, bounded by bytes."""
