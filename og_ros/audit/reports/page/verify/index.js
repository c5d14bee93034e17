/**
 * @og-ros/verify: checks what an og_ros robot signed, in any browser or Node.js, trusting nobody but the keys you give.
 * @module
 */
export { VerifyError, fromBase64, fromHex, toBase64, toHex } from "./bytes.js";
export { readArchive } from "./archive.js";
export { decodeCose, splitCose } from "./cose.js";
export { messageDigest } from "./digest.js";
export { readEnvelope, verifyEnvelope } from "./dsse.js";
export { readPem, readSpki } from "./keys.js";
export { openCheckpoint, readCheckpoint, readNote, readProof, readVerifierKey, verifyLeaf } from "./log.js";
export { leafHash, nodeHash, treeRoot, verifyConsistency, verifyInclusion } from "./merkle.js";
export { readManifest, verifyFiles, verifyPack } from "./pack.js";
export { checkLinks, checkRecord, openWithRegistry } from "./record.js";
export { openRegistry, statusAt } from "./registry.js";
export { bySession, checkSession } from "./session.js";
export { verifyAttestation, verifySignature } from "./signature.js";
export { readBundle, readLog, tilePath } from "./tiles.js";
export { decodeAttestation } from "./wire.js";
