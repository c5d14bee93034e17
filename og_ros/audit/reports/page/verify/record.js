/**
 * The checks of one attestation: form, signature, key certificate, model certificate, and inclusion in the log.
 * @module
 */
import { VerifyError, equalBytes, toHex } from "./bytes.js";
import { decodeCose } from "./cose.js";
import { openCheckpoint, readNote, readProof, verifyLeaf } from "./log.js";
import { modelPath, statusAt } from "./registry.js";
import { verifyAttestation } from "./signature.js";

/**
 * @typedef {object} Check
 * @property {"form" | "signature" | "key" | "model" | "log" | "links"} name
 * @property {"ok" | "bad" | "open"} state open: could not be checked here
 * @property {string} text what was found, in words
 */

/**
 * @typedef {object} CheckedRecord
 * @property {import("./cose.js").Attestation | null} attestation null when its bytes cannot be read
 * @property {Check[]} checks
 */

/**
 * Run a check, and say what came of it.
 * @param {Check["name"]} name
 * @param {() => Promise<string> | string} check returns what holds; throws VerifyError
 * @returns {Promise<Check>}
 */
export async function makeCheck(name, check) {
  try {
    return { name, state: "ok", text: await check() };
  } catch (error) {
    if (!(error instanceof VerifyError)) return { name, state: "bad", text: `malformed data (${error})` };
    return { name, state: error.unsupported ? "open" : "bad", text: error.message };
  }
}

/** @param {string} message */
function notChecked(message) {
  return new VerifyError(message, { unsupported: true });
}

/**
 * Check an attestation by itself.
 * @param {Uint8Array} cose its bytes
 * @param {string} name the digest, in hex, under which it is known
 * @param {import("./registry.js").RegistryView | null} registry
 * @param {Uint8Array | null} proof its inclusion proof
 * @param {Map<string, Promise<import("./log.js").Checkpoint>>} checkpoints opened before, by note
 * @returns {Promise<CheckedRecord>}
 */
export async function checkRecord(cose, name, registry, proof, checkpoints) {
  /** @type {import("./cose.js").Attestation | null} */
  let attestation = null;
  const form = await makeCheck("form", async () => {
    const decoded = await decodeCose(cose);
    if (toHex(decoded.digest) !== name) throw new VerifyError("its bytes do not have the digest that it is known by");
    attestation = decoded;
    return "one COSE_Sign1 object in its only form; its SHA-256 is the record's digest";
  });
  if (!attestation) return { attestation, checks: [form] };
  /** @type {import("./cose.js").Attestation} */
  const read = attestation;
  const { statement } = read;
  const checks = [
    form,
    await makeCheck("signature", () => checkSignature(read, registry)),
    await makeCheck("key", () => checkKey(statement, registry)),
    await makeCheck("model", () => checkModel(statement, registry)),
    await makeCheck("log", () => checkLog(read, registry, proof, checkpoints)),
  ];
  return { attestation, checks };
}

/**
 * @param {import("./cose.js").Attestation} attestation
 * @param {import("./registry.js").RegistryView | null} registry
 */
async function checkSignature(attestation, registry) {
  const { statement } = attestation;
  const certificate = findKey(statement, registry);
  await verifyAttestation(attestation, certificate.key);
  return `${statement.algorithm} by key ${certificate.key.id.slice(0, 16)}`;
}

/**
 * @param {import("./statement.js").Statement} statement
 * @param {import("./registry.js").RegistryView | null} registry
 */
function checkKey(statement, registry) {
  const certificate = findKey(statement, registry);
  const { role, robot, stage, topics } = certificate;
  const source = statement.inputs.length === 0;
  if (source && !(role === "source" && statement.outputs.every(({ topic }) => topics.includes(topic))))
    throw new VerifyError(`the key is not registered as a source of ${statement.outputs.map((o) => o.topic)}`);
  if (!(source ? ["source"] : ["stage", "observer"]).includes(role) || stage !== statement.stage)
    throw new VerifyError(`the key is registered for ${stage || role}`);
  if (role === "observer" && statement.modeUsed !== "observed")
    throw new VerifyError("the key is registered to observe only");
  if (robot !== statement.robot) throw new VerifyError(`the key is registered for robot ${robot}`);
  const view = /** @type {import("./registry.js").RegistryView} */ (registry);
  const status = statusAt(view, "key", certificate.key.id, certificate, statement.signedAt);
  if (status !== "valid") throw new VerifyError(`the key was ${status} when it signed`);
  return `certified by ${certificate.certifier} for robot ${robot}, stage ${stage}; valid when it signed`;
}

/**
 * @param {import("./statement.js").Statement} statement
 * @param {import("./registry.js").RegistryView | null} registry
 * @returns {import("./registry.js").KeyCertificate}
 */
function findKey(statement, registry) {
  if (!registry) throw notChecked("no registry is here");
  const id = toHex(statement.keyId);
  const certificate = registry.keys.get(id);
  if (certificate) return certificate;
  const path = `keys/${id.slice(0, 32)}.dsse.json`;
  // What rests on a broken piece is not broken itself: the piece is named, and this stays open.
  if (registry.failed.has(path)) throw notChecked(`its key's certificate ${path} does not hold`);
  throw new VerifyError(
    registry.listed.has(path) ? "the certificate of its key is not here" : "its key is not in the registry",
  );
}

/**
 * @param {import("./statement.js").Statement} statement
 * @param {import("./registry.js").RegistryView | null} registry
 */
function checkModel(statement, registry) {
  if (!registry) throw notChecked("no registry is here");
  const digest = toHex(statement.model.digest);
  const source = statement.inputs.length === 0;
  if ((source || statement.modeUsed === "observed") && /^0+$/.test(digest))
    return source ? "a source, which runs no model, and names no driver" : "the witness names no model";
  const withDigest = registry.models.filter((model) => model.digest === digest);
  const { name, version } = statement.model;
  const named = withDigest.filter((model) => model.name === name && model.version === version);
  const path = modelPath(name, version);
  if (!named.length && registry.failed.has(path)) throw notChecked(`its certificate ${path} does not hold`);
  if (!withDigest.length) throw new VerifyError("no certificate names its digest");
  if (!named.length) throw new VerifyError(`its digest is certified as ${withDigest[0].name} ${withDigest[0].version}`);
  let reason = "";
  for (const model of named) {
    const status = statusAt(registry, "model", digest, model, statement.signedAt);
    const processing = toHex(statement.runtime.processingDigest);
    if (model.stages.length && !model.stages.includes(statement.stage))
      reason ||= `certified for ${model.stages.join(", ")}`;
    else if (status !== "valid") reason ||= `its certificate was ${status} when it ran`;
    else if (model.processingDigest && model.processingDigest !== processing) {
      reason ||= "its pre- or post-processing is not the certified one";
    } else {
      const vendor = model.vendorSigned ? " (the vendor's own signature is not checked here)" : "";
      return `${name} ${version} certified by ${model.certifier}${vendor}; valid when it ran`;
    }
  }
  throw new VerifyError(reason);
}

/**
 * @param {import("./cose.js").Attestation} attestation
 * @param {import("./registry.js").RegistryView | null} registry
 * @param {Uint8Array | null} data
 * @param {Map<string, Promise<import("./log.js").Checkpoint>>} checkpoints
 */
async function checkLog(attestation, registry, data, checkpoints) {
  if (!data) throw notChecked("no inclusion proof is here");
  if (!registry) throw notChecked("no registry is here, so nobody stands for the log's key");
  const proof = readProof(data);
  let opened = checkpoints.get(proof.note);
  if (!opened) {
    opened = openWithRegistry(proof.note, registry);
    checkpoints.set(proof.note, opened);
  }
  const checkpoint = await opened;
  await verifyLeaf(attestation.cose, proof, checkpoint);
  return `leaf ${proof.index} of ${checkpoint.size} in the log ${checkpoint.origin}, under its signed checkpoint`;
}

/**
 * Check a checkpoint with the key that the registry certifies for its log.
 * @param {string} note
 * @param {import("./registry.js").RegistryView} registry
 * @returns {Promise<import("./log.js").Checkpoint>}
 * @throws {VerifyError}
 */
export async function openWithRegistry(note, registry) {
  const origin = readNote(note).text.split("\n", 1)[0];
  const keys = [...registry.keys.values()].filter((key) => key.role === "log" && key.origin === origin);
  if (!keys.length && registry.failed.size)
    throw notChecked(`a certificate that may stand for the log ${origin} does not hold`);
  if (!keys.length) throw new VerifyError(`no registered key stands for the log ${origin}`);
  let problem = new VerifyError("the checkpoint is not signed");
  for (const certificate of keys) {
    try {
      return await openCheckpoint(note, certificate.key, origin);
    } catch (error) {
      if (!(error instanceof VerifyError)) throw error;
      problem = error;
    }
  }
  throw problem;
}

/**
 * Check the links of a record to those behind it: each output that is named as an input is named right.
 * @param {import("./cose.js").Attestation} attestation
 * @param {import("./cose.js").Attestation[]} others the records of its chain
 * @returns {Promise<Check>}
 */
export function checkLinks(attestation, others) {
  return makeCheck("links", () => {
    const made = [];
    for (const input of attestation.statement.inputs) {
      const source = findSource(input, others);
      if (source && input.attestation.length && !equalBytes(input.attestation, source.digest)) {
        throw new VerifyError(`it names another source for ${input.topic} than the record that gave it`);
      }
      if (source) made.push(`${input.topic} is output of ${source.statement.stage} #${source.statement.sequence}`);
    }
    return made.length ? made.join("; ") : "it reads no output of another record that is shown here";
  });
}

/**
 * The record that gave an input, by topic and digest.
 * @param {import("./statement.js").DataReference} input
 * @param {import("./cose.js").Attestation[]} records
 * @returns {import("./cose.js").Attestation | undefined}
 */
export function findSource(input, records) {
  return records.find(({ statement }) =>
    statement.outputs.some((output) => output.topic === input.topic && equalBytes(output.digest, input.digest)),
  );
}
