/**
 * The gate on the live page: its state, the newest verdict, and what it refused.
 * @module
 */
import { fillElement, h, place } from "../ui/dom.js";
import { spoken } from "../ui/format.js";

const REFUSALS_SHOWN = 8;

/** @type {any[]} */
let refusals = [];
/** @type {any} */
let newest = null;

/** @param {any} verdict */
export function showGate(verdict) {
  newest = verdict;
  drawGate();
}

/** @param {any} verdict */
export function takeRefusal(verdict) {
  refusals = [verdict, ...refusals].slice(0, REFUSALS_SHOWN);
  drawGate();
}

/** Forget all: a snapshot follows. */
export function forgetRefusals() {
  refusals = [];
  newest = null;
}

function drawGate() {
  if (!newest) return;
  const monitor = newest.mode === "monitor";
  const words = /** @type {Record<string, string>} */ ({
    open: "open: verified commands pass",
    closed: "closed: nothing passes until a chain verifies",
    latched: `latched${newest.safe_behaviour ? ` (${spoken(newest.safe_behaviour)})` : ""}: until somebody resets it`,
  });
  const kind = newest.state === "open" ? "ok" : newest.state === "latched" ? "bad" : "warn";
  const tile = place("tile-gate");
  tile.textContent = monitor ? `${newest.state}, monitors` : newest.state;
  tile.className = monitor ? "warn" : kind;
  const last = newest.accepted ? "accepted" : `refused: ${newest.reasons.map(spoken).join(", ") || "no reason given"}`;
  const ms = (/** @type {number | null} */ value) => (value === null ? "–" : `${value.toFixed(2)} ms`);
  fillElement(
    place("gate"),
    monitor ? h("p", { class: "problem" }, "It only monitors: what it refuses passes all the same.") : null,
    h(
      "dl",
      { class: "facts" },
      ...[
        ["state", words[newest.state] ?? newest.state],
        ["newest command", `${last}${newest.forwarded ? ", passed on" : ", not passed on"}`],
        ["decided in", ms(newest.latency_ms)],
        ["sensor to decision", ms(newest.chain_latency_ms)],
      ].flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
    ),
    refusals.length ? h("h3", {}, "Refused") : null,
    refusals.length
      ? h(
          "ul",
          { class: "plain" },
          refusals.map((one) =>
            h(
              "li",
              {},
              h("span", { class: "severity violation" }, one.reasons.map(spoken).join(", ") || "refused"),
              ` ${new Date(one.stamp_ms).toLocaleTimeString()} ${one.message}`,
            ),
          ),
        )
      : null,
  );
}
