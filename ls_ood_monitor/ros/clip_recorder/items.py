"""What a clip is made of: messages, snapshots of raised alarms, and a description of the node that they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...core.types import Alarm, FrameResult

#: Estimated size of an alarm message with its values as Python objects.
_ALARM_BYTES = 8_000


@dataclass(frozen=True)
class CameraTopics:
    """Topics of a camera in a clip; ``image_type`` is Image or CompressedImage of sensor_msgs."""

    image: str
    image_type: str
    score: str
    overlay: str
    anomaly_map: str


@dataclass(frozen=True)
class RecordedNode:
    """The node whose alarms are recorded.

    Attributes:
        facts: what the node runs on, written into each clip; ``parameters`` have the form of a ROS parameter file.
        cameras: camera -> its topics.
        alarm_topic: topic of the alarms, fully resolved.
        configuration_topic: topic that carries ``facts`` as JSON.
        overlay_alpha: opacity of the class colours in overlays, 0 to 1.
    """

    facts: Mapping[str, Any]
    cameras: Mapping[str, CameraTopics]
    alarm_topic: str
    configuration_topic: str
    overlay_alpha: float


@dataclass(frozen=True)
class RecordedMessage:
    """A message with its topic and the time at which it was received or published, on the node's clock (ns)."""

    topic: str
    type_name: str
    stamp_ns: int
    message: Any

    @property
    def size(self) -> int:
        """Bytes that it keeps in memory."""
        return _ALARM_BYTES


@dataclass(frozen=True)
class RecordedImage(RecordedMessage):
    """An image that was judged; ``dropped`` counts the camera's frames that the network had no time for so far."""

    camera: str
    dropped: int

    @property
    def size(self) -> int:
        """Bytes that it keeps in memory."""
        return len(self.message.data)


@dataclass(frozen=True)
class AlarmSnapshot:
    """A raised alarm with the image message that raised it and the network's result; None where there is none."""

    alarm: Alarm
    stamp_ns: int
    image: Any | None
    result: FrameResult | None

    @property
    def size(self) -> int:
        """Bytes that it keeps in memory, beside the image message."""
        if self.result is None:
            return _ALARM_BYTES
        planes = (self.result.frame.image, self.result.segmentation, self.result.confidence)
        return sum(plane.nbytes for plane in planes if plane is not None)


#: What the buffer of a recorder holds.
Item = RecordedMessage | AlarmSnapshot
