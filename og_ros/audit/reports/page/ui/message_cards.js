/**
 * Messages of a decision: each with its picture, its digest and its mark, and the most telling ones at a glance.
 * @module
 */
import { toHex } from "../verify/bytes.js";
import { findSource } from "../verify/record.js";
import { h, mark } from "./dom.js";
import { bytesText, clockTime } from "./format.js";
import { pictureOf } from "./pictures.js";

/** @type {Record<string, string>} */
const MESSAGE_WORDS = { ok: "digest verified", bad: "failed", open: "not checked" };

/**
 * What the sensors gave and what was commanded, side by side.
 * @param {import("../verify/cose.js").Attestation} decision
 * @param {import("../verify/cose.js").Attestation[]} chain
 * @param {import("./checks.js").Results} results
 */
export function glance(decision, chain, results) {
  const seen = new Set();
  const sensed = chain.flatMap(({ statement }) =>
    statement.inputs.filter((input) => {
      const own = statement.outputs.some((output) => output.topic === input.topic);
      const digest = toHex(input.digest);
      if (own || findSource(input, chain) || seen.has(digest)) return false;
      seen.add(digest);
      return true;
    }),
  );
  const rank = (/** @type {string} */ type) => (type.endsWith("Image") ? 0 : type.endsWith("LaserScan") ? 1 : 2);
  sensed.sort((a, b) => rank(a.type) - rank(b.type));
  const show = (/** @type {import("../verify/statement.js").DataReference} */ reference) => {
    const message = results.messages.get(toHex(reference.digest));
    if (!message || !message.data) return null;
    const state = h("span", { class: "topic" }, reference.topic);
    return h(
      "figure",
      {},
      h("figcaption", {}, state, " ", mark(message.state, MESSAGE_WORDS[message.state])),
      pictureOf(reference.topic, reference.type, message.data),
    );
  };
  const inputs = sensed.slice(0, 3).map(show).filter(Boolean);
  const outputs = decision.statement.outputs.slice(0, 2).map(show).filter(Boolean);
  if (!inputs.length || !outputs.length) return null;
  return h(
    "div",
    { class: "glance" },
    h("div", {}, h("h3", {}, "What the robot sensed"), h("div", { class: "pictures" }, inputs)),
    h("div", {}, h("h3", {}, "What it commanded"), h("div", { class: "pictures" }, outputs)),
  );
}

/**
 * @param {import("../verify/statement.js").DataReference} reference
 * @param {string} role
 * @param {any} context
 * @param {string} [origin]
 */
export function messageCard(reference, role, context, origin = "") {
  const digest = toHex(reference.digest);
  const message = context.results.messages.get(digest);
  const left = context.figures.exhibits.left_out[digest];
  let body;
  if (reference.disclosure !== "clear")
    body = h(
      "p",
      { class: "note" },
      reference.disclosure === "absent"
        ? "Absent: the statement holds no digest of it."
        : "Committed: the statement holds a salted commitment. A revealed salt is not checked on this page.",
    );
  else if (message && message.data) body = pictureOf(reference.topic, reference.type, message.data);
  else if (message) body = h("p", { class: "problem" }, `Not shown: ${message.text}.`);
  else body = h("p", { class: "note" }, `The message is not embedded: ${left || "it is not listed"}.`);
  const state = message ? message.state : "open";
  return h(
    "figure",
    { class: `message ${role}` },
    h(
      "figcaption",
      {},
      h("span", { class: "topic" }, reference.topic),
      " ",
      h("span", { class: "type" }, reference.type),
      " ",
      mark(state, MESSAGE_WORDS[state]),
    ),
    body,
    h(
      "p",
      { class: "note" },
      `${bytesText(Number(reference.size))}`,
      reference.stamp ? `, stamp ${clockTime(reference.stamp)}` : "",
      reference.disclosure === "clear" && [
        ", ",
        h("code", { class: "hash" }, `${reference.digestAlgorithm}:${digest}`),
      ],
    ),
    origin && h("p", { class: "note" }, origin),
  );
}
