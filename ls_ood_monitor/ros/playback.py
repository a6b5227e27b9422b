"""Plays a recording to nodes that run already, and records what they publish."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import rclpy

from ..errors import DataError
from .bag_clock import BagClock, check_only_clock, clock_message, clock_publisher
from .output_counts import OutputCounts
from .output_recorder import OutputRecorder
from .player import Recorded, make_publishers, play, wait_for_subscribers
from .processes import wait_until
from .runner import ros_context, spinning

#: Alarms about the last images, and the decisions after them, come within this time, seconds.
_TAIL_S = 2.0


@dataclass(frozen=True)
class PlaybackSettings:
    """How a recording is played.

    Attributes:
        rate: speed, 2 = twice as fast.
        publish_clock: publish the recording's time on /clock.
        loop: begin again at the end, until Ctrl-C.
        restamp: write the present time into the headers of images.
        wait_s: time to wait for subscribers, seconds.
        record: folder that gets the outputs of the nodes; None = not recorded.
        record_pictures: pictures to record, too.
    """

    rate: float = 1.0
    publish_clock: bool = False
    loop: bool = False
    restamp: bool = False
    wait_s: float = 30.0
    record: Path | None = None
    record_pictures: tuple[str, ...] = ()


@dataclass
class Playback:
    """Messages played by topic, how often the recording was begun, and counts of the recorded outputs."""

    messages: Counter[str]
    turns: int
    outputs: OutputCounts


def play_to_nodes(
    read: Callable[[], Iterable[Recorded]],
    topics: Mapping[str, str],
    image_topics: Collection[str],
    settings: PlaybackSettings,
    on_message: Callable[[int, float], None],
) -> Playback:
    """Wait for the nodes, then play the recording to its end, or in a loop until Ctrl-C.

    Args:
        read: begins to read the recording; called once a turn.
        topics: topic -> type of what is played.
        image_topics: topics to wait for subscribers on; without any of them among ``topics``, on all.
        settings: how it is played.
        on_message: called after each message with the messages so far and its time in the recording, seconds.

    Raises:
        DataError: the nodes are not there in time, or a message could not be recorded.
    """
    played = Playback(Counter(), 0, OutputCounts())
    with ros_context(), ExitStack() as stack:
        node = rclpy.create_node("ls_ood_player")
        stack.callback(node.destroy_node)
        publishers = make_publishers(node, topics)
        clock_topic = clock_publisher(node) if settings.publish_clock else None

        def publish_clock(bag_ns: int) -> None:
            if clock_topic is not None:
                clock_topic.publish(clock_message(bag_ns))

        clock = BagClock(settings.rate, publish_clock if settings.publish_clock else None)
        has_bag_time = settings.publish_clock and not settings.loop
        clock_ns = clock.now_ns if has_bag_time else lambda ago_ns: time.time_ns() - ago_ns
        recorder = stack.enter_context(_recorder(settings, clock_ns, topics))
        images = {topic: publishers[topic] for topic in image_topics if topic in publishers}
        wait_for_subscribers(images or publishers, settings.wait_s)
        if clock_topic is not None:
            wait_for_subscribers({clock_topic.topic_name: clock_topic}, settings.wait_s)
            check_only_clock(node)
        if recorder is not None:
            played.outputs = recorder.counts
            try:
                wait_until(recorder.is_ready, "a node that publishes ood_alarm", settings.wait_s)
            except DataError as error:
                raise DataError(f"nothing to record: {error}") from error
            recorder.begin()

        def after_message(message: Recorded, offset_s: float) -> None:
            played.messages[message.topic] += 1
            on_message(played.messages.total(), offset_s)
            if recorder is not None:
                recorder.check()

        try:
            while played.turns == 0 or settings.loop:
                played.turns += 1
                play(read(), publishers, clock=clock, restamp=settings.restamp, on_message=after_message)
        except KeyboardInterrupt:
            if not settings.loop:  # Ctrl-C is the usual end of a loop alone
                raise
        if recorder is not None:
            clock.go_on(_TAIL_S)
    return played


@contextmanager
def _recorder(
    settings: PlaybackSettings, clock_ns: Callable[[int], int], topics: Collection[str]
) -> Iterator[OutputRecorder | None]:
    """A recorder that runs in a thread; its recording is finished also after an error."""
    if settings.record is None:
        yield None
        return
    recorder = OutputRecorder(settings.record, settings.record_pictures, clock_ns, topics)
    try:
        with spinning(recorder):
            yield recorder
    finally:
        recorder.close()
