"""What is kept for a clip: messages as they were received or published, and the moments at which an alarm was raised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...core.types import Alarm, FrameResult

#: An alarm with its values, as Python objects.
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
class RecordedMessage:
    """A message on its topic, and when it was received or published on the node's clock (ns)."""

    topic: str
    type_name: str
    stamp_ns: int
    message: Any

    @property
    def size(self) -> int:
        """Bytes that it holds on to."""
        return _ALARM_BYTES


@dataclass(frozen=True)
class RecordedImage(RecordedMessage):
    """An image that was judged; ``dropped`` counts the camera's frames, so far, for which there was no time."""

    camera: str
    dropped: int

    @property
    def size(self) -> int:
        """Bytes that it holds on to."""
        return len(self.message.data)


@dataclass(frozen=True)
class AlarmSnapshot:
    """An alarm was raised: by what image, and what the network made of it; None where there is none."""

    alarm: Alarm
    stamp_ns: int
    image: Any | None
    result: FrameResult | None

    @property
    def size(self) -> int:
        """Bytes that it holds on to, beside the image message."""
        if self.result is None:
            return _ALARM_BYTES
        return self.result.frame.image.nbytes + self.result.segmentation.nbytes + self.result.confidence.nbytes
