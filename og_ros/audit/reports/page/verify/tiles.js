/**
 * A log in C2SP tlog-tiles layout (c2sp.org/tlog-tiles), from its files: every leaf, tile and the root are recomputed.
 * @module
 */
import { VerifyError, equalBytes, joinBytes } from "./bytes.js";
import { leafHash, treeRoot } from "./merkle.js";

const TILE_WIDTH = 256;

/**
 * The path of a tile, or of an entry bundle.
 * @param {number | "entries"} level
 * @param {number} index
 * @param {number} width hashes or entries in it, at most 256
 * @returns {string} such as tile/0/x001/234.p/17
 */
export function tilePath(level, index, width) {
  const elements = [String(index % 1000).padStart(3, "0")];
  for (let rest = Math.floor(index / 1000); rest; rest = Math.floor(rest / 1000)) {
    elements.unshift(`x${String(rest % 1000).padStart(3, "0")}`);
  }
  return `tile/${level}/${elements.join("/")}${width === TILE_WIDTH ? "" : `.p/${width}`}`;
}

/**
 * Read an entry bundle: each entry after its length as a big-endian uint16.
 * @param {Uint8Array} data
 * @returns {Uint8Array[]}
 * @throws {VerifyError} when it is cut short
 */
export function readBundle(data) {
  const entries = [];
  for (let at = 0; at < data.length; ) {
    const start = at + 2;
    at = start + ((data[at] << 8) | (data[at + 1] ?? 0));
    if (start > data.length || at > data.length) throw new VerifyError("an entry bundle that is cut short");
    entries.push(data.subarray(start, at));
    if (entries.length > TILE_WIDTH) throw new VerifyError("an entry bundle with more than 256 entries");
  }
  return entries;
}

/**
 * Read every leaf of a log, and check all tiles against them and the root against a checkpoint that was verified.
 * @param {Map<string, Uint8Array>} files by path below the log's directory
 * @param {import("./log.js").Checkpoint} checkpoint
 * @returns {Promise<Uint8Array[]>} the leaves, in order
 * @throws {VerifyError} when a file is missing or does not hold
 */
export async function readLog(files, checkpoint) {
  if (checkpoint.size > 100_000_000n) throw new VerifyError("a log that is too large to read", { unsupported: true });
  const size = Number(checkpoint.size);
  /** @type {Uint8Array[]} */
  const leaves = [];
  for (let index = 0; index * TILE_WIDTH < size; index++) {
    const width = Math.min(TILE_WIDTH, size - index * TILE_WIDTH);
    const path = tilePath("entries", index, width);
    const entries = readBundle(tileFile(files, path));
    if (entries.length !== width) throw new VerifyError(`${path} has ${entries.length} entries, not ${width}`);
    leaves.push(...entries);
  }
  const hashes = await Promise.all(leaves.map(leafHash));
  await checkTiles(files, hashes);
  if (!equalBytes(await treeRoot(hashes), checkpoint.root)) {
    throw new VerifyError("the log's entries do not lead to the checkpoint's root");
  }
  return leaves;
}

/**
 * @param {Map<string, Uint8Array>} files
 * @param {Uint8Array[]} leafHashes
 */
async function checkTiles(files, leafHashes) {
  let hashes = leafHashes;
  for (let level = 0; hashes.length; level++) {
    const above = [];
    for (let index = 0; index * TILE_WIDTH < hashes.length; index++) {
      const part = hashes.slice(index * TILE_WIDTH, (index + 1) * TILE_WIDTH);
      const path = tilePath(level, index, part.length);
      if (!equalBytes(tileFile(files, path), joinBytes(...part))) {
        throw new VerifyError(`${path} is not the tile of the entries below it`);
      }
      if (part.length === TILE_WIDTH) above.push(await treeRoot(part));
    }
    hashes = above;
  }
}

/**
 * @param {Map<string, Uint8Array>} files
 * @param {string} path
 */
function tileFile(files, path) {
  const data = files.get(path);
  if (!data) throw new VerifyError(`${path} is not here`);
  return data;
}
