"""Which topics of a bag are cameras, and what the cameras are called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import DataError
from .image_messages import COMPRESSED_IMAGE, IMAGE, is_image
from .opened import CDR, TopicSummary

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


def has_images(entry: TopicSummary) -> bool:
    """Whether a topic has images that can be read here."""
    return is_image(entry.type_name) and entry.encoding == CDR


def is_depth(topic: str) -> bool:
    """Whether an image topic is one of distances by its name, as drivers of depth cameras name them."""
    parts = [part for part in topic.lower().split("/") if part and part not in _TRANSPORTS]
    return bool(_DISTANCES & set(re.split(r"[/_]", "/".join(parts[-2:]))))


def is_camera(entry: TopicSummary) -> bool:
    """Whether a topic is a camera by default: it has images; no class ids, none drawn by perception, and no distances."""
    return has_images(entry) and entry.topic.rsplit("/", 1)[-1] not in _NO_CAMERA and not is_depth(entry.topic)


def default_cameras(entries: Sequence[TopicSummary]) -> dict[str, str]:
    """Topic -> camera name of the camera topics, by name.

    Video and Foxglove's types are left out where the same camera has an image type of ROS, too.
    """
    cameras = sorted((entry for entry in entries if is_camera(entry)), key=lambda entry: entry.topic)
    of_ros = {camera_of(entry.topic) for entry in cameras if entry.type_name in (IMAGE, COMPRESSED_IMAGE)}
    return {
        entry.topic: camera_of(entry.topic)
        for entry in cameras
        if entry.type_name in (IMAGE, COMPRESSED_IMAGE) or camera_of(entry.topic) not in of_ros
    }


def choose_topics(bag: Path, entries: Sequence[TopicSummary], topics: Mapping[str, str] | None) -> dict[str, str]:
    """Check the chosen topics (topic -> camera name) of a bag, or find its cameras.

    Raises:
        DataError: no camera topic, a topic that is absent or has no images, or two topics for one camera.
    """
    images = {entry.topic: None for entry in sorted(entries, key=lambda entry: entry.topic) if has_images(entry)}
    cameras = default_cameras(entries)
    types: dict[str, list[str]] = {}
    for entry in entries:
        types.setdefault(entry.topic, []).append(entry.shown_type)
    if topics is None:
        if not cameras and images:
            first = next(iter(images))
            raise DataError(
                f"Bag {bag} has no camera topic: by their names, its images on {', '.join(images)} are class ids, distances or "
                f"drawn by perception. If one is a camera's all the same, give --topic {first}={camera_of(first)}."
            )
        if not cameras:
            listing = ", ".join(f"{topic} ({', '.join(names)})" for topic, names in sorted(types.items()))
            raise DataError(
                f"Bag {bag} has no camera topic (sensor_msgs Image or CompressedImage, or video); "
                f"it holds {listing or 'nothing'}."
            )
        topics, first = cameras, next(iter(cameras))
        hint = f"; choose with --topic, for example --topic {first}={cameras[first]}"
    else:
        hint = "; choose one of them"
    by_camera: dict[str, str] = {}
    for name, camera in topics.items():
        if name not in types:
            raise DataError(
                f"Bag {bag} has no topic {name}; its image topics are {', '.join(cameras or images) or 'none'}."
            )
        if name not in images:
            raise DataError(
                f"Topic {name} of bag {bag} is {' and '.join(types[name])}; an Image or CompressedImage is needed."
            )
        if camera in by_camera:
            raise DataError(f"Bag {bag}: topics {by_camera[camera]} and {name} both mean camera {camera!r}{hint}.")
        by_camera[camera] = name
    return dict(topics)
