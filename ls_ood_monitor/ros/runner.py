"""Runs nodes: one as a process that ends cleanly, or several in threads of a command."""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from ..errors import MonitorError
from .environment import asked_domain

AnyNode = TypeVar("AnyNode", bound=Node)
#: A signal is noticed within this time where no timer wakes the node before, seconds.
_SIGNAL_DELAY_S = 0.1


def run_node(
    make_node: Callable[[], AnyNode],
    args: Sequence[str] | None = None,
    on_end: Callable[[AnyNode], None] | None = None,
) -> int:
    """Spin a node until SIGINT or SIGTERM.

    Args:
        make_node: makes it.
        args: of ROS; None = those of the process.
        on_end: called last, however the node ends, while it can still publish.

    Returns:
        The exit code: 0, or 2 with one sentence on stderr for a setting that cannot be used.
    """
    try:
        asked_domain()  # rclpy would end in a traceback about a participant
        # rclpy's own handlers would close the context before the last message.
        rclpy.init(args=list(args) if args is not None else None, signal_handler_options=SignalHandlerOptions.NO)
    except MonitorError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except RuntimeError as error:  # arguments or parameter files that rclpy cannot read
        # rcl appends the places in its sources, level by level, which no user needs.
        sys.stderr.write(re.split(r",? at \S+:\d+", str(error), maxsplit=1)[0] + "\n")
        return 2
    ended = threading.Event()
    node: AnyNode | None = None
    _handle_signals(signal.default_int_handler)  # at once: a network may take seconds to load
    try:
        node = make_node()
        _handle_signals(lambda _number, _frame: ended.set())  # a callback that runs is finished first
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not ended.is_set():
            executor.spin_once(timeout_sec=_SIGNAL_DELAY_S)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except MonitorError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        if node is not None:
            if on_end is not None and rclpy.ok():
                on_end(node)
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _handle_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


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
