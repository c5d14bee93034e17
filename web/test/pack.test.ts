// Evidence packs that og_ros wrote: OG_ROS_PACKS names a folder of *.ogpack with an expected.json, made by test/web.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { VerifyError, readArchive, verifyPack } from "../dist/index.js";

interface Case {
  name: string;
  trust: { root?: string; packer?: string };
  refused?: boolean; // not opened at all
  kinds: string[]; // of the findings, each at least once and no other
}

const FOLDER = process.env.OG_ROS_PACKS;

describe.skipIf(!FOLDER)("packs", () => {
  const cases: Case[] = FOLDER ? JSON.parse(readFileSync(join(FOLDER, "expected.json"), "utf8")) : [];
  test.each(cases)("$name", async ({ name, trust, refused, kinds }) => {
    const data = new Uint8Array(readFileSync(join(FOLDER as string, `${name}.ogpack`)));
    if (refused) {
      await expect(verifyPack(data, trust)).rejects.toBeInstanceOf(VerifyError);
      return;
    }
    const result = await verifyPack(data, trust);
    expect([...new Set(result.findings.map((finding) => finding.kind))].sort()).toEqual([...kinds].sort());
    expect(result.holds).toBe(kinds.length === 0);
    if (!kinds.length) {
      expect(result.records.length).toBeGreaterThan(10);
      expect(result.leaves).toBe(result.records.length);
      expect(result.records.every((one) => one.checks.every((check) => check.state === "ok"))).toBe(true);
    }
    expect(result.notChecked.join()).toContain("audits the recording again");
  });

  test("one byte of an honest pack", async () => {
    const honest = new Uint8Array(readFileSync(join(FOLDER as string, "honest.ogpack")));
    const files = await readArchive(honest);
    for (let at = 7; at < honest.length; at += Math.ceil(honest.length / 60)) {
      const edited = honest.slice();
      edited[at] ^= 1;
      const holds = await verifyPack(edited).then(
        (result) => result.holds,
        (error) => {
          expect(error).toBeInstanceOf(VerifyError);
          return false;
        },
      );
      // Times and versions in ZIP headers mean nothing: what then holds are the very same files.
      if (holds) expect(await readArchive(edited), `byte ${at}`).toEqual(files);
    }
  });
});
