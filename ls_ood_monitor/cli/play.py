"""ls-ood play: publish a recording to running nodes, through DDS, in real time; and record what they say to it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections import Counter

    from ..ros.bag_clock import BagClock
    from ..ros.output_recorder import OutputRecorder

DESCRIPTION = """\
Publishes the messages of a ROS 2 bag as they were recorded, without converting them (of a ROS 1 bag as ROS 2 would have
recorded them). The nodes must run already:

  perception_node --ros-args -p cameras:=[front] -p autostart:=true
  supervisor_node --ros-args -p cameras:=[front] -r ood_alarm:=/perception_node/ood_alarm
  ls-ood play drive/bag

With --clock the recording's time goes out on /clock, and nodes started with '-p use_sim_time:=true' live in it: the age
of an image is then what it was on the vehicle. --record keeps alarms, scores, decisions, stop commands and /diagnostics
in a bag (mcap), stamped with the recording's time where --clock is given, and not --loop, and with the present otherwise.

ROS_DOMAIN_ID and the other ROS variables are taken from the environment.
"""

#: Verdicts on the last images, and the decisions that follow, still come so long after them.
_TAIL_S = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("bag", type=Path, metavar="BAG", help="recording of ROS 2 (sqlite3 or mcap) or ROS 1")
    parser.add_argument("--rate", type=float, default=1.0, help="speed, 2 = twice as fast (default %(default)s)")
    parser.add_argument("--clock", action="store_true", help="publish the recording's time on /clock")
    parser.add_argument("--loop", action="store_true", help="begin again at the end, until Ctrl-C")
    parser.add_argument("--restamp", action="store_true", help="write the present time into the headers of images")
    parser.add_argument("--all", action="store_true", help="publish every topic, not only images")
    parser.add_argument(
        "--record", type=Path, metavar="DIR", help="record what the nodes publish into this bag, which must not exist"
    )
    parser.add_argument(
        "--record-pictures",
        nargs="+",
        default=[],
        choices=("segmentation", "confidence", "overlay", "anomaly_map"),
        metavar="NAME",
        help="record these, too: segmentation, confidence, overlay, anomaly_map",
    )
    parser.add_argument(
        "--wait", type=float, default=30.0, metavar="S", help="time to wait for subscribers (default %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Refuse what cannot work, wait for the nodes, publish, count."""
    from ..errors import ConfigError
    from ..recordings.bags import bag_info
    from ..ros.processes import adopt_ros_environment, require_rclpy

    _check(args)
    info = bag_info(args.bag)
    require_rclpy()
    topics = {entry.topic: entry.type_name for entry in info.topics if args.all or entry.topic in info.cameras}
    if args.clock:
        topics.pop("/clock", None)  # ours takes its place
    if not topics:
        raise ConfigError(
            f"{args.bag} has no image topic; it holds {', '.join(e.topic for e in info.topics) or 'nothing'}. "
            "Use --all to publish the rest."
        )
    if not sum(entry.messages for entry in info.topics if entry.topic in topics):
        raise ConfigError(f"{args.bag} holds no message on {', '.join(sorted(topics))}; there is nothing to play.")
    adopt_ros_environment()
    return _play(args, info, topics)


def _check(args: argparse.Namespace) -> None:
    from math import inf

    from ..errors import ConfigError

    if not 0.0 < args.rate < inf:
        raise ConfigError(f"--rate is {args.rate}; it must be a number larger than 0.")
    if not 0.0 <= args.wait <= 3600.0:
        raise ConfigError(f"--wait is {args.wait}; it must lie within [0, 3600] s.")
    if args.clock and args.restamp:
        raise ConfigError("--restamp writes the present time and --clock publishes the recording's; choose one.")
    if args.record_pictures and args.record is None:
        raise ConfigError("--record-pictures is given, but not --record, which says where to.")
    if args.record is not None:
        _check_record(args.record)


def _check_record(path: Path) -> None:
    """Refuse a place that cannot take a recording before anything is started."""
    import os

    from ..errors import ConfigError
    from ..ros.disk_space import check_free_space

    if path.exists():
        raise ConfigError(f"--record is {path}, which exists already; remove it or choose another folder.")
    if not path.parent.is_dir():
        raise ConfigError(f"--record is {path}; the folder {path.parent} does not exist.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"--record is {path}; the folder {path.parent} cannot be written.")
    check_free_space(f"--record is {path}; its disk", path.parent)


def _play(args: argparse.Namespace, info: Any, topics: dict[str, str]) -> int:
    """With rclpy: make publishers and recorder, wait for the nodes, play."""
    import signal
    import time
    from collections import Counter

    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from ..ros.bag_clock import BagClock, check_only_clock, clock_message, clock_publisher
    from ..ros.player import make_publishers, wait_for_subscribers
    from .console import console, warn, write_json

    # Signals are ours: rclpy's handler would end the context under a recording that is not finished.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    node = rclpy.create_node("ls_ood_player")
    counts: Counter[str] = Counter()
    turns = 0
    try:
        publishers = make_publishers(node, topics)
        clock_topic = clock_publisher(node) if args.clock else None
        clock = BagClock(args.rate, (lambda bag_ns: clock_topic.publish(clock_message(bag_ns))) if args.clock else None)
        in_bag_time = args.clock and not args.loop
        clock_ns = clock.now_ns if in_bag_time else lambda ago_ns: time.time_ns() - ago_ns
        with _recorder(args, clock_ns, topics) as recorder:
            wait_for_subscribers(
                {topic: publishers[topic] for topic in info.cameras if topic in publishers} or publishers, args.wait
            )
            if clock_topic is not None:
                wait_for_subscribers({clock_topic.topic_name: clock_topic}, args.wait)
                check_only_clock(node)
            if recorder is not None:
                _wait_for_alarms(recorder, args.wait)
                recorder.begin()
            turns = _turns(args, info, publishers, clock, recorder, counts)
            if recorder is not None:
                clock.go_on(_TAIL_S)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
        signal.signal(signal.SIGTERM, before)
    recorded = recorder.counts if recorder is not None else Counter()
    pairs = recorder.pairs() if recorder is not None else {}
    pictures = recorder.pictures() if recorder is not None else {}
    cameras = image_accounting(info.cameras, counts, recorder.answers() if recorder is not None else {})
    write_json(
        args.json,
        {
            "messages": dict(counts),
            "turns": turns,
            "recorded": dict(recorded),
            "judged": {topic: {"alarms": alarms, "scores": scores} for topic, (alarms, scores) in pairs.items()},
            "cameras": cameras,
            "pictures": {topic: {"pictures": count, "scores": scores} for topic, (count, scores) in pictures.items()},
        },
    )
    for title, found in (("", counts), ("recorded ", recorded)):
        for topic, count in sorted(found.items()):
            console.print(f"{title}{topic}: {count} messages")
    for camera, fate in cameras.items():
        console.print(
            f"{camera}: {fate['played']} images played, {fate['judged']} judged, {fate['faults']} that could not be judged, "
            f"{fate['dropped']} dropped by perception for want of time, {fate['lost']} lost on the way to it",
            soft_wrap=True,
        )
    for sentence in lost_on_the_way(pairs, pictures):
        warn(sentence)
    return 0


def image_accounting(
    topics: Mapping[str, str], played: Mapping[str, int], answers: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    """What became of each camera's images. A best effort network may lose some before perception hears of them.

    Args:
        topics: image topic -> camera.
        played: messages by topic.
        answers: as ``OutputRecorder.answers``.

    Returns:
        camera -> ``played``, ``judged``, ``faults``, ``dropped``, ``lost``; of cameras that perception speaks of.
    """
    fates = {}
    for topic, camera in topics.items():
        if camera in answers:
            known = answers[camera]
            lost = max(0, played.get(topic, 0) - known["judged"] - known["faults"] - known["dropped"])
            fates[camera] = {"played": played.get(topic, 0), **known, "lost": lost}
    return fates


def lost_on_the_way(pairs: Mapping[str, tuple[int, int]], pictures: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """A sentence for each topic that the recording has less of than the nodes must have published.

    Args:
        pairs: as ``OutputRecorder.pairs``.
        pictures: as ``OutputRecorder.pictures``.
    """
    reason = "what is missing was lost on the way, as on a machine that has too much to do. Play it again, slower."
    for topic, (alarms, scores) in pairs.items():
        if alarms != scores:
            yield (
                f"{topic} has {scores} scores in the recording, and {alarms} alarms are about images that were judged; "
                f"{reason}"
            )
    for topic, (count, scores) in pictures.items():
        if count < scores:
            yield f"{topic} has {count} pictures in the recording, and its camera {scores} scores; {reason}"


def _turns(
    args: argparse.Namespace,
    info: Any,
    publishers: dict[str, Any],
    clock: BagClock,
    recorder: OutputRecorder | None,
    counts: Counter[str],
) -> int:
    """Play once, or until Ctrl-C; returns how often it was begun."""
    from ..recordings.bags import iter_raw
    from ..ros.player import play
    from .console import progress_bar

    turns = 0
    total = sum(entry.messages for entry in info.topics if entry.topic in publishers)
    with progress_bar("Playing", None if args.loop else total) as update:

        def shown(message: Any, offset_s: float) -> None:
            counts[message.topic] += 1
            update(sum(counts.values()), f"{offset_s:.1f} of {info.duration_s:.1f} s")
            if recorder is not None:
                recorder.check()

        try:
            while turns == 0 or args.loop:
                turns += 1
                play(iter_raw(args.bag), publishers, clock=clock, restamp=args.restamp, on_message=shown)
        except KeyboardInterrupt:
            if not args.loop:  # the usual end of a loop, but not of a recording
                raise
    return turns


@contextmanager
def _recorder(
    args: argparse.Namespace, clock_ns: Callable[[int], int], topics: Collection[str]
) -> Iterator[OutputRecorder | None]:
    """The recorder, spun in a thread; its recording is finished whatever happens."""
    import threading

    from rclpy.executors import SingleThreadedExecutor

    from ..ros.output_recorder import OutputRecorder

    if args.record is None:
        yield None
        return
    recorder = OutputRecorder(args.record, args.record_pictures, clock_ns, topics)
    executor = SingleThreadedExecutor()
    executor.add_node(recorder)
    spinning = threading.Thread(target=executor.spin, daemon=True)
    spinning.start()
    try:
        yield recorder
    finally:
        executor.shutdown()
        spinning.join(5.0)
        recorder.destroy_node()
        recorder.close()


def _wait_for_alarms(recorder: OutputRecorder, timeout_s: float) -> None:
    """A recording without the alarm would be of nothing."""
    from ..errors import DataError
    from ..ros.processes import wait_until

    try:
        wait_until(recorder.is_ready, "a node that publishes ood_alarm", timeout_s)
    except DataError as error:
        raise DataError(f"nothing to record: {error}") from error
