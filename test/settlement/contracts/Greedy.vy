# pragma version 0.4.3
# pragma evm-version shanghai
# SPDX-License-Identifier: Apache-2.0
"""
@title Greedy
@notice An attacker for tests: operator or reporter in a NodeRegistry who, when he is paid, calls in again for more.
"""

target: address
again: Bytes[40000]
tries: public(uint256)
successes: public(uint256)


@external
@payable
def act(to: address, data: Bytes[40000]):
    raw_call(to, data, value=msg.value)


@external
def arm(target: address, again: Bytes[40000]):
    self.target = target
    self.again = again


@external
@payable
def __default__():
    if len(self.again) > 0:
        self.tries += 1
        if raw_call(self.target, self.again, revert_on_failure=False):
            self.successes += 1
