"""One clip on disk: a recording of images and alarms, pictures of each raised alarm, and what the node runs on.

A clip is complete once ``metadata.yaml`` is there. Until then, and after a loss of power, ``clip.json`` states that it is
unfinished.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import suppress
from math import isnan
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
from ...wording import sentence
from ..conversions import image_message, ns_to_stamp
from ..raw_bag import RawBagWriter
from .clip_store import CLIP_FILE, WRITER, write_whole
from .items import AlarmSnapshot, Item, RecordedImage, RecordedNode

IMAGE = "sensor_msgs/msg/Image"
_JPEG_QUALITY = 92


class ClipFolder:
    """Writes one clip into a folder that it creates.

    Raises:
        DataError, OSError: the folder cannot be made.
    """

    def __init__(self, path: Path, clip: Clip, node: RecordedNode) -> None:
        self.path, self._clip, self._node = path, clip, node
        self._bag = RawBagWriter(path)
        self._pictures: RawBagWriter | None = None
        self._picture_bytes = 0
        self._raised: list[dict[str, Any]] = []
        self._images: Counter[str] = Counter()
        self._first_last_ns: dict[str, list[int]] = {}
        self._first_last_dropped: dict[str, list[int]] = {}
        self._has_configuration = False
        try:
            self._write_account("unfinished: the node was ended, or is still writing")
            write_whole(path / "parameters.yaml", yaml.safe_dump(dict(node.facts["parameters"]), sort_keys=False))
        except OSError:  # without its account the folder would not count as a clip, and never be removed
            self.abort()
            shutil.rmtree(path, ignore_errors=True)
            raise

    @property
    def bytes(self) -> int:
        """Approximate size so far."""
        return self._bag.bytes + self._picture_bytes + (self._pictures.bytes if self._pictures else 0)

    def write(self, entry: Entry[Item]) -> None:
        """Add an entry. Raises ``OSError``."""
        item = entry.item
        if isinstance(item, AlarmSnapshot):
            self._write_snapshot(item)
            return
        if not self._has_configuration:
            self._has_configuration = True
            facts = String(data=json.dumps(self._node.facts))
            self._bag.write(
                self._node.configuration_topic, "std_msgs/msg/String", item.stamp_ns, bytes(serialize_message(facts))
            )
        self._bag.write(item.topic, item.type_name, item.stamp_ns, bytes(serialize_message(item.message)))
        if isinstance(item, RecordedImage):
            self._images[item.camera] += 1
            self._first_last_ns.setdefault(item.camera, [entry.at_ns, entry.at_ns])[1] = entry.at_ns
            self._first_last_dropped.setdefault(item.camera, [item.dropped, item.dropped])[1] = item.dropped

    def close(self, ended: str) -> None:
        """Finish the clip; ``ended`` states why it ends here. Raises ``OSError``."""
        if self._pictures is not None:
            self._pictures.close()
        self._write_account(ended)
        self._bag.close()

    def abort(self) -> None:
        """Stop writing; what was written stays."""
        for bag in (self._bag, self._pictures):
            if bag is not None:
                bag.abort()

    def _write_snapshot(self, snapshot: AlarmSnapshot) -> None:
        """Write the pictures of the moment at which an alarm was raised."""
        alarm, result = snapshot.alarm, snapshot.result
        topics = self._node.cameras[alarm.camera]
        name = f"raised_{alarm.camera}_{alarm.stamp_ns}"
        account = {
            "camera": alarm.camera,
            "stamp_ns": alarm.stamp_ns,
            "score": None if isnan(alarm.score) else alarm.score,
            "threshold": None if isnan(alarm.threshold) else alarm.threshold,
            "fault": alarm.fault,
            "cause": alarm.cause.kind.value,
            "reason": sentence(alarm.cause),
        }
        self._raised.append(account)
        if result is not None:
            overlay = draw_overlay(result, alarm, self._node.overlay_alpha)
            account["overlay"] = self._write_picture(f"{name}.jpg", overlay)
            self._write_message(topics.overlay, overlay, "bgr8", snapshot)
            if result.anomaly_map is not None:
                height, width = result.segmentation.shape
                grey = map_picture(result.anomaly_map, result.threshold, width, height)
                account["anomaly_map"] = self._write_picture(f"{name}_map.png", grey)
                self._write_message(topics.anomaly_map, grey, "mono8", snapshot)
        elif snapshot.image is not None:
            decode = decode_image if topics.image_type == IMAGE else decode_compressed
            with suppress(ImageError):  # the alarm was raised for this very reason, and states it
                account["picture"] = self._write_picture(f"{name}.jpg", decode(snapshot.image))

    def _write_picture(self, name: str, picture: NDArray[np.uint8]) -> str:
        options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if name.endswith(".jpg") else []
        _, data = cv2.imencode(Path(name).suffix, picture, options)
        (self.path / name).write_bytes(data.tobytes())
        self._picture_bytes += data.size
        return name

    def _write_message(self, topic: str, picture: NDArray[np.uint8], encoding: str, snapshot: AlarmSnapshot) -> None:
        """Write a picture into a recording of its own: beside the images it would count as a camera."""
        if self._pictures is None:
            self._pictures = RawBagWriter(self.path / "pictures")
        header = Header(stamp=ns_to_stamp(snapshot.alarm.stamp_ns), frame_id=snapshot.alarm.camera)
        data = bytes(serialize_message(image_message(picture, header, encoding)))
        self._pictures.write(topic, IMAGE, snapshot.stamp_ns, data)

    def _write_account(self, ended: str) -> None:
        """Write ``clip.json``."""
        raised_ns = self._clip.raised_ns
        images = {
            camera: {
                "images": self._images[camera],
                "before_s": round(max(0, raised_ns - first_ns) / 1e9, 3),
                "after_s": round(max(0, last_ns - raised_ns) / 1e9, 3),
                "not_judged": self._first_last_dropped[camera][1] - self._first_last_dropped[camera][0],
            }
            for camera, (first_ns, last_ns) in self._first_last_ns.items()
        }
        content = {
            "writer": WRITER,
            "ended": ended,
            "camera": self._clip.camera,
            "raised": self._raised,
            "images": images,
            "lost": self._clip.lost,
            **self._node.facts,
        }
        write_whole(self.path / CLIP_FILE, json.dumps(content, indent=2) + "\n")
