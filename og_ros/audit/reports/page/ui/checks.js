/**
 * Checks every piece of evidence that the page carries, and says of each what came of it.
 * @module
 */
import { VerifyError, toHex } from "../verify/bytes.js";
import { messageDigest } from "../verify/digest.js";
import { checkLinks, checkRecord } from "../verify/record.js";
import { openRegistry } from "../verify/registry.js";

/** @typedef {"ok" | "bad" | "open" | "known"} State */

/**
 * @typedef {object} RecordResult
 * @property {string} digest hex
 * @property {string} label for people: stage and sequence
 * @property {import("../verify/cose.js").Attestation | null} attestation
 * @property {import("../verify/record.js").Check[]} checks
 * @property {State} state
 * @property {any} told what the auditor says of it
 */

/**
 * @typedef {object} MessageResult
 * @property {Uint8Array | null} data null when it does not have its digest
 * @property {State} state
 * @property {string} text
 */

/**
 * @typedef {object} Results
 * @property {Map<string, RecordResult>} records
 * @property {Map<string, MessageResult>} messages
 * @property {import("../verify/registry.js").RegistryView | null} registry
 * @property {string[]} failures what does not hold and should, in sentences that name it
 * @property {string[]} known records that do not hold, as the audit found
 * @property {string[]} open what could not be checked in this browser
 * @property {{proofs: number, certificates: number}} counts what was verified besides
 */

/**
 * @param {import("./embedded.js").Embedded} embedded
 * @param {(done: number, total: number) => void} progress
 * @returns {Promise<Results>}
 */
export async function checkEverything(embedded, progress) {
  /** @type {Results} */
  const results = {
    records: new Map(),
    messages: new Map(),
    registry: null,
    failures: [...embedded.problems],
    known: [],
    open: [],
    counts: { proofs: 0, certificates: 0 },
  };
  const manifest = (embedded.figures && embedded.figures.exhibits) || null;
  checkManifest(embedded, manifest, results);
  await checkRegistry(embedded, manifest, results);
  const pieces = [...embedded.pieces.values()];
  const work = pieces.filter((piece) => piece.kind === "record" || piece.kind === "message");
  const checkpoints = new Map();
  for (let start = 0; start < work.length; start += 48) {
    await Promise.all(
      work
        .slice(start, start + 48)
        .map((piece) =>
          piece.kind === "record"
            ? checkOneRecord(piece, embedded, manifest, results, checkpoints)
            : checkOneMessage(piece, manifest, results),
        ),
    );
    progress(Math.min(start + 48, work.length), work.length);
  }
  await checkChains(manifest, results);
  for (const record of results.records.values()) conclude(record, results);
  return results;
}

/**
 * Everything that the manifest lists is here, and nothing else.
 * @param {import("./embedded.js").Embedded} embedded
 * @param {any} manifest
 * @param {Results} results
 */
function checkManifest(embedded, manifest, results) {
  if (!manifest) return;
  const expected = [
    ...Object.keys(manifest.records).map((name) => `record ${name}`),
    ...Object.keys(manifest.messages).map((name) => `message ${name}`),
    ...manifest.proofs.map((/** @type {string} */ name) => `proof ${name}`),
    ...manifest.registry.map((/** @type {string} */ name) => `registry ${name}`),
  ];
  const listed = new Set(expected);
  for (const key of expected) {
    if (!embedded.pieces.has(key))
      results.failures.push(`${nameOf(key, manifest)} is listed, and is not in this page.`);
  }
  for (const key of embedded.pieces.keys()) {
    if (!listed.has(key)) results.failures.push(`${nameOf(key, manifest)} is in this page, and is not listed.`);
  }
}

/**
 * A piece's name for people.
 * @param {string} key "kind name"
 * @param {any} manifest
 * @returns {string}
 */
export function nameOf(key, manifest) {
  const [kind, name] = [key.slice(0, key.indexOf(" ")), key.slice(key.indexOf(" ") + 1)];
  const record = manifest && manifest.records[name];
  const short = /^[0-9a-f]{64}$/.test(name) ? name.slice(0, 16) : name;
  if (kind === "record") return `Record ${record ? `${record.name} (${short})` : short}`;
  if (kind === "proof") return `Log proof of record ${record ? `${record.name} (${short})` : short}`;
  if (kind === "message") return `Message on ${(manifest && manifest.messages[name]) || "an unknown topic"} (${short})`;
  return `Registry file ${name}`;
}

/**
 * @param {import("./embedded.js").Embedded} embedded
 * @param {any} manifest
 * @param {Results} results
 */
async function checkRegistry(embedded, manifest, results) {
  const files = new Map();
  let whole = true;
  for (const piece of embedded.pieces.values()) {
    if (piece.kind !== "registry") continue;
    if (piece.data) files.set(piece.name, piece.data);
    else {
      results.failures.push(`Registry file ${piece.name}: ${piece.problem}.`);
      if (piece.name === "index.dsse.json" || piece.name.startsWith("roots/")) whole = false;
    }
  }
  if (!files.size || !whole) return;
  try {
    const view = await openRegistry(files);
    if (manifest && manifest.fingerprint !== view.fingerprint) {
      throw new VerifyError(`its root is ${view.fingerprint}, and the auditor's figures name ${manifest.fingerprint}`);
    }
    for (const piece of embedded.pieces.values()) {
      if (piece.kind === "registry" && !piece.data) view.failed.set(piece.name, piece.problem);
    }
    results.registry = view;
    results.counts.certificates = files.size - [...view.failed.keys()].filter((path) => files.has(path)).length;
    for (const [path, reason] of view.failed) {
      if (files.has(path)) results.failures.push(`Registry file ${path}: ${reason}.`);
    }
  } catch (error) {
    const unsupported = error instanceof VerifyError && error.unsupported;
    const reason = error instanceof Error ? error.message : String(error);
    if (unsupported) results.open.push(`The registry: ${reason}.`);
    else results.failures.push(`The registry does not hold: ${reason}.`);
  }
}

/**
 * @param {import("./embedded.js").Piece} piece
 * @param {import("./embedded.js").Embedded} embedded
 * @param {any} manifest
 * @param {Results} results
 * @param {Map<string, any>} checkpoints
 */
async function checkOneRecord(piece, embedded, manifest, results, checkpoints) {
  const told = (manifest && manifest.records[piece.name]) || {};
  const proof = embedded.pieces.get(`proof ${piece.name}`);
  /** @type {RecordResult} */
  const result = {
    digest: piece.name,
    label: told.name || piece.name.slice(0, 16),
    attestation: null,
    checks: [{ name: "form", state: "bad", text: piece.problem }],
    state: "bad",
    told,
  };
  if (piece.data) {
    const data = (proof && proof.data) || null;
    Object.assign(result, await checkRecord(piece.data, piece.name, results.registry, data, checkpoints));
    const log = result.checks.find((check) => check.name === "log");
    if (log && proof && !proof.data) Object.assign(log, { state: "bad", text: proof.problem });
    if (log && log.state === "ok") results.counts.proofs += 1;
  }
  results.records.set(piece.name, result);
}

/**
 * @param {import("./embedded.js").Piece} piece
 * @param {any} manifest
 * @param {Results} results
 */
async function checkOneMessage(piece, manifest, results) {
  /** @type {MessageResult} */
  const result = { data: null, state: "bad", text: piece.problem };
  if (piece.data) {
    const holds = toHex(await messageDigest(piece.data).catch(() => new Uint8Array())) === piece.name;
    result.text = holds
      ? "its digest, recomputed from these bytes, is the signed one"
      : "its bytes do not have their digest";
    if (holds) {
      result.data = piece.data;
      result.state = "ok";
    }
  }
  if (result.state === "bad") results.failures.push(`${nameOf(`message ${piece.name}`, manifest)}: ${result.text}.`);
  results.messages.set(piece.name, result);
}

/**
 * @param {any} manifest
 * @param {Results} results
 */
async function checkChains(manifest, results) {
  const chains = manifest ? [...manifest.decisions, ...manifest.others] : [];
  for (const { chain } of chains) {
    const attestations = chain
      .map((/** @type {string} */ digest) => (results.records.get(digest) || { attestation: null }).attestation)
      .filter(Boolean);
    for (const digest of chain) {
      const record = results.records.get(digest);
      if (!record || !record.attestation || record.checks.some((check) => check.name === "links")) continue;
      record.checks.push(await checkLinks(record.attestation, attestations));
    }
  }
}

/**
 * Sum up a record's checks. What fails where the audit says that it failed is known; any other failure is the page's.
 * @param {RecordResult} record
 * @param {Results} results
 */
function conclude(record, results) {
  const { told } = record;
  const name = `Record ${record.label} (${record.digest.slice(0, 16)})`;
  const expected = { signature: told.signed === false, key: told.signed === false, model: told.certified === false };
  let state = /** @type {State} */ ("ok");
  for (const check of record.checks) {
    if (check.state === "ok") continue;
    if (check.state === "open") {
      // A record without a proof counts as verified where the audit had no log either; the check stays open to see.
      if (check.name === "log" && told.logged !== true) continue;
      results.open.push(`${name}: ${check.name}: ${check.text}.`);
      if (state === "ok") state = "open";
    } else if (check.name !== "form" && /** @type {Record<string, boolean>} */ (expected)[check.name]) {
      results.known.push(`${name}: ${check.text}.`);
      if (state !== "bad") state = "known";
    } else {
      const subject =
        check.name === "log" ? `Log proof of record ${record.label} (${record.digest.slice(0, 16)})` : name;
      results.failures.push(`${subject}: ${check.text}.`);
      state = "bad";
    }
  }
  record.state = state;
}
