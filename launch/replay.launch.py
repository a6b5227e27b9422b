"""Runs the monitor on a recording, which ros2 bag plays with its clock once perception is active.

ros2 launch ls_ood_monitor replay.launch.py bag:=/path/to/bag cameras:='[front, left]' record:=/path/to/answers
"""

import os
import shutil
import signal
from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.events import matches_action
from launch.events.process import SignalProcess
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.event_handlers import OnStateTransition

from launch import LaunchDescription
from ls_ood_monitor.launch_arguments import refuse_unknown

PACKAGE = "ls_ood_monitor"
# Arguments that go through to monitor.launch.py.
OF_MONITOR = ("params_file", "cameras", "camera_topics", "bundle", "device", "transport", "namespace", "autostart")
# Outputs of both nodes without pictures, in any namespace, under the names that monitor.launch.py gives the nodes.
OUTPUTS = "/(perception_node/(ood_alarm|[^/]+/ood_score)|supervisor_node/(state|stop)|diagnostics)$"
# Alarms about the last images, and the decisions after them, come within this time.
TAIL_S = 2.0


def generate_launch_description():
    """Start the monitor with simulated time, the player, and a recorder and RViz if asked for."""
    folder = os.path.join(get_package_share_directory(PACKAGE), "launch")
    arguments = [
        DeclareLaunchArgument("bag", description="ROS 2 bag to play (folder)"),
        DeclareLaunchArgument("rate", default_value="1.0", description="speed of replay, 1.0 = real time"),
        DeclareLaunchArgument(
            "start_delay",
            default_value="2.0",
            description="seconds, above 0, from perception's activation to the first message, and before every further turn "
            "of a loop, in which player and node discover each other",
        ),
        DeclareLaunchArgument(
            "topics",
            default_value="",
            description="topics to play, '[/front/image, /tf]'; empty = the images of the configured cameras. Alarms and "
            "decisions of an earlier run must not be among them: the supervisor would hear two senders, and stop",
        ),
        DeclareLaunchArgument(
            "record",
            default_value="",
            description="folder, which must not exist, for a bag of the nodes' outputs: alarms, scores, decisions, stop "
            "commands, diagnostics, stamped with the recording's time; empty = none",
        ),
        DeclareLaunchArgument(
            "loop", default_value="false", choices=["true", "false"], description="begin again at the end, until Ctrl-C"
        ),
        DeclareLaunchArgument("rviz", default_value="false", choices=["true", "false"], description="open RViz too"),
    ]
    refuse_unknown("replay.launch.py", [*(argument.name for argument in arguments), *OF_MONITOR])
    monitor = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(folder, "monitor.launch.py")),
        launch_arguments={"use_sim_time": "true"}.items(),
    )
    rviz = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(folder, "rviz.launch.py")),
        launch_arguments={"use_sim_time": "true"}.items(),
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    # The handlers come first: they must be registered before perception is active.
    return LaunchDescription([*arguments, OpaqueFunction(function=_play), monitor, rviz])


def _play(context):
    """Make the handlers that start and end player and recorder; refuse what cannot work before a node starts."""

    def given(argument):
        return LaunchConfiguration(argument, default="").perform(context)

    topics = _topics(given)
    _check(given("bag"), topics, given("record"))
    player = ExecuteProcess(
        cmd=[
            "ros2",
            "bag",
            "play",
            given("bag"),
            "--clock",  # the nodes follow it, so that an image is as old as it was on the vehicle
            "100",
            "--delay",
            given("start_delay"),
            "--rate",
            given("rate"),
            *(["--loop"] if given("loop") == "true" else []),
            "--topics",
            *topics,
        ],
        output="screen",
    )
    entities, last = [player], []
    if given("record"):
        recorder = ExecuteProcess(
            # --regex: humble has no --topics here.
            cmd=["ros2", "bag", "record", "--output", given("record"), "--regex", OUTPUTS, "--use-sim-time"],
            output="screen",
        )
        last.append(
            EmitEvent(event=SignalProcess(signal_number=signal.SIGINT, process_matcher=matches_action(recorder)))
        )
        entities.insert(0, recorder)  # it discovers the topics during the player's delay
    if given("rviz") != "true":
        last.append(Shutdown(reason="the recording has ended"))

    def at_the_end(event, _context):
        if event.returncode:
            raise RuntimeError(f"ros2 bag play ended with exit code {event.returncode}; its output says why.")
        return [TimerAction(period=TAIL_S, actions=last)] if last else []

    ending = [RegisterEventHandler(OnProcessExit(target_action=player, on_exit=at_the_end))]
    # The network takes seconds to load; the first frames must not be played before.
    # handle_once: a node that is activated again by hand goes on with the recording that is being played.
    begin = RegisterEventHandler(OnStateTransition(goal_state="active", entities=entities, handle_once=True))
    return [begin, *ending]


def _check(bag, topics, record):
    if shutil.which("ros2") is None:
        raise RuntimeError(
            "there is no ros2 command, which plays the bag; source your ROS distribution, or use 'ls-ood play'."
        )
    if not os.path.exists(bag):
        raise RuntimeError(f"bag is {bag!r}, which does not exist; give the folder of a ROS 2 bag.")
    metadata = Path(bag) / "metadata.yaml"
    if metadata.is_file():
        content = yaml.safe_load(metadata.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
        held = [entry["topic_metadata"]["name"] for entry in content["topics_with_message_count"]]
        if not set(topics) & set(held):
            raise RuntimeError(
                f"bag {bag!r} has no {' and no '.join(topics)}; it holds {', '.join(held) or 'nothing'}. Name the cameras "
                "by their topics (cameras, transport, namespace), or choose others (topics)."
            )
    if record and os.path.exists(record):
        raise RuntimeError(f"record is {record!r}, which exists already; remove it or choose another folder.")
    if record and not os.path.isdir(os.path.dirname(os.path.abspath(record))):
        raise RuntimeError(f"record is {record!r}; its parent folder does not exist, make it first.")


def _topics(given):
    """The topics asked for, or the images of the cameras that the nodes are started with."""
    topics = yaml.safe_load(given("topics")) or yaml.safe_load(given("camera_topics"))
    if topics:
        return [topics] if isinstance(topics, str) else [str(topic) for topic in topics]
    from ls_ood_monitor.parameter_file import read_image_topics

    own = os.path.join(get_package_share_directory(PACKAGE), "config", "monitor.yaml")
    images = read_image_topics(
        Path(given("params_file") or own), yaml.safe_load(given("cameras")) or (), given("transport")
    )
    return ["/".join(["", *filter(None, given("namespace").split("/")), topic]) for topic in images]
