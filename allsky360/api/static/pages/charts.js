// Any measurement along time: free range, several axes, twilight and Moon in the ground, CSV.
import { address, ask } from "/static/lib/api.js";
import { Chart } from "/static/lib/chart.js";
import { debounce, h } from "/static/lib/dom.js";
import { onNews } from "/static/lib/events.js";
import { exposure, iso, variable } from "/static/lib/format.js";
import { nightDates, pageOf } from "/static/lib/frames.js";
import { shading } from "/static/lib/shading.js";
import { page } from "/static/lib/shell.js";
import { empty, failed, show } from "/static/lib/state.js";

const HOUR = 3600e3, DAY = 24 * HOUR, POINTS = 1500, MOST = 6;
const FIRST = ["sky_brightness_mag_arcsec2", "cloud_fraction", "stars_found"], FALLBACK = ["exposure_s", "level"];
const PRESETS = [["Newest night", null], ["24 h", DAY], ["3 days", 3 * DAY], ["Week", 7 * DAY], ["Month", 30 * DAY], ["Year", 365 * DAY], ["All", Infinity]];
const query = new URLSearchParams(location.search);
const chart = new Chart({ label: "Measurements along time", height: 420, onrange: (from, to) => { range = { from, to }; told(); loadSoon(); }, onpick: (i) => { if (ids[i]) location.href = pageOf({ id: ids[i] }); } });
const inputs = { from: h("input", { type: "datetime-local", step: 60 }), to: h("input", { type: "datetime-local", step: 60 }) };
const csv = h("a", { class: "button", download: "allsky360.csv" }, "CSV");
const chosen = h("div", { class: "chips", role: "group", "aria-label": "Shown" }), choice = h("select", { id: "variable" }), note = h("p", { class: "small muted", role: "status" });
const box = h("div", {});
let range = null, known = [], names = [], ids = [], all = null;

const loadSoon = debounce(() => load(), 250);

function told() {
  inputs.from.value = iso(range.from).slice(0, 16);
  inputs.to.value = iso(range.to).slice(0, 16);
  const kept = new URLSearchParams({ start: iso(range.from).slice(0, 16), end: iso(range.to).slice(0, 16), variables: names.join(",") });
  history.replaceState(null, "", `?${kept}`);
  csv.href = address("/series", { variables: names.join(","), start: iso(range.from), end: iso(range.to), points: 100000, format: "csv" });
}

function preset(span) {
  const end = all.to;
  if (span === null) range = { from: all.night.from, to: all.night.to };
  else if (span === Infinity) range = { from: all.from, to: all.to };
  else range = { from: Math.max(end - span, all.from - span * 0.02), to: end };
  told();
  load();
}

function about(name) {
  const found = known.find((v) => v.name === name), words = variable(name);
  const unit = { degree: "°", 1: "", pixel: "px", hour: "h", "mag arcsec-2": "mag/arcsec²", second: "s" };
  return { label: words.label, unit: found && found.units ? (unit[found.units] ?? found.units) : words.unit, title: found ? found.long_name : "" };
}

function showChosen() {
  chosen.replaceChildren(...names.map((name) => h("button", { type: "button", class: "chip", title: `Take away: ${about(name).title || name}`, "aria-label": `Take away ${about(name).label}`,
    onclick: () => { if (names.length > 1) { names = names.filter((n) => n !== name); showChosen(); told(); load(); } } }, about(name).label, names.length > 1 ? h("span", { "aria-hidden": "true", text: " ×" }) : null)));
  choice.replaceChildren(h("option", { value: "", text: "Add a measurement …" }), ...known.filter((v) => !names.includes(v.name)).map((v) => h("option", { value: v.name, text: `${about(v.name).label}${about(v.name).unit ? `, ${about(v.name).unit}` : ""}` })));
  choice.disabled = names.length >= MOST;
}

let turn = 0;
async function load() {
  const mine = ++turn;
  try {
    const margin = (range.to - range.from) * 0.02;
    const [table, ground] = await Promise.all([ask("/series", { variables: names.join(","), start: iso(range.from - margin), end: iso(range.to + margin), points: POINTS }), shading(range.from, range.to)]);
    if (mine !== turn) return;
    ids = table.ids;
    note.textContent = table.frames ? `${table.frames} frames${table.thinned ? `, thinned to ${table.time.length} without losing an extreme` : ""}. Drag to move, wheel or + − to zoom, click opens the frame.` : "No frames in this range.";
    chart.set({ time: table.time.map((t) => Date.parse(t)), from: range.from, to: range.to, ...ground,
      series: names.map((name) => ({ name, ...about(name), log: name === "exposure_s", format: name === "exposure_s" ? exposure : null, values: (table.variables[name] || []).map((v) => (v === null ? NaN : v)) })) });
    box.replaceChildren(chart.root);
  } catch (error) {
    if (mine === turn) box.replaceChildren(failed(error, load));
  }
}

async function begin() {
  const nights = await nightDates();
  if (!nights.length) return empty("Nothing to draw yet", "Measurements appear with the first frame.");
  const wanted = nights.includes(query.get("night")) ? query.get("night") : nights[0];
  const [list, night, newest, oldest] = await Promise.all([ask("/variables"), ask(`/nights/${wanted}`), ask(`/nights/${nights[0]}`), ask(`/nights/${nights[nights.length - 1]}`)]);
  known = list.variables;
  const has = (name) => known.some((v) => v.name === name);
  const asked = (query.get("variables") || "").split(",").filter(has);
  names = asked.length ? asked.slice(0, MOST) : FIRST.filter(has);
  if (!names.length) names = FALLBACK.filter(has);
  if (!names.length) return empty("Nothing was measured yet", "Numbers appear with the first processed frame.");
  const edge = (n) => ({ from: Date.parse(n.first_frame) - 10 * 60e3, to: Date.parse(n.last_frame) + 10 * 60e3 });
  all = { from: edge(oldest).from, to: edge(newest).to, night: edge(newest) };
  const start = Date.parse(`${query.get("start")}Z`), end = Date.parse(`${query.get("end")}Z`);
  range = end > start ? { from: start, to: end } : edge(night);
  showChosen();
  told();
  await load();
  onNews(["frame"], () => { if (Math.abs(range.to - all.to) < HOUR) load(); }, 5000);
  return [...box.childNodes];
}

await page(async (main) => {
  const go = () => { const from = Date.parse(`${inputs.from.value}Z`), to = Date.parse(`${inputs.to.value}Z`); if (to > from) { range = { from, to }; told(); load(); } };
  inputs.from.addEventListener("change", go);
  inputs.to.addEventListener("change", go);
  choice.addEventListener("change", () => { if (choice.value) { names = [...names, choice.value]; showChosen(); told(); load(); } });
  main.append(h("div", { class: "stack" },
    h("section", { class: "card", "aria-label": "What is drawn" }, h("div", { class: "toolbar" }, h("label", { class: "field" }, "Measurement", choice), h("label", { class: "field" }, "From, UTC", inputs.from), h("label", { class: "field" }, "To, UTC", inputs.to),
      h("span", { class: "push" }, csv)), h("div", { class: "toolbar presets" }, h("div", { class: "chips", role: "group", "aria-label": "Range" }, PRESETS.map(([text, span]) => h("button", { type: "button", class: "chip", onclick: () => { if (all) preset(span); } }, text)))), chosen),
    h("section", { class: "card", "aria-label": "Chart" }, box, note)));
  await show(box, begin, "Reading the measurements …");
});
