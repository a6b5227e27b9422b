"""The monitor on a recording, played by ros2 bag with its own clock.

ros2 launch ls_ood_monitor replay.launch.py bag:=/path/to/bag cameras:='[front, left]'
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, TimerAction
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

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
            default_value="8.0",
            description="seconds given to perception to load its network before the bag starts",
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
            "--clock",
            "100",
            "--rate",
            LaunchConfiguration("rate"),
        ],
        output="screen",
    )
    return LaunchDescription(
        [*arguments, monitor, rviz, TimerAction(period=LaunchConfiguration("start_delay"), actions=[player])]
    )
