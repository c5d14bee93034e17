/**
 * Decodes a few ROS message types from their CDR bytes (plain CDR, either byte order), for showing them.
 * @module
 */
import { VerifyError, fromUtf8 } from "../verify/bytes.js";

/**
 * @typedef {{kind: "image", width: number, height: number, encoding: string, step: number, bigEndian: boolean,
 *   data: Uint8Array, frame: string}} ImageMessage
 * @typedef {{kind: "compressed", format: string, data: Uint8Array, frame: string}} CompressedMessage
 * @typedef {{kind: "scan", angleMin: number, angleIncrement: number, rangeMin: number, rangeMax: number,
 *   ranges: number[], frame: string}} ScanMessage
 * @typedef {{kind: "twist", linear: number[], angular: number[], frame: string}} TwistMessage
 * @typedef {{kind: "numbers", rows: [string, number[]][], frame: string}} NumbersMessage
 * @typedef {ImageMessage | CompressedMessage | ScanMessage | TwistMessage | NumbersMessage} Decoded
 */

const MAX_ITEMS = 1 << 26;

/** Reads a CDR payload front to back. */
class CdrReader {
  /** @param {Uint8Array} payload */
  constructor(payload) {
    if (payload.length < 4 || payload[0] !== 0 || payload[1] > 1) throw new VerifyError("not plain CDR");
    this.little = payload[1] === 1;
    this.body = payload.subarray(4);
    this.view = new DataView(this.body.buffer, this.body.byteOffset, this.body.byteLength);
    this.at = 0;
  }

  /**
   * @param {number} size
   * @param {number} [alignment]
   * @returns {number} where the bytes begin
   */
  take(size, alignment = 1) {
    const start = this.at + ((alignment - (this.at % alignment)) % alignment);
    if (start + size > this.body.length) throw new VerifyError("a truncated message");
    this.at = start + size;
    return start;
  }

  u8() {
    return this.view.getUint8(this.take(1));
  }

  u32() {
    return this.view.getUint32(this.take(4, 4), this.little);
  }

  f32() {
    return this.view.getFloat32(this.take(4, 4), this.little);
  }

  f64() {
    return this.view.getFloat64(this.take(8, 8), this.little);
  }

  text() {
    const size = this.u32();
    const start = this.take(size);
    return fromUtf8(this.body.subarray(start, start + Math.max(size - 1, 0)));
  }

  bytes() {
    const size = this.u32();
    const start = this.take(size);
    return this.body.subarray(start, start + size);
  }

  /**
   * @param {4 | 8} width of each number in bytes
   * @param {number} [count] of them; read first where it is not given
   * @returns {number[]}
   */
  floats(width, count = this.u32()) {
    if (count * width > this.body.length || count > MAX_ITEMS) throw new VerifyError("a truncated message");
    return Array.from({ length: count }, () => (width === 4 ? this.f32() : this.f64()));
  }

  /** Skips the stamp of a std_msgs/Header. @returns {string} its frame */
  header() {
    this.u32();
    this.u32();
    return this.text();
  }
}

/** @type {Record<string, (reader: CdrReader) => Decoded>} */
const DECODERS = {
  "sensor_msgs/msg/Image": (r) => {
    const frame = r.header();
    const [height, width, encoding] = [r.u32(), r.u32(), r.text()];
    const bigEndian = r.u8() !== 0;
    const step = r.u32();
    return { kind: "image", frame, height, width, encoding, bigEndian, step, data: r.bytes() };
  },
  "sensor_msgs/msg/CompressedImage": (r) => {
    const frame = r.header();
    return { kind: "compressed", frame, format: r.text(), data: r.bytes() };
  },
  "sensor_msgs/msg/LaserScan": (r) => {
    const frame = r.header();
    const [angleMin, , angleIncrement] = [r.f32(), r.f32(), r.f32()];
    r.f32();
    r.f32();
    const [rangeMin, rangeMax] = [r.f32(), r.f32()];
    return { kind: "scan", frame, angleMin, angleIncrement, rangeMin, rangeMax, ranges: r.floats(4) };
  },
  "geometry_msgs/msg/Twist": (r) => twist(r, ""),
  "geometry_msgs/msg/TwistStamped": (r) => twist(r, r.header()),
  "std_msgs/msg/Float32MultiArray": (r) => multiArray(r, 4),
  "std_msgs/msg/Float64MultiArray": (r) => multiArray(r, 8),
  "std_msgs/msg/Float32": (r) => ({ kind: "numbers", frame: "", rows: [["data", [r.f32()]]] }),
  "std_msgs/msg/Float64": (r) => ({ kind: "numbers", frame: "", rows: [["data", [r.f64()]]] }),
  "nav_msgs/msg/Odometry": (r) => {
    const frame = `${r.header()} to ${r.text()}`;
    const position = r.floats(8, 3);
    const orientation = r.floats(8, 4);
    r.floats(8, 36);
    const [linear, angular] = [r.floats(8, 3), r.floats(8, 3)];
    return {
      kind: "numbers",
      frame,
      rows: [
        ["position, m", position],
        ["orientation x y z w", orientation],
        ["linear, m/s", linear],
        ["angular, rad/s", angular],
      ],
    };
  },
};

/**
 * @param {CdrReader} reader
 * @param {string} frame
 * @returns {TwistMessage}
 */
function twist(reader, frame) {
  return { kind: "twist", frame, linear: reader.floats(8, 3), angular: reader.floats(8, 3) };
}

/**
 * @param {CdrReader} reader
 * @param {4 | 8} width
 * @returns {NumbersMessage}
 */
function multiArray(reader, width) {
  for (let left = reader.u32(); left > 0; left--) {
    reader.text();
    reader.u32();
    reader.u32();
  }
  reader.u32();
  return { kind: "numbers", frame: "", rows: [["data", reader.floats(width)]] };
}

/**
 * @param {string} type such as sensor_msgs/msg/Image
 * @param {Uint8Array} payload
 * @returns {Decoded | null} null for a type that is not known here, or bytes that are not of it
 */
export function decodeMessage(type, payload) {
  const decoder = Object.hasOwn(DECODERS, type) ? DECODERS[type] : null;
  if (!decoder) return null;
  try {
    return decoder(new CdrReader(payload));
  } catch (error) {
    if (error instanceof VerifyError || error instanceof RangeError) return null;
    throw error;
  }
}
