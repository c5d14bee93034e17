/**
 * RFC 6962 SHA-256 Merkle trees: leaf hashes and inclusion proofs (RFC 9162 section 2.1.3.2).
 * @module
 */
import { VerifyError, equalBytes, joinBytes, sha256 } from "./bytes.js";

/**
 * @param {Uint8Array} leaf
 * @returns {Promise<Uint8Array>}
 */
export function leafHash(leaf) {
  return sha256(joinBytes(Uint8Array.of(0), leaf));
}

/**
 * @param {Uint8Array} left
 * @param {Uint8Array} right
 * @returns {Promise<Uint8Array>}
 */
export function nodeHash(left, right) {
  return sha256(joinBytes(Uint8Array.of(1), left, right));
}

/**
 * Check that a leaf hash is at an index of the tree of a size with a root.
 * @param {Uint8Array} leaf
 * @param {bigint} index
 * @param {bigint} size
 * @param {Uint8Array[]} path sibling hashes, the leaf's first
 * @param {Uint8Array} root
 * @returns {Promise<void>}
 * @throws {VerifyError}
 */
export async function verifyInclusion(leaf, index, size, path, root) {
  if (index < 0n || index >= size) throw new VerifyError("the leaf's index is not in the tree");
  let position = index;
  let last = size - 1n;
  let computed = leaf;
  for (const sibling of path) {
    if (last === 0n) throw new VerifyError("the inclusion proof has too many hashes");
    if (position & 1n || position === last) {
      computed = await nodeHash(sibling, computed);
      while (!(position & 1n) && position) {
        position >>= 1n;
        last >>= 1n;
      }
    } else {
      computed = await nodeHash(computed, sibling);
    }
    position >>= 1n;
    last >>= 1n;
  }
  if (last) throw new VerifyError("the inclusion proof has too few hashes");
  if (!equalBytes(computed, root)) throw new VerifyError("the inclusion proof does not lead to the checkpoint's root");
}
