"""Watches the system, and tells people and home automation when something is wrong."""
