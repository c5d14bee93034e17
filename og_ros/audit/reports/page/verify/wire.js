/**
 * An attestation from its ROS message: plain CDR (OMG DDS-XTypes 1.3, 7.4.1) of og_ros/msg/Attestation, either byte order.
 * @module
 */
import { VerifyError, fromUtf8, joinBytes } from "./bytes.js";
import { writeCbor } from "./cbor_writer.js";
import { decodeCose } from "./cose.js";

const MAX_WIRE = 65536;
const MAX_WIRE_TEXT = 512;
const NS = 1000000000n;
const WIRE_CONTENT_TYPE = "application/vnd.og-ros.statement+cbor";

/** Reads a payload front to back; alignment counts from the end of the encapsulation header. */
class CdrFields {
  /** @param {Uint8Array} payload */
  constructor(payload) {
    if (payload.length < 4) throw new VerifyError("a CDR payload has at least 4 bytes");
    if (payload[0] !== 0 || payload[1] > 1) throw new VerifyError("not plain CDR");
    this.little = payload[1] === 1;
    this.data = payload.subarray(4);
    this.view = new DataView(this.data.buffer, this.data.byteOffset, this.data.byteLength);
    this.at = 0;
  }

  /**
   * @param {number} size bytes
   * @param {number} [alignment]
   * @returns {number} where they start
   */
  skip(size, alignment = 1) {
    const start = this.at + ((alignment - (this.at % alignment)) % alignment);
    if (start + size > this.data.length) throw new VerifyError("the message is truncated");
    this.at = start + size;
    return start;
  }

  u8() {
    return BigInt(this.view.getUint8(this.skip(1)));
  }

  u16() {
    return BigInt(this.view.getUint16(this.skip(2, 2), this.little));
  }

  u32() {
    return this.view.getUint32(this.skip(4, 4), this.little);
  }

  i32() {
    return BigInt(this.view.getInt32(this.skip(4, 4), this.little));
  }

  u64() {
    return this.view.getBigUint64(this.skip(8, 8), this.little);
  }

  /** @param {number} size */
  take(size) {
    const start = this.skip(size);
    return this.data.slice(start, start + size);
  }

  /** @param {number} bound */
  octets(bound) {
    const size = this.u32();
    if (size > bound) throw new VerifyError(`the message has a field of ${size} bytes; ${bound} are allowed`);
    return this.take(size);
  }

  text() {
    const data = this.octets(MAX_WIRE_TEXT + 1);
    if (!data.length || data.indexOf(0) !== data.length - 1) {
      throw new VerifyError("the message has a string that does not end in its only NUL");
    }
    return fromUtf8(data.subarray(0, -1));
  }

  /** @returns {bigint} ns */
  time() {
    const seconds = this.i32();
    const rest = BigInt(this.u32());
    if (seconds < 0n || rest >= NS) throw new VerifyError(`the message has the time ${seconds} s ${rest} ns`);
    return seconds * NS + rest;
  }

  end() {
    const rest = this.data.subarray(this.at);
    if (rest.length > 3 || rest.some((value) => value !== 0)) throw new VerifyError("bytes after the message's end");
  }
}

/**
 * Read an attestation from the bytes that a subscription or a recording has; its signature is not checked here.
 * @param {Uint8Array} payload CDR, encapsulation header included
 * @returns {Promise<import("./cose.js").Attestation>}
 * @throws {VerifyError}
 */
export async function decodeAttestation(payload) {
  if (payload.length > MAX_WIRE) throw new VerifyError("the message is too long for an attestation");
  const cdr = new CdrFields(payload);
  const statement = readFields(cdr);
  const signature = cdr.octets(128);
  cdr.end();
  if (signature.length !== 64) throw new VerifyError("the signature is not 64 bytes long");
  const header = new Map(
    /** @type {[bigint, import("./cbor.js").CborItem][]} */ ([
      [1n, statement.get("algorithm")],
      [3n, WIRE_CONTENT_TYPE],
      [4n, statement.get("key_id")],
      [15n, new Map(/** @type {[bigint, any][]} */ ([[1n, statement.get("robot")], [2n, statement.get("stage")]]))],
    ]),
  );
  const parts = [writeCbor(header), new Map(), writeCbor(statement), signature];
  // Read back as the object that is signed and logged: every bound of a statement is checked there, once.
  return decodeCose(joinBytes(Uint8Array.of(0xd2), writeCbor(parts)));
}

/**
 * @param {CdrFields} cdr
 * @returns {Map<string, any>} the statement as CBOR has it
 */
function readFields(cdr) {
  /** @type {Map<string, any>} */
  const fields = new Map();
  fields.set("format_version", cdr.u16());
  for (const name of ["robot", "stage", "node"]) fields.set(name, cdr.text());
  fields.set("session", cdr.take(16));
  fields.set("sequence", cdr.u64());
  fields.set("previous", cdr.take(32));
  const model = new Map();
  for (const name of ["name", "version", "format", "digest_algorithm"]) model.set(name, cdr.text());
  model.set("digest", cdr.take(32));
  fields.set("model", model);
  const runtime = new Map();
  for (const name of ["name", "version", "provider", "options", "cpu"]) runtime.set(name, cdr.text());
  runtime.set("processing_digest", cdr.take(32));
  fields.set("runtime", runtime);
  for (const side of ["inputs", "outputs"]) fields.set(side, readWireReferences(cdr));
  fields.set("start", cdr.time());
  fields.set("clock", cdr.u8());
  fields.set("start_monotonic_ns", cdr.u64());
  fields.set("duration_ns", cdr.u64());
  fields.set("signed_at", cdr.time());
  fields.set("mode_requested", cdr.u8());
  fields.set("mode_used", cdr.u8());
  fields.set("key_id", cdr.take(32));
  fields.set("algorithm", cdr.i32());
  return fields;
}

/** @param {CdrFields} cdr */
function readWireReferences(cdr) {
  const count = cdr.u32();
  if (count > 32) throw new VerifyError(`the attestation has ${count} data references on one side; 32 are allowed`);
  return Array.from({ length: count }, () => {
    const reference = new Map();
    for (const name of ["topic", "type", "digest_algorithm"]) reference.set(name, cdr.text());
    reference.set("digest", cdr.take(32));
    reference.set("size", cdr.u64());
    reference.set("stamp", cdr.time());
    reference.set("attestation", cdr.octets(32));
    reference.set("disclosure", cdr.u8());
    return reference;
  });
}
