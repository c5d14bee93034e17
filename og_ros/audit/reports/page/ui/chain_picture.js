/**
 * The chain picture: sensors, stages and commands, with what flowed between them, drawn from left to right on a wide
 * screen and from top to bottom on a narrow one.
 * @module
 */
import { fillElement, onWidth, place, svg } from "./dom.js";
import { spoken } from "./format.js";

/**
 * @typedef {object} GraphNode
 * @property {string} id
 * @property {"sensor" | "stage" | "topic" | "command"} kind
 * @property {string} title
 * @property {string[]} lines
 * @property {number} layer
 * @property {boolean} troubled
 */

const SHOWN_PER_LAYER = 8;

/**
 * @param {any} figures
 * @param {any} report
 */
export function startChainPicture(figures, report) {
  const holder = place("chain-picture");
  const graph = makeGraph(figures, report);
  if (!graph.nodes.length) {
    fillElement(holder, "Nothing was attested, so there is no chain to draw.");
    return;
  }
  onWidth(holder, (width) => fillElement(holder, drawGraph(graph, width)));
}

/**
 * @param {any} figures
 * @param {any} report
 * @returns {{nodes: GraphNode[], edges: [string, string][], words: string, hidden: number}}
 */
function makeGraph(figures, report) {
  /** @type {Map<string, GraphNode>} */
  const nodes = new Map();
  /** @type {[string, string][]} */
  const edges = [];
  const stages = Object.entries(figures.series.stages);
  const made = new Set(stages.flatMap(([, stage]) => Object.keys(stage.outputs)));
  const readBy = new Map();
  for (const [name, stage] of stages) {
    for (const topic of Object.keys(stage.inputs)) {
      if (!(topic in stage.outputs)) readBy.set(topic, [...(readBy.get(topic) || []), name]);
    }
  }
  const trouble = new Set(
    (report ? report.findings : [])
      .filter((/** @type {any} */ f) => f.severity === "violation")
      .flatMap((/** @type {any} */ f) => [f.stage, f.topic]),
  );
  const topicNode = (/** @type {string} */ topic) => {
    const tally = (report && report.topics[topic]) || { messages: 0, missing: 0 };
    const kind = !made.has(topic) ? "sensor" : readBy.has(topic) ? "topic" : "command";
    const lines = [`${tally.messages} messages${tally.missing ? `, ${tally.missing} missing` : ""}`];
    nodes.set(`t ${topic}`, { id: `t ${topic}`, kind, title: topic, lines, layer: 0, troubled: trouble.has(topic) });
  };
  for (const [name, stage] of stages) {
    const durations = stage.duration_ms;
    const count = durations.count.reduce((/** @type {number} */ sum, /** @type {number} */ n) => sum + n, 0);
    const total = durations.mean.reduce(
      (/** @type {number} */ sum, /** @type {number | null} */ mean, /** @type {number} */ i) =>
        sum + (mean || 0) * durations.count[i],
      0,
    );
    const most = Math.max(...durations.greatest.filter((/** @type {number | null} */ value) => value !== null));
    const level = (/** @type {string} */ axis) => spoken((report && report.levels[axis].stages[name]) || "unknown");
    const lines = [
      `${count} inferences`,
      `${(total / count).toFixed(1)}, max ${most.toFixed(1)} ms`,
      `${level("inference_authenticity")}, ${level("settlement")}`,
      `model ${level("model_integrity")}`,
    ];
    nodes.set(`s ${name}`, {
      id: `s ${name}`,
      kind: "stage",
      title: name,
      lines,
      layer: 0,
      troubled: trouble.has(name),
    });
    for (const topic of [...Object.keys(stage.inputs), ...Object.keys(stage.outputs)])
      if (!nodes.has(`t ${topic}`)) topicNode(topic);
    for (const topic of Object.keys(stage.inputs))
      if (!(topic in stage.outputs)) edges.push([`t ${topic}`, `s ${name}`]);
    for (const topic of Object.keys(stage.outputs)) edges.push([`s ${name}`, `t ${topic}`]);
  }
  const kept = layer(nodes, edges);
  const words = stages.map(
    ([name, stage]) =>
      `${name} reads ${Object.keys(stage.inputs).join(", ")} and writes ${Object.keys(stage.outputs).join(", ")}`,
  );
  return { nodes: kept, edges, words: `${words.join("; ")}.`, hidden: nodes.size - kept.length };
}

/**
 * Give each node the length of the longest way to it, where a way back counts for nothing; drop what does not fit.
 * @param {Map<string, GraphNode>} nodes
 * @param {[string, string][]} edges
 */
export function layer(nodes, edges) {
  /** @type {Map<string, number>} */
  const known = new Map();
  /** @type {(id: string, open: Set<string>) => number} */
  const depth = (id, open) => {
    const found = known.get(id);
    if (found !== undefined) return found;
    const before = edges
      .filter(([from, to]) => to === id && !open.has(from))
      .map(([from]) => depth(from, new Set([...open, id])));
    const value = before.length ? Math.max(...before) + 1 : 0;
    if (!open.size) known.set(id, value);
    return value;
  };
  if (nodes.size <= 200) for (const node of nodes.values()) node.layer = depth(node.id, new Set());
  // A sensor stands right before the first stage that reads it.
  for (const node of nodes.values()) {
    if (node.kind !== "sensor") continue;
    const readers = edges
      .filter(([from]) => from === node.id)
      .map(([, to]) => /** @type {GraphNode} */ (nodes.get(to)).layer);
    node.layer = Math.max(0, Math.min(...readers) - 1);
  }
  const filled = new Map();
  const used = [...new Set([...nodes.values()].map((node) => node.layer))].sort((a, b) => a - b);
  return [...nodes.values()].filter((node) => {
    node.layer = used.indexOf(node.layer);
    filled.set(node.layer, (filled.get(node.layer) || 0) + 1);
    return filled.get(node.layer) <= SHOWN_PER_LAYER && node.layer < 16;
  });
}

/**
 * @param {{nodes: GraphNode[], edges: [string, string][], words: string, hidden: number}} graph
 * @param {number} width
 */
export function drawGraph(graph, width) {
  const layers = Math.max(...graph.nodes.map((node) => node.layer)) + 1;
  const across = width / layers >= 128;
  const sizes = Array.from({ length: layers }, (_, n) => graph.nodes.filter((node) => node.layer === n).length);
  const most = Math.max(...sizes);
  const gap = across ? Math.min(30, width / layers / 6) : 10;
  const boxWidth = across
    ? (width - 2 - gap * (layers - 1)) / layers
    : Math.min(220, (width - 2 - gap * (most - 1)) / most);
  const boxHeight = 86;
  const between = across ? 16 : 30;
  const height = across ? most * (boxHeight + between) - between + 2 : layers * (boxHeight + between) - between + 2;
  /** @type {Map<string, {x: number, y: number, node: GraphNode}>} */
  const places = new Map();
  const counts = Array(layers).fill(0);
  for (const node of graph.nodes) {
    const n = counts[node.layer]++;
    const free = across
      ? height - 2 - (sizes[node.layer] * (boxHeight + between) - between)
      : width - 2 - (sizes[node.layer] * (boxWidth + gap) - gap);
    const [x, y] = across
      ? [node.layer * (boxWidth + gap), free / 2 + n * (boxHeight + between)]
      : [free / 2 + n * (boxWidth + gap), node.layer * (boxHeight + between)];
    places.set(node.id, { x: x + 1, y: y + 1, node });
  }
  const picture = svg("svg", {
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-label": `The chain of stages: ${graph.words}`,
    class: "graph",
  });
  for (const [from, to] of graph.edges) {
    const [a, b] = [places.get(from), places.get(to)];
    if (a && b)
      picture.append(
        svg("path", {
          d: edgePath(a, b, across, boxWidth, boxHeight),
          class: b.node.layer <= a.node.layer ? "edge back" : "edge",
        }),
      );
  }
  for (const { x, y, node } of places.values()) picture.append(drawNode(node, x, y, boxWidth, boxHeight));
  return picture;
}

/**
 * @param {{x: number, y: number}} a
 * @param {{x: number, y: number}} b
 * @param {boolean} across
 * @param {number} width
 * @param {number} height
 */
function edgePath(a, b, across, width, height) {
  if (across) {
    const [x1, y1, x2, y2] = [a.x + width, a.y + height / 2, b.x, b.y + height / 2];
    const bend = Math.max((x2 - x1) / 2, 12);
    return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
  }
  const [x1, y1, x2, y2] = [a.x + width / 2, a.y + height, b.x + width / 2, b.y];
  const bend = Math.max((y2 - y1) / 2, 10);
  return `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`;
}

/**
 * @param {GraphNode} node
 * @param {number} x
 * @param {number} y
 * @param {number} width
 * @param {number} height
 */
function drawNode(node, x, y, width, height) {
  const words = { sensor: "sensor", stage: "stage", topic: "topic", command: "command" };
  const font = "600 12.5px system-ui, sans-serif";
  // A topic's name breaks at a slash; the end of what still does not fit says more than its beginning.
  const slash = node.title.lastIndexOf("/");
  const whole = fitText(node.title, font, width - 18, false) === node.title;
  const titles =
    whole || node.kind === "stage" || slash < 1 ? [node.title] : [node.title.slice(0, slash), node.title.slice(slash)];
  return svg(
    "g",
    {
      class: `node ${node.kind}${node.troubled ? " troubled" : ""}`,
      transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`,
    },
    svg("title", {}, `${words[node.kind]} ${node.title}: ${node.lines.filter(Boolean).join(", ")}`),
    svg("rect", { width: width.toFixed(1), height, rx: node.kind === "stage" ? 3 : 14 }),
    svg(
      "text",
      { x: 10, y: 16, class: "kind" },
      node.troubled ? `${node.kind === "stage" ? "stage · " : ""}violation` : words[node.kind],
    ),
    titles.map((title, index) =>
      svg(
        "text",
        { x: 10, y: 32 + index * 14, class: "title" },
        fitText(title, font, width - 18, node.kind !== "stage"),
      ),
    ),
    node.lines.map((line, index) =>
      svg(
        "text",
        { x: 10, y: 32 + titles.length * 14 + index * 12, class: "line" },
        fitText(line, "11px system-ui, sans-serif", width - 18, false),
      ),
    ),
  );
}

/**
 * Cut a text to a width, at its start or its end.
 * @param {string} text
 * @param {string} font
 * @param {number} width
 * @param {boolean} atStart
 * @returns {string}
 */
function fitText(text, font, width, atStart) {
  const pen = document.createElement("canvas").getContext("2d");
  if (!pen) return text;
  pen.font = font;
  if (pen.measureText(text).width <= width) return text;
  const letters = [...text];
  while (letters.length > 1 && pen.measureText(`${letters.join("")}…`).width > width) {
    if (atStart) letters.shift();
    else letters.pop();
  }
  return atStart ? `…${letters.join("")}` : `${letters.join("")}…`;
}
