/**
 * Building the page without ever parsing data as HTML: every text goes in as text.
 * @module
 */

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

/**
 * @typedef {string | number | Node | null | undefined | false | any[]} Child arrays hold children
 */

/**
 * @param {Element} element
 * @param {Record<string, any>} attributes "on…" are listeners, true and false set and leave out, the rest are texts
 * @param {Child[]} children
 */
function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  append(element, children);
}

/**
 * @param {Element} element
 * @param {Child[]} children
 */
export function append(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(element, child);
    else if (child instanceof Node) element.append(child);
    else if (child !== null && child !== undefined && child !== false) element.append(String(child));
  }
}

/**
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...Child} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  dress(element, attributes, children);
  return element;
}

/**
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...Child} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG_NAMESPACE, tag);
  dress(element, attributes, children);
  return element;
}

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
export function place(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no place ${id}`);
  return found;
}

/**
 * Put children into an element in place of what it holds.
 * @param {Element} element
 * @param {...Child} children
 */
export function fillElement(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/**
 * A mark of a check: a shape and a word, so that nothing depends on colour.
 * @param {"ok" | "bad" | "open" | "known"} state
 * @param {string} [word]
 * @returns {HTMLElement}
 */
export function mark(state, word) {
  const words = { ok: "verified", bad: "failed", open: "not checked", known: "does not hold, as the audit found" };
  const shapes = {
    ok: "M3 8.5 6.5 12 13 4.5",
    bad: "M4 4 12 12M12 4 4 12",
    open: "M3.5 8H12.5",
    known: "M8 3V9M8 12V13",
  };
  const icon = svg(
    "svg",
    { viewBox: "0 0 16 16", "aria-hidden": "true", class: "icon" },
    svg("path", { d: shapes[state] }),
  );
  return h("span", { class: `mark ${state}` }, icon, word === undefined ? words[state] : word);
}

/**
 * Redraw whenever an element's width changes.
 * @param {Element} element
 * @param {(width: number) => void} draw
 */
export function onWidth(element, draw) {
  let known = 0;
  new ResizeObserver((entries) => {
    const width = Math.floor(entries[0].contentRect.width);
    if (width > 0 && width !== known) {
      known = width;
      draw(width);
    }
  }).observe(element);
}
