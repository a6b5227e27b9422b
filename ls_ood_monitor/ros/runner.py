"""Starts a node and ends it cleanly: 0 on SIGINT or SIGTERM, 2 with one sentence on a setting that cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from ..errors import MonitorError


def run_node(make_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Spin the node until it is told to end; returns the exit code."""
    rclpy.init(args=list(args) if args is not None else None)
    node: Node | None = None
    try:
        node = make_node()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except MonitorError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
