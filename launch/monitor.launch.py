"""Starts both nodes on a vehicle; perception is configured and activated once.

ros2 launch ls_ood_monitor monitor.launch.py cameras:='[front, left]' bundle:=/path/to/bundle
"""

import os
from typing import List  # launch_ros reads typing.List

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

from launch import LaunchDescription

PACKAGE = "ls_ood_monitor"
FROM_FILE = "empty = as in params_file"


def generate_launch_description():
    """Declare the arguments, set the environment, and start the nodes."""
    config = os.path.join(get_package_share_directory(PACKAGE), "config")
    profile = os.path.join(config, "fastdds_large_images.xml")
    # Fast DDS 2 reads the older name alone; Fast DDS 3 reads both, and reports the older one as an error.
    generation = "RTPS" if os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy") else "DDS"
    fast_dds = f"FAST{generation}_DEFAULT_PROFILES_FILE"
    arguments = [
        DeclareLaunchArgument(
            "params_file",
            default_value=os.path.join(config, "monitor.yaml"),
            description="YAML file with the parameters of both nodes",
        ),
        DeclareLaunchArgument(
            "cameras",
            default_value="",
            description=f"camera names, '[front, left]'; each is subscribed as <camera>/image; {FROM_FILE}",
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
            choices=["true", "false", ""],
            description=f"take time from /clock (recordings, simulators); {FROM_FILE}",
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="true",
            choices=["true", "false"],
            description="configure and activate perception at start; false = by hand or by a manager",
        ),
    ]
    environment = [
        # Without the profile, best-effort images over 512 KB are lost.
        SetEnvironmentVariable(name, value)
        for name, value in ((fast_dds, profile), ("OMP_WAIT_POLICY", "PASSIVE"))
        if name not in os.environ  # the integrator's own value stays
    ]
    return LaunchDescription([*arguments, *environment, OpaqueFunction(function=_nodes)])


def _nodes(context):
    """Make the nodes once the arguments are known: only given arguments override the parameter file."""

    def given(argument, parameter, kind):
        value = LaunchConfiguration(argument)
        return {parameter: ParameterValue(value, value_type=kind)} if value.perform(context) else {}

    shared = {**given("cameras", "cameras", List[str]), **given("use_sim_time", "use_sim_time", bool)}
    perception = LifecycleNode(
        package=PACKAGE,
        executable="perception_node",
        name="perception_node",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[
            LaunchConfiguration("params_file"),
            shared,
            {
                **given("bundle", "bundle_path", str),
                **given("device", "device", str),
                **given("transport", "transport", str),
                "autostart": False,  # the transitions below do it
            },
        ],
    )
    supervisor = Node(
        package=PACKAGE,
        executable="supervisor_node",
        name="supervisor_node",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[LaunchConfiguration("params_file"), shared],
        remappings=[("ood_alarm", "perception_node/ood_alarm")],
    )
    autostart = IfCondition(LaunchConfiguration("autostart"))
    configure = RegisterEventHandler(
        OnProcessStart(
            target_action=perception,
            on_start=[
                EmitEvent(
                    event=ChangeState(
                        lifecycle_node_matcher=matches_action(perception), transition_id=Transition.TRANSITION_CONFIGURE
                    )
                )
            ],
        ),
        condition=autostart,
    )
    # Without start_state the handler would also activate the node again after a manual deactivate.
    activate = RegisterEventHandler(
        OnStateTransition(
            target_lifecycle_node=perception,
            start_state="configuring",
            goal_state="inactive",
            entities=[
                EmitEvent(
                    event=ChangeState(
                        lifecycle_node_matcher=matches_action(perception), transition_id=Transition.TRANSITION_ACTIVATE
                    )
                )
            ],
        ),
        condition=autostart,
    )
    # The handlers come first: they must be registered before the process starts.
    return [configure, activate, supervisor, perception]
