// One picture and a few numbers, large, for a small display on a wall. Nothing to click; it keeps itself going.
import { ask, askImage, clock, status } from "/static/lib/api.js";
import { $, h } from "/static/lib/dom.js";
import { onNews, persistently } from "/static/lib/events.js";
import { clock as hms, number, percent, span } from "/static/lib/format.js";
import { latest, part, when } from "/static/lib/frames.js";

const image = h("img", { alt: "" }), layer = h("img", { class: "kiosk-layer", alt: "" }), stage = h("div", { class: "kiosk-stage" }, image, layer), words = h("p", { class: "kiosk-words", role: "status" });
const time = h("p", { class: "kiosk-time" }), age = h("p", { class: "kiosk-age" }), safety = h("p", { class: "kiosk-safety" }), numbers = h("dl", { class: "kiosk-numbers" });
let shown = null;

async function refresh() {
  try {
    const { frame, reason } = await latest(shown ? null : await status(300));
    if (frame && (!shown || shown.id !== frame.id || shown.revision !== frame.revision)) await put(frame);
    const report = await status(300);
    words.textContent = report.state === "live" ? "" : report.message;
    if (!frame) { words.textContent = `${report.message} ${reason}`; return true; }
    const s = await ask("/safety");
    safety.textContent = { safe: "Safe", unsafe: "Not safe", unknown: "Unknown" }[s.verdict];
    safety.className = `kiosk-safety ${{ safe: "good", unsafe: "bad", unknown: "warn" }[s.verdict]}`;
    safety.title = s.reason;
    return true;
  } catch (error) {
    words.textContent = error.status ? error.message : "The service cannot be reached. This display tries again by itself.";
    return false;
  }
}

async function put(frame) {
  const width = Math.min(2048, Math.ceil((Math.max(320, stage.clientWidth) * Math.min(2, devicePixelRatio || 1)) / 160) * 160);
  const next = await askImage(`${frame.links.picture}&width=${width}`);
  shown = frame;
  image.src = next.src;
  image.alt = `All-sky picture of ${when(frame)}`;
  stage.dataset.frame = frame.id;
  const view = await ask(part(frame, "/view", { revision: frame.revision })).catch(() => null);
  layer.hidden = !(view && view.lens);
  if (!layer.hidden) layer.src = part(frame, "/overlay.svg", { layers: "cardinal_points,planets,sun_moon", width: Math.max(200, Math.round(Math.min(stage.clientWidth, stage.clientHeight * 1.4) / 1.3 / 80) * 80), revision: frame.revision });
  const m = frame.measurements, sky = frame.sky || {};
  const rows = [["Cloud", percent(m.cloud_fraction)], ["Sky", number(m.sky_brightness_mag_arcsec2, 2, " mag")], ["Stars", number(m.stars_found, 0)], ["Moon", percent(sky.moon_illumination)], ["Sun", number(sky.sun_altitude_deg, 0, "°")]].filter(([, v]) => v !== "–");
  numbers.replaceChildren(...rows.map(([name, value]) => h("div", {}, h("dt", { text: name }), h("dd", { text: value }))));
}

function tick() {
  time.textContent = `${hms(clock.now())} UTC`;
  age.textContent = shown ? `picture ${span((clock.now() - Date.parse(shown.time)) / 1000)} old` : "";
}

$("main").append(h("div", { class: "kiosk" }, stage, h("div", { class: "kiosk-side" }, time, age, safety, numbers, words)));
words.textContent = "Asking for the newest picture …";
tick();
const keep = persistently(refresh);
await keep();
document.body.dataset.ready = "yes";
onNews(["frame", "state", "reset", "open", "lost", "poll"], keep, 5);
setInterval(tick, 1000);
setInterval(keep, 30000);
