/**
 * Latency and rate over time, each bin with its least, mean and greatest value, so that no spike is smoothed away.
 * @module
 */
import { fillElement, h, onWidth, place, svg } from "./dom.js";
import { axisTicks, seconds, shortNumber } from "./format.js";

const PLOT_HEIGHT = 104;
const PLOT_LEFT = 46;
const PLOT_RIGHT = 10;
const PLOT_TOP = 8;
const PLOT_BOTTOM = 20;

/**
 * @param {any} figures
 * @param {import("./time_window.js").TimeWindow} time
 */
export function startPlots(figures, time) {
  const { series } = figures;
  const blocks = [];
  if (series.latency_ms) {
    blocks.push(plotPair("Decisions: from sensor to command", series.latency_ms, "Decisions", time));
  }
  for (const [stage, { duration_ms: durations }] of Object.entries(series.stages)) {
    blocks.push(plotPair(`Stage ${stage}: an inference`, durations, "Inferences", time));
  }
  if (series.stages_not_shown)
    blocks.push(h("p", { class: "note" }, `${series.stages_not_shown} inferences of further stages are not plotted.`));
  fillElement(
    place("plots"),
    blocks.length ? blocks : h("p", {}, "Nothing was attested, so there is nothing to plot."),
  );
}

/**
 * @param {string} title
 * @param {any} series
 * @param {string} counted
 * @param {import("./time_window.js").TimeWindow} time
 */
function plotPair(title, series, counted, time) {
  return h(
    "div",
    { class: "pair" },
    plot(`${title}, ms`, series, series, time, "envelope"),
    rates(`${counted} per second`, series, time),
  );
}

/**
 * Rates over bins of a second at least, where the run is long enough: a bin of few samples would only show its own edges.
 * @param {string} title
 * @param {any} series
 * @param {import("./time_window.js").TimeWindow} time
 */
function rates(title, series, time) {
  const wide = Math.min(1000, (series.count.length * series.width_ms) / 12);
  const together = Math.max(1, Math.round(wide / series.width_ms));
  const width = series.width_ms * together;
  /** @type {number[]} */
  const count = [];
  for (let index = 0; index < series.count.length; index++) {
    const at = Math.floor(index / together);
    count[at] = (count[at] || 0) + series.count[index];
  }
  const value = count.map((samples) => (samples * 1000) / width);
  const bins = { start_ms: series.start_ms, width_ms: width, count };
  return plot(title, bins, { mean: value, least: value, greatest: value }, time, "steps");
}

/**
 * @param {string} title
 * @param {any} bins
 * @param {{mean: (number | null)[], least: (number | null)[], greatest: (number | null)[]}} values
 * @param {import("./time_window.js").TimeWindow} time
 * @param {"envelope" | "steps"} form
 */
function plot(title, bins, values, time, form) {
  const holder = h("div", { class: "canvas" });
  const readout = h("span", { class: "readout" });
  let width = 0;
  const at = (/** @type {number} */ index) => bins.start_ms + index * bins.width_ms;
  const draw = () => fillElement(holder, drawPlot(title, width, bins, values, time, form, at));
  onWidth(holder, (found) => {
    width = found;
    draw();
  });
  time.listeners.push(() => width && draw());
  holder.addEventListener("pointermove", (event) => {
    const offset = event.clientX - holder.getBoundingClientRect().left - PLOT_LEFT;
    const ms = time.from + (offset / Math.max(width - PLOT_LEFT - PLOT_RIGHT, 1)) * (time.to - time.from);
    const index = Math.floor((ms - bins.start_ms) / bins.width_ms);
    const mean = values.mean[index];
    if (mean === null || mean === undefined) readout.textContent = "";
    else if (form === "steps")
      readout.textContent = `${shortNumber(mean)} at ${seconds(at(index), time.to - time.from)}`;
    else
      readout.textContent = `${shortNumber(values.least[index] || 0)} to ${shortNumber(values.greatest[index] || 0)}, mean ${shortNumber(mean)} at ${seconds(at(index), time.to - time.from)}`;
  });
  holder.addEventListener("pointerleave", () => (readout.textContent = ""));
  return h("figure", { class: "series" }, h("figcaption", {}, title, readout), holder);
}

/**
 * @param {string} title
 * @param {number} width
 * @param {any} bins
 * @param {any} values
 * @param {import("./time_window.js").TimeWindow} time
 * @param {string} form
 * @param {(index: number) => number} at
 */
function drawPlot(title, width, bins, values, time, form, at) {
  const inner = Math.max(width - PLOT_LEFT - PLOT_RIGHT, 20);
  const x = (/** @type {number} */ ms) => PLOT_LEFT + time.x(ms, inner);
  const shown = bins.count
    .map((/** @type {number} */ _, /** @type {number} */ index) => index)
    .filter(
      (/** @type {number} */ index) =>
        values.mean[index] !== null && at(index) + bins.width_ms > time.from && at(index) < time.to,
    );
  // The first and last bin are cut by the recording's ends: a rate of half a bin would look like a fall.
  const whole =
    form === "steps" && shown.length > 2
      ? shown.slice(0, shown[shown.length - 1] === bins.count.length - 1 ? -1 : undefined)
      : shown;
  const high = Math.max(...whole.map((/** @type {number} */ index) => values.greatest[index]), 1e-9) * 1.08;
  const low = Math.min(0, ...whole.map((/** @type {number} */ index) => values.least[index]));
  const y = (/** @type {number} */ value) =>
    PLOT_TOP + (PLOT_HEIGHT - PLOT_TOP - PLOT_BOTTOM) * (1 - (value - low) / (high - low));
  const means = whole.map((/** @type {number} */ index) => values.mean[index]);
  const mean =
    means.reduce((/** @type {number} */ sum, /** @type {number} */ value) => sum + value, 0) /
    Math.max(means.length, 1);
  const label = whole.length
    ? `${title}: ${shortNumber(Math.min(...whole.map((/** @type {number} */ i) => values.least[i])))} to ${shortNumber(high / 1.08)}, mean ${shortNumber(mean)}`
    : `${title}: nothing in this span`;
  const clip = `clip-${Math.random().toString(36).slice(2)}`;
  const picture = svg("svg", {
    width,
    height: PLOT_HEIGHT,
    viewBox: `0 0 ${width} ${PLOT_HEIGHT}`,
    role: "img",
    "aria-label": label,
    class: "plot",
  });
  picture.append(svg("clipPath", { id: clip }, svg("rect", { x: PLOT_LEFT, y: 0, width: inner, height: PLOT_HEIGHT })));
  for (const tick of axisTicks(low, high, 3)) {
    picture.append(
      svg("path", { d: `M${PLOT_LEFT} ${y(tick)}H${PLOT_LEFT + inner}`, class: "grid" }),
      svg("text", { x: PLOT_LEFT - 6, y: y(tick) + 4, class: "tick end" }, shortNumber(tick)),
    );
  }
  for (const tick of axisTicks(time.from / 1000, time.to / 1000, inner / 90)) {
    picture.append(
      svg("text", { x: x(tick * 1000), y: PLOT_HEIGHT - 5, class: "tick" }, seconds(tick * 1000, time.to - time.from)),
    );
  }
  const body = svg("g", { "clip-path": `url(#${clip})` });
  const edges = (/** @type {number} */ index) => [x(at(index)).toFixed(1), x(at(index) + bins.width_ms).toFixed(1)];
  if (form === "envelope") {
    const parts = whole.map((/** @type {number} */ index) => {
      const [start, stop] = edges(index);
      const [top, bottom] = [
        y(values.greatest[index]),
        Math.max(y(values.least[index]), y(values.greatest[index]) + 1),
      ];
      return `M${start} ${top.toFixed(1)}H${stop}V${bottom.toFixed(1)}H${start}Z`;
    });
    body.append(svg("path", { d: parts.join(""), class: "band" }));
  }
  let line = "";
  whole.forEach((/** @type {number} */ index, /** @type {number} */ n) => {
    const [start, stop] = edges(index);
    const joined = n > 0 && whole[n - 1] === index - 1;
    const value = y(values.mean[index]).toFixed(1);
    if (form === "steps") line += `${joined ? "L" : "M"}${start} ${value}H${stop}`;
    else line += `${joined ? "L" : "M"}${((Number(start) + Number(stop)) / 2).toFixed(1)} ${value}`;
  });
  body.append(svg("path", { d: line, class: "line" }));
  picture.append(body);
  return picture;
}
