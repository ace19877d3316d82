// Clouds and brightness over the sky of a frame; each cell tells its numbers.
import { ask, status } from "/static/lib/api.js";
import { cellShapes, onDisc } from "/static/lib/cells.js";
import { colour, UNKNOWN } from "/static/lib/colours.js";
import { card, facts, h, s } from "/static/lib/dom.js";
import { onNews } from "/static/lib/events.js";
import { number, percent } from "/static/lib/format.js";
import { getFrame, latest, pageOf, part, skyFacts, when } from "/static/lib/frames.js";
import { compass } from "/static/lib/lens.js";
import { page } from "/static/lib/shell.js";
import { empty, show } from "/static/lib/state.js";

const KINDS = {
  clouds: { word: "Clouds", scale: "cloud", share: (v) => (v < 0 ? NaN : v), text: (v) => ({ "-1": "cannot be told", 0: "clear", 1: "cloudy" })[v] ?? "–", ends: ["clear", "cloudy"] },
  "cloud-chance": { word: "Chance of cloud", scale: "cloud", share: (v) => v, text: (v) => percent(v), ends: ["0 %", "100 %"] },
  transparency: { word: "Transparency", scale: "cloud", share: (v) => 1 - v, text: (v) => percent(v), ends: ["100 %", "0 %"] },
  brightness: { word: "Sky brightness", scale: "brightness", text: (v) => number(v, 2, " mag/arcsec²") },
};
const asked = new URLSearchParams(location.search).get("frame");
const disc = h("div", { class: "disc" }), about = h("div", { class: "cell-about" }), numbers = h("div", {}), title = h("p", { class: "small muted numeric", id: "caption" });
const choices = h("div", { class: "chips", role: "group", "aria-label": "Map" });
let kind = new URLSearchParams(location.search).get("map") || "clouds", frame = null, maps = {}, picked = null;

function range(values) {
  const good = values.filter(Number.isFinite).sort((a, b) => a - b);
  return good.length ? [good[Math.floor(good.length * 0.02)], good[Math.ceil(good.length * 0.98) - 1]] : [0, 1];
}

function draw() {
  const found = maps[kind], k = KINDS[kind];
  const [low, high] = k.share ? [0, 1] : range(found.values);
  // dark sky is dark on the map: a large magnitude is the low end
  const share = k.share || ((v) => (v === null ? NaN : high > low ? (high - v) / (high - low) : 0.5));
  const ends = k.ends || [number(high, 2), number(low, 2)];
  const shapes = cellShapes(found);
  const cells = shapes.map((shape, i) => s("path", { class: "cell", "data-i": i, d: shape.path, fill: found.values[i] === null ? UNKNOWN : colour(k.scale, share(found.values[i])) }));
  const ring = (alt) => s("circle", { class: "ring thin", r: (90 - alt) / 90 });
  const points = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"].map((text, i) => { const [x, y] = onDisc(-6, i * 45); return s("text", { class: i % 2 ? "minor" : null, x, y: y + 0.025 }, text); });
  const marker = s("path", { class: "picked thin", fill: "none" });
  const svg = s("svg", { viewBox: "-1.14 -1.14 2.28 2.28", role: "img", "aria-label": `${k.word} over the sky: zenith in the middle, north up, east left. The table below has the numbers.` },
    s("circle", { r: 1, class: "ground" }), cells, [0, 30, 60].map(ring), points, [30, 60].map((alt) => s("text", { class: "minor", x: 0.03, y: -(90 - alt) / 90 - 0.01 }, `${alt}°`)), marker);
  const pick = (i) => { picked = i; marker.setAttribute("d", i === null ? "" : shapes[i].path); say(i); };
  svg.addEventListener("pointermove", (event) => { const i = event.target.dataset && event.target.dataset.i; pick(i === undefined ? null : Number(i)); });
  svg.addEventListener("pointerdown", (event) => { const i = event.target.dataset && event.target.dataset.i; if (i !== undefined) pick(Number(i)); });
  const box = h("div", { class: "disc-box", tabindex: "0", role: "group", "aria-label": "Cells. Arrow keys go from cell to cell." }, svg);
  box.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") pick(((picked ?? 0) + step + shapes.length) % shapes.length);
    else pick(neighbour(found, picked ?? 0, step));
  });
  const legend = h("div", { class: "map-legend small muted" }, h("span", { text: ends[0] }), h("span", { class: "ramp", "aria-hidden": "true" }, Array.from({ length: 24 }, (_, i) => h("i", { style: { background: colour(k.scale, i / 23) } }))), h("span", { text: ends[1] }),
    h("span", { class: "unknown-key" }, h("i", { style: { background: UNKNOWN } }), "cannot be told"));
  say(null);
  return [box, legend];
}

function neighbour(found, i, step) {
  const rings = [...new Set(found.altitude_deg)].sort((a, b) => a - b), ring = rings.indexOf(found.altitude_deg[i]) + step;
  if (ring < 0 || ring >= rings.length) return i;
  let best = i, least = Infinity;
  found.altitude_deg.forEach((alt, k) => {
    const away = Math.abs(((found.azimuth_deg[k] - found.azimuth_deg[i] + 540) % 360) - 180);
    if (alt === rings[ring] && away < least) { least = away; best = k; }
  });
  return best;
}

function say(i) {
  if (i === null) { about.replaceChildren(h("p", { class: "muted", text: "Point at a cell, or use the arrow keys." })); return; }
  const at = maps[kind];
  about.replaceChildren(facts([["Direction", `alt ${number(at.altitude_deg[i], 0, "°")}, az ${number(at.azimuth_deg[i], 0, "°")} ${compass(at.azimuth_deg[i])}`],
    ...Object.entries(maps).map(([name, map]) => [KINDS[name].word, map.values[i] === null || map.values[i] === undefined ? "cannot be told" : KINDS[name].text(map.values[i])])]));
}

async function load() {
  if (asked) frame = await getFrame(asked);
  else {
    const found = await latest(await status(300));
    if (!found.frame) return empty("No map yet", found.reason);
    frame = found.frame;
  }
  title.replaceChildren(h("a", { href: pageOf(frame), text: when(frame) }), asked ? " · not live" : "");
  title.dataset.frame = frame.id;
  const rows = skyFacts(frame);
  numbers.replaceChildren(rows.length ? facts(rows) : h("p", { class: "muted", text: "This frame was not measured." }));
  const { maps: list } = await ask(part(frame, "/maps", { revision: frame.revision }));
  maps = Object.fromEntries(await Promise.all(list.filter((m) => KINDS[m.name]).map(async (m) => [m.name, await ask(m.links.self)])));
  if (!Object.keys(maps).length) return empty("This frame has no map", "Maps need a solved lens; by day and in twilight there may be none.");
  if (!maps[kind]) [kind] = Object.keys(maps);
  choices.replaceChildren(...Object.keys(maps).map((name) => h("button", { type: "button", class: "chip", "aria-pressed": String(name === kind), onclick: () => choose(name) }, KINDS[name].word)));
  return draw();
}

function choose(name) {
  kind = name;
  for (const [i, each] of Object.keys(maps).entries()) choices.children[i].setAttribute("aria-pressed", String(each === name));
  history.replaceState(null, "", `?map=${name}${asked ? `&frame=${asked}` : ""}`);
  disc.replaceChildren(...draw());
}

await page(async (main) => {
  main.append(h("div", { class: "columns" }, h("section", { class: "card", "aria-label": "Map" }, h("div", { class: "toolbar" }, choices, h("span", { class: "push" }, title)), disc),
    h("div", { class: "stack" }, card("This cell", about), card("The whole sky", numbers))));
  say(null);
  await show(disc, load, "Asking for the newest map …");
  if (!asked) onNews(["frame", "reset", "open", "poll"], () => show(disc, load), 200);
});
