// Meteors, satellites, aircraft: what crossed the sky, newest first.
import { ask } from "/static/lib/api.js";
import { h } from "/static/lib/dom.js";
import { onNews } from "/static/lib/events.js";
import { NONE, clock, date, number } from "/static/lib/format.js";
import { compass } from "/static/lib/lens.js";
import { page } from "/static/lib/shell.js";
import { empty, show } from "/static/lib/state.js";

const KINDS = [["", "All"], ["meteor", "Meteors"], ["satellite", "Satellites"], ["aircraft", "Aircraft"], ["unknown", "Unknown"]];
const query = new URLSearchParams(location.search), PAGE = 60;
let kind = query.get("kind") || "", night = query.get("night") || "", found = [], next = null;
const gallery = h("div", {}), choice = h("div", { class: "chips", role: "group", "aria-label": "Kind" }, KINDS.map(([name, text]) =>
  h("button", { type: "button", class: "chip", "data-kind": name, "aria-pressed": String(name === kind), onclick: () => choose(name) }, text)));
const nightField = h("input", { type: "date", value: night, onchange: (event) => { night = event.target.value; begin(); } });

function choose(name) {
  kind = name;
  for (const button of choice.children) button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
  begin();
}

function direction(p) {
  return p.altitude_deg === null ? NONE : `${number(p.altitude_deg, 0, "°")} ${compass(p.azimuth_deg)}`;
}

function item(one) {
  const seconds = one.duration_s === null ? null : number(one.duration_s, 1, " s");
  const words = [seconds, one.magnitude === null ? null : `mag ${number(one.magnitude, 1)}${one.magnitude_sigma === null ? "" : ` ± ${number(one.magnitude_sigma, 1)}`}`, one.peak_snr === null ? null : `SNR ${number(one.peak_snr, 0)}`].filter(Boolean);
  return h("li", {}, h("a", { class: "card transient-card", href: `/frames/${one.frame}` }, h("img", { src: one.links.cutout, alt: "", loading: "lazy", width: 320, height: 200 }),
    h("span", { class: "transient-head" }, h("b", { class: `kind ${one.kind}`, text: one.label || one.kind }), h("span", { class: "numeric small", text: `${clock(one.time)} UTC` })),
    h("span", { class: "small muted", text: `${date(one.night)} · ${direction(one.start)} → ${direction(one.end)}` }), h("span", { class: "small muted", text: words.join(" · ") })));
}

async function load() {
  const answer = await ask(next || "/transients", next ? {} : { kind, limit: PAGE, ...(night ? { start: `${night}T12:00:00Z`, end: new Date(Date.parse(`${night}T12:00:00Z`) + 864e5).toISOString() } : {}) });
  found = [...found, ...answer.transients];
  next = answer.links.next;
  if (!found.length && !next) return empty(kind || night ? "None of these" : "Nothing has crossed the sky yet", kind || night ? "Choose another kind or night." : "Meteors, satellites and aircraft appear here as frames are processed.");
  return [h("ul", { class: "grid" }, found.map(item)), next ? h("button", { type: "button", class: "button more", onclick: () => show(gallery, load) }, "Show more") : null];
}

function begin() {
  found = [];
  next = null;
  const kept = new URLSearchParams();
  if (kind) kept.set("kind", kind);
  if (night) kept.set("night", night);
  history.replaceState(null, "", `${location.pathname}${kept.size ? `?${kept}` : ""}`);
  return show(gallery, load, "Looking for transients …");
}

await page(async (main) => {
  main.append(h("div", { class: "stack" }, h("div", { class: "toolbar" }, choice, h("label", { class: "field push" }, "Night", nightField)), gallery));
  await begin();
  onNews(["transient", "reset"], begin, 2000);
});
