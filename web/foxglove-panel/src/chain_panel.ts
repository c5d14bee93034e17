// The decision chain panel: draws the auditor's newest status and the gate's newest verdict, as text, without a framework.
import type { Immutable, MessageEvent, PanelExtensionContext, RenderState } from "@foxglove/extension";
import type { ChainStatus, Verdict } from "./messages";

const STATES = ["no decision yet", "the chain holds", "decisions are not linked", "the chain is VIOLATED"];
const COLOURS = ["#7b8794", "#1f9d55", "#d9a400", "#d64545"];
const GATES = ["closed", "open", "LATCHED"];
const SEVERITIES = ["info", "warning", "violation"];

interface State {
  auditor: string;
  gate: string;
}

/** Start the panel; returns what ends it. */
export function startChainPanel(context: PanelExtensionContext): () => void {
  const initial = (context.initialState ?? {}) as Partial<State>;
  const names: State = { auditor: initial.auditor ?? "/auditor", gate: initial.gate ?? "/gate" };
  let status: ChainStatus | undefined;
  let verdict: Verdict | undefined;

  context.watch("currentFrame");
  context.watch("didSeek");
  context.subscribe([{ topic: `${names.auditor}/status` }, { topic: `${names.gate}/verdict` }]);
  context.saveState(names);
  context.onRender = (state: Immutable<RenderState>, done: () => void) => {
    if (state.didSeek) [status, verdict] = [undefined, undefined]; // what was shown belongs to another time
    for (const event of (state.currentFrame ?? []) as readonly MessageEvent[]) {
      if (event.topic === `${names.auditor}/status`) status = event.message as ChainStatus;
      if (event.topic === `${names.gate}/verdict`) verdict = event.message as Verdict;
    }
    context.panelElement.replaceChildren(...draw(context.panelElement.ownerDocument, status, verdict, names));
    done();
  };
  return () => {
    context.onRender = undefined;
    context.unsubscribeAll();
  };
}

/** Everything that the panel shows. Texts of the robot go in as text, never as HTML. */
export function draw(page: Document, status: ChainStatus | undefined, verdict: Verdict | undefined, names: State): Node[] {
  const element = (tag: string, text: string, style = ""): HTMLElement => {
    const made = page.createElement(tag);
    made.textContent = text;
    made.style.cssText = style;
    return made;
  };
  if (!status) return [element("p", `Nothing was heard on ${names.auditor}/status yet.`, "padding: 8px")];
  const colour = COLOURS[status.state] ?? COLOURS[0];
  const parts: Node[] = [
    element("h2", STATES[status.state] ?? "an unknown state", `color: ${colour}; margin: 8px; font-size: 18px`),
    element(
      "p",
      `${status.robot || "robot"}: ${status.linked} of ${status.decisions} decisions linked, ` +
        `${status.violations} violations, ${number(status.chain_latency_ms)} ms from sensor to command, ` +
        `${status.log_size} leaves in the log`,
      "margin: 8px",
    ),
  ];
  const table = page.createElement("table");
  table.style.cssText = "margin: 8px; border-spacing: 10px 2px; text-align: left";
  for (const row of [
    ["stage", "model", "rate", "time", "violations"],
    ...status.stages.map((one) => [
      one.stage,
      one.model,
      `${number(one.rate)} /s`,
      `${number(one.latency_ms)} ms`,
      String(one.violations),
    ]),
  ]) {
    const line = page.createElement("tr");
    line.append(...row.map((text) => element(row[0] === "stage" ? "th" : "td", text)));
    table.append(line);
  }
  parts.push(table);
  if (verdict) {
    const monitors = verdict.mode === 2 ? ", only monitors" : "";
    const refused = verdict.accepted ? "" : `; the newest command was refused: ${verdict.reasons.join(", ")}`;
    const style = verdict.accepted ? "margin: 8px" : `margin: 8px; color: ${COLOURS[3]}`;
    parts.push(element("p", `Gate ${GATES[verdict.state] ?? "unknown"}${monitors}${refused}`, style));
  }
  for (const finding of status.recent) {
    const style = `margin: 4px 8px; color: ${finding.severity === 2 ? COLOURS[3] : "inherit"}`;
    parts.push(element("p", `${SEVERITIES[finding.severity] ?? "?"} ${finding.kind}: ${finding.message}`, style));
  }
  return parts;
}

function number(value: number): string {
  return Number.isFinite(value) ? value.toFixed(1) : "–";
}
