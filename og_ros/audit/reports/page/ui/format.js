/**
 * Numbers and times in words.
 * @module
 */

/**
 * @param {bigint} nanoseconds since 1970
 * @returns {string}
 */
export function utcTime(nanoseconds) {
  const moment = new Date(Number(nanoseconds / 1000000n));
  return `${moment.toISOString().slice(0, 23).replace("T", " ")} UTC`;
}

/**
 * @param {bigint | number} nanoseconds
 * @returns {string}
 */
export function milliseconds(nanoseconds) {
  const value = Number(nanoseconds) / 1e6;
  return `${value.toFixed(value < 10 ? 2 : 1)} ms`;
}

/**
 * @param {bigint} nanoseconds of a clock that may be simulated
 * @returns {string}
 */
export function clockTime(nanoseconds) {
  return `${(Number(nanoseconds / 1000n) / 1e6).toFixed(3)} s`;
}

/**
 * A time in the recording, as seconds from its start.
 * @param {number} ms
 * @param {number} [span] ms that are shown, which says how many digits matter
 * @returns {string}
 */
export function seconds(ms, span = 1e4) {
  const digits = span < 2000 ? 3 : span < 20000 ? 2 : span < 200000 ? 1 : 0;
  return `${(ms / 1000).toFixed(digits)} s`;
}

/**
 * @param {number} count
 * @returns {string}
 */
export function bytesText(count) {
  if (count < 1024) return `${count} bytes`;
  if (count < 1024 * 1024) return `${(count / 1024).toFixed(1)} KiB`;
  return `${(count / 1024 / 1024).toFixed(1)} MiB`;
}

/**
 * @param {number} count
 * @param {string} noun
 * @returns {string}
 */
export function counted(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * @param {string} name with underscores
 * @returns {string}
 */
export function spoken(name) {
  return name.replaceAll("_", " ");
}

/**
 * Round numbers between two values, for an axis.
 * @param {number} low
 * @param {number} high
 * @param {number} count about so many
 * @returns {number[]}
 */
export function axisTicks(low, high, count) {
  const rough = (high - low) / Math.max(count, 1);
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough) || rough;
  const ticks = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) ticks.push(value);
  return ticks;
}

/**
 * @param {number} value
 * @returns {string} with about three digits that count
 */
export function shortNumber(value) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "−∞" : "not a number";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2);
  return String(Number(value.toFixed(size >= 100 ? 1 : size >= 1 ? 3 : 5)));
}
