// Makes elements. No markup is ever parsed from text, so nothing from the archive can become a script.
const SVG = "http://www.w3.org/2000/svg";

function fill(node, properties, children) {
  for (const [key, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
    else if (key === "text") node.textContent = value;
    else if (key === "class") node.setAttribute("class", value);
    else if (key in node && typeof value !== "string" && !(node instanceof SVGElement)) node[key] = value;
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

export const $ = (id) => document.getElementById(id);
export const h = (name, properties, ...children) => fill(document.createElement(name), properties, children);
export const s = (name, properties, ...children) => fill(document.createElementNS(SVG, name), properties, children);

export function icon(name) {
  return s("svg", { class: "icon", "aria-hidden": "true" }, s("use", { href: `#i-${name}` }));
}

export function card(title, ...children) {
  const id = `c-${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  return h("section", { class: "card", "aria-labelledby": id }, h("h2", { id, text: title }), ...children);
}

// entries: [name, value] or [name, value, tooltip]; a value may be a node.
export function facts(entries) {
  return h("dl", { class: "facts" }, entries.flatMap(([name, value, title]) => [
    h("dt", { title }, name), h("dd", {}, value ?? "–")]));
}

export function table(heads, rows, caption) {
  const cell = (tag, c) => (c instanceof Element && c.tagName === "TD" ? c
    : h(tag, { class: typeof c === "number" || (c && c.n) ? "n" : null, scope: tag === "th" ? "col" : null }, c && c.n ? c.text : String(c) === c ? c : c instanceof Node ? c : String(c)));
  return h("div", { class: "table-box", tabindex: "0", role: "region", "aria-label": caption }, h("table", {},
    h("caption", { class: "sr", text: caption }),
    h("thead", {}, h("tr", {}, heads.map((c) => cell("th", c)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((c) => cell("td", c)))))));
}

export const n = (text) => ({ n: true, text: String(text) });

export function debounce(work, wait_ms) {
  let timer = null;
  return (...values) => { clearTimeout(timer); timer = setTimeout(() => work(...values), wait_ms); };
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
