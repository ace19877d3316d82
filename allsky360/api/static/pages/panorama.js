// Look around in the newest picture: a window that turns, the little planet, the whole horizon unrolled.
import { ask, askImage, status } from "/static/lib/api.js";
import { h, s } from "/static/lib/dom.js";
import { onNews, persistently } from "/static/lib/events.js";
import { number } from "/static/lib/format.js";
import { latest, part, when } from "/static/lib/frames.js";
import { Lens, compass, vector } from "/static/lib/lens.js";
import { place } from "/static/lib/look.js";
import { page } from "/static/lib/shell.js";
import { Sphere } from "/static/lib/sphere.js";
import { failed, message, passes } from "/static/lib/state.js";

const START = {
  window: { kind: "window", azimuth_deg: 180, altitude_deg: 30, field_deg: 90 },
  planet: { kind: "planet", azimuth_deg: 0, altitude_deg: -90, field_deg: 285 },
  strip: { kind: "strip", azimuth_deg: 180, altitude_deg: 38, field_deg: 360 },
};
const FIELDS = { window: [15, 130], planet: [220, 330], strip: [60, 360] };
const sphere = new Sphere("The sky, to look around in");
const marks = s("svg", { class: "marks", "aria-hidden": "true" });
const box = h("div", { class: "panorama", tabindex: "0", role: "group", "aria-label": "The sky. Drag or use the arrow keys to look around, plus and minus to zoom." }, sphere.canvas, marks);
const caption = h("p", { class: "small muted numeric hint", id: "caption" });
const follow = h("input", { type: "checkbox", id: "turn" });
let view = { ...START.window }, shown = null;
const buttons = [["window", "Look around"], ["planet", "Little planet"], ["strip", "Whole horizon"]].map(([kind, text]) =>
  h("button", { type: "button", class: "chip", "data-kind": kind, "aria-pressed": String(kind === view.kind), onclick: () => choose(kind) }, text));

// The window begins with the horizon at its lower edge, however tall it is.
function start(kind) {
  const edge_deg = (Math.atan(box.clientHeight / Math.max(1, box.clientWidth)) * 180) / Math.PI;
  return { ...START[kind], ...(kind === "window" ? { altitude_deg: Math.min(60, Math.max(20, edge_deg - 1)) } : {}) };
}

function choose(kind) {
  view = start(kind);
  for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
  box.dataset.kind = kind;
  draw();
}

function draw() {
  const [low, high] = FIELDS[view.kind];
  view.field_deg = Math.min(high, Math.max(low, view.field_deg));
  view.azimuth_deg = ((view.azimuth_deg % 360) + 360) % 360;
  if (view.kind !== "planet") view.altitude_deg = Math.min(90, Math.max(-10, view.altitude_deg));
  sphere.draw(view);
  drawMarks();
  const at = shown ? when(shown) : "";
  caption.textContent = `${at}${at ? " · " : ""}looking ${view.kind === "planet" ? "at the whole sky around the ground" : `${compass(view.azimuth_deg)}, azimuth ${number(view.azimuth_deg, 0, "°")}, altitude ${number(view.altitude_deg, 0, "°")}`}, field ${number(view.field_deg, 0, "°")}`;
}

function drawMarks() {
  const width = box.clientWidth, height = box.clientHeight;
  marks.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (!shown) { marks.replaceChildren(); return; }
  const to = (d) => { const at = place(view, d); return at ? [width / 2 + (at[0] * width) / 2, height / 2 - (at[1] * width) / 2] : null; };
  const inside = (p) => p && p[0] > 8 && p[0] < width - 8 && p[1] > 14 && p[1] < height - 4;
  const lines = [0, 30, 60].map((alt) => {
    const parts = [[]];
    for (let az = 0; az <= 360; az += 3) {
      const p = to(vector(alt, az + (view.kind === "strip" ? view.azimuth_deg + 180 : 0))), last = parts[parts.length - 1];
      const before = last[last.length - 1];
      if (!p || Math.abs(p[0]) > 9999 || Math.abs(p[1]) > 9999 || (before && Math.hypot(p[0] - before[0], p[1] - before[1]) > width / 3)) { if (last.length) parts.push(p && Math.abs(p[0]) < 9999 && Math.abs(p[1]) < 9999 ? [p] : []); continue; }
      last.push(p);
    }
    return parts.filter((part_) => part_.length > 1).map((points) => s("polyline", { class: alt ? null : "horizon", points: points.map((p) => p.map((c) => c.toFixed(1)).join(",")).join(" ") }));
  }).flat();
  const labels = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"].map((text, i) => {
    const p = to(vector(view.kind === "planet" ? -9 : 1.5, i * 45));
    return inside(p) ? s("text", { class: i % 2 ? "minor" : null, x: p[0], y: p[1] }, text) : null;
  });
  const heights = [30, 60].map((alt) => { const p = to(vector(alt, view.azimuth_deg)); return view.kind !== "planet" && inside(p) ? s("text", { class: "minor", x: p[0], y: p[1] - 4 }, `${alt}°`) : null; });
  marks.replaceChildren(...lines, ...[...labels, ...heights].filter(Boolean));
}

function moved(dx, dy) {
  const step = view.field_deg / box.clientWidth;
  if (view.kind === "planet") view.azimuth_deg += dx * 0.4;
  else { view.azimuth_deg -= (dx * step) / Math.max(0.25, Math.cos((view.altitude_deg * Math.PI) / 180)); view.altitude_deg += dy * step; }
  draw();
}

function listen() {
  const pointers = new Map();
  box.addEventListener("pointerdown", (event) => { pointers.set(event.pointerId, [event.clientX, event.clientY]); box.setPointerCapture(event.pointerId); box.classList.add("dragging"); });
  box.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const here = [event.clientX, event.clientY], other = [...pointers].find(([id]) => id !== event.pointerId);
    if (other) {
      const old = Math.hypot(before[0] - other[1][0], before[1] - other[1][1]), now = Math.hypot(here[0] - other[1][0], here[1] - other[1][1]);
      if (now > 0) view.field_deg *= old / now;
      draw();
    } else moved(here[0] - before[0], here[1] - before[1]);
    pointers.set(event.pointerId, here);
  });
  for (const name of ["pointerup", "pointercancel"]) box.addEventListener(name, (event) => { pointers.delete(event.pointerId); if (!pointers.size) box.classList.remove("dragging"); });
  box.addEventListener("wheel", (event) => { event.preventDefault(); view.field_deg *= Math.exp(event.deltaY * (event.deltaMode ? 0.05 : 0.0012)); draw(); }, { passive: false });
  box.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    if (event.key in moves) moved(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") { view.field_deg /= 1.25; draw(); }
    else if (event.key === "-") { view.field_deg *= 1.25; draw(); }
    else if (event.key === "0") choose(view.kind);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(draw).observe(box);
}

function say(node) {
  box.querySelector(".state")?.remove();
  sphere.canvas.hidden = marks.hidden = Boolean(node);
  if (node) box.append(node);
}

async function refresh() {
  try {
    const { frame, reason } = await latest(await status(300));
    if (!frame) { if (!shown) say(message("empty", "Nothing to look around in yet", reason)); return true; }
    if (shown && shown.id === frame.id && shown.revision === frame.revision) return true;
    const found = await ask(part(frame, "/view", { revision: frame.revision }));
    if (!found.lens) { say(message("empty", "The lens is not known yet", `${found.reason} Without it no direction belongs to a pixel.`)); return true; }
    const image = await askImage(`${frame.links.picture}&width=${Math.min(4096, Math.max(1280, found.width))}`);
    if (!shown) view = start(view.kind);
    shown = frame;
    say(null);
    sphere.setPicture(image, new Lens(found.lens));
    box.dataset.frame = frame.id;
    box.dataset.how = sphere.how;
    draw();
    return true;
  } catch (error) {
    if (!error.address) console.warn(error);  // not an answer of the service: a mistake of this page
    if (!shown) say(failed(error, keep));
    return !passes(error);
  }
}

const keep = persistently(refresh);
await page(async (main) => {
  main.append(h("div", { class: "toolbar" }, h("div", { class: "chips", role: "group", "aria-label": "View" }, buttons),
    h("label", { class: "chip push" }, follow, "Turn slowly")), h("div", { class: "hint" }, box), caption,
  h("p", { class: "small muted" }, "Drag to look around; wheel or pinch to zoom. Keys: arrows, + − and 0."));
  box.dataset.kind = view.kind;
  say(message("loading", "Asking for the newest picture …"));
  listen();
  await keep();
  onNews(["frame", "reset", "open", "poll"], keep, 20);
  let before = 0;
  const turn = (now) => { if (follow.checked && shown && now - before > 30) { view.azimuth_deg += Math.min(100, now - before) * 0.004; before = now; draw(); } if (follow.checked) requestAnimationFrame(turn); };
  follow.addEventListener("change", () => { before = performance.now(); requestAnimationFrame(turn); });
});
