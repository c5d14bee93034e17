# pragma version 0.4.3
# pragma evm-version shanghai
# SPDX-License-Identifier: Apache-2.0
"""
@title DecisionChain
@notice Keeps one chain of log checkpoints per (submitter, robot): strictly in sequence, only growing, each signed by
        the robot's settlement key, which the node registry must approve at that very moment.
@dev No owner, no upgrade, no value. What a checkpoint's key signs is what becomes the chain's new head.
"""

interface NodeRegistry:
    def settler(robot: bytes32) -> (uint256, bytes32, bytes32): view
    def settler_terms(robot: bytes32) -> uint256: view

event Settled:
    submitter: indexed(address)
    robot: indexed(bytes32)
    head: indexed(bytes32)
    previous: bytes32
    sequence: uint256
    size: uint256
    root: bytes32
    signed: bool

struct State:
    head: bytes32
    # checkpoints so far in the lower 64 bits, leaves of the newest above them
    counts: uint256

DOMAIN: constant(bytes32) = keccak256("og_ros DecisionChain v1")
P256VERIFY: constant(address) = 0x0000000000000000000000000000000000000100
HALF_ORDER: constant(uint256) = 57896044605178124381348723474703786764998477612067880171211129530534256022184  # of P-256's order, rounded down
OPERATOR: constant(uint256) = 2**160 - 1
UNSIGNED: constant(uint256) = 1 << 226
MASK_64: constant(uint256) = 2**64 - 1
MAX_SIZE: constant(uint256) = 2**63 - 1

registry: public(immutable(address))
states: HashMap[address, HashMap[bytes32, State]]


@deploy
def __init__(node_registry: address):
    assert node_registry.is_contract, "no registry"
    registry = node_registry


@external
def settle(robot: bytes32, sequence: uint256, size: uint256, root: bytes32, r: bytes32, s: bytes32):
    """
    @notice Append a checkpoint that the robot's settlement key signed; the sender is the key's operator.
    """
    terms: uint256 = 0
    x: bytes32 = empty(bytes32)
    y: bytes32 = empty(bytes32)
    terms, x, y = staticcall NodeRegistry(registry).settler(robot)
    head: bytes32 = self._append(terms, robot, sequence, size, root, True)
    assert convert(s, uint256) <= HALF_ORDER, "high s"
    answer: Bytes[32] = raw_call(P256VERIFY, concat(head, r, s, x, y), max_outsize=32, is_static_call=True)
    assert len(answer) == 32 and convert(answer, uint256) == 1, "bad signature"


@external
def settle_unsigned(robot: bytes32, sequence: uint256, size: uint256, root: bytes32):
    """
    @notice Append a checkpoint on the operator's word: where the approver allowed it, for chains without P256VERIFY.
    """
    terms: uint256 = staticcall NodeRegistry(registry).settler_terms(robot)
    assert terms & UNSIGNED != 0, "must be signed"
    self._append(terms, robot, sequence, size, root, False)


@internal
def _append(terms: uint256, robot: bytes32, sequence: uint256, size: uint256, root: bytes32, signed: bool) -> bytes32:
    assert terms != 0, "no valid key"
    assert terms & OPERATOR == convert(msg.sender, uint256), "not the operator"
    counts: uint256 = self.states[msg.sender][robot].counts
    assert sequence == counts & MASK_64, "not the next"
    assert size > counts >> 64 and size <= MAX_SIZE, "size does not grow"
    previous: bytes32 = self.states[msg.sender][robot].head
    head: bytes32 = self._head(msg.sender, robot, previous, sequence, size, root)
    self.states[msg.sender][robot] = State(head=head, counts=(size << 64) | (sequence + 1))
    log Settled(
        submitter=msg.sender, robot=robot, head=head, previous=previous, sequence=sequence, size=size, root=root,
        signed=signed,
    )
    return head


@external
@view
def state(submitter: address, robot: bytes32) -> (bytes32, uint256, uint256):
    """
    @notice The head of a chain, how many checkpoints it has, and how many leaves the newest covers.
    """
    found: State = self.states[submitter][robot]
    return found.head, found.counts & MASK_64, found.counts >> 64


@external
@view
def proves(
    submitter: address, robot: bytes32, previous: bytes32, size: uint256, root: bytes32,
    leaf_hash: bytes32, index: uint256, path: DynArray[bytes32, 63],
) -> bool:
    """
    @notice Whether a leaf of a robot's log is under its newest settled checkpoint. A log only grows, so every leaf
            that was ever settled is.
    """
    found: State = self.states[submitter][robot]
    count: uint256 = found.counts & MASK_64
    if count == 0 or self._head(submitter, robot, previous, count - 1, size, root) != found.head:
        return False
    return self._included(leaf_hash, index, size, path, root)


@external
@pure
def included(leaf_hash: bytes32, index: uint256, size: uint256, path: DynArray[bytes32, 63], root: bytes32) -> bool:
    """
    @notice RFC 9162 section 2.1.3.2: whether a leaf hash is at an index of the SHA-256 tree with this size and root.
    """
    return self._included(leaf_hash, index, size, path, root)


@internal
@view
def _head(
    submitter: address, robot: bytes32, previous: bytes32, sequence: uint256, size: uint256, root: bytes32
) -> bytes32:
    return sha256(abi_encode(DOMAIN, chain.id, self, submitter, robot, previous, sequence, size, root))


@internal
@pure
def _included(leaf_hash: bytes32, index: uint256, size: uint256, path: DynArray[bytes32, 63], root: bytes32) -> bool:
    if index >= size or size > MAX_SIZE:
        return False
    position: uint256 = index
    last: uint256 = size - 1
    computed: bytes32 = leaf_hash
    for sibling: bytes32 in path:
        if last == 0:
            return False
        if position & 1 == 1 or position == last:
            computed = sha256(concat(x"01", sibling, computed))
            for _: uint256 in range(64):
                if position & 1 == 1 or position == 0:
                    break
                position = position >> 1
                last = last >> 1
        else:
            computed = sha256(concat(x"01", computed, sibling))
        position = position >> 1
        last = last >> 1
    return last == 0 and computed == root
