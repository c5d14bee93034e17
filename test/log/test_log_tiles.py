"""The tlog-tiles layout: paths and counts of the specification, bundles, and reading a log from its tiles alone."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.errors import LogError
from og_ros.log import Ledger, TileReader, leaf_hash, verify_consistency, verify_inclusion
from og_ros.log.tiles import Tile, decode_bundle, encode_bundle, split_hashes, tiles_of


def test_paths_of_the_specification() -> None:
    assert Tile(0, 1234067, 256).path == "tile/0/x001/x234/067"
    assert Tile(3, 0, 17).path == "tile/3/000.p/17"
    assert Tile(None, 999, 256).path == "tile/entries/999"
    assert Tile(None, 1000, 1).path == "tile/entries/x001/000.p/1"


def test_tile_counts_of_the_specification() -> None:
    tiles = [tile for tile in tiles_of(70_000) if tile.level is not None]
    assert sum(tile.level == 0 and tile.width == 256 for tile in tiles) == 273
    assert [(tile.level, tile.index, tile.width) for tile in tiles if tile.width < 256] == [
        (0, 273, 112),
        (1, 1, 17),
        (2, 0, 1),
    ]
    assert [tile.path for tile in tiles_of(256)] == ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]
    assert list(tiles_of(0)) == []


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 140_000), st.integers(0, 3000))
def test_growing_writes_every_tile(since: int, more: int) -> None:
    size = since + more
    new = set(tiles_of(size, since))
    assert set(tiles_of(size)) - set(tiles_of(since)) == new


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=256))
def test_bundles_round_trip(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries)) == entries


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_a_log_error_or_round_trips(noise: bytes) -> None:
    with contextlib.suppress(LogError):
        assert encode_bundle(decode_bundle(noise)) == noise
    with contextlib.suppress(LogError):
        assert b"".join(split_hashes(noise)) == noise


def test_bounds_of_a_bundle() -> None:
    assert decode_bundle(encode_bundle([bytes(65535)])) == [bytes(65535)]
    for bad in (b"\x00", b"\x00\x01", b"\x00\x00" * 257):
        with pytest.raises(LogError):
            decode_bundle(bad)
    with pytest.raises(LogError):
        encode_bundle([bytes(65536)])


def test_a_log_is_read_and_proven_from_its_tiles(ledger: Ledger) -> None:
    leaves = [b"leaf %d" % n for n in range(66_000)]
    ledger.append(leaves[:65_000])
    ledger.checkpoint()
    ledger.append(leaves[65_000:])
    ledger.checkpoint()
    reader = TileReader(ledger.directory, ledger.vkey)
    assert list(reader.entries(65_530, 65_800)) == leaves[65_530:65_800]
    for index in (0, 255, 65_535, 65_536, 65_999):
        path = reader.inclusion_proof(index)
        assert path == ledger.inclusion_proof(index)
        verify_inclusion(leaf_hash(leaves[index]), index, 66_000, path, reader.checkpoint.root)
    for first in (1, 256, 65_000, 65_536, 66_000):
        proof = reader.consistency_proof(first)
        verify_consistency(first, 66_000, proof, ledger.root(first), reader.checkpoint.root)
    for call in (lambda: reader.inclusion_proof(66_000), lambda: list(reader.entries(0, 66_001))):
        with pytest.raises(LogError):
            call()


def test_a_partial_tile_may_be_read_from_the_full_one(ledger: Ledger) -> None:
    ledger.append([b"%d" % n for n in range(200)])
    old = ledger.checkpoint()
    ledger.append([b"%d" % n for n in range(200, 300)])
    ledger.checkpoint()
    assert not (ledger.directory / "tile/0/000.p").exists()
    (ledger.directory / "checkpoint").write_text(old)
    assert TileReader(ledger.directory, ledger.vkey).verify().size == 200
