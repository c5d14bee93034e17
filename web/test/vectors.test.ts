// Every case of test/vectors: what must hold holds with the right values, what must fail is refused with a VerifyError.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import * as verify from "../dist/index.js";
import { casesOf, runCase } from "./conformance.js";

const FOLDER = process.env.OG_ROS_VECTORS ?? join(import.meta.dirname, "../../test/vectors");

for (const name of readdirSync(FOLDER).filter((file) => file.endsWith(".json"))) {
  const cases = casesOf(JSON.parse(readFileSync(join(FOLDER, name), "utf8")));
  describe(name, () => {
    test("has cases", () => expect(cases.length).toBeGreaterThan(0));
    test.each(cases)("$kind $data.name", async ({ kind, data, keys, mustFail }) => {
      const outcome = await runCase(verify, kind, data, keys);
      if (mustFail) expect(outcome).toMatch(/^refused: /);
      else expect(outcome).toBe("held");
    });
  });
}

test("every byte of a record counts", async () => {
  const file = JSON.parse(readFileSync(join(FOLDER, "attestation_v1.json"), "utf8"));
  for (const algorithm of ["ES256", "EDDSA"]) {
    const vector = file.attestations.find((one: { algorithm: string }) => one.algorithm === algorithm);
    const key = await verify.readPem(file.keys[algorithm].public_key);
    const wire = verify.fromHex(vector.wire);
    const survived = [];
    for (let at = 0; at < wire.length; at++) {
      const edited = wire.slice();
      edited[at] ^= 1;
      try {
        const attestation = await verify.decodeAttestation(edited);
        await verify.verifyAttestation(attestation, key);
        survived.push(at);
      } catch (error) {
        expect(error).toBeInstanceOf(verify.VerifyError);
      }
    }
    // What no digest covers: the options bytes, and what alignment leaves between the fields. It says nothing.
    for (const at of survived) {
      const edited = wire.slice();
      edited[at] ^= 1;
      expect((await verify.decodeAttestation(edited)).cose).toEqual(verify.fromHex(vector.cose));
    }
    expect(survived.length).toBeLessThan(60);
  }
});
