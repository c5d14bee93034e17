# pragma version 0.4.3
# pragma evm-version shanghai
# SPDX-License-Identifier: Apache-2.0
"""
@title ModelRegistry
@notice Which models are certified: name, version, digest of the bytes, processing, commitment to the parameters, the
        stages where they may run, by whom, until when, revoked since when.
@dev `history` commits to every event in order: one storage proof shows that none is missing. Certificates never change;
     names are plain ASCII, and two that differ in upper and lower case only are one.
"""

event Certified:
    model: indexed(bytes32)
    digest: indexed(bytes32)
    certifier: indexed(address)
    at: uint256
    expires_at: uint256
    processing: bytes32
    parameters: bytes32
    name: String[128]
    version: String[64]
    stages: String[512]

event Revoked:
    digest: indexed(bytes32)
    by: indexed(address)
    at: uint256
    since: uint256
    reason: String[256]

event CertifierSet:
    certifier: indexed(address)
    at: uint256
    allowed: bool

event OwnershipOffered:
    owner: indexed(address)
    pending_owner: indexed(address)

event OwnershipTaken:
    owner: indexed(address)
    at: uint256

struct Model:
    digest: bytes32
    certifier: address
    certified_at: uint256
    expires_at: uint256
    processing: bytes32
    parameters: bytes32
    stages: String[512]

MAX_TIME: constant(uint256) = 2**40 - 1

history: public(bytes32)
owner: public(address)
pending_owner: public(address)
is_certifier: public(HashMap[address, bool])
models: public(HashMap[bytes32, Model])
taken: HashMap[bytes32, bool]
# by digest: since when it is worth nothing; 0: it is not revoked
revoked_since: public(HashMap[bytes32, uint256])


@deploy
def __init__():
    self._take_ownership()
    self._set_certifier(msg.sender, True)


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
def set_certifier(certifier: address, allowed: bool):
    """
    @notice Name or dismiss a certifier; what he certified stays, until it is revoked.
    """
    assert msg.sender == self.owner, "not the owner"
    self._set_certifier(certifier, allowed)


@external
def certify(
    name: String[128], version: String[64], digest: bytes32, processing: bytes32, parameters: bytes32,
    stages: String[512], expires_at: uint256,
) -> bytes32:
    """
    @notice Certify a model from now on.
    @param digest SHA-256 of the model's bytes
    @param processing digest of the one pre- and post-processing allowed; zero: any
    @param parameters commitment to the model's parameters, as a proof of inference opens it; zero: none
    @param stages where it may run, with commas between; empty: anywhere
    @param expires_at Unix time in seconds; zero: no end
    """
    assert self.is_certifier[msg.sender], "not a certifier"
    assert len(name) > 0 and len(version) > 0, "no name or version"
    assert digest != empty(bytes32), "no digest"
    model: bytes32 = self._model_id(name, version)
    skeleton: bytes32 = self._skeleton(concat(name, "@", version))
    assert not self.taken[skeleton], "certified already"
    self.taken[skeleton] = True
    assert self.revoked_since[digest] == 0, "revoked"
    assert expires_at == 0 or (expires_at > block.timestamp and expires_at <= MAX_TIME), "bad expiry"
    self._check_stages(stages)
    self.models[model] = Model(
        digest=digest, certifier=msg.sender, certified_at=block.timestamp, expires_at=expires_at,
        processing=processing, parameters=parameters, stages=stages,
    )
    log Certified(
        model=model, digest=digest, certifier=msg.sender, at=block.timestamp, expires_at=expires_at,
        processing=processing, parameters=parameters, name=name, version=version, stages=stages,
    )
    self._note(
        abi_encode(
            keccak256("Certified"), model, digest, msg.sender, block.timestamp, expires_at, processing, parameters,
            name, version, stages,
        )
    )
    return model


@external
def revoke(digest: bytes32, since: uint256, reason: String[256]):
    """
    @notice Revoke every certificate of a digest, for good.
    @param since from when on: the past, where the fault is older than its discovery; zero: now
    """
    assert self.is_certifier[msg.sender] or msg.sender == self.owner, "neither certifier nor owner"
    assert digest != empty(bytes32), "no digest"
    moment: uint256 = since
    if moment == 0:
        moment = block.timestamp
    assert moment <= block.timestamp, "in the future"
    before: uint256 = self.revoked_since[digest]
    assert before == 0 or moment < before, "revoked already"
    self.revoked_since[digest] = moment
    log Revoked(digest=digest, by=msg.sender, at=block.timestamp, since=moment, reason=reason)
    self._note(abi_encode(keccak256("Revoked"), digest, msg.sender, block.timestamp, moment, reason))


@external
@view
def is_certified(name: String[128], version: String[64], digest: bytes32) -> bool:
    """
    @notice Whether a model is certified now under this name and version with this digest.
    """
    found: Model = self.models[self._model_id(name, version)]
    return (
        found.digest == digest
        and digest != empty(bytes32)
        and self.revoked_since[digest] == 0
        and (found.expires_at == 0 or block.timestamp <= found.expires_at)
    )


@external
@pure
def model_id(name: String[128], version: String[64]) -> bytes32:
    """
    @notice What `models` calls a model: keccak256 of NAME@VERSION.
    """
    return self._model_id(name, version)


@internal
@pure
def _model_id(name: String[128], version: String[64]) -> bytes32:
    return keccak256(concat(name, "@", version))


@internal
@pure
def _skeleton(text: String[193]) -> bytes32:
    """
    @notice A hash that names share which differ in upper and lower case only; refuses what is no NAME@VERSION.
    """
    whole: Bytes[193] = convert(text, Bytes[193])
    found: bytes32 = empty(bytes32)
    separators: uint256 = 0
    for i: uint256 in range(len(whole), bound=193):
        character: uint256 = convert(slice(whole, i, 1), uint256)
        if character == 64:  # @
            separators += 1
        else:
            assert self._is_name(character), "bad character"
        if character >= 65 and character <= 90:
            character += 32
        found = keccak256(concat(found, convert(character, bytes32)))
    assert separators == 1, "bad character"
    return found


@internal
@pure
def _is_name(character: uint256) -> bool:
    # A-Z a-z 0-9 . _ / + -
    return (
        (character >= 65 and character <= 90)
        or (character >= 97 and character <= 122)
        or (character >= 45 and character <= 57)
        or character == 95
        or character == 43
    )


@internal
@pure
def _check_stages(stages: String[512]):
    text: Bytes[512] = convert(stages, Bytes[512])
    for i: uint256 in range(len(text), bound=512):
        character: uint256 = convert(slice(text, i, 1), uint256)
        assert character == 44 or self._is_name(character), "bad character"


@internal
def _take_ownership():
    self.owner = msg.sender
    self.pending_owner = empty(address)
    log OwnershipTaken(owner=msg.sender, at=block.timestamp)
    self._note(abi_encode(keccak256("OwnershipTaken"), msg.sender, block.timestamp))


@internal
def _set_certifier(certifier: address, allowed: bool):
    self.is_certifier[certifier] = allowed
    log CertifierSet(certifier=certifier, at=block.timestamp, allowed=allowed)
    self._note(abi_encode(keccak256("CertifierSet"), certifier, block.timestamp, allowed))


@internal
def _note(payload: Bytes[2048]):
    self.history = keccak256(concat(self.history, keccak256(payload)))
