"""INDIGO cameras: JSON over one TCP connection, images by HTTP from the same port."""

from allsky360.camera.indigo.camera import IndigoCamera
from allsky360.camera.indigo.capabilities import CameraInfo, Capabilities, list_cameras
from allsky360.camera.indigo.client import IndigoClient

__all__ = ["CameraInfo", "Capabilities", "IndigoCamera", "IndigoClient", "list_cameras"]
