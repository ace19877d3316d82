// The newest picture: overlays, read-out, countdown, safety, numbers, the night so far.
import { ask, clock, status } from "/static/lib/api.js";
import { Chart } from "/static/lib/chart.js";
import { card, facts, h } from "/static/lib/dom.js";
import { onNews, persistently } from "/static/lib/events.js";
import { exposure, number, span } from "/static/lib/format.js";
import { frameFacts, latest, pageOf, rawLinks, skyFacts, thumbnail, when } from "/static/lib/frames.js";
import { Picture } from "/static/lib/picture.js";
import { page } from "/static/lib/shell.js";
import { failed, message, passes } from "/static/lib/state.js";

const STRIP = 12;
let shown = null, pace = null, report = null;

const picture = new Picture({ label: "Newest picture of the sky" });
const cover = h("div", {});
const caption = h("p", { class: "small muted numeric", id: "caption" });
const strip = h("div", { class: "strip", id: "strip", role: "list", "aria-label": "Last frames" });
const count = h("p", { class: "countdown", id: "countdown" }, "–");
const countBar = h("div", { class: "bar", "aria-hidden": "true" }, h("span", { style: { width: "0" } }));
const countWords = h("p", { class: "small muted" });
const safety = h("div", { id: "safety" }, h("p", { class: "muted", text: "…" }));
const sky = h("div", { id: "sky" }), numbers = h("div", { id: "numbers" });
const chart = new Chart({ label: "This night", height: 170 });
const chartNote = h("p", { class: "small muted" });

function build(main) {
  picture.viewer.root.append(cover);
  main.append(h("div", { class: "columns" },
    h("div", { class: "stack" }, picture.root, caption, h("section", { "aria-label": "Last frames" }, strip)),
    h("div", { class: "stack" },
      h("section", { class: "card countdown-card", "aria-label": "Next picture" }, h("h2", { text: "Next picture" }), count, countBar, countWords),
      card("Is it safe?", safety), card("Sky", sky), card("This frame", numbers), card("This night", chart.root, chartNote))));
  say("loading", "Asking for the newest picture …");
}

function say(kind, title, text) {
  cover.replaceChildren(...(kind ? [message(kind, title, text)] : []));
}

async function refresh() {
  try {
    if (!shown) report = await status(300);
    const { frame, reason } = await latest(shown ? null : report);
    if (!frame) {
      say("empty", report.last_frame ? "Not processed yet" : "Nothing has been captured yet", reason);
      nothing();
      return true;
    }
    if (!shown || shown.revision !== frame.revision || shown.id !== frame.id) {
      await picture.show(frame);  // before all else: this is what people wait for
      shown = frame;
      say(null);
      describe(frame);
      await Promise.all([showStrip(frame), showChart(frame), showSafety()]);
    }
    report = await status();
    tick();
    return true;
  } catch (error) {
    if (!error.address) console.warn(error);  // not an answer of the service: a mistake of this page
    if (!shown) cover.replaceChildren(failed(error, keep));
    return !passes(error);
  }
}

function nothing() {
  sky.replaceChildren(h("p", { class: "muted", text: "Measured with the first picture." }));
  numbers.replaceChildren(h("p", { class: "muted", text: "Shown with the first picture." }));
  chartNote.textContent = "The first frames draw it.";
  showSafety();
}

function describe(frame) {
  caption.replaceChildren(h("a", { href: pageOf(frame), text: when(frame) }), ` · ${frame.exposures_s.map(exposure).join(" + ")}`);
  caption.dataset.frame = frame.id;
  numbers.replaceChildren(facts(frameFacts(frame)), rawLinks(frame));
  const rows = skyFacts(frame);
  sky.replaceChildren(rows.length ? facts(rows) : h("p", { class: "muted", text: "This frame was not measured." }));
}

async function showStrip(frame) {
  const list = await ask("/frames", { camera: frame.camera, order: "newest", limit: STRIP + 12 });
  const frames = list.frames.filter((f) => f.processed);
  strip.replaceChildren(...frames.slice(0, STRIP).map((f) => h("div", { role: "listitem" }, thumbnail(f, { current: f.id === frame.id }))));
  const gaps = frames.slice(0, -1).map((f, i) => (Date.parse(f.time) - Date.parse(frames[i + 1].time)) / 1000).filter((g) => g > 0).slice(0, 8).sort((a, b) => a - b);
  const took = frames.map((f) => (Date.parse(f.processed_at) - Date.parse(f.time)) / 1000).slice(0, 5).sort((a, b) => a - b);
  const every_s = gaps[Math.floor(gaps.length / 2)];
  // frames that were processed long after, or on a rehearsal's clock, say nothing of the next one
  pace = gaps.length ? { every_s, took_s: Math.min(every_s, Math.max(0, took[Math.floor(took.length / 2)] || 0)), last: Date.parse(frames[0].time) } : null;
  tick();
}

async function showChart(frame) {
  const brightness = Number.isFinite(frame.measurements.sky_brightness_mag_arcsec2);
  const names = ["exposure_s", brightness ? "sky_brightness_mag_arcsec2" : "level", "cloud_fraction"];
  const series = await ask(`/nights/${frame.night}/series`, { camera: frame.camera, variables: names.join(","), points: 400 });
  const time = series.time.map((t) => Date.parse(t)), values = (name) => series.variables[name].map((v) => (v === null ? NaN : v));
  if (!time.length) return;
  const room = Math.max(60e3, (time[time.length - 1] - time[0]) * 0.02);
  chart.set({
    time, from: time[0] - room, to: time[time.length - 1] + room, here: Date.parse(frame.time),
    series: [
      brightness ? { name: names[1], label: "Sky", unit: "mag/arcsec²", values: values(names[1]) } : { name: "level", label: "Level", unit: "%", values: values("level").map((v) => v * 100) },
      { name: "cloud_fraction", label: "Cloud", unit: "%", values: values("cloud_fraction").map((v) => v * 100), zero: true, format: (v) => number(v, 0, " %") },
    ],
  });
  chartNote.replaceChildren(h("a", { href: `/charts?night=${frame.night}` }, "More in Charts"));
}

async function showSafety() {
  try {
    const s = await ask("/safety");
    const tone = { safe: "good", unsafe: "bad", unknown: "warn" }[s.verdict];
    const words = { safe: "Safe", unsafe: "Not safe", unknown: "Unknown: treat as not safe" }[s.verdict];
    safety.replaceChildren(h("p", { class: `verdict ${tone}`, text: words }), h("p", { class: "small muted", text: `${s.reason}${s.age_s === null ? "" : ` · ${span(s.age_s)} ago`}` }));
  } catch (error) {
    safety.replaceChildren(h("p", { class: "verdict warn", text: "Unknown: treat as not safe" }), h("p", { class: "small muted", text: error.message }));
  }
}

function tick() {
  const bar = countBar.firstChild;
  if (!pace || !report || report.state !== "live") {
    count.textContent = "–";
    bar.style.width = "0";
    countWords.textContent = !report ? "" : report.state === "live" ? "Known after two pictures." : report.message;
    return;
  }
  const due = pace.last + (pace.every_s + pace.took_s) * 1000, left = (due - clock.now()) / 1000;
  count.textContent = left > 0 ? `in ${span(Math.ceil(left))}` : "any moment";
  bar.style.width = `${Math.min(100, Math.max(0, 100 * (1 - left / pace.every_s)))}%`;
  countWords.textContent = `One every ${span(pace.every_s)}, ready ${span(pace.took_s)} after its start.`;
}

const keep = persistently(refresh);
await page(async (main) => {
  const old = /^#(\d{4}-\d\d-\d\d\/\d+)$/.exec(location.hash);  // addresses of the first live page
  if (old) { location.replace(`/frames/${old[1]}`); return; }
  build(main);
  await keep();
  onNews(["frame", "state", "reset", "open", "poll"], keep, 5);
  setInterval(tick, 1000);
  setInterval(showSafety, 60000);
  setInterval(keep, 60000);
});
