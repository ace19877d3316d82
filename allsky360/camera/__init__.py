"""The camera: INDIGO client, image decoding, exposure control, bracket planning."""
