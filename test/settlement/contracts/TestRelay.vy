# pragma version 0.4.3
# pragma evm-version shanghai
# SPDX-License-Identifier: Apache-2.0
"""
@title TestRelay
@notice What OpenGradient's settlement contract does with a batch, for tests: an event. Nothing is checked, and anybody calls.
"""

event BatchSettlement:
    merkleRoot: bytes32
    batchSize: uint256
    walrusBlobId: Bytes[256]


@external
def batchSettle(root: bytes32, size: uint256, blob: Bytes[256]):
    log BatchSettlement(merkleRoot=root, batchSize=size, walrusBlobId=blob)
