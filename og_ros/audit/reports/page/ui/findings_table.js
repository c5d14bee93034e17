/**
 * The table of findings: filtered by severity, kind, stage, text and the span of time that is shown.
 * @module
 */
import { append, fillElement, h, place } from "./dom.js";
import { counted, seconds, spoken } from "./format.js";

const PAGE_ROWS = 200;
const SEVERITIES = ["violation", "warning", "info"];

/**
 * @param {any} figures
 * @param {any} report
 * @param {any[]} findings each with `at` in ms, null where it has no time
 * @param {import("./time_window.js").TimeWindow} time
 * @param {(digest: string) => boolean} hasExhibit
 * @param {(digest: string) => void} showExhibit
 * @returns {{only: (group: any[]) => void}} shows some findings alone
 */
export function startFindings(figures, report, findings, time, hasExhibit, showExhibit) {
  const total = Object.values(report.finding_counts).reduce((sum, count) => sum + Number(count), 0);
  if (!total) {
    fillElement(place("findings-body"), h("p", { class: "empty" }, "No findings."));
    return { only: () => {} };
  }
  const [severity, kind, stage] = ["finding-severity", "finding-kind", "finding-stage"].map(
    (id) => /** @type {HTMLSelectElement} */ (place(id)),
  );
  const search = /** @type {HTMLInputElement} */ (place("finding-search"));
  const within = /** @type {HTMLInputElement} */ (place("finding-window"));
  const rows = place("finding-rows");
  /** @type {Set<any> | null} */
  let only = null;
  addOptions(
    severity,
    SEVERITIES.filter((name) => findings.some((finding) => finding.severity === name)),
  );
  addOptions(kind, Object.keys(report.finding_counts));
  addOptions(stage, [...new Set(findings.map((finding) => finding.stage).filter(Boolean))].sort());

  const draw = () => {
    const text = search.value.trim().toLowerCase();
    const shown = findings.filter(
      (finding) =>
        (!only || only.has(finding)) &&
        (!severity.value || finding.severity === severity.value) &&
        (!kind.value || finding.kind === kind.value) &&
        (!stage.value || finding.stage === stage.value) &&
        (!within.checked || (finding.at !== null && finding.at >= time.from && finding.at <= time.to)) &&
        (!text || `${finding.kind} ${finding.stage} ${finding.topic} ${finding.message}`.toLowerCase().includes(text)),
    );
    fillElement(
      rows,
      shown.slice(0, PAGE_ROWS).map((finding) => findingRow(finding, figures, hasExhibit, showExhibit)),
    );
    const kept = findings.length < total ? `; the report holds ${findings.length} of ${total} one by one` : "";
    const cut = shown.length > PAGE_ROWS ? `, the first ${PAGE_ROWS} below` : "";
    fillElement(
      place("finding-count"),
      `${shown.length} of ${counted(findings.length, "finding")} shown${cut}${kept}.`,
    );
    place("finding-all").hidden = shown.length === findings.length;
  };
  for (const element of [severity, kind, stage, search, within]) element.addEventListener("input", draw);
  place("finding-all").addEventListener("click", () => {
    only = null;
    for (const element of [severity, kind, stage, search]) element.value = "";
    within.checked = false;
    draw();
    severity.focus();
  });
  time.listeners.push(() => within.checked && draw());
  draw();
  return {
    only(group) {
      only = new Set(group);
      draw();
      const heading = place("findings-heading");
      heading.scrollIntoView();
      heading.focus({ preventScroll: true });
    },
  };
}

/**
 * @param {HTMLSelectElement} select
 * @param {string[]} values
 */
function addOptions(select, values) {
  append(
    select,
    values.map((value) => h("option", { value }, spoken(value))),
  );
}

/**
 * @param {any} finding
 * @param {any} figures
 * @param {(digest: string) => boolean} hasExhibit
 * @param {(digest: string) => void} showExhibit
 */
function findingRow(finding, figures, hasExhibit, showExhibit) {
  const when = finding.at === null ? "" : seconds(finding.at);
  const record = finding.attestation;
  const nearest = record || finding.at === null ? null : nearestDecision(figures, finding.at);
  return h(
    "tr",
    { class: finding.severity },
    h("td", { "data-label": "Severity" }, h("span", { class: `severity ${finding.severity}` }, finding.severity)),
    h(
      "td",
      { "data-label": "Finding" },
      h("b", { title: figures.meanings[finding.kind] || false }, spoken(finding.kind)),
      h("br"),
      finding.message,
    ),
    h("td", { "data-label": "Stage" }, finding.stage, finding.sequence === null ? "" : ` #${finding.sequence}`),
    h("td", { "data-label": "Time", class: "number" }, when),
    h(
      "td",
      { "data-label": "Evidence" },
      record && hasExhibit(record)
        ? h(
            "button",
            {
              type: "button",
              onclick: () => showExhibit(record),
              "aria-label": `Show the evidence of ${spoken(finding.kind)} at ${when}`,
            },
            "Show",
          )
        : nearest !== null
          ? h("button", { type: "button", onclick: () => showExhibit(nearest) }, "Nearest decision")
          : h("span", { class: "note" }, record ? "not embedded" : "no one record"),
    ),
  );
}

/**
 * @param {any} figures
 * @param {number} at ms
 * @returns {string | null} the record of the embedded decision that arrived nearest to a time
 */
function nearestDecision(figures, at) {
  const { decisions, records } = figures.exhibits;
  const distance = (/** @type {any} */ item) => Math.abs(records[item.chain[0]].at_ms - at);
  const best = decisions.reduce(
    (/** @type {any} */ found, /** @type {any} */ item) => (!found || distance(item) < distance(found) ? item : found),
    null,
  );
  return best ? best.chain[0] : null;
}
