"""Counts what the nodes publish about the images of a recording, and finds what was lost on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import deserialize_message

from .conversions import alarms_of, values_of

PICTURES = ("segmentation", "confidence", "overlay", "anomaly_map")
_CURE = "what is missing was lost on the way, as on a machine that has too much to do. Play it again, slower."


class OutputCounts:
    """Counts recorded messages, and the images that perception judged, could not judge, or dropped.

    Attributes:
        messages: topic -> recorded messages.
    """

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        self._picture_topics: set[str] = set()
        self._judged: Counter[str] = Counter()  # score topic -> alarms about judged images
        self._images: dict[str, Counter[str]] = {}  # camera -> judged, faults
        self._dropped: dict[str, tuple[int, int]] = {}  # camera -> first and last count of perception

    def expect(self, topic: str) -> None:
        """Note a topic that is recorded, even if no message comes."""
        if last_part(topic) in PICTURES:
            self._picture_topics.add(topic)

    def add(self, topic: str, data: bytes) -> None:
        """Count a recorded message; ``data`` is its CDR."""
        self.messages[topic] += 1
        if last_part(topic) == "ood_alarm":
            with suppress(Exception):  # an unreadable alarm is recorded, but says nothing about an image
                self._add_alarms(topic, deserialize_message(data, DiagnosticArray))

    def add_diagnostics(self, data: bytes, is_recording: bool) -> None:
        """Take perception's counts of dropped images; those before the recording began are subtracted."""
        with suppress(Exception):  # other nodes publish diagnostics, too
            for entry in deserialize_message(data, DiagnosticArray).status:
                values = values_of(entry)
                if {"frames", "dropped"} <= values.keys():
                    count = int(values["dropped"])
                    first, _ = self._dropped.get(entry.hardware_id, (count, count))
                    self._dropped[entry.hardware_id] = (first if is_recording else count), count

    def scores(self) -> dict[str, dict[str, int]]:
        """Score topic -> ``alarms`` about judged images, and ``scores``, of which each of them has one."""
        topics = {topic for topic in self.messages if last_part(topic) == "ood_score"} | set(self._judged)
        return {topic: {"alarms": self._judged[topic], "scores": self.messages[topic]} for topic in sorted(topics)}

    def pictures(self) -> dict[str, dict[str, int]]:
        """Picture topic -> ``pictures``, and ``scores`` of the camera, each of which has a picture.

        A detector without anomaly map publishes none; a topic of maps without any message is left out.
        """
        topics = sorted(
            topic for topic in self._picture_topics if self.messages[topic] or last_part(topic) != "anomaly_map"
        )
        scores = {topic: self.messages[f"{topic.rsplit('/', 1)[0]}/ood_score"] for topic in topics}
        return {topic: {"pictures": self.messages[topic], "scores": scores[topic]} for topic in topics}

    def images(self, cameras: Mapping[str, str], played: Mapping[str, int]) -> dict[str, dict[str, int]]:
        """Count what happened to each camera's images. A best-effort network may lose some before perception.

        Args:
            cameras: image topic -> camera.
            played: image topic -> messages played.

        Returns:
            camera -> ``played``, ``judged``, ``faults`` (images that could not be judged), ``dropped`` (perception had no
            time for them) and ``lost``; for cameras that perception reports.
        """
        accounts = {}
        for topic, camera in cameras.items():
            if camera in self._dropped:
                first, last = self._dropped[camera]
                images = self._images.get(camera, Counter())
                account = {"judged": images["judged"], "faults": images["faults"], "dropped": last - first}
                sent = played.get(topic, 0)
                accounts[camera] = {"played": sent, **account, "lost": max(0, sent - sum(account.values()))}
        return accounts

    def shortfalls(self) -> Iterator[str]:
        """A sentence for each topic of which the recording has fewer messages than were published."""
        for topic, count in self.scores().items():
            if count["alarms"] != count["scores"]:
                yield (
                    f"{topic} has {count['scores']} scores in the recording, and {count['alarms']} alarms are about images "
                    f"that were judged; {_CURE}"
                )
        for topic, count in self.pictures().items():
            if count["pictures"] < count["scores"]:
                yield (
                    f"{topic} has {count['pictures']} pictures in the recording, and its camera {count['scores']} scores; "
                    f"{_CURE}"
                )

    def _add_alarms(self, topic: str, message: DiagnosticArray) -> None:
        node = topic.rsplit("/", 1)[0]
        # Perception names the detector of a judged image, and publishes a score for it, too.
        judged = (entry.hardware_id for entry in message.status if "detector" in values_of(entry))
        self._judged.update(f"{node}/{camera}/ood_score" for camera in judged)
        for alarm in alarms_of(message):
            if alarm.stamp_ns > 0:  # the alarm of a silent camera is about no image
                self._images.setdefault(alarm.camera, Counter())["faults" if alarm.is_fault else "judged"] += 1


def last_part(topic: str) -> str:
    """Last part of a topic's name."""
    return topic.rsplit("/", 1)[-1]
