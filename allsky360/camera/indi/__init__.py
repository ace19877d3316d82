"""Cameras of servers that speak only INDI 1.7: XML over TCP, images within it."""

from allsky360.camera.indi.dialect import IndiDialect

__all__ = ["IndiDialect"]
