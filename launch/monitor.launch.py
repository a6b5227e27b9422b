"""Starts both nodes on a vehicle; perception is configured and activated once.

ros2 launch ls_ood_monitor monitor.launch.py cameras:='[front, left]' bundle:=/path/to/bundle
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchDescription
from ls_ood_monitor.launch_arguments import refuse_unknown, typed
from ls_ood_monitor.parameter_file import read_image_topics

PACKAGE = "ls_ood_monitor"
FROM_FILE = "empty = as in params_file"


def generate_launch_description():
    """Declare the arguments, set the environment, and start the nodes."""
    config = os.path.join(get_package_share_directory(PACKAGE), "config")
    arguments = [
        DeclareLaunchArgument(
            "params_file",
            default_value=os.path.join(config, "monitor.yaml"),
            description="YAML file with the parameters of both nodes",
        ),
        DeclareLaunchArgument(
            "cameras",
            default_value="",
            description=f"camera names, front or '[front, left]'; each is subscribed as <camera>/image; {FROM_FILE}",
        ),
        DeclareLaunchArgument(
            "camera_topics",
            default_value="",
            description="topic of each camera, in their order, '[/front/image_raw, /left/image_raw]'; empty = <camera>/image, or "
            "<camera>/image/compressed",
        ),
        DeclareLaunchArgument("bundle", default_value="", description=f"bundle folder; {FROM_FILE}"),
        DeclareLaunchArgument("device", default_value="", description=f"auto, cpu, cuda or cuda:<index>; {FROM_FILE}"),
        DeclareLaunchArgument(
            "transport",
            default_value="",
            choices=["", "raw", "compressed"],
            description=f"image transport of the cameras, raw or compressed; {FROM_FILE}",
        ),
        DeclareLaunchArgument("namespace", default_value="", description="namespace of both nodes and their topics"),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="",
            description=f"true or false: take time from /clock (recordings, simulators); {FROM_FILE}",
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="true",
            description="true: configure and activate perception once, at its start; false: by hand or by a manager",
        ),
        DeclareLaunchArgument(
            "respawn", default_value="false", description="true: start a node again 1 s after its process has ended"
        ),
        DeclareLaunchArgument(
            "required", default_value="false", description="true: the launch ends when the process of a node ends"
        ),
    ]
    refuse_unknown("monitor.launch.py", [argument.name for argument in arguments])
    return LaunchDescription([*arguments, OpaqueFunction(function=_nodes, args=[config])])


def _nodes(context, config):
    """Make the nodes once the arguments are known: only given arguments override the parameter file."""

    def given(argument, parameter, kind):
        text = LaunchConfiguration(argument).perform(context)
        return {parameter: typed(argument, text, kind)} if text else {}

    def switch(argument):
        return typed(argument, LaunchConfiguration(argument).perform(context), bool)

    params_file = LaunchConfiguration("params_file").perform(context)
    if not os.path.isfile(params_file):
        raise RuntimeError(f"params_file is {params_file!r}, which is no file; give the parameter file of both nodes.")
    shared = {**given("cameras", "cameras", list), **given("use_sim_time", "use_sim_time", bool)}
    own_topics = read_image_topics(
        Path(params_file), shared.get("cameras", ()), given("transport", "text", str).get("text", "")
    )
    common = {
        "package": PACKAGE,
        "namespace": LaunchConfiguration("namespace"),
        "output": "screen",
        "additional_env": _environment(config),
        "respawn": switch("respawn"),
        "respawn_delay": 1.0,
        "on_exit": [Shutdown(reason="a required node has ended")] if switch("required") else [],
    }
    perception = LifecycleNode(
        executable="perception_node",
        name="perception_node",
        parameters=[
            params_file,
            {
                **shared,
                **given("bundle", "bundle_path", str),
                **given("device", "device", str),
                **given("transport", "transport", str),
                "autostart": switch("autostart"),
            },
        ],
        remappings=_remappings(own_topics, given("camera_topics", "topics", list).get("topics", [])),
        **common,
    )
    supervisor = Node(
        executable="supervisor_node",
        name="supervisor_node",
        parameters=[params_file, shared],
        remappings=[("ood_alarm", "perception_node/ood_alarm")],
        **common,
    )
    return [supervisor, perception]


def _environment(config):
    """Variables of the two nodes alone. The integrator's own values stay."""
    # Fast DDS 2 reads the older name alone; Fast DDS 3 reads both, and reports the older one as an error.
    generation = "RTPS" if os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy") else "DDS"
    # Without the profile, best-effort images over 512 KB are lost.
    profile = os.path.join(config, "fastdds_large_images.xml")
    wanted = {f"FAST{generation}_DEFAULT_PROFILES_FILE": profile, "OMP_WAIT_POLICY": "PASSIVE"}
    return {name: value for name, value in wanted.items() if name not in os.environ}


def _remappings(own, topics):
    """From the topic that perception subscribes to, camera by camera, to the one given."""
    if topics and len(topics) != len(own):
        raise RuntimeError(f"camera_topics has {len(topics)} topics for {len(own)} cameras; give one for each camera.")
    return list(zip(own, topics, strict=False))
