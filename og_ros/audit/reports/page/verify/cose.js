/**
 * The COSE_Sign1 form of an attestation (RFC 9052 section 4.2), which has exactly one encoding.
 * @module
 */
import { VerifyError, equalBytes, joinBytes, sha256, utf8 } from "./bytes.js";
import { cborEnd, cborHead, readCbor } from "./cbor.js";
import { decodeStatement } from "./statement.js";

/**
 * @typedef {object} Attestation
 * @property {import("./statement.js").Statement} statement
 * @property {Uint8Array} signature 64 bytes
 * @property {Uint8Array} signedBytes the Sig_structure that the signature covers
 * @property {Uint8Array} cose the whole object, which is the log's leaf
 * @property {Uint8Array} digest SHA-256 of `cose`
 */

const COSE_CONTENT_TYPE = "application/vnd.og-ros.statement+cbor";
const COSE_ALGORITHM = { ES256: -7n, EdDSA: -8n };
const MAX_COSE = 65535;

/**
 * Read an attestation; its signature is not checked here.
 * @param {Uint8Array} data
 * @returns {Promise<Attestation>}
 * @throws {VerifyError} for anything but the one form: tag 18, the protected header that follows from the statement,
 *   an empty unprotected header, deterministic encoding, a 64-byte signature
 */
export async function decodeCose(data) {
  if (data.length > MAX_COSE) throw new VerifyError("the COSE_Sign1 object is too long");
  if (data[0] !== 0xd2) throw new VerifyError("not a COSE_Sign1 object: tag 18 is missing");
  const parts = readCbor(data.subarray(1));
  if (!Array.isArray(parts) || parts.length !== 4) throw new VerifyError("a COSE_Sign1 object has four parts");
  const [header, unprotected, payload, signature] = parts;
  if (!(header instanceof Uint8Array) || !(payload instanceof Uint8Array) || !(signature instanceof Uint8Array)) {
    throw new VerifyError("header, payload and signature of a COSE_Sign1 object are byte strings");
  }
  if (!(unprotected instanceof Map) || unprotected.size) {
    throw new VerifyError("the unprotected header is not empty: nothing unsigned may decide");
  }
  if (signature.length !== 64) throw new VerifyError("the signature is not 64 bytes long");
  const statement = decodeStatement(payload);
  checkHeader(header, statement);
  const signedBytes = joinBytes(
    cborHead(4, 4),
    cborHead(3, 10),
    utf8("Signature1"),
    cborHead(2, header.length),
    header,
    cborHead(2, 0),
    cborHead(2, payload.length),
    payload,
  );
  return { statement, signature, signedBytes, cose: data, digest: await sha256(data) };
}

/**
 * @param {Uint8Array} header
 * @param {import("./statement.js").Statement} statement
 */
function checkHeader(header, statement) {
  const map = readCbor(header);
  const claims = map instanceof Map ? map.get(15n) : undefined;
  const kid = map instanceof Map ? map.get(4n) : undefined;
  const holds =
    map instanceof Map &&
    map.size === 4 &&
    map.get(1n) === COSE_ALGORITHM[statement.algorithm] &&
    map.get(3n) === COSE_CONTENT_TYPE &&
    kid instanceof Uint8Array &&
    equalBytes(kid, statement.keyId) &&
    claims instanceof Map &&
    claims.size === 2 &&
    claims.get(1n) === statement.robot &&
    claims.get(2n) === statement.stage;
  if (!holds) throw new VerifyError("the protected header does not match the statement");
}

/**
 * Split a CBOR sequence (RFC 8742) of COSE_Sign1 objects; `decodeCose` checks each.
 * @param {Uint8Array} data
 * @returns {Uint8Array[]}
 * @throws {VerifyError} where it is none
 */
export function splitCose(data) {
  const found = [];
  for (let at = 0; at < data.length; ) {
    if (data[at] !== 0xd2) throw new VerifyError("not a sequence of COSE_Sign1 objects: tag 18 is missing");
    const end = cborEnd(data, at + 1);
    found.push(data.subarray(at, end));
    at = end;
  }
  return found;
}
