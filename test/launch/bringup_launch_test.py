"""A launch_testing description of bringup: one stage comes up, says so, and everything ends cleanly at the shutdown.

Run by test_launch_testing.py, as `launch_test` does, with the pipeline file in OG_ROS_TEST_PIPELINE.
"""

from __future__ import annotations

import os
import time
import unittest
from typing import Any

import launch_testing
import rclpy
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch_testing.actions import ReadyToTest
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.executors import SingleThreadedExecutor

from og_ros.paths import share_directory


def generate_test_description() -> LaunchDescription:
    """Return bringup of the pipeline, driven by launch."""
    arguments = {"pipeline": os.environ["OG_ROS_TEST_PIPELINE"], "autostart": "launch", "auditor": "true"}
    bringup = IncludeLaunchDescription(
        str(share_directory() / "launch" / "bringup.launch.py"), launch_arguments=arguments.items()
    )
    return LaunchDescription([bringup, ReadyToTest()])


class WhileItRuns(unittest.TestCase):
    """The stage becomes active, and the auditor says that it audits."""

    def test_they_come_up(self, proc_output: Any) -> None:
        """Ask the stage for its state, as a lifecycle manager does."""
        proc_output.assertWaitFor("auditing with registry", timeout=30)
        context = rclpy.Context()  # launch has one of its own
        rclpy.init(context=context)
        node = rclpy.create_node("launch_test", context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        client = node.create_client(GetState, "/control/get_state")
        state, end = 0, time.monotonic() + 15
        while state != State.PRIMARY_STATE_ACTIVE and time.monotonic() < end:
            if client.wait_for_service(0.5):
                answer = client.call_async(GetState.Request())
                executor.spin_until_future_complete(answer, 1.0)
                state = answer.result().current_state.id if answer.done() else 0
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
        assert state == State.PRIMARY_STATE_ACTIVE


@launch_testing.post_shutdown_test()
class AfterShutdown(unittest.TestCase):
    """Whatever launch shut down ended by itself, without an error."""

    def test_exit_codes(self, proc_info: Any) -> None:
        """All exit codes are 0."""
        assert len(proc_info.process_names()) == 2
        launch_testing.asserts.assertExitCodes(proc_info)

    def test_the_auditor_says_its_verdict(self, proc_output: Any) -> None:
        """Without a command nothing was attested."""
        text = "".join(line.text.decode() for name in proc_output.process_names() for line in proc_output[name])
        assert "NO DATA: 0 attestations" in text
