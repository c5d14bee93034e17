/**
 * Draws messages: camera frames on a canvas, laser scans and twists as vector pictures, numbers as tables, the rest as
 * hex. All of it from the very bytes whose digest was checked.
 * @module
 */
import { append, h, svg } from "./dom.js";
import { counted, shortNumber } from "./format.js";
import { decodeMessage } from "./ros_messages.js";

const MAX_PIXELS = 40e6;
const MAX_SHOWN_NUMBERS = 24;

/**
 * @param {string} topic
 * @param {string} type
 * @param {Uint8Array} payload
 * @returns {HTMLElement}
 */
export function pictureOf(topic, type, payload) {
  const message = decodeMessage(type, payload);
  if (!message) return hexPicture(payload);
  if (message.kind === "image") return imagePicture(topic, message) || hexPicture(payload);
  if (message.kind === "compressed") return compressedPicture(topic, message, payload);
  if (message.kind === "scan") return scanPicture(topic, message);
  if (message.kind === "twist") return twistPicture(topic, message);
  return numbersPicture(message.rows);
}

/** How to read one pixel into red, green, blue of 0 to 255: bytes per pixel, and the reading. */
const ENCODINGS = {
  rgb8: [
    3,
    (/** @type {DataView} */ d, /** @type {number} */ i) => [d.getUint8(i), d.getUint8(i + 1), d.getUint8(i + 2)],
  ],
  bgr8: [
    3,
    (/** @type {DataView} */ d, /** @type {number} */ i) => [d.getUint8(i + 2), d.getUint8(i + 1), d.getUint8(i)],
  ],
  rgba8: [
    4,
    (/** @type {DataView} */ d, /** @type {number} */ i) => [d.getUint8(i), d.getUint8(i + 1), d.getUint8(i + 2)],
  ],
  bgra8: [
    4,
    (/** @type {DataView} */ d, /** @type {number} */ i) => [d.getUint8(i + 2), d.getUint8(i + 1), d.getUint8(i)],
  ],
  mono8: [1, (/** @type {DataView} */ d, /** @type {number} */ i) => [d.getUint8(i), d.getUint8(i), d.getUint8(i)]],
};
/** Encodings of one number per pixel, which are stretched from the least to the greatest. */
const DEPTHS = { mono16: 2, "16UC1": 2, "32FC1": 4 };

/**
 * @param {string} topic
 * @param {import("./ros_messages.js").ImageMessage} image
 * @returns {HTMLElement | null} null for an encoding that is not known here
 */
function imagePicture(topic, image) {
  const { width, height, step } = image;
  const encoding = image.encoding === "8UC1" ? "mono8" : image.encoding;
  const colour = Object.hasOwn(ENCODINGS, encoding) ? /** @type {any} */ (ENCODINGS)[encoding] : null;
  const size = colour ? colour[0] : Object.hasOwn(DEPTHS, encoding) ? /** @type {any} */ (DEPTHS)[encoding] : 0;
  const pixels = width * height;
  if (!size || !pixels || pixels > MAX_PIXELS || step < width * size || image.data.length < step * height) return null;
  const source = new DataView(image.data.buffer, image.data.byteOffset, image.data.byteLength);
  const target = new ImageData(width, height);
  let note = "";
  if (colour) {
    for (let y = 0, out = 0; y < height; y++) {
      for (let x = 0; x < width; x++, out += 4) {
        const [red, green, blue] = colour[1](source, y * step + x * size);
        target.data[out] = red;
        target.data[out + 1] = green;
        target.data[out + 2] = blue;
        target.data[out + 3] = 255;
      }
    }
  } else {
    const little = !image.bigEndian;
    const read = (/** @type {number} */ at) =>
      size === 2 ? source.getUint16(at, little) : source.getFloat32(at, little);
    let [low, high] = [Infinity, -Infinity];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const value = read(y * step + x * size);
        if (Number.isFinite(value)) [low, high] = [Math.min(low, value), Math.max(high, value)];
      }
    }
    for (let y = 0, out = 0; y < height; y++) {
      for (let x = 0; x < width; x++, out += 4) {
        const value = read(y * step + x * size);
        target.data.fill(high > low ? (255 * (value - low)) / (high - low) : 0, out, out + 3);
        target.data[out + 3] = 255;
      }
    }
    note = `, shown from ${shortNumber(low)} (black) to ${shortNumber(high)} (white)`;
  }
  const label = `Camera frame of ${topic}, ${width} by ${height} pixels`;
  const canvas = /** @type {HTMLCanvasElement} */ (h("canvas", { width, height, role: "img", "aria-label": label }));
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).putImageData(target, 0, 0);
  return h(
    "div",
    { class: "picture" },
    canvas,
    h("p", { class: "note" }, `${width} × ${height}, ${image.encoding}${note}`),
  );
}

/**
 * @param {string} topic
 * @param {import("./ros_messages.js").CompressedMessage} message
 * @param {Uint8Array} payload
 */
function compressedPicture(topic, message, payload) {
  const holder = h("div", { class: "picture" });
  createImageBitmap(new Blob([/** @type {BlobPart} */ (message.data)])).then(
    (bitmap) => {
      const { width, height } = bitmap;
      const label = `Camera frame of ${topic}, ${width} by ${height} pixels`;
      const canvas = /** @type {HTMLCanvasElement} */ (
        h("canvas", { width, height, role: "img", "aria-label": label })
      );
      /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).drawImage(bitmap, 0, 0);
      append(holder, [canvas, h("p", { class: "note" }, `${width} × ${height}, ${message.format}`)]);
    },
    () => holder.append(hexPicture(payload)),
  );
  return holder;
}

/**
 * @param {string} topic
 * @param {import("./ros_messages.js").ScanMessage} scan
 */
function scanPicture(topic, scan) {
  const valid = scan.ranges.filter(
    (range) => Number.isFinite(range) && range >= scan.rangeMin && range <= scan.rangeMax,
  );
  const [least, greatest] = valid.reduce(([low, high], r) => [Math.min(low, r), Math.max(high, r)], [Infinity, 0]);
  const reach = greatest * 1.08 || scan.rangeMax || 1;
  const at = (/** @type {number} */ angle, /** @type {number} */ range) => {
    const radius = (range / reach) * 96;
    // The sensor looks up the page: x ahead is up, y to the left is left.
    return [(-Math.sin(angle) * radius).toFixed(2), (-Math.cos(angle) * radius).toFixed(2)];
  };
  const dots = scan.ranges.slice(0, 20000).flatMap((range, index) => {
    if (!Number.isFinite(range) || range < scan.rangeMin || range > scan.rangeMax) return [];
    const [x, y] = at(scan.angleMin + index * scan.angleIncrement, range);
    return [`M${x} ${y}h0`];
  });
  const label = `Laser scan of ${topic}: ${valid.length} of ${scan.ranges.length} ranges within ${shortNumber(reach)} m`;
  const nearest = valid.length ? `, nearest ${shortNumber(least)} m` : "";
  return h(
    "div",
    { class: "picture" },
    svg(
      "svg",
      { viewBox: "-100 -100 200 200", class: "polar", role: "img", "aria-label": label },
      [0.25, 0.5, 0.75, 1].map((share) => svg("circle", { r: 96 * share, class: "grid" })),
      svg("path", { d: "M-96 0H96M0 -96V96", class: "grid" }),
      svg("path", { d: "M0 -7 4 4H-4Z", class: "robot" }),
      svg("path", { d: dots.join(""), class: "dots" }),
    ),
    h(
      "p",
      { class: "note" },
      `${valid.length} of ${scan.ranges.length} ranges in reach${nearest}; outer circle ${shortNumber(reach)} m`,
    ),
  );
}

/**
 * @param {string} topic
 * @param {import("./ros_messages.js").TwistMessage} twist
 */
function twistPicture(topic, twist) {
  const [vx, vy] = twist.linear;
  const turn = twist.angular[2];
  const speed = Math.hypot(vx, vy);
  const parts = [svg("circle", { r: 14, class: "grid" }), svg("path", { d: "M0 -7 4 4H-4Z", class: "robot" })];
  if (speed > 1e-6) {
    const length = 18 + 62 * Math.min(1, Math.sqrt(speed / 2));
    const degrees = (-Math.atan2(vy, vx) * 180) / Math.PI;
    parts.push(
      svg("path", { d: `M0 -16V${-length}m-6 8 6 -8 6 8`, class: "arrow", transform: `rotate(${degrees.toFixed(1)})` }),
    );
  }
  if (Math.abs(turn) > 1e-6) {
    const angle = Math.min(2.6, 0.25 + Math.abs(turn));
    const side = turn > 0 ? -1 : 1;
    const [x, y] = [side * 44 * Math.sin(angle), -44 * Math.cos(angle)];
    const tip = (side * angle * 180) / Math.PI + (side > 0 ? 90 : -90);
    parts.push(
      svg("path", { d: `M0 -44A44 44 0 0 ${side > 0 ? 1 : 0} ${x.toFixed(1)} ${y.toFixed(1)}`, class: "turn" }),
    );
    parts.push(
      svg("path", {
        d: "M-5 7 0 0 5 7",
        class: "turn",
        transform: `translate(${x.toFixed(1)} ${y.toFixed(1)}) rotate(${tip.toFixed(1)})`,
      }),
    );
  }
  const label = `Velocity on ${topic}: ${shortNumber(vx)} m/s ahead, ${shortNumber(turn)} rad/s turn to the left`;
  return h(
    "div",
    { class: "picture" },
    svg("svg", { viewBox: "-80 -88 160 110", class: "twist", role: "img", "aria-label": label }, parts),
    numbersPicture([
      ["linear, m/s", twist.linear],
      ["angular, rad/s", twist.angular],
    ]),
  );
}

/** @param {[string, number[]][]} rows */
function numbersPicture(rows) {
  return h(
    "table",
    { class: "numbers" },
    h(
      "tbody",
      {},
      rows.map(([name, values]) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, name),
          values.slice(0, MAX_SHOWN_NUMBERS).map((value) => h("td", {}, shortNumber(value))),
          values.length > MAX_SHOWN_NUMBERS && h("td", {}, `and ${values.length - MAX_SHOWN_NUMBERS} more`),
        ),
      ),
    ),
  );
}

/** @param {Uint8Array} payload */
function hexPicture(payload) {
  const lines = [];
  for (let at = 0; at < Math.min(payload.length, 96); at += 16) {
    const part = [...payload.subarray(at, at + 16)].map((value) => value.toString(16).padStart(2, "0"));
    lines.push(`${at.toString(16).padStart(4, "0")}  ${part.join(" ")}`);
  }
  if (payload.length > 96) lines.push("…");
  return h(
    "div",
    { class: "picture" },
    h(
      "p",
      { class: "note" },
      `This page draws no picture of this type, or its bytes are not of it. ${counted(payload.length, "byte")}:`,
    ),
    h(
      "pre",
      { class: "hex", tabindex: "0", role: "group", "aria-label": "Bytes of the message in hex" },
      lines.join("\n"),
    ),
  );
}
