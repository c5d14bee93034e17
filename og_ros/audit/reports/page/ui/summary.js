/**
 * The auditor's signed summary, where there is one: a DSSE envelope that names the report by its digest.
 * @module
 */
import { VerifyError, fromBase64, fromUtf8 } from "../verify/bytes.js";
import { readEnvelope, readObject, verifyEnvelope } from "../verify/dsse.js";
import { readTime, statusAt } from "../verify/registry.js";
import { textOf } from "./embedded.js";
import { utcTime } from "./format.js";

const SUMMARY_FIELD = "urn:og-ros:audit-summary:v1";

/**
 * @param {Document} page
 * @param {import("./embedded.js").Embedded} embedded
 * @param {import("../verify/registry.js").RegistryView | null} registry
 * @returns {Promise<{state: "ok" | "bad" | "open" | "none", text: string}>}
 */
export async function checkSummary(page, embedded, registry) {
  const text = textOf(page, "og-summary");
  if (!text) return { state: "none", text: "" };
  try {
    const envelope = readEnvelope(fromBase64(text), "the auditor's summary");
    const { predicate } = readObject(fromUtf8(envelope.payload), "the auditor's summary");
    const audit = predicate && predicate[SUMMARY_FIELD];
    if (!audit || !audit.report || !embedded.reportDigest || audit.report.sha256 !== embedded.reportDigest) {
      throw new VerifyError("it is about another report than this one");
    }
    const certificate = registry && registry.keys.get(envelope.keyId);
    if (!registry || !certificate) {
      throw new VerifyError(`the key ${envelope.keyId.slice(0, 16)} is in no registry here`, { unsupported: true });
    }
    if (certificate.role !== "auditor") throw new VerifyError(`its key is registered for the role ${certificate.role}`);
    await verifyEnvelope(envelope, certificate.key);
    const at = readTime(predicate.timeVerified);
    const status = statusAt(registry, "key", certificate.key.id, certificate, at);
    if (status !== "valid") throw new VerifyError(`its key was ${status} when it signed`);
    const who = `the auditor's key ${certificate.key.id.slice(0, 16)}, certified by ${certificate.certifier}`;
    return { state: "ok", text: `The report (verdict, findings, levels, loss) is signed by ${who}, ${utcTime(at)}` };
  } catch (error) {
    const open = error instanceof VerifyError && error.unsupported;
    const reason = error instanceof Error ? error.message : String(error);
    return {
      state: open ? "open" : "bad",
      text: `The auditor's signature of the report ${open ? "was not checked" : "does not hold"}: ${reason}`,
    };
  }
}
