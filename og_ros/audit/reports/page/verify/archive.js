/**
 * A stranger's ZIP file, unpacked safely in memory: one reading of its bytes, nothing outside, nothing too large.
 *
 * Readers of ZIP files differ in what they believe. One is refused here unless every reader sees the same: entries that
 * fill the file without gap or overlap, each with one header that agrees with the directory (PKWARE APPNOTE 6.3).
 * @module
 */
import { VerifyError, equalBytes, fromUtf8 } from "./bytes.js";

const MAX_ARCHIVE_ENTRIES = 200_000;
const MAX_ARCHIVE_SIZE = 2 ** 31 - 1;
const MAX_RATIO = 200;
const LOCAL_SIZE = 30;
const CENTRAL_SIZE = 46;
const END_SIZE = 22;
const REFUSED_FLAGS = 0x1 | 0x8 | 0x20 | 0x40 | 0x2000;
// Controls, what hides or reorders text, and what another system takes for a separator.
const BAD_PATH = /[\\:\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/;

/**
 * @typedef {object} ArchiveEntry
 * @property {string} path
 * @property {number} flags
 * @property {number} method 0 stored, 8 deflate
 * @property {number} crc
 * @property {number} packed bytes
 * @property {number} size bytes
 * @property {number} offset of its own header
 */

/**
 * Unpack a ZIP file.
 * @param {Uint8Array} data the whole file
 * @param {number} [maxSize] bytes that it may unpack to
 * @returns {Promise<Map<string, Uint8Array>>} by path
 * @throws {VerifyError} for what is not safe or not unambiguous; `unsupported` for Zip64 (packs beyond 4 GiB)
 */
export async function readArchive(data, maxSize = MAX_ARCHIVE_SIZE) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const entries = readDirectory(data, view);
  const total = entries.reduce((sum, entry) => sum + entry.size, 0);
  if (total > maxSize) throw new VerifyError(`the pack would unpack to ${total} bytes; ${maxSize} are allowed`);
  /** @type {Map<string, Uint8Array>} */
  const files = new Map();
  for (const entry of entries) files.set(entry.path, await unpack(data, view, entry));
  return files;
}

/**
 * @param {Uint8Array} data
 * @param {DataView} view
 * @returns {ArchiveEntry[]} in the order of the file
 */
function readDirectory(data, view) {
  const end = data.length - END_SIZE;
  if (end < 0 || view.getUint32(end, true) !== 0x06054b50 || view.getUint16(end + 20, true) !== 0) {
    throw new VerifyError("no pack: it does not end as a ZIP file without comment does");
  }
  const count = view.getUint16(end + 10, true);
  const start = view.getUint32(end + 16, true);
  if (count === 0xffff || start === 0xffffffff || (end >= 20 && view.getUint32(end - 20, true) === 0x07064b50)) {
    throw new VerifyError("a Zip64 file, which this reader does not take", { unsupported: true });
  }
  const alone = view.getUint32(end + 4, true) === 0 && view.getUint16(end + 8, true) === count;
  if (!alone || count > MAX_ARCHIVE_ENTRIES || start + view.getUint32(end + 12, true) !== end) {
    throw new VerifyError("no pack: its ZIP directory is not where it belongs");
  }
  /** @type {ArchiveEntry[]} */
  const entries = [];
  let at = start;
  for (let i = 0; i < count; i++) {
    const [entry, next] = readCentral(data, view, at, end);
    entries.push(entry);
    at = next;
  }
  if (at !== end) throw new VerifyError("bytes in the ZIP directory that belong to nothing");
  checkPaths(entries.map((entry) => entry.path));
  entries.sort((first, second) => first.offset - second.offset);
  const position = entries.reduce((place, entry) => checkLocal(data, view, entry, place, start), 0);
  if (position !== start) throw new VerifyError("bytes between the entries and the ZIP directory");
  return entries;
}

/**
 * @param {Uint8Array} data
 * @param {DataView} view
 * @param {number} at
 * @param {number} end
 * @returns {[ArchiveEntry, number]} the entry, and where the next begins
 */
function readCentral(data, view, at, end) {
  if (at + CENTRAL_SIZE > end || view.getUint32(at, true) !== 0x02014b50) throw new VerifyError("no ZIP directory entry");
  const flags = view.getUint16(at + 8, true);
  const name = view.getUint16(at + 28, true);
  const rest = view.getUint16(at + 30, true) + view.getUint16(at + 32, true) + view.getUint16(at + 34, true);
  const next = at + CENTRAL_SIZE + name;
  if (rest || next > end) throw new VerifyError("a ZIP entry with extra fields, a comment, or no end");
  const kind = view.getUint16(at + 40, true) & 0xf000;
  const entry = {
    path: fromUtf8(data.subarray(at + CENTRAL_SIZE, next)),
    flags,
    method: view.getUint16(at + 10, true),
    crc: view.getUint32(at + 16, true),
    packed: view.getUint32(at + 20, true),
    size: view.getUint32(at + 24, true),
    offset: view.getUint32(at + 42, true),
  };
  if (flags & REFUSED_FLAGS) throw new VerifyError(`${entry.path} is encrypted, streamed or a patch`);
  // Without the flag for UTF-8 another reader takes such a name for another alphabet's.
  if (!(flags & 0x800) && /[^ -~]/.test(entry.path)) throw new VerifyError(`${entry.path} is not marked as UTF-8`);
  if (kind !== 0 && kind !== 0x8000) throw new VerifyError(`${entry.path} is no regular file`);
  if (entry.method !== 0 && entry.method !== 8) throw new VerifyError(`${entry.path} is neither stored nor deflated`);
  if (entry.method === 0 && entry.packed !== entry.size) throw new VerifyError(`${entry.path} has two sizes`);
  if (entry.size > MAX_RATIO * entry.packed + 65536) throw new VerifyError(`${entry.path} may be a bomb`);
  return [entry, next];
}

/**
 * Check that an entry's own header agrees with the directory and starts at a position.
 * @param {Uint8Array} data
 * @param {DataView} view
 * @param {ArchiveEntry} entry
 * @param {number} position
 * @param {number} end
 * @returns {number} where its data ends
 */
function checkLocal(data, view, entry, position, end) {
  const { offset, path } = entry;
  if (offset !== position) throw new VerifyError(`${path} overlaps another entry, or unknown bytes are before it`);
  if (offset + LOCAL_SIZE > end || view.getUint32(offset, true) !== 0x04034b50) throw new VerifyError("no ZIP entry");
  const name = view.getUint16(offset + 26, true);
  const start = offset + LOCAL_SIZE + name;
  const same =
    equalBytes(data.subarray(offset + LOCAL_SIZE, start), new TextEncoder().encode(path)) &&
    view.getUint16(offset + 6, true) === entry.flags &&
    view.getUint16(offset + 8, true) === entry.method &&
    view.getUint32(offset + 14, true) === entry.crc &&
    view.getUint32(offset + 18, true) === entry.packed &&
    view.getUint32(offset + 22, true) === entry.size &&
    view.getUint16(offset + 28, true) === 0;
  if (!same) throw new VerifyError(`${path} says another thing in its own header than in the directory`);
  if (start + entry.packed > end) throw new VerifyError(`${path} is cut short`);
  return start + entry.packed;
}

/**
 * Refuse paths that lead elsewhere, or that could be taken for one another.
 * @param {string[]} paths
 * @throws {VerifyError}
 */
export function checkPaths(paths) {
  /** @type {Set<string>} */
  const seen = new Set();
  /** @type {Set<string>} */
  const folders = new Set();
  for (const path of paths) {
    const parts = path.split("/");
    const plain = parts.every((part) => part && part !== "." && part !== ".." && !/[ .]$/.test(part));
    if (!plain || BAD_PATH.test(path) || path.normalize("NFC") !== path || path.length > 1000) {
      throw new VerifyError(`the entry ${JSON.stringify(path.slice(0, 120))} is no plain relative path`);
    }
    const folded = path.normalize("NFKC").toLowerCase().normalize("NFKC");
    if (seen.has(folded)) throw new VerifyError(`two entries have the name ${path}, but for case or spelling`);
    seen.add(folded);
    const names = folded.split("/");
    for (let n = 1; n < names.length; n++) folders.add(names.slice(0, n).join("/"));
  }
  for (const folder of folders) if (seen.has(folder)) throw new VerifyError(`${folder} is a file and a directory`);
}

/**
 * @param {Uint8Array} data
 * @param {DataView} view
 * @param {ArchiveEntry} entry
 * @returns {Promise<Uint8Array>}
 */
async function unpack(data, view, entry) {
  const start = entry.offset + LOCAL_SIZE + view.getUint16(entry.offset + 26, true);
  const packed = data.subarray(start, start + entry.packed);
  const plain = entry.method === 0 ? packed : await inflate(packed, entry);
  if (crc32(plain) !== entry.crc) throw new VerifyError(`${entry.path} does not have its checksum`);
  return plain;
}

/**
 * @param {Uint8Array} packed
 * @param {ArchiveEntry} entry
 * @returns {Promise<Uint8Array>}
 */
async function inflate(packed, entry) {
  const stream = new Blob([/** @type {BlobPart} */ (packed)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const reader = stream.getReader();
  const plain = new Uint8Array(entry.size);
  let at = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length > plain.length) throw new VerifyError(`${entry.path} is longer than it says`);
      plain.set(value, at);
      at += value.length;
    }
  } catch (error) {
    throw error instanceof VerifyError ? error : new VerifyError(`${entry.path} cannot be unpacked`);
  }
  if (at !== plain.length) throw new VerifyError(`${entry.path} is shorter than it says`);
  return plain;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  let crc = value;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/**
 * @param {Uint8Array} data
 * @returns {number}
 */
function crc32(data) {
  let crc = 0xffffffff;
  for (const value of data) crc = CRC_TABLE[(crc ^ value) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
