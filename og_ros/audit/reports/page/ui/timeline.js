/**
 * The timeline: findings by severity, and the decisions that are embedded, over the time of the recording.
 * @module
 */
import { fillElement, onWidth, place, svg } from "./dom.js";
import { axisTicks, counted, seconds, spoken } from "./format.js";

const LANES = ["violation", "warning", "info", "decision"];
const LANE_NAMES = { violation: "Violations", warning: "Warnings", info: "Information", decision: "Decisions here" };
const LANE_HEIGHT = 34;
const LANE_LEFT = 112;
const LANE_RIGHT = 12;
const LANE_CLUSTER = 11;

/**
 * @param {any} figures
 * @param {any[]} findings of the report, each with `at` in ms, null where it has no time
 * @param {import("./time_window.js").TimeWindow} time
 * @param {{findings: (group: any[]) => void, decision: (digest: string) => void}} open what a mark opens
 */
export function startTimeline(figures, findings, time, open) {
  const holder = place("timeline");
  /** @type {Record<string, {at: number, item: any}[]>} */
  const marks = { violation: [], warning: [], info: [], decision: [] };
  for (const finding of findings)
    if (finding.at !== null) marks[finding.severity].push({ at: finding.at, item: finding });
  for (const { chain } of figures.exhibits.decisions) {
    marks.decision.push({ at: figures.exhibits.records[chain[0]].at_ms, item: chain[0] });
  }
  for (const lane of LANES) marks[lane].sort((a, b) => a.at - b.at);
  let width = 0;
  const draw = () => {
    const narrow = width < 520;
    const left = narrow ? 12 : LANE_LEFT;
    const inner = Math.max(width - left - LANE_RIGHT, 40);
    const top = narrow ? 18 : 0;
    const height = LANES.length * (LANE_HEIGHT + top) + 26;
    const x = (/** @type {number} */ ms) => left + time.x(ms, inner);
    const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, class: "plot" });
    LANES.forEach((lane, row) => {
      const base = row * (LANE_HEIGHT + top) + top;
      picture.append(
        svg("rect", { x: left, y: base + 3, width: inner, height: LANE_HEIGHT - 6, class: "lane" }),
        svg(
          "text",
          narrow
            ? { x: left, y: base - 3, class: "label" }
            : { x: left - 10, y: base + LANE_HEIGHT / 2 + 4, class: "label end" },
          laneTitle(lane, figures, narrow),
        ),
        ...density(lane, figures, time, x, base),
        ...clusters(marks[lane], time, x).map((group) => clusterMark(lane, group, base, open, time)),
      );
    });
    const foot = height - 22;
    for (const tick of axisTicks(time.from / 1000, time.to / 1000, inner / 90)) {
      const at = x(tick * 1000);
      picture.append(
        svg("path", { d: `M${at} 0V${foot}`, class: "grid" }),
        svg("text", { x: at, y: height - 6, class: "tick" }, seconds(tick * 1000, time.to - time.from)),
      );
    }
    const focused = document.activeElement && document.activeElement.getAttribute("data-mark");
    fillElement(holder, picture);
    drag(picture, time, left, inner, height - 22);
    const again =
      focused &&
      [...holder.querySelectorAll("[data-mark]")].find((element) => element.getAttribute("data-mark") === focused);
    if (again) /** @type {any} */ (again).focus();
  };
  onWidth(holder, (found) => {
    width = found;
    draw();
  });
  time.listeners.push(() => width && draw());
}

/**
 * @param {string} lane
 * @param {any} figures
 * @param {boolean} narrow whether there is room for more words
 */
function laneTitle(lane, figures, narrow) {
  const untimed = lane === "decision" ? 0 : figures.series.findings[lane].untimed;
  const more = untimed ? ` ${narrow ? "and" : "+"} ${untimed}${narrow ? " of no time" : ""}` : "";
  return /** @type {any} */ (LANE_NAMES)[lane] + more;
}

/**
 * How many findings there were, also those that the report does not hold one by one.
 * @param {string} lane
 * @param {any} figures
 * @param {import("./time_window.js").TimeWindow} time
 * @param {(ms: number) => number} x
 * @param {number} base
 */
function density(lane, figures, time, x, base) {
  const series = lane === "decision" ? null : figures.series.findings[lane].series;
  if (!series) return [];
  const most = Math.max(...series.count);
  const parts = series.count.flatMap((/** @type {number} */ count, /** @type {number} */ index) => {
    const from = series.start_ms + index * series.width_ms;
    const [start, stop] = [Math.max(from, time.from), Math.min(from + series.width_ms, time.to)];
    if (!count || stop <= start) return [];
    const high = 4 + (LANE_HEIGHT - 12) * (count / most);
    return [
      `M${x(start).toFixed(1)} ${base + LANE_HEIGHT - 3}V${(base + LANE_HEIGHT - 3 - high).toFixed(1)}H${Math.max(x(stop), x(start) + 1).toFixed(1)}V${base + LANE_HEIGHT - 3}Z`,
    ];
  });
  return [svg("path", { d: parts.join(""), class: `density ${lane}` })];
}

/**
 * Marks that would cover each other, taken together.
 * @param {{at: number, item: any}[]} marks
 * @param {import("./time_window.js").TimeWindow} time
 * @param {(ms: number) => number} x
 */
function clusters(marks, time, x) {
  /** @type {{x: number, from: number, to: number, items: any[]}[]} */
  const groups = [];
  for (const { at, item } of marks) {
    if (at < time.from || at > time.to) continue;
    const last = groups[groups.length - 1];
    if (last && x(at) - last.x < LANE_CLUSTER) {
      last.items.push(item);
      last.to = at;
    } else groups.push({ x: x(at), from: at, to: at, items: [item] });
  }
  return groups;
}

/**
 * @param {string} lane
 * @param {{x: number, from: number, to: number, items: any[]}} group
 * @param {number} base
 * @param {{findings: (group: any[]) => void, decision: (digest: string) => void}} open
 * @param {import("./time_window.js").TimeWindow} time
 */
function clusterMark(lane, group, base, open, time) {
  const count = group.items.length;
  const when = seconds(group.from, time.to - time.from);
  const what =
    lane === "decision"
      ? counted(count, "embedded decision")
      : `${counted(count, lane)}: ${spoken(group.items[0].kind)}${count > 1 ? " and more" : ""}`;
  const act = () => (lane === "decision" ? open.decision(group.items[0]) : open.findings(group.items));
  const shapes = {
    violation: "M-6 0 0 -7 6 0 0 7Z",
    warning: "M-6 5 0 -6 6 5Z",
    info: "M-4 -4H4V4H-4Z",
    decision: "M-2 -8H2V8H-2Z",
  };
  return svg(
    "g",
    {
      class: `finding ${lane}`,
      transform: `translate(${group.x.toFixed(1)} ${base + LANE_HEIGHT / 2})`,
      role: "button",
      tabindex: "0",
      "data-mark": `${lane} ${group.from}`,
      "aria-label": `${what} at ${when}`,
      onclick: act,
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        act();
        event.preventDefault();
      },
    },
    svg("title", {}, `${what} at ${when}`),
    svg("rect", { x: -8, y: -12, width: 16, height: 24, class: "reach" }),
    svg("path", { d: /** @type {any} */ (shapes)[lane] }),
  );
}

/**
 * Zoom into the span that a pointer is drawn over.
 * @param {SVGElement} picture
 * @param {import("./time_window.js").TimeWindow} time
 * @param {number} left
 * @param {number} inner
 * @param {number} height
 */
function drag(picture, time, left, inner, height) {
  let start = -1;
  const brush = svg("rect", { class: "brush", y: 0, height, width: 0 });
  picture.append(brush);
  const at = (/** @type {PointerEvent} */ event) => {
    const offset = event.clientX - picture.getBoundingClientRect().left;
    return Math.min(Math.max(offset, left), left + inner);
  };
  picture.addEventListener("pointerdown", (event) => {
    if (event.button === 0 && event.pointerType !== "touch") start = at(event);
  });
  picture.addEventListener("pointermove", (event) => {
    if (start < 0) return;
    const now = at(event);
    if (Math.abs(now - start) > 4 && !picture.hasPointerCapture(event.pointerId))
      picture.setPointerCapture(event.pointerId);
    brush.setAttribute("x", String(Math.min(start, now)));
    brush.setAttribute("width", String(Math.abs(now - start)));
  });
  picture.addEventListener("pointerup", (event) => {
    const [from, to] = [Math.min(start, at(event)), Math.max(start, at(event))];
    const drawn = start >= 0 && to - from > 4;
    start = -1;
    brush.setAttribute("width", "0");
    if (!drawn) return;
    const span = time.to - time.from;
    time.set(time.from + ((from - left) / inner) * span, time.from + ((to - left) / inner) * span);
  });
}
