/**
 * C2SP signed notes, checkpoints and log proofs (c2sp.org/signed-note, /tlog-checkpoint, /tlog-proof).
 * @module
 */
import { VerifyError, equalBytes, fromBase64, fromUtf8, joinBytes, sha256, toHex, utf8 } from "./bytes.js";
import { rawEd25519, readRawEd25519 } from "./keys.js";
import { leafHash, verifyInclusion } from "./merkle.js";
import { verifySignature } from "./signature.js";

/**
 * @typedef {object} SignedNote
 * @property {string} text what is signed
 * @property {{name: string, keyId: Uint8Array, signature: Uint8Array}[]} signatures
 */

/**
 * @typedef {object} Checkpoint
 * @property {string} origin
 * @property {bigint} size number of leaves
 * @property {Uint8Array} root
 */

/**
 * @typedef {object} LogProof
 * @property {bigint} index
 * @property {Uint8Array[]} hashes
 * @property {string} note the checkpoint, verbatim
 */

const PROOF_HEADER = "c2sp.org/tlog-proof@v1";
const EMPTY_ROOT = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const DECIMAL = /^(0|[1-9][0-9]{0,18})$/;

/**
 * @param {string} note
 * @returns {SignedNote}
 * @throws {VerifyError}
 */
export function readNote(note) {
  const split = note.lastIndexOf("\n\n");
  if (split < 0 || !note.endsWith("\n") || /[\u0000-\u0009\u000b-\u001f]/.test(note)) {
    throw new VerifyError("a malformed signed note");
  }
  const lines = note.slice(split + 2, -1).split("\n");
  if (lines.length > 100) throw new VerifyError("a note with too many signatures");
  const signatures = lines.map((line) => {
    const match = /^\u2014 ([^ +]+) ([A-Za-z0-9+/=]+)$/u.exec(line);
    if (!match) throw new VerifyError("a note with a malformed signature line");
    const data = fromBase64(match[2]);
    if (data.length < 5) throw new VerifyError("a note with a malformed signature line");
    return { name: match[1], keyId: data.subarray(0, 4), signature: data.subarray(4) };
  });
  return { text: note.slice(0, split + 1), signatures };
}

/**
 * The 4-byte id of an Ed25519 note key: SHA-256(name || 0x0A || 0x01 || key)[:4].
 * @param {string} name
 * @param {import("./keys.js").PublicKey} key
 * @returns {Promise<Uint8Array>}
 */
export async function noteKeyId(name, key) {
  return (await sha256(joinBytes(utf8(`${name}\n`), Uint8Array.of(1), rawEd25519(key)))).slice(0, 4);
}

/**
 * Read a verifier key of a note (c2sp.org/signed-note): NAME+HASH+KEY, Ed25519 only.
 * @param {string} text
 * @returns {Promise<{name: string, key: import("./keys.js").PublicKey}>}
 * @throws {VerifyError}
 */
export async function readVerifierKey(text) {
  const match = /^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text);
  const data = match ? fromBase64(match[3]) : new Uint8Array();
  if (!match || data.length !== 33 || data[0] !== 1) throw new VerifyError("no Ed25519 verifier key of a note");
  const key = await readRawEd25519(data.slice(1));
  if (toHex(await noteKeyId(match[1], key)) !== match[2]) throw new VerifyError("a verifier key with another hash");
  return { name: match[1], key };
}

/**
 * Read a checkpoint and check it against the log's key.
 * @param {string} note
 * @param {import("./keys.js").PublicKey} key Ed25519
 * @param {string} origin the log that the key is registered for
 * @returns {Promise<Checkpoint>}
 * @throws {VerifyError}
 */
export async function openCheckpoint(note, key, origin) {
  const signed = readNote(note);
  const id = await noteKeyId(origin, key);
  const mine = signed.signatures.filter((line) => line.name === origin && equalBytes(line.keyId, id));
  if (key.algorithm !== "EdDSA" || !mine.length) throw new VerifyError(`the checkpoint is not signed by ${origin}`);
  for (const line of mine) await verifySignature(key, utf8(signed.text), line.signature);
  const checkpoint = readCheckpoint(signed.text);
  if (checkpoint.origin !== origin) throw new VerifyError("the checkpoint speaks for another log");
  return checkpoint;
}

/**
 * Read the text of a checkpoint; its signature is not checked here.
 * @param {string} text
 * @returns {Checkpoint}
 * @throws {VerifyError}
 */
export function readCheckpoint(text) {
  const [origin, size, root, ...extensions] = text.slice(0, -1).split("\n");
  if (!origin || !DECIMAL.test(size || "") || !root || extensions.some((line) => !line)) {
    throw new VerifyError("a malformed checkpoint");
  }
  const hash = fromBase64(root);
  if (hash.length !== 32) throw new VerifyError("a checkpoint whose root is not 32 bytes long");
  if (size === "0" && toHex(hash) !== EMPTY_ROOT) throw new VerifyError("a checkpoint of an empty log with another root");
  return { origin, size: BigInt(size), root: hash };
}

/**
 * @param {Uint8Array} data a .tlog-proof
 * @returns {LogProof}
 * @throws {VerifyError}
 */
export function readProof(data) {
  const text = fromUtf8(data);
  const split = text.indexOf("\n\n");
  const lines = text.slice(0, split).split("\n");
  if (split < 0 || lines.shift() !== PROOF_HEADER) throw new VerifyError("a malformed log proof");
  if (lines.length && lines[0].startsWith("extra ")) lines.shift();
  const index = (lines.shift() || "").replace(/^index /, "");
  const hashes = lines.map(fromBase64);
  if (!DECIMAL.test(index) || hashes.length > 63 || hashes.some((hash) => hash.length !== 32)) {
    throw new VerifyError("a malformed log proof");
  }
  return { index: BigInt(index), hashes, note: text.slice(split + 2) };
}

/**
 * Check that a leaf is in the tree of a checkpoint that was verified.
 * @param {Uint8Array} leaf
 * @param {LogProof} proof
 * @param {Checkpoint} checkpoint
 * @returns {Promise<void>}
 * @throws {VerifyError}
 */
export async function verifyLeaf(leaf, proof, checkpoint) {
  await verifyInclusion(await leafHash(leaf), proof.index, checkpoint.size, proof.hashes, checkpoint.root);
}
