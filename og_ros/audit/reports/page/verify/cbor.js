/**
 * A strict reader of the CBOR that attestations are made of: a closed subset, in deterministic encoding only
 * (RFC 8949 section 4.2.1). Tags, floats, simple values, indefinite lengths and nesting deeper than 8 are refused.
 * @module
 */
import { VerifyError, compareBytes, fromUtf8 } from "./bytes.js";

/** @typedef {bigint | Uint8Array | string | any[] | Map<bigint | string, any>} CborItem arrays and maps hold items */

const CBOR_DEPTH = 8;

/**
 * Read exactly one item: integers (as bigint), byte and text strings, arrays, maps with text or integer keys.
 * @param {Uint8Array} data
 * @returns {CborItem}
 * @throws {VerifyError} for any other item, any other encoding, truncation and bytes after the end
 */
export function readCbor(data) {
  const reader = { data, at: 0 };
  const item = readItem(reader, 0);
  if (reader.at !== data.length) throw new VerifyError("malformed CBOR: bytes after its end");
  return item;
}

/**
 * Where the item that begins at an offset ends.
 * @param {Uint8Array} data
 * @param {number} at
 * @returns {number}
 * @throws {VerifyError} as `readCbor` does
 */
export function cborEnd(data, at) {
  const reader = { data, at };
  readItem(reader, 0);
  return reader.at;
}

/**
 * @param {{data: Uint8Array, at: number}} reader
 * @param {number} depth
 * @returns {CborItem}
 */
function readItem(reader, depth) {
  if (depth > CBOR_DEPTH) throw new VerifyError("malformed CBOR: nested too deep");
  const [major, argument] = readHead(reader);
  if (major === 0) return argument;
  if (major === 1) return -1n - argument;
  const left = BigInt(reader.data.length - reader.at);
  if (argument > left) throw new VerifyError("malformed CBOR: truncated");
  const size = Number(argument);
  if (major === 2 || major === 3) {
    const raw = reader.data.subarray(reader.at, reader.at + size);
    reader.at += size;
    return major === 2 ? raw : fromUtf8(raw);
  }
  if (major === 4) {
    const items = [];
    for (let i = 0; i < size; i++) items.push(readItem(reader, depth + 1));
    return items;
  }
  return readMap(reader, size, depth);
}

/**
 * @param {{data: Uint8Array, at: number}} reader
 * @param {number} count
 * @param {number} depth
 */
function readMap(reader, count, depth) {
  /** @type {Map<bigint | string, CborItem>} */
  const map = new Map();
  /** @type {Uint8Array} */
  let before = new Uint8Array();
  for (let i = 0; i < count; i++) {
    const start = reader.at;
    const key = readItem(reader, depth + 1);
    if (typeof key !== "bigint" && typeof key !== "string") {
      throw new VerifyError("malformed CBOR: a map key is neither text nor an integer");
    }
    const encoded = reader.data.subarray(start, reader.at);
    if (compareBytes(encoded, before) <= 0) {
      throw new VerifyError(`malformed CBOR: the map key ${key} is a duplicate or out of order`);
    }
    before = encoded;
    map.set(key, readItem(reader, depth + 1));
  }
  return map;
}

/**
 * @param {{data: Uint8Array, at: number}} reader
 * @returns {[number, bigint]} major type and argument
 */
function readHead(reader) {
  const { data } = reader;
  if (reader.at >= data.length) throw new VerifyError("malformed CBOR: truncated");
  const first = data[reader.at++];
  const major = first >> 5;
  const low = first & 0x1f;
  if (major > 5) throw new VerifyError("malformed CBOR: a tag, float or simple value, which no attestation holds");
  if (low < 24) return [major, BigInt(low)];
  if (low > 27) throw new VerifyError("malformed CBOR: an indefinite length or a reserved head");
  const width = 1 << (low - 24);
  if (reader.at + width > data.length) throw new VerifyError("malformed CBOR: truncated");
  let argument = 0n;
  for (let i = 0; i < width; i++) argument = (argument << 8n) | BigInt(data[reader.at++]);
  if (argument < (width === 1 ? 24n : 1n << BigInt(4 * width))) {
    throw new VerifyError("malformed CBOR: a number that is not in its shortest form");
  }
  return [major, argument];
}

/**
 * Encode the head of a byte string, text string or array.
 * @param {number} major
 * @param {number} size
 * @returns {Uint8Array}
 */
export function cborHead(major, size) {
  const top = major << 5;
  if (size < 24) return Uint8Array.of(top | size);
  if (size < 0x100) return Uint8Array.of(top | 24, size);
  if (size < 0x10000) return Uint8Array.of(top | 25, size >> 8, size & 0xff);
  return Uint8Array.of(top | 26, size >>> 24, (size >> 16) & 0xff, (size >> 8) & 0xff, size & 0xff);
}
