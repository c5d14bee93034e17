/**
 * A writer of deterministic CBOR (RFC 8949 section 4.2.1): integers, byte and text strings, arrays and maps.
 * @module
 */
import { VerifyError, compareBytes, joinBytes, utf8 } from "./bytes.js";

/**
 * Encode an item in its one deterministic form.
 * @param {import("./cbor.js").CborItem} item
 * @returns {Uint8Array}
 * @throws {VerifyError} for an integer beyond 64 bits
 */
export function writeCbor(item) {
  if (typeof item === "bigint") return item < 0n ? cborNumber(1, -1n - item) : cborNumber(0, item);
  if (typeof item === "string") {
    const text = utf8(item);
    return joinBytes(cborNumber(3, BigInt(text.length)), text);
  }
  if (item instanceof Uint8Array) return joinBytes(cborNumber(2, BigInt(item.length)), item);
  if (Array.isArray(item)) return joinBytes(cborNumber(4, BigInt(item.length)), ...item.map(writeCbor));
  const entries = [...item].map(([key, value]) => ({ key: writeCbor(key), value: writeCbor(value) }));
  entries.sort((first, second) => compareBytes(first.key, second.key));
  return joinBytes(cborNumber(5, BigInt(entries.length)), ...entries.flatMap(({ key, value }) => [key, value]));
}

/**
 * @param {number} major
 * @param {bigint} argument
 * @returns {Uint8Array} the shortest head
 */
function cborNumber(major, argument) {
  if (argument >= 1n << 64n) throw new VerifyError("a number that CBOR has no room for");
  const top = major << 5;
  if (argument < 24n) return Uint8Array.of(top | Number(argument));
  const width = argument < 0x100n ? 0 : argument < 0x10000n ? 1 : argument < 0x100000000n ? 2 : 3;
  const head = new Uint8Array(1 + (1 << width));
  head[0] = top | (24 + width);
  for (let i = head.length - 1, rest = argument; i > 0; i--, rest >>= 8n) head[i] = Number(rest & 0xffn);
  return head;
}
