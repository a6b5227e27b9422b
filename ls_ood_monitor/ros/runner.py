"""Starts a node and ends it cleanly: 0 on SIGINT or SIGTERM, 2 with one sentence on a setting that cannot be used."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from ..errors import MonitorError
from .processes import asked_domain


def run_node(make_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Spin the node until it is told to end; returns the exit code."""
    try:
        asked_domain()  # rclpy would end in a traceback about a participant
        rclpy.init(args=list(args) if args is not None else None)
    except MonitorError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except RuntimeError as error:  # rclpy's own errors on arguments and parameter files it cannot read
        # rcl appends where in its sources it failed, level by level: not for users.
        sys.stderr.write(re.split(r",? at \S+:\d+", str(error), maxsplit=1)[0] + "\n")
        return 2
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
