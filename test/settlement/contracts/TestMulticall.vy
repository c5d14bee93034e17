# pragma version 0.4.3
# pragma evm-version shanghai
# SPDX-License-Identifier: Apache-2.0
"""
@title TestMulticall
@notice The one function of Multicall3 by which x402's facilitator finds out why a payment would fail. Public chains
        have Multicall3 at a known address; a test puts this there.
"""

struct Call:
    target: address
    data: Bytes[512]

struct Result:
    success: bool
    data: Bytes[512]


@external
def tryAggregate(requireSuccess: bool, calls: DynArray[Call, 8]) -> DynArray[Result, 8]:
    results: DynArray[Result, 8] = []
    for call: Call in calls:
        success: bool = False
        data: Bytes[512] = b""
        success, data = raw_call(call.target, call.data, max_outsize=512, revert_on_failure=False)
        assert success or not requireSuccess, "a call failed"
        results.append(Result(success=success, data=data))
    return results
