/**
 * A registry from its embedded files: roots, index, certificates of keys and models, revocations, all verified.
 *
 * Trust starts at the fingerprint of the newest root, which the reader compares with one that he got elsewhere.
 * @module
 */
import { VerifyError, fromUtf8, sha256, toHex } from "./bytes.js";
import { readEnvelope, readObject, verifyEnvelope } from "./dsse.js";
import { readPem } from "./keys.js";

/**
 * @typedef {object} Authority
 * @property {string} name
 * @property {import("./keys.js").PublicKey} key
 * @property {Set<string>} roles
 */

/**
 * @typedef {object} Root
 * @property {string} registry its name
 * @property {string} fingerprint
 * @property {Authority[]} authorities
 */

/**
 * @typedef {object} KeyCertificate
 * @property {import("./keys.js").PublicKey} key
 * @property {string} role
 * @property {string} robot
 * @property {string} stage
 * @property {string} vendor
 * @property {string} origin name of a log
 * @property {string[]} topics where data begins, of a source's key
 * @property {bigint} notBefore ns
 * @property {bigint | null} notAfter ns
 * @property {string} certifier
 * @property {string} path
 */

/**
 * @typedef {object} ModelCertificate
 * @property {string} name
 * @property {string} version
 * @property {string} digest hex
 * @property {string[]} stages
 * @property {bigint} notBefore ns
 * @property {bigint | null} notAfter ns
 * @property {string} certifier
 * @property {string} processingDigest hex; empty: any
 * @property {boolean} vendorSigned whether a vendor's OpenSSF signature stands behind it, which is not checked here
 * @property {string} path
 */

/**
 * @typedef {object} RegistryView
 * @property {string} name
 * @property {string} fingerprint "sha256:…" of the newest root
 * @property {string} number how many states it had
 * @property {Map<string, KeyCertificate>} keys by key id in hex
 * @property {ModelCertificate[]} models
 * @property {Map<string, bigint>} revoked "key:HEX" or "model:HEX" to the earliest time of revocation, ns
 * @property {Map<string, string>} listed every path in the index with its SHA-256 in hex
 * @property {Map<string, string>} failed path to the reason why a file does not hold
 */

const REGISTRY_INDEX = "index.dsse.json";
const ENTRY_TYPE = (/** @type {string} */ kind) => `application/vnd.og-ros.${kind}+json`;
const TIME_FORM = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})Z$/;

/**
 * @param {string} text like 2026-01-31T12:00:00.000000000Z
 * @returns {bigint} ns since 1970
 * @throws {VerifyError}
 */
export function readTime(text) {
  const match = TIME_FORM.exec(text);
  const seconds = match ? Date.parse(`${match[1]}Z`) : NaN;
  if (!match || Number.isNaN(seconds)) throw new VerifyError("a malformed time");
  return BigInt(seconds) * 1000000n + BigInt(match[2]);
}

/**
 * Verify a registry's files: the chain of roots, the index, then each file that the index lists and that is here.
 * @param {Map<string, Uint8Array>} files by path
 * @returns {Promise<RegistryView>} single files that fail are in `failed`
 * @throws {VerifyError} when roots or index do not hold, so that nothing in it does
 */
export async function openRegistry(files) {
  const indexFile = files.get(REGISTRY_INDEX);
  if (!indexFile) throw new VerifyError("the registry's index is not here");
  /** @type {Root[]} */
  const roots = [];
  /** @type {RegistryView} */
  const view = await naming(REGISTRY_INDEX, () => readIndex(files, indexFile, roots));
  const authorities = everAuthorized(roots);
  for (const [path, data] of files) {
    if (path === REGISTRY_INDEX || path.startsWith("roots/")) continue;
    try {
      await checkListed(path, data, view.listed);
      if (!path.startsWith("signatures/")) await addEntry(view, path, readEnvelope(data, path), authorities);
    } catch (error) {
      view.failed.set(path, error instanceof VerifyError ? error.message : `${path} is malformed (${error})`);
    }
  }
  return view;
}

/**
 * Let an error name the file that it comes from, unless it names one already.
 * @template T
 * @param {string} path
 * @param {() => Promise<T>} read
 * @returns {Promise<T>}
 */
async function naming(path, read) {
  try {
    return await read();
  } catch (error) {
    const told = error instanceof VerifyError ? error : new VerifyError(`malformed (${error})`);
    if (/^(index|roots\/\d+)\.dsse\.json/.test(told.message)) throw told;
    throw new VerifyError(`${path}: ${told.message}`, { unsupported: told.unsupported });
  }
}

/**
 * @param {Map<string, Uint8Array>} files
 * @param {Uint8Array} indexFile
 * @param {Root[]} roots filled here, oldest first
 * @returns {Promise<RegistryView>} with nothing but the index read
 */
async function readIndex(files, indexFile, roots) {
  const envelope = readEnvelope(indexFile, REGISTRY_INDEX);
  if (envelope.payloadType !== ENTRY_TYPE("index")) throw new VerifyError(`${REGISTRY_INDEX} is no index`);
  const index = readObject(fromUtf8(envelope.payload), REGISTRY_INDEX);
  /** @type {Map<string, string>} */
  const listed = new Map(Object.entries(index.files).map(([path, digest]) => [path, String(digest).slice(7)]));
  roots.push(...(await readRoots(files, listed)));
  const newest = roots[roots.length - 1];
  const signer = newest.authorities.find((a) => a.key.id === envelope.keyId && a.roles.has("index"));
  if (!signer) throw new VerifyError(`${REGISTRY_INDEX} is not signed by an authority of the root`);
  await verifyEnvelope(envelope, signer.key);
  if (index.root !== newest.fingerprint || index.registry !== newest.registry) {
    throw new VerifyError(`${REGISTRY_INDEX} belongs to another root`);
  }
  return {
    name: newest.registry,
    fingerprint: newest.fingerprint,
    number: String(index.number),
    keys: new Map(),
    models: [],
    revoked: new Map(),
    listed,
    failed: new Map(),
  };
}

/**
 * @param {string} path
 * @param {Uint8Array} data
 * @param {Map<string, string>} listed
 */
async function checkListed(path, data, listed) {
  if (listed.get(path) !== toHex(await sha256(data)))
    throw new VerifyError(`${path} is not the file that the index lists`);
}

/**
 * Read the chain of roots: the first is self-signed, each later one is signed by an index authority of the one before.
 * @param {Map<string, Uint8Array>} files
 * @param {Map<string, string>} listed
 * @returns {Promise<Root[]>}
 */
async function readRoots(files, listed) {
  /** @type {Root[]} */
  const roots = [];
  const count = [...listed.keys()].filter((path) => path.startsWith("roots/")).length;
  for (let number = 1; number <= Math.max(count, 1); number++) {
    const path = `roots/${number}.dsse.json`;
    const data = files.get(path);
    if (!data) throw new VerifyError(`${path} is not here`);
    await checkListed(path, data, listed);
    const before = roots[roots.length - 1];
    roots.push(await naming(path, () => readRoot(path, data, number, before)));
  }
  return roots;
}

/**
 * @param {string} path
 * @param {Uint8Array} data
 * @param {number} number
 * @param {Root | undefined} before
 * @returns {Promise<Root>}
 */
async function readRoot(path, data, number, before) {
  const envelope = readEnvelope(data, path);
  if (envelope.payloadType !== ENTRY_TYPE("root")) throw new VerifyError(`${path} is no root`);
  const tree = readObject(fromUtf8(envelope.payload), path);
  /** @type {Authority[]} */
  const authorities = [];
  for (const item of tree.authorities) {
    authorities.push({ name: item.name, key: await readPem(item.public_key), roles: new Set(item.roles) });
  }
  const mine = authorities.find((a) => a.key.id === envelope.keyId && a.roles.has("index"));
  const allowed = !before || before.authorities.some((a) => a.key.id === envelope.keyId && a.roles.has("index"));
  if (!mine || !allowed) throw new VerifyError(`${path} is not signed by an authority for it`);
  await verifyEnvelope(envelope, mine.key);
  const fingerprint = `sha256:${toHex(await sha256(envelope.payload))}`;
  const follows = tree.number === number && tree.previous === (before ? before.fingerprint : "");
  if (!follows || (before && before.registry !== tree.registry)) {
    throw new VerifyError(`${path} is not the successor of the root before it`);
  }
  return { registry: String(tree.registry), fingerprint, authorities };
}

/**
 * Every authority of any root by key id, with all roles that it ever had: what it signed stays when it is removed.
 * @param {{authorities: Authority[]}[]} roots
 * @returns {Map<string, Authority>}
 */
function everAuthorized(roots) {
  /** @type {Map<string, Authority>} */
  const found = new Map();
  for (const authority of roots.flatMap((root) => root.authorities)) {
    const former = found.get(authority.key.id);
    const roles = new Set([...(former ? former.roles : []), ...authority.roles]);
    found.set(authority.key.id, { ...authority, roles });
  }
  return found;
}

/**
 * @param {RegistryView} view
 * @param {string} path
 * @param {import("./dsse.js").Envelope} envelope
 * @param {Map<string, Authority>} authorities
 */
async function addEntry(view, path, envelope, authorities) {
  const signer = authorities.get(envelope.keyId);
  if (!signer) throw new VerifyError(`${path} is signed by a key without authority`);
  await verifyEnvelope(envelope, signer.key);
  const tree = readObject(fromUtf8(envelope.payload), path);
  const kind = envelope.payloadType;
  if (tree.format !== 1) throw new VerifyError(`${path} is of another format`);
  if (kind === ENTRY_TYPE("key") && path.startsWith("keys/")) {
    checkSigner(path, signer, tree.certifier, "keys");
    await addKey(view, path, tree);
  } else if (kind === ENTRY_TYPE("model") && path.startsWith("models/")) {
    checkSigner(path, signer, tree.certifier, "models");
    addModel(view, path, tree, false);
  } else if (kind === ENTRY_TYPE("imported-model") && path.startsWith("models/")) {
    checkSigner(path, signer, tree.registered_by, "index");
    addModel(view, path, tree, true);
  } else if (kind === ENTRY_TYPE("revocation") && path.startsWith("revocations/")) {
    checkSigner(path, signer, tree.revoked_by, `${tree.kind}s`);
    const subject = `${tree.kind}:${String(tree.subject).slice(7)}`;
    const at = readTime(tree.revoked_at);
    const known = view.revoked.get(subject);
    if (known === undefined || at < known) view.revoked.set(subject, at);
  } else {
    throw new VerifyError(`${path} has the payload type ${kind}`);
  }
}

/**
 * @param {string} path
 * @param {Authority} signer
 * @param {string} claimed
 * @param {string} role
 */
function checkSigner(path, signer, claimed, role) {
  if (signer.name !== claimed) throw new VerifyError(`${path} names another signer than ${signer.name}`);
  if (!signer.roles.has(role)) throw new VerifyError(`${path}: ${signer.name} has not the role ${role}`);
}

/**
 * @param {RegistryView} view
 * @param {string} path
 * @param {Record<string, any>} tree
 */
async function addKey(view, path, tree) {
  const key = await readPem(tree.public_key);
  const fits = key.id === tree.key_id && key.algorithm.toUpperCase() === String(tree.algorithm).toUpperCase();
  if (!fits || path !== `keys/${key.id.slice(0, 32)}.dsse.json`) {
    throw new VerifyError(`${path}: id, algorithm or path are not the key's own`);
  }
  view.keys.set(key.id, {
    key,
    role: tree.role,
    robot: tree.robot,
    stage: tree.stage,
    vendor: tree.vendor,
    origin: tree.origin,
    topics: tree.role === "source" && Array.isArray(tree.topics) ? tree.topics.map(String) : [],
    notBefore: readTime(tree.not_before),
    notAfter: tree.not_after ? readTime(tree.not_after) : null,
    certifier: tree.certifier,
    path,
  });
}

/**
 * @param {RegistryView} view
 * @param {string} path
 * @param {Record<string, any>} tree
 * @param {boolean} vendorSigned
 */
function addModel(view, path, tree, vendorSigned) {
  const place = modelPath(tree.name, tree.version);
  if (path !== place) throw new VerifyError(`${path} holds what belongs to ${place}`);
  view.models.push({
    name: tree.name,
    version: tree.version,
    digest: String(tree.digest).slice(7),
    stages: tree.stages,
    notBefore: readTime(tree.not_before),
    notAfter: tree.not_after ? readTime(tree.not_after) : null,
    certifier: tree.certifier,
    processingDigest: String(tree.processing_digest).slice(7),
    vendorSigned,
    path,
  });
}

/**
 * @param {string} name
 * @param {string} version
 * @returns {string} where a model certificate lies
 */
export function modelPath(name, version) {
  return `models/${name.replaceAll("/", "~")}@${version.replaceAll("/", "~")}.dsse.json`;
}

/**
 * What a certificate is worth at a time; both ends of its validity belong to it, the moment of revocation does not.
 * @param {RegistryView} view
 * @param {"key" | "model"} kind
 * @param {string} subject hex
 * @param {{notBefore: bigint, notAfter: bigint | null}} certificate
 * @param {bigint} at ns
 * @returns {"valid" | "not yet valid" | "expired" | "revoked"}
 * @throws {VerifyError} when the index lists a revocation that is not here or does not hold
 */
export function statusAt(view, kind, subject, certificate, at) {
  for (const path of view.listed.keys()) {
    if (path.startsWith(`revocations/${kind}-${subject.slice(0, 32)}-`) && !view.revoked.has(`${kind}:${subject}`)) {
      const broken = view.failed.has(path);
      throw new VerifyError(`the revocation ${path} ${broken ? "does not hold" : "is not here"}`, {
        unsupported: broken,
      });
    }
  }
  const revoked = view.revoked.get(`${kind}:${subject}`);
  if (revoked !== undefined && at >= revoked) return "revoked";
  if (at < certificate.notBefore) return "not yet valid";
  if (certificate.notAfter !== null && at > certificate.notAfter) return "expired";
  return "valid";
}
