"""One clip on disk: a recording of images and alarms, pictures of the moment of alarm, and what the node ran on.

A clip is complete once ``metadata.yaml`` is there; before, and after a loss of power, ``clip.json`` says so.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from rclpy.serialization import serialize_message
from std_msgs.msg import Header, String

from ...core.clips import Clip, Entry
from ...errors import ImageError
from ...vision.image_codec import decode_compressed, decode_image
from ...vision.overlay import draw_overlay, map_picture
from ..conversions import image_message, ns_to_stamp
from ..raw_bag import RawBagWriter
from .clip_store import CLIP_FILE, WRITER, write_whole
from .items import AlarmSnapshot, CameraTopics, RecordedImage, RecordedMessage

IMAGE = "sensor_msgs/msg/Image"
_JPEG_QUALITY = 92


class ClipFolder:
    """Writes one clip.

    Args:
        path: folder to create.
        clip: windows.
        facts: what the node runs on; ``parameters`` are in the form of a ROS parameter file.
        topics: of each camera.
        configuration_topic: that carries the facts.
        alpha: opacity of the overlay.

    Raises:
        DataError, OSError: the folder cannot be made.
    """

    def __init__(
        self,
        path: Path,
        clip: Clip,
        facts: Mapping[str, Any],
        topics: Mapping[str, CameraTopics],
        configuration_topic: str,
        alpha: float,
    ) -> None:
        self.path, self.clip = path, clip
        self._facts, self._topics, self._alpha = facts, topics, alpha
        self._configuration_topic = configuration_topic
        self._bag = RawBagWriter(path)
        self._pictures: RawBagWriter | None = None
        self._files = 0
        self._raised: list[dict[str, Any]] = []
        self._images: Counter[str] = Counter()
        self._span: dict[str, list[int]] = {}
        self._dropped: dict[str, list[int]] = {}
        self._described = False
        try:
            self._describe("unfinished: the node was ended, or is still writing")
            write_whole(path / "parameters.yaml", yaml.safe_dump(dict(facts["parameters"]), sort_keys=False))
        except OSError:  # without its account nobody would know it for a clip, nor ever remove it
            self.abort()
            shutil.rmtree(path, ignore_errors=True)
            raise

    @property
    def bytes(self) -> int:
        """Written so far, nearly."""
        return self._bag.bytes + self._files + (self._pictures.bytes if self._pictures else 0)

    def write(self, entry: Entry[RecordedMessage | AlarmSnapshot]) -> None:
        """Take an entry in. Raises ``OSError``."""
        item = entry.item
        if isinstance(item, AlarmSnapshot):
            self._freeze(item)
            return
        if not self._described:
            self._described = True
            facts = String(data=json.dumps(self._facts))
            self._bag.write(
                self._configuration_topic, "std_msgs/msg/String", item.stamp_ns, bytes(serialize_message(facts))
            )
        self._bag.write(item.topic, item.type_name, item.stamp_ns, bytes(serialize_message(item.message)))
        if isinstance(item, RecordedImage):
            self._images[item.camera] += 1
            self._span.setdefault(item.camera, [entry.at_ns, entry.at_ns])[1] = entry.at_ns
            self._dropped.setdefault(item.camera, [item.dropped, item.dropped])[1] = item.dropped

    def close(self, ended: str) -> None:
        """Finish it. ``ended`` says why it is as long as it is. Raises ``OSError``."""
        if self._pictures is not None:
            self._pictures.close()
        self._describe(ended)
        self._bag.close()

    def abort(self) -> None:
        """Leave it as it is."""
        for bag in (self._bag, self._pictures):
            if bag is not None:
                bag.abort()

    def _freeze(self, moment: AlarmSnapshot) -> None:
        """The pictures of the moment at which an alarm was raised."""
        alarm, result = moment.alarm, moment.result
        topics = self._topics[alarm.camera]
        name = f"raised_{alarm.camera}_{alarm.stamp_ns}"
        entry = {
            "camera": alarm.camera,
            "stamp_ns": alarm.stamp_ns,
            "score": _number(alarm.score),
            "threshold": _number(alarm.threshold),
            "fault": alarm.fault,
            "reason": alarm.reason,
        }
        self._raised.append(entry)
        if result is not None:
            overlay = draw_overlay(result, alarm, self._alpha)
            entry["overlay"] = self._keep(f"{name}.jpg", overlay)
            self._show(topics.overlay, overlay, "bgr8", moment)
            if result.anomaly_map is not None:
                height, width = result.segmentation.shape
                grey = map_picture(result.anomaly_map, result.threshold, width, height)
                entry["anomaly_map"] = self._keep(f"{name}_map.png", grey)
                self._show(topics.anomaly_map, grey, "mono8", moment)
        elif moment.image is not None:
            decode = decode_image if topics.image_type == IMAGE else decode_compressed
            with suppress(ImageError):  # that is why the alarm was raised, and its reason says so
                entry["picture"] = self._keep(f"{name}.jpg", decode(moment.image))

    def _keep(self, name: str, picture: NDArray[np.uint8]) -> str:
        options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if name.endswith(".jpg") else []
        _, data = cv2.imencode(Path(name).suffix, picture, options)
        (self.path / name).write_bytes(data.tobytes())
        self._files += data.size
        return name

    def _show(self, topic: str, picture: NDArray[np.uint8], encoding: str, moment: AlarmSnapshot) -> None:
        """Into a recording of its own: beside the images it would pass for a camera."""
        if self._pictures is None:
            self._pictures = RawBagWriter(self.path / "pictures")
        header = Header(stamp=ns_to_stamp(moment.alarm.stamp_ns), frame_id=moment.alarm.camera)
        data = bytes(serialize_message(image_message(picture, header, encoding)))
        self._pictures.write(topic, IMAGE, moment.stamp_ns, data)

    def _describe(self, ended: str) -> None:
        raised_ns = self.clip.raised_ns
        images = {
            camera: {
                "images": self._images[camera],
                "before_s": round(max(0, raised_ns - first) / 1e9, 3),
                "after_s": round(max(0, last - raised_ns) / 1e9, 3),
                "not_judged": self._dropped[camera][1] - self._dropped[camera][0],
            }
            for camera, (first, last) in self._span.items()
        }
        content = {
            "writer": WRITER,
            "ended": ended,
            "camera": self.clip.camera,
            "raised": self._raised,
            "images": images,
            "lost": self.clip.lost,
            **self._facts,
        }
        text = json.dumps(content, indent=2)
        write_whole(self.path / CLIP_FILE, text + "\n")


def _number(value: float) -> float | None:
    return value if value == value else None
