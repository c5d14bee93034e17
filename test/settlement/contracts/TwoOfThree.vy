# pragma version 0.4.3
# pragma evm-version shanghai
# SPDX-License-Identifier: Apache-2.0
"""
@title TwoOfThree
@notice A wallet of three owners for tests: a call goes out once two of them have asked for it with the same number.
"""

owners: public(address[3])
done: public(uint256)
asked: HashMap[bytes32, HashMap[address, bool]]


@deploy
def __init__(first: address, second: address, third: address):
    self.owners = [first, second, third]


@external
def ask(to: address, data: Bytes[2048], number: uint256):
    assert msg.sender in self.owners, "not an owner"
    assert number == self.done, "not the next"
    call: bytes32 = keccak256(abi_encode(to, data, number))
    self.asked[call][msg.sender] = True
    count: uint256 = 0
    for owner: address in self.owners:
        if self.asked[call][owner]:
            count += 1
    if count >= 2:
        self.done += 1
        raw_call(to, data)
