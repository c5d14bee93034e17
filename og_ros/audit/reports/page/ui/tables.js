/**
 * The tables: loss by topic, levels, and the keys and models that the registry certifies.
 * @module
 */
import { fillElement, h, mark, place, svg } from "./dom.js";
import { spoken, utcTime } from "./format.js";

/** @param {any} report */
export function showLoss(report) {
  const rows = Object.entries(report.topics).map(([topic, tally]) => {
    const expected = Math.max(tally.messages, tally.references, 1);
    const share = tally.missing / expected;
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, topic),
      h("td", { class: "number", "data-label": "Recorded" }, tally.messages),
      h("td", { class: "number", "data-label": "Named by attestations" }, tally.references),
      h("td", { class: "number", "data-label": "Without counterpart" }, tally.missing),
      h("td", { "data-label": "Share" }, bar(share), ` ${(share * 100).toFixed(share && share < 0.01 ? 2 : 1)} %`),
    );
  });
  fillElement(place("loss-rows"), rows);
}

/** @param {number} share */
function bar(share) {
  return svg(
    "svg",
    { class: "bar", viewBox: "0 0 60 8", width: 60, height: 8, "aria-hidden": "true" },
    svg("rect", { width: 60, height: 8, class: "bed" }),
    svg("rect", { width: share ? Math.max(60 * Math.min(share, 1), 1.5) : 0, height: 8, class: "fill" }),
  );
}

/**
 * @param {any} figures
 * @param {any} report
 */
export function showLevels(figures, report) {
  const stages = Object.keys(report.stages);
  fillElement(
    place("levels"),
    Object.entries(figures.series.levels).map(([axis, told]) => {
      const levels = report.levels[axis];
      const order = told.order;
      const counts = (levels.decisions && levels.decisions.counts) || {};
      const decided = Object.values(counts).some((count) => count > 0) ? counts : told.chain;
      const used = order.filter((/** @type {string} */ level) => levels.counts[level] || decided[level]);
      return h(
        "section",
        { class: "axis" },
        h("h3", {}, spoken(axis)),
        ladder(order, levels.counts, `${spoken(axis)}: levels from low to high`),
        h(
          "div",
          { class: "scroll", tabindex: "0", role: "region", "aria-label": `Counts of ${spoken(axis)}` },
          h(
            "table",
            {},
            h(
              "thead",
              {},
              h(
                "tr",
                {},
                h("th", { scope: "col" }, "Level"),
                h("th", { scope: "col", class: "number" }, "Inferences"),
                h("th", { scope: "col", class: "number" }, "Decisions"),
                h("th", { scope: "col" }, "Lowest of stage"),
              ),
            ),
            h(
              "tbody",
              {},
              used.map((/** @type {string} */ level) =>
                h(
                  "tr",
                  {},
                  h("th", { scope: "row" }, spoken(level)),
                  h("td", { class: "number" }, levels.counts[level] || 0),
                  h("td", { class: "number" }, decided[level] || 0),
                  h("td", {}, stages.filter((stage) => levels.stages[stage] === level).join(", ")),
                ),
              ),
            ),
          ),
        ),
        reasons(levels.reasons || {}),
      );
    }),
  );
}

/**
 * @param {string[]} order
 * @param {Record<string, number>} counts
 * @param {string} label
 */
function ladder(order, counts, label) {
  return h(
    "ol",
    { class: "ladder", "aria-label": label },
    order.map((level) =>
      h(
        "li",
        { class: counts[level] ? "had" : "" },
        spoken(level),
        counts[level] ? "" : h("span", { class: "hidden" }, " (none)"),
      ),
    ),
  );
}

/** @param {Record<string, any>} told by stage */
function reasons(told) {
  const stages = Object.entries(told);
  if (!stages.length) return null;
  return h(
    "details",
    {},
    h("summary", {}, "Why, and what would raise it"),
    h(
      "dl",
      { class: "reasons" },
      stages.map(([stage, reason]) => [
        h("dt", {}, `${stage}: ${spoken(reason.level)}`),
        h(
          "dd",
          {},
          `Because ${reason.because}. `,
          reason.evidence.length > 0 && h("span", { class: "note" }, `It rests on: ${reason.evidence.join("; ")}. `),
          reason.raised_by && h("span", {}, `To raise it: ${reason.raised_by}.`),
        ),
      ]),
    ),
  );
}

/** @param {any} report */
export function showEnvironments(report) {
  const found = report.environments || [];
  if (!found.length) return;
  place("environments-section").hidden = false;
  fillElement(
    place("environments"),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Evidence of keys, as a table" },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["Stage", "Level", "Evidence", "Key is", "Appraised", "Against it, and not checked"].map((name) =>
              h("th", { scope: "col" }, name),
            ),
          ),
        ),
        h(
          "tbody",
          {},
          found.map((/** @type {any} */ one) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, one.stage, " ", h("code", {}, one.key.slice(0, 16))),
              h("td", {}, spoken(one.level)),
              h("td", {}, `${one.format}, ${one.tier}`),
              h("td", {}, one.key_provenance || "not known"),
              h("td", {}, one.admitted_by ? `by ${one.admitted_by}, not in this audit` : `for ${one.verified_at}`),
              h(
                "td",
                {},
                [
                  ...one.reasons.map((/** @type {any} */ reason) => reason.message),
                  ...one.not_checked.map((/** @type {string} */ note) => `Not checked: ${note}`),
                ].join(". "),
              ),
            ),
          ),
        ),
      ),
    ),
  );
}

/** @param {import("./checks.js").Results} results */
export function showTrust(results) {
  const { registry } = results;
  if (!registry) {
    fillElement(
      place("trust"),
      h("p", {}, "No registry is embedded that holds, so nobody stands for any key or model here."),
    );
    return;
  }
  const until = (/** @type {bigint | null} */ time) => (time === null ? "no end" : utcTime(time));
  const revoked = (/** @type {string} */ subject) => {
    const at = registry.revoked.get(subject);
    return at === undefined ? null : h("b", { class: "problem" }, ` revoked from ${utcTime(at)}`);
  };
  fillElement(
    place("trust"),
    h(
      "p",
      {},
      `Registry ${registry.name}, state ${registry.number}, `,
      mark("ok", "signatures verified up to its root"),
      ".",
    ),
    h(
      "p",
      {},
      "Its root is ",
      h("code", { class: "hash" }, registry.fingerprint),
      ". Compare it with the fingerprint that the fleet's owner gave you by another way: whoever made this page could have made a registry too.",
    ),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Keys" },
      h(
        "table",
        {},
        h("caption", {}, "Keys"),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["Key", "For", "Algorithm", "Certified by", "Valid"].map((name) => h("th", { scope: "col" }, name)),
          ),
        ),
        h(
          "tbody",
          {},
          [...registry.keys.values()].map((key) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, h("code", {}, key.key.id.slice(0, 16)), revoked(`key:${key.key.id}`)),
              h(
                "td",
                {},
                key.role === "stage" ? `stage ${key.stage} of ${key.robot}` : `${key.role} ${key.origin}`,
                key.vendor ? `, ${key.vendor}` : "",
              ),
              h("td", {}, key.key.algorithm),
              h("td", {}, key.certifier),
              h("td", {}, `${utcTime(key.notBefore)} to ${until(key.notAfter)}`),
            ),
          ),
        ),
      ),
    ),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Models" },
      h(
        "table",
        {},
        h("caption", {}, "Models"),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["Model", "SHA-256", "Stages", "Certified by", "Valid"].map((name) => h("th", { scope: "col" }, name)),
          ),
        ),
        h(
          "tbody",
          {},
          registry.models.map((model) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, `${model.name} ${model.version}`, revoked(`model:${model.digest}`)),
              h("td", {}, h("code", {}, model.digest.slice(0, 16))),
              h("td", {}, model.stages.join(", ") || "any"),
              h("td", {}, model.certifier, model.vendorSigned ? " (a vendor's signature, not checked here)" : ""),
              h("td", {}, `${utcTime(model.notBefore)} to ${until(model.notAfter)}`),
            ),
          ),
        ),
      ),
    ),
  );
}
