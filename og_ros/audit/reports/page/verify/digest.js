/**
 * The digest rule: SHA-256 over a message's CDR payload, with the two options bytes of its header taken as zero and
 * its end padded with zeros to a multiple of 4.
 * @module
 */
import { VerifyError, sha256 } from "./bytes.js";

/**
 * @param {Uint8Array} payload
 * @param {string} [algorithm]
 * @returns {Promise<Uint8Array>} 32 bytes
 * @throws {VerifyError} `unsupported` for another algorithm than sha256
 */
export async function messageDigest(payload, algorithm = "sha256") {
  if (algorithm !== "sha256") throw new VerifyError(`this page cannot compute ${algorithm}`, { unsupported: true });
  if (payload.length < 4) throw new VerifyError("a message shorter than its encapsulation header");
  const covered = new Uint8Array((payload.length + 3) & ~3);
  covered.set(payload);
  covered[2] = 0;
  covered[3] = 0;
  return sha256(covered);
}
