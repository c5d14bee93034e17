/**
 * DSSE envelopes (github.com/secure-systems-lab/dsse, version 1): one signed payload with its type, as JSON.
 * @module
 */
import { VerifyError, fromBase64, fromUtf8, joinBytes, utf8 } from "./bytes.js";
import { derToRaw, verifyRaw } from "./signature.js";

/**
 * @typedef {object} Envelope
 * @property {string} payloadType
 * @property {Uint8Array} payload
 * @property {string} keyId the hint that it carries; not to be believed
 * @property {Uint8Array} signature
 */

/**
 * Read JSON that must be an object with exactly some fields.
 * @param {string} text
 * @param {string} what
 * @param {string[]} [names]
 * @returns {Record<string, any>}
 * @throws {VerifyError}
 */
export function readObject(text, what, names) {
  let tree;
  try {
    tree = JSON.parse(text);
  } catch {
    throw new VerifyError(`${what} is malformed JSON`);
  }
  if (typeof tree !== "object" || tree === null || Array.isArray(tree))
    throw new VerifyError(`${what} is no JSON object`);
  if (names && Object.keys(tree).sort().join() !== [...names].sort().join()) {
    throw new VerifyError(`${what} has other fields than it must`);
  }
  return tree;
}

/**
 * Read an envelope with its one signature; nothing in it is verified.
 * @param {Uint8Array} data
 * @param {string} what
 * @returns {Envelope}
 * @throws {VerifyError}
 */
export function readEnvelope(data, what) {
  const tree = readObject(fromUtf8(data), what, ["payloadType", "payload", "signatures"]);
  const signature = Array.isArray(tree.signatures) && tree.signatures.length === 1 ? tree.signatures[0] : null;
  const texts = [tree.payloadType, tree.payload, signature && signature.keyid, signature && signature.sig];
  if (!texts.every((text) => typeof text === "string")) throw new VerifyError(`${what} is no DSSE envelope`);
  return {
    payloadType: tree.payloadType,
    payload: fromBase64(tree.payload),
    keyId: signature.keyid,
    signature: fromBase64(signature.sig),
  };
}

/**
 * The Pre-Authentication Encoding: the bytes that a DSSE signature covers.
 * @param {string} payloadType
 * @param {Uint8Array} payload
 * @returns {Uint8Array}
 */
export function pae(payloadType, payload) {
  const kind = utf8(payloadType);
  return joinBytes(utf8(`DSSEv1 ${kind.length} `), kind, utf8(` ${payload.length} `), payload);
}

/**
 * Check an envelope's signature; the key alone decides the algorithm.
 * @param {Envelope} envelope
 * @param {import("./keys.js").PublicKey} key
 * @returns {Promise<void>}
 * @throws {VerifyError}
 */
export async function verifyEnvelope(envelope, key) {
  const signature = key.algorithm === "ES256" ? derToRaw(envelope.signature) : envelope.signature;
  await verifyRaw(key, pae(envelope.payloadType, envelope.payload), signature);
}
