/**
 * The live page: listens to the watch process, verifies what it shows, and draws it.
 * @module
 */
import { fillElement, h, place } from "../ui/dom.js";
import { counted } from "../ui/format.js";
import { openRegistry } from "../verify/registry.js";
import { fromBase64 } from "../verify/bytes.js";
import { showFindings, takeFinding, forgetFindings, startFindings } from "./live_findings.js";
import { showGate, takeRefusal, forgetRefusals } from "./live_gate.js";
import { showLog } from "./live_log.js";
import { showStages, takeLatency, forgetLatencies } from "./live_stages.js";
import { startPause, takeChain } from "./live_records.js";

const HEADLINES = {
  no_data: "No decision yet",
  holds: "The decision chain holds",
  degraded: "Some decisions are not linked",
  violated: "The decision chain is violated",
};
const SENTENCES = {
  no_data: "The auditor runs and has seen no attestation.",
  holds: "No violation since the auditor started, and decisions are traced back to the sensors' messages.",
  degraded: "No violation, but not every decision could be traced back to sensor data.",
  violated: "At least one violation since the auditor started; the findings name it.",
};
const SILENT_MS = 3000;

const live = {
  /** @type {any} */ status: null,
  /** @type {any} */ checkpoint: null,
  /** @type {any} */ about: null,
  /** @type {import("../verify/registry.js").RegistryView | null} */ registry: null,
  registryProblem: "",
  heardAt: 0,
  connected: false,
  announced: "",
};

/** @returns {Promise<void>} */
async function loadRegistry() {
  try {
    const answer = await fetch("registry.json", { cache: "no-store" });
    const files = new Map(Object.entries(await answer.json()).map(([path, data]) => [path, fromBase64(String(data))]));
    if (files.size) live.registry = await openRegistry(files);
    else live.registryProblem = "og-ros watch was started without --registry, so no signature can be checked";
  } catch (error) {
    live.registryProblem = `the registry does not hold here: ${error instanceof Error ? error.message : error}`;
  }
  const wanted = new URLSearchParams(location.hash.slice(1)).get("root");
  if (live.registry && wanted && wanted !== live.registry.fingerprint) {
    live.registryProblem = `the registry's root is ${live.registry.fingerprint}, not the one in this page's address`;
    live.registry = null;
  }
}

function showVerdict() {
  const { status } = live;
  const silent = Date.now() - live.heardAt > SILENT_MS;
  const section = place("verdict");
  const state = status && HEADLINES[/** @type {keyof typeof HEADLINES} */ (status.state)] ? status.state : "no_data";
  const classes = { holds: "holds", violated: "violated", degraded: "not_checked", no_data: "not_checked" };
  const known = status ? HEADLINES[/** @type {keyof typeof HEADLINES} */ (state)] : "Waiting for the auditor";
  const gone = !live.connected || (status && silent);
  // A violation that was seen does not go away because nobody speaks any more; good news does.
  const headline = gone && state !== "violated" ? "No word from the robot" : known;
  section.className = `verdict ${gone && state !== "violated" ? "not_checked" : classes[/** @type {keyof typeof classes} */ (state)]}`;
  setText("headline", headline);
  document.title = `${headline} · og_ros watch`;
  if (status) setText("sentence", SENTENCES[/** @type {keyof typeof SENTENCES} */ (state)]);
  const heard = live.heardAt ? `${((Date.now() - live.heardAt) / 1000).toFixed(0)} s ago` : "never";
  const [link, from] = [live.connected ? "Connected" : "Not connected to og-ros watch", live.about?.auditor ?? "the auditor"];
  setText("connection", `${link}; ${from} last heard ${silent ? heard : "now"}.`);
  document.documentElement.dataset.state = gone ? "silent" : state;
  if (headline !== live.announced) setText("announce", (live.announced = headline));
}

/** Change a text only where it differs, so that a reader's selection and place stay.
 * @param {string} id
 * @param {string} text
 * @param {string} [kind]
 */
function setText(id, text, kind) {
  const element = place(id);
  if (element.textContent !== text) element.textContent = text;
  if (kind !== undefined && element.className !== kind) element.className = kind;
}

function showTiles() {
  const { status } = live;
  if (!status) return;
  setText("robot", status.robot ? `· ${status.robot}` : "");
  setText("tile-linked", `${status.linked} of ${status.decisions}`);
  setText("tile-latency", status.chain_latency_ms === null ? "–" : `${status.chain_latency_ms.toFixed(1)} ms`);
  setText("tile-violations", String(status.violations), status.violations ? "bad" : "ok");
  setText("tile-warnings", String(status.warnings), status.warnings ? "warn" : "");
}

/** @param {{checked: number, problems: string[], open: string[], unreadable: number}} outcome */
function showVerification(outcome) {
  const { registry } = live;
  const bad = outcome.problems.length > 0;
  const open = !bad && (outcome.open.length > 0 || !registry);
  place("verification").className = `banner ${bad ? "bad" : open ? "open" : "ok"}`;
  const what = counted(outcome.checked, "record");
  const text = bad
    ? `${counted(outcome.problems.length, "check")} of the newest decision failed in this browser.`
    : open
      ? `Not verified by this browser: ${live.registryProblem || outcome.open[0]}.`
      : `Verified in this browser: ${what} of the newest decision.`;
  const root = registry && [" Registry root ", h("code", { class: "hash" }, registry.fingerprint), "."];
  fillElement(place("verified"), h("strong", {}, text), root);
  const list = place("problems");
  list.hidden = !bad;
  fillElement(list, outcome.problems.map((problem) => h("li", {}, problem)));
  place("verification").dataset.state = bad ? "bad" : open ? "open" : "ok";
}

/** @type {Record<string, (data: any) => void>} */
const EVENTS = {
  begin() {
    forgetFindings();
    forgetRefusals();
    forgetLatencies();
    live.status = null;
  },
  about(data) {
    live.about = data;
  },
  status(data) {
    live.status = data;
    live.heardAt = Date.now();
    takeLatency(data);
    showTiles();
    showVerdict();
    showStages(data);
    showLog(live);
  },
  checkpoint(data) {
    live.checkpoint = data;
    showLog(live);
  },
  finding(data) {
    takeFinding(data);
    // The status follows within half a second; nobody should wait for it.
    if (data.severity === "violation" && live.status && live.status.state !== "violated") {
      live.status.state = "violated";
      showVerdict();
    }
    showFindings();
  },
  gate: showGate,
  refusal: takeRefusal,
  chain(data) {
    void takeChain(data, live).then((outcome) => {
      if (!outcome) return;
      showVerification(outcome);
      if (live.status) showStages(live.status);
    });
  },
};

async function start() {
  startFindings();
  startPause();
  await loadRegistry();
  const source = new EventSource("events");
  source.onopen = () => {
    live.connected = true;
    showVerdict();
  };
  source.onerror = () => {
    live.connected = false;
    showVerdict();
  };
  for (const [name, take] of Object.entries(EVENTS)) {
    source.addEventListener(name, (event) => take(JSON.parse(/** @type {MessageEvent} */ (event).data)));
  }
  setInterval(showVerdict, 500);
}

void start();
