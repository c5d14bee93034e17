/**
 * Bytes: strict base64, hex, comparison, joining, and SHA-256; and the one error that a failed check raises.
 * @module
 */

/** A check that failed, or that could not be made here (`unsupported`); the message says why in plain words. */
export class VerifyError extends Error {
  /**
   * @param {string} message
   * @param {{unsupported?: boolean}} [options]
   */
  constructor(message, options = {}) {
    super(message);
    this.name = "VerifyError";
    /** @type {boolean} whether nothing is wrong with the data: this program or browser cannot check it */
    this.unsupported = options.unsupported === true;
  }
}

const HEX = Array.from({ length: 256 }, (_, value) => value.toString(16).padStart(2, "0"));

/**
 * @param {Uint8Array} data
 * @returns {string} lower-case hex
 */
export function toHex(data) {
  let text = "";
  for (const value of data) text += HEX[value];
  return text;
}

/**
 * @param {string} text lower-case hex
 * @returns {Uint8Array}
 * @throws {VerifyError}
 */
export function fromHex(text) {
  if (text.length % 2 || !/^[0-9a-f]*$/.test(text)) throw new VerifyError("not lower-case hex");
  const data = new Uint8Array(text.length / 2);
  for (let i = 0; i < data.length; i++) data[i] = parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return data;
}

/**
 * Read standard base64 (RFC 4648 section 4) in its one canonical form: no white space, no stray bits.
 * @param {string} text
 * @returns {Uint8Array}
 * @throws {VerifyError}
 */
export function fromBase64(text) {
  if (text.length % 4 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new VerifyError("not base64");
  let binary;
  try {
    binary = atob(text);
  } catch {
    throw new VerifyError("not base64");
  }
  if (text.endsWith("=") && btoa(binary.slice(-(binary.length % 3))) !== text.slice(-4)) {
    throw new VerifyError("base64 that is not canonical: bits were changed that decode to nothing");
  }
  const data = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) data[i] = binary.charCodeAt(i);
  return data;
}

/**
 * @param {Uint8Array} data
 * @returns {string} standard base64 with padding
 */
export function toBase64(data) {
  let binary = "";
  for (let i = 0; i < data.length; i += 32768) {
    binary += String.fromCharCode(...data.subarray(i, i + 32768));
  }
  return btoa(binary);
}

/**
 * @param {Uint8Array} first
 * @param {Uint8Array} second
 * @returns {boolean}
 */
export function equalBytes(first, second) {
  return first.length === second.length && first.every((value, index) => value === second[index]);
}

/**
 * @param {Uint8Array} first
 * @param {Uint8Array} second
 * @returns {number} negative, zero or positive, as bytewise order has it
 */
export function compareBytes(first, second) {
  const shared = Math.min(first.length, second.length);
  for (let i = 0; i < shared; i++) if (first[i] !== second[i]) return first[i] - second[i];
  return first.length - second.length;
}

/**
 * @param {...Uint8Array} parts
 * @returns {Uint8Array}
 */
export function joinBytes(...parts) {
  const data = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  return data;
}

/**
 * @param {string} text
 * @returns {Uint8Array} UTF-8
 */
export function utf8(text) {
  return new TextEncoder().encode(text);
}

/**
 * Decode UTF-8 strictly; a byte order mark stays in the text.
 * @param {Uint8Array} data
 * @returns {string}
 * @throws {VerifyError}
 */
export function fromUtf8(data) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    throw new VerifyError("text that is not UTF-8");
  }
}

/**
 * The browser's cryptography; missing where a page was not loaded from a file or over https.
 * @returns {SubtleCrypto}
 * @throws {VerifyError} `unsupported`
 */
export function subtle() {
  const found = globalThis.crypto && globalThis.crypto.subtle;
  if (!found) throw new VerifyError("this browser offers no WebCrypto here", { unsupported: true });
  return found;
}

/**
 * @param {Uint8Array} data
 * @returns {Promise<Uint8Array>} 32 bytes
 */
export async function sha256(data) {
  return new Uint8Array(await subtle().digest("SHA-256", /** @type {BufferSource} */ (data)));
}
