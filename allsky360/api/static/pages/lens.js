// The lens: its model, how well it places stars, and how it drifted from night to night.
import { ask, status } from "/static/lib/api.js";
import { card, facts, h, n, s, table } from "/static/lib/dom.js";
import { date, day, minute, number } from "/static/lib/format.js";
import { latest, part, when } from "/static/lib/frames.js";
import { page } from "/static/lib/shell.js";
import { empty, show } from "/static/lib/state.js";
import { Viewer } from "/static/lib/viewer.js";

const WORDS = { focal_px: ["Focal length", "px"], cx: ["Centre, x", "px"], cy: ["Centre, y", "px"], rotation_deg: ["Turn", "°"], tilt_north_deg: ["Tilt, north", "°"], tilt_east_deg: ["Tilt, east", "°"], k3: ["k₃", ""], k5: ["k₅", ""], k7: ["k₇", ""] };
const body = h("div", {});

function model(lens) {
  const m = lens.model;
  const rows = [["Projection", m.projection], ["View", m.parity < 0 ? "as seen looking up" : "mirrored"], ["Frame", `${m.width} × ${m.height} px`]];
  for (const [name, [word, unit]] of Object.entries(WORDS)) {
    const sigma = lens.sigma[name], digits = Number.isFinite(sigma) && sigma > 0 ? Math.min(6, Math.max(1, Math.ceil(-Math.log10(sigma)) + 1)) : unit ? 3 : 5;
    rows.push([word, `${number(m[name], digits)}${Number.isFinite(sigma) ? ` ± ${number(sigma, digits)}` : ""} ${unit}`]);
  }
  rows.push(["Field", `${number(m.max_theta_deg, 0, "°")} from the axis`]);
  return facts(rows);
}

function rings(lens) {
  const most = Math.max(0.5, ...lens.rings.map((r) => r.rms_px || 0));
  return table(["Altitude", n("Stars"), n("RMS"), n("Median"), "RMS, drawn"], lens.rings.map((r) => [`${number(r.altitude_deg[0], 0)}° to ${number(r.altitude_deg[1], 0)}°`, n(r.stars), n(number(r.rms_px, 2, " px")), n(number(r.median_px, 2, " px")),
    h("span", { class: "bar ring-bar", "aria-hidden": "true" }, h("span", { style: { width: `${(100 * (r.rms_px || 0)) / most}%` } }))]), "Residuals of held-out stars by altitude");
}

function nights(history) {
  if (!history.nights.length) return h("p", { class: "muted", text: "No night has been looked at yet." });
  const tone = { written: "good", kept: "", refused: "warn" };
  return table(["Night", "What came of it", "Why", n("RMS"), n("Lens")], [...history.nights].reverse().slice(0, 40).map((e) => [date(e.night), h("span", { class: tone[e.outcome] || "", text: e.outcome }), e.message || e.reason, n(number(e.rms_px, 2, " px")), n(e.serial || "–")]), "Calibration of each night");
}

// Measured stars of the newest frame with their distance from where the lens puts them, drawn large.
async function residuals(viewer, words) {
  const { frame, reason } = await latest(await status(1000));
  if (!frame) return empty("No picture yet", reason);
  await viewer.show({ href: frame.links.picture, alt: `All-sky picture of ${when(frame)}` });
  const found = await ask(part(frame, "/residuals", { revision: frame.revision }));
  words.textContent = found.reason || `${when(frame)}: ${found.stars.length} stars, median ${number(found.median_px, 2, " px")}. Lines are ${found.scale} times as long as the error.`;
  if (found.stars.length) viewer.layer("residuals", { width: found.width, height: found.height }, s("g", { class: "thin residuals", fill: "none", "stroke-width": 1.5 }, found.stars.map((star) => [
    s("circle", { cx: star.x, cy: star.y, r: found.width / 320 }), s("line", { x1: star.x, y1: star.y, x2: star.x + star.dx * found.scale, y2: star.y + star.dy * found.scale })])));
  return viewer.root;
}

async function load() {
  const { cameras } = await ask("/cameras");
  if (!cameras.length) return empty("No camera yet", "The lens is solved by itself from the stars of the first clear night.");
  const history = await ask("/lens/history");
  if (!history.serials.length) return h("div", { class: "stack" }, empty("The lens is not known yet", "It is solved by itself from the stars of a clear night. Until then directions, clouds and sky brightness are not measured."), card("Nights", nights(history)));
  const lens = await ask("/lens");
  const viewer = new Viewer({ label: "Residuals on the newest picture" }), box = h("div", {}), words = h("p", { class: "small muted" });
  queueMicrotask(() => show(box, () => residuals(viewer, words), "Measuring …"));
  return h("div", { class: "stack" }, h("div", { class: "columns" }, h("div", { class: "stack" }, h("section", { class: "card", "aria-labelledby": "res-title" }, h("h2", { id: "res-title", text: "Stars against the lens" }), box, words), card("By altitude", rings(lens), h("p", { class: "small muted" }, "Only stars that the fit never used count here."))),
    h("div", { class: "stack" }, card("How good", facts([["Held-out stars", `${lens.held_out_stars} of ${lens.stars}`], ["Their RMS", number(lens.held_out_rms_px, 2, " px")], ["Their median", number(lens.held_out_median_px, 2, " px")], ["Solved", `${day(lens.solved)} ${minute(lens.solved)} UTC`], ["From", `${lens.frames.length} frames`], ["Lens file", `no. ${lens.serial} of ${history.serials.length}`]]),
      lens.warnings.map((w) => h("p", { class: "small warn", text: w }))), card("Model", model(lens)))), card("Night by night", nights(history)));
}

await page(async (main) => {
  main.append(body);
  await show(body, load, "Reading the lens …");
});
