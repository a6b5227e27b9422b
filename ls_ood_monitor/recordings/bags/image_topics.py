"""Which topics of a bag are cameras, and what the cameras are called."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ...errors import DataError
from .image_messages import COMPRESSED_IMAGE, IMAGE, is_image

#: Last part of a topic with class ids (mono8) of the camera before it.
LABELS = "labels"
#: Last part of image topics that are not from a camera: class ids, and the outputs of the perception node.
_NO_CAMERA = (LABELS, "segmentation", "confidence", "overlay", "anomaly_map")
#: Last part of a topic that names the transport of the image topic before it.
_TRANSPORTS = ("compressed", "ffmpeg", "foxglove")
#: Words in the last two parts of a topic whose pixels are distances.
_DISTANCES = {"depth", "disparity", "compresseddepth", "range"}


def camera_of(topic: str) -> str:
    """Camera name by the topic convention ``<camera>/image[/<transport>]``: ``/left/image/compressed`` -> ``left``."""
    parts = [part for part in topic.split("/") if part]
    if len(parts) > 1 and parts[-1] in _TRANSPORTS:
        parts.pop()
    return parts[-2] if len(parts) > 1 else parts[0]


def is_camera(topic: str, type_name: str) -> bool:
    """Whether a topic is a camera by default: it has images, and ``why_no_camera`` has no reason against it."""
    return is_image(type_name) and not why_no_camera(topic)


def why_no_camera(topic: str) -> str:
    """Why an image topic is no camera by its name, as the end of "it holds ..."; empty if nothing is against it."""
    parts = [part for part in topic.split("/") if part and part not in _TRANSPORTS]
    if parts and parts[-1] in _NO_CAMERA:
        return "class ids or pictures drawn by perception"
    if _DISTANCES & set(re.split(r"[/_]", "/".join(parts[-2:]).lower())):
        return "distances (depth), not pictures of a camera"
    return ""


def default_cameras(types: Mapping[str, str]) -> dict[str, str]:
    """Topic -> camera name of the camera topics among ``types`` (topic -> type name).

    Video and Foxglove's types are left out where the same camera has an image type of ROS, too.
    """
    cameras = {topic: camera_of(topic) for topic, type_name in types.items() if is_camera(topic, type_name)}
    of_ros = {camera for topic, camera in cameras.items() if types[topic] in (IMAGE, COMPRESSED_IMAGE)}
    return {
        topic: camera
        for topic, camera in sorted(cameras.items())
        if types[topic] in (IMAGE, COMPRESSED_IMAGE) or camera not in of_ros
    }


def choose_topics(bag: Path, types: Mapping[str, str], topics: Mapping[str, str] | None) -> dict[str, str]:
    """Check the chosen topics (topic -> camera name) of a bag against ``types`` (topic -> type name), or find its cameras.

    Raises:
        DataError: no camera topic, a topic that is absent or has no images, or two topics for one camera.
    """
    cameras = default_cameras(types)
    images = sorted(name for name, type_name in types.items() if is_image(type_name))
    if topics is None:
        if not cameras and images:
            raise DataError(
                f"Bag {bag} has no camera topic: by their names, its images on {', '.join(images)} are class ids, depth, or "
                f"drawn by perception. If one is a camera's all the same, give --topic {images[0]}={camera_of(images[0])}."
            )
        if not cameras:
            raise DataError(
                f"Bag {bag} has no camera topic (sensor_msgs Image or CompressedImage, or video); it holds "
                f"{', '.join(sorted(types)) or 'nothing'}."
            )
        topics = cameras
        for name in images:
            if "depth" in why_no_camera(name):
                _note_left_out(bag, name, why_no_camera(name))
    by_camera: dict[str, str] = {}
    for name, camera in topics.items():
        if name not in types:
            raise DataError(
                f"Bag {bag} has no topic {name}; its image topics are {', '.join(cameras or images) or 'none'}."
            )
        if not is_image(types[name]):
            raise DataError(f"Topic {name} of bag {bag} is {types[name]}; an Image or CompressedImage is needed.")
        if camera in by_camera:
            raise DataError(
                f"Bag {bag}: topics {by_camera[camera]} and {name} both mean camera {camera!r}; choose one of them."
            )
        by_camera[camera] = name
    return dict(topics)


@cache
def _note_left_out(bag: Path, topic: str, reason: str) -> None:
    """Log once per process that a topic is left out."""
    logging.getLogger(__name__).warning(
        "%s: %s is left out: by its name it holds %s; if it is a camera's, give --topic %s=%s",
        bag,
        topic,
        reason,
        topic,
        camera_of(topic),
    )
