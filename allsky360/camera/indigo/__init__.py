"""INDIGO cameras: JSON over one TCP connection, images by HTTP from the same port."""
