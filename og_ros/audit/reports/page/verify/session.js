/**
 * A session's hash chain: sequence from 0, each attestation naming the one before, one key, model and runtime throughout.
 * @module
 */
import { equalBytes, toHex } from "./bytes.js";

/**
 * @typedef {object} SessionProblem
 * @property {"attestation_lost" | "session_forked" | "chain_broken" | "session_changed"} kind
 * @property {bigint} sequence of the attestation at which it shows
 * @property {string} message
 */

/**
 * Check the attestations of one session against each other; their signatures are not checked here.
 *
 * By default they may come in any order and start anywhere, and the same one twice says nothing new. With `complete`
 * they must be the session from its sequence 0 on, each once and in order.
 * @param {import("./cose.js").Attestation[]} attestations
 * @param {{complete?: boolean}} [options]
 * @returns {SessionProblem[]} empty when they are one chain without gaps
 */
export function checkSession(attestations, options = {}) {
  const byDigest = new Map(attestations.map((attestation) => [toHex(attestation.digest), attestation]));
  const ordered = options.complete
    ? attestations
    : [...byDigest.values()].sort((a, b) => Number(a.statement.sequence - b.statement.sequence));
  /** @type {SessionProblem[]} */
  const problems = [];
  if (options.complete && ordered.length && ordered[0].statement.sequence !== 0n) {
    const { sequence } = ordered[0].statement;
    problems.push({ kind: "attestation_lost", sequence, message: `the session's first ${sequence} are not here` });
  }
  for (let i = 1; i < ordered.length; i++) {
    const before = ordered[i - 1];
    const here = ordered[i];
    const { sequence } = here.statement;
    const step = sequence - before.statement.sequence;
    const add = (/** @type {SessionProblem["kind"]} */ kind, /** @type {string} */ message) =>
      problems.push({ kind, sequence, message });
    if (step < 0n) add("session_forked", `attestation ${sequence} comes after a later one`);
    else if (step === 0n) add("session_forked", `two attestations have the sequence ${sequence}`);
    else if (step > 1n) add("attestation_lost", `${step - 1n} attestations before ${sequence} are not here`);
    else if (!equalBytes(here.statement.previous, before.digest)) {
      add("chain_broken", `attestation ${sequence} does not name the one before it`);
    }
    const other = changed(ordered[0].statement, here.statement);
    if (other) add("session_changed", `attestation ${sequence} has another ${other} than the session's first`);
  }
  return problems;
}

/**
 * Group attestations by their sessions: a session is known by its key and its random id.
 * @param {import("./cose.js").Attestation[]} attestations
 * @returns {Map<string, import("./cose.js").Attestation[]>} by "key id:session", in hex
 */
export function bySession(attestations) {
  /** @type {Map<string, import("./cose.js").Attestation[]>} */
  const sessions = new Map();
  for (const attestation of attestations) {
    const name = `${toHex(attestation.statement.keyId)}:${toHex(attestation.statement.session)}`;
    const found = sessions.get(name);
    if (found) found.push(attestation);
    else sessions.set(name, [attestation]);
  }
  return sessions;
}

/**
 * @param {import("./statement.js").Statement} first
 * @param {import("./statement.js").Statement} other
 * @returns {string} what changed, in words; empty when nothing that must stay did
 */
function changed(first, other) {
  if (!equalBytes(first.keyId, other.keyId)) return "key";
  if (!equalBytes(first.session, other.session)) return "session id";
  if (first.robot !== other.robot || first.stage !== other.stage || first.node !== other.node) return "stage";
  for (const part of /** @type {const} */ (["model", "runtime"])) {
    if (inOneText(first[part]) !== inOneText(other[part])) return part;
  }
  return "";
}

/**
 * @param {Record<string, string | Uint8Array>} fields
 * @returns {string}
 */
function inOneText(fields) {
  return JSON.stringify(Object.values(fields).map((value) => (typeof value === "string" ? value : toHex(value))));
}
