"""ls-ood play: publishes a recording to running nodes over DDS, in real time, and records what they publish."""

from __future__ import annotations

import argparse
import os
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .console import console, progress_bar, warn, write_json

if TYPE_CHECKING:
    from ..recordings.bags import BagInfo
    from ..ros.playback import Playback

DESCRIPTION = """\
Publishes the messages of a ROS 2 bag unchanged; those of a ROS 1 bag are converted to ROS 2. The nodes must run already:

  perception_node --ros-args -p cameras:=[front] -p autostart:=true
  supervisor_node --ros-args -p cameras:=[front] -r ood_alarm:=/perception_node/ood_alarm
  ls-ood play drive/bag

With --clock, the recording's time is published on /clock, and nodes started with '-p use_sim_time:=true' use it: an image
is then as old as it was on the vehicle. --record writes alarms, scores, decisions, stop commands and /diagnostics into a
bag (mcap). Their times are the recording's with --clock and without --loop, and real times otherwise.

ROS_DOMAIN_ID and the other ROS variables are taken from the environment.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("bag", type=Path, metavar="BAG", help="recording of ROS 2 (sqlite3 or mcap) or ROS 1")
    add("--rate", type=float, default=1.0, help="speed, 2 = twice as fast (default %(default)s)")
    add("--clock", action="store_true", help="publish the recording's time on /clock")
    add("--loop", action="store_true", help="begin again at the end, until Ctrl-C")
    add("--restamp", action="store_true", help="write the present time into the headers of images")
    add("--all", action="store_true", help="publish every topic, not only images")
    add("--record", type=Path, metavar="DIR", help="record what the nodes publish into this bag, which must not exist")
    add(
        "--record-pictures",
        nargs="+",
        default=[],
        choices=("segmentation", "confidence", "overlay", "anomaly_map"),
        metavar="NAME",
        help="with --record, record these pictures, too: segmentation, confidence, overlay, anomaly_map",
    )
    add("--wait", type=float, default=30.0, metavar="S", help="time to wait for subscribers (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Refuse what cannot work, play, and print what was played and recorded."""
    from ..recordings.bag_notes import bag_notes, lost_note
    from ..recordings.bags import CDR, COMPRESSED_IMAGE, IMAGE, bag_info
    from ..ros.environment import adopt_ros_environment, require_rclpy

    _check(args)
    info = bag_info(args.bag)
    require_rclpy()
    topics = {
        entry.topic: entry.type_name
        for entry in info.topics
        if entry.encoding == CDR
        and (args.all or (entry.topic in info.cameras and entry.type_name in (IMAGE, COMPRESSED_IMAGE)))
    }
    if args.clock:
        topics.pop("/clock", None)  # ours replaces it
    if not topics:
        raise ConfigError(
            f"{args.bag} has no image topic; it holds {', '.join(e.topic for e in info.topics) or 'nothing'}. "
            "Use --all to publish the rest."
        )
    if not sum(entry.messages for entry in info.topics if entry.topic in topics):
        raise ConfigError(f"{args.bag} holds no message on {', '.join(sorted(topics))}; there is nothing to play.")
    for note in (*([info.damage] if info.damage else []), *bag_notes(info)):
        warn(note)
    adopt_ros_environment()
    played = _play(args, info, topics)
    for topic in sorted(topics):
        promised = sum(entry.messages for entry in info.topics if entry.topic == topic and entry.encoding == CDR)
        # Ctrl-C may end a loop anywhere.
        if not args.loop and (lost := lost_note(topic, promised, played.messages[topic])):
            warn(lost)
    _report(args, played, played.outputs.images(info.cameras, played.messages))
    return 0


def _check(args: argparse.Namespace) -> None:
    if not 0.0 < args.rate < inf:
        raise ConfigError(f"--rate is {args.rate}; it must be a number larger than 0.")
    if not 0.0 <= args.wait <= 3600.0:
        raise ConfigError(f"--wait is {args.wait}; it must lie within [0, 3600] s.")
    if args.clock and args.restamp:
        raise ConfigError("--restamp writes the present time and --clock publishes the recording's; choose one.")
    if args.record_pictures and args.record is None:
        raise ConfigError("--record-pictures needs --record, which names the folder.")
    if args.record is not None:
        _check_record(args.record)


def _check_record(path: Path) -> None:
    """Refuse a folder that cannot take a recording, before anything is started."""
    from ..disk_space import check_free_space

    if path.exists():
        raise ConfigError(f"--record is {path}, which exists already; remove it or choose another folder.")
    if not path.parent.is_dir():
        raise ConfigError(f"--record is {path}; the folder {path.parent} does not exist.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"--record is {path}; the folder {path.parent} cannot be written.")
    check_free_space(f"--record is {path}; its disk", path.parent)


def _play(args: argparse.Namespace, info: BagInfo, topics: dict[str, str]) -> Playback:
    from ..recordings.bags import iter_raw
    from ..ros.playback import PlaybackSettings, play_to_nodes

    settings = PlaybackSettings(
        rate=args.rate,
        publish_clock=args.clock,
        loop=args.loop,
        restamp=args.restamp,
        wait_s=args.wait,
        record=args.record,
        record_pictures=tuple(args.record_pictures),
    )
    total = sum(entry.messages for entry in info.topics if entry.topic in topics)
    with progress_bar("Playing", None if args.loop else total) as update:

        def on_message(count: int, offset_s: float) -> None:
            update(count, f"{offset_s:.1f} of {info.duration_s:.1f} s")

        return play_to_nodes(lambda: iter_raw(args.bag), topics, info.cameras, settings, on_message)


def _report(args: argparse.Namespace, played: Playback, images: dict[str, dict[str, int]]) -> None:
    outputs = played.outputs
    facts = {"messages": dict(played.messages), "turns": played.turns, "recorded": dict(outputs.messages)}
    judged = {"judged": outputs.scores(), "cameras": images, "pictures": outputs.pictures()}
    write_json(args.json, {**facts, **judged})
    for prefix, counts in (("", played.messages), ("recorded ", outputs.messages)):
        for topic, count in sorted(counts.items()):
            console.print(f"{prefix}{topic}: {count} messages")
    for camera, account in images.items():
        console.print(
            f"{camera}: {account['played']} images played, {account['judged']} judged, {account['faults']} that could not be "
            f"judged, {account['dropped']} dropped by perception for lack of time, {account['lost']} lost on the way to it",
            soft_wrap=True,
        )
    for shortfall in outputs.shortfalls():
        warn(shortfall)
