/**
 * The stages of the live page: the auditor's figures beside the levels that this browser computed.
 * @module
 */
import { fillElement, h, place, svg } from "../ui/dom.js";
import { newestLevels } from "./live_records.js";

const KEPT = 240;

/** @type {{at: number, ms: number}[]} */
let latencies = [];

/** @param {any} status */
export function takeLatency(status) {
  if (status.chain_latency_ms === null) return;
  latencies = [...latencies, { at: status.stamp_ms, ms: status.chain_latency_ms }].slice(-KEPT);
}

/** Forget all: a snapshot follows. */
export function forgetLatencies() {
  latencies = [];
}

/** @param {any} status */
export function showStages(status) {
  const levels = newestLevels();
  const level = (/** @type {string | undefined} */ text) => {
    const kind = !text || /^(none|unknown|unlinked)/.test(text) ? "none" : text.startsWith("failed") ? "bad" : "";
    return h("span", { class: `level ${kind}` }, text ?? "not computed");
  };
  const number = (/** @type {number | null} */ value, /** @type {string} */ unit) =>
    value === null ? "–" : `${value.toFixed(1)} ${unit}`;
  fillElement(
    place("stage-rows"),
    status.stages.map((/** @type {any} */ stage) => {
      const known = levels.get(stage.stage);
      return h(
        "tr",
        {},
        h("th", { scope: "row" }, stage.stage),
        h("td", { "data-label": "model" }, stage.model),
        h("td", { "data-label": "model integrity" }, level(known?.model)),
        h("td", { "data-label": "inference" }, level(known?.inference)),
        h("td", { "data-label": "provenance" }, level(known?.provenance)),
        h("td", { "data-label": "environment" }, level(known?.environment)),
        h("td", { class: "number", "data-label": "rate" }, number(stage.rate, "/s")),
        h("td", { class: "number", "data-label": "inference time" }, number(stage.latency_ms, "ms")),
      );
    }),
  );
  drawSpark();
}

function drawSpark() {
  if (latencies.length < 2) return;
  const end = latencies[latencies.length - 1];
  const shown = latencies.filter((one) => end.at - one.at <= 120_000);
  const most = Math.max(...shown.map((one) => one.ms), 1);
  const points = shown.map(
    (one) => `${(100 - ((end.at - one.at) / 120_000) * 100).toFixed(2)} ${(38 - (one.ms / most) * 34).toFixed(2)}`,
  );
  fillElement(
    place("spark"),
    svg(
      "svg",
      { class: "spark", viewBox: "0 0 100 40", preserveAspectRatio: "none", role: "img", "aria-label": `At most ${most.toFixed(1)} ms` },
      svg("path", { class: "line", d: `M${points.join("L")}` }),
    ),
  );
  place("spark-readout").textContent = `now ${end.ms.toFixed(1)} ms, at most ${most.toFixed(1)} ms`;
}
