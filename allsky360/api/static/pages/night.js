// One night: what it was like, its film strip with filters, its products.
import { ask, status } from "/static/lib/api.js";
import { shading } from "/static/lib/shading.js";
import { Chart } from "/static/lib/chart.js";
import { card, debounce, facts, h } from "/static/lib/dom.js";
import { onNews } from "/static/lib/events.js";
import { date, minute, number, percent } from "/static/lib/format.js";
import { framesOf, nightDates, nightPage, pageOf, thumbnail } from "/static/lib/frames.js";
import { productCard } from "/static/lib/products.js";
import { quality } from "/static/lib/quality.js";
import { page } from "/static/lib/shell.js";
import { empty, note, show } from "/static/lib/state.js";

const night = decodeURIComponent(location.pathname.split("/")[2]);
const CHUNK = 96;
const FILTERS = [
  // name, words, test(frame, value), step, unit
  ["sun", "Sun below", (f, v) => (f.measurements.sun_altitude_deg ?? 90) <= v, "1", "°"],
  ["cloud", "Cloud at most", (f, v) => (f.measurements.cloud_fraction ?? 1) * 100 <= v, "5", "%"],
  ["sky", "Sky darker than", (f, v) => (f.measurements.sky_brightness_mag_arcsec2 ?? 0) >= v, "0.1", "mag/arcsec²"],
  ["stars", "Stars at least", (f, v) => (f.measurements.stars_found ?? 0) >= v, "10", ""],
];
let frames = [], limit = CHUNK;
const about = h("div", {}), course = h("div", {}), strip = h("div", { class: "film", id: "film" }), told = h("p", { class: "small muted", role: "status" });
const products = h("section", { class: "card", "aria-labelledby": "products-title" }), chart = new Chart({ label: "This night", height: 210, onpick: (i) => pick(i) });
const inputs = {};
let picks = [];

const pick = (i) => { location.href = pageOf({ id: `${night}/${String(picks[i]).padStart(6, "0")}` }); };

function filters() {
  const changed = debounce(() => { limit = CHUNK; remember(); showFilm(); }, 150);
  const query = new URLSearchParams(location.search);
  const fields = FILTERS.map(([name, words, , step, unit]) => {
    inputs[name] = h("input", { type: "number", step, value: query.get(name) || "", placeholder: "any", size: 6, inputmode: "decimal", oninput: changed });
    return h("label", { class: "field" }, `${words}${unit ? `, ${unit}` : ""}`, inputs[name]);
  });
  inputs.from = h("input", { type: "time", value: query.get("from") || "", oninput: changed });
  inputs.to = h("input", { type: "time", value: query.get("to") || "", oninput: changed });
  inputs.transients = h("input", { type: "checkbox", checked: query.has("transients"), onchange: changed });
  return h("form", { class: "toolbar filters", "aria-label": "Filters", onsubmit: (event) => event.preventDefault() }, fields,
    h("label", { class: "field" }, "From, UTC", inputs.from), h("label", { class: "field" }, "To, UTC", inputs.to),
    h("label", { class: "chip" }, inputs.transients, "With transients"), h("button", { type: "reset", class: "button", onclick: () => setTimeout(changed) }, "Clear"));
}

function remember() {
  const query = new URLSearchParams();
  for (const [name, input] of Object.entries(inputs)) if (input.type === "checkbox" ? input.checked : input.value) query.set(name, input.value);
  history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}`);
}

function chosen() {
  const inTime = (f) => {  // a span of the clock may run over midnight
    const t = minute(f.time), { from, to } = { from: inputs.from.value, to: inputs.to.value };
    if (!from && !to) return true;
    if (from && to && from > to) return t >= from || t <= to;
    return (!from || t >= from) && (!to || t <= to);
  };
  return frames.filter((f) => FILTERS.every(([name, , test]) => inputs[name].value === "" || test(f, Number(inputs[name].value)))
    && inTime(f) && (!inputs.transients.checked || f.measurements.transients > 0));
}

function showFilm() {
  const found = chosen(), groups = new Map();
  for (const f of found.slice(0, limit)) {
    const hour = `${f.time.slice(0, 13)}`;
    if (!groups.has(hour)) groups.set(hour, []);
    groups.get(hour).push(f);
  }
  told.textContent = found.length === frames.length ? `${frames.length} frames` : `${found.length} of ${frames.length} frames`;
  strip.replaceChildren(...(found.length ? [...groups].map(([hour, some]) => h("section", { class: "hour", "aria-label": `${hour.slice(11)} h UTC` }, h("h3", { class: "numeric", text: `${hour.slice(11)} h` }),
    h("div", { class: "film-row" }, some.map((f) => thumbnail(f, { note: f.measurements.transients > 0 ? " ☄" : "" }))))) : [empty("No frame passes these filters", "Loosen or clear them.")]),
  ...(found.length > limit ? [h("button", { type: "button", class: "button", onclick: () => { limit += CHUNK * 2; showFilm(); } }, `Show more (${found.length - limit} left)`)] : []));
}

async function overview() {
  const detail = await ask(`/nights/${night}`);
  const [report, all] = await Promise.all([status(60000), nightDates()]);
  const times = report.site ? await ask(`/ephemeris/nights/${night}`) : null;
  const q = detail.quality || {}, known = quality(detail.quality), at = all.indexOf(night);
  const to = (which, text, name) => (which ? h("a", { class: "button", href: nightPage(which), "aria-label": name }, text) : null);
  document.title = `${date(night)} · allsky360`;
  document.querySelector(".page-title").textContent = `Night of ${date(night)}`;
  show(course, () => drawChart(detail), "Drawing the night …");
  const rows = [["Frames", `${detail.frames}${detail.processed < detail.frames ? `, ${detail.frames - detail.processed} wait for processing` : ""}`],
    ["From", detail.first_frame ? `${minute(detail.first_frame)} to ${minute(detail.last_frame)} UTC` : "–"]];
  if (Number.isFinite(q.cloud_share)) rows.push(["Cloud", percent(q.cloud_share), "Mean over the dark frames"], ["Surely clear", percent(q.clear_share), "Mean share of the sky known to be clear"]);
  if (Number.isFinite(q.best_sky_brightness_mag_arcsec2)) rows.push(["Darkest sky", number(q.best_sky_brightness_mag_arcsec2, 2, " mag/arcsec²"), "95th percentile of the dark frames"]);
  if (Number.isFinite(q.best_limiting_mag)) rows.push(["Faintest star", number(q.best_limiting_mag, 1, " mag")]);
  if (q.transients) rows.push(["Transients", h("a", { href: `/transients?night=${night}`, text: String(q.transients) })]);
  if (times) {
    const span = (d) => (d.course === "crosses" ? `${d.begins ? minute(d.begins) : "–"} to ${d.ends ? minute(d.ends) : "–"}` : d.course === "always below" ? "all night" : "never");
    rows.push(["Sun down", span(times.sun)], ["Astronomical night", span(times.astronomical)], ["Dark, Moon down", number(times.dark_h, 1, " h")], ["Moon", percent(times.moon_illumination, 0)]);
  }
  return [h("p", { class: "toolbar" }, to(all[at + 1], "‹ Night before", "Night before"), to(at > 0 ? all[at - 1] : null, "Night after ›", "Night after"),
    h("a", { class: "button push", href: `/charts?night=${night}` }, "Charts")),
  h("p", { class: "quality", "data-quality": known.key, text: known.word }), facts(rows)];
}

async function drawChart(detail) {
  if (!detail.first_frame) return note("No frames yet", "");
  const has = (name) => detail.variables.includes(name);
  const names = ["sky_brightness_mag_arcsec2", "cloud_fraction", "stars_found"].filter(has);
  const variables = names.length ? names : ["level", "exposure_s"];
  const series = await ask(`/nights/${night}/series`, { variables: variables.join(","), points: 1000 });
  const time = series.time.map((t) => Date.parse(t)), values = (name, scale = 1) => series.variables[name].map((v) => (v === null ? NaN : v * scale));
  picks = series.index;
  const from = time[0] - 10 * 60e3, to = time[time.length - 1] + 10 * 60e3;
  const look = { sky_brightness_mag_arcsec2: { label: "Sky", unit: "mag/arcsec²" }, cloud_fraction: { label: "Cloud", unit: "%", scale: 100, zero: true, format: (v) => number(v, 0, " %") },
    stars_found: { label: "Stars", unit: "", zero: true }, level: { label: "Level", unit: "share" }, exposure_s: { label: "Exposure", unit: "s", log: true } };
  chart.set({ time, from, to, ...await shading(from, to), series: variables.map((name) => ({ name, ...look[name], values: values(name, look[name].scale) })) });
  return [chart.root, h("p", { class: "small muted", text: "Click a moment to open its frame." })];
}

async function showProducts() {
  const found = await ask(`/nights/${night}/products`);
  if (!found.products.length) return note("No products yet", "Time-lapse, keogram, star trails and the night's report are made after dawn.");
  const report = found.products.find((p) => p.kind === "report");
  const main = report && report.files.find((f) => f.role === "main");
  return [main ? h("p", {}, h("a", { class: "button primary", href: main.href }, "Open the night's report")) : null,
    h("div", { class: "grid" }, found.products.filter((p) => p !== report).map(productCard))];
}

await page(async (main) => {
  const productBox = h("div", {});
  products.append(h("h2", { id: "products-title", text: "Products" }), productBox);
  main.append(h("div", { class: "stack" }, h("div", { class: "columns night-top" }, card("Course of the night", course), card("At a glance", about)), products,
    card("Film strip", filters(), told, strip)));
  const load = () => show(strip, async () => {
    frames = await framesOf(night);
    showFilm();
    return [...strip.childNodes];
  }, "Reading the frames …");
  if (!await show(about, overview, "Reading the night …")) { productBox.replaceChildren(); return; }
  await Promise.all([load(), show(productBox, showProducts, "Looking for products …")]);
  onNews(["frame", "product", "reset"], () => { show(about, overview); show(productBox, showProducts); load(); }, 20000);
});
