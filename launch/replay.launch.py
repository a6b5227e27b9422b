"""The monitor on a recording, played by ros2 bag with the recording's clock, once perception is active.

ros2 launch ls_ood_monitor replay.launch.py bag:=/path/to/bag cameras:='[front, left]'
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, RegisterEventHandler
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.event_handlers import OnStateTransition

from launch import LaunchDescription

PACKAGE = "ls_ood_monitor"


def generate_launch_description():
    """Monitor with simulated time, the player, and RViz if wanted."""
    folder = os.path.join(get_package_share_directory(PACKAGE), "launch")
    arguments = [
        DeclareLaunchArgument("bag", description="ROS 2 bag to play (folder)"),
        DeclareLaunchArgument("rate", default_value="1.0", description="speed of replay, 1.0 = real time"),
        DeclareLaunchArgument(
            "start_delay",
            default_value="2.0",
            description="seconds, above 0, from perception's activation to the first message: player and node find each other",
        ),
        DeclareLaunchArgument("rviz", default_value="false", choices=["true", "false"], description="open RViz too"),
    ]
    monitor = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(folder, "monitor.launch.py")),
        launch_arguments={"use_sim_time": "true"}.items(),
    )
    rviz = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(folder, "rviz.launch.py")),
        launch_arguments={"use_sim_time": "true"}.items(),
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    player = ExecuteProcess(
        cmd=[
            "ros2",
            "bag",
            "play",
            LaunchConfiguration("bag"),
            "--clock",  # the nodes live in it: the age of an image is what it was on the vehicle
            "100",
            "--delay",
            LaunchConfiguration("start_delay"),
            "--rate",
            LaunchConfiguration("rate"),
        ],
        output="screen",
    )
    # The network takes seconds to load, how many depends on the machine; the first frames must not be played before.
    # Once: a node that is activated again by hand goes on with the recording that runs.
    play = RegisterEventHandler(OnStateTransition(goal_state="active", entities=[player], handle_once=True))
    # The handler stands before the nodes: perception must not be active before somebody listens for it.
    return LaunchDescription([*arguments, play, monitor, rviz])
