/**
 * An evidence pack (`og-ros pack`): files against the manifest, its signature, the registry, each attestation and proof.
 *
 * What only `og-ros verify` does is listed as not checked: auditing the recording again, and comparing the report.
 * @module
 */
import { VerifyError, equalBytes, fromUtf8, sha256, toHex, utf8 } from "./bytes.js";
import { checkPaths, readArchive } from "./archive.js";
import { splitCose } from "./cose.js";
import { readEnvelope, readObject, verifyEnvelope } from "./dsse.js";
import { readPem } from "./keys.js";
import { checkRecord, openWithRegistry } from "./record.js";
import { openRegistry } from "./registry.js";
import { bySession, checkSession } from "./session.js";
import { readLog } from "./tiles.js";

/**
 * @typedef {object} PackFinding
 * @property {string} kind as in docs/reference/findings.md; of single records: record_form, record_signature,
 *   record_key, record_model, record_log
 * @property {"violation" | "warning"} severity
 * @property {string} message
 */

/**
 * @typedef {object} PackResult
 * @property {boolean} holds no violation among what was checked; see `notChecked` for the rest
 * @property {Record<string, any>} description pack.json
 * @property {string | null} signer the key id, in hex, of who signed the pack
 * @property {string} vouchedBy who stands for that key; empty: nobody
 * @property {string | null} root fingerprint of the packed registry's root
 * @property {import("./record.js").CheckedRecord[]} records
 * @property {number} leaves of the log, when it was read
 * @property {PackFinding[]} findings
 * @property {string[]} notChecked
 */

const PACK_MANIFEST = "SHA256SUMS";
const PACK_SIGNATURE = "SHA256SUMS.dsse.json";
const PACK_SIGNER = "signer.pub";
const PACK_ATTESTATIONS = "attestations/attestations.cbor";
const PACK_PROOFS = "attestations/proofs.jsonl";
const MANIFEST_TYPE = "application/vnd.og-ros.pack-manifest";

/**
 * Verify a pack.
 * @param {Uint8Array} data the file
 * @param {{root?: string, packer?: string, maxSize?: number}} [trust] `root`: fingerprint ("sha256:…") that the
 *   registry's root must have; `packer`: PEM of the key that must have signed the pack
 * @returns {Promise<PackResult>}
 * @throws {VerifyError} when it is not safe to open, or no pack of version 1; what does not hold is in `findings`
 */
export async function verifyPack(data, trust = {}) {
  return verifyFiles(await readArchive(data, trust.maxSize), trust);
}

/**
 * Verify a pack that was unpacked before, such as by a browser that streams.
 * @param {Map<string, Uint8Array>} files by path; nothing may be missing and nothing added
 * @param {{root?: string, packer?: string}} [trust] as for `verifyPack`
 * @returns {Promise<PackResult>}
 * @throws {VerifyError} when it is no pack of version 1
 */
export async function verifyFiles(files, trust = {}) {
  const description = readObject(fromUtf8(packFile(files, "pack.json")), "pack.json");
  if (description.format !== "og-ros-evidence-pack" || description.version !== 1) {
    throw new VerifyError("pack.json is not of og-ros-evidence-pack version 1");
  }
  /** @type {PackResult} */
  const result = {
    holds: false,
    description,
    signer: null,
    vouchedBy: "",
    root: null,
    records: [],
    leaves: 0,
    findings: [],
    notChecked: [
      "the recording's messages, the policy and the report: og-ros verify audits the recording again",
      "summary.dsse.json",
    ],
  };
  await checkManifest(files, result);
  const registry = await openPackRegistry(files, trust.root, result);
  await checkPacker(files, registry, trust.packer, result);
  await checkAttestations(files, registry, result);
  await checkPackLog(files, registry, result);
  result.holds = result.findings.every((finding) => finding.severity === "warning");
  return result;
}

/**
 * Read SHA256SUMS in its one form: SHA-256, two spaces, path, a line each, sorted.
 * @param {Uint8Array} data
 * @returns {Map<string, string>} SHA-256 in hex by path
 * @throws {VerifyError}
 */
export function readManifest(data) {
  const text = fromUtf8(data);
  const digests = new Map();
  const lines = text.split("\n");
  if (lines.pop() !== "") throw new VerifyError(`${PACK_MANIFEST} does not end in a line end`);
  let before = "";
  for (const line of lines) {
    const match = /^([0-9a-f]{64}) {2}([^\n]+)$/.exec(line);
    if (!match || (before && !byCodePoint(before, match[2]))) {
      throw new VerifyError(`${PACK_MANIFEST} is not in its one form: a line a file, each once, sorted`);
    }
    before = match[2];
    digests.set(match[2], match[1]);
  }
  checkPaths([...digests.keys()]);
  return digests;
}

/**
 * @param {string} first
 * @param {string} second
 * @returns {boolean} whether the first sorts before the second, as Python sorts texts
 */
function byCodePoint(first, second) {
  const [a, b] = [[...first], [...second]];
  const at = a.findIndex((letter, index) => letter !== b[index]);
  if (at < 0) return a.length < b.length;
  return at < b.length && Number(a[at].codePointAt(0)) < Number(b[at].codePointAt(0));
}

/**
 * @param {Map<string, Uint8Array>} files
 * @param {PackResult} result
 */
async function checkManifest(files, result) {
  const listed = readManifest(packFile(files, PACK_MANIFEST));
  const add = (/** @type {string} */ message) => result.findings.push({ kind: "pack_altered", severity: "violation", message });
  for (const [path, digest] of listed) {
    const data = files.get(path);
    if (!data) add(`${path} is missing, though the manifest lists it`);
    else if (toHex(await sha256(data)) !== digest) add(`${path} is not the file that the manifest lists`);
  }
  for (const path of files.keys()) {
    if (!listed.has(path) && path !== PACK_MANIFEST && path !== PACK_SIGNATURE) {
      add(`${path} is not in the manifest: it was added`);
    }
  }
}

/**
 * @param {Map<string, Uint8Array>} files
 * @param {string | undefined} root
 * @param {PackResult} result
 * @returns {Promise<import("./registry.js").RegistryView | null>}
 */
async function openPackRegistry(files, root, result) {
  try {
    const view = await openRegistry(below(files, "registry/"));
    result.root = view.fingerprint;
    for (const [path, reason] of view.failed) {
      result.findings.push({ kind: "pack_altered", severity: "violation", message: `registry/${path}: ${reason}` });
    }
    if (root === undefined) result.notChecked.push(`whether you trust the registry's root ${view.fingerprint}`);
    else if (root !== view.fingerprint) {
      const message = `the registry's root is ${view.fingerprint}, not ${root}`;
      result.findings.push({ kind: "root_not_trusted", severity: "violation", message });
    }
    return view;
  } catch (error) {
    const reason = error instanceof VerifyError ? error.message : `malformed (${error})`;
    result.findings.push({ kind: "pack_altered", severity: "violation", message: `the packed registry does not hold: ${reason}` });
    return null;
  }
}

/**
 * @param {Map<string, Uint8Array>} files
 * @param {import("./registry.js").RegistryView | null} registry
 * @param {string | undefined} packer
 * @param {PackResult} result
 */
async function checkPacker(files, registry, packer, result) {
  const envelopeFile = files.get(PACK_SIGNATURE);
  const keyFile = files.get(PACK_SIGNER);
  const add = (/** @type {string} */ kind, /** @type {string} */ message) => result.findings.push({ kind, severity: "violation", message });
  if (!envelopeFile || !keyFile) {
    if (packer !== undefined) add("pack_signer_unexpected", "the pack is not signed, and a signer was asked for");
    else if (result.description.signer) add("pack_signature_invalid", "the pack's signature was removed");
    result.notChecked.push("who made the pack: it is not signed");
    return;
  }
  try {
    const key = await readPem(fromUtf8(keyFile));
    const envelope = readEnvelope(envelopeFile, PACK_SIGNATURE);
    if (envelope.payloadType !== MANIFEST_TYPE || !equalBytes(envelope.payload, packFile(files, PACK_MANIFEST))) {
      throw new VerifyError(`${PACK_SIGNATURE} is the signature of another manifest`);
    }
    await verifyEnvelope(envelope, key);
    result.signer = key.id;
    const certificate = registry?.keys.get(key.id);
    if (packer !== undefined) {
      const expected = await readPem(packer);
      if (expected.id === key.id) result.vouchedBy = "you gave this key";
      else add("pack_signer_unexpected", `the pack is signed by ${key.id.slice(0, 16)}, not by ${expected.id.slice(0, 16)}`);
    } else if (certificate?.role === "auditor") {
      result.vouchedBy = "the packed registry, as an auditor's key";
    } else {
      result.notChecked.push(`whose key ${key.id.slice(0, 16)} is, which signed the pack`);
    }
  } catch (error) {
    add("pack_signature_invalid", error instanceof VerifyError ? error.message : `malformed (${error})`);
  }
}

/**
 * @param {Map<string, Uint8Array>} files
 * @param {import("./registry.js").RegistryView | null} registry
 * @param {PackResult} result
 */
async function checkAttestations(files, registry, result) {
  /** @type {Map<string, Uint8Array>} */
  const proofs = new Map();
  const add = (/** @type {string} */ kind, /** @type {string} */ message) => result.findings.push({ kind, severity: "violation", message });
  try {
    for (const line of fromUtf8(files.get(PACK_PROOFS) ?? new Uint8Array()).split("\n")) {
      if (!line) continue;
      const proof = readObject(line, PACK_PROOFS, ["sha256", "leaf", "proof"]);
      proofs.set(String(proof.sha256), utf8(String(proof.proof)));
    }
    const checkpoints = new Map();
    for (const cose of splitCose(packFile(files, PACK_ATTESTATIONS))) {
      const name = toHex(await sha256(cose));
      const record = await checkRecord(cose, name, registry, proofs.get(name) ?? null, checkpoints);
      result.records.push(record);
      const who = record.attestation
        ? `${record.attestation.statement.stage} #${record.attestation.statement.sequence}`
        : `attestation ${name.slice(0, 16)}`;
      for (const check of record.checks) {
        if (check.state === "bad") add(`record_${check.name}`, `${who}: ${check.text}`);
        else if (check.state === "open") result.notChecked.push(`${who}, ${check.name}: ${check.text}`);
      }
    }
  } catch (error) {
    if (!(error instanceof VerifyError)) throw error;
    add("pack_records_differ", error.message);
  }
  const read = result.records.flatMap((record) => (record.attestation ? [record.attestation] : []));
  for (const session of bySession(read).values()) {
    const { stage } = session[0].statement;
    for (const { kind, message } of checkSession(session)) {
      // Loss explains a gap, so it is no violation here either; what is missing cannot be checked.
      const severity = kind === "attestation_lost" ? "warning" : "violation";
      result.findings.push({ kind, severity, message: `${stage}: ${message}` });
    }
  }
}

/**
 * @param {Map<string, Uint8Array>} files
 * @param {import("./registry.js").RegistryView | null} registry
 * @param {PackResult} result
 */
async function checkPackLog(files, registry, result) {
  const log = below(files, "log/");
  const note = log.get("checkpoint");
  if (!note) {
    result.notChecked.push("settlement: the pack has no log with a checkpoint");
    return;
  }
  try {
    if (!registry) throw new VerifyError("no registry stands for the log's key", { unsupported: true });
    result.leaves = (await readLog(log, await openWithRegistry(fromUtf8(note), registry))).length;
  } catch (error) {
    if (!(error instanceof VerifyError)) throw error;
    if (error.unsupported) result.notChecked.push(`the log: ${error.message}`);
    else result.findings.push({ kind: "log_invalid", severity: "violation", message: error.message });
  }
}

/**
 * @param {Map<string, Uint8Array>} files
 * @param {string} prefix
 * @returns {Map<string, Uint8Array>} the files below a folder
 */
function below(files, prefix) {
  const found = [...files].filter(([path]) => path.startsWith(prefix));
  return new Map(found.map(([path, data]) => [path.slice(prefix.length), data]));
}

/**
 * @param {Map<string, Uint8Array>} files
 * @param {string} path
 */
function packFile(files, path) {
  const data = files.get(path);
  if (!data) throw new VerifyError(`no evidence pack: it has no ${path}`);
  return data;
}
