// A small chart of two series over time: exposure (log scale, left) and level (linear, right).
import { exposure } from "/static/format.js";

const WIDTH = 340, HEIGHT = 150, LEFT = 46, RIGHT = 46, TOP = 8, BOTTOM = 20;
const SVG = "http://www.w3.org/2000/svg";

function make(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function range(values) {
  const good = values.filter(Number.isFinite);
  return good.length ? [Math.min(...good), Math.max(...good)] : null;
}

function line(times, values, x, y, gap) {
  let path = "", last = null;
  values.forEach((value, i) => {
    if (!Number.isFinite(value)) { last = null; return; }
    const joined = last !== null && times[i] - last < gap;
    path += `${joined ? "L" : "M"}${x(times[i]).toFixed(1)} ${y(value).toFixed(1)}`;
    if (!joined) path += "h.01";
    last = times[i];
  });
  return path;
}

// series: answer of /nights/{night}/series. level: which variable. now: time (ms) of the shown frame.
export function draw(target, series, level, now) {
  const times = series.time.map((t) => Date.parse(t));
  const exposures = series.variables.exposure_s.map((v) => (v > 0 ? Math.log10(v) : NaN));
  const levels = level ? series.variables[level].map((v) => (v === null ? NaN : v)) : [];
  target.replaceChildren();
  if (times.length === 0) {
    target.append(Object.assign(document.createElement("p"), { textContent: "No frames in this night yet." }));
    return;
  }
  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  let [from, to] = range(times);
  if (to - from < 60000) { from -= 30000; to += 30000; }
  const x = (t) => LEFT + ((t - from) / (to - from)) * (WIDTH - LEFT - RIGHT);
  const bottom = HEIGHT - BOTTOM;
  const steps = times.slice(1).map((t, i) => t - times[i]).sort((a, b) => a - b);
  const gap = Math.max(180000, 5 * (steps[Math.floor(steps.length / 2)] || 0));

  let [low, high] = range(exposures) || [-1, 0];
  low = Math.floor(low - 0.01); high = Math.ceil(high + 0.01);
  const left = (v) => bottom - ((v - low) / (high - low)) * (bottom - TOP);
  const step = Math.max(1, Math.ceil((high - low) / 4));
  for (let v = low; v <= high; v += step) {
    svg.append(make("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: left(v), y2: left(v) }));
    svg.append(make("text", { x: LEFT - 6, y: left(v) + 4, "text-anchor": "end" }, exposure(10 ** v)));
  }
  const span = range(levels);
  if (span) {
    const top = Math.max(span[1] * 1.15, 1e-6), floor = Math.min(0, span[0]);
    const right = (v) => bottom - ((v - floor) / (top - floor)) * (bottom - TOP);
    for (const share of [0, 0.5, 1]) {
      const value = floor + share * (top - floor);
      const text = top <= 1.8 ? `${Number((value * 100).toPrecision(2))} %` : String(Number(value.toPrecision(3)));
      svg.append(make("text", { x: WIDTH - RIGHT + 5, y: right(value) + 4 }, text));
    }
    svg.append(make("path", { class: "series-b", d: line(times, levels, x, right, gap), "stroke-linecap": "round" }));
  }
  svg.append(make("path", { class: "series-a", d: line(times, exposures, x, left, gap), "stroke-linecap": "round" }));
  if (Number.isFinite(now) && now >= from && now <= to) {
    svg.append(make("line", { class: "here", x1: x(now), x2: x(now), y1: TOP, y2: bottom }));
  }
  const label = (t) => new Date(t).toISOString().slice(11, 16);
  svg.append(make("text", { x: LEFT, y: HEIGHT - 4 }, label(from)));
  svg.append(make("text", { x: WIDTH - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, `${label(to)} UTC`));
  svg.setAttribute("aria-label", `Exposure${span ? " and level" : ""} from ${label(from)} to ${label(to)} UTC, `
    + `${series.frames} frames`);
  const legend = document.createElement("div");
  legend.className = "legend";
  for (const [name, text] of [["a", "longest exposure"], ...(span ? [["b", "sky level"]] : [])]) {
    legend.append(Object.assign(document.createElement("span"), { className: name, textContent: text }));
  }
  target.append(svg, legend);
}
