"""A launch_testing description of bringup: one stage comes up, says so, and everything ends cleanly at the shutdown.

Run by test_launch_testing.py, as `launch_test` does, with the pipeline file in OG_ROS_TEST_PIPELINE.
"""

from __future__ import annotations

import os
import unittest
from typing import Any

import launch_testing
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch_testing.actions import ReadyToTest

from og_ros.paths import share_directory


def generate_test_description() -> LaunchDescription:
    """Return bringup of the pipeline, driven by launch."""
    arguments = {"pipeline": os.environ["OG_ROS_TEST_PIPELINE"], "autostart": "launch", "auditor": "true"}
    bringup = IncludeLaunchDescription(
        str(share_directory() / "launch" / "bringup.launch.py"), launch_arguments=arguments.items()
    )
    return LaunchDescription([bringup, ReadyToTest()])


class WhileItRuns(unittest.TestCase):
    """The stage says where its attestations are, and the auditor that it audits."""

    def test_they_come_up(self, proc_output: Any) -> None:
        """Wait for the words of both nodes."""
        for words in ("attestations on /wheel_command/attestation", "auditing with registry"):
            proc_output.assertWaitFor(words, timeout=30)


@launch_testing.post_shutdown_test()
class AfterShutdown(unittest.TestCase):
    """Whatever launch shut down ended by itself, without an error."""

    def test_exit_codes(self, proc_info: Any) -> None:
        """All exit codes are 0."""
        self.assertEqual(len(proc_info.process_names()), 2)
        launch_testing.asserts.assertExitCodes(proc_info)

    def test_the_auditor_says_its_verdict(self, proc_output: Any) -> None:
        """Without a command nothing was attested."""
        text = "".join(line.text.decode() for name in proc_output.process_names() for line in proc_output[name])
        self.assertIn("NO DATA: 0 attestations", text)
