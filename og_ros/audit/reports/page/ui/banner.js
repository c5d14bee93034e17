/**
 * The banner: what this browser verified, or which piece does not hold.
 * @module
 */
import { fillElement, h, mark, place } from "./dom.js";
import { counted } from "./format.js";

const SHOWN_PROBLEMS = 12;

/**
 * @param {number} done
 * @param {number} total
 */
export function showProgress(done, total) {
  fillElement(place("verification"), h("p", {}, h("strong", {}, "Verifying in this browser…"), ` ${done} of ${total}`));
}

/**
 * @param {string} title
 * @param {string[]} problems
 */
export function showDamage(title, problems) {
  const banner = place("verification");
  banner.className = "banner bad";
  fillElement(banner, h("p", {}, mark("bad", title)), list(problems));
}

/**
 * @param {import("./checks.js").Results} results
 * @param {{state: "ok" | "bad" | "open" | "none", text: string}} summary the auditor's signature
 */
export function showOutcome(results, summary) {
  const banner = place("verification");
  const records = [...results.records.values()];
  const verified = records.filter((record) => record.state === "ok").length;
  const messages = [...results.messages.values()].filter((message) => message.state === "ok").length;
  const what = [
    counted(verified, "record"),
    counted(messages, "message"),
    counted(results.counts.certificates, "registry file"),
    counted(results.counts.proofs, "log proof"),
  ].join(", ");
  const failed = results.failures.length > 0;
  const open = results.open.length > 0;
  const known = results.known.length > 0;
  banner.className = `banner ${failed ? "bad" : open || !records.length ? "open" : "ok"}`;
  const title = failed
    ? `${counted(results.failures.length, "piece")} of this page ${results.failures.length === 1 ? "does" : "do"} not hold`
    : !records.length
      ? "There is nothing to verify: no signed record is embedded"
      : open
        ? `Verified in part: ${what}`
        : `Verified in this browser: ${what}`;
  fillElement(
    banner,
    h("p", { class: "title" }, mark(failed ? "bad" : open || !records.length ? "open" : "ok", title)),
    failed &&
      h(
        "p",
        {},
        "This file was altered or damaged after it was written, or was made wrongly. Ask for it anew, and compare its report's SHA-256 with its sender.",
      ),
    list(results.failures),
    failed && h("p", { class: "note" }, `Verified all the same: ${what}.`),
    known &&
      h(
        "details",
        {},
        h("summary", {}, `${counted(results.known.length, "check")} failed here as the audit says that they did`),
        list(results.known, 200),
      ),
    open &&
      h(
        "details",
        { open: !failed },
        h("summary", {}, `${counted(results.open.length, "check")} could not be made here`),
        list(results.open, 200),
      ),
    h(
      "p",
      { class: "note" },
      summary.state === "none" ? "" : [mark(summary.state, summary.text), ". "],
      "Recomputed from the embedded bytes: signatures, digests, links, certificates and log proofs. Not recomputed: the verdict and the figures, which rest on the whole recording. ",
      h("a", { href: "#check-heading" }, "How to check those"),
      ".",
    ),
  );
}

/**
 * @param {string[]} problems
 * @param {number} [limit]
 */
function list(problems, limit = SHOWN_PROBLEMS) {
  if (!problems.length) return null;
  const items = problems.slice(0, limit).map((problem) => h("li", {}, problem));
  if (problems.length > limit) items.push(h("li", {}, `and ${problems.length - limit} more`));
  return h("ul", { class: "problems" }, items);
}
