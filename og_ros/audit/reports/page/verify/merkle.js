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

/**
 * The root of the tree of some leaf hashes (RFC 6962 section 2.1).
 * @param {Uint8Array[]} hashes
 * @returns {Promise<Uint8Array>}
 */
export async function treeRoot(hashes) {
  if (!hashes.length) return sha256(new Uint8Array());
  let level = hashes;
  // Pairs from the left, the odd one carried up: the same tree as the split at the largest power of two.
  while (level.length > 1) {
    const above = [];
    for (let i = 0; i + 1 < level.length; i += 2) above.push(nodeHash(level[i], level[i + 1]));
    const next = await Promise.all(above);
    if (level.length % 2) next.push(level[level.length - 1]);
    level = next;
  }
  return level[0];
}

/**
 * Check that the tree of a size extends the tree of a smaller one (RFC 9162 section 2.1.4.2).
 * @param {bigint} first
 * @param {bigint} second
 * @param {Uint8Array[]} path
 * @param {Uint8Array} firstRoot
 * @param {Uint8Array} secondRoot
 * @returns {Promise<void>}
 * @throws {VerifyError}
 */
export async function verifyConsistency(first, second, path, firstRoot, secondRoot) {
  if (first < 0n || first > second) throw new VerifyError("the consistency proof's sizes do not grow");
  if (first === 0n || first === second) {
    if (path.length) throw new VerifyError("the consistency proof must be empty");
    if (first === second && !equalBytes(firstRoot, secondRoot)) {
      throw new VerifyError("two roots for one size: the log was forked");
    }
    const empty = await sha256(new Uint8Array());
    if (first === 0n && !equalBytes(firstRoot, empty)) throw new VerifyError("the root of the empty tree is wrong");
    return;
  }
  if (!path.length) throw new VerifyError("the consistency proof is empty");
  const hashes = (first & (first - 1n)) === 0n ? [firstRoot, ...path] : path;
  let position = first - 1n;
  let last = second - 1n;
  while (position & 1n) {
    position >>= 1n;
    last >>= 1n;
  }
  let old = hashes[0];
  let now = hashes[0];
  for (const sibling of hashes.slice(1)) {
    if (last === 0n) throw new VerifyError("the consistency proof has too many hashes");
    if (position & 1n || position === last) {
      old = await nodeHash(sibling, old);
      now = await nodeHash(sibling, now);
      while (!(position & 1n) && position) {
        position >>= 1n;
        last >>= 1n;
      }
    } else {
      now = await nodeHash(now, sibling);
    }
    position >>= 1n;
    last >>= 1n;
  }
  if (last) throw new VerifyError("the consistency proof has too few hashes");
  if (!equalBytes(old, firstRoot)) throw new VerifyError("the consistency proof does not lead to the older root");
  if (!equalBytes(now, secondRoot)) throw new VerifyError("the consistency proof does not lead to the newer root");
}
