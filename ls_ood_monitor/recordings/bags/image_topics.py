"""Which topics of a bag are cameras, and what the cameras are called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...errors import DataError
from .image_messages import is_image

#: Last part of a topic with class ids (mono8) of the camera before it.
LABELS = "labels"
#: Last part of image topics that are not from a camera: class ids, and the outputs of the perception node.
_NO_CAMERA = (LABELS, "segmentation", "confidence", "overlay", "anomaly_map")


def camera_of(topic: str) -> str:
    """Camera name by the topic convention ``<camera>/image[/compressed]``: ``/left/image/compressed`` -> ``left``."""
    parts = [part for part in topic.split("/") if part]
    if len(parts) > 1 and parts[-1] == "compressed":
        parts.pop()
    return parts[-2] if len(parts) > 1 else parts[0]


def is_camera(topic: str, type_name: str) -> bool:
    """Whether a topic is a camera by default: it has images, and they are neither class ids nor drawn by perception."""
    return is_image(type_name) and topic.rsplit("/", 1)[-1] not in _NO_CAMERA


def choose_topics(bag: Path, types: Mapping[str, str], topics: Mapping[str, str] | None) -> dict[str, str]:
    """Check the chosen topics (topic -> camera name) of a bag against ``types`` (topic -> type name), or find its cameras.

    Raises:
        DataError: no camera topic, a topic that is absent or has no images, or two topics for one camera.
    """
    cameras = sorted(name for name, type_name in types.items() if is_camera(name, type_name))
    images = sorted(name for name, type_name in types.items() if is_image(type_name))
    if topics is None:
        if not cameras and images:
            raise DataError(
                f"Bag {bag} has no camera topic: by their names, its images on {', '.join(images)} are class ids or drawn "
                f"by perception. If one is a camera's all the same, give --topic {images[0]}={camera_of(images[0])}."
            )
        if not cameras:
            raise DataError(
                f"Bag {bag} has no camera topic (sensor_msgs Image or CompressedImage); it holds "
                f"{', '.join(sorted(types)) or 'nothing'}."
            )
        topics = {name: camera_of(name) for name in cameras}
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
