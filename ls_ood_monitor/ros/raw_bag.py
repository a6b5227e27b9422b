"""Writes serialised messages into a rosbag2 recording (mcap); ``recordings/bags`` reads recordings."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from rclpy.qos import QoSProfile
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from ..errors import DataError


class RawBagWriter:
    """A new recording. Once closed, ``ros2 bag`` and every mcap reader can read it.

    Args:
        path: folder to create; it must not exist.

    Attributes:
        bytes: size of the messages so far.

    Raises:
        DataError: it exists, or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = 0
        try:
            self._writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        except (WriterError, OSError) as error:
            raise DataError(
                f"Cannot write recording {path}: {str(error).rstrip('.')}. Choose another folder."
            ) from error
        self._connections: dict[str, Any] = {}

    def write(self, topic: str, type_name: str, stamp_ns: int, data: bytes, qos: QoSProfile | None = None) -> None:
        """Append a message.

        Args:
            topic: fully resolved.
            type_name: of a standard type, ``package/msg/Name``.
            stamp_ns: time of reception, nanoseconds.
            data: CDR.
            qos: what the publisher offers; read with the first message of a topic.

        Raises:
            OSError: it cannot be written.
        """
        connection = self._connections.get(topic)
        if connection is None:
            offered = () if qos is None else (_offered(qos),)
            connection = self._connections[topic] = self._writer.add_connection(
                topic, type_name, typestore=load_types(), offered_qos_profiles=offered
            )
        self._writer.write(connection, stamp_ns, data)
        self.bytes += len(data)

    def close(self) -> None:
        """Write the index and ``metadata.yaml``; a recording without messages is valid, too.

        Raises:
            OSError: they cannot be written.
        """
        if not self._connections:  # rosbags would state a start at the end of time
            self._writer.min_timestamp = self._writer.max_timestamp = 0
        try:
            self._writer.close()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Close the file without an index; ``mcap recover`` can restore what was written."""
        # Closing fails on a full disk, too; older rosbags leave it to the garbage collector.
        with suppress(Exception):
            self._writer.abort()


@lru_cache(maxsize=1)
def load_types() -> Typestore:
    """Humble's message definitions, read once; the types written here did not change up to Kilted."""
    return get_typestore(Stores.ROS2_HUMBLE)


def _offered(qos: QoSProfile) -> Qos:
    """The profile in rosbag2's form; both write an infinite duration as 0."""

    def time_of(duration: Any) -> QosTime:
        seconds, rest = divmod(duration.nanoseconds, 1_000_000_000)
        return QosTime(seconds, rest)

    return Qos(
        QosHistory[qos.history.name],
        qos.depth,
        QosReliability[qos.reliability.name],
        QosDurability[qos.durability.name],
        time_of(qos.deadline),
        time_of(qos.lifespan),
        QosLiveliness[qos.liveliness.name],
        time_of(qos.liveliness_lease_duration),
        qos.avoid_ros_namespace_conventions,
    )
