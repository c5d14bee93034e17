/**
 * Regulation profiles, where the audit was asked for them: what of this run supports which clause, and what it cannot
 * show.
 * @module
 */
import { fillElement, h, mark, place } from "./dom.js";
import { spoken } from "./format.js";

/** @param {any} report */
export function showProfiles(report) {
  const profiles = report.profiles || [];
  if (!profiles.length) return;
  place("profiles-section").hidden = false;
  fillElement(
    place("profiles"),
    profiles.map((/** @type {any} */ profile) => [
      h("h3", {}, profile.title),
      h("p", {}, h("strong", {}, profile.standing)),
      h("p", { class: "about" }, profile.regulation),
      profile.notes.map((/** @type {string} */ note) => h("p", { class: "about" }, note)),
      h(
        "table",
        { class: "stacked" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["Clause", "Support", "What this run shows"].map((name) => h("th", { scope: "col" }, name)),
          ),
        ),
        h("tbody", {}, profile.clauses.map(clauseRow)),
      ),
      h(
        "dl",
        { class: "facts" },
        Object.entries(profile.strengths).map(([name, meaning]) => [h("dt", {}, name), h("dd", {}, meaning)]),
      ),
    ]),
  );
}

/** @param {any} clause */
function clauseRow(clause) {
  const unread = clause.text_read ? null : h("p", { class: "problem" }, "The text of this clause was not read.");
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, `${clause.clause} ${clause.title}`),
    h("td", {}, h("b", {}, clause.strength)),
    h(
      "td",
      {},
      clause.strength === "none" ? null : clause.shows,
      unread,
      h(
        "details",
        {},
        h("summary", {}, "Asked, checked, and not shown"),
        h("p", { class: "note" }, clause.asks),
        h(
          "ul",
          { class: "checks" },
          clause.checks.map((/** @type {any} */ check) =>
            h(
              "li",
              {},
              mark(check.holds ? "ok" : "open", check.holds ? "holds" : "does not hold"),
              h("span", {}, `${check.asks} ${check.because}`),
            ),
          ),
        ),
        clause.cannot_show.map((/** @type {string} */ what) => h("p", { class: "note" }, `Cannot show: ${what}.`)),
        clause.limited_by.map((/** @type {any} */ limit) =>
          h("p", { class: "note" }, `Limited: ${textOfLimit(limit)}.`),
        ),
        Object.keys(clause.contradicted_by).map((kind) =>
          h("p", { class: "problem" }, `Contradicted by: ${spoken(kind)}.`),
        ),
      ),
    ),
  );
}

/** @param {any} limit a sentence, or an object that holds one */
function textOfLimit(limit) {
  return typeof limit === "string" ? limit : limit.because || Object.values(limit).join(": ");
}
