"""Ephemeris, catalogue and lens geometry."""
