/**
 * The log on the live page: its size and root, the newest checkpoint, checked here, and how far settlement went.
 * @module
 */
import { fillElement, h, mark, place } from "../ui/dom.js";
import { VerifyError, toHex } from "../verify/bytes.js";
import { makeCheck, openWithRegistry } from "../verify/record.js";

/** @type {{note: string, size: bigint, root: string, time: number} | null} */
let trusted = null;
let drawnFor = "";

/**
 * @param {{status: any, checkpoint: any, registry: import("../verify/registry.js").RegistryView | null}} live
 * @returns {void}
 */
export function showLog(live) {
  const now = `${live.status?.log_size} ${live.checkpoint?.note} ${live.registry !== null}`;
  if (now === drawnFor) return;
  drawnFor = now;
  void drawLog(live);
}

/** @param {{status: any, checkpoint: any, registry: import("../verify/registry.js").RegistryView | null}} live */
async function drawLog({ status, checkpoint, registry }) {
  /** @type {[string, any][]} */
  const facts = [];
  if (!status?.log_size) facts.push(["log", "nothing is logged"]);
  else facts.push(["leaves", String(status.log_size)], ["root", h("code", { class: "hash" }, status.log_root)]);
  let logged = false;
  if (checkpoint) {
    const check = registry
      ? await makeCheck("log", () => checkLogCheckpoint(checkpoint, registry))
      : { state: /** @type {const} */ ("open"), text: "no registry is here, so nobody stands for the log's key" };
    logged = check.state === "ok";
    const age = new Date(checkpoint.stamp_ms).toLocaleTimeString();
    facts.push(["checkpoint", [`${checkpoint.size} leaves at ${age} `, mark(check.state), h("br"), check.text]]);
  } else facts.push(["checkpoint", "none was heard"]);
  facts.push(["settlement", "not settled: the log is the robot's own, and no chain or witness was asked here"]);
  fillElement(place("log"), facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  const tile = place("tile-settlement");
  tile.textContent = logged ? "logged, not settled" : status?.log_size ? "log not verified" : "none";
  tile.className = "warn";
}

/**
 * Check a checkpoint's signature, and that it does not contradict the one before it.
 * @param {any} checkpoint
 * @param {import("../verify/registry.js").RegistryView} registry
 */
async function checkLogCheckpoint(checkpoint, registry) {
  const opened = await openWithRegistry(checkpoint.note, registry);
  const before = trusted;
  const root = toHex(opened.root);
  if (before && before.size === opened.size && before.root !== root) return forked(opened.size);
  if (before && before.size > opened.size && checkpoint.stamp_ms >= before.time) {
    return `signed by ${opened.origin}; the log was longer before (${before.size}): another log, or it was cut`;
  }
  trusted = { note: checkpoint.note, size: opened.size, root, time: checkpoint.stamp_ms };
  return `signed by ${opened.origin}`;
}

/**
 * @param {bigint} size
 * @returns {never}
 */
function forked(size) {
  throw new VerifyError(`two roots were signed for ${size} leaves: the log was forked`);
}
