/**
 * The verdict and what was audited, in words. All of it comes from the report, which an auditor may have signed; the
 * text that stands in the file is replaced, so that nothing of it can say something else.
 * @module
 */
import { fillElement, h, place } from "./dom.js";
import { counted, utcTime } from "./format.js";

const HEADLINES = {
  holds: "The recording holds",
  violated: "The recording does not hold",
  not_checked: "The recording could not be checked",
};

/**
 * @param {any} figures
 * @param {any} report
 * @param {string} reportDigest hex, as this browser computed it
 */
export function showWords(figures, report, reportDigest) {
  const headline = /** @type {Record<string, string>} */ (HEADLINES)[report.verdict] || "The verdict is unknown";
  place("verdict").className = `verdict ${report.verdict}`;
  fillElement(place("headline"), headline);
  fillElement(
    place("sentences"),
    verdictSentences(figures, report).map((text) => h("p", {}, text)),
  );
  fillElement(
    place("facts"),
    auditFacts(figures, report, reportDigest).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
  fillElement(
    place("not-checked"),
    report.not_checked.map((/** @type {string} */ note) => h("li", {}, note)),
  );
  document.title = `${headline}: audit of ${report.recording}`;
}

/**
 * @param {any} figures
 * @param {any} report
 * @returns {string[]}
 */
function verdictSentences(figures, report) {
  const kinds = Object.keys(report.finding_counts);
  const violated = kinds.filter((kind) => figures.severities[kind] === "violation");
  const sum = (/** @type {string[]} */ names) => names.reduce((total, kind) => total + report.finding_counts[kind], 0);
  const others = sum(kinds) - sum(violated);
  const sentences = [];
  if (report.verdict === "holds")
    sentences.push(
      "Every check that was made holds. What was not checked is listed below, and is part of this verdict.",
    );
  else if (report.verdict === "violated")
    sentences.push(`${counted(sum(violated), "violation")} found: ${violated.join(", ").replaceAll("_", " ")}.`);
  else
    sentences.push("Something that the verdict rests on was missing, so nothing is said for or against the recording.");
  const share = report.decisions ? ` (${((100 * report.linked) / report.decisions).toFixed(1)} %)` : "";
  sentences.push(
    `${counted(report.decisions, "decision")} in ${report.duration_s.toFixed(1)} s; ${report.linked}${share} traced back to recorded sensor messages. ` +
      `${counted(report.attestations, "attestation")} read.`,
  );
  const latency = report.chain_latency_ms;
  if (latency)
    sentences.push(
      `From sensor to command: ${latency.median.toFixed(1)} ms median, ${latency.max.toFixed(1)} ms at most.`,
    );
  if (others)
    sentences.push(`${counted(others, "other finding")} that ${others === 1 ? "does" : "do"} not decide the verdict.`);
  return sentences;
}

/**
 * @param {any} figures
 * @param {any} report
 * @param {string} reportDigest
 * @returns {[string, string][]}
 */
function auditFacts(figures, report, reportDigest) {
  const { registry, log } = report;
  const start = BigInt(figures.start_ns);
  const end = start + BigInt(Math.round(figures.length_ms * 1e6));
  const robots = [...new Set(Object.values(report.stages).map((stage) => stage.robot))].sort();
  /** @type {[string, string][]} */
  const facts = [
    ["Recording", report.recording],
    ["Recorded", report.messages ? `${utcTime(start)} to ${utcTime(end)} (the recorder's clock)` : "nothing"],
    ["Messages", String(report.messages)],
    ["Robot", robots.join(", ") || "none is named"],
  ];
  if (registry) {
    facts.push([
      "Registry",
      `state ${registry.number}; ${registry.pinned ? "its root was pinned by the auditor" : "nobody pinned its root"}`,
    ]);
    facts.push(["Registry root", registry.root]);
  } else facts.push(["Registry", "none was given"]);
  if (log) {
    facts.push([
      "Log",
      `${log.origin}, ${counted(log.size, "leaf").replace("leafs", "leaves")}, ${log.checkpointed} under a signed checkpoint`,
    ]);
    facts.push(["Log root", `sha256:${log.root}`]);
  } else facts.push(["Log", "none was given"]);
  facts.push(["Policy", report.policy ? policyText(report.policy) : "none was given: og_ros's defaults"]);
  facts.push(["Audited", figures.audited]);
  facts.push(["Report", `sha256:${reportDigest}`]);
  return facts;
}

/** @param {any} policy a digest in hex, or an object that has one */
function policyText(policy) {
  if (typeof policy === "string") return `sha256:${policy}`;
  const name = [policy.name, policy.revision].filter(Boolean).join(" ");
  return [name, policy.digest && `sha256:${policy.digest}`].filter(Boolean).join(", ") || "og_ros's defaults";
}
