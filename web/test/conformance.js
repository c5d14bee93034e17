/**
 * Runs one case of test/vectors against @og-ros/verify, in Node.js and in a browser alike.
 * @module
 */

/** @typedef {typeof import("../dist/index.js")} Verify */

/**
 * Take every step that a verifier takes with the case's data.
 * @param {Verify} verify
 * @param {string} kind the list that the case is in
 * @param {Record<string, any>} data the case
 * @param {Record<string, {public_key: string}>} keys of its file
 * @returns {Promise<"held" | "unsupported" | string>} what came of it; a reason when it was refused
 * @throws {Error} when something else than a refusal came of it, or another value than the case's
 */
export async function runCase(verify, kind, data, keys) {
  const step = STEPS[kind];
  if (!step) throw new Error(`no test takes the cases of ${kind}`);
  try {
    const differs = await step(verify, data, keys);
    if (differs) throw new Error(`${kind} ${data.name}: ${differs}`);
    return "held";
  } catch (error) {
    if (!(error instanceof verify.VerifyError)) throw error;
    return error.unsupported ? "unsupported" : `refused: ${error.message}`;
  }
}

/** Which values of a case its verification must give; the step returns what differs. */
const same = (/** @type {string} */ what, /** @type {unknown} */ got, /** @type {unknown} */ wanted) =>
  String(got) === String(wanted) ? "" : `${what} is ${got}, not ${wanted}`;

/** @type {Record<string, (v: Verify, data: Record<string, any>, keys: Record<string, any>) => Promise<string>>} */
const STEPS = {
  async attestations(v, data, keys) {
    const key = await v.readPem(keys[data.algorithm].public_key);
    for (const read of [v.decodeCose(v.fromHex(data.cose)), v.decodeAttestation(v.fromHex(data.wire))]) {
      const attestation = await read;
      await v.verifyAttestation(attestation, key);
      const differs =
        same("the digest", v.toHex(attestation.digest), data.digest) ||
        same("what is signed", v.toHex(attestation.signedBytes), data.sig_structure) ||
        same("the COSE form", v.toHex(attestation.cose), data.cose);
      if (differs) return differs;
    }
    return "";
  },
  async refused(v, data, keys) {
    const attestation = await v.decodeCose(v.fromHex(data.cose));
    await v.verifyAttestation(attestation, await v.readPem(keys[data.public_key].public_key));
    return "";
  },
  async messages(v, data) {
    return same("the digest", v.toHex(await v.messageDigest(v.fromHex(data.payload))), data.sha256);
  },
  async wire(v, data, keys) {
    const attestation = await v.decodeAttestation(v.fromHex(data.wire));
    await v.verifyAttestation(attestation, await v.readPem(keys[data.key].public_key));
    return data.digest === undefined ? "" : same("the digest", v.toHex(attestation.digest), data.digest);
  },
  async cose(v, data, keys) {
    const attestation = await v.decodeCose(v.fromHex(data.cose));
    await v.verifyAttestation(attestation, await v.readPem(keys[data.key].public_key));
    return data.digest === undefined ? "" : same("the digest", v.toHex(attestation.digest), data.digest);
  },
  async session(v, data, keys) {
    const key = await v.readPem(keys[data.key].public_key);
    const attestations = await Promise.all(data.cose.map((/** @type {string} */ one) => v.decodeCose(v.fromHex(one))));
    for (const attestation of attestations) await v.verifyAttestation(attestation, key);
    const [problem] = v.checkSession(attestations, { complete: true });
    if (problem) throw new v.VerifyError(problem.message);
    return "";
  },
  async digest(v, data) {
    let payload = v.fromHex(data.payload ?? data.header);
    if (data.payload === undefined) {
      const body = Uint8Array.from({ length: Number(data.body_size) }, (_, i) => i % 251);
      const whole = new Uint8Array(payload.length + body.length);
      whole.set(payload);
      whole.set(body, payload.length);
      payload = whole;
    }
    const digest = v.toHex(await v.messageDigest(payload));
    return data.digests ? same("the digest", digest, data.digests.sha256) : "";
  },
  async inclusion(v, data) {
    const leaf = await v.leafHash(v.fromHex(data.leaf));
    const path = data.path.map(v.fromHex);
    await v.verifyInclusion(leaf, BigInt(data.index), BigInt(data.size), path, v.fromHex(data.root));
    return "";
  },
  async consistency(v, data) {
    const [before, after] = [v.fromHex(data.first_root), v.fromHex(data.second_root)];
    await v.verifyConsistency(BigInt(data.first), BigInt(data.second), data.path.map(v.fromHex), before, after);
    return "";
  },
  async checkpoint(v, data) {
    const { key } = await v.readVerifierKey(data.vkey);
    const checkpoint = await v.openCheckpoint(data.note, key, data.origin);
    if (data.size === undefined) return "";
    return same("the size", checkpoint.size, data.size) || same("the root", v.toHex(checkpoint.root), data.root);
  },
  async log_proof(v, data) {
    const { key } = await v.readVerifierKey(data.vkey);
    const proof = v.readProof(new TextEncoder().encode(data.proof));
    const checkpoint = await v.openCheckpoint(proof.note, key, data.origin);
    await v.verifyLeaf(v.fromHex(data.leaf), proof, checkpoint);
    return "";
  },
};

/**
 * Every case of a file of vectors: lists of objects with a name.
 * @param {Record<string, any>} file
 * @returns {{kind: string, data: Record<string, any>, keys: Record<string, any>, mustFail: boolean}[]}
 */
export function casesOf(file) {
  const lists = Object.entries(file).filter(([, list]) => Array.isArray(list) && list.some((one) => one?.name));
  return lists.flatMap(([kind, list]) =>
    list.map((/** @type {Record<string, any>} */ data) => ({
      kind,
      data,
      keys: file.keys ?? {},
      mustFail: kind === "refused" || data.name.endsWith("_fail"),
    })),
  );
}
