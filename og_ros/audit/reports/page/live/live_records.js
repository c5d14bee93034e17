/**
 * The newest decision of the live page: its attestations are read from their ROS bytes, checked, and drawn as a chain.
 * @module
 */
import { fillElement, h, mark, onWidth, place } from "../ui/dom.js";
import { drawGraph, layer } from "../ui/chain_picture.js";
import { milliseconds, utcTime } from "../ui/format.js";
import { VerifyError, fromBase64, toHex } from "../verify/bytes.js";
import { checkLinks, checkRecord, findSource } from "../verify/record.js";
import { decodeAttestation } from "../verify/wire.js";

/**
 * @typedef {object} LiveRecord
 * @property {import("../verify/cose.js").Attestation} attestation
 * @property {import("../verify/record.js").Check[]} checks all but that of the log, which has no proof here
 * @property {boolean} linked every output that it reads is named by the record that made it
 */

/** @typedef {{model: string, inference: string, provenance: string, environment: string}} LiveLevels */

/** @type {LiveRecord[]} */
let shownRecords = [];
/** @type {Map<string, LiveLevels>} */
const levelsByStage = new Map();
let busy = false;
let held = false;
/** @type {any} */
let waiting = null;

/** Make the button work that holds a decision still. */
export function startPause() {
  const button = place("pause");
  button.addEventListener("click", () => {
    held = !held;
    button.setAttribute("aria-pressed", String(held));
    button.textContent = held ? "Go on" : "Hold this decision";
  });
  onWidth(place("chain-picture"), () => drawChain());
}

/** @returns {Map<string, LiveLevels>} by stage */
export function newestLevels() {
  return levelsByStage;
}

/**
 * Check a chain and show it. While one is being checked, later ones replace each other, so that a slow device is late by
 * one at most.
 * @param {{records: {topic: string, cdr: string}[], unreadable: number}} data
 * @param {{registry: import("../verify/registry.js").RegistryView | null}} live
 * @returns {Promise<{checked: number, problems: string[], open: string[], unreadable: number} | null>}
 */
export async function takeChain(data, live) {
  if (busy) {
    waiting = data;
    return null;
  }
  busy = true;
  try {
    const outcome = await checkChain(data, live.registry);
    if (waiting) {
      const next = waiting;
      waiting = null;
      busy = false;
      return (await takeChain(next, live)) ?? outcome;
    }
    return outcome;
  } finally {
    busy = false;
  }
}

/**
 * @param {{records: {topic: string, cdr: string}[], unreadable: number}} data
 * @param {import("../verify/registry.js").RegistryView | null} registry
 */
async function checkChain(data, registry) {
  /** @type {string[]} */
  const problems = [];
  /** @type {string[]} */
  const open = [];
  /** @type {import("../verify/cose.js").Attestation[]} */
  const attestations = [];
  for (const { topic, cdr } of data.records) {
    try {
      attestations.push(await decodeAttestation(fromBase64(cdr)));
    } catch (error) {
      problems.push(`${topic || "an attestation"}: ${error instanceof VerifyError ? error.message : `malformed (${error})`}`);
    }
  }
  if (data.unreadable) problems.push(`${data.unreadable} messages on attestation topics could not be read at all`);
  /** @type {LiveRecord[]} */
  const records = [];
  for (const attestation of attestations) {
    const { stage, sequence } = attestation.statement;
    const { checks } = await checkRecord(attestation.cose, toHex(attestation.digest), registry, null, new Map());
    const links = await checkLinks(attestation, attestations);
    const mine = [...checks.filter((check) => check.name !== "log"), links];
    for (const check of mine) {
      if (check.state === "bad") problems.push(`${stage} #${sequence}, ${check.name}: ${check.text}`);
      else if (check.state === "open") open.push(`${stage} #${sequence}, ${check.name}: ${check.text}`);
    }
    const record = { attestation, checks: mine, linked: links.state === "ok" };
    records.push(record);
    levelsByStage.set(stage, levelsOf(record, attestations));
  }
  if (!held) {
    shownRecords = records;
    drawChain();
    drawRecords();
  }
  return { checked: records.length, problems, open, unreadable: data.unreadable };
}

/**
 * What the evidence at hand is worth; a claim alone is worth nothing.
 * @param {LiveRecord} record
 * @param {import("../verify/cose.js").Attestation[]} others
 * @returns {LiveLevels}
 */
function levelsOf({ attestation, checks }, others) {
  const state = (/** @type {string} */ name) => checks.find((check) => check.name === name)?.state;
  const { statement } = attestation;
  const signed = state("signature") === "ok" && state("key") === "ok";
  const joined = statement.inputs.some((input) => findSource(input, others));
  return {
    model: !signed ? "unknown" : state("model") === "ok" ? "certified" : "claimed",
    inference:
      state("signature") === "bad" || state("key") === "bad"
        ? "failed"
        : !signed
          ? "none"
          : statement.modeUsed === "observed"
            ? "observed"
            : "signed",
    provenance: !signed ? "unlinked" : state("links") === "bad" ? "failed" : joined ? "linked" : "sensor data not seen here",
    environment: signed ? "software key" : "none",
  };
}

function drawChain() {
  const holder = place("chain-picture");
  const width = Math.floor(holder.clientWidth - 30);
  if (!shownRecords.length || width < 100) return;
  /** @type {Map<string, import("../ui/chain_picture.js").GraphNode>} */
  const nodes = new Map();
  /** @type {[string, string][]} */
  const edges = [];
  /** @type {Map<string, LiveRecord>} newest record of each stage */
  const stages = new Map();
  for (const record of shownRecords) {
    const { stage, sequence } = record.attestation.statement;
    const known = stages.get(stage);
    if (!known || known.attestation.statement.sequence < sequence) stages.set(stage, record);
  }
  const all = [...stages.values()].map((record) => record.attestation.statement);
  const made = new Set(all.flatMap((statement) => statement.outputs.map((output) => output.topic)));
  const read = new Set(all.flatMap((statement) => statement.inputs.map((input) => input.topic)));
  for (const [stage, record] of stages) {
    const { statement } = record.attestation;
    const troubled = record.checks.some((check) => check.state === "bad");
    const levels = levelsByStage.get(stage);
    const lines = [
      `#${statement.sequence}, ${milliseconds(statement.duration)}`,
      `${statement.model.name} ${statement.model.version}`,
      `${levels?.inference ?? ""}, ${levels?.model ?? ""}`,
    ];
    nodes.set(`s ${stage}`, { id: `s ${stage}`, kind: "stage", title: stage, lines, layer: 0, troubled });
    for (const { topic } of [...statement.inputs, ...statement.outputs]) {
      const kind = !made.has(topic) ? "sensor" : read.has(topic) ? "topic" : "command";
      const lines_ = [kind === "sensor" ? "seen by its reader" : "digest signed"];
      nodes.set(`t ${topic}`, { id: `t ${topic}`, kind, title: topic, lines: lines_, layer: 0, troubled: false });
    }
    for (const { topic } of statement.inputs) edges.push([`t ${topic}`, `s ${stage}`]);
    for (const { topic } of statement.outputs) edges.push([`s ${stage}`, `t ${topic}`]);
  }
  const kept = layer(nodes, edges);
  const words = `${all.map((one) => one.stage).reverse().join(", then ")}.`;
  fillElement(holder, drawGraph({ nodes: kept, edges, words, hidden: nodes.size - kept.length }, width));
}

function drawRecords() {
  const open = new Set(
    [...document.querySelectorAll("#records details[open]")].map((one) => /** @type {HTMLElement} */ (one).dataset.stage),
  );
  const focused = document.activeElement?.closest("#records details");
  const focus = focused instanceof HTMLElement ? focused.dataset.stage : undefined;
  const [first] = shownRecords;
  place("chain-shown").textContent = first
    ? `Decision ${first.attestation.statement.stage} #${first.attestation.statement.sequence}, ${utcTime(first.attestation.statement.signedAt)}`
    : "";
  fillElement(
    place("records"),
    shownRecords.map(({ attestation, checks }) => {
      const { statement } = attestation;
      const worst = checks.some((check) => check.state === "bad") ? "bad" : checks.some((c) => c.state === "open") ? "open" : "ok";
      const name = statement.stage;
      return h(
        "div",
        { class: `record${worst === "bad" ? " broken" : ""}` },
        h("h3", {}, `${name} `, h("span", { class: "sequence" }, `#${statement.sequence}`), " ", mark(worst)),
        h(
          "details",
          { open: open.has(name), "data-stage": name },
          h("summary", {}, "What was checked"),
          h("ul", { class: "checks" }, checks.map((check) => h("li", {}, mark(check.state), h("span", {}, `${check.name}: ${check.text}`)))),
          h("p", { class: "note" }, "digest ", h("code", { class: "hash" }, toHex(attestation.digest))),
        ),
      );
    }),
  );
  const again = [...document.querySelectorAll("#records summary")].find(
    (one) => /** @type {HTMLElement} */ (one.parentElement).dataset.stage === focus,
  );
  if (focus !== undefined && again instanceof HTMLElement) again.focus({ preventScroll: true });
}
