"""A procedural street seen by four fisheye cameras, with exact class labels: data that anyone can make again."""

from __future__ import annotations

from .camera import CAMERAS
from .drive import StreetDrive

__all__ = ["CAMERAS", "StreetDrive"]
