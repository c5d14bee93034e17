# pragma version 0.4.3
# pragma evm-version shanghai
# SPDX-License-Identifier: Apache-2.0
"""
@title NodeRegistry
@notice Which keys may speak for which robot: proposed with proof of possession, approved, expiring, revoked, kept alive
        by heartbeats; and the bonds behind them, which go to whoever proves that a key signed two histories.
@dev A key's id is SHA-256 of its SubjectPublicKeyInfo, as everywhere in og_ros. A robot is named by keccak256 of its
     name. A proposal binds nothing; an approval does, so nobody takes a robot's name by being the first to say it.
     `history` commits to every event but heartbeats and bonds, in order: one storage proof shows that none is missing.
"""

event Proposed:
    key_id: indexed(bytes32)
    robot: indexed(bytes32)
    operator: indexed(address)
    at: uint256
    x: bytes32
    y: bytes32
    measurement: bytes32
    evidence: bytes32
    robot_name: String[128]
    stage: String[64]
    vendor: String[64]

event Approved:
    key_id: indexed(bytes32)
    robot: indexed(bytes32)
    approver: indexed(address)
    at: uint256
    expires_at: uint256
    max_silence: uint256
    unsigned_allowed: bool

event Revoked:
    key_id: indexed(bytes32)
    robot: indexed(bytes32)
    by: indexed(address)
    at: uint256

event Heartbeat:
    key_id: indexed(bytes32)
    alive_until: uint256

event Bonded:
    key_id: indexed(bytes32)
    amount: uint256
    total: uint256

event Unbonding:
    key_id: indexed(bytes32)
    withdrawable_at: uint256

event Withdrawn:
    key_id: indexed(bytes32)
    to: indexed(address)
    amount: uint256

event ForkCommitted:
    commitment: indexed(bytes32)

event Slashed:
    key_id: indexed(bytes32)
    reporter: indexed(address)
    reward: uint256
    burnt: uint256
    first: bytes32
    second: bytes32

event ApproverSet:
    approver: indexed(address)
    at: uint256
    allowed: bool

event AggregatorSet:
    aggregator: indexed(address)
    at: uint256
    allowed: bool

event MinimumBondSet:
    at: uint256
    amount: uint256

event OwnershipOffered:
    owner: indexed(address)
    pending_owner: indexed(address)

event OwnershipTaken:
    owner: indexed(address)
    at: uint256

struct Node:
    robot: bytes32
    x: bytes32
    y: bytes32
    measurement: bytes32
    evidence: bytes32
    stage: String[64]
    vendor: String[64]

# A checkpoint as a settlement key signed it for some DecisionChain on this chain, but for its size.
struct Checkpoint:
    contract: address
    submitter: address
    previous: bytes32
    sequence: uint256
    root: bytes32
    r: bytes32
    s: bytes32

# terms: operator in bits 0-159, expiry in 160-199, alive until in 200-239 (Unix s; 0: no heartbeat asked for), the flags
# below above them. One slot, one read a settle.
EXPIRY: constant(uint256) = 160
ALIVE: constant(uint256) = 200
APPROVED: constant(uint256) = 1 << 240
REVOKED: constant(uint256) = 1 << 241
UNSIGNED: constant(uint256) = 1 << 242
SETTLES: constant(uint256) = 1 << 243
MASK_40: constant(uint256) = 2**40 - 1
MASK_160: constant(uint256) = 2**160 - 1

UNBONDING_TIME: constant(uint256) = 14 * 86400
MAX_SIGNED: constant(uint256) = 16384
STATEMENT_HEADER: constant(Bytes[46]) = (
    x"a401260378256170706c69636174696f6e2f766e642e6f672d726f732e73746174656d656e742b63626f72045820"
)

# DER of a P-256 SubjectPublicKeyInfo up to the coordinates.
SPKI: constant(Bytes[27]) = x"3059301306072a8648ce3d020106082a8648ce3d03010703420004"
DOMAIN: constant(bytes32) = keccak256("og_ros NodeRegistry v1")
CHECKPOINT_DOMAIN: constant(bytes32) = keccak256("og_ros DecisionChain v1")
SETTLEMENT: constant(bytes32) = keccak256("settlement")
P256VERIFY: constant(address) = 0x0000000000000000000000000000000000000100
HALF_ORDER: constant(uint256) = 57896044605178124381348723474703786764998477612067880171211129530534256022184  # of P-256's order, rounded down

history: public(bytes32)
owner: public(address)
pending_owner: public(address)
minimum_bond: public(uint256)
burnt: public(uint256)
is_approver: public(HashMap[address, bool])
is_aggregator: public(HashMap[address, bool])
nodes: public(HashMap[bytes32, Node])
terms: public(HashMap[bytes32, uint256])
max_silence: public(HashMap[bytes32, uint256])
key_of: public(HashMap[bytes32, bytes32])
bonds: public(HashMap[bytes32, uint256])
withdrawable_at: public(HashMap[bytes32, uint256])
committed_in: public(HashMap[bytes32, uint256])


@deploy
def __init__():
    self._take_ownership()
    self._set_approver(msg.sender, True)


# Roles: the owner names approvers (of keys) and aggregators (that settle for fleets), and the least bond.

@external
def offer_ownership(to: address):
    assert msg.sender == self.owner, "not the owner"
    self.pending_owner = to
    log OwnershipOffered(owner=msg.sender, pending_owner=to)


@external
def take_ownership():
    assert msg.sender == self.pending_owner, "not the pending owner"
    self._take_ownership()


@external
def set_approver(approver: address, allowed: bool):
    assert msg.sender == self.owner, "not the owner"
    self._set_approver(approver, allowed)


@external
def set_aggregator(aggregator: address, allowed: bool):
    assert msg.sender == self.owner, "not the owner"
    self.is_aggregator[aggregator] = allowed
    log AggregatorSet(aggregator=aggregator, at=block.timestamp, allowed=allowed)
    self._note(abi_encode(keccak256("AggregatorSet"), aggregator, block.timestamp, allowed))


@external
def set_minimum_bond(amount: uint256):
    """
    @notice Set what must be bonded behind a key before it can be approved from now on.
    """
    assert msg.sender == self.owner, "not the owner"
    self.minimum_bond = amount
    log MinimumBondSet(at=block.timestamp, amount=amount)
    self._note(abi_encode(keccak256("MinimumBondSet"), block.timestamp, amount))


# Keys

@external
def propose(
    robot_name: String[128], stage: String[64], vendor: String[64], measurement: bytes32, evidence: bytes32,
    x: bytes32, y: bytes32, r: bytes32, s: bytes32,
):
    """
    @notice Propose a key; the sender becomes its operator. The key signs that, so that no other sender can.
    @param measurement what the key's environment measures to, as its evidence has it; zero: none
    @param evidence SHA-256 of the evidence (a quote, a report) that an approver appraises; zero: none
    """
    assert len(robot_name) > 0, "no robot"
    key_id: bytes32 = sha256(concat(SPKI, x, y))
    assert self.terms[key_id] == 0, "proposed already"
    robot: bytes32 = keccak256(robot_name)
    message: bytes32 = sha256(
        abi_encode(
            DOMAIN, chain.id, self, msg.sender, robot, keccak256(stage), keccak256(vendor), measurement, evidence, x, y
        )
    )
    self._check_signature(message, r, s, x, y)
    self.nodes[key_id] = Node(
        robot=robot, x=x, y=y, measurement=measurement, evidence=evidence, stage=stage, vendor=vendor
    )
    flags: uint256 = 0
    if keccak256(stage) == SETTLEMENT:
        flags = SETTLES
    self.terms[key_id] = convert(msg.sender, uint256) | flags
    log Proposed(
        key_id=key_id, robot=robot, operator=msg.sender, at=block.timestamp, x=x, y=y, measurement=measurement,
        evidence=evidence, robot_name=robot_name, stage=stage, vendor=vendor,
    )
    self._note(
        abi_encode(
            keccak256("Proposed"), key_id, robot, msg.sender, block.timestamp, x, y, measurement, evidence, robot_name,
            stage, vendor,
        )
    )


@external
def approve(key_id: bytes32, expires_at: uint256, max_silence: uint256, unsigned_allowed: bool):
    """
    @notice Approve a proposed key until a Unix time in seconds. A settlement key takes its robot's place once the key
            before it is no longer valid.
    @param max_silence seconds after which a heartbeat is due, from now on; 0: none is asked for
    @param unsigned_allowed that checkpoints may settle on the operator's word alone: for chains without P256VERIFY
    """
    assert self.is_approver[msg.sender], "not an approver"
    terms: uint256 = self.terms[key_id]
    assert terms != 0, "not proposed"
    assert terms & (APPROVED | REVOKED) == 0, "approved or revoked already"
    assert expires_at > block.timestamp and expires_at <= MASK_40, "bad expiry"
    assert max_silence <= MASK_40 - block.timestamp, "bad silence"
    assert self.bonds[key_id] >= self.minimum_bond, "bond too small"
    robot: bytes32 = self.nodes[key_id].robot
    if terms & SETTLES != 0:
        assert not self._valid(self.terms[self.key_of[robot]]), "robot has a key"
        self.key_of[robot] = key_id
    terms = terms | (expires_at << EXPIRY) | APPROVED
    if max_silence != 0:
        self.max_silence[key_id] = max_silence
        terms = terms | ((block.timestamp + max_silence) << ALIVE)
    if unsigned_allowed:
        terms = terms | UNSIGNED
    self.terms[key_id] = terms
    log Approved(
        key_id=key_id, robot=robot, approver=msg.sender, at=block.timestamp, expires_at=expires_at,
        max_silence=max_silence, unsigned_allowed=unsigned_allowed,
    )
    self._note(
        abi_encode(
            keccak256("Approved"), key_id, robot, msg.sender, block.timestamp, expires_at, max_silence,
            unsigned_allowed,
        )
    )


@external
def heartbeat(key_id: bytes32):
    """
    @notice Say that a key's robot is alive. A key whose operator was silent for too long is not valid until the next.
    """
    terms: uint256 = self.terms[key_id]
    assert terms & MASK_160 == convert(msg.sender, uint256), "not the operator"
    assert terms & (APPROVED | REVOKED) == APPROVED, "not approved"
    assert terms >> ALIVE & MASK_40 != 0, "no heartbeat is asked for"
    alive_until: uint256 = min(block.timestamp + self.max_silence[key_id], MASK_40)
    self.terms[key_id] = terms & ~(MASK_40 << ALIVE) | (alive_until << ALIVE)
    log Heartbeat(key_id=key_id, alive_until=alive_until)


@external
def revoke(key_id: bytes32):
    """
    @notice Revoke a key for good: an approver may, and the key's own operator.
    """
    terms: uint256 = self.terms[key_id]
    assert terms != 0, "not proposed"
    assert terms & REVOKED == 0, "revoked already"
    assert self.is_approver[msg.sender] or terms & MASK_160 == convert(msg.sender, uint256), (
        "neither approver nor operator"
    )
    self._revoke(key_id)


# Bonds: an operator's money behind a key. It leaves a delay after the key was given up, and until then a fork takes it.

@external
@payable
def bond(key_id: bytes32):
    """
    @notice Bond what is sent behind a key of the sender's.
    """
    terms: uint256 = self.terms[key_id]
    assert terms & MASK_160 == convert(msg.sender, uint256), "not the operator"
    assert terms & REVOKED == 0, "revoked already"
    assert msg.value > 0, "nothing sent"
    total: uint256 = self.bonds[key_id] + msg.value
    self.bonds[key_id] = total
    log Bonded(key_id=key_id, amount=msg.value, total=total)


@external
def unbond(key_id: bytes32):
    """
    @notice Give a key up (it is revoked), and start the time after which its bond can be withdrawn.
    """
    terms: uint256 = self.terms[key_id]
    assert terms & MASK_160 == convert(msg.sender, uint256), "not the operator"
    assert self.bonds[key_id] > 0, "nothing bonded"
    assert self.withdrawable_at[key_id] == 0, "unbonding already"
    if terms & REVOKED == 0:
        self._revoke(key_id)
    self.withdrawable_at[key_id] = block.timestamp + UNBONDING_TIME
    log Unbonding(key_id=key_id, withdrawable_at=block.timestamp + UNBONDING_TIME)


@external
@nonreentrant
def withdraw(key_id: bytes32, to: address):
    """
    @notice Take an unbonded bond back.
    """
    assert self.terms[key_id] & MASK_160 == convert(msg.sender, uint256), "not the operator"
    amount: uint256 = self.bonds[key_id]
    assert amount > 0, "nothing bonded"
    assert self.withdrawable_at[key_id] != 0, "not unbonding"
    assert block.timestamp >= self.withdrawable_at[key_id], "too early"
    self.bonds[key_id] = 0
    self.withdrawable_at[key_id] = 0
    log Withdrawn(key_id=key_id, to=to, amount=amount)
    raw_call(to, b"", value=amount)


# Forks: whoever shows that a key signed two histories gets half of its bond; the other half stays here for ever, so
# that an operator who reports himself loses, too. A proof is committed to in an earlier block, so that nobody who sees
# it in the pool is paid in the reporter's place.

@external
def commit_fork(commitment: bytes32):
    """
    @notice Announce a proof by keccak256 of abi_encode(reporter, key id, SHA-256 of the first signed message, of the
            second, salt).
    """
    assert self.committed_in[commitment] == 0, "committed already"
    self.committed_in[commitment] = block.number
    log ForkCommitted(commitment=commitment)


@external
@nonreentrant
def slash_checkpoints(key_id: bytes32, size: uint256, first: Checkpoint, second: Checkpoint, salt: bytes32):
    """
    @notice Prove that a settlement key signed two checkpoints of its robot's log of one size with different roots, for
            whichever contracts and submitters of this chain: a log has one root at each size.
    """
    node: Node = self.nodes[key_id]
    assert first.root != second.root, "no fork"
    one: bytes32 = self._signed_checkpoint(node, size, first)
    other: bytes32 = self._signed_checkpoint(node, size, second)
    self._slash(key_id, one, other, salt)


@external
@nonreentrant
def slash_attestations(
    key_id: bytes32,
    first: Bytes[MAX_SIGNED], first_tail: uint256, first_r: bytes32, first_s: bytes32,
    second: Bytes[MAX_SIGNED], second_tail: uint256, second_r: bytes32, second_s: bytes32,
    salt: bytes32,
):
    """
    @notice Prove that a key signed two attestations of one session with one sequence number: each is the COSE
            Sig_structure (RFC 9052 section 4.4) that was signed, and where its statement's field `session` begins.
    """
    one: bytes32 = sha256(first)
    other: bytes32 = sha256(second)
    assert one != other, "no fork"
    node: Node = self.nodes[key_id]
    self._check_signature(one, first_r, first_s, node.x, node.y)
    self._check_signature(other, second_r, second_s, node.x, node.y)
    first_place: bytes32 = self._place(key_id, first, first_tail)
    assert first_place == self._place(key_id, second, second_tail), "no fork"
    self._slash(key_id, one, other, salt)


@external
@view
def is_valid(key_id: bytes32) -> bool:
    return self._valid(self.terms[key_id])


@external
@view
def settler(robot: bytes32) -> (uint256, bytes32, bytes32):
    """
    @notice The terms and the coordinates of the key that settles for a robot now; zero where none is valid.
    """
    key_id: bytes32 = self.key_of[robot]
    terms: uint256 = self.terms[key_id]
    if not self._valid(terms):
        return 0, empty(bytes32), empty(bytes32)
    return terms, self.nodes[key_id].x, self.nodes[key_id].y


@external
@view
def settler_terms(robot: bytes32) -> uint256:
    """
    @notice As `settler`, without the coordinates.
    """
    terms: uint256 = self.terms[self.key_of[robot]]
    if not self._valid(terms):
        return 0
    return terms


@internal
@view
def _valid(terms: uint256) -> bool:
    alive_until: uint256 = terms >> ALIVE & MASK_40
    return (
        terms & (APPROVED | REVOKED) == APPROVED
        and block.timestamp <= terms >> EXPIRY & MASK_40
        and (alive_until == 0 or block.timestamp <= alive_until)
    )


@internal
def _take_ownership():
    self.owner = msg.sender
    self.pending_owner = empty(address)
    log OwnershipTaken(owner=msg.sender, at=block.timestamp)
    self._note(abi_encode(keccak256("OwnershipTaken"), msg.sender, block.timestamp))


@internal
def _set_approver(approver: address, allowed: bool):
    self.is_approver[approver] = allowed
    log ApproverSet(approver=approver, at=block.timestamp, allowed=allowed)
    self._note(abi_encode(keccak256("ApproverSet"), approver, block.timestamp, allowed))


@internal
def _revoke(key_id: bytes32):
    robot: bytes32 = self.nodes[key_id].robot
    self.terms[key_id] = self.terms[key_id] | REVOKED
    log Revoked(key_id=key_id, robot=robot, by=msg.sender, at=block.timestamp)
    self._note(abi_encode(keccak256("Revoked"), key_id, robot, msg.sender, block.timestamp))


@internal
def _note(payload: Bytes[1024]):
    self.history = keccak256(concat(self.history, keccak256(payload)))


@internal
@view
def _check_signature(message: bytes32, r: bytes32, s: bytes32, x: bytes32, y: bytes32):
    assert convert(s, uint256) <= HALF_ORDER, "high s"
    answer: Bytes[32] = raw_call(P256VERIFY, concat(message, r, s, x, y), max_outsize=32, is_static_call=True)
    assert len(answer) == 32 and convert(answer, uint256) == 1, "bad signature"


@internal
@view
def _signed_checkpoint(node: Node, size: uint256, one: Checkpoint) -> bytes32:
    message: bytes32 = sha256(
        abi_encode(
            CHECKPOINT_DOMAIN, chain.id, one.contract, one.submitter, node.robot, one.previous, one.sequence, size,
            one.root,
        )
    )
    self._check_signature(message, one.r, one.s, node.x, node.y)
    return message


@internal
def _slash(key_id: bytes32, first: bytes32, second: bytes32, salt: bytes32):
    terms: uint256 = self.terms[key_id]
    assert terms != 0, "not proposed"
    commitment: bytes32 = keccak256(abi_encode(msg.sender, key_id, first, second, salt))
    committed_in: uint256 = self.committed_in[commitment]
    assert committed_in != 0 and committed_in < block.number, "not committed before"
    amount: uint256 = self.bonds[key_id]
    assert amount > 0 or terms & REVOKED == 0, "nothing left to take"
    reward: uint256 = amount // 2
    self.bonds[key_id] = 0
    self.withdrawable_at[key_id] = 0
    self.burnt += amount - reward
    if terms & REVOKED == 0:
        self._revoke(key_id)
    log Slashed(
        key_id=key_id, reporter=msg.sender, reward=reward, burnt=amount - reward, first=first, second=second
    )
    if reward > 0:
        raw_call(msg.sender, b"", value=reward)


# The end of a Sig_structure over an og_ros statement is the end of the statement's map. Its keys are in deterministic
# order, and from `session` on each value has one size but for unsigned integers; so the place where these fields begin
# can be given, and is checked by reading them to the very end. No text, however it was chosen, can pass for them:
# reading from another place cannot end there (docs/reference/contracts.md).

@internal
@pure
def _place(key_id: bytes32, signed: Bytes[MAX_SIGNED], tail: uint256) -> bytes32:
    """
    @notice keccak256 of the session and the sequence number of a signed statement.
    """
    assert slice(signed, 0, 12) == x"846a5369676e617475726531", "no Sig_structure"
    start: uint256 = 14
    if slice(signed, 12, 1) == x"59":
        start = 15
    else:
        assert slice(signed, 12, 1) == x"58", "no protected header"
    # {1: -7 (ES256), 3: the statement's content type, 4: the key id, …
    assert slice(signed, start, 46) == STATEMENT_HEADER, "no statement"
    assert convert(slice(signed, start + 46, 32), bytes32) == key_id, "another key's"
    at: uint256 = tail
    assert slice(signed, at, 9) == x"6773657373696f6e50", "no session"
    session: bytes32 = convert(slice(signed, at + 9, 16), bytes32)
    assert slice(signed, at + 25, 11) == x"6870726576696f75735820", "no previous"
    assert slice(signed, at + 68, 9) == x"6873657175656e6365", "no sequence"
    sequence: uint256 = 0
    sequence, at = self._uint(signed, at + 77)
    assert slice(signed, at, 11) == x"69616c676f726974686d26", "no algorithm"
    at += 11
    unused: uint256 = 0
    assert slice(signed, at, 10) == x"696d6f64655f75736564", "no mode_used"
    unused, at = self._uint(signed, at + 10)
    assert slice(signed, at, 10) == x"697369676e65645f6174", "no signed_at"
    unused, at = self._uint(signed, at + 10)
    assert slice(signed, at, 12) == x"6b6475726174696f6e5f6e73", "no duration_ns"
    unused, at = self._uint(signed, at + 12)
    assert slice(signed, at, 15) == x"6e666f726d61745f76657273696f6e", "no format_version"
    unused, at = self._uint(signed, at + 15)
    assert slice(signed, at, 15) == x"6e6d6f64655f726571756573746564", "no mode_requested"
    unused, at = self._uint(signed, at + 15)
    assert slice(signed, at, 19) == x"7273746172745f6d6f6e6f746f6e69635f6e73", "no start_monotonic_ns"
    unused, at = self._uint(signed, at + 19)
    assert at == len(signed), "not the end"
    return keccak256(abi_encode(session, sequence))


@internal
@pure
def _uint(data: Bytes[MAX_SIGNED], at: uint256) -> (uint256, uint256):
    """
    @notice A CBOR unsigned integer of up to 64 bits, and where it ends.
    """
    head: uint256 = convert(slice(data, at, 1), uint256)
    if head < 24:
        return head, at + 1
    assert head < 28, "no unsigned integer"
    size: uint256 = 1 << (head - 24)
    found: uint256 = 0
    for i: uint256 in range(size, bound=8):
        found = (found << 8) | convert(slice(data, at + 1 + i, 1), uint256)
    return found, at + 1 + size
