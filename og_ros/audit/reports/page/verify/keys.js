/**
 * Public keys: PEM, SubjectPublicKeyInfo, key ids. A key is P-256 (ES256) or Ed25519 (EdDSA), and nothing else.
 * @module
 */
import { VerifyError, equalBytes, fromBase64, fromHex, joinBytes, sha256, subtle, toBase64, toHex } from "./bytes.js";

/**
 * @typedef {object} PublicKey
 * @property {"ES256" | "EdDSA"} algorithm the one that the key itself has
 * @property {Uint8Array} spki
 * @property {string} id key id in hex: SHA-256 of the SubjectPublicKeyInfo
 */

const P256_HEAD = fromHex("3059301306072a8648ce3d020106082a8648ce3d03010703420004");
const ED25519_HEAD = fromHex("302a300506032b6570032100");
const PEM_FORM = /^-----BEGIN PUBLIC KEY-----\n([A-Za-z0-9+/=\n]+)\n-----END PUBLIC KEY-----\n$/;
// y-coordinates of Ed25519's points of small order, one signature of which would hold for any message.
const SMALL_ORDER = new Set([
  "00".repeat(32),
  "01" + "00".repeat(31),
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "ec" + "ff".repeat(30) + "7f",
  "ed" + "ff".repeat(30) + "7f",
  "ee" + "ff".repeat(30) + "7f",
]);

/**
 * @param {string} pem one key in plain PEM, with lines of 64 characters
 * @returns {Promise<PublicKey>}
 * @throws {VerifyError}
 */
export async function readPem(pem) {
  const match = PEM_FORM.exec(pem);
  if (!match) throw new VerifyError("no public key in plain PEM");
  const spki = fromBase64(match[1].replaceAll("\n", ""));
  const lines = toBase64(spki).match(/.{1,64}/g) || [];
  if (match[1] !== lines.join("\n")) throw new VerifyError("PEM that is not canonical");
  return readSpki(spki);
}

/**
 * @param {Uint8Array} spki SubjectPublicKeyInfo in DER
 * @returns {Promise<PublicKey>}
 * @throws {VerifyError} for any other kind of key, and for an Ed25519 key of small order
 */
export async function readSpki(spki) {
  const starts = (/** @type {Uint8Array} */ head) => equalBytes(spki.subarray(0, head.length), head);
  const id = toHex(await sha256(spki));
  if (spki.length === 91 && starts(P256_HEAD)) return { algorithm: "ES256", spki, id };
  if (spki.length === 44 && starts(ED25519_HEAD)) {
    const point = spki.slice(12);
    point[31] &= 0x7f;
    if (SMALL_ORDER.has(toHex(point))) throw new VerifyError("a weak Ed25519 key: it could disown what it signed");
    return { algorithm: "EdDSA", spki, id };
  }
  throw new VerifyError("a key that is neither P-256 nor Ed25519");
}

/**
 * @param {Uint8Array} raw the 32 bytes of an Ed25519 key
 * @returns {Promise<PublicKey>}
 */
export async function readRawEd25519(raw) {
  return readSpki(joinBytes(ED25519_HEAD, raw));
}

/**
 * The 32 bytes of an Ed25519 key.
 * @param {PublicKey} key
 * @returns {Uint8Array}
 */
export function rawEd25519(key) {
  return key.spki.subarray(ED25519_HEAD.length);
}

/** @type {Map<string, Promise<CryptoKey>>} */
const IMPORTED = new Map();

/**
 * @param {PublicKey} key
 * @returns {Promise<CryptoKey>}
 * @throws {VerifyError} `unsupported` where the browser does not know the algorithm
 */
export function importKey(key) {
  let found = IMPORTED.get(key.id);
  if (!found) {
    const algorithm = key.algorithm === "ES256" ? { name: "ECDSA", namedCurve: "P-256" } : { name: "Ed25519" };
    found = subtle()
      .importKey("spki", /** @type {BufferSource} */ (key.spki), algorithm, false, ["verify"])
      .catch((error) => {
        if (error && error.name === "NotSupportedError") {
          throw new VerifyError(`this browser cannot check ${key.algorithm} signatures`, { unsupported: true });
        }
        throw new VerifyError("the key is no point of its curve");
      });
    IMPORTED.set(key.id, found);
  }
  return found;
}
