# pragma version 0.4.3
# pragma evm-version shanghai
# SPDX-License-Identifier: Apache-2.0
"""
@title NodeRegistry
@notice Which keys may speak for which robot: proposed with proof of possession, approved, expiring, revoked.
@dev A key's id is SHA-256 of its SubjectPublicKeyInfo, as everywhere in og_ros. A robot is named by keccak256 of its
     name. A proposal binds nothing; an approval does, so nobody takes a robot's name by being the first to say it.
"""

event Proposed:
    key_id: indexed(bytes32)
    robot: indexed(bytes32)
    operator: indexed(address)
    robot_name: String[128]
    stage: String[64]
    vendor: String[64]

event Approved:
    key_id: indexed(bytes32)
    robot: indexed(bytes32)
    approver: indexed(address)
    expires_at: uint256
    unsigned_allowed: bool

event Revoked:
    key_id: indexed(bytes32)
    robot: indexed(bytes32)
    by: indexed(address)

event ApproverSet:
    approver: indexed(address)
    allowed: bool

event OwnershipOffered:
    owner: indexed(address)
    pending_owner: indexed(address)

event OwnershipTaken:
    owner: indexed(address)

struct Node:
    robot: bytes32
    x: bytes32
    y: bytes32
    stage: String[64]
    vendor: String[64]

# terms: operator in bits 0-159, expiry (Unix s) in 160-223, the flags below above them. One slot, one read a settle.
EXPIRY: constant(uint256) = 160
APPROVED: constant(uint256) = 1 << 224
REVOKED: constant(uint256) = 1 << 225
UNSIGNED: constant(uint256) = 1 << 226
SETTLES: constant(uint256) = 1 << 227
MASK_64: constant(uint256) = 2**64 - 1

# DER of a P-256 SubjectPublicKeyInfo up to the coordinates.
SPKI: constant(Bytes[27]) = x"3059301306072a8648ce3d020106082a8648ce3d03010703420004"
DOMAIN: constant(bytes32) = keccak256("og_ros NodeRegistry v1")
SETTLEMENT: constant(bytes32) = keccak256("settlement")
P256VERIFY: constant(address) = 0x0000000000000000000000000000000000000100
HALF_ORDER: constant(uint256) = 57896044605178124381348723474703786764998477612067880171211129530534256022184  # of P-256's order, rounded down

owner: public(address)
pending_owner: public(address)
is_approver: public(HashMap[address, bool])
nodes: public(HashMap[bytes32, Node])
terms: public(HashMap[bytes32, uint256])
key_of: public(HashMap[bytes32, bytes32])


@deploy
def __init__():
    self.owner = msg.sender
    self.is_approver[msg.sender] = True
    log OwnershipTaken(owner=msg.sender)
    log ApproverSet(approver=msg.sender, allowed=True)


@external
def offer_ownership(to: address):
    assert msg.sender == self.owner, "not the owner"
    self.pending_owner = to
    log OwnershipOffered(owner=msg.sender, pending_owner=to)


@external
def take_ownership():
    assert msg.sender == self.pending_owner, "not the pending owner"
    self.owner = msg.sender
    self.pending_owner = empty(address)
    log OwnershipTaken(owner=msg.sender)


@external
def set_approver(approver: address, allowed: bool):
    assert msg.sender == self.owner, "not the owner"
    self.is_approver[approver] = allowed
    log ApproverSet(approver=approver, allowed=allowed)


@external
def propose(robot_name: String[128], stage: String[64], vendor: String[64], x: bytes32, y: bytes32, r: bytes32, s: bytes32):
    """
    @notice Propose a key; the sender becomes its operator. The key signs that, so that no other sender can.
    """
    assert len(robot_name) > 0, "no robot"
    key_id: bytes32 = sha256(concat(SPKI, x, y))
    assert self.terms[key_id] == 0, "proposed already"
    robot: bytes32 = keccak256(robot_name)
    message: bytes32 = sha256(
        abi_encode(DOMAIN, chain.id, self, msg.sender, robot, keccak256(stage), keccak256(vendor), x, y)
    )
    assert convert(s, uint256) <= HALF_ORDER, "high s"
    answer: Bytes[32] = raw_call(
        P256VERIFY, concat(message, r, s, x, y), max_outsize=32, is_static_call=True
    )
    assert len(answer) == 32 and convert(answer, uint256) == 1, "bad signature"
    self.nodes[key_id] = Node(robot=robot, x=x, y=y, stage=stage, vendor=vendor)
    flags: uint256 = 0
    if keccak256(stage) == SETTLEMENT:
        flags = SETTLES
    self.terms[key_id] = convert(msg.sender, uint256) | flags
    log Proposed(key_id=key_id, robot=robot, operator=msg.sender, robot_name=robot_name, stage=stage, vendor=vendor)


@external
def approve(key_id: bytes32, expires_at: uint256, unsigned_allowed: bool):
    """
    @notice Approve a proposed key until a Unix time in seconds. A settlement key takes its robot's place once the key
            before it was revoked or has expired.
    @param unsigned_allowed that checkpoints may settle on the operator's word alone: for chains without P256VERIFY
    """
    assert self.is_approver[msg.sender], "not an approver"
    terms: uint256 = self.terms[key_id]
    assert terms != 0, "not proposed"
    assert terms & (APPROVED | REVOKED) == 0, "approved or revoked already"
    assert expires_at > block.timestamp and expires_at <= MASK_64, "bad expiry"
    robot: bytes32 = self.nodes[key_id].robot
    if terms & SETTLES != 0:
        assert not self._valid(self.terms[self.key_of[robot]]), "robot has a key"
        self.key_of[robot] = key_id
    terms = terms | (expires_at << EXPIRY) | APPROVED
    if unsigned_allowed:
        terms = terms | UNSIGNED
    self.terms[key_id] = terms
    log Approved(
        key_id=key_id, robot=robot, approver=msg.sender, expires_at=expires_at, unsigned_allowed=unsigned_allowed
    )


@external
def revoke(key_id: bytes32):
    """
    @notice Revoke a key for good: an approver may, and the key's own operator.
    """
    terms: uint256 = self.terms[key_id]
    assert terms != 0, "not proposed"
    assert terms & REVOKED == 0, "revoked already"
    operator: address = convert(terms & convert(max_value(uint160), uint256), address)
    assert self.is_approver[msg.sender] or msg.sender == operator, "neither approver nor operator"
    self.terms[key_id] = terms | REVOKED
    log Revoked(key_id=key_id, robot=self.nodes[key_id].robot, by=msg.sender)


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
    return terms & (APPROVED | REVOKED) == APPROVED and block.timestamp <= (terms >> EXPIRY) & MASK_64
