"""ls-ood play: publish a recording to running nodes, through DDS, in real time."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """\
Publishes the messages of a ROS 2 bag as they were recorded, without converting them (of a ROS 1 bag as ROS 2 would have
recorded them). The nodes must run already:

  perception_node --ros-args -p cameras:=[front] -p autostart:=true
  supervisor_node --ros-args -p cameras:=[front] -r ood_alarm:=/perception_node/ood_alarm
  ls-ood play drive/bag

ROS_DOMAIN_ID and the other ROS variables are taken from the environment.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("bag", type=Path, metavar="BAG", help="recording of ROS 2 (sqlite3 or mcap) or ROS 1")
    parser.add_argument("--rate", type=float, default=1.0, help="speed, 2 = twice as fast (default %(default)s)")
    parser.add_argument("--restamp", action="store_true", help="write the present time into the headers of images")
    parser.add_argument("--all", action="store_true", help="publish every topic, not only images")
    parser.add_argument(
        "--wait", type=float, default=30.0, metavar="S", help="time to wait for subscribers (default %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Open, wait for subscribers, publish, count."""
    import os

    from ..errors import ConfigError
    from ..offline.bags import bag_info, iter_raw
    from ..ros.processes import asked_domain, require_rclpy, ros_environment
    from .console import console, progress_bar, write_json

    if not args.rate > 0.0:
        raise ConfigError(f"--rate is {args.rate}; it must be larger than 0.")
    info = bag_info(args.bag)
    require_rclpy()
    topics = {entry.topic: entry.type_name for entry in info.topics if args.all or entry.topic in info.cameras}
    if not topics:
        raise ConfigError(
            f"{args.bag} has no image topic; it holds {', '.join(e.topic for e in info.topics) or 'nothing'}. "
            "Use --all to publish the rest."
        )
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    for name, value in ros_environment(asked_domain()).items():
        os.environ.setdefault(name, value)

    import rclpy

    from ..ros.player import make_publishers, play, wait_for_subscribers

    rclpy.init()
    node = rclpy.create_node("ls_ood_player")
    try:
        publishers = make_publishers(node, topics)
        wait_for_subscribers(
            {topic: publishers[topic] for topic in info.cameras if topic in publishers} or publishers, args.wait
        )
        with progress_bar("Playing", sum(entry.messages for entry in info.topics if entry.topic in topics)) as update:
            done = [0]

            def shown(_message: object, offset_s: float) -> None:
                done[0] += 1
                update(done[0], f"{offset_s:.1f} of {info.duration_s:.1f} s")

            counts = play(iter_raw(args.bag), publishers, rate=args.rate, restamp=args.restamp, on_message=shown)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    write_json(args.json, {"messages": dict(counts)})
    for topic, count in sorted(counts.items()):
        console.print(f"{topic}: {count} messages")
    return 0
