"""Starts RViz with the pictures of the monitor, and a node that publishes decision and alarms as texts for it.

ros2 launch ls_ood_monitor rviz.launch.py
"""

import os
import sys

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription


def generate_launch_description():
    """Start both nodes."""
    config = os.path.join(get_package_share_directory("ls_ood_monitor"), "config", "monitor.rviz")
    return LaunchDescription(
        [
            DeclareLaunchArgument("rviz_config", default_value=config, description="RViz configuration to open"),
            DeclareLaunchArgument(
                "use_sim_time", default_value="false", choices=["true", "false"], description="take time from /clock"
            ),
            DeclareLaunchArgument(
                "namespace", default_value="", description="namespace of the nodes whose decision and alarms are shown"
            ),
            DeclareLaunchArgument(
                "frame_id", default_value="base_link", description="frame of the texts, RViz's fixed frame"
            ),
            Node(
                executable=sys.executable,
                name="rviz_status",
                namespace=LaunchConfiguration("namespace"),
                output="screen",
                arguments=["-m", "ls_ood_monitor.ros.rviz_status"],
                parameters=[{"frame_id": ParameterValue(LaunchConfiguration("frame_id"), value_type=str)}],
            ),
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz2",
                output="screen",
                arguments=["-d", LaunchConfiguration("rviz_config")],
                parameters=[{"use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)}],
            ),
        ]
    )
