/**
 * Signatures: the registered key decides the algorithm, and one message has one valid signature.
 * @module
 */
import { VerifyError, subtle, toHex } from "./bytes.js";
import { importKey } from "./keys.js";

const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/**
 * Check a 64-byte signature: r || s with low s for ES256 (RFC 9053 section 2.1), R || S for EdDSA.
 * @param {import("./keys.js").PublicKey} key
 * @param {Uint8Array} message
 * @param {Uint8Array} signature
 * @returns {Promise<void>}
 * @throws {VerifyError} with the reason; `unsupported` where the browser lacks the algorithm
 */
export async function verifySignature(key, message, signature) {
  if (signature.length !== 64) throw new VerifyError("the signature is not 64 bytes long");
  if (key.algorithm === "ES256") {
    const r = toNumber(signature.subarray(0, 32));
    const s = toNumber(signature.subarray(32));
    if (r <= 0n || r >= P256_ORDER || s <= 0n || s >= P256_ORDER) {
      throw new VerifyError("the signature's numbers are out of range");
    }
    if (s > P256_ORDER / 2n) {
      throw new VerifyError("the signature is not in low-S form, so its record could be made to look like another");
    }
  }
  await verifyRaw(key, message, signature);
}

/**
 * Check an attestation against the key that it must have been signed with; whether the key is certified is the
 * registry's word.
 * @param {import("./cose.js").Attestation} attestation
 * @param {import("./keys.js").PublicKey} key
 * @returns {Promise<void>}
 * @throws {VerifyError} when it names another key or algorithm than the key's own, or the signature does not hold
 */
export async function verifyAttestation(attestation, key) {
  const { statement } = attestation;
  if (toHex(statement.keyId) !== key.id) throw new VerifyError("it names another key");
  if (statement.algorithm !== key.algorithm) throw new VerifyError("it names another algorithm than the key's");
  await verifySignature(key, attestation.signedBytes, attestation.signature);
}

/**
 * Check a signature in the form of WebCrypto, whichever half its s is in.
 * @param {import("./keys.js").PublicKey} key
 * @param {Uint8Array} message
 * @param {Uint8Array} signature
 * @returns {Promise<void>}
 * @throws {VerifyError}
 */
export async function verifyRaw(key, message, signature) {
  const algorithm = key.algorithm === "ES256" ? { name: "ECDSA", hash: "SHA-256" } : { name: "Ed25519" };
  const imported = await importKey(key);
  const [given, covered] = [/** @type {BufferSource} */ (signature), /** @type {BufferSource} */ (message)];
  if (!(await subtle().verify(algorithm, imported, given, covered))) {
    throw new VerifyError("the signature does not match what it should cover");
  }
}

/**
 * Turn an ECDSA signature from DER (as DSSE carries it) into r || s.
 * @param {Uint8Array} der
 * @returns {Uint8Array} 64 bytes
 * @throws {VerifyError}
 */
export function derToRaw(der) {
  const raw = new Uint8Array(64);
  let at = 2;
  if (der[0] !== 0x30 || der[1] !== der.length - 2 || der[1] > 127) throw new VerifyError("a malformed DER signature");
  for (const end of [32, 64]) {
    const size = der[at + 1];
    const number = der.subarray(at + 2, at + 2 + size);
    const padded = number[0] === 0 && size > 1;
    if (der[at] !== 2 || number.length !== size || size < 1 || number[0] > 127 || (padded && number[1] < 128)) {
      throw new VerifyError("a malformed DER signature");
    }
    const digits = padded ? number.subarray(1) : number;
    if (digits.length > 32) throw new VerifyError("a malformed DER signature");
    raw.set(digits, end - digits.length);
    at += 2 + size;
  }
  if (at !== der.length) throw new VerifyError("a malformed DER signature");
  return raw;
}

/**
 * @param {Uint8Array} data big-endian
 * @returns {bigint}
 */
function toNumber(data) {
  let value = 0n;
  for (const octet of data) value = (value << 8n) | BigInt(octet);
  return value;
}
