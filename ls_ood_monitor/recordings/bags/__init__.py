"""Bags without ROS: ROS 2 (sqlite3 and mcap) and ROS 1, read and written.

A bag has two clocks. ``Frame.stamp_ns`` is the camera's clock, from the message header. The bag's own clock is the time
at which the recorder received a message: ``start_s`` and ``end_s`` count from it, and a replay is paced by it.

A damaged bag is refused unless the caller asks to ``recover``. Then all readable messages are read, and
``BagInfo.damage`` states what is wrong. Messages of ROS 1 are returned as ROS 2 would have serialised them.
"""

from .files import is_bag_file, is_bag_folder
from .image_messages import COMPRESSED_IMAGE, IMAGE, ImageArrival
from .image_topics import LABELS, camera_of, has_images, is_camera, is_depth
from .opened import CDR, ClockStep, RawMessage, TopicSummary
from .reading import BagInfo, bag_info, count_images, iter_arrivals, iter_frames, iter_raw
from .writing import FrameBagWriter

__all__ = [
    "BagInfo",
    "bag_info",
    "count_images",
    "TopicSummary",
    "ClockStep",
    "CDR",
    "RawMessage",
    "iter_raw",
    "ImageArrival",
    "iter_arrivals",
    "iter_frames",
    "FrameBagWriter",
    "camera_of",
    "has_images",
    "is_camera",
    "is_depth",
    "IMAGE",
    "COMPRESSED_IMAGE",
    "LABELS",
    "is_bag_file",
    "is_bag_folder",
]
