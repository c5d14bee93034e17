"""Runs a node as a process of its own: start, spin, and a stop on SIGINT or SIGTERM that loses nothing."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation as rclpy_native
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from og_ros.errors import OgError
from og_ros.nodes.real_time import IdleCollection, keep_freed_memory
from og_ros.nodes.shared_memory import SharedMemoryPorts
from og_ros.nodes.topics import usable_names

# A process group and the parent in it often both pass a signal on: two in so short a time are one wish.
_ONE_WISH_S: Final = 1.0


# Spinning ends at the latest after so long, to look at `finished`, and to collect garbage in an idle moment.
_SPIN_S: Final = 0.5
# So often a process looks whether it still hears others.
_HEARING_S: Final = 1.0
DEAF: Final = "node_deaf"
_STARTED_ANEW: Final = "OG_ROS_STARTED_ANEW"


def started_anew() -> str:
    """Return, once, why this process started itself anew (DEAF), or nothing."""
    return os.environ.pop(_STARTED_ANEW, "")


def run_node(
    make: Callable[[], Node], args: Sequence[str] | None = None, *, linger_s: float = 0.0, events: bool = False
) -> int:
    """Spin a node until SIGINT, SIGTERM, or its attribute `finished` is true; then let it `close` and leave.

    rclpy's own handlers would shut the context down first, and what the node still holds could not be published; so
    the signals are taken here. After one, a node that listens to others goes on for `linger_s`: Ctrl-C reaches them all
    at once, and what the others still have to say shall be heard. Another signal, more than a second after the first,
    ends the process at once. Returns the exit code: the node's attribute `exit_code` if it has one, else 0, or 1 after
    an OgError, which is printed as one line.

    With `events`, rclpy's EventsExecutor runs the callbacks where there is one (Jazzy's 7.1.4 and later): it builds no
    wait set for each message. It is for nodes without coroutines as callbacks. Memory and garbage are kept out of
    callbacks: see og_ros.nodes.real_time.

    A process that Fast DDS made deaf (see og_ros.nodes.shared_memory) closes its node and starts itself anew, unless
    the node's attribute `starts_anew` is false: then it ends with exit code 1.
    """
    keep_freed_memory()
    try:
        rclpy.init(args=list(args) if args is not None else None, signal_handler_options=SignalHandlerOptions.NO)
    except (rclpy_native.RCLError, rclpy_native.UnknownROSArgsError) as error:  # a parameter file, a remapping
        print(f"og_ros: wrong ROS arguments: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return 1
    executor = _events_executor() if events else None
    executor = executor or SingleThreadedExecutor()
    signalled: float | None = None

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal signalled
        now = time.monotonic()
        if signalled is None:
            signalled = now
            executor.wake()
        elif now - signalled > _ONE_WISH_S:
            sys.exit(128 + number)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    node: Node | None = None
    collection: IdleCollection | None = None
    hearing = _Hearing()
    try:
        with usable_names():
            node = make()
        executor.add_node(node)
        collection = IdleCollection()
        while rclpy.ok() and not getattr(node, "finished", False):
            left = _SPIN_S if signalled is None else signalled + linger_s - time.monotonic()
            if left <= 0:
                break
            executor.spin_once(timeout_sec=min(left, _SPIN_S))
            collection.idle()
            if hearing.is_lost(node):
                break
    except ExternalShutdownException:
        pass
    except OgError as error:
        name = node.get_name() if node is not None else "og_ros"
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        if collection is not None:
            collection.close()
        if node is not None:
            close = getattr(node, "close", None)
            if close is not None:
                close()
            executor.remove_node(node)
            node.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()
        if signalled is not None:
            # The end is under way. Python drops its handlers before the process is gone, and a second signal that comes
            # then would make a clean end look like a crash.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
    if hearing.lost and signalled is None:
        if getattr(node, "starts_anew", True):
            sys.stdout.flush()
            sys.stderr.flush()
            os.environ[_STARTED_ANEW] = DEAF
            # Else the new start inherits DDS's sockets and locks, and is in its own way.
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            os.execv(sys.executable, sys.orig_argv)
        return int(getattr(node, "exit_code", 0)) or 1
    return int(getattr(node, "exit_code", 0))


class _Hearing:
    """Looks once a second whether the process still hears others, and logs it when not."""

    def __init__(self) -> None:
        self.lost = False
        self._ports = SharedMemoryPorts()
        self._next = time.monotonic() + _HEARING_S

    def is_lost(self, node: Node) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + _HEARING_S
        files = self._ports.lost()
        if not files:
            return False
        self.lost = True
        what = "it starts anew" if getattr(node, "starts_anew", True) else "it ends"
        node.get_logger().error(
            f"{DEAF}: Fast DDS gave {', '.join(files)} to others while this process stood still for over a second; it "
            f"hears nothing there any more, so {what}"
        )
        return True


def _events_executor() -> Executor | None:
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:
        return None
    return EventsExecutor()
