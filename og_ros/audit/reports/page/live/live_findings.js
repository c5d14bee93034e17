/**
 * The findings of the live page: those of one kind, stage and topic are one row, the newest row first.
 * @module
 */
import { fillElement, h, place } from "../ui/dom.js";
import { counted, spoken } from "../ui/format.js";

const MAX_ROWS = 40;
const NEW_MS = 4000;
const REDRAW_MS = 150;

/** @typedef {{stamp_ms: number, kind: string, severity: string, stage: string, topic: string, sequence: number | null,
 *   message: string, number: number, old?: boolean}} LiveFinding `number` counts the findings that og-ros watch heard */

/**
 * @typedef {object} FindingRow
 * @property {LiveFinding} newest
 * @property {number} count
 * @property {number | null} delay the least ms from the auditor's finding to this page; null: all are from before it
 */

/** @type {Map<string, FindingRow>} in the order of their newest finding */
let rows = new Map();
let total = 0;
let newestNumber = 0;
let drawing = false;
let drawnAt = 0;

/** Make the filter work. */
export function startFindings() {
  place("severity").addEventListener("change", drawFindings);
  drawFindings();
}

/** @param {LiveFinding} finding */
export function takeFinding(finding) {
  if (finding.number <= newestNumber) return; // it was in the snapshot already
  newestNumber = finding.number;
  const name = JSON.stringify([finding.severity, finding.kind, finding.stage, finding.topic]);
  const known = rows.get(name);
  rows.delete(name);
  rows.set(name, {
    newest: finding,
    count: (known?.count ?? 0) + 1,
    delay: finding.old ? (known?.delay ?? null) : Math.min(known?.delay ?? Infinity, Date.now() - finding.stamp_ms),
  });
  if (rows.size > MAX_ROWS) rows.delete(String(rows.keys().next().value));
  total += 1;
}

/** Forget all: a snapshot follows. */
export function forgetFindings() {
  rows = new Map();
  total = 0;
  newestNumber = 0;
}

/** Draw at once, but not again for a while: many findings at once are one picture. */
export function showFindings() {
  if (drawing) return;
  drawing = true;
  // No animation frame: those of a hidden tab stand still, and the title must not.
  setTimeout(() => {
    drawing = false;
    drawFindings();
  }, Math.max(0, drawnAt + REDRAW_MS - Date.now()));
}

function drawFindings() {
  drawnAt = Date.now();
  const wanted = /** @type {HTMLSelectElement} */ (place("severity")).value;
  const shown = [...rows.values()].reverse().filter((row) => !wanted || row.newest.severity === wanted);
  const lines = shown.map(({ newest, count, delay }) => {
    const where = [newest.stage, newest.sequence === null ? "" : `#${newest.sequence}`, newest.topic];
    const fresh = newest.severity === "violation" && Date.now() - newest.stamp_ms < NEW_MS;
    return h(
      "tr",
      { class: fresh ? "new-finding" : "", "data-kind": newest.kind, "data-delay-ms": delay === null ? null : Math.round(delay) },
      h("td", { class: `severity ${newest.severity}` }, newest.severity),
      h("td", {}, h("b", {}, spoken(newest.kind)), count > 1 ? ` ${count} times, last: ` : ": ", newest.message),
      h("td", { "data-label": "where" }, where.filter(Boolean).join(" ")),
      h("td", { "data-label": "when" }, new Date(newest.stamp_ms).toLocaleTimeString()),
    );
  });
  const none = h("tr", {}, h("td", { colspan: 4 }, wanted ? `No ${wanted}.` : "Nothing was found."));
  fillElement(place("finding-rows"), lines.length ? lines : none);
  place("finding-count").textContent = total ? `${counted(total, "finding")}, by kind and place` : "";
}
