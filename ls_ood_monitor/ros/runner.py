"""Runs nodes: one as a process that ends cleanly, or several in threads of a command."""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from ..errors import MonitorError
from .environment import asked_domain

AnyNode = TypeVar("AnyNode", bound=Node)


def run_node(make_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Spin a node until SIGINT or SIGTERM.

    Returns:
        The exit code: 0, or 2 with one sentence on stderr for a setting that cannot be used.
    """
    try:
        asked_domain()  # rclpy would end in a traceback about a participant
        rclpy.init(args=list(args) if args is not None else None)
    except MonitorError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except RuntimeError as error:  # arguments or parameter files that rclpy cannot read
        # rcl appends the places in its sources, level by level, which no user needs.
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


@contextmanager
def ros_context() -> Iterator[None]:
    """Start rclpy for a command, without its signal handlers: SIGINT and SIGTERM raise ``KeyboardInterrupt``.

    rclpy's own handlers would end the context under a recording that is not finished.
    """
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        rclpy.try_shutdown()
        signal.signal(signal.SIGTERM, before)


@contextmanager
def spinning(node: AnyNode) -> Iterator[AnyNode]:
    """Spin a node in a thread of its own; destroy it at the end."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown()
        thread.join(5.0)
        node.destroy_node()
