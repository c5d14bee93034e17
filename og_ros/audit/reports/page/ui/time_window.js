/**
 * The span of time that timeline, plots and findings show together, and the buttons and keys that change it.
 * @module
 */
import { fillElement, place } from "./dom.js";
import { seconds } from "./format.js";

/** A span within the recording, in ms from its start. */
export class TimeWindow {
  /** @param {number} length of the recording, ms */
  constructor(length) {
    this.length = Math.max(length, 1);
    this.from = 0;
    this.to = this.length;
    /** @type {(() => void)[]} */
    this.listeners = [];
  }

  get whole() {
    return this.from === 0 && this.to === this.length;
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  set(from, to) {
    const least = Math.min(this.length, 20);
    const span = Math.min(Math.max(to - from, least), this.length);
    this.from = Math.min(Math.max(from, 0), this.length - span);
    this.to = this.from + span;
    for (const listener of this.listeners) listener();
  }

  /** @param {number} factor above 1: a longer span */
  zoom(factor) {
    const [middle, half] = [(this.from + this.to) / 2, ((this.to - this.from) / 2) * factor];
    this.set(middle - half, middle + half);
  }

  /** @param {number} share of the span; below 0: earlier */
  move(share) {
    const by = (this.to - this.from) * share;
    this.set(this.from + by, this.to + by);
  }

  reset() {
    this.set(0, this.length);
  }

  /**
   * @param {number} ms
   * @param {number} width
   * @returns {number} where a time is on a picture of a width
   */
  x(ms, width) {
    return ((ms - this.from) / (this.to - this.from)) * width;
  }
}

/**
 * Connect a window with its buttons, and with the keys of the timeline.
 * @param {TimeWindow} time
 */
export function startTimeControls(time) {
  /** @type {[string, () => void][]} */
  const buttons = [
    ["time-earlier", () => time.move(-0.5)],
    ["time-later", () => time.move(0.5)],
    ["time-in", () => time.zoom(0.5)],
    ["time-out", () => time.zoom(2)],
    ["time-whole", () => time.reset()],
  ];
  for (const [id, act] of buttons) place(id).addEventListener("click", act);
  /** @type {Record<string, () => void>} */
  const keys = {
    ArrowLeft: () => time.move(-0.2),
    ArrowRight: () => time.move(0.2),
    "+": () => time.zoom(0.5),
    "=": () => time.zoom(0.5),
    "-": () => time.zoom(2),
    Home: () => time.reset(),
  };
  place("timeline").addEventListener("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
    if (!act) return;
    act();
    event.preventDefault();
  });
  const show = () => {
    const span = time.to - time.from;
    fillElement(
      place("time-shown"),
      `${seconds(time.from, span)} to ${seconds(time.to, span)} of ${seconds(time.length)}`,
    );
    /** @type {HTMLButtonElement} */ (place("time-whole")).disabled = time.whole;
    /** @type {HTMLButtonElement} */ (place("time-out")).disabled = time.whole;
    /** @type {HTMLButtonElement} */ (place("time-earlier")).disabled = time.from === 0;
    /** @type {HTMLButtonElement} */ (place("time-later")).disabled = time.to === time.length;
  };
  time.listeners.push(show);
  show();
}
