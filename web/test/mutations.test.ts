// Bytes that somebody changed at random: a reader refuses with a VerifyError, or reads the same; nothing else escapes.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import * as verify from "../dist/index.js";

const VECTORS = JSON.parse(readFileSync(join(import.meta.dirname, "../../test/vectors/attestation_v1.json"), "utf8"));
const ROUNDS = 600;
let seed = 20261128;
const random = (below: number) => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0; // Numerical Recipes' generator: the same run every time
  return Math.floor((seed / 2 ** 32) * below);
};

function mutate(data: Uint8Array): Uint8Array {
  const parts = Array.from(data);
  for (let n = 1 + random(4); n > 0; n--) {
    const at = random(parts.length || 1);
    const kind = random(4);
    if (kind === 0) parts[at] = random(256);
    else if (kind === 1) parts.splice(at, 1 + random(8));
    else if (kind === 2) parts.splice(at, 0, ...Array.from({ length: 1 + random(8) }, () => random(256)));
    else parts.splice(at, 4, ...[0xff, 0xff, 0xff, 0x7f].slice(random(3)));
  }
  return Uint8Array.from(parts);
}

async function escapes(read: (data: Uint8Array) => unknown, seeds: Uint8Array[], rounds = ROUNDS): Promise<string[]> {
  const found: string[] = [];
  for (let round = 0; round < rounds; round++) {
    try {
      await read(mutate(seeds[round % seeds.length]));
    } catch (error) {
      if (!(error instanceof verify.VerifyError)) found.push(String(error));
    }
  }
  return [...new Set(found)];
}

const hex = (name: string): Uint8Array[] => VECTORS.attestations.map((one: Record<string, string>) => verify.fromHex(one[name]));
const text = (value: string) => new TextEncoder().encode(value);
const NOTE = "log\n1\ng5yLrPTnvb3bXxM2OW3IYUYpgt9IUlgRAVmHRgcCQEc=\n\n\u2014 log AAAAAAAA\n";

test("attestations from the wire", async () => expect(await escapes(verify.decodeAttestation, hex("wire"))).toEqual([]));
test("COSE", async () => expect(await escapes(verify.decodeCose, hex("cose"))).toEqual([]));
test("sequences of COSE", async () => {
  const whole = Uint8Array.from(hex("cose").flatMap((one) => Array.from(one)));
  expect(await escapes(verify.splitCose, [whole], 300)).toEqual([]);
});
test("notes, proofs and verifier keys", async () => {
  const decode = (data: Uint8Array) => new TextDecoder().decode(data);
  const proof = `c2sp.org/tlog-proof@v1\nindex 0\n\n${NOTE}`;
  expect(await escapes((data) => verify.readCheckpoint(verify.readNote(decode(data)).text), [text(NOTE)])).toEqual([]);
  expect(await escapes(verify.readProof, [text(proof)])).toEqual([]);
  expect(await escapes((data) => verify.readVerifierKey(decode(data)), [text("log+00000000+AQAA")])).toEqual([]);
});
test("entry bundles and manifests", async () => {
  expect(await escapes(verify.readBundle, [Uint8Array.of(0, 2, 1, 2, 0, 1, 9)])).toEqual([]);
  expect(await escapes(verify.readManifest, [text(`${"0".repeat(64)}  pack.json\n${"1".repeat(64)}  policy.yaml\n`)])).toEqual([]);
});
test("keys and envelopes", async () => {
  const pem = VECTORS.keys.ES256.public_key as string;
  expect(await escapes((data) => verify.readPem(new TextDecoder().decode(data)), [text(pem)])).toEqual([]);
  const envelope = JSON.stringify({ payloadType: "x", payload: "AAAA", signatures: [{ keyid: "k", sig: "AAAA" }] });
  expect(await escapes((data) => verify.readEnvelope(data, "it"), [text(envelope)])).toEqual([]);
});

const PACKS = process.env.OG_ROS_PACKS;
test.skipIf(!PACKS)("packs", async () => {
  const folder = PACKS as string;
  const seeds = readdirSync(folder).filter((name) => name.endsWith(".ogpack"));
  const data = seeds.map((name) => new Uint8Array(readFileSync(join(folder, name))));
  expect(await escapes(verify.readArchive, data, 60)).toEqual([]);
  // Past the archive's checksums: single files of an honest pack are changed, and it is put together again.
  const files = await verify.readArchive(new Uint8Array(readFileSync(join(folder, "honest.ogpack"))));
  for (const [path, content] of files) {
    if (path.startsWith("recording/")) continue;
    const found = await escapes((changed) => verify.verifyFiles(new Map([...files, [path, changed]])), [content], 1);
    expect(found, path).toEqual([]);
  }
});
