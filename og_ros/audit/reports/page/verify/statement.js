/**
 * The statement: what one attestation says, read from its CBOR with every bound of msg/Attestation.msg.
 * @module
 */
import { VerifyError, utf8 } from "./bytes.js";
import { readCbor } from "./cbor.js";

/**
 * @typedef {object} DataReference a message that was read or written
 * @property {string} topic
 * @property {string} type
 * @property {Uint8Array} digest
 * @property {bigint} size
 * @property {bigint} stamp ns; 0: none
 * @property {Uint8Array} attestation digest of the attestation that it was an output of; empty where not known
 * @property {string} digestAlgorithm
 * @property {"clear" | "committed" | "absent"} disclosure
 */

/**
 * @typedef {object} Statement
 * @property {string} robot
 * @property {string} stage
 * @property {string} node
 * @property {Uint8Array} session
 * @property {bigint} sequence
 * @property {Uint8Array} previous
 * @property {{name: string, version: string, format: string, digest: Uint8Array, digestAlgorithm: string}} model
 * @property {{name: string, version: string, provider: string, options: string, cpu: string,
 *   processingDigest: Uint8Array}} runtime
 * @property {DataReference[]} inputs
 * @property {DataReference[]} outputs
 * @property {bigint} start ns
 * @property {"system" | "sim"} clock
 * @property {bigint} startMonotonic ns
 * @property {bigint} duration ns
 * @property {bigint} signedAt ns
 * @property {Uint8Array} keyId
 * @property {"ES256" | "EdDSA"} algorithm
 * @property {string} modeRequested
 * @property {string} modeUsed
 */

const MAX_STATEMENT = 60000;
const MAX_REFERENCES = 32;
const MAX_TIME = (2n ** 31n - 1n) * 10n ** 9n + 999999999n;
const MAX_U64 = 2n ** 64n - 1n;
const CLOCKS = new Map([
  [1n, "system"],
  [2n, "sim"],
]);
const MODES = new Map([
  [1n, "signed"],
  [2n, "observed"],
  [3n, "tee"],
  [4n, "zk"],
]);
const DISCLOSURES = new Map([
  [0n, "clear"],
  [1n, "committed"],
  [2n, "absent"],
]);
const ALGORITHMS = new Map([
  [-7n, "ES256"],
  [-8n, "EdDSA"],
]);
// Controls, line breaks, and what hides or reorders text: the same fixed list as the signer's.
const HIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff\u{e0000}-\u{e007f}]/u;

/** Reads the fields of one map and sees that none is left over. */
class FieldReader {
  /**
   * @param {unknown} item
   * @param {string} what
   */
  constructor(item, what) {
    if (!(item instanceof Map)) throw new VerifyError(`${what} is not a map`);
    this.map = item;
    this.what = what;
    this.read = 0;
  }

  /** @param {string} name */
  take(name) {
    if (!this.map.has(name)) throw new VerifyError(`${this.what} lacks the field ${name}`);
    this.read += 1;
    return this.map.get(name);
  }

  /**
   * @param {string} name
   * @param {number} limit bytes of UTF-8
   * @param {boolean} [required]
   * @returns {string}
   */
  text(name, limit, required = false) {
    const value = this.take(name);
    if (typeof value !== "string") throw new VerifyError(`${name} is no text`);
    if (required && !value) throw new VerifyError(`${name} is empty`);
    if (utf8(value).length > limit) throw new VerifyError(`${name} is longer than ${limit} bytes`);
    if (HIDDEN.test(value)) throw new VerifyError(`${name} has a control or hidden character`);
    return value;
  }

  /**
   * @param {string} name
   * @param {number} size
   * @returns {Uint8Array}
   */
  bytes(name, size) {
    const value = this.take(name);
    if (!(value instanceof Uint8Array)) throw new VerifyError(`${name} is no byte string`);
    if (size >= 0 && value.length !== size) throw new VerifyError(`${name} is not ${size} bytes long`);
    return value;
  }

  /**
   * @param {string} name
   * @param {bigint} [limit]
   * @returns {bigint}
   */
  number(name, limit = MAX_U64) {
    const value = this.take(name);
    if (typeof value !== "bigint" || value < 0n || value > limit) throw new VerifyError(`${name} is out of range`);
    return value;
  }

  /**
   * @param {string} name
   * @param {Map<bigint, string>} values
   * @returns {any}
   */
  member(name, values) {
    const value = this.take(name);
    const found = typeof value === "bigint" ? values.get(value) : undefined;
    if (found === undefined) throw new VerifyError(`${name} has no known value`);
    return found;
  }

  end() {
    if (this.read !== this.map.size) throw new VerifyError(`${this.what} has unknown fields`);
  }
}

/**
 * Read a statement from the payload of its COSE_Sign1 object.
 * @param {Uint8Array} payload
 * @returns {Statement}
 * @throws {VerifyError} for anything but the one deterministic encoding of a statement within its bounds
 */
export function decodeStatement(payload) {
  if (payload.length > MAX_STATEMENT) throw new VerifyError("the statement is too long");
  const fields = new FieldReader(readCbor(payload), "the statement");
  if (fields.number("format_version") !== 1n) throw new VerifyError("format_version is not 1");
  /** @type {Statement} */
  const statement = {
    robot: fields.text("robot", 128, true),
    stage: fields.text("stage", 128, true),
    node: fields.text("node", 255, true),
    session: fields.bytes("session", 16),
    sequence: fields.number("sequence"),
    previous: fields.bytes("previous", 32),
    model: readModel(fields.take("model")),
    runtime: readRuntime(fields.take("runtime")),
    inputs: readReferences(fields.take("inputs"), "inputs"),
    outputs: readReferences(fields.take("outputs"), "outputs"),
    start: fields.number("start", MAX_TIME),
    clock: fields.member("clock", CLOCKS),
    startMonotonic: fields.number("start_monotonic_ns"),
    duration: fields.number("duration_ns"),
    signedAt: fields.number("signed_at", MAX_TIME),
    keyId: fields.bytes("key_id", 32),
    algorithm: fields.member("algorithm", ALGORITHMS),
    modeRequested: fields.member("mode_requested", MODES),
    modeUsed: fields.member("mode_used", MODES),
  };
  fields.end();
  if ((statement.sequence === 0n) !== statement.previous.every((value) => value === 0)) {
    throw new VerifyError("previous must be zero at sequence 0 and only there");
  }
  return statement;
}

/** @param {unknown} item */
function readModel(item) {
  const fields = new FieldReader(item, "model");
  const model = {
    name: fields.text("name", 128, true),
    version: fields.text("version", 64),
    format: fields.text("format", 32, true),
    digest: fields.bytes("digest", 32),
    digestAlgorithm: fields.text("digest_algorithm", 16, true),
  };
  fields.end();
  return model;
}

/** @param {unknown} item */
function readRuntime(item) {
  const fields = new FieldReader(item, "runtime");
  const runtime = {
    name: fields.text("name", 64),
    version: fields.text("version", 64),
    provider: fields.text("provider", 64),
    options: fields.text("options", 512),
    cpu: fields.text("cpu", 128),
    processingDigest: fields.bytes("processing_digest", 32),
  };
  fields.end();
  return runtime;
}

/**
 * @param {unknown} items
 * @param {string} side
 * @returns {DataReference[]}
 */
function readReferences(items, side) {
  if (!Array.isArray(items)) throw new VerifyError(`${side} is no array`);
  const fewest = side === "outputs" ? 1 : 0; // a source, which is where data begins, has no inputs
  if (items.length < fewest || items.length > MAX_REFERENCES)
    throw new VerifyError(`${side} has ${items.length} references`);
  return items.map((item) => {
    const fields = new FieldReader(item, side);
    const reference = {
      topic: fields.text("topic", 255, true),
      type: fields.text("type", 255, true),
      digest: fields.bytes("digest", 32),
      size: fields.number("size"),
      stamp: fields.number("stamp", MAX_TIME),
      attestation: fields.bytes("attestation", -1),
      digestAlgorithm: fields.text("digest_algorithm", 16, true),
      disclosure: fields.member("disclosure", DISCLOSURES),
    };
    fields.end();
    const named = reference.attestation.length;
    if (named && (side === "outputs" || named !== 32)) throw new VerifyError(`${side}: attestation is out of place`);
    if ((reference.disclosure === "absent") !== reference.digest.every((value) => value === 0)) {
      throw new VerifyError(`${side}: a digest is all zero when disclosure is absent, and only then`);
    }
    return reference;
  });
}
