/**
 * The drill-down: one decision, from its command back to the camera frame, with the checks of each record.
 * @module
 */
import { toHex } from "../verify/bytes.js";
import { findSource } from "../verify/record.js";
import { nameOf } from "./checks.js";
import { fillElement, h, mark, place } from "./dom.js";
import { clockTime, counted, milliseconds, spoken, utcTime } from "./format.js";
import { glance, messageCard } from "./message_cards.js";

const CHECK_NAMES = {
  form: "Form",
  signature: "Signature",
  key: "Key certificate",
  model: "Model certificate",
  log: "Log",
  links: "Links",
};
const GROUPS = [
  ["finding", "With findings"],
  ["first", "First"],
  ["last", "Last"],
  ["slowest", "Slowest"],
  ["sample", "Even sample over time"],
  ["record", "Other records with findings"],
];

/**
 * @param {any} figures
 * @param {import("./checks.js").Results} results
 * @returns {{show: (digest: string) => boolean}} opens a decision that has a record; false where none is embedded
 */
export function startDecisionView(figures, results) {
  const { decisions, others, total } = figures.exhibits;
  const items = [
    ...decisions.map((/** @type {any} */ item) => ({ ...item, group: item.reasons[0] })),
    ...others.map((/** @type {any} */ item) => ({ ...item, group: "record" })),
  ];
  fillElement(
    place("decision-count"),
    decisions.length === total
      ? `All ${counted(total, "decision")} of the run are embedded here with their evidence.`
      : [
          `${decisions.length} of ${counted(total, "decision")} are embedded here with their evidence: those with findings, ` +
            "the first and the last, the slowest, and an even sample over time. For any other one: ",
          h("code", {}, "og-ros trace BAG --topic TOPIC --index N --registry DIR"),
          ".",
        ],
  );
  if (!items.length) {
    place("decision-chooser").hidden = true;
    return { show: () => false };
  }
  const select = /** @type {HTMLSelectElement} */ (place("decision-select"));
  for (const [group, title] of GROUPS) {
    const members = items.map((item, index) => ({ item, index })).filter(({ item }) => item.group === group);
    if (!members.length) continue;
    const options = members.map(({ item, index }) => h("option", { value: index }, optionText(item, results)));
    select.append(h("optgroup", { label: title }, options));
  }
  // Earlier and later go by time, whatever the groups of the list.
  const arrival = (/** @type {any} */ item) => figures.exhibits.records[item.chain[0]].at_ms;
  const byTime = items.map((_, index) => index).sort((a, b) => arrival(items[a]) - arrival(items[b]));
  const rank = (/** @type {number} */ index) => byTime.indexOf(index);

  const earlier = /** @type {HTMLButtonElement} */ (place("decision-earlier"));
  const later = /** @type {HTMLButtonElement} */ (place("decision-later"));
  const draw = () => {
    const index = Number(select.value);
    earlier.disabled = rank(index) === 0;
    later.disabled = rank(index) === byTime.length - 1;
    fillElement(place("decision"), decisionPanel(items[index], figures, results));
  };
  const move = (/** @type {number} */ by) => {
    select.value = String(byTime[rank(Number(select.value)) + by]);
    draw();
  };
  select.addEventListener("change", draw);
  earlier.addEventListener("click", () => move(-1));
  later.addEventListener("click", () => move(1));
  const slowest = items.findIndex((item) => item.reasons.includes("slowest"));
  select.value = String(items[0].group === "finding" || slowest < 0 ? 0 : slowest);
  draw();
  return {
    show(digest) {
      const own = items.findIndex((item) => item.chain[0] === digest);
      const index = own >= 0 ? own : items.findIndex((item) => item.chain.includes(digest));
      if (index < 0) return false;
      select.value = String(index);
      draw();
      const heading = place("decisions-heading");
      heading.scrollIntoView();
      heading.focus({ preventScroll: true });
      return true;
    },
  };
}

/**
 * @param {any} item
 * @param {import("./checks.js").Results} results
 */
function optionText(item, results) {
  const record = results.records.get(item.chain[0]);
  const attestation = record && record.attestation;
  if (!record || !attestation) return `a record that cannot be read (${item.chain[0].slice(0, 16)})`;
  const { statement } = attestation;
  const latency = latencyOf(attestation, chainOf(item, results));
  const worst = item.chain.some(
    (/** @type {string} */ d) => (results.records.get(d) || { state: "bad" }).state === "bad",
  );
  const time = utcTime(statement.signedAt).slice(11, 23);
  return `${worst ? "FAILED  " : ""}${time}  ${statement.stage} #${statement.sequence}${latency === null ? "" : `  ${milliseconds(latency)}`}`;
}

/**
 * @param {any} item
 * @param {import("./checks.js").Results} results
 * @returns {import("../verify/cose.js").Attestation[]}
 */
function chainOf(item, results) {
  return item.chain.flatMap((/** @type {string} */ digest) => {
    const record = results.records.get(digest);
    return record && record.attestation ? [record.attestation] : [];
  });
}

/**
 * The time from the oldest sensor stamp to the end of the inference, from signed bytes alone.
 * @param {import("../verify/cose.js").Attestation} decision
 * @param {import("../verify/cose.js").Attestation[]} chain
 * @returns {bigint | null}
 */
function latencyOf(decision, chain) {
  const stamps = chain.flatMap(({ statement }) =>
    statement.inputs
      .filter(
        (input) => input.stamp && !findSource(input, chain) && !statement.outputs.some((o) => o.topic === input.topic),
      )
      .map((input) => input.stamp),
  );
  if (!stamps.length) return null;
  const oldest = stamps.reduce((least, stamp) => (stamp < least ? stamp : least));
  const latency = decision.statement.start + decision.statement.duration - oldest;
  return latency >= 0n && latency < 86400n * 1000000000n ? latency : null;
}

/**
 * @param {any} item
 * @param {any} figures
 * @param {import("./checks.js").Results} results
 */
function decisionPanel(item, figures, results) {
  const first = results.records.get(item.chain[0]);
  if (!first || !first.attestation) {
    return h(
      "p",
      { class: "problem" },
      mark("bad"),
      ` The record ${item.chain[0]} cannot be read, so nothing of this decision is shown.`,
    );
  }
  const chain = chainOf(item, results);
  const latency = latencyOf(first.attestation, chain);
  const { statement } = first.attestation;
  return h(
    "div",
    {},
    h(
      "p",
      { class: "lead" },
      `Signed ${utcTime(statement.signedAt)} by robot ${statement.robot}. `,
      latency === null ? "" : `${milliseconds(latency)} from the oldest sensor stamp to the end of the inference. `,
      `${counted(item.chain.length, "record")} in its chain.`,
    ),
    glance(first.attestation, chain, results),
    h("h3", {}, "The signed records behind it"),
    h("ol", { class: "chain" }, recordStep(first, { item, chain, figures, results, shown: new Set() })),
  );
}

/**
 * @param {import("./checks.js").RecordResult} record
 * @param {any} context
 * @returns {HTMLElement}
 */
function recordStep(record, context) {
  const attestation = /** @type {import("../verify/cose.js").Attestation} */ (record.attestation);
  const { statement } = attestation;
  context.shown.add(record.digest);
  return h(
    "li",
    { class: "step" },
    h(
      "div",
      { class: "messages" },
      statement.outputs.map((output) => messageCard(output, "output", context)),
    ),
    recordCard(record, context),
    h(
      "ol",
      { class: "inputs", "aria-label": `Inputs of ${statement.stage}` },
      statement.inputs.map((input) => inputStep(attestation, input, context)),
    ),
  );
}

/**
 * @param {import("../verify/cose.js").Attestation} attestation
 * @param {import("../verify/statement.js").DataReference} input
 * @param {any} context
 * @returns {HTMLElement}
 */
function inputStep(attestation, input, context) {
  const source = findSource(input, context.chain);
  const own = attestation.statement.outputs.some((output) => output.topic === input.topic);
  const record = source && context.results.records.get(toHex(source.digest));
  if (record && !own && !context.shown.has(record.digest)) return recordStep(record, context);
  let origin = "No stage attests this topic: it is the sensor's own word, unsigned.";
  if (own) origin = "The stage's own earlier output; its history is the run itself and is not followed here.";
  else if (source) origin = `Output of ${source.statement.stage} #${source.statement.sequence}, shown above.`;
  else if (input.attestation.length)
    origin = `The statement names attestation ${toHex(input.attestation).slice(0, 16)}, which is not embedded here.`;
  return h(
    "li",
    { class: "step sensor" },
    h("div", { class: "messages" }, messageCard(input, "input", context, origin)),
  );
}

/**
 * @param {import("./checks.js").RecordResult} record
 * @param {any} context
 */
function recordCard(record, context) {
  const attestation = /** @type {import("../verify/cose.js").Attestation} */ (record.attestation);
  const { statement } = attestation;
  const { model, runtime } = statement;
  /** @type {[string, any][]} */
  const rows = [
    ["Node", `${statement.node} of robot ${statement.robot}`],
    [
      "Model",
      [`${model.name} ${model.version} (${model.format}) `, hash(`${model.digestAlgorithm}:${toHex(model.digest)}`)],
    ],
    [
      "Runtime",
      [runtime.name, runtime.version, runtime.provider, runtime.options, runtime.cpu].filter(Boolean).join(", "),
    ],
    ["Processing", hash(`sha256:${toHex(runtime.processingDigest)}`)],
    ["Began", `${clockTime(statement.start)} (${statement.clock} clock), took ${milliseconds(statement.duration)}`],
    ["Signed", utcTime(statement.signedAt)],
    [
      "Mode",
      statement.modeUsed === statement.modeRequested
        ? statement.modeUsed
        : `${statement.modeUsed}, where ${statement.modeRequested} was asked for`,
    ],
    ["Session", [hash(toHex(statement.session)), `, sequence ${statement.sequence}`]],
    ["Predecessor", hash(toHex(statement.previous))],
    ["Key", [hash(toHex(statement.keyId)), ` (${statement.algorithm})`]],
    ["Record", hash(record.digest)],
  ];
  const levels = Object.entries(record.told.levels || {});
  return h(
    "div",
    { class: "record" },
    h(
      "h4",
      {},
      `Stage ${statement.stage} `,
      h("span", { class: "sequence" }, `#${statement.sequence}`),
      " ",
      mark(record.state),
    ),
    h("p", { class: "note" }, `${model.name} ${model.version} in ${milliseconds(statement.duration)}`),
    h(
      "details",
      { open: record.checks.some((check) => check.state !== "ok") },
      h(
        "summary",
        {},
        record.checks.every((check) => check.state === "ok")
          ? `All ${record.checks.length} checks hold`
          : `${record.checks.length} checks`,
      ),
      h(
        "ul",
        { class: "checks" },
        record.checks.map((check) =>
          h(
            "li",
            {},
            mark(stateOf(check, record), /** @type {any} */ (CHECK_NAMES)[check.name]),
            h("span", {}, check.text),
          ),
        ),
      ),
    ),
    h(
      "details",
      {},
      h("summary", {}, "Everything that is signed"),
      h(
        "dl",
        { class: "facts" },
        rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
      ),
      levels.length > 0 &&
        h(
          "p",
          { class: "note" },
          "Levels by the auditor: ",
          levels.map(([axis, level]) => `${spoken(axis)} ${spoken(String(level))}`).join(", "),
          ".",
        ),
      h(
        "p",
        {},
        h(
          "button",
          { type: "button", onclick: () => save(attestation.cose, `${record.digest.slice(0, 16)}.cose`) },
          "Save the signed bytes (COSE_Sign1)",
        ),
      ),
    ),
    record.checks.some((check) => check.state === "bad") &&
      h("p", { class: "problem" }, `${nameOf(`record ${record.digest}`, context.figures.exhibits)} does not hold.`),
  );
}

/**
 * @param {import("../verify/record.js").Check} check
 * @param {import("./checks.js").RecordResult} record
 */
function stateOf(check, record) {
  return check.state === "bad" && record.state === "known" ? "known" : check.state;
}

/** @param {string} text */
function hash(text) {
  return h("code", { class: "hash" }, text);
}

/**
 * @param {Uint8Array} data
 * @param {string} name
 */
function save(data, name) {
  const address = URL.createObjectURL(new Blob([/** @type {BlobPart} */ (data)], { type: "application/cose" }));
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
