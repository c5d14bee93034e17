# pragma version 0.4.3
# pragma evm-version shanghai
# SPDX-License-Identifier: Apache-2.0
"""
@title DecisionChain
@notice Keeps one chain of log checkpoints per (submitter, robot): strictly in sequence, only growing, each signed by
        the robot's settlement key, which the node registry must approve at that very moment. Aggregators settle for
        fleets: many robots' checkpoints in a transaction, or the root of one log over all of them.
@dev No owner, no upgrade, no value. What a checkpoint's key signs is what becomes the chain's new head.
"""

interface NodeRegistry:
    def settler(robot: bytes32) -> (uint256, bytes32, bytes32): view
    def settler_terms(robot: bytes32) -> uint256: view
    def is_aggregator(account: address) -> bool: view

event Settled:
    submitter: indexed(address)
    robot: indexed(bytes32)
    head: indexed(bytes32)
    previous: bytes32
    sequence: uint256
    size: uint256
    root: bytes32
    signed: bool

event RootSettled:
    aggregator: indexed(address)
    head: indexed(bytes32)
    previous: bytes32
    sequence: uint256
    count: uint256
    root: bytes32

struct State:
    head: bytes32
    # checkpoints so far in the lower 64 bits, leaves of the newest above them
    counts: uint256

DOMAIN: constant(bytes32) = keccak256("og_ros DecisionChain v1")
FLEET_DOMAIN: constant(bytes32) = keccak256("og_ros DecisionChain fleet v1")
MAX_FLEET: constant(uint256) = 256
P256VERIFY: constant(address) = 0x0000000000000000000000000000000000000100
HALF_ORDER: constant(uint256) = 57896044605178124381348723474703786764998477612067880171211129530534256022184  # of P-256's order, rounded down
OPERATOR: constant(uint256) = 2**160 - 1
UNSIGNED: constant(uint256) = 1 << 242
MASK_64: constant(uint256) = 2**64 - 1
MAX_SIZE: constant(uint256) = 2**63 - 1

registry: public(immutable(address))
states: HashMap[address, HashMap[bytes32, State]]
fleets: HashMap[address, State]


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


@external
def settle_fleet(
    robots: DynArray[bytes32, 256], sizes: DynArray[uint256, 256], roots: DynArray[bytes32, 256],
    previous: DynArray[bytes32, 256],
):
    """
    @notice Append one checkpoint to the sender's chain of each robot, whose head must be `previous`. The sender is an
            approved aggregator: that the robots signed, it shows off chain.
    """
    assert staticcall NodeRegistry(registry).is_aggregator(msg.sender), "not an aggregator"
    count: uint256 = len(robots)
    assert count > 0, "no robots"
    assert count == len(sizes) and count == len(roots) and count == len(previous), "lengths differ"
    for i: uint256 in range(count, bound=MAX_FLEET):
        assert staticcall NodeRegistry(registry).settler_terms(robots[i]) != 0, "no valid key"
        found: State = self.states[msg.sender][robots[i]]
        assert previous[i] == found.head, "not the next"
        self._extend(found, robots[i], sizes[i], roots[i], False)


@external
def settle_root(root: bytes32, count: uint256, previous: bytes32):
    """
    @notice Append to the sender's chain the root of its log over robots' checkpoints, which has `count` leaves and
            only grows. The sender is an approved aggregator.
    """
    assert staticcall NodeRegistry(registry).is_aggregator(msg.sender), "not an aggregator"
    found: State = self.fleets[msg.sender]
    assert previous == found.head, "not the next"
    assert count > found.counts >> 64 and count <= MAX_SIZE, "size does not grow"
    sequence: uint256 = found.counts & MASK_64
    head: bytes32 = self._fleet_head(msg.sender, previous, sequence, count, root)
    self.fleets[msg.sender] = State(head=head, counts=(count << 64) | (sequence + 1))
    log RootSettled(
        aggregator=msg.sender, head=head, previous=previous, sequence=sequence, count=count, root=root
    )


@internal
def _append(terms: uint256, robot: bytes32, sequence: uint256, size: uint256, root: bytes32, signed: bool) -> bytes32:
    assert terms != 0, "no valid key"
    assert terms & OPERATOR == convert(msg.sender, uint256), "not the operator"
    found: State = self.states[msg.sender][robot]
    assert sequence == found.counts & MASK_64, "not the next"
    return self._extend(found, robot, size, root, signed)


@internal
def _extend(found: State, robot: bytes32, size: uint256, root: bytes32, signed: bool) -> bytes32:
    assert size > found.counts >> 64 and size <= MAX_SIZE, "size does not grow"
    sequence: uint256 = found.counts & MASK_64
    head: bytes32 = self._head(msg.sender, robot, found.head, sequence, size, root)
    self.states[msg.sender][robot] = State(head=head, counts=(size << 64) | (sequence + 1))
    log Settled(
        submitter=msg.sender, robot=robot, head=head, previous=found.head, sequence=sequence, size=size, root=root,
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
def fleet_state(aggregator: address) -> (bytes32, uint256, uint256):
    """
    @notice The head of an aggregator's chain, how many roots it has, and how many leaves the newest covers.
    """
    found: State = self.fleets[aggregator]
    return found.head, found.counts & MASK_64, found.counts >> 64


@external
@view
def proves_in_fleet(
    aggregator: address, previous: bytes32, count: uint256, root: bytes32,
    leaf_hash: bytes32, index: uint256, path: DynArray[bytes32, 63],
) -> bool:
    """
    @notice Whether a leaf of an aggregator's log (a robot's checkpoint) is under its newest settled root.
    """
    found: State = self.fleets[aggregator]
    number: uint256 = found.counts & MASK_64
    if number == 0 or self._fleet_head(aggregator, previous, number - 1, count, root) != found.head:
        return False
    return self._included(leaf_hash, index, count, path, root)


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
@view
def _fleet_head(aggregator: address, previous: bytes32, sequence: uint256, count: uint256, root: bytes32) -> bytes32:
    return sha256(abi_encode(FLEET_DOMAIN, chain.id, self, aggregator, previous, sequence, count, root))


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
