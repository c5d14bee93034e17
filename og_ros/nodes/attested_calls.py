"""Services and actions as decisions: what a server was asked and what it answered, as messages that can be attested.

A service's bytes travel on no topic, and rclpy does not hand them to a callback. So an attested server publishes what
it got and what it answered on two topics of its own, `<service>/request` and `<service>/response` (an action:
`<action>/goal`, `<action>/feedback`, `<action>/result`), typed as the parts of the service's or action's own type.
Anything that records topics records them, in any distribution; the digests are over these messages.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message

from og_ros.nodes.attestation_publisher import Message

if TYPE_CHECKING:
    from og_ros.nodes.attested import Attestor

# As deep as attestations: who records them hears a burst of calls whole.
QOS_DEPTH = 1000


class Part:
    """One part of a service or action, such as its request: the topic on which the server says it."""

    def __init__(self, attestor: Attestor, name: str, kind: Any) -> None:
        self._attestor = attestor
        self.publisher = attestor.node.create_publisher(kind, name, QoSProfile(depth=QOS_DEPTH))

    def say(self, message: Any) -> Message:
        """Publish what the server got, and return the record of it."""
        payload = serialize_message(message)
        self.publisher.publish(payload)
        return self._attestor.message(self.publisher.topic_name, self.publisher.msg_type, payload, message)


def service_callback(attestor: Attestor, name: str, kind: Any, callback: Callable[[Any, Any], Any]) -> Any:
    """Return a service's callback that attests each answer as the output of one inference, over its request."""
    requests = Part(attestor, f"{name}/request", kind.Request)
    responses = Part(attestor, f"{name}/response", kind.Response)
    attestor.announce(responses.publisher)

    def answer(request: Any, response: Any) -> Any:
        with attestor.inference_over(requests.say(request)) as run:
            answered = callback(request, response)
            run.publish(responses.publisher, answered)
        return answered

    return answer


def action_callback(attestor: Attestor, name: str, kind: Any, execute: Callable[[Any], Any]) -> Any:
    """Return an action's execute callback that attests its result, and each feedback, over its goal."""
    goals = Part(attestor, f"{name}/goal", kind.Goal)
    feedbacks = Part(attestor, f"{name}/feedback", kind.Feedback)
    results = Part(attestor, f"{name}/result", kind.Result)
    attestor.announce(results.publisher)

    def watched(goal_handle: Any) -> Message:
        goal = goals.say(goal_handle.request)
        tell = goal_handle.publish_feedback

        def publish_feedback(feedback: Any) -> None:
            with attestor.inference_over(goal) as run:
                run.publish(feedbacks.publisher, feedback)
            tell(feedback)

        goal_handle.publish_feedback = publish_feedback
        return goal

    if inspect.iscoroutinefunction(execute):

        async def execute_later(goal_handle: Any) -> Any:
            # Not as the inference at hand while others run between: only what is returned belongs to it.
            run = attestor.begin(watched(goal_handle))
            result = await execute(goal_handle)
            run.publish(results.publisher, result)
            attestor.end(run)
            return result

        return execute_later

    def execute_now(goal_handle: Any) -> Any:
        with attestor.inference_over(watched(goal_handle)) as run:
            result = execute(goal_handle)
            run.publish(results.publisher, result)
        return result

    return execute_now
