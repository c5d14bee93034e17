/**
 * Reads what the page carries: the auditor's report and figures, and the pieces of evidence, each by kind and name.
 * @module
 */
import { VerifyError, fromBase64, fromUtf8, sha256, toHex, utf8 } from "../verify/bytes.js";

/**
 * @typedef {object} Piece
 * @property {"record" | "proof" | "registry" | "message"} kind
 * @property {string} name digest in hex, or path
 * @property {Uint8Array | null} data null when it cannot be read
 * @property {string} problem why not
 */

/**
 * @typedef {object} Embedded
 * @property {any} figures null when they cannot be read
 * @property {string} figuresDigest hex
 * @property {any} report null when it cannot be read
 * @property {string} reportDigest hex
 * @property {Map<string, Piece>} pieces by "kind name"
 * @property {string[]} problems what is wrong with the page as a whole, in sentences
 */

/**
 * @param {Document} page
 * @returns {Promise<Embedded>}
 */
export async function readEmbedded(page) {
  /** @type {string[]} */
  const problems = [];
  const figuresText = textOf(page, "og-figures");
  const figuresDigest = toHex(await sha256(utf8(figuresText)));
  const figures = parse(figuresText, "the auditor's figures", problems);
  if (figuresDigest !== textOf(page, "figures-digest").trim()) {
    problems.push("The auditor's figures were altered: they do not have the SHA-256 that this page states.");
  }
  let report = null;
  let reportDigest = "";
  try {
    const data = fromBase64(textOf(page, "og-report"));
    reportDigest = toHex(await sha256(data));
    report = parse(fromUtf8(data), "the report", problems);
  } catch (error) {
    if (!(error instanceof VerifyError)) throw error;
    problems.push(`The report cannot be read: ${error.message}.`);
  }
  if (reportDigest && reportDigest !== textOf(page, "report-digest").trim()) {
    problems.push("The report was altered: it does not have the SHA-256 that this page states.");
  }
  return { figures, figuresDigest, report, reportDigest, pieces: readPieces(page, problems), problems };
}

/**
 * @param {Document} page
 * @param {string} id
 */
export function textOf(page, id) {
  const element = page.getElementById(id);
  return element ? element.textContent || "" : "";
}

/**
 * @param {string} text
 * @param {string} what
 * @param {string[]} problems
 */
function parse(text, what, problems) {
  try {
    const tree = JSON.parse(text);
    if (typeof tree === "object" && tree) return tree;
  } catch {
    // said below
  }
  problems.push(`The page is damaged: ${what} cannot be read as JSON, so what rests on it is not shown.`);
  return null;
}

/**
 * @param {Document} page
 * @param {string[]} problems
 * @returns {Map<string, Piece>}
 */
function readPieces(page, problems) {
  /** @type {Map<string, Piece>} */
  const pieces = new Map();
  for (const element of page.querySelectorAll("script[data-kind]")) {
    const kind = element.getAttribute("data-kind") || "";
    const name = element.getAttribute("data-name") || "";
    const key = `${kind} ${name}`;
    if (pieces.has(key)) problems.push(`The page is damaged: it has two pieces of the kind ${kind} named ${name}.`);
    let data = null;
    let problem = "";
    try {
      data = fromBase64(element.textContent || "");
    } catch (error) {
      if (!(error instanceof VerifyError)) throw error;
      problem = error.message;
    }
    pieces.set(key, { kind: /** @type {any} */ (kind), name, data, problem });
  }
  return pieces;
}
