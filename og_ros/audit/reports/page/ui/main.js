/**
 * Starts the page: reads what it carries, checks it, and shows it.
 * @module
 */
import { showDamage, showOutcome, showProgress } from "./banner.js";
import { startChainPicture } from "./chain_picture.js";
import { checkEverything } from "./checks.js";
import { startDecisionView } from "./decision_view.js";
import { place } from "./dom.js";
import { readEmbedded } from "./embedded.js";
import { startFindings } from "./findings_table.js";
import { startPlots } from "./plots.js";
import { showProfiles } from "./profiles.js";
import { checkSummary } from "./summary.js";
import { showEnvironments, showLevels, showLoss, showTrust } from "./tables.js";
import { TimeWindow, startTimeControls } from "./time_window.js";
import { startTimeline } from "./timeline.js";
import { showWords } from "./words.js";

async function startPage() {
  showProgress(0, 1);
  const embedded = await readEmbedded(document);
  const { figures, report } = embedded;
  // A part that cannot be shown takes no other part with it.
  const attempt = (/** @type {string} */ what, /** @type {() => any} */ show) => {
    try {
      return show();
    } catch (error) {
      embedded.problems.push(`The page is damaged: ${what} cannot be shown (${error}).`);
      return null;
    }
  };
  const results = await checkEverything(embedded, showProgress);
  const summary = await checkSummary(document, embedded, results.registry);
  if (summary.state === "bad") results.failures.push(`${summary.text}.`);
  const before = embedded.problems.length;
  attempt("keys and models", () => showTrust(results));
  if (figures) {
    if (report) attempt("the verdict", () => showWords(figures, report, embedded.reportDigest));
    const time = new TimeWindow(figures.length_ms);
    const findings = report
      ? report.findings.map((/** @type {any} */ finding) => ({ ...finding, at: timeOfFinding(finding, figures) }))
      : [];
    const decisions = attempt("decisions", () => startDecisionView(figures, results));
    const show = (/** @type {string} */ digest) => decisions && decisions.show(digest);
    const embeddedRecords = new Set(
      [...figures.exhibits.decisions, ...figures.exhibits.others].flatMap((item) => item.chain),
    );
    attempt("time controls", () => startTimeControls(time));
    attempt("plots", () => startPlots(figures, time));
    attempt("the chain picture", () => startChainPicture(figures, report));
    let table = null;
    if (report) {
      table = attempt("findings", () =>
        startFindings(figures, report, findings, time, (digest) => embeddedRecords.has(digest), show),
      );
      attempt("loss", () => showLoss(report));
      attempt("levels", () => showLevels(figures, report));
      attempt("evidence of keys", () => showEnvironments(report));
      attempt("regulations", () => showProfiles(report));
    }
    attempt("the timeline", () =>
      startTimeline(figures, findings, time, { findings: (group) => table && table.only(group), decision: show }),
    );
  }
  results.failures.push(...embedded.problems.slice(before));
  showOutcome(results, summary);
  document.documentElement.dataset.state = results.failures.length ? "failed" : "checked";
}

/**
 * @param {any} finding
 * @param {any} figures
 * @returns {number | null} ms from the recording's start
 */
function timeOfFinding(finding, figures) {
  if (!finding.received_ns) return null;
  return (Number(finding.received_ns) - Number(figures.start_ns)) / 1e6;
}

// Paper has no use for what is folded away.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.setAttribute("open", "");
    addEventListener("afterprint", () => details.removeAttribute("open"), { once: true });
  }
});
place("no-script").remove();
document.documentElement.dataset.state = "checking";
startPage().catch((error) => {
  showDamage("This page could not be verified", [`${error && error.message ? error.message : error}`]);
  document.documentElement.dataset.state = "failed";
});
