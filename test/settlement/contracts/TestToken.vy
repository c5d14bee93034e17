# pragma version 0.4.3
# pragma evm-version shanghai
# SPDX-License-Identifier: Apache-2.0
"""
@title TestToken
@notice A token with EIP-3009 transfers, for tests of payments by x402. Anybody mints: it is worth nothing.
"""

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    amount: uint256

event AuthorizationUsed:
    authorizer: indexed(address)
    nonce: indexed(bytes32)

name: public(constant(String[16])) = "Test Token"
version: public(constant(String[1])) = "1"
decimals: public(constant(uint8)) = 6

AUTHORIZATION: constant(bytes32) = keccak256("TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)")
DOMAIN: constant(bytes32) = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")

balanceOf: public(HashMap[address, uint256])
authorizationState: public(HashMap[address, HashMap[bytes32, bool]])


@external
def mint(receiver: address, amount: uint256):
    self.balanceOf[receiver] += amount
    log Transfer(sender=empty(address), receiver=receiver, amount=amount)


@external
def transferWithAuthorization(
    authorizer: address, to: address, amount: uint256, validAfter: uint256, validBefore: uint256, nonce: bytes32,
    v: uint8, r: bytes32, s: bytes32,
):
    assert validAfter < block.timestamp, "not valid yet"
    assert block.timestamp < validBefore, "expired"
    assert not self.authorizationState[authorizer][nonce], "nonce is used"
    domain: bytes32 = keccak256(abi_encode(DOMAIN, keccak256(name), keccak256(version), chain.id, self))
    order: bytes32 = keccak256(abi_encode(AUTHORIZATION, authorizer, to, amount, validAfter, validBefore, nonce))
    signer: address = ecrecover(keccak256(concat(x"1901", domain, order)), v, r, s)
    assert signer == authorizer and signer != empty(address), "bad signature"
    self.authorizationState[authorizer][nonce] = True
    log AuthorizationUsed(authorizer=authorizer, nonce=nonce)
    self.balanceOf[authorizer] -= amount
    self.balanceOf[to] += amount
    log Transfer(sender=authorizer, receiver=to, amount=amount)
